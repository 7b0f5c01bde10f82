// SPDX-License-Identifier: Apache-2.0
// Which stored chunk has a digest: what deduplication looks up (docs/format.md, section 5).
// 48 bytes a chunk and 4 to 8 for its slot. One thread at a time.
#ifndef TARN_CONVERTER_DEDUP_INDEX_H
#define TARN_CONVERTER_DEDUP_INDEX_H

#include "base/digest.h"

struct tarn_dedup_place {
    uint32_t blob;  // the caller's number for it
    uint64_t where; // the caller's: an address or a row
};

struct tarn_dedup_index;

struct tarn_dedup_index *tarn_dedup_index_new(void); // NULL when out of memory
void tarn_dedup_index_free(struct tarn_dedup_index *index);
TARN_DEFINE_CLEANUP(struct tarn_dedup_index, tarn_dedup_index_free)

// Adds a stored chunk unless one with this digest is there: who adds in ascending order finds the
// lowest. 0 or -ENOMEM.
int tarn_dedup_index_add(struct tarn_dedup_index *index, const struct tarn_digest *digest,
                         struct tarn_dedup_place place) tarn_must_check;

bool tarn_dedup_index_find(const struct tarn_dedup_index *index, const struct tarn_digest *digest,
                           struct tarn_dedup_place *place);

#endif
