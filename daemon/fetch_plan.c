// SPDX-License-Identifier: Apache-2.0
#include "daemon/fetch_plan.h"

#include <assert.h>

enum { GAP_MAX = 8 << 10, GAP_SHARE = 20, AHEAD_FIRST = 256 << 10 };

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

uint64_t tarn_cursors_note(struct tarn_cursors *cursors, uint64_t address, uint64_t length)
{
    unsigned oldest = 0;
    cursors->tick++;
    for (unsigned i = 0; i < TARN_CURSORS; i++) {
        const uint64_t next = cursors->items[i].next;
        // Readahead arrives out of order and in overlapping pieces.
        if (cursors->items[i].used > 0 && address + TARN_AHEAD_SLACK >= next &&
            address <= next + TARN_AHEAD_SLACK) {
            cursors->items[i].used = cursors->tick;
            if (address + length <= next)
                return 0;
            cursors->items[i].next = address + length;
            const uint32_t n = ++cursors->items[i].count;
            if (n < 2)
                return 0;
            return n >= 6 ? TARN_AHEAD_MAX : (uint64_t)AHEAD_FIRST << (n - 2);
        }
        if (cursors->items[i].used < cursors->items[oldest].used)
            oldest = i;
    }
    cursors->items[oldest].next = address + length;
    cursors->items[oldest].used = cursors->tick;
    cursors->items[oldest].count = 0;
    return 0;
}
