// SPDX-License-Identifier: Apache-2.0
// The search is a double hash: a match of 8 bytes is taken at once; one of 4 only after a look at the next
// place, where a longer one may begin. What speeds it up: data without matches is passed in growing
// steps, and inside of a match only some places are entered.
//
// Tables hold numbers of places, each entered before any place behind it is searched. Numbers of a run are
// larger than those of all runs before, and than 0: so old and empty entries lie below whatever a match may
// reach, and tables are cleared only when numbers run out.
#include "format/match_finder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
    LONG_LOG = 17,
    SHORT_LOG = 16,
    LONG_MATCH = 8,
    SHORT_MATCH = 4,
    SEARCHED =
        9, // bytes of the chunk that a place must have in front of it: it and the next are read
    STEP_SHIFT = 7,  // the step grows by one every 128 bytes without a match
    NEAR = 1 << 14,  // a match of 4 bytes from farther away costs more than it saves
    LAZY_LENGTH = 8, // a shorter match gives way to a longer one at the next place
    ENTER_STRIDE = 2,
    ENTER_LENGTH = 32,
};

static const uint32_t number_limit = UINT32_C(1) << 26; // so that tests come to it

struct tarn_match_finder {
    const uint8_t *run;
    size_t position; // of the next chunk in the run
    uint32_t first;  // number of the run's first byte
    uint32_t by_8_bytes[1 << LONG_LOG];
    uint32_t by_4_bytes[1 << SHORT_LOG];
};

// The search in one chunk.
struct walk {
    uint32_t *by_8_bytes;
    uint32_t *by_4_bytes;
    uintptr_t zero;     // address of the place with number 0
    const uint8_t *low; // where a match may begin at the earliest
    uint32_t low_number;
    const uint8_t *end;    // of the chunk
    const uint8_t *limit;  // places from here on are not searched
    const uint8_t *anchor; // behind the last match
    uint32_t recent[2];    // the last offset and the other one before it; 0: none
};

struct match {
    const uint8_t *at;
    uint32_t offset;
    uint32_t length;
    const uint8_t *searched; // the last place that was entered on the way
};

static inline uint32_t *long_entry(const struct walk *walk, uint64_t bytes)
{
    return &walk->by_8_bytes[bytes * UINT64_C(0xcf1bbcdcb7a56463) >> (64 - LONG_LOG)];
}

static inline uint32_t *short_entry(const struct walk *walk, uint64_t bytes)
{
    return &walk->by_4_bytes[(uint32_t)bytes * UINT32_C(2654435761) >> (32 - SHORT_LOG)];
}

static inline uint32_t number_of(const struct walk *walk, const uint8_t *at)
{
    return (uint32_t)((uintptr_t)at - walk->zero);
}

static inline void enter_long(const struct walk *walk, const uint8_t *at)
{
    *long_entry(walk, tarn_get_le64(at)) = number_of(walk, at);
}

static inline void enter_short(const struct walk *walk, const uint8_t *at)
{
    *short_entry(walk, tarn_get_le32(at)) = number_of(walk, at);
}

// How many bytes from `at` on equal those at offset before, the first `known` of which do.
static inline uint32_t match_length(const struct walk *walk, const uint8_t *at, uint32_t offset,
                                    uint32_t known)
{
    const uint8_t *p = at + known;
    for (; walk->end - p >= 8; p += 8) {
        const uint64_t difference = tarn_get_le64(p) ^ tarn_get_le64(p - offset);
        if (difference)
            return (uint32_t)(p - at) + (uint32_t)__builtin_ctzll(difference) / 8;
    }
    while (p < walk->end && *p == *(p - offset))
        p++;
    return (uint32_t)(p - at);
}

static inline bool try_long(const struct walk *walk, const uint8_t *at, uint64_t bytes,
                            uint32_t entry, struct match *match)
{
    const uint32_t offset = number_of(walk, at) - entry;
    if (entry < walk->low_number || tarn_get_le64(at - offset) != bytes)
        return false;
    match->at = at;
    match->offset = offset;
    match->length = match_length(walk, at, offset, LONG_MATCH);
    return true;
}

static inline bool try_short(const struct walk *walk, const uint8_t *at, uint64_t bytes,
                             uint32_t entry, struct match *match)
{
    const uint32_t offset = number_of(walk, at) - entry;
    if (entry < walk->low_number || tarn_get_le32(at - offset) != (uint32_t)bytes)
        return false;
    const uint32_t length = match_length(walk, at, offset, SHORT_MATCH);
    if (length == SHORT_MATCH && offset >= NEAR)
        return false;
    match->at = at;
    match->offset = offset;
    match->length = length;
    return true;
}

// A short match was found: what begins one place further on is taken if it is long, or longer.
static inline void look_ahead(const struct walk *walk, struct match *match)
{
    const uint8_t *next = match->at + 1;
    const uint64_t bytes = tarn_get_le64(next);
    if (try_long(walk, next, bytes, *long_entry(walk, bytes), match))
        return;
    struct match later;
    if (match->length < LAZY_LENGTH &&
        try_short(walk, next, bytes, *short_entry(walk, bytes), &later) &&
        later.length > match->length) {
        match->at = later.at;
        match->offset = later.offset;
        match->length = later.length;
    }
}

// Searches from the anchor on and enters each place that it comes to.
static inline bool search(const struct walk *walk, struct match *match)
{
    const uint8_t *at = walk->anchor;
    if (at >= walk->limit)
        return false;
    uint64_t bytes = tarn_get_le64(at);
    uint32_t *long_slot = long_entry(walk, bytes);
    uint32_t long_number = *long_slot;
    for (;;) {
        uint32_t *short_slot = short_entry(walk, bytes);
        const uint32_t short_number = *short_slot;
        *long_slot = *short_slot = number_of(walk, at);
        match->searched = at;
        const uint32_t recent = walk->recent[0];
        if (recent != 0 && tarn_get_le32(at + 1 - recent) == (uint32_t)(bytes >> 8)) {
            match->at = at + 1;
            match->offset = recent;
            match->length = match_length(walk, at + 1, recent, SHORT_MATCH);
            return true;
        }
        if (try_long(walk, at, bytes, long_number, match))
            return true;
        const uint8_t *next = at + 1 + ((size_t)(at - walk->anchor) >> STEP_SHIFT);
        if (next >= walk->limit)
            return false;
        const uint64_t next_bytes = tarn_get_le64(next);
        long_slot = long_entry(walk, next_bytes);
        long_number = *long_slot;
        if (try_short(walk, at, bytes, short_number, match)) {
            look_ahead(walk, match);
            return true;
        }
        at = next;
        bytes = next_bytes;
    }
}

// Enters some of the places of a match that ends before the limit: those near its beginning, where
// repetitions are likely to begin too, and the last ones.
static inline void enter_match(const struct walk *walk, const uint8_t *searched, const uint8_t *end)
{
    const uint8_t *at = searched + 1;
    const uint8_t *stop = end - 1;
    if (stop - at > ENTER_LENGTH)
        stop = at + ENTER_LENGTH;
    for (; at < stop; at += ENTER_STRIDE) {
        enter_long(walk, at);
        enter_short(walk, at);
    }
    enter_long(walk, end - 2);
    enter_short(walk, end - 1);
}

// Matches that follow at once with the offset before the last one; returns behind the last sequence.
static inline ZSTD_Sequence *repeat(struct walk *walk, ZSTD_Sequence *out)
{
    const uint8_t *at = walk->anchor;
    while (at < walk->limit && walk->recent[1] != 0 &&
           tarn_get_le32(at) == tarn_get_le32(at - walk->recent[1])) {
        const uint32_t offset = walk->recent[1];
        const uint32_t length = match_length(walk, at, offset, SHORT_MATCH);
        walk->recent[1] = walk->recent[0];
        walk->recent[0] = offset;
        enter_long(walk, at);
        enter_short(walk, at);
        *out++ = (ZSTD_Sequence){ .offset = offset, .matchLength = length };
        at += length;
    }
    walk->anchor = at;
    return out;
}

static inline void extend_backwards(const struct walk *walk, struct match *match)
{
    while (match->at > walk->anchor && match->at - match->offset > walk->low &&
           match->at[-1] == *(match->at - match->offset - 1)) {
        match->at--;
        match->length++;
    }
}

void tarn_match_finder_start(struct tarn_match_finder *finder, const uint8_t *run)
{
    const uint64_t first = (uint64_t)finder->first + finder->position + 1;
    finder->first = (uint32_t)first;
    if (first >= number_limit) {
        memset(finder->by_8_bytes, 0, sizeof finder->by_8_bytes);
        memset(finder->by_4_bytes, 0, sizeof finder->by_4_bytes);
        finder->first = 1;
    }
    finder->run = run;
    finder->position = 0;
}

size_t tarn_match_finder_next(struct tarn_match_finder *finder, size_t length,
                              ZSTD_Sequence *sequences)
{
    assert(length > 0 && length <= TARN_CHUNK_MAX);
    const size_t position = finder->position;
    const uint8_t *chunk = finder->run + position;
    struct walk walk = { .by_8_bytes = finder->by_8_bytes,
                         .by_4_bytes = finder->by_4_bytes,
                         .zero = (uintptr_t)finder->run - finder->first,
                         .end = chunk + length,
                         .anchor = chunk };
    walk.low = position > TARN_PREFIX_LENGTH ? chunk - TARN_PREFIX_LENGTH : finder->run;
    walk.low_number = number_of(&walk, walk.low);
    walk.limit = length >= SEARCHED ? walk.end - SEARCHED + 1 : chunk;
    ZSTD_Sequence *out = sequences;
    struct match match;
    while (search(&walk, &match)) {
        extend_backwards(&walk, &match);
        if (match.offset != walk.recent[0]) {
            walk.recent[1] = walk.recent[0];
            walk.recent[0] = match.offset;
        }
        *out++ = (ZSTD_Sequence){ .offset = match.offset,
                                  .litLength = (uint32_t)(match.at - walk.anchor),
                                  .matchLength = match.length };
        walk.anchor = match.at + match.length;
        if (walk.anchor < walk.limit) {
            enter_match(&walk, match.searched, walk.anchor);
            out = repeat(&walk, out);
        }
    }
    *out++ = (ZSTD_Sequence){ .litLength = (uint32_t)(walk.end - walk.anchor) };
    finder->position += length;
    return (size_t)(out - sequences);
}

struct tarn_match_finder *tarn_match_finder_new(void)
{
    return calloc(1, sizeof(struct tarn_match_finder));
}

void tarn_match_finder_free(struct tarn_match_finder *finder)
{
    free(finder);
}
