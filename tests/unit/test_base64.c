// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/base64.h"

// The first seven: RFC 4648, 10.
static const struct {
    const char *bytes;
    const char *text;
} pairs[] = {
    { "", "" },
    { "f", "Zg==" },
    { "fo", "Zm8=" },
    { "foo", "Zm9v" },
    { "foob", "Zm9vYg==" },
    { "fooba", "Zm9vYmE=" },
    { "foobar", "Zm9vYmFy" },
    { "\xfb\xff\xbe", "+/++" },
};

static void test_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const size_t length = strlen(pairs[i].bytes);
        tarn_autofree char *text = tarn_base64_encode(pairs[i].bytes, length);
        assert_string_equal(pairs[i].text, text);
        tarn_autobuf struct tarn_buf buf = { 0 };
        assert_int_equal(0, tarn_buf_append(&buf, "x", 1));
        assert_int_equal(0, tarn_base64_decode(pairs[i].text, &buf));
        assert_int_equal(1 + length, buf.length);
        assert_memory_equal(pairs[i].bytes, buf.data + 1, length);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[] = { "Z",    "Zg",     "Zg=",   "=",        "==",        "====",
                                       "Zm=v", "Z===",   "Zm9v ", " Zm9",     "Zm9v\n",    "Zm9-",
                                       "Zm9_", "Zg==Zg", "Zm\n9", "Zg==Zg==", "\xc3\xa9zz" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tarn_autobuf struct tarn_buf buf = { 0 };
        if (tarn_base64_decode(bad[i], &buf) != -EINVAL || buf.length != 0)
            fail_msg("'%s' is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
