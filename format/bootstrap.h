// SPDX-License-Identifier: Apache-2.0
// The bootstrap (section 9): merged tree and chunk tables of a chain in one file.
#ifndef TARN_FORMAT_BOOTSTRAP_H
#define TARN_FORMAT_BOOTSTRAP_H

#include "format/erofs_reader.h"
#include "format/layer_metadata.h"

// What one layer of the chain brings.
struct tarn_bootstrap_layer {
    struct tarn_digest digest; // of its blob
    uint64_t size;
    uint64_t metadata_offset;
    uint64_t metadata_length;
    struct tarn_digest metadata_digest;
    const struct tarn_layer_metadata *metadata; // borrowed
};

// A chain, bottom first, and what its layers are together. All borrowed.
struct tarn_bootstrap_source {
    const struct tarn_bootstrap_layer *layers;
    uint32_t count;
    struct tarn_tree *merged;       // sorted by building; the index of its inodes is overwritten
    struct tarn_digest tree_digest; // of merged, by tarn_listing_digest(): the caller needs it too
};

// Builds the bootstrap from layer metadata and blob descriptors alone. Appends to out (empty
// before). -EINVAL for layers that were not made for this chain and for a tree that EROFS cannot
// hold, -EUCLEAN for layers that contradict each other, -ENOTSUP, -ENOMEM.
int tarn_bootstrap_build(const struct tarn_bootstrap_source *source, struct tarn_buf *out,
                         struct tarn_err *err) tarn_must_check;

struct tarn_bootstrap {
    struct tarn_erofs erofs;
    struct tarn_tables tables;
    uint32_t chain_count;
    uint32_t slot_count;
    uint64_t inode_count;
    uint64_t name_count;
    uint64_t file_bytes;
    struct tarn_digest tree_digest;
    uint32_t *slot_blobs; // owned: blob index for each slot, [0] unused
};

// Opens a bootstrap that lies in memory, which must live longer. Checks directory, checksums,
// superblock, tables (tarn_tables_verify) and slots; not the tree (verify.h). -EUCLEAN or -ENOTSUP
// with offset and rule, -ENOMEM. *bootstrap is empty after an error.
int tarn_bootstrap_open(const uint8_t *bytes, size_t length, struct tarn_bootstrap *bootstrap,
                        struct tarn_err *err) tarn_must_check;
void tarn_bootstrap_release(struct tarn_bootstrap *bootstrap);

#endif
