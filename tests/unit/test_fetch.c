// SPDX-License-Identifier: Apache-2.0
// The fetch engine over a repository that can fail in every way.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/fetch_internal.h"
#include "registry/repository_internal.h"
#include "tests/support/test_bytes.h"

enum { CHUNKS = 24, RUN = 13 };
#define CHUNK ((size_t)20000)
#define SPACE (CHUNKS * CHUNK)

// --- a blob and its table: runs of 13 chunks; the last chunk of blob 1 refers to blob 0 ---------------

struct blob {
    struct tarn_digest digest;
    uint8_t data[SPACE];
    uint8_t stored[SPACE];
    size_t size;
};

static void encode(struct blob *blob, uint32_t index, struct tarn_tables_builder *builder)
{
    struct tarn_encoder *encoder = tarn_encoder_new(3);
    uint8_t *out = malloc(tarn_encoder_bound());
    assert_true(encoder && out);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct tarn_location location = { .kind = TARN_LOCATION_REFERENCE,
                                          .blob = 0,
                                          .address = 5 * CHUNK };
        struct tarn_digest digest;
        tarn_sha256(blob->data + i * CHUNK, CHUNK, &digest);
        if (index == 0 || i + 1 < CHUNKS) {
            if (i % RUN == 0)
                tarn_encoder_start_run(encoder, blob->data + i * CHUNK);
            bool raw;
            const ssize_t n = tarn_encoder_encode(encoder, CHUNK, out, &raw);
            assert_true(n > 0);
            location = (struct tarn_location){
                .kind = TARN_LOCATION_STORED,
                .raw = raw,
                .run_start = i % RUN == 0,
                .stored_length = (uint32_t)n,
                .offset = blob->size,
            };
            memcpy(blob->stored + blob->size, out, (size_t)n);
            blob->size += (size_t)n;
        }
        assert_int_equal(tarn_tables_builder_add_row(builder, i * CHUNK, &location, &digest), 0);
    }
    assert_int_equal(tarn_tables_builder_add_gap(builder, SPACE), 0);
    tarn_encoder_free(encoder);
    free(out);
}

// --- a repository ---------------------------------------------------------------------------------------

struct fake {
    struct tarn_repository repository;
    const struct blob *blobs;
    size_t piece;        // bytes handed over at a time
    size_t max_ranges;   // of one read
    size_t last_ranges;  // of the last read
    uint64_t bad_offset; // a byte that is wrong, in blob 0, in the next bad_times reads of it
    unsigned bad_times;
    unsigned short_times; // reads that end early without an error
    unsigned fail_times;  // reads that fail
    unsigned deny_times;  // reads that do not even start
    bool hold;            // nothing is handed over
    bool last_background; // of the last read
    struct tarn_digest last;
    unsigned reads;
    uint64_t bytes;
};

struct fake_transfer {
    struct tarn_transfer transfer;
    uv_timer_t timer;
    struct tarn_read read;
    struct tarn_read_range parts[8];
    size_t part;
    uint64_t position; // in it
    uint64_t left;     // of all
    bool bad;
    bool fails;
};

static void free_transfer(uv_handle_t *handle)
{
    free(handle->data);
}

static void step(uv_timer_t *timer)
{
    struct fake_transfer *transfer = timer->data;
    struct fake *fake = (struct fake *)transfer->transfer.repository;
    const struct tarn_read *read = &transfer->read;
    const struct blob *blob = fake->blobs;
    if (fake->hold)
        return;
    while (!tarn_digest_equal(&blob->digest, &read->digest))
        blob++;
    if (transfer->left > 0 && !transfer->fails) {
        const struct tarn_read_range *part = &transfer->parts[transfer->part];
        const size_t n = (size_t)tarn_min_u64(
            tarn_min_u64(transfer->left, part->length - transfer->position), fake->piece);
        const uint64_t at = part->offset + transfer->position;
        uint8_t *copy = malloc(n);
        memcpy(copy, blob->stored + at, n);
        if (transfer->bad && blob == fake->blobs && fake->bad_offset - at < n)
            copy[fake->bad_offset - at] ^= 1;
        transfer->position += n;
        transfer->left -= n;
        if (transfer->position == part->length) {
            transfer->part++;
            transfer->position = 0;
        }
        fake->bytes += n;
        assert_int_equal(read->data(read->context, copy, n), 0);
        free(copy);
        return;
    }
    uv_timer_stop(timer);
    const struct tarn_err err = { .code = -EIO, .text = "the line is down" };
    read->done(read->context, transfer->fails ? -EIO : 0, transfer->fails ? &err : NULL);
    uv_close((uv_handle_t *)timer, free_transfer);
}

static int fake_read(struct tarn_repository *repository, const struct tarn_read *read,
                     struct tarn_transfer **transfer, struct tarn_err *err)
{
    struct fake *fake = (struct fake *)repository;
    if (fake->deny_times > 0) {
        fake->deny_times--;
        return tarn_fail(err, -EIO, "no reads today");
    }
    struct fake_transfer *made = calloc(1, sizeof *made);
    made->transfer.repository = repository;
    made->read = *read;
    bool covers = false;
    assert_in_range(read->range_count, 1, fake->max_ranges);
    for (size_t i = 0; i < read->range_count; i++) {
        const struct tarn_read_range part = read->ranges[i];
        assert_true(part.length > 0 && (i == 0 || part.offset > read->ranges[i - 1].offset +
                                                                    read->ranges[i - 1].length));
        made->parts[i] = part;
        made->left += part.length;
        covers |= tarn_digest_equal(&read->digest, &fake->blobs[0].digest) &&
                  fake->bad_offset - part.offset < part.length;
    }
    fake->last_ranges = read->range_count;
    made->bad = covers && fake->bad_times > 0;
    fake->bad_times -= made->bad;
    made->fails = fake->fail_times > 0;
    fake->fail_times -= made->fails;
    if (fake->short_times > 0) {
        fake->short_times--;
        made->left /= 2;
    }
    fake->reads++;
    fake->last = read->digest;
    fake->last_background = ((const struct tarn_fetch_range *)read->context)->background;
    uv_timer_init(repository->loop, &made->timer);
    made->timer.data = made;
    uv_timer_start(&made->timer, step, 0, 1);
    *transfer = &made->transfer;
    return 0;
}

static void fake_close(struct tarn_repository *repository)
{
    (void)repository;
}

static size_t fake_max_ranges(const struct tarn_repository *repository)
{
    return ((const struct fake *)repository)->max_ranges;
}

static const struct tarn_repository_operations operations = { .read = fake_read,
                                                              .max_ranges = fake_max_ranges,
                                                              .close = fake_close };

// --- all together ------------------------------------------------------------------------------------------

struct world {
    char *root;
    uv_loop_t loop;
    struct blob blobs[2];
    struct tarn_tables_builder builder;
    struct fake fakes[2];
    struct tarn_node_image images[2]; // of the same blobs, from two repositories
    struct tarn_store *store;
    struct tarn_pool *pool;
    struct tarn_loop_queue *queue;
    struct tarn_fetch *fetch;
    struct tarn_counters total;
    unsigned waiting;
};

struct waiter {
    struct tarn_fetch_waiter waiter;
    struct world *world;
    int status;
    bool memory;
    bool woken;
};

static void woken(struct tarn_fetch_waiter *base, int status, const struct tarn_chunk_bytes *bytes)
{
    struct waiter *waiter = (struct waiter *)base;
    assert_false(waiter->woken);
    waiter->woken = true;
    waiter->status = status;
    waiter->memory = bytes;
    waiter->world->waiting--;
}

static void batch(void *context)
{
    struct world *world = context;
    tarn_fetch_flush(world->fetch);
}

static void make_images(struct world *world)
{
    for (size_t i = 0; i < 2; i++) {
        struct tarn_node_image *image = &world->images[i];
        image->name = (char *)(uintptr_t)(i == 0 ? "first" : "second");
        image->references = 1000;
        image->repository = &world->fakes[i].repository;
        image->bootstrap.tables = tarn_tables_builder_view(&world->builder);
        image->files = calloc(2, sizeof *image->files);
        image->gathers = calloc(2, sizeof *image->gathers);
        for (uint32_t b = 0; b < 2; b++) {
            const struct tarn_blob_record record = tarn_tables_blob(&image->bootstrap.tables, b);
            const struct tarn_rows rows = tarn_rows_of(&image->bootstrap.tables, &record);
            assert_int_equal(tarn_store_attach(world->store, &rows, &image->files[b], NULL), 0);
        }
    }
}

static char place[] = "docker://127.0.0.1:5000/a";

static int make_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    *state = world;
    world->root = strdup("/tmp/tarn-fetch-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    uint64_t seed = 7;
    tarn_test_text(&seed, world->blobs[0].data, SPACE);
    tarn_test_text(&seed, world->blobs[1].data, SPACE);
    memcpy(world->blobs[1].data + (CHUNKS - 1) * CHUNK, world->blobs[0].data + 5 * CHUNK, CHUNK);
    for (uint32_t b = 0; b < 2; b++) {
        encode(&world->blobs[b], b, &world->builder);
        tarn_sha256(world->blobs[b].stored, world->blobs[b].size, &world->blobs[b].digest);
        const struct tarn_blob_record record = {
            .digest = world->blobs[b].digest,
            .size = world->blobs[b].size,
            .data_length = SPACE,
            .first_row = b * (CHUNKS + 1),
            .row_count = CHUNKS + 1,
        };
        assert_int_equal(tarn_tables_builder_add_blob(&world->builder, &record), 0);
    }
    assert_int_equal(uv_loop_init(&world->loop), 0);
    for (size_t i = 0; i < 2; i++)
        world->fakes[i] = (struct fake){ .repository = { &operations, &world->loop, place },
                                         .blobs = world->blobs,
                                         .piece = 1000,
                                         .max_ranges = 1 };
    assert_int_equal(tarn_store_open(world->root, &world->store, NULL), 0);
    world->pool = tarn_pool_new(3, NULL);
    world->queue = tarn_loop_queue_new(&world->loop, batch, world, NULL);
    const struct tarn_fetch_options options = { world->store, world->pool, world->queue,
                                                &world->total };
    world->fetch = tarn_fetch_new(&options, NULL);
    make_images(world);
    return 0;
}

static void wait_for_all(struct world *world)
{
    while (tarn_fetch_busy(world->fetch))
        uv_run(&world->loop, UV_RUN_ONCE);
}

static int end_world(void **state)
{
    struct world *world = *state;
    wait_for_all(world);
    tarn_loop_queue_close(world->queue);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    tarn_pool_free(world->pool);
    tarn_fetch_free(world->fetch);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(world->images[i].references, 1000);
        free(world->images[i].files);
        free(world->images[i].gathers);
    }
    tarn_store_free(world->store);
    tarn_tables_builder_release(&world->builder);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, world->root, NULL), 0);
    free(world->root);
    free(world);
    return 0;
}

static uint32_t row_of(uint32_t blob, uint32_t chunk)
{
    return blob * (CHUNKS + 1) + chunk;
}

// Wants the chunk; true if it is local.
static bool want(struct world *world, struct waiter *waiter, size_t image, uint32_t blob,
                 uint32_t chunk)
{
    *waiter = (struct waiter){ .waiter = { .wake = woken }, .world = world };
    const struct tarn_fetch_target target = { &world->images[image], NULL, blob,
                                              row_of(blob, chunk), false };
    if (tarn_fetch_want(world->fetch, &target, &waiter->waiter))
        return true;
    world->waiting++;
    return false;
}

static void start(struct world *world, struct waiter *waiter, size_t image, uint32_t blob,
                  uint32_t chunk)
{
    assert_false(want(world, waiter, image, blob, chunk));
    tarn_fetch_flush(world->fetch);
}

static void wait(struct world *world)
{
    tarn_fetch_flush(world->fetch);
    while (world->waiting > 0)
        uv_run(&world->loop, UV_RUN_ONCE);
}

// Wants and waits; the outcome.
static int bring(struct world *world, size_t image, uint32_t blob, uint32_t chunk)
{
    struct waiter waiter;
    if (want(world, &waiter, image, blob, chunk))
        return 0;
    wait(world);
    return waiter.status;
}

// Every chunk that is verified is right. How many there are.
static unsigned check_space(struct world *world, uint32_t blob)
{
    static uint8_t data[CHUNK];
    struct tarn_data_file *file = world->images[0].files[blob];
    unsigned count = 0;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        if (!tarn_data_file_verified(file, i))
            continue;
        assert_int_equal(tarn_data_file_read(file, i * CHUNK, data, CHUNK), 0);
        assert_memory_equal(data, world->blobs[blob].data + i * CHUNK, CHUNK);
        count++;
    }
    return count;
}

static uint64_t stored_bytes(const struct world *world, uint32_t blob, uint32_t from, uint32_t to)
{
    uint64_t bytes = 0;
    for (; from < to; from++)
        bytes += tarn_tables_location(&world->images[0].bootstrap.tables, row_of(blob, from))
                     .stored_length;
    return bytes;
}

static void test_cold_in_the_middle(void **state)
{
    struct world *world = *state;
    assert_int_equal(bring(world, 0, 0, RUN + 3), 0);
    assert_int_equal(check_space(world, 0), 4);
    assert_int_equal(world->fakes[0].reads, 1);
    assert_int_equal(bring(world, 0, 0, RUN + 3), 0);
    assert_int_equal(world->fakes[0].reads, 1);
    // What it needs is local: it alone comes.
    const uint64_t before = world->fakes[0].bytes;
    assert_int_equal(bring(world, 0, 0, RUN + 4), 0);
    const struct tarn_location location =
        tarn_tables_location(&world->images[0].bootstrap.tables, row_of(0, RUN + 4));
    assert_int_equal(world->fakes[0].bytes - before, location.stored_length);
    assert_int_equal(world->total.decoded_chunks, 5);
}

static void test_one_fetch_for_all(void **state)
{
    struct world *world = *state;
    struct waiter waiters[CHUNKS][3];
    for (uint32_t i = 0; i < CHUNKS; i++)
        for (size_t k = 0; k < 3; k++)
            assert_false(want(world, &waiters[i][k], k % 2, 0, (i * 7) % CHUNKS));
    wait(world);
    for (uint32_t i = 0; i < CHUNKS; i++)
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(waiters[i][k].status, 0);
    assert_int_equal(check_space(world, 0), CHUNKS);
    assert_int_equal(world->total.decoded_chunks, CHUNKS);
    assert_int_equal(world->fakes[0].reads + world->fakes[1].reads, 1);
    assert_int_equal(world->fakes[0].bytes, world->blobs[0].size);
}

static void want_ahead(struct world *world, size_t image, uint32_t blob, uint32_t chunk)
{
    const struct tarn_fetch_target target = { &world->images[image], NULL, blob,
                                              row_of(blob, chunk), true };
    assert_false(tarn_fetch_want(world->fetch, &target, NULL));
}

static void start_ahead(struct world *world, size_t image, uint32_t blob, uint32_t chunk)
{
    want_ahead(world, image, blob, chunk);
    tarn_fetch_flush(world->fetch);
}

// What nobody waits for comes too, with what it needs, in one read.
static void test_ahead(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 5; i < RUN; i++)
        want_ahead(world, 0, 0, i);
    tarn_fetch_flush(world->fetch);
    assert_true(world->fakes[0].last_background);
    wait_for_all(world);
    assert_int_equal(check_space(world, 0), RUN);
    assert_int_equal(world->fakes[0].reads, 1);
}

// Chunks of two runs with others between them: one read where the repository takes several ranges.
static void test_several_ranges(void **state)
{
    struct world *world = *state;
    for (size_t most = 1; most <= 2; most++) {
        world->fakes[0].max_ranges = most;
        const uint32_t blob = (uint32_t)most - 1;
        const unsigned before = world->fakes[0].reads;
        struct waiter waiters[2];
        assert_false(want(world, &waiters[0], 0, blob, 1));
        assert_false(want(world, &waiters[1], 0, blob, RUN));
        wait(world);
        assert_int_equal(waiters[0].status | waiters[1].status, 0);
        assert_int_equal(world->fakes[0].last_ranges, most);
        assert_int_equal(world->fakes[0].reads - before, 3 - most);
        assert_int_equal(check_space(world, blob), 3);
    }
    assert_int_equal(world->fakes[0].bytes,
                     stored_bytes(world, 0, 0, 2) + stored_bytes(world, 0, RUN, RUN + 1) +
                         stored_bytes(world, 1, 0, 2) + stored_bytes(world, 1, RUN, RUN + 1));
}

// What a reader waits for does not come behind much that nobody waits for.
static void test_readers_first_in_a_read(void **state)
{
    struct world *world = *state;
    struct waiter waiter;
    world->fakes[0].max_ranges = 8;
    assert_true(stored_bytes(world, 0, 0, RUN - 1) > 64 << 10);
    for (uint32_t i = 0; i < RUN - 1; i++)
        want_ahead(world, 0, 0, i);
    assert_false(want(world, &waiter, 0, 0, RUN));
    wait(world);
    wait_for_all(world);
    assert_int_equal(waiter.status, 0);
    assert_int_equal(world->fakes[0].reads, 2);
    assert_true(world->fakes[0].last_background);
    assert_int_equal(check_space(world, 0), RUN);
}

// Two runs of blob 0 and one of blob 1 run ahead while the place has no room; then a reader comes.
static void test_readers_first(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fakes[0];
    fake->hold = true;
    start_ahead(world, 0, 0, 0); // takes the only place that is sure
    assert_int_equal(fake->reads, 1);
    for (uint32_t i = 0; i < 7; i++) {
        start_ahead(world, 0, 1, 3 * i);
    }
    const unsigned before = fake->reads;
    assert_in_range(before, 2, 8); // the others wait
    start_ahead(world, 0, 0, RUN);
    assert_int_equal(fake->reads, before);
    struct waiter waiter;
    start(world, &waiter, 0, 0, RUN); // the same chunk, now with a reader
    assert_int_equal(fake->reads, before + 1);
    assert_true(tarn_digest_equal(&fake->last, &world->blobs[0].digest));
    assert_false(fake->last_background);
    fake->hold = false;
    wait(world);
    assert_int_equal(waiter.status, 0);
}

// An image whose reads do not end takes no place away that another needs.
static void test_fair_share(void **state)
{
    struct world *world = *state;
    world->fakes[0].hold = true;
    struct waiter stuck[CHUNKS];
    for (uint32_t i = 0; i < CHUNKS; i++)
        start(world, &stuck[i], 0, 0, i); // each a read of its own
    assert_in_range(world->fakes[0].reads, 2, 12);
    struct waiter waiter;
    start(world, &waiter, 1, 1, 0);
    assert_int_equal(world->fakes[1].reads, 1);
    while (!waiter.woken)
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_int_equal(waiter.status, 0);
    world->fakes[0].hold = false;
    wait(world);
    assert_int_equal(check_space(world, 0), CHUNKS);
    assert_int_equal(world->fakes[0].bytes, world->blobs[0].size);
}

// A reader comes for what needs chunks that gather behind a read ahead: all of it comes at once.
static void test_reader_needs_what_gathers(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fakes[0];
    struct waiter waiter;
    fake->max_ranges = 8;
    fake->hold = true;
    start_ahead(world, 0, 0, RUN);
    start_ahead(world, 0, 0, 0);
    assert_int_equal(fake->reads, 1); // chunk 0 gathers
    start(world, &waiter, 0, 0, 1);
    assert_int_equal(fake->reads, 2);
    fake->hold = false;
    wait(world);
    assert_int_equal(waiter.status, 0);
    assert_int_equal(fake->reads, 2); // both came in one
}

// The read that others gather behind waits for its turn and then cannot start: they go on.
static void test_gathered_behind_none(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fakes[0];
    struct waiter others[RUN - 1];
    struct waiter waiter;
    world->fakes[1].hold = true;
    for (uint32_t i = 0; i < RUN - 1; i++) // the place is as good as full
        start(world, &others[i], 1, 1, i);
    fake->fail_times = 1;
    start(world, &waiter, 0, 1, RUN);
    start_ahead(world, 0, 0, RUN); // waits for its turn
    start_ahead(world, 0, 0, 0);   // gathers
    assert_int_equal(fake->reads, 1);
    fake->deny_times = 1;
    while (!waiter.woken)
        uv_run(&world->loop, UV_RUN_ONCE);
    const unsigned reads = fake->reads;
    world->fakes[1].hold = false;
    wait(world);
    assert_int_equal(waiter.status, -EIO);
    assert_int_equal(fake->deny_times, 0);
    assert_int_equal(reads, 2);
}

// Two runs of one image want the same chunks in one batch, as one was left for another source.
static void test_gathered_twice(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fakes[0];
    struct waiter waiter;
    fake->max_ranges = 8;
    fake->hold = true;
    start_ahead(world, 0, 0, RUN);
    want_ahead(world, 0, 0, 3);
    start(world, &waiter, 1, 0, 0);
    tarn_fetch_hurry(world->fetch, &waiter.waiter, UINT64_MAX);
    wait(world);
    assert_int_equal(waiter.status, 0);
    assert_int_equal(world->fakes[1].reads, 1);
    while (world->images[1].references > 1000)
        uv_run(&world->loop, UV_RUN_ONCE);
    start_ahead(world, 0, 0, 3); // in a run of its own
    fake->hold = false;
    wait_for_all(world);
    assert_in_range(check_space(world, 0), 5, 6);
}

static void test_references(void **state)
{
    struct world *world = *state;
    assert_int_equal(bring(world, 0, 1, CHUNKS - 1), 0);
    assert_int_equal(check_space(world, 1), 1);
    assert_int_equal(check_space(world, 0), 6);
    assert_int_equal(world->total.copied_chunks, 1);
}

static void test_wrong_once(void **state)
{
    struct world *world = *state;
    world->fakes[0].bad_offset = 10;
    world->fakes[0].bad_times = 1;
    assert_int_equal(bring(world, 0, 0, 4), 0);
    assert_int_equal(check_space(world, 0), 5);
    assert_int_equal(world->total.digest_errors, 1);
    assert_int_equal(world->fakes[0].reads, 2);
}

// The first chunk is wrong: no chunk of its run can be had, those of the next can.
static void test_wrong_for_long(void **state)
{
    struct world *world = *state;
    world->fakes[0].bad_offset = 10;
    world->fakes[0].bad_times = 1000;
    struct waiter waiters[4];
    assert_false(want(world, &waiters[0], 0, 0, 0));
    assert_false(want(world, &waiters[1], 0, 0, 5));
    assert_false(want(world, &waiters[2], 0, 0, RUN + 1));
    assert_false(want(world, &waiters[3], 0, 1, CHUNKS - 1)); // refers to chunk 5
    wait(world);
    assert_int_equal(waiters[0].status, -EIO);
    assert_int_equal(waiters[1].status, -EIO);
    assert_int_equal(waiters[2].status, 0);
    assert_int_equal(waiters[3].status, -EIO);
    assert_int_equal(check_space(world, 0), 2);
    assert_int_equal(bring(world, 0, 0, 3), -EIO);
    world->fakes[0].bad_times = 0;
    assert_int_equal(bring(world, 0, 0, 3), 0); // nothing is remembered
    assert_int_equal(bring(world, 0, 1, CHUNKS - 1), 0);
    assert_int_equal(check_space(world, 0), 8);
}

// The middle of a run is wrong: what is before it is kept, what is behind fails.
static void test_wrong_in_the_middle(void **state)
{
    struct world *world = *state;
    const struct tarn_location location =
        tarn_tables_location(&world->images[0].bootstrap.tables, row_of(0, 4));
    world->fakes[0].bad_offset = location.offset + 3;
    world->fakes[0].bad_times = 1000;
    struct waiter waiters[RUN];
    for (uint32_t i = 0; i < RUN; i++)
        assert_false(want(world, &waiters[i], 0, 0, i));
    wait(world);
    for (uint32_t i = 0; i < RUN; i++)
        assert_int_equal(waiters[i].status, i < 4 ? 0 : -EIO);
    assert_int_equal(check_space(world, 0), 4);
}

static void damage(struct world *world, uint32_t chunk)
{
    char hex[TARN_DIGEST_HEX + 1];
    tarn_autofree char *path = tarn_asprintf("%s/blobs/%s/data", world->root,
                                             tarn_digest_format_hex(&world->blobs[0].digest, hex));
    tarn_autoclose int fd = open(path, O_RDWR);
    static uint8_t bytes[CHUNK];
    assert_int_equal(tarn_pread_full(fd, bytes, CHUNK, chunk * CHUNK), 0);
    for (size_t i = 0; i < CHUNK; i++)
        bytes[i] ^= 4;
    assert_int_equal(tarn_pwrite_full(fd, bytes, CHUNK, chunk * CHUNK), 0);
}

// Bytes that were right when they were checked and are not when they serve as prefix.
static void test_prefix_gone_bad(void **state)
{
    struct world *world = *state;
    assert_int_equal(bring(world, 0, 0, 4), 0);
    while (tarn_fetch_busy(world->fetch)) // else the run still has them in memory
        uv_run(&world->loop, UV_RUN_ONCE);
    damage(world, 3);
    assert_int_equal(bring(world, 0, 0, 5), 0);
    assert_int_equal(check_space(world, 0), 6);
    assert_int_equal(world->total.dropped_chunks, 1);
}

static void test_transport_faults(void **state)
{
    struct world *world = *state;
    world->fakes[0].short_times = 1;
    assert_int_equal(bring(world, 0, 0, 8), -EIO);
    assert_true(check_space(world, 0) >= 2); // what came is kept
    assert_int_equal(bring(world, 0, 0, 8), 0);
    world->fakes[0].fail_times = 1;
    assert_int_equal(bring(world, 0, 0, RUN), -EIO);
    assert_int_equal(bring(world, 0, 0, RUN), 0);
    assert_int_equal(check_space(world, 0), 10);
}

// Two images wait for one chunk; the one whose repository is used is broken, the other's is not.
static void test_another_source(void **state)
{
    struct world *world = *state;
    struct waiter waiters[2];
    world->fakes[0].fail_times = 1000;
    assert_false(want(world, &waiters[0], 0, 0, 2));
    assert_false(want(world, &waiters[1], 1, 0, 2));
    wait(world);
    assert_int_equal(waiters[0].status, -EIO);
    assert_int_equal(waiters[1].status, 0);
    assert_int_equal(check_space(world, 0), 3);
    assert_int_equal(bring(world, 0, 0, 2), 0);
}

// Anything in any order with any fault: never a wrong byte, and all of it in the end.
static void test_random(void **state)
{
    struct world *world = *state;
    uint64_t seed = 99;
    struct waiter waiters[40];
    for (unsigned round = 0; round < 60; round++) {
        for (size_t f = 0; f < 2; f++) {
            world->fakes[f].max_ranges = 1 + tarn_test_random_below(&seed, 8);
            world->fakes[f].piece = 1 + tarn_test_random_below(&seed, 30000);
            world->fakes[f].bad_offset = tarn_test_random_below(&seed, world->blobs[0].size);
            world->fakes[f].bad_times = (unsigned)tarn_test_random_below(&seed, 4);
            world->fakes[f].short_times = (unsigned)tarn_test_random_below(&seed, 2);
            world->fakes[f].fail_times = (unsigned)tarn_test_random_below(&seed, 2);
        }
        const uint64_t count = 1 + tarn_test_random_below(&seed, 40);
        for (uint64_t i = 0; i < count; i++) {
            want(world, &waiters[i], tarn_test_random_below(&seed, 2),
                 (uint32_t)tarn_test_random_below(&seed, 2),
                 (uint32_t)tarn_test_random_below(&seed, CHUNKS));
            if (tarn_test_random_below(&seed, 3) == 0)
                tarn_fetch_flush(world->fetch);
            if (tarn_test_random_below(&seed, 3) == 0)
                uv_run(&world->loop, UV_RUN_NOWAIT);
        }
        wait(world);
        check_space(world, 0);
        check_space(world, 1);
        for (uint32_t b = 0; b < 2; b++)
            for (uint32_t i = 0; i < CHUNKS; i++) // forget some, as if they were damaged
                if (tarn_test_random_below(&seed, 4) == 0 && !tarn_fetch_busy(world->fetch)) {
                    struct tarn_data_file *file = world->images[0].files[b];
                    atomic_fetch_and(&file->verified[0], ~(UINT64_C(1) << i));
                    if (tarn_test_random_below(&seed, 2) == 0)
                        atomic_fetch_and(&file->written[0], ~(UINT64_C(1) << i));
                }
    }
    for (size_t f = 0; f < 2; f++)
        world->fakes[f].bad_times = world->fakes[f].short_times = world->fakes[f].fail_times = 0;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(bring(world, 0, 0, i), 0);
        assert_int_equal(bring(world, 1, 1, i), 0);
    }
    assert_int_equal(check_space(world, 0), CHUNKS);
    assert_int_equal(check_space(world, 1), CHUNKS);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_cold_in_the_middle),
        CASE(test_one_fetch_for_all),
        CASE(test_ahead),
        CASE(test_reader_needs_what_gathers),
        CASE(test_gathered_behind_none),
        CASE(test_gathered_twice),
        CASE(test_references),
        CASE(test_readers_first),
        CASE(test_fair_share),
        CASE(test_wrong_once),
        CASE(test_wrong_for_long),
        CASE(test_wrong_in_the_middle),
        CASE(test_transport_faults),
        CASE(test_another_source),
        CASE(test_random),
        CASE(test_prefix_gone_bad),
        CASE(test_several_ranges),
        CASE(test_readers_first_in_a_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
