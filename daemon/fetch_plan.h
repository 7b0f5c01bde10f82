// SPDX-License-Identifier: Apache-2.0
// What a miss fetches: pure functions, no state. Rows of one run are bits of a word, bit 0 the run's
// first row.
#ifndef TARN_DAEMON_FETCH_PLAN_H
#define TARN_DAEMON_FETCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/limits.h"

// The shape of a run: where its chunks start in the data space. addresses has count + 1 entries, the
// last one the run's end.
struct tarn_run_shape {
    const uint64_t *addresses;
    uint32_t count; // 1 to 64
};

// The rows that the prefix of a row touches.
uint64_t tarn_plan_prefix(const struct tarn_run_shape *run, uint32_t row);

// The rows that must be had so that all wanted ones can be decoded: the wanted rows that are not
// local, the rows of their prefixes that are not, the rows of these rows' prefixes, and so on. A
// chunk whose prefix is local needs only itself.
uint64_t tarn_plan_needed(const struct tarn_run_shape *run, uint64_t local, uint64_t wanted);

// One stored chunk to be read from a blob.
struct tarn_plan_item {
    uint64_t offset; // in the blob
    uint32_t length;
};

// How many of the items (ascending by offset, at least one) become one range read: as many as lie
// behind each other with gaps of at most 8 KiB each, 5 % of the bytes in sum, and limit bytes in all.
size_t tarn_plan_range(const struct tarn_plan_item *items, size_t count, uint64_t limit);

// --- ahead of the readers -------------------------------------------------------------------------
//
// A wait for the line costs more than some bytes that nobody reads, so a miss brings more than its own
// chunks: all of a middling file, the start of a large one that is opened, and of a large file, or of
// a region with many small ones, more each time that another miss shows that the last guess was short.
// How much is a trade of requests for bytes, tuned on cold starts (docs/design.md).

// How often what was missed; direct-mapped, so that others are forgotten.
enum { TARN_AHEAD_BITS = 9, TARN_AHEAD_ENTRIES = 1 << TARN_AHEAD_BITS };
struct tarn_ahead_item {
    uint64_t key;
    uint64_t next; // where the last guess ended, of a large file
    uint32_t misses;
    uint32_t run; // misses in a row that went on there
};
struct tarn_ahead {
    struct tarn_ahead_item items[TARN_AHEAD_ENTRIES];
};

enum { TARN_AHEAD_NEAR = 640 << 10 };

// Of a program or library, which is sure to be loaded: all up to this size, else parts of it.
enum {
    TARN_AHEAD_LIBRARY = 6912 << 10,
    TARN_AHEAD_LIBRARY_HEAD = 256 << 10,
    TARN_AHEAD_LIBRARY_TAIL = 32 << 10,
    TARN_AHEAD_LIBRARY_DATA = 2 << 20, // of its writable segment, all up to this size
};

// A read that found nothing under way: a place in a blob's data space, and the file around it.
struct tarn_miss {
    uint32_t blob;
    uint64_t address;
    uint64_t length;
    uint64_t file; // where the file's data starts
    uint64_t size; // of the file's data
    bool lonely;   // nothing of the file is there or comes within TARN_AHEAD_NEAR bytes
};

// What to bring for it: [from, to) of the data space; and as much as slack more at both sides where
// that closes the gap to what is there or comes already. [low, high) bounds that.
struct tarn_span {
    uint64_t from;
    uint64_t to;
    uint64_t slack;
    uint64_t low;
    uint64_t high;
    uint64_t tail; // bytes before high that come too
};
struct tarn_span tarn_ahead_note(struct tarn_ahead *ahead, const struct tarn_miss *miss);

#endif
