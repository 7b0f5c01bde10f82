// SPDX-License-Identifier: Apache-2.0
// Several ranges of a blob in one read, from a layout.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/support/repository_fixture.h"

enum { SIZE = 700001 }; // several pieces of disk_read.c

// Of length 0: no more.
static const struct {
    struct tarn_read_range ranges[3];
    int code;
} cases[] = {
    { { { 0, SIZE } }, 0 },
    { { { 5, 1 } }, 0 },
    { { { 0, 1 }, { 1, 1 }, { SIZE - 1, 1 } }, 0 },
    { { { 10, 262144 }, { 300000, 100 }, { 400000, 300000 } }, 0 },
    { { { 0, 100 }, { SIZE - 1, 2 } }, -EUCLEAN },
    { { { 0, 100 }, { SIZE, 1 } }, -EUCLEAN },
    { { { 0, 100 }, { UINT64_MAX - 2, 2 } }, -EUCLEAN },
};

static void check(struct tarn_test_place *place, const struct tarn_blob_id *blob, const char *bytes,
                  size_t i)
{
    struct tarn_read read = {
        .kind = TARN_READ_BLOB, .digest = blob->digest, .size = SIZE, .ranges = cases[i].ranges
    };
    struct tarn_err err = { 0 };
    tarn_autobuf struct tarn_buf buf = { 0 };
    tarn_autobuf struct tarn_buf want = { 0 };
    while (read.range_count < 3 && cases[i].ranges[read.range_count].length > 0) {
        const struct tarn_read_range *range = &cases[i].ranges[read.range_count++];
        if (cases[i].code == 0)
            assert_int_equal(tarn_buf_append(&want, bytes + range->offset, range->length), 0);
    }
    const int ret = tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err);
    if (ret != cases[i].code)
        fail_msg("case %zu: want %d, got %d %s", i, cases[i].code, ret, err.text);
    if (ret < 0)
        assert_non_null(strstr(err.text, "past its end, it has 700001 bytes"));
    else if (buf.length != want.length || memcmp(buf.data, want.data, want.length) != 0)
        fail_msg("case %zu: want %zu right bytes, got %zu", i, want.length, buf.length);
}

static void test_layout(void **state)
{
    (void)state;
    struct tarn_test_place place;
    struct tarn_blob_id blob;
    tarn_test_place_init(&place);
    tarn_autofree char *bytes = malloc(SIZE + 1);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)('!' + i * i % 89);
    bytes[SIZE] = '\0';
    tarn_test_place_open(&place, "oci", "layout", true);
    assert_int_equal(tarn_repository_max_ranges(place.repository), 64);
    tarn_test_put_blob(&place, bytes, &blob);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(&place, &blob, bytes, i);
    tarn_test_place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
