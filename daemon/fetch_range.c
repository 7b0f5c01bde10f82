// SPDX-License-Identifier: Apache-2.0
// Range reads: the queued rows, sorted by where they lie, in as few reads as make sense. Bytes are
// handed to their rows as they arrive.
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
    tarn_share_unref(range->share);
    tarn_node_image_unref(range->image);
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

static int received(void *context, const void *bytes, size_t length)
{
    struct tarn_fetch_range *range = context;
    struct tarn_fetch *fetch = range->fetch;
    const uint64_t start = range->offset + range->received;
    const uint64_t end = start + length;
    range->received += length;
    tarn_count(&range->image->counters.fetched_bytes, length);
    if (range->share)
        tarn_count(&range->share->fetched_bytes, length);
    tarn_count(&fetch->options.total->fetched_bytes, length);
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
            memcpy(row->stored + (from - place.offset), (const uint8_t *)bytes + (from - start),
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
        tarn_fetch_log(fetch, "%s: blob %s: cannot read %llu bytes at offset %llu: %s",
                       range->image->name, tarn_digest_format(&run->file->rows.blob, digest),
                       (unsigned long long)range->length, (unsigned long long)range->offset,
                       err && err->text[0] ? err->text : "it ends early");
        fail_items(range, -EIO);
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
        row->reserved = true;
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
        .offset = range->offset,
        .length = range->length,
        .background = range->background,
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

// One range of the first rows of queued; returns how many.
static size_t make_range(struct tarn_fetch *fetch, const struct queued *queued, size_t count,
                         struct tarn_plan_item *places)
{
    const struct tarn_fetch_run *first = queued[0].entry.run;
    size_t same = 0;
    for (; same < count && queued[same].entry.run->image == first->image &&
           queued[same].entry.run->blob == first->blob;
         same++)
        places[same] = queued[same].place;
    const size_t n = tarn_plan_range(places, same, TARN_FETCH_RANGE_LIMIT);
    struct tarn_fetch_range *range = calloc(1, sizeof *range + n * sizeof range->items[0]);
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
    range->offset = queued[0].place.offset;
    range->length = queued[n - 1].place.offset + queued[n - 1].place.length - range->offset;
    range->count = n;
    range->background = true;
    for (size_t i = 0; i < n; i++)
        range->background &= !queued[i].entry.run->items[queued[i].entry.index].demanded;
    if (tarn_range_enqueue(range) < 0) {
        fail_items(range, -ENOMEM);
        end_range(range);
    }
    return n;
}

// The queued rows that are still to be read, with their places, in order. Returns how many.
static size_t collect(struct tarn_fetch *fetch, struct queued *queued)
{
    size_t n = 0;
    for (size_t i = 0; i < fetch->queued_count; i++) {
        const struct tarn_fetch_entry entry = fetch->queued[i];
        struct tarn_fetch_row *row = &entry.run->items[entry.index];
        row->listed = false;
        if (row->state != TARN_ROW_QUEUED)
            continue;
        const struct tarn_location location = tarn_tables_location(
            &entry.run->image->bootstrap.tables, entry.run->rows.first + entry.index);
        queued[n].entry = entry;
        queued[n].place = (struct tarn_plan_item){ location.offset, location.stored_length };
        n++;
    }
    qsort(queued, n, sizeof *queued, compare_queued);
    return n;
}

void tarn_fetch_start_ranges(struct tarn_fetch *fetch)
{
    const size_t total = fetch->queued_count;
    if (total > 0) {
        struct tarn_fetch_entry *entries = fetch->queued;
        tarn_autofree struct queued *queued = calloc(total, sizeof *queued);
        tarn_autofree struct tarn_plan_item *places = calloc(total, sizeof *places);
        const size_t count = queued && places ? collect(fetch, queued) : 0;
        fetch->queued = NULL;
        fetch->queued_count = 0;
        fetch->queued_capacity = 0;
        for (size_t i = 0; i < count;)
            i += make_range(fetch, queued + i, count - i, places);
        for (size_t i = 0; i < total; i++) {
            const struct tarn_fetch_entry entry = entries[i];
            if (!queued || !places) {
                entry.run->items[entry.index].listed = false;
                tarn_run_fail(entry.run, entry.index, -ENOMEM);
            }
            tarn_run_release(entry.run);
        }
        free(entries);
    }
    tarn_fetch_start_waiting(fetch);
}
