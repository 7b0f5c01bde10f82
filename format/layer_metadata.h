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

// Appends the container to out, which is empty before. tree is sorted here, and the index fields of
// its inodes, xattr sets and contents are overwritten; its contents have places (holder, address;
// both 0 where there is no data). tables: the blob records of section 6 and their rows. Equal trees
// and tables give equal bytes. -EINVAL for a file whose content is missing or has no place; -EFBIG
// for what the reader would refuse for its size; -ENOMEM.
int tarn_layer_metadata_write(const struct tarn_layer_parameters *parameters,
                              struct tarn_tree *tree, const struct tarn_tables *tables,
                              struct tarn_buf *out, struct tarn_err *err) tarn_must_check;

struct tarn_layer_metadata {
    struct tarn_layer_parameters parameters;
    struct tarn_tree *tree;     // owned; sorted
    struct tarn_tables tables;  // views into the buffers below
    struct tarn_buf buffers[4]; // owned
};
// Takes a zeroed struct too.
void tarn_layer_metadata_release(struct tarn_layer_metadata *metadata);

// Reads and checks everything: a container of these bytes (copied where kept). What the layers
// below hold is not known here, so references and contents that lie there are checked against the
// lengths of their data spaces only. The root's node has no implicit flag, whether it has an inode
// or not. -EUCLEAN with the section, the record and the rule; -ENOTSUP for an unknown required
// section or parameter; -ENOMEM. *metadata is empty after an error.
int tarn_layer_metadata_read(const uint8_t *bytes, size_t length,
                             struct tarn_layer_metadata *metadata,
                             struct tarn_err *err) tarn_must_check;

#endif
