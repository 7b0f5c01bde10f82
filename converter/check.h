// SPDX-License-Identifier: Apache-2.0
// `tarn check`: proves that a converted image is what docs/format.md says, down to the last byte.
#ifndef TARN_CONVERTER_CHECK_H
#define TARN_CONVERTER_CHECK_H

#include "format/bootstrap.h"
#include "registry/image_reader.h"

// An image whose manifest, bootstrap and chunk tables were read and opened, which has checked their
// digests and form. All borrowed.
struct tarn_check_image {
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    const struct tarn_manifest *manifest;
    const struct tarn_buf *bootstrap_bytes;
    const struct tarn_bootstrap *bootstrap;
};

// What was checked.
struct tarn_check_totals {
    uint32_t layers;
    uint32_t blobs; // foreign ones included
    uint64_t names; // of the merged tree
    uint64_t inodes;
    uint64_t chunks;     // rows, references included; quick: in the tables only
    uint64_t references; // of them
    uint64_t contents;   // that the layers bring; quick: 0, as below
    uint64_t data_bytes; // of data spaces
    uint64_t blob_bytes;
};

// Checks, in this order: manifest against bootstrap, config, the EROFS tree; of each blob its size,
// directory and layer metadata, and its rows in the bootstrap; the bootstrap, made again from the layer
// metadata alone, byte for byte; the tree digest. Then, unless quick: every chunk, every content with
// its holes, all padding, and each blob's own digest.
// 0, or -EUCLEAN or -EIO with the first broken rule and its place. Blocks. Memory: one layer's tree,
// the merged tree, two bootstraps.
int tarn_check(const struct tarn_check_image *image, bool quick, struct tarn_check_totals *totals,
               struct tarn_err *err) tarn_must_check;

#endif
