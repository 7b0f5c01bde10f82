// SPDX-License-Identifier: Apache-2.0
// The data space of one layer (docs/format.md, section 3): which contents it holds, where, and its
// bytes in order, read from the spool.
#ifndef TARN_CONVERTER_DATA_SPACE_H
#define TARN_CONVERTER_DATA_SPACE_H

#include "converter/spool.h"

// Gives every content of a layer's own tree (which is sorted here) its place: a lower layer's, or
// the next in this one's data space. lower: the merged tree of the layers below, NULL for none.
// *length: of the data space. -EFBIG above TARN_DATA_SPACE_LIMIT.
int tarn_data_space_place(const struct tarn_tree *lower, struct tarn_tree *tree,
                          uint32_t chain_index, uint64_t *length,
                          struct tarn_err *err) tarn_must_check;

// Reads a placed data space from its start to its end.
struct tarn_data_space;
struct tarn_data_space *tarn_data_space_new(struct tarn_spool *spool, uint32_t chain_index,
                                            uint64_t length, struct tarn_err *err);
void tarn_data_space_free(struct tarn_data_space *space);
TARN_DEFINE_CLEANUP(struct tarn_data_space, tarn_data_space_free)

// The next bytes, at most length of them; 0 at the end. -errno when the spool cannot be read.
ssize_t tarn_data_space_read(struct tarn_data_space *space, void *data,
                             size_t length) tarn_must_check;

#endif
