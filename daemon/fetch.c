// SPDX-License-Identifier: Apache-2.0
#include "daemon/fetch_internal.h"

#include <assert.h>
#include <stdarg.h>

#include "base/container.h"
#include "base/log.h"

struct tarn_fetch *tarn_fetch_new(const struct tarn_fetch_options *options, struct tarn_err *err)
{
    struct tarn_fetch *fetch = calloc(1, sizeof *fetch);
    struct tarn_map *runs = tarn_map_new();
    if (!fetch || !runs) {
        free(fetch);
        tarn_map_free(runs);
        tarn_fail(err, -ENOMEM, "out of memory starting the fetch engine");
        return NULL;
    }
    fetch->options = *options;
    fetch->runs = runs;
    pthread_mutex_init(&fetch->lock, NULL);
    return fetch;
}

void tarn_fetch_free(struct tarn_fetch *fetch)
{
    if (!fetch)
        return;
    for (unsigned i = 0; i < fetch->decoder_count; i++)
        tarn_decoder_free(fetch->decoders[i]);
    pthread_mutex_destroy(&fetch->lock);
    tarn_map_free(fetch->runs);
    free(fetch);
}

bool tarn_fetch_busy(const struct tarn_fetch *fetch)
{
    return fetch->run_count > 0 || fetch->transfers > 0 || fetch->failed;
}

void tarn_fetch_log(struct tarn_fetch *fetch, const char *format, ...)
{
    enum { LINES_PER_SECOND = 20 };
    const uint64_t second = uv_hrtime() / 1000000000;
    if (second != fetch->log_second) {
        fetch->log_second = second;
        fetch->log_lines = 0;
    }
    if (++fetch->log_lines > LINES_PER_SECOND)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tarn_log(TARN_LOG_ERROR, "%s", text);
}

// --- runs ------------------------------------------------------------------------------------

struct run_key {
    const struct tarn_data_file *file;
    uint32_t file_row;
};

static uint64_t hash_key(const struct run_key *key)
{
    uint64_t x = (uint64_t)key->file->number << 32 | key->file_row;
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    return x ^ x >> 33;
}

static bool equal_key(const void *key, const void *value)
{
    const struct run_key *wanted = key;
    const struct tarn_fetch_run *run = value;
    return run->file == wanted->file && run->file_row == wanted->file_row;
}

// Copies where the rows lie; -EIO: they are none that a verified image has.
static int copy_addresses(struct tarn_fetch_run *run)
{
    const struct tarn_tables *tables = &run->image->bootstrap.tables;
    const struct tarn_run_rows rows = run->rows;
    run->addresses[0] = tarn_tables_address(tables, rows.first);
    for (uint32_t i = 0; i < rows.count; i++) {
        const uint64_t next = tarn_tables_address(tables, rows.first + i + 1);
        if (next <= run->addresses[i] || next - run->addresses[i] > TARN_CHUNK_MAX)
            return -EIO;
        run->addresses[i + 1] = next;
    }
    return 0;
}

// The run in work that holds the row, or a new one. NULL: out of memory, or -EIO: there is no such run.
static struct tarn_fetch_run *get_run(struct tarn_fetch *fetch,
                                      const struct tarn_fetch_target *target, int *status)
{
    struct tarn_node_image *image = target->image;
    const uint32_t blob = target->blob;
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_run_rows rows = tarn_node_image_run(image, blob, target->row);
    const struct run_key key = {
        image->files[blob],
        rows.first - tarn_tables_blob(tables, blob).first_row,
    };
    const uint64_t hash = hash_key(&key);
    struct tarn_fetch_run *run = tarn_map_get(fetch->runs, hash, &key, equal_key);
    *status = -EIO;
    if (rows.count == 0 || (run && target->row - rows.first >= run->rows.count))
        return NULL;
    if (run)
        return run;
    run = calloc(1, sizeof *run + rows.count * sizeof run->items[0]);
    if (run) {
        run->image = image;
        run->rows = rows;
        *status = copy_addresses(run);
    }
    if (!run || *status < 0 || tarn_map_add(fetch->runs, hash, run) < 0) {
        *status = run && *status < 0 ? *status : -ENOMEM;
        free(run);
        return NULL;
    }
    fetch->run_count++;
    run->fetch = fetch;
    tarn_node_image_ref(image);
    run->share = tarn_share_ref(target->share);
    run->blob = blob;
    run->file = image->files[blob];
    run->file_row = key.file_row;
    run->hash = hash;
    for (uint32_t i = 0; i < rows.count; i++)
        run->items[i].run = run;
    run->shape = (struct tarn_run_shape){ run->addresses, rows.count };
    return run;
}

void tarn_run_hold(struct tarn_fetch_run *run)
{
    run->holds++;
}

// Whoever wants its rows from now on gets another run, with an image of their own.
static void unlist(struct tarn_fetch_run *run)
{
    if (!run->unlisted)
        tarn_map_remove(run->fetch->runs, run->hash, run);
    run->unlisted = true;
}

void tarn_run_release(struct tarn_fetch_run *run)
{
    if (--run->holds > 0)
        return;
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (run->items[i].state != TARN_ROW_IDLE)
            return;
    struct tarn_fetch *fetch = run->fetch;
    if (run->buffer) {
        fetch->memory -= (uint64_t)(run->addresses[run->rows.count] - run->addresses[0]);
        free(run->buffer);
    }
    unlist(run);
    fetch->run_count--;
    tarn_share_unref(run->share);
    tarn_node_image_unref(run->image);
    free(run);
}

uint64_t tarn_run_local(const struct tarn_fetch_run *run)
{
    uint64_t local = run->decoding ? 0 : run->in_buffer;
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (tarn_data_file_verified(run->file, run->file_row + i))
            local |= tarn_run_bit(i);
    return local;
}

void tarn_run_drop_stored(struct tarn_fetch_run *run, uint32_t index)
{
    struct tarn_fetch_row *row = &run->items[index];
    free(row->stored);
    row->stored = NULL;
    run->fetch->memory -= row->reserved;
    row->reserved = 0;
}

// --- outcomes --------------------------------------------------------------------------------

// A want of another image gets a try of its own: only its source may have the right bytes.
static bool retry_elsewhere(struct tarn_fetch_run *run, uint32_t index,
                            struct tarn_fetch_waiter *waiter)
{
    if (waiter->image == run->image || waiter->retried)
        return false;
    struct tarn_node_image *image = waiter->image;
    for (uint32_t b = 0; b < image->bootstrap.tables.blob_count; b++) {
        if (image->files[b] != run->file)
            continue;
        const uint32_t row =
            tarn_tables_blob(&image->bootstrap.tables, b).first_row + run->file_row + index;
        waiter->retried = true;
        unlist(run);
        const struct tarn_fetch_target target = { image, waiter->share, b, row, false };
        if (!tarn_fetch_want(run->fetch, &target, waiter))
            return true;
        waiter->wake(waiter, 0, NULL);
        return true;
    }
    return false;
}

void tarn_run_finish(struct tarn_fetch_run *run, uint32_t index, int status,
                     const struct tarn_chunk_bytes *bytes)
{
    struct tarn_fetch_row *row = &run->items[index];
    struct tarn_fetch_waiter *waiter = row->first;
    assert(!row->list);
    row->first = NULL;
    row->last = NULL;
    row->state = TARN_ROW_IDLE;
    row->range = NULL;
    row->no_store = false;
    row->demanded = false;
    row->tries = 0;
    tarn_run_drop_stored(run, index);
    tarn_run_hold(run);
    while (waiter) {
        struct tarn_fetch_waiter *next = waiter->next;
        waiter->row = NULL;
        if (status == -ENOMEM) { // perhaps from within the waiter's own want
            waiter->failure = status;
            waiter->next = run->fetch->failed;
            run->fetch->failed = waiter;
        } else if (status >= 0 || !retry_elsewhere(run, index, waiter)) {
            waiter->wake(waiter, status, bytes);
        }
        waiter = next;
    }
    tarn_run_release(run);
}

void tarn_run_fail(struct tarn_fetch_run *run, uint32_t index, int status)
{
    assert(index < run->rows.count);
    const uint64_t local = tarn_run_local(run) & ~tarn_run_bit(index);
    uint64_t failed = tarn_run_bit(index);
    for (uint32_t i = index + 1; i < run->rows.count; i++) {
        const enum tarn_row_state state = run->items[i].state;
        const bool open =
            state == TARN_ROW_QUEUED || state == TARN_ROW_FETCHING || state == TARN_ROW_FETCHED;
        if (open && tarn_plan_needed(&run->shape, local, tarn_run_bit(i)) & tarn_run_bit(index))
            failed |= tarn_run_bit(i);
    }
    tarn_run_hold(run);
    // States first: a waiter that is woken may want a row of this run again.
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (failed >> i & 1) {
            if (run->items[i].list)
                tarn_row_dequeue(&run->items[i]);
            run->items[i].state = TARN_ROW_IDLE;
            run->items[i].range = NULL;
            tarn_run_drop_stored(run, i);
        }
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (failed >> i & 1 && run->items[i].state == TARN_ROW_IDLE)
            tarn_run_finish(run, i, status, NULL);
    tarn_run_release(run);
}

// --- starting ----------------------------------------------------------------------------------

// The row that a reference names. False: none, which no verified image has.
static bool find_target(const struct tarn_fetch_run *run, uint32_t index,
                        struct tarn_fetch_target *target)
{
    const struct tarn_tables *tables = &run->image->bootstrap.tables;
    const struct tarn_location location = tarn_tables_location(tables, run->rows.first + index);
    if (location.kind != TARN_LOCATION_REFERENCE || location.blob >= tables->blob_count)
        return false;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, location.blob);
    *target = (struct tarn_fetch_target){
        .image = run->image,
        .share = run->share,
        .blob = location.blob,
        .row = tarn_tables_find(tables, &blob, location.address),
        .background = !run->items[index].demanded,
    };
    return target->row != TARN_NONE;
}

// Wants it, with or without the row's own waiter. Returns whether it is local.
static bool want_target(struct tarn_fetch_run *run, uint32_t index,
                        struct tarn_fetch_waiter *waiter)
{
    struct tarn_fetch_target target;
    if (find_target(run, index, &target))
        return tarn_fetch_want(run->fetch, &target, waiter);
    if (waiter) {
        waiter->failure = -EIO;
        waiter->next = run->fetch->failed;
        run->fetch->failed = waiter;
    }
    return false;
}

// Readers wait for those of the rows that are on their way.
static void demand_rows(struct tarn_fetch_run *run, uint64_t rows)
{
    for (uint32_t i = 0; i < run->rows.count; i++) {
        struct tarn_fetch_row *row = &run->items[i];
        if (!(rows >> i & 1) || row->demanded || row->state == TARN_ROW_IDLE)
            continue;
        row->demanded = true;
        if (row->list)
            tarn_row_hasten(row);
        else if (row->state == TARN_ROW_FETCHING)
            tarn_range_promote(row->range);
        else if (row->state == TARN_ROW_TARGET)
            (void)want_target(run, i, NULL);
    }
}

void tarn_run_enqueue(struct tarn_fetch_run *run, uint32_t index)
{
    struct tarn_fetch_row *row = &run->items[index];
    tarn_row_enqueue(row);
    const uint64_t needed = tarn_plan_needed(&run->shape, tarn_run_local(run), tarn_run_bit(index));
    for (uint32_t i = index; i-- > 0;)
        if (needed >> i & 1 && run->items[i].state == TARN_ROW_IDLE)
            tarn_run_start(run, i, row->demanded);
    if (row->demanded)
        demand_rows(run, needed);
}

static int copy_target(struct tarn_fetch_run *run, uint32_t index,
                       const struct tarn_fetch_target *target)
{
    const struct tarn_tables *tables = &run->image->bootstrap.tables;
    const struct tarn_chunk_place place = {
        run->image->files[target->blob],
        target->row - tarn_tables_blob(tables, target->blob).first_row,
        tarn_tables_address(tables, target->row),
    };
    return tarn_run_copy_local(run, index, &place);
}

// The row that a reference names is there now, or cannot be had.
static void target_done(struct tarn_fetch_waiter *waiter, int status,
                        const struct tarn_chunk_bytes *bytes)
{
    struct tarn_fetch_row *row = tarn_container_of(waiter, struct tarn_fetch_row, target);
    struct tarn_fetch_run *run = row->run;
    const uint32_t index = (uint32_t)(row - run->items);
    tarn_run_hold(run);
    if (status < 0) {
        tarn_run_finish(run, index, status, NULL);
    } else if (bytes) {
        const struct tarn_chunk_bytes mine = { run->addresses[index], bytes->length, bytes->data };
        tarn_run_finish(run, index, 0, &mine);
    } else {
        struct tarn_fetch_target target;
        const int ret = find_target(run, index, &target) ? copy_target(run, index, &target) : -EIO;
        if (ret < 0)
            tarn_run_finish(run, index, ret, NULL);
    }
    tarn_run_release(run);
}

// A reader has come to wait for a row that was on its way, and with it for what it needs.
static void demand_row(struct tarn_fetch_run *run, uint32_t index)
{
    demand_rows(run, tarn_plan_needed(&run->shape, tarn_run_local(run), tarn_run_bit(index)));
}

static void start_reference(struct tarn_fetch_run *run, uint32_t index)
{
    struct tarn_fetch_row *row = &run->items[index];
    row->state = TARN_ROW_TARGET;
    row->target = (struct tarn_fetch_waiter){ .wake = target_done };
    if (want_target(run, index, &row->target))
        target_done(&row->target, 0, NULL);
}

void tarn_run_start(struct tarn_fetch_run *run, uint32_t index, bool demanded)
{
    const uint32_t file_row = run->file_row + index;
    struct tarn_fetch_row *row = &run->items[index];
    const struct tarn_row_chunk chunk = tarn_run_chunk(run, index);
    row->demanded |= demanded;
    if (!row->no_store && tarn_data_file_written(run->file, file_row) &&
        tarn_run_check_local(run, index) == 0)
        return;
    struct tarn_chunk_place place;
    if (!row->no_store &&
        tarn_store_find(run->fetch->options.store, &chunk.digest, chunk.length, run->file,
                        &place) &&
        tarn_run_copy_local(run, index, &place) == 0)
        return;
    const struct tarn_location location =
        tarn_tables_location(&run->image->bootstrap.tables, run->rows.first + index);
    if (location.kind == TARN_LOCATION_REFERENCE)
        start_reference(run, index);
    else
        tarn_run_enqueue(run, index);
}

static void add_waiter(struct tarn_fetch_row *row, struct tarn_fetch_waiter *waiter)
{
    waiter->next = NULL;
    waiter->row = row;
    if (row->last)
        row->last->next = waiter;
    else
        row->first = waiter;
    row->last = waiter;
}

bool tarn_fetch_want(struct tarn_fetch *fetch, const struct tarn_fetch_target *target,
                     struct tarn_fetch_waiter *waiter)
{
    struct tarn_node_image *image = target->image;
    const uint32_t blob = target->blob;
    const uint32_t row = target->row;
    const uint32_t file_row = row - tarn_tables_blob(&image->bootstrap.tables, blob).first_row;
    if (tarn_data_file_verified(image->files[blob], file_row))
        return true;
    if (waiter) {
        waiter->image = image;
        waiter->share = target->share;
    }
    int status;
    struct tarn_fetch_run *run = get_run(fetch, target, &status);
    if (!run) {
        if (waiter) {
            waiter->failure = status;
            waiter->next = fetch->failed;
            fetch->failed = waiter;
        }
        return false;
    }
    tarn_run_hold(run);
    const uint32_t index =
        row - (tarn_tables_blob(&image->bootstrap.tables, blob).first_row + run->file_row);
    if (waiter)
        add_waiter(&run->items[index], waiter);
    if (run->items[index].state == TARN_ROW_IDLE)
        tarn_run_start(run, index, !target->background);
    else if (!target->background)
        demand_row(run, index);
    tarn_run_release(run);
    return false;
}

static void remove_waiter(struct tarn_fetch_row *row, struct tarn_fetch_waiter *waiter)
{
    struct tarn_fetch_waiter *before = NULL;
    for (struct tarn_fetch_waiter *at = row->first; at != waiter; at = at->next)
        before = at;
    if (before)
        before->next = waiter->next;
    else
        row->first = waiter->next;
    if (row->last == waiter)
        row->last = before;
    waiter->row = NULL;
}

void tarn_fetch_hurry(struct tarn_fetch *fetch, struct tarn_fetch_waiter *waiter, uint64_t before)
{
    struct tarn_fetch_row *row = waiter->row;
    if (!row)
        return;
    struct tarn_fetch_run *run = row->run;
    if (run->image == waiter->image) {
        if (row->state == TARN_ROW_TARGET)
            tarn_fetch_hurry(fetch, &row->target, before);
    } else if (!waiter->retried && run->image->progressed < before) {
        const uint32_t index = (uint32_t)(row - run->items);
        remove_waiter(row, waiter);
        if (!retry_elsewhere(run, index, waiter))
            add_waiter(row, waiter);
    }
}

bool tarn_fetch_knows(const struct tarn_fetch *fetch, const struct tarn_node_image *image,
                      uint32_t blob, uint32_t row)
{
    const uint32_t first_row = tarn_tables_blob(&image->bootstrap.tables, blob).first_row;
    if (tarn_data_file_verified(image->files[blob], row - first_row))
        return true;
    const struct tarn_run_rows rows = tarn_node_image_run(image, blob, row);
    const struct run_key key = { image->files[blob], rows.first - first_row };
    const struct tarn_fetch_run *run = tarn_map_get(fetch->runs, hash_key(&key), &key, equal_key);
    return run && row - rows.first < run->rows.count &&
           run->items[row - rows.first].state != TARN_ROW_IDLE;
}

void tarn_fetch_flush(struct tarn_fetch *fetch)
{
    do {
        while (fetch->failed) {
            struct tarn_fetch_waiter *waiter = fetch->failed;
            fetch->failed = waiter->next;
            waiter->wake(waiter, waiter->failure, NULL);
        }
    } while (tarn_fetch_start_ranges(fetch) || fetch->failed);
}
