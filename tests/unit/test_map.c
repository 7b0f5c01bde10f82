// SPDX-License-Identifier: Apache-2.0
// Against a table of all keys: adding, finding and removing in any order, where all hashes are good,
// where they meet in few places, and where they are all the same.
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/test_bytes.h"

enum { KEYS = 400, STEPS = 20000 };

struct thing {
    uint64_t hash;
    bool in;
    bool seen;
};

static bool same_thing(const void *key, const void *value)
{
    return key == value;
}

static void expect_all(const struct tarn_map *map, struct thing *things)
{
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        things[i].seen = false;
        count += things[i].in;
        const void *found = tarn_map_get(map, things[i].hash, &things[i], same_thing);
        assert_ptr_equal(found, things[i].in ? &things[i] : NULL);
    }
    assert_int_equal(tarn_map_count(map), count);
    size_t position = 0;
    struct thing *thing;
    while ((thing = tarn_map_next(map, &position))) {
        assert_true(thing->in && !thing->seen);
        thing->seen = true;
        count--;
    }
    assert_int_equal(count, 0);
}

static void run(uint64_t hash_mask, uint64_t hash_base)
{
    static struct thing things[KEYS];
    uint64_t seed = 1;
    struct tarn_map *map = tarn_map_new();
    assert_non_null(map);
    for (size_t i = 0; i < KEYS; i++)
        things[i] = (struct thing){ .hash = hash_base + (tarn_test_random(&seed) & hash_mask) };
    for (size_t step = 0; step < STEPS; step++) {
        struct thing *thing = &things[tarn_test_random(&seed) % KEYS];
        if (thing->in)
            assert_true(tarn_map_remove(map, thing->hash, thing));
        else
            assert_int_equal(tarn_map_add(map, thing->hash, thing), 0);
        thing->in = !thing->in;
        if (!thing->in)
            assert_false(tarn_map_remove(map, thing->hash, thing));
        if (step % 500 == 0)
            expect_all(map, things);
    }
    expect_all(map, things);
    tarn_map_free(map);
}

static void test_any_order(void **state)
{
    (void)state;
    run(UINT64_MAX, 0);
    run(7, 0);
    run(0, UINT64_MAX); // all at the end of the table, which goes on at its start
    run(3, UINT64_MAX - 2);
}

static void test_equal_hashes(void **state)
{
    (void)state;
    static int values[100];
    struct tarn_map *map = tarn_map_new();
    assert_non_null(map);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(tarn_map_add(map, 5, &values[i]), 0);
    assert_ptr_equal(tarn_map_get(map, 5, &values[99], same_thing), &values[99]);
    assert_null(tarn_map_get(map, 6, &values[99], same_thing));
    assert_in_range(tarn_map_memory(map), 100 * 2 * sizeof(void *), 10000);
    tarn_map_free(map);
    tarn_map_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_equal_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
