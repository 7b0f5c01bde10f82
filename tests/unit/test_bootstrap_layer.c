// SPDX-License-Identifier: Apache-2.0
// The layer of a bootstrap, written and read; what is refused besides stands in the integration
// tests.
#include "format/bootstrap_layer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/support/test_bytes.h"

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
        struct tarn_digest digest;
        struct tarn_err err;
        tarn_sha256(bytes, lengths[i], &digest);
        assert_int_equal(tarn_bootstrap_layer_write(bytes, lengths[i], &layer, &diff_id, &err), 0);
        assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &digest, &out, &err),
                         0);
        assert_int_equal(out.length, lengths[i]);
        assert_memory_equal(out.data, bytes, lengths[i]);
    }
}

static void test_wrong_digest(void **state)
{
    (void)state;
    static const uint8_t bytes[5000] = { 1, 2, 3 };
    tarn_autobuf struct tarn_buf layer = { 0 };
    tarn_autobuf struct tarn_buf out = { 0 };
    struct tarn_digest digest;
    struct tarn_err err;
    assert_int_equal(tarn_bootstrap_layer_write(bytes, sizeof bytes, &layer, &digest, &err), 0);
    tarn_sha256(bytes, sizeof bytes - 1, &digest);
    assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &digest, &out, &err),
                     -EIO);
    assert_int_equal(out.length, 0);
}

// A frame of this content size, in which one empty block stands.
static void expect_refused_size(uint64_t size, const char *rule)
{
    uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 };
    tarn_put_le64(frame + 5, size);
    tarn_autobuf struct tarn_buf out = { 0 };
    const struct tarn_digest digest = { 0 };
    struct tarn_err err;
    assert_int_equal(tarn_bootstrap_layer_read(frame, sizeof frame, &digest, &out, &err), -EUCLEAN);
    if (!strstr(err.text, rule))
        fail_msg("%s: want %s", err.text, rule);
}

static void test_sizes(void **state)
{
    (void)state;
    expect_refused_size(1535, "1535 bytes are out of range");
    expect_refused_size(1536, "damaged");
    expect_refused_size((UINT64_C(1) << 32) + 1, "4294967297 bytes are out of range");
    expect_refused_size(UINT64_C(1) << 32, "4294967296 bytes in 16, more than 256 to one");
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
    struct tarn_digest digest;
    struct tarn_err err;
    tarn_sha256(zeros, small, &digest);
    assert_int_equal(tarn_bootstrap_layer_write(zeros, small, &layer, &diff_id, &err), 0);
    assert_int_equal(tarn_bootstrap_layer_read(layer.data, layer.length, &digest, &out, &err), 0);
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
        cmocka_unit_test(test_wrong_digest),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
