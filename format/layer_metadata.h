// SPDX-License-Identifier: Apache-2.0
// The lossless record of one layer (section 6): own tree and chunk table, to bytes and back.
#ifndef TARN_FORMAT_LAYER_METADATA_H
#define TARN_FORMAT_LAYER_METADATA_H

#include "format/tables.h"
#include "format/tree.h"

struct tarn_layer_parameters {
    int32_t level;
    uint32_t zstd_version;
    uint32_t chain_index;
    uint64_t data_length;
    uint64_t chunks_length; // of the chunks section
};

// Appends the container to out. tree is sorted here; its contents have places (holder, address).
// tables: the blob records of section 6 and their rows.
int tarn_layer_metadata_write(const struct tarn_layer_parameters *parameters,
                              struct tarn_tree *tree, const struct tarn_tables *tables,
                              struct tarn_buf *out, struct tarn_err *err) tarn_must_check;

struct tarn_layer_metadata {
    struct tarn_layer_parameters parameters;
    struct tarn_tree *tree;    // owned; sorted
    struct tarn_tables tables; // views into the buffers below
    struct tarn_buf buffers[4];
};
void tarn_layer_metadata_release(struct tarn_layer_metadata *metadata);

// Reads and checks everything: a container of these bytes (copied where kept). -EUCLEAN with the
// section, the record and the rule.
int tarn_layer_metadata_read(const uint8_t *bytes, size_t length,
                             struct tarn_layer_metadata *metadata,
                             struct tarn_err *err) tarn_must_check;

#endif
