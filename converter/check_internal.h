// SPDX-License-Identifier: Apache-2.0
// What the files of the check module share. Nobody else includes this.
#ifndef TARN_CONVERTER_CHECK_INTERNAL_H
#define TARN_CONVERTER_CHECK_INTERNAL_H

#include "converter/check.h"

struct tarn_check {
    const struct tarn_check_image *image;
    struct tarn_check_totals *totals;
    struct tarn_err *err;
};

// "blob sha256:...", which stands in front of what is wrong with it.
struct tarn_check_name {
    char text[TARN_DIGEST_TEXT + 8];
};
struct tarn_check_name tarn_check_blob_name(const struct tarn_check *check, uint32_t blob);

// Before the files of a layer's tree are walked: no content was met yet. Then each is met once.
void tarn_check_begin_contents(struct tarn_tree *tree);
// The node's content if it is a file's and met for the first time, else NULL.
const struct tarn_content *tarn_check_new_content(const struct tarn_node *node);

// Reads and parses the layer metadata of a blob.
int tarn_check_read_metadata(const struct tarn_check *check, uint32_t blob,
                             struct tarn_layer_metadata *metadata) tarn_must_check;

// --- check_blob.c --------------------------------------------------------------------------------
// The blob's size, directory and layer metadata, which it yields, and the rows that the bootstrap has
// of it.
int tarn_check_blob(const struct tarn_check *check, uint32_t blob,
                    struct tarn_layer_metadata *metadata) tarn_must_check;

// All bytes of all blobs: their digests, and the checksums of the chunks sections.
int tarn_check_whole_blobs(const struct tarn_check *check) tarn_must_check;

// --- check_data.c --------------------------------------------------------------------------------
// Every chunk, every content and the padding between them.
int tarn_check_data(const struct tarn_check *check) tarn_must_check;

#endif
