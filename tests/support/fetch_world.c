// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fetch_world.h"

#include <fcntl.h>

#include "base/file.h"
#include "tests/support/test_bytes.h"

// --- a blob and its table: runs of 13 chunks; the last chunk of blob 1 refers to blob 0 ---------------

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

static void woken(struct tarn_fetch_waiter *base, int status, const struct tarn_chunk_bytes *bytes)
{
    (void)bytes;
    struct waiter *waiter = (struct waiter *)base;
    assert_false(waiter->woken);
    waiter->woken = true;
    waiter->status = status;
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

int tarn_world_make(void **state)
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

void tarn_world_wait_for_all(struct world *world)
{
    while (tarn_fetch_busy(world->fetch))
        uv_run(&world->loop, UV_RUN_ONCE);
}

int tarn_world_end(void **state)
{
    struct world *world = *state;
    tarn_world_wait_for_all(world);
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

uint32_t tarn_world_row(uint32_t blob, uint32_t chunk)
{
    return blob * (CHUNKS + 1) + chunk;
}

bool tarn_world_want(struct world *world, struct waiter *waiter, size_t image, uint32_t blob,
                     uint32_t chunk)
{
    *waiter = (struct waiter){ .waiter = { .wake = woken }, .world = world };
    const struct tarn_fetch_target target = { &world->images[image], NULL, blob,
                                              tarn_world_row(blob, chunk), false };
    if (tarn_fetch_want(world->fetch, &target, &waiter->waiter))
        return true;
    world->waiting++;
    return false;
}

void tarn_world_start(struct world *world, struct waiter *waiter, size_t image, uint32_t blob,
                      uint32_t chunk)
{
    assert_false(tarn_world_want(world, waiter, image, blob, chunk));
    tarn_fetch_flush(world->fetch);
}

void tarn_world_wait(struct world *world)
{
    tarn_fetch_flush(world->fetch);
    while (world->waiting > 0)
        uv_run(&world->loop, UV_RUN_ONCE);
}

int tarn_world_bring(struct world *world, size_t image, uint32_t blob, uint32_t chunk)
{
    struct waiter waiter;
    if (tarn_world_want(world, &waiter, image, blob, chunk))
        return 0;
    tarn_world_wait(world);
    return waiter.status;
}

unsigned tarn_world_check(struct world *world, uint32_t blob)
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

uint64_t tarn_world_stored_bytes(const struct world *world, uint32_t blob, uint32_t from,
                                 uint32_t to)
{
    uint64_t bytes = 0;
    for (; from < to; from++)
        bytes +=
            tarn_tables_location(&world->images[0].bootstrap.tables, tarn_world_row(blob, from))
                .stored_length;
    return bytes;
}

void tarn_world_want_ahead(struct world *world, size_t image, uint32_t blob, uint32_t chunk)
{
    const struct tarn_fetch_target target = { &world->images[image], NULL, blob,
                                              tarn_world_row(blob, chunk), true };
    assert_false(tarn_fetch_want(world->fetch, &target, NULL));
}

void tarn_world_start_ahead(struct world *world, size_t image, uint32_t blob, uint32_t chunk)
{
    tarn_world_want_ahead(world, image, blob, chunk);
    tarn_fetch_flush(world->fetch);
}
