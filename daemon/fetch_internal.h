// SPDX-License-Identifier: Apache-2.0
// The fetch engine's state: runs in work, their rows, range reads. Everything belongs to the loop's
// thread, except what a job that runs on the pool is said to own meanwhile.
//
// A row's life: IDLE -> LOCAL (checked or copied by the pool) or TARGET (a reference waits for the row
// it names) or QUEUED -> FETCHING (in a range read) -> FETCHED (its stored bytes are there) ->
// DECODING (by the pool, as soon as its prefix is local) -> IDLE. Its waiters are woken when it gets
// IDLE again.
#ifndef TARN_DAEMON_FETCH_INTERNAL_H
#define TARN_DAEMON_FETCH_INTERNAL_H

#include <assert.h>
#include <pthread.h>

#include "base/map.h"
#include "daemon/fetch.h"
#include "daemon/fetch_plan.h"
#include "format/chunk_codec.h"

enum {
    TARN_FETCH_TRIES = 2,
    TARN_FETCH_ORIGIN_TRANSFERS = 16, // of one host, but for what is sure
    TARN_FETCH_IMAGE_TRANSFERS = 12,  // of one image
    // of one that is no registry's; each may hold a thread of libuv's
    TARN_FETCH_DISK_TRANSFERS = 2,
    TARN_FETCH_IMAGE_SURE = 2,        // of one image in any case
    TARN_FETCH_SPARE = 4,             // of both that reads ahead leave free
    TARN_FETCH_RANGE_LIMIT = 8 << 20, // bytes of one read
    TARN_FETCH_PARTS_MAX = 32,        // of one read
    TARN_FETCH_DELAY = 64 << 10,      // bytes in a read before what a reader waits for
    TARN_FETCH_MEMORY = 64 << 20,     // stored bytes and run buffers
    TARN_FETCH_DECODERS = 16,
};

enum tarn_row_state {
    TARN_ROW_IDLE,
    TARN_ROW_LOCAL,
    TARN_ROW_TARGET,
    TARN_ROW_QUEUED,
    TARN_ROW_FETCHING,
    TARN_ROW_FETCHED,
    TARN_ROW_DECODING,
};

struct tarn_fetch_run;
struct tarn_fetch_range;

struct tarn_fetch_row {
    enum tarn_row_state state;
    uint8_t tries;
    bool demanded;                 // a reader waits for it, directly or not
    uint32_t reserved;             // so many stored bytes are counted in fetch->memory
    bool no_store;                 // the store cannot give it: decode it
    uint8_t *stored;               // owned; FETCHING to DECODING
    struct tarn_row_list *list;    // QUEUED: fetch->queued, or where it gathers; its run is held
    struct tarn_fetch_row *before; // in the list
    struct tarn_fetch_row *after;
    struct tarn_fetch_range *range; // FETCHING: which read brings it
    struct tarn_fetch_waiter *first;
    struct tarn_fetch_waiter *last;
    struct tarn_fetch_waiter target; // TARGET
    struct tarn_fetch_run *run;
};

enum tarn_row_result {
    TARN_RESULT_STORED,
    TARN_RESULT_MEMORY, // right, but could not be written
    TARN_RESULT_WRONG,
    TARN_RESULT_SKIPPED, // a row that it needs was wrong
};

struct tarn_fetch_run {
    struct tarn_fetch *fetch;
    struct tarn_node_image *image; // a reference is held
    struct tarn_share *share;      // a reference is held, or NULL: who wanted it first
    uint32_t blob;
    struct tarn_data_file *file;
    struct tarn_run_rows rows;
    uint32_t file_row; // of the run's first row, in file
    uint64_t hash;
    uint32_t holds; // jobs, ranges and callers that need it
    bool decoding;
    bool unlisted; // not in fetch->runs any more

    // Decoded bytes, from the run's start; which rows of it are right. The job's while decoding.
    uint8_t *buffer;
    uint64_t in_buffer;

    // The decode job: the rows to do, ascending, and what became of each.
    struct tarn_job job;
    struct tarn_post post;
    uint64_t mask;
    enum tarn_row_result results[TARN_RUN_ROWS_MAX];

    struct tarn_run_shape shape;
    uint64_t addresses[TARN_RUN_ROWS_MAX + 1];
    struct tarn_fetch_row items[]; // rows.count
};

struct tarn_fetch_entry {
    struct tarn_fetch_run *run;
    uint32_t index;
};

// A read from a repository: a range of a blob, or several with gaps between them.
struct tarn_fetch_range {
    struct tarn_fetch *fetch;
    struct tarn_fetch_range *next;    // at its image
    struct tarn_fetch_origin *origin; // counts it as user
    bool background;                  // no reader waits for it
    bool ahead;                       // others gather behind it
    struct tarn_node_image *image;    // a reference is held
    struct tarn_share *share;         // the same, or NULL
    uint32_t blob;
    struct tarn_read_range *parts; // owned; ascending
    size_t part_count;
    size_t part;       // that bytes arrive for
    uint64_t received; // of it
    struct tarn_transfer *transfer;
    size_t count;
    size_t current; // the first item that is not complete
    struct {
        struct tarn_fetch_entry entry; // its run is held
        struct tarn_plan_item place;
    } items[];
};

struct tarn_fetch {
    struct tarn_fetch_options options;
    struct tarn_map *runs;
    size_t run_count;                  // listed or not
    struct tarn_row_list queued;       // to be read, or to gather, from the next flush on
    struct tarn_fetch_origin *origins; // that ranges wait for or come from
    unsigned transfers;
    uint64_t memory;
    struct tarn_fetch_waiter *failed; // to be woken with their failure at the next flush
    uint64_t log_second;              // lines are limited: a reader may try again at once
    unsigned log_lines;

    pthread_mutex_t lock; // guards decoders
    struct tarn_decoder *decoders[TARN_FETCH_DECODERS];
    unsigned decoder_count;
};

static inline uint64_t tarn_run_bit(uint32_t index)
{
    assert(index < TARN_RUN_ROWS_MAX);
    return UINT64_C(1) << index;
}

static inline size_t tarn_run_length(const struct tarn_fetch_run *run, uint32_t index)
{
    return (size_t)(run->addresses[index + 1] - run->addresses[index]);
}

// The chunk, whose digest is read from the image's tables now.
static inline struct tarn_row_chunk tarn_run_chunk(const struct tarn_fetch_run *run, uint32_t index)
{
    struct tarn_row_chunk chunk = { .row = run->file_row + index,
                                    .address = run->addresses[index],
                                    .length = tarn_run_length(run, index) };
    tarn_tables_digest(&run->image->bootstrap.tables, run->rows.first + index, &chunk.digest);
    return chunk;
}

// fetch.c
uint64_t tarn_run_local(const struct tarn_fetch_run *run);
void tarn_run_hold(struct tarn_fetch_run *run);
void tarn_run_release(struct tarn_fetch_run *run);
// Gives the row's waiters their answer and makes it IDLE.
void tarn_run_finish(struct tarn_fetch_run *run, uint32_t index, int status,
                     const struct tarn_chunk_bytes *bytes);
// As that with an error, and so for each row that cannot be decoded without it.
void tarn_run_fail(struct tarn_fetch_run *run, uint32_t index, int status);
// Brings an idle row on its way; demanded: a reader waits.
void tarn_run_start(struct tarn_fetch_run *run, uint32_t index, bool demanded);
// Lists the row for the next flush, with the rows that it needs.
void tarn_run_enqueue(struct tarn_fetch_run *run, uint32_t index);
void tarn_run_drop_stored(struct tarn_fetch_run *run, uint32_t index);
void tarn_fetch_log(struct tarn_fetch *fetch, const char *format, ...) tarn_printf(2, 3);

// fetch_decode.c: submits what can be decoded now.
void tarn_run_step(struct tarn_fetch_run *run);

// fetch_local.c: checks the row in its file, or copies it from the place, on the pool. -ENOMEM: not
// started.
int tarn_run_check_local(struct tarn_fetch_run *run, uint32_t index) tarn_must_check;
int tarn_run_copy_local(struct tarn_fetch_run *run, uint32_t index,
                        const struct tarn_chunk_place *place) tarn_must_check;

// fetch_queue.c: lists a row to be read, in state QUEUED.
void tarn_row_enqueue(struct tarn_fetch_row *row);
// Takes a listed row off its list; its state is the caller's to set. May free the run.
void tarn_row_dequeue(struct tarn_fetch_row *row);
// A listed row gathers no longer.
void tarn_row_hasten(struct tarn_fetch_row *row);
// Has those of the queued rows gather that may; returns how many are left to be read now.
size_t tarn_fetch_gather(struct tarn_fetch *fetch);
// Others gather behind the range until it ends.
void tarn_fetch_count_ahead(struct tarn_fetch_range *range);
void tarn_fetch_uncount_ahead(struct tarn_fetch_range *range);

// fetch_range.c: makes ranges of the queued rows whose time has come and starts as many as there is room
// for. Returns whether there are queued rows again.
bool tarn_fetch_start_ranges(struct tarn_fetch *fetch);
// Starts the read of one that was counted; ends it at once if that fails.
void tarn_range_start(struct tarn_fetch_range *range);

// fetch_schedule.c: lets the range wait for its turn. -ENOMEM: it does not.
int tarn_range_enqueue(struct tarn_fetch_range *range) tarn_must_check;
// A reader waits for it now.
void tarn_range_promote(struct tarn_fetch_range *range);
void tarn_fetch_start_waiting(struct tarn_fetch *fetch);
// A started one is over: it is not counted any more.
void tarn_range_ended(struct tarn_fetch_range *range);

#endif
