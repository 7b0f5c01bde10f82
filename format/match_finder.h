// SPDX-License-Identifier: Apache-2.0
// What repeats in a run, for the encoder at the default level (section 5). Every step is normative: other
// matches are right too, but give other bytes. One pass over the run for all of its chunks: what the
// tables know of a chunk serves the next ones, so that a prefix costs nothing.
//
// Two hash tables, of 8 bytes and of 4, hold the last place in the run that was entered for a hash. The
// matches depend on the run's bytes and the chunks' lengths alone, not on what was searched before.
#ifndef TARN_FORMAT_MATCH_FINDER_H
#define TARN_FORMAT_MATCH_FINDER_H

#include <stdint.h>
#ifndef ZSTD_STATIC_LINKING_ONLY
#define ZSTD_STATIC_LINKING_ONLY // for ZSTD_Sequence
#endif
#include <zstd.h>

#include "base/cleanup.h"
#include "format/limits.h"

enum {
    TARN_SEQUENCES_MAX = TARN_CHUNK_MAX / 4 + 1
}; // of a chunk: no match is shorter than 4 bytes

struct tarn_match_finder;                              // 768 KiB
struct tarn_match_finder *tarn_match_finder_new(void); // NULL when out of memory
void tarn_match_finder_free(struct tarn_match_finder *finder);
TARN_DEFINE_CLEANUP(struct tarn_match_finder, tarn_match_finder_free)

// Begins a run, whose bytes stay where they are until the next one begins.
void tarn_match_finder_start(struct tarn_match_finder *finder, const uint8_t *run);

// The sequences of the run's next chunk, of 1 to TARN_CHUNK_MAX bytes, to sequences (room for
// TARN_SEQUENCES_MAX). Returns how many: one for each match, with the literals in front of it, then one
// with the last literals, whose offset and match length are 0. A match ends inside of the chunk and
// reaches back into the run, not more than TARN_PREFIX_LENGTH before the chunk. A run has less than 2^30 bytes.
size_t tarn_match_finder_next(struct tarn_match_finder *finder, size_t length,
                              ZSTD_Sequence *sequences);

#endif
