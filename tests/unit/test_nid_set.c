// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/nid_set.h"

static void test_once(void **state)
{
    (void)state;
    struct tarn_nid_set set = { .table = NULL };
    const uint64_t nids[] = { 36, 36 + (UINT64_C(1) << 63), 1, UINT64_MAX };
    for (size_t i = 0; i < sizeof nids / sizeof *nids; i++) {
        assert_true(tarn_nid_set_lacks(&set, nids[i]));
        assert_true(tarn_nid_set_add(&set, nids[i]));
        for (size_t k = 0; k <= i; k++) {
            assert_false(tarn_nid_set_lacks(&set, nids[k]));
            assert_false(tarn_nid_set_add(&set, nids[k]));
        }
    }
    tarn_nid_set_release(&set);
}

static void test_full(void **state)
{
    (void)state;
    struct tarn_nid_set set = { .table = NULL };
    for (uint64_t i = 1; i <= TARN_NID_SET_MAX; i++)
        assert_true(tarn_nid_set_add(&set, i * 37));
    assert_false(tarn_nid_set_lacks(&set, 5));
    assert_false(tarn_nid_set_add(&set, 5));
    tarn_nid_set_release(&set);
}

// Others ask while one adds; what they once found stays there.
static void *ask(void *argument)
{
    const struct tarn_nid_set *set = argument;
    for (uint64_t i = 1; i < TARN_NID_SET_MAX; i++) {
        while (tarn_nid_set_lacks(set, i))
            ;
        if (tarn_nid_set_lacks(set, i))
            return argument;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct tarn_nid_set set = { .table = NULL };
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &set), 0);
    for (uint64_t i = 1; i < TARN_NID_SET_MAX; i++)
        assert_true(tarn_nid_set_add(&set, i));
    for (size_t i = 0; i < 2; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    tarn_nid_set_release(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
