// SPDX-License-Identifier: Apache-2.0
// The blobs of another image that the chunks of a conversion may refer to (`--dict IMAGE`).
#ifndef TARN_CONVERTER_DICT_H
#define TARN_CONVERTER_DICT_H

#include <stdbool.h>

#include "base/digest.h"
#include "format/tables.h"

struct tarn_dict;

// From the chunk tables of an image's bootstrap, which must outlive the dict. usable[i] says whether
// chain blob i can be had at the destination; the others are left out. NULL when out of memory.
struct tarn_dict *tarn_dict_new(const struct tarn_tables *tables, uint32_t chain_count,
                                const bool *usable);
void tarn_dict_free(struct tarn_dict *dict);
TARN_DEFINE_CLEANUP(struct tarn_dict, tarn_dict_free)

uint32_t tarn_dict_count(const struct tarn_dict *dict); // usable blobs
struct tarn_blob_record tarn_dict_blob(const struct tarn_dict *dict, uint32_t i);

// --- for one layer -----------------------------------------------------------------------------
// Forgets which blobs and rows the last layer referred to.
void tarn_dict_begin_layer(struct tarn_dict *dict);

// Finds a stored chunk and notes that this layer refers to it. *foreign: the blob's number among
// the foreign blobs of this layer, by first reference; *address: the chunk's.
bool tarn_dict_find(struct tarn_dict *dict, const struct tarn_digest *digest, uint32_t *foreign,
                    uint64_t *address);

// Appends the blob records of the layer's foreign blobs and the rows that it needs of them. 0, -ENOMEM.
int tarn_dict_append(const struct tarn_dict *dict,
                     struct tarn_tables_builder *builder) tarn_must_check;

#endif
