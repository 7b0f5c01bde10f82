// SPDX-License-Identifier: Apache-2.0
// Range reads: the queued rows, sorted by where they lie, in as few reads as make sense: neighbours as
// one range, ranges of a blob in one request where the repository takes several, but what a reader waits
// for not behind much else. Bytes are handed to their rows as they arrive.
#include "daemon/fetch_internal.h"

struct queued {
    struct tarn_fetch_entry entry;
    struct tarn_plan_item place;
};

static int compare_queued(const void *a, const void *b)
{
    const struct queued *x = a;
    const struct queued *y = b;
    const struct tarn_fetch_run *p = x->entry.run;
    const struct tarn_fetch_run *q = y->entry.run;
    if (p->image != q->image)
        return (uintptr_t)p->image < (uintptr_t)q->image ? -1 : 1;
    if (p->blob != q->blob)
        return p->blob < q->blob ? -1 : 1;
    return x->place.offset < y->place.offset ? -1 : x->place.offset > y->place.offset;
}

static void end_range(struct tarn_fetch_range *range)
{
    for (size_t i = 0; i < range->count; i++)
        tarn_run_release(range->items[i].entry.run);
    tarn_fetch_uncount_ahead(range);
    tarn_share_unref(range->share);
    tarn_node_image_unref(range->image);
    free(range->parts);
    free(range);
}

static bool awaited(const struct tarn_fetch_range *range, size_t i)
{
    const struct tarn_fetch_entry *entry = &range->items[i].entry;
    const struct tarn_fetch_row *row = &entry->run->items[entry->index];
    return row->state == TARN_ROW_FETCHING && row->range == range;
}

static void fail_items(struct tarn_fetch_range *range, int status)
{
    for (size_t i = range->current; i < range->count; i++)
        if (awaited(range, i))
            tarn_run_fail(range->items[i].entry.run, range->items[i].entry.index, status);
}

// --- a read's callbacks --------------------------------------------------------------------------

// Hands bytes of the blob, from start on, to the rows that they belong to.
static void take_bytes(struct tarn_fetch_range *range, uint64_t start, const uint8_t *bytes,
                       size_t length)
{
    const uint64_t end = start + length;
    while (range->current < range->count) {
        const struct tarn_plan_item place = range->items[range->current].place;
        const struct tarn_fetch_entry entry = range->items[range->current].entry;
        const uint64_t from = tarn_max_u64(place.offset, start);
        const uint64_t to = tarn_min_u64(place.offset + place.length, end);
        struct tarn_fetch_row *row = &entry.run->items[entry.index];
        if (from < to && awaited(range, range->current) && !row->stored) {
            row->stored = malloc(place.length);
            if (!row->stored)
                tarn_run_fail(entry.run, entry.index, -ENOMEM);
        }
        if (from < to && awaited(range, range->current))
            memcpy(row->stored + (from - place.offset), bytes + (from - start),
                   (size_t)(to - from));
        if (end < place.offset + place.length)
            break;
        const bool complete = awaited(range, range->current);
        range->current++;
        if (complete) {
            row->state = TARN_ROW_FETCHED;
            row->range = NULL;
            tarn_run_step(entry.run);
        }
    }
}

static int received(void *context, const void *bytes, size_t length)
{
    struct tarn_fetch_range *range = context;
    const uint8_t *next = bytes;
    tarn_count(&range->image->counters.fetched_bytes, length);
    if (range->share)
        tarn_count(&range->share->fetched_bytes, length);
    tarn_count(&range->fetch->options.total->fetched_bytes, length);
    while (length > 0 && range->part < range->part_count) {
        const struct tarn_read_range part = range->parts[range->part];
        const size_t n = (size_t)tarn_min_u64(length, part.length - range->received);
        take_bytes(range, part.offset + range->received, next, n);
        range->received += n;
        next += n;
        length -= n;
        if (range->received == part.length) {
            range->part++;
            range->received = 0;
        }
    }
    return 0;
}

static void done(void *context, int status, const struct tarn_err *err)
{
    struct tarn_fetch_range *range = context;
    struct tarn_fetch *fetch = range->fetch;
    tarn_range_ended(range);
    if (status == 0 && range->current < range->count)
        status = -EIO;
    if (status < 0) {
        char digest[TARN_DIGEST_TEXT];
        const struct tarn_fetch_run *run = range->items[0].entry.run;
        const struct tarn_read_range *last = &range->parts[range->part_count - 1];
        tarn_fetch_log(fetch, "%s: blob %s: cannot read bytes %llu to %llu: %s", range->image->name,
                       tarn_digest_format(&run->file->rows.blob, digest),
                       (unsigned long long)range->parts[0].offset,
                       (unsigned long long)(last->offset + last->length - 1),
                       err && err->text[0] ? err->text : "it ends early");
        fail_items(range, status == -ETIMEDOUT ? -ETIMEDOUT : -EIO);
    }
    end_range(range);
    tarn_fetch_flush(fetch);
}

// --- starting --------------------------------------------------------------------------------------

// The bytes get their memory when they come: a source that does not answer holds none.
static void reserve(struct tarn_fetch_range *range)
{
    for (size_t i = 0; i < range->count; i++) {
        const struct tarn_fetch_entry *entry = &range->items[i].entry;
        struct tarn_fetch_row *row = &entry->run->items[entry->index];
        if (!awaited(range, i) || row->reserved)
            continue;
        row->reserved = range->items[i].place.length;
        range->fetch->memory += range->items[i].place.length;
    }
}

void tarn_range_start(struct tarn_fetch_range *range)
{
    struct tarn_fetch *fetch = range->fetch;
    const struct tarn_blob_record blob =
        tarn_tables_blob(&range->image->bootstrap.tables, range->blob);
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = blob.digest,
        .size = blob.size,
        .ranges = range->parts,
        .range_count = range->part_count,
        .context = range,
        .data = received,
        .done = done,
    };
    struct tarn_err err = { 0 };
    reserve(range);
    const int ret = tarn_repository_read(range->image->repository, &read, &range->transfer, &err);
    if (ret < 0) {
        tarn_fetch_log(fetch, "%s: cannot start reading: %s", range->image->name,
                       err.text[0] ? err.text : "out of memory");
        tarn_range_ended(range);
        fail_items(range, ret);
        end_range(range);
        return;
    }
    tarn_count(&range->image->counters.ranges, 1);
    if (range->share)
        tarn_count(&range->share->ranges, 1);
    tarn_count(&fetch->options.total->ranges, 1);
}

static bool is_demanded(const struct queued *queued, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (queued[i].entry.run->items[queued[i].entry.index].demanded)
            return true;
    return false;
}

// The parts of one read: of the first rows of queued, which belong to one blob; sets *rows to how many.
static size_t plan_parts(const struct tarn_node_image *image, const struct queued *queued,
                         const struct tarn_plan_item *places, size_t *rows,
                         struct tarn_read_range parts[TARN_FETCH_PARTS_MAX])
{
    const size_t most =
        tarn_min_u64(tarn_repository_max_ranges(image->repository), TARN_FETCH_PARTS_MAX);
    const size_t count = *rows;
    uint64_t total = 0;
    bool background = true;
    size_t at = 0;
    size_t n = 0;
    while (at < count && (n == 0 || n < most)) {
        const size_t taken = tarn_plan_range(places + at, count - at, TARN_FETCH_RANGE_LIMIT);
        const struct tarn_plan_item *last = &places[at + taken - 1];
        const uint64_t length = last->offset + last->length - places[at].offset;
        const bool demanded = is_demanded(queued + at, taken);
        // Two runs may want the same row, if one was left for another source.
        const bool again = n > 0 && places[at].offset < parts[n - 1].offset + parts[n - 1].length;
        if (n > 0 && (again || total + length > TARN_FETCH_RANGE_LIMIT ||
                      (background && demanded && total > TARN_FETCH_DELAY)))
            break;
        parts[n++] = (struct tarn_read_range){ places[at].offset, length };
        total += length;
        background &= !demanded;
        at += taken;
    }
    *rows = at;
    return n;
}

static struct tarn_fetch_range *range_new(size_t rows, const struct tarn_read_range *parts,
                                          size_t part_count)
{
    struct tarn_fetch_range *range = calloc(1, sizeof *range + rows * sizeof range->items[0]);
    struct tarn_read_range *copy = calloc(part_count, sizeof *copy);
    if (!range || !copy) {
        free(range);
        free(copy);
        return NULL;
    }
    memcpy(copy, parts, part_count * sizeof *copy);
    range->parts = copy;
    range->part_count = part_count;
    range->count = rows;
    return range;
}

// One read of the first rows of queued; returns how many.
static size_t make_range(struct tarn_fetch *fetch, const struct queued *queued, size_t count,
                         struct tarn_plan_item *places)
{
    const struct tarn_fetch_run *first = queued[0].entry.run;
    struct tarn_read_range parts[TARN_FETCH_PARTS_MAX];
    size_t n = 0;
    for (; n < count && queued[n].entry.run->image == first->image &&
           queued[n].entry.run->blob == first->blob;
         n++)
        places[n] = queued[n].place;
    const size_t part_count = plan_parts(first->image, queued, places, &n, parts);
    struct tarn_fetch_range *range = range_new(n, parts, part_count);
    for (size_t i = 0; i < n; i++) {
        struct tarn_fetch_run *run = queued[i].entry.run;
        if (!range) {
            tarn_run_fail(run, queued[i].entry.index, -ENOMEM);
            continue;
        }
        range->items[i].entry = queued[i].entry;
        range->items[i].place = queued[i].place;
        run->items[queued[i].entry.index].state = TARN_ROW_FETCHING;
        run->items[queued[i].entry.index].range = range;
        tarn_run_hold(run);
    }
    if (!range)
        return n;
    range->fetch = fetch;
    range->image = first->image;
    tarn_node_image_ref(range->image);
    range->share = tarn_share_ref(first->share);
    range->blob = first->blob;
    range->background = !is_demanded(queued, n);
    if (range->background)
        tarn_fetch_count_ahead(range);
    if (tarn_range_enqueue(range) < 0) {
        fail_items(range, -ENOMEM);
        end_range(range);
    }
    return n;
}

// Takes the queued rows off their list, with their places, in order. Their runs stay held.
static void collect(struct tarn_fetch *fetch, struct queued *queued)
{
    size_t n = 0;
    while (fetch->queued.first) {
        struct tarn_fetch_row *row = fetch->queued.first;
        struct tarn_fetch_run *run = row->run;
        const uint32_t index = (uint32_t)(row - run->items);
        const struct tarn_location location =
            tarn_tables_location(&run->image->bootstrap.tables, run->rows.first + index);
        queued[n].entry = (struct tarn_fetch_entry){ run, index };
        queued[n].place = (struct tarn_plan_item){ location.offset, location.stored_length };
        n++;
        tarn_run_hold(run);
        tarn_row_dequeue(row);
    }
    qsort(queued, n, sizeof *queued, compare_queued);
}

static void fail_queued(struct tarn_fetch *fetch)
{
    while (fetch->queued.first) {
        struct tarn_fetch_run *run = fetch->queued.first->run;
        tarn_run_fail(run, (uint32_t)(fetch->queued.first - run->items), -ENOMEM);
    }
}

bool tarn_fetch_start_ranges(struct tarn_fetch *fetch)
{
    const size_t count = tarn_fetch_gather(fetch);
    if (count > 0) {
        tarn_autofree struct queued *queued = calloc(count, sizeof *queued);
        tarn_autofree struct tarn_plan_item *places = calloc(count, sizeof *places);
        if (queued && places) {
            collect(fetch, queued);
            for (size_t i = 0; i < count;)
                i += make_range(fetch, queued + i, count - i, places);
            for (size_t i = 0; i < count; i++)
                tarn_run_release(queued[i].entry.run);
        } else {
            fail_queued(fetch);
        }
    }
    tarn_fetch_start_waiting(fetch);
    return fetch->queued.first; // one that could not start may have been what they gathered behind
}
