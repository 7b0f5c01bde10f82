// SPDX-License-Identifier: Apache-2.0
// The data space of one layer (docs/format.md, section 3): which contents it holds, where, and its
// bytes in order, read from the spool.
#ifndef TARN_CONVERTER_DATA_SPACE_H
#define TARN_CONVERTER_DATA_SPACE_H

#include "converter/spool.h"

// The contents that the blobs of a chain hold, by identity.
struct tarn_placed_contents;
struct tarn_placed_contents *tarn_placed_contents_new(void); // NULL when out of memory
void tarn_placed_contents_free(struct tarn_placed_contents *placed);
TARN_DEFINE_CLEANUP(struct tarn_placed_contents, tarn_placed_contents_free)

// The lower layers' content with this identity, or NULL.
const struct tarn_content *tarn_placed_contents_find(const struct tarn_placed_contents *placed,
                                                     const struct tarn_content *content);

// Gives every content of a layer's own tree (which is sorted here) its place: a lower layer's, or
// the next in this one's data space. Adds those of this layer to placed. *length: of the data space.
// -EFBIG above TARN_DATA_SPACE_LIMIT.
int tarn_data_space_place(struct tarn_placed_contents *placed, struct tarn_tree *tree,
                          uint32_t chain_index, uint64_t *length,
                          struct tarn_err *err) tarn_must_check;

// Adds the contents of a layer that was placed before (its metadata was read from its blob).
int tarn_data_space_adopt(struct tarn_placed_contents *placed, const struct tarn_tree *tree,
                          uint32_t chain_index, struct tarn_err *err) tarn_must_check;

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
