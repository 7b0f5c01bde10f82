// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/blob_footer.h"
#include "tests/support/container_fix.h"

static const struct tarn_blob_footer footers[] = {
    { 0, 0x2d06800538d394c2, 0, 960, 4 },
    { 1000003, 1, 1000008, 12345, 2 },
    { UINT64_C(1) << 43, 3, UINT64_C(1) << 43, 64, 5 },
};

static uint64_t blob_size(const struct tarn_blob_footer *footer)
{
    return tarn_round_up(footer->metadata_offset + footer->metadata_length, 8) + 128;
}

static void expect_equal(const struct tarn_blob_footer *want, const struct tarn_blob_footer *got)
{
    assert_int_equal(got->chunks_length, want->chunks_length);
    assert_int_equal(got->chunks_xxh3, want->chunks_xxh3);
    assert_int_equal(got->metadata_offset, want->metadata_offset);
    assert_int_equal(got->metadata_length, want->metadata_length);
    assert_int_equal(got->metadata_xxh3, want->metadata_xxh3);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof footers / sizeof *footers; i++) {
        struct tarn_buf alone = { 0 }, behind = { 0 };
        assert_int_equal(tarn_blob_footer_write(&footers[i], &alone), 0);
        // The same with the metadata's last byte before it.
        assert_int_equal(tarn_buf_append_zeros(&behind, 1), 0);
        assert_int_equal(tarn_blob_footer_write(&footers[i], &behind), 0);
        assert_int_equal(behind.length, alone.length + 1);
        assert_memory_equal(behind.data + 1, alone.data, alone.length);

        struct tarn_blob_footer got;
        struct tarn_err err = { 0 };
        if (tarn_blob_footer_read(alone.data, alone.length, blob_size(&footers[i]), &got, &err) < 0)
            fail_msg("footer %zu: %s", i, err.text);
        expect_equal(&footers[i], &got);
        tarn_buf_release(&alone);
        tarn_buf_release(&behind);
    }
}

static void test_refused(void **state)
{
    (void)state;
    const struct {
        uint32_t type; // entry; 0: the trailer
        uint32_t offset;
        uint64_t value;
        const char *want;
        int code;
    } cases[] = {
        { 0, 0, 0, "blob offset 1020424: magic is not TARNBLOB", -EUCLEAN },
        { 0, 24, 1012489, "length 1012489 is not the container's", -EUCLEAN },
        { 1, 8, 8, "section 0x0001: does not start", -EUCLEAN },
        { 1, 16, 1000009, "section 0x0002: does not start", -EUCLEAN },
        { 2, 8, 1000000, "section 0x0002: does not start", -EUCLEAN },
        { 2, 16, 1 << 30, "section 0x0002: reaches beyond", -EUCLEAN },
        { 2, 16, 0, "directory does not start", -EUCLEAN },
        { 2, 0, UINT64_C(1) << 32 | 1, "section 0x0001: stands twice", -EUCLEAN },
        { 2, 0, UINT64_C(1) << 32 | 3, "section 0x0003 is required and not known", -ENOTSUP },
        { 2, 0, 3, "section 0x0002 is missing", -EUCLEAN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_buf out = { 0 };
        struct tarn_blob_footer footer = footers[1];
        footer.metadata_length = 20352;
        assert_int_equal(tarn_blob_footer_write(&footer, &out), 0);
        uint8_t *place = out.data + out.length - 64;
        if (cases[i].type)
            place = tarn_test_find_entry(out.data, out.length, cases[i].type);
        tarn_put_le64(place + cases[i].offset, cases[i].value);
        tarn_test_fix_directory(out.data, out.length);
        struct tarn_err err = { 0 };
        const int ret =
            tarn_blob_footer_read(out.data, out.length, blob_size(&footer), &footer, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: want %d \"%s\", got %d \"%s\"", i, cases[i].code, cases[i].want,
                     ret, err.text);
        tarn_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
