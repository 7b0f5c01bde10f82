// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "converter/tar_number.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void test_time(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
        uint32_t ns;
        int ret;
    } cases[] = {
        { "0", 0, 0, 0 },
        { "1.5", 1, 500000000, 0 },
        { "-1.5", -2, 500000000, 0 },
        { "-0.5", -1, 500000000, 0 },
        { "-0", 0, 0, 0 },
        { "-0.0", 0, 0, 0 },
        { "-1", -1, 0, 0 },
        { "-1.000000001", -2, 999999999, 0 },
        { "1.9999999999", 1, 999999999, 0 },
        { "-0.0000000001", -1, 999999999, 0 },
        { "-1.9999999991", -2, 0, 0 },
        { "-1.00000000000000000000", -1, 0, 0 },
        { "7.", 7, 0, 0 },
        { ".25", 0, 250000000, 0 },
        { "00012.000000012", 12, 12, 0 },
        { "9223372036854775807.999999999", INT64_MAX, 999999999, 0 },
        { "-9223372036854775808", INT64_MIN, 0, 0 },
        { "-9223372036854775808.1", 0, 0, -EINVAL },
        { "9223372036854775808", 0, 0, -EINVAL },
        { "99999999999999999999999999999999999999999999", 0, 0, -EUCLEAN },
        { "", 0, 0, -EUCLEAN },
        { "-", 0, 0, -EUCLEAN },
        { ".", 0, 0, -EUCLEAN },
        { "+1", 0, 0, -EUCLEAN },
        { " 1", 0, 0, -EUCLEAN },
        { "1 ", 0, 0, -EUCLEAN },
        { "1e3", 0, 0, -EUCLEAN },
        { "1.5.5", 0, 0, -EUCLEAN },
        { "0x10", 0, 0, -EUCLEAN },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_tar_time got = { 0 };
        const int ret = tarn_tar_time("t", cases[i].text, strlen(cases[i].text), &got, NULL);
        if (ret != cases[i].ret ||
            (ret == 0 && (got.seconds != cases[i].seconds || got.ns != cases[i].ns)))
            fail_msg("'%s': want %d %" PRId64 " + %u, got %d %" PRId64 " + %u", cases[i].text,
                     cases[i].ret, cases[i].seconds, cases[i].ns, ret, got.seconds, got.ns);
    }
}

static void test_field(void **state)
{
    (void)state;
    static const struct {
        char bytes[13]; // NULs behind
        int ret;
        int64_t value;
    } cases[] = {
        { "00000000644", 0, 0644 },
        { "644         ", 0, 0644 },
        { "    644", 0, 0644 },
        { "777777777777", 0, 0777777777777 },
        { "", 0, 0 },
        { "            ", 0, 0 },
        { "12\0junk", 0, 012 },
        { "12 3", -EUCLEAN, 0 },
        { "128", -EUCLEAN, 0 },
        { "-1", -EUCLEAN, 0 },
        { "0x1", -EUCLEAN, 0 },
        { "\x80\0\0\0\0\0\0\0\0\0\1\2", 0, 258 },
        { "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 0, INT64_MAX },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 0, -2 },
        { "\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 0, INT64_MIN },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t field[12];
        memcpy(field, cases[i].bytes, sizeof field);
        tarn_tar_int value = 0;
        const int ret = tarn_tar_field("f", field, sizeof field, &value, NULL);
        if (ret != cases[i].ret || (ret == 0 && value != cases[i].value))
            fail_msg("case %zu: want %d %" PRId64 ", got %d %" PRId64, i, cases[i].ret,
                     cases[i].value, ret, (int64_t)value);
    }
}

static void test_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ret;
        const char *message;
    } cases[] = {
        { "0", 0, "" },
        { "8796093022208", 0, "" },
        { "8796093022209", -ENOTSUP, "size of 8796093022209 bytes is over the limit of 8 TiB" },
        { "9223372036854775807", -ENOTSUP, "over the limit of 8 TiB" },
        { "9223372036854775808", -EINVAL, "size of 9223372036854775808 bytes is out of range" },
        { "18446744073709551616", -EINVAL, "size of 18446744073709551616 bytes is out of range" },
        { "-1", -EINVAL, "size of -1 bytes is out of range" },
        { "1234567890123456789012345678901234567", -EUCLEAN, "no number of a sane length" },
        { "", -EUCLEAN, "no decimal number" },
        { "-", -EUCLEAN, "no decimal number" },
        { "1x", -EUCLEAN, "no decimal number" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_err err = { 0 };
        tarn_tar_int value = 0;
        uint64_t size;
        int ret = tarn_tar_decimal("it", cases[i].text, strlen(cases[i].text), &value, &err);
        if (ret == 0)
            ret = tarn_tar_size(value, &size, &err);
        if (ret != cases[i].ret || !strstr(err.text, cases[i].message))
            fail_msg("'%s': want %d '%s', got %d '%s'", cases[i].text, cases[i].ret,
                     cases[i].message, ret, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
