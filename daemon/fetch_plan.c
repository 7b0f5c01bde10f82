// SPDX-License-Identifier: Apache-2.0
#include "daemon/fetch_plan.h"

#include <assert.h>

enum { GAP_MAX = 8 << 10, GAP_SHARE = 20 };

// Bytes of the data space.
enum {
    SMALL_FILE = 48 << 10,   // brings its neighbours
    MIDDLE_FILE = 256 << 10, // too, when many around it were missed
    WHOLE_FILE = 2560 << 10,
    SMALL_REGION = 8 << 20, // files whose misses count together
    SMALL_ONE = 64 << 10,   // behind the first
    SMALL_FIRST = 160 << 10,
    SMALL_MOST = 4 << 20,
    SMALL_SLACK = 768 << 10,
    LARGE_OPEN = 512 << 10, // from the start of a large file
    LARGE_FIRST = 192 << 10,
    LARGE_MOST = 4 << 20,
    LARGE_SLACK = 1 << 20,
    SEQUENCE_MOST = 8 << 20, // where a miss goes on from the last guess's end
    SEQUENCE_SLACK = 128 << 10,
};
enum { MANY_MISSES = 3 };

uint64_t tarn_plan_prefix(const struct tarn_run_shape *run, uint32_t row)
{
    assert(row < run->count);
    const uint64_t end = run->addresses[row];
    const uint64_t room = end - run->addresses[0];
    const uint64_t start = end - (room < TARN_PREFIX_LENGTH ? room : TARN_PREFIX_LENGTH);
    uint64_t rows = 0;
    for (uint32_t i = row; i-- > 0 && run->addresses[i + 1] > start;)
        rows |= UINT64_C(1) << i;
    return rows;
}

uint64_t tarn_plan_needed(const struct tarn_run_shape *run, uint64_t local, uint64_t wanted)
{
    uint64_t needed = wanted & ~local;
    // A prefix touches lower rows only, so one pass downwards finds all.
    for (uint32_t i = run->count; i-- > 0;)
        if (needed >> i & 1)
            needed |= tarn_plan_prefix(run, i) & ~local;
    return needed;
}

size_t tarn_plan_range(const struct tarn_plan_item *items, size_t count, uint64_t limit)
{
    uint64_t wanted = items[0].length;
    uint64_t gaps = 0;
    size_t n = 1;
    for (; n < count; n++) {
        const uint64_t end = items[n - 1].offset + items[n - 1].length;
        if (items[n].offset < end)
            break;
        const uint64_t gap = items[n].offset - end;
        const uint64_t total = wanted + items[n].length;
        if (gap > GAP_MAX || (gaps + gap) * GAP_SHARE > total || total + gaps + gap > limit)
            break;
        gaps += gap;
        wanted = total;
    }
    return n;
}

// Counts a miss with this key; one far from all others takes one away instead. Returns its item.
static struct tarn_ahead_item *count_miss(struct tarn_ahead *ahead, uint64_t key, bool lonely)
{
    const uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);
    struct tarn_ahead_item *item = &ahead->items[mixed >> (64 - TARN_AHEAD_BITS)];
    if (item->key != key)
        *item = (struct tarn_ahead_item){ .key = key };
    if (!lonely || item->misses == 0)
        item->misses++;
    else if (item->misses > 1)
        item->misses--;
    return item;
}

static uint64_t window(uint32_t misses, uint64_t first, uint64_t most)
{
    uint64_t bytes = first;
    for (; misses > 1 && bytes < most; misses--)
        bytes *= 2;
    return bytes < most ? bytes : most;
}

static uint64_t key_of(const struct tarn_miss *miss, uint64_t place, unsigned kind)
{
    return (uint64_t)miss->blob << 47 | place >> 12 << 2 | kind;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// How much to bring behind a small or middling file.
static uint64_t behind_file(const struct tarn_miss *miss, uint32_t misses)
{
    if (miss->size > SMALL_FILE)
        return misses < MANY_MISSES ? 0 : window(misses - MANY_MISSES + 1, SMALL_FIRST, SMALL_MOST);
    return misses == 1 ? SMALL_ONE : window(misses, SMALL_FIRST, SMALL_MOST);
}

static struct tarn_span small_file(struct tarn_ahead *ahead, const struct tarn_miss *miss)
{
    const uint64_t region = miss->file / SMALL_REGION * SMALL_REGION;
    const uint32_t misses = count_miss(ahead, key_of(miss, region, 1), false)->misses;
    return (struct tarn_span){
        .from = miss->file,
        .to = miss->file + miss->size + behind_file(miss, misses),
        .slack = SMALL_SLACK,
        .low = 0,
        .high = UINT64_MAX,
    };
}

static struct tarn_span large_file(struct tarn_ahead *ahead, const struct tarn_miss *miss)
{
    const uint64_t end = miss->file + miss->size;
    struct tarn_ahead_item *item = count_miss(ahead, key_of(miss, miss->file, 2), miss->lonely);
    const uint32_t misses = item->misses;
    const bool goes_on =
        miss->address <= item->next && miss->address + miss->length + SEQUENCE_SLACK >= item->next;
    item->run = goes_on ? item->run + 1 : 0;
    const uint64_t most = goes_on ? SEQUENCE_MOST : LARGE_MOST;
    struct tarn_span span = {
        .from = miss->address,
        .to = miss->address + miss->length,
        .slack = misses > 1 ? LARGE_SLACK : 0,
        .low = miss->file,
        .high = end,
    };
    if (miss->address == miss->file) {
        span.to = larger(span.to, miss->file + LARGE_OPEN);
        span.tail = TARN_AHEAD_LIBRARY_TAIL;
    } else if (misses > 1) { // the first may be the only one, at random
        const uint32_t steps = item->run > 2 ? misses + item->run - 1 : misses;
        span.to = larger(span.to, miss->address + window(steps, LARGE_FIRST, most));
    }
    if (span.to > end)
        span.to = end;
    item->next = span.to;
    return span;
}

struct tarn_span tarn_ahead_note(struct tarn_ahead *ahead, const struct tarn_miss *miss)
{
    if (miss->size <= MIDDLE_FILE)
        return small_file(ahead, miss);
    if (miss->size > WHOLE_FILE)
        return large_file(ahead, miss);
    const uint64_t end = miss->file + miss->size;
    return (struct tarn_span){ .from = miss->file, .to = end, .low = miss->file, .high = end };
}
