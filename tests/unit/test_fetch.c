// SPDX-License-Identifier: Apache-2.0
// The fetch engine over repositories that work, and over ones that fail in every way at random.
#include "tests/support/fetch_world.h"
#include "tests/support/test_bytes.h"

static void test_cold_in_the_middle(void **state)
{
    struct world *world = *state;
    assert_int_equal(tarn_world_bring(world, 0, 0, RUN + 3), 0);
    assert_int_equal(tarn_world_check(world, 0), 4);
    assert_int_equal(world->fakes[0].reads, 1);
    assert_int_equal(tarn_world_bring(world, 0, 0, RUN + 3), 0);
    assert_int_equal(world->fakes[0].reads, 1);
    // What it needs is local: it alone comes.
    const uint64_t before = world->fakes[0].bytes;
    assert_int_equal(tarn_world_bring(world, 0, 0, RUN + 4), 0);
    const struct tarn_location location =
        tarn_tables_location(&world->images[0].bootstrap.tables, tarn_world_row(0, RUN + 4));
    assert_int_equal(world->fakes[0].bytes - before, location.stored_length);
    assert_int_equal(world->total.decoded_chunks, 5);
}

static void test_one_fetch_for_all(void **state)
{
    struct world *world = *state;
    struct waiter waiters[CHUNKS][3];
    for (uint32_t i = 0; i < CHUNKS; i++)
        for (size_t k = 0; k < 3; k++)
            assert_false(tarn_world_want(world, &waiters[i][k], k % 2, 0, (i * 7) % CHUNKS));
    tarn_world_wait(world);
    for (uint32_t i = 0; i < CHUNKS; i++)
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(waiters[i][k].status, 0);
    assert_int_equal(tarn_world_check(world, 0), CHUNKS);
    assert_int_equal(world->total.decoded_chunks, CHUNKS);
    assert_int_equal(world->fakes[0].reads + world->fakes[1].reads, 1);
    assert_int_equal(world->fakes[0].bytes, world->blobs[0].size);
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
        assert_false(tarn_world_want(world, &waiters[0], 0, blob, 1));
        assert_false(tarn_world_want(world, &waiters[1], 0, blob, RUN));
        tarn_world_wait(world);
        assert_int_equal(waiters[0].status | waiters[1].status, 0);
        assert_int_equal(world->fakes[0].last_ranges, most);
        assert_int_equal(world->fakes[0].reads - before, 3 - most);
        assert_int_equal(tarn_world_check(world, blob), 3);
    }
    assert_int_equal(world->fakes[0].bytes, tarn_world_stored_bytes(world, 0, 0, 2) +
                                                tarn_world_stored_bytes(world, 0, RUN, RUN + 1) +
                                                tarn_world_stored_bytes(world, 1, 0, 2) +
                                                tarn_world_stored_bytes(world, 1, RUN, RUN + 1));
}

static void test_references(void **state)
{
    struct world *world = *state;
    assert_int_equal(tarn_world_bring(world, 0, 1, CHUNKS - 1), 0);
    assert_int_equal(tarn_world_check(world, 1), 1);
    assert_int_equal(tarn_world_check(world, 0), 6);
    assert_int_equal(world->total.copied_chunks, 1);
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
            tarn_world_want(world, &waiters[i], tarn_test_random_below(&seed, 2),
                            (uint32_t)tarn_test_random_below(&seed, 2),
                            (uint32_t)tarn_test_random_below(&seed, CHUNKS));
            if (tarn_test_random_below(&seed, 3) == 0)
                tarn_fetch_flush(world->fetch);
            if (tarn_test_random_below(&seed, 3) == 0)
                uv_run(&world->loop, UV_RUN_NOWAIT);
        }
        tarn_world_wait(world);
        tarn_world_check(world, 0);
        tarn_world_check(world, 1);
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
        assert_int_equal(tarn_world_bring(world, 0, 0, i), 0);
        assert_int_equal(tarn_world_bring(world, 1, 1, i), 0);
    }
    assert_int_equal(tarn_world_check(world, 0), CHUNKS);
    assert_int_equal(tarn_world_check(world, 1), CHUNKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TARN_WORLD_TEST(test_cold_in_the_middle),
        TARN_WORLD_TEST(test_one_fetch_for_all),
        TARN_WORLD_TEST(test_several_ranges),
        TARN_WORLD_TEST(test_references),
        TARN_WORLD_TEST(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
