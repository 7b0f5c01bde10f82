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

// What follows a read on one data space, to tell sequential readers: a few cursors, the least recently
// used one is replaced.
enum { TARN_CURSORS = 8 };
struct tarn_cursors {
    struct {
        uint64_t next;  // where the reader would go on
        uint64_t used;  // tick
        uint32_t count; // reads in sequence so far
    } items[TARN_CURSORS];
    uint64_t tick;
};

// Notes the read [address, address + length). Returns how many bytes behind it to bring too: 0 for the
// first reads of a sequence, then twice as many each time, up to TARN_AHEAD_MAX.
enum { TARN_AHEAD_MAX = 2 << 20, TARN_AHEAD_SLACK = 128 << 10 };
uint64_t tarn_cursors_note(struct tarn_cursors *cursors, uint64_t address, uint64_t length);

#endif
