// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/digest_many.h"

enum { MESSAGES = 40, LONGEST = 5000 };

// Around the ends of blocks, and where the padding needs one more.
static const size_t lengths[] = { 0,   1,   55,  56,  63,  64,   65,   111,  119,  120,
                                  127, 128, 129, 183, 184, 1000, 4095, 4096, 4097, LONGEST };

static uint8_t bytes[MESSAGES + LONGEST];

// Each message at an address and of bytes of its own.
static void check(const size_t *of, size_t count)
{
    struct tarn_message messages[MESSAGES];
    struct tarn_digest found[MESSAGES];
    for (size_t i = 0; i < count; i++)
        messages[i] = (struct tarn_message){ bytes + i, of[i], &found[i] };
    tarn_sha256_many(messages, count);
    for (size_t i = 0; i < count; i++) {
        struct tarn_digest want;
        tarn_sha256(bytes + i, of[i], &want);
        assert_memory_equal(&want, &found[i], sizeof want);
    }
}

static void test_same_lengths(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        size_t of[MESSAGES];
        for (size_t i = 0; i < MESSAGES; i++)
            of[i] = lengths[k];
        for (size_t count = 0; count <= MESSAGES; count++)
            check(of, count);
    }
}

static void test_mixed_lengths(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < sizeof lengths / sizeof *lengths; shift++) {
        size_t of[MESSAGES];
        for (size_t i = 0; i < MESSAGES; i++)
            of[i] = lengths[(i * (shift + 1)) % (sizeof lengths / sizeof *lengths)];
        check(of, MESSAGES);
        check(of, 17);
    }
}

static void test_known(void **state)
{
    (void)state;
    // FIPS 180-4's example, "abc".
    static const char want[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct tarn_message messages[MESSAGES];
    struct tarn_digest found[MESSAGES];
    for (size_t i = 0; i < MESSAGES; i++)
        messages[i] = (struct tarn_message){ "abc", 3, &found[i] };
    tarn_sha256_many(messages, MESSAGES);
    for (size_t i = 0; i < MESSAGES; i++) {
        char hex[TARN_DIGEST_HEX + 1];
        assert_string_equal(want, tarn_digest_format_hex(&found[i], hex));
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_same_lengths),
        cmocka_unit_test(test_mixed_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
