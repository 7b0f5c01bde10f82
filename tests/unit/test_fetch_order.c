// SPDX-License-Identifier: Apache-2.0
// What the fetch engine reads first, and what gathers meanwhile.
#include "tests/support/fetch_world.h"

// What nobody waits for comes too, with what it needs, in one read.
static void test_ahead(void **state)
{
    struct world *world = *state;
    for (uint32_t i = 5; i < RUN; i++)
        tarn_world_want_ahead(world, 0, 0, i);
    tarn_fetch_flush(world->fetch);
    assert_true(world->fakes[0].last_background);
    tarn_world_wait_for_all(world);
    assert_int_equal(tarn_world_check(world, 0), RUN);
    assert_int_equal(world->fakes[0].reads, 1);
}

// Two runs of blob 0 and one of blob 1 run ahead while the place has no room; then a reader comes.
static void test_readers_first(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fakes[0];
    fake->hold = true;
    tarn_world_start_ahead(world, 0, 0, 0); // takes the only place that is sure
    assert_int_equal(fake->reads, 1);
    for (uint32_t i = 0; i < 7; i++) {
        tarn_world_start_ahead(world, 0, 1, 3 * i);
    }
    const unsigned before = fake->reads;
    assert_in_range(before, 2, 8); // the others wait
    tarn_world_start_ahead(world, 0, 0, RUN);
    assert_int_equal(fake->reads, before);
    struct waiter waiter;
    tarn_world_start(world, &waiter, 0, 0, RUN); // the same chunk, now with a reader
    assert_int_equal(fake->reads, before + 1);
    assert_true(tarn_digest_equal(&fake->last, &world->blobs[0].digest));
    assert_false(fake->last_background);
    fake->hold = false;
    tarn_world_wait(world);
    assert_int_equal(waiter.status, 0);
}

// What a reader waits for does not come behind much that nobody waits for.
static void test_readers_first_in_a_read(void **state)
{
    struct world *world = *state;
    struct waiter waiter;
    world->fakes[0].max_ranges = 8;
    assert_true(tarn_world_stored_bytes(world, 0, 0, RUN - 1) > 64 << 10);
    for (uint32_t i = 0; i < RUN - 1; i++)
        tarn_world_want_ahead(world, 0, 0, i);
    assert_false(tarn_world_want(world, &waiter, 0, 0, RUN));
    tarn_world_wait(world);
    tarn_world_wait_for_all(world);
    assert_int_equal(waiter.status, 0);
    assert_int_equal(world->fakes[0].reads, 2);
    assert_true(world->fakes[0].last_background);
    assert_int_equal(tarn_world_check(world, 0), RUN);
}

// An image whose reads do not end takes no place away that another needs.
static void test_fair_share(void **state)
{
    struct world *world = *state;
    world->fakes[0].hold = true;
    struct waiter stuck[CHUNKS];
    for (uint32_t i = 0; i < CHUNKS; i++)
        tarn_world_start(world, &stuck[i], 0, 0, i); // each a read of its own
    assert_in_range(world->fakes[0].reads, 2, 12);
    struct waiter waiter;
    tarn_world_start(world, &waiter, 1, 1, 0);
    assert_int_equal(world->fakes[1].reads, 1);
    while (!waiter.woken)
        uv_run(&world->loop, UV_RUN_ONCE);
    assert_int_equal(waiter.status, 0);
    world->fakes[0].hold = false;
    tarn_world_wait(world);
    assert_int_equal(tarn_world_check(world, 0), CHUNKS);
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
    tarn_world_start_ahead(world, 0, 0, RUN);
    tarn_world_start_ahead(world, 0, 0, 0);
    assert_int_equal(fake->reads, 1); // chunk 0 gathers
    tarn_world_start(world, &waiter, 0, 0, 1);
    assert_int_equal(fake->reads, 2);
    fake->hold = false;
    tarn_world_wait(world);
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
        tarn_world_start(world, &others[i], 1, 1, i);
    fake->fail_times = 1;
    tarn_world_start(world, &waiter, 0, 1, RUN);
    tarn_world_start_ahead(world, 0, 0, RUN); // waits for its turn
    tarn_world_start_ahead(world, 0, 0, 0);   // gathers
    assert_int_equal(fake->reads, 1);
    fake->deny_times = 1;
    while (!waiter.woken)
        uv_run(&world->loop, UV_RUN_ONCE);
    const unsigned reads = fake->reads;
    world->fakes[1].hold = false;
    tarn_world_wait(world);
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
    tarn_world_start_ahead(world, 0, 0, RUN);
    tarn_world_want_ahead(world, 0, 0, 3);
    tarn_world_start(world, &waiter, 1, 0, 0);
    tarn_fetch_hurry(world->fetch, &waiter.waiter, UINT64_MAX);
    tarn_world_wait(world);
    assert_int_equal(waiter.status, 0);
    assert_int_equal(world->fakes[1].reads, 1);
    while (world->images[1].references > 1000)
        uv_run(&world->loop, UV_RUN_ONCE);
    tarn_world_start_ahead(world, 0, 0, 3); // in a run of its own
    fake->hold = false;
    tarn_world_wait_for_all(world);
    assert_in_range(tarn_world_check(world, 0), 5, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TARN_WORLD_TEST(test_ahead),
        TARN_WORLD_TEST(test_readers_first),
        TARN_WORLD_TEST(test_readers_first_in_a_read),
        TARN_WORLD_TEST(test_fair_share),
        TARN_WORLD_TEST(test_reader_needs_what_gathers),
        TARN_WORLD_TEST(test_gathered_behind_none),
        TARN_WORLD_TEST(test_gathered_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
