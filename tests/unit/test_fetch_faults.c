// SPDX-License-Identifier: Apache-2.0
// The fetch engine with wrong bytes, broken transports and damage in the store.
#include <fcntl.h>

#include "base/file.h"
#include "tests/support/fetch_world.h"

static void test_wrong_once(void **state)
{
    struct world *world = *state;
    world->fakes[0].bad_offset = 10;
    world->fakes[0].bad_times = 1;
    assert_int_equal(tarn_world_bring(world, 0, 0, 4), 0);
    assert_int_equal(tarn_world_check(world, 0), 5);
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
    assert_false(tarn_world_want(world, &waiters[0], 0, 0, 0));
    assert_false(tarn_world_want(world, &waiters[1], 0, 0, 5));
    assert_false(tarn_world_want(world, &waiters[2], 0, 0, RUN + 1));
    assert_false(tarn_world_want(world, &waiters[3], 0, 1, CHUNKS - 1)); // refers to chunk 5
    tarn_world_wait(world);
    assert_int_equal(waiters[0].status, -EIO);
    assert_int_equal(waiters[1].status, -EIO);
    assert_int_equal(waiters[2].status, 0);
    assert_int_equal(waiters[3].status, -EIO);
    assert_int_equal(tarn_world_check(world, 0), 2);
    assert_int_equal(tarn_world_bring(world, 0, 0, 3), -EIO);
    world->fakes[0].bad_times = 0;
    assert_int_equal(tarn_world_bring(world, 0, 0, 3), 0); // nothing is remembered
    assert_int_equal(tarn_world_bring(world, 0, 1, CHUNKS - 1), 0);
    assert_int_equal(tarn_world_check(world, 0), 8);
}

// The middle of a run is wrong: what is before it is kept, what is behind fails.
static void test_wrong_in_the_middle(void **state)
{
    struct world *world = *state;
    const struct tarn_location location =
        tarn_tables_location(&world->images[0].bootstrap.tables, tarn_world_row(0, 4));
    world->fakes[0].bad_offset = location.offset + 3;
    world->fakes[0].bad_times = 1000;
    struct waiter waiters[RUN];
    for (uint32_t i = 0; i < RUN; i++)
        assert_false(tarn_world_want(world, &waiters[i], 0, 0, i));
    tarn_world_wait(world);
    for (uint32_t i = 0; i < RUN; i++)
        assert_int_equal(waiters[i].status, i < 4 ? 0 : -EIO);
    assert_int_equal(tarn_world_check(world, 0), 4);
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
    assert_int_equal(tarn_world_bring(world, 0, 0, 4), 0);
    while (tarn_fetch_busy(world->fetch)) // else the run still has them in memory
        uv_run(&world->loop, UV_RUN_ONCE);
    damage(world, 3);
    assert_int_equal(tarn_world_bring(world, 0, 0, 5), 0);
    assert_int_equal(tarn_world_check(world, 0), 6);
    assert_int_equal(world->total.dropped_chunks, 1);
}

static void test_transport_faults(void **state)
{
    struct world *world = *state;
    world->fakes[0].short_times = 1;
    assert_int_equal(tarn_world_bring(world, 0, 0, 8), -EIO);
    assert_true(tarn_world_check(world, 0) >= 2); // what came is kept
    assert_int_equal(tarn_world_bring(world, 0, 0, 8), 0);
    world->fakes[0].fail_times = 1;
    assert_int_equal(tarn_world_bring(world, 0, 0, RUN), -EIO);
    assert_int_equal(tarn_world_bring(world, 0, 0, RUN), 0);
    assert_int_equal(tarn_world_check(world, 0), 10);
}

// Two images wait for one chunk; the one whose repository is used is broken, the other's is not.
static void test_another_source(void **state)
{
    struct world *world = *state;
    struct waiter waiters[2];
    world->fakes[0].fail_times = 1000;
    assert_false(tarn_world_want(world, &waiters[0], 0, 0, 2));
    assert_false(tarn_world_want(world, &waiters[1], 1, 0, 2));
    tarn_world_wait(world);
    assert_int_equal(waiters[0].status, -EIO);
    assert_int_equal(waiters[1].status, 0);
    assert_int_equal(tarn_world_check(world, 0), 3);
    assert_int_equal(tarn_world_bring(world, 0, 0, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TARN_WORLD_TEST(test_wrong_once),          TARN_WORLD_TEST(test_wrong_for_long),
        TARN_WORLD_TEST(test_wrong_in_the_middle), TARN_WORLD_TEST(test_prefix_gone_bad),
        TARN_WORLD_TEST(test_transport_faults),    TARN_WORLD_TEST(test_another_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
