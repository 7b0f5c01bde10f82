// SPDX-License-Identifier: Apache-2.0
// The layer of a bootstrap, written and read; what is refused besides stands in the integration tests.
#include "format/bootstrap_layer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/test_bytes.h"

#define LIMIT (UINT64_C(4) << 30)

static struct tarn_bootstrap_layer_rules rules_of(const uint8_t *bytes, size_t length)
{
    struct tarn_bootstrap_layer_rules rules = { .limit = LIMIT };
    tarn_sha256(bytes, length, &rules.digest);
    return rules;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 511, 512, 513, 100000 };
    static uint8_t bytes[100000];
    uint64_t seed = 1;
    tarn_test_text(&seed, bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        tarn_autobuf struct tarn_buf layer = { 0 };
        tarn_autobuf struct tarn_buf out = { 0 };
        struct tarn_digest diff_id;
        struct tarn_err err;
        const struct tarn_bootstrap_layer_rules rules = rules_of(bytes, lengths[i]);
        assert_int_equal(tarn_bootstrap_layer_write(bytes, lengths[i], &layer, &diff_id, &err), 0);
        assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &rules, &out, &err),
                         0);
        assert_int_equal(out.length, lengths[i]);
        assert_memory_equal(out.data, bytes, lengths[i]);
    }
}

static void test_wrong_digest_and_limit(void **state)
{
    (void)state;
    static const uint8_t bytes[5000] = { 1, 2, 3 };
    tarn_autobuf struct tarn_buf layer = { 0 };
    tarn_autobuf struct tarn_buf out = { 0 };
    struct tarn_digest diff_id;
    struct tarn_err err;
    assert_int_equal(tarn_bootstrap_layer_write(bytes, sizeof bytes, &layer, &diff_id, &err), 0);
    struct tarn_bootstrap_layer_rules rules = rules_of(bytes, sizeof bytes - 1);
    assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &rules, &out, &err), -EIO);
    rules = rules_of(bytes, sizeof bytes);
    rules.limit = 5000;
    assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &rules, &out, &err),
                     -EUCLEAN);
    assert_int_equal(out.length, 0);
}

// What compresses too well is written only up to the size that is read in any case.
static void test_bomb(void **state)
{
    (void)state;
    const size_t small = TARN_BOOTSTRAP_LAYER_PLAIN - 4096;
    const size_t large = TARN_BOOTSTRAP_LAYER_PLAIN + (32 << 20);
    uint8_t *zeros = calloc(1, large);
    assert_non_null(zeros);
    tarn_autobuf struct tarn_buf layer = { 0 };
    tarn_autobuf struct tarn_buf out = { 0 };
    struct tarn_digest diff_id;
    struct tarn_err err;
    const struct tarn_bootstrap_layer_rules rules = rules_of(zeros, small);
    assert_int_equal(tarn_bootstrap_layer_write(zeros, small, &layer, &diff_id, &err), 0);
    assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &rules, &out, &err), 0);
    assert_int_equal(out.length, small);
    layer.length = 0;
    assert_int_equal(tarn_bootstrap_layer_write(zeros, large, &layer, &diff_id, &err), -EFBIG);
    assert_non_null(strstr(err.text, "too few"));
    free(zeros);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_wrong_digest_and_limit),
        cmocka_unit_test(test_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
