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
    tarn_nid_set_place place = NULL;
    const uint64_t nids[] = { 36, 36 + (UINT64_C(1) << 63), 1, UINT64_MAX };
    for (size_t i = 0; i < sizeof nids / sizeof *nids; i++) {
        assert_true(tarn_nid_set_lacks(&place, nids[i]));
        assert_true(tarn_nid_set_add(&place, nids[i]));
        for (size_t k = 0; k <= i; k++) {
            assert_false(tarn_nid_set_lacks(&place, nids[k]));
            assert_false(tarn_nid_set_add(&place, nids[k]));
        }
    }
    free(place);
}

static void test_full(void **state)
{
    (void)state;
    tarn_nid_set_place place = NULL;
    for (uint64_t i = 1; i <= TARN_NID_SET_MAX; i++)
        assert_true(tarn_nid_set_add(&place, i * 37));
    assert_false(tarn_nid_set_lacks(&place, 5));
    assert_false(tarn_nid_set_add(&place, 5));
    free(place);
}

// Others ask while one adds; what they once found stays there.
static void *ask(void *argument)
{
    const tarn_nid_set_place *place = argument;
    for (uint64_t i = 1; i < TARN_NID_SET_MAX; i++) {
        while (tarn_nid_set_lacks(place, i))
            ;
        if (tarn_nid_set_lacks(place, i))
            return argument;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    tarn_nid_set_place place = NULL;
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &place), 0);
    for (uint64_t i = 1; i < TARN_NID_SET_MAX; i++)
        assert_true(tarn_nid_set_add(&place, i));
    for (size_t i = 0; i < 2; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    free(place);
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
