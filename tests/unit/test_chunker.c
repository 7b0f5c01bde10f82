// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "format/chunker.h"
#include "format/limits.h"
#include "tests/support/test_bytes.h"

enum { MIB = 1 << 20 };

static void test_gear_table_is_its_definition(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t seed[12];
        memcpy(seed, "tarn gear 1", 11);
        seed[11] = (uint8_t)i;
        struct tarn_digest digest;
        tarn_sha256(seed, sizeof seed, &digest);
        const uint64_t want = tarn_get_le64(digest.bytes);
        if (tarn_gear[i] != want)
            fail_msg("G[%u]: want %016llx, got %016llx", i, (unsigned long long)want,
                     (unsigned long long)tarn_gear[i]);
    }
}

// --- golden cut points: docs/format.md, section 4 ------------------------------------------
static void make_stream(uint8_t *bytes)
{
    tarn_test_sha_stream(bytes, MIB);
}

static void make_zeros(uint8_t *bytes)
{
    memset(bytes, 0, MIB);
}

static void make_mixed(uint8_t *bytes)
{
    tarn_test_sha_stream(bytes, 100000);
    memset(bytes + 100000, 0, 200000);
    tarn_test_sha_stream(bytes + 300000, 500000);
}

static const struct golden {
    const char *name;
    void (*make)(uint8_t *bytes);
    size_t length;
    size_t count;
    size_t ends[32];
} goldens[] = {
    { "stream",
      make_stream,
      MIB,
      28,
      { 43067,  76448,  112056, 147545, 186444, 220069, 255191,  297988, 337581, 387038,
        420470, 457931, 492841, 544646, 585144, 626901, 669058,  704684, 752130, 786444,
        820185, 859525, 895977, 949366, 958062, 991485, 1028559, 1048576 } },
    { "zeros",
      make_zeros,
      MIB,
      8,
      { 131072, 262144, 393216, 524288, 655360, 786432, 917504, 1048576 } },
    { "mixed",
      make_mixed,
      800000,
      18,
      { 43067, 76448, 207520, 309363, 343067, 376448, 412056, 447545, 486444, 520069, 555191,
        597988, 637581, 687038, 720470, 757931, 792841, 800000 } },
};

static void test_golden_cut_points(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(MIB);
    assert_non_null(bytes);
    for (size_t g = 0; g < sizeof goldens / sizeof *goldens; g++) {
        const struct golden *golden = &goldens[g];
        golden->make(bytes);
        size_t position = 0;
        for (size_t i = 0; i < golden->count; i++) {
            position += tarn_chunker_next(bytes + position, golden->length - position);
            if (position != golden->ends[i])
                fail_msg("%s: chunk %zu: want end %zu, got %zu", golden->name, i, golden->ends[i],
                         position);
        }
        assert_int_equal(position, golden->length);
    }
    free(bytes);
}

// Section 4, word by word.
static size_t naive_next(const uint8_t *s, size_t n)
{
    if (n <= 8192)
        return n;
    const size_t most = n < 131072 ? n : 131072;
    uint64_t h = 0;
    for (size_t i = 8192; i < most; i++) {
        h = h * 2 + tarn_gear[s[i]];
        const int bits = i < 32768 ? 17 : 13;
        if (h >> (64 - bits) == 0)
            return i + 1;
    }
    return most;
}

// Random pieces of noise, text and runs of one byte, cut from random places.
static void test_agrees_with_the_definition(void **state)
{
    (void)state;
    uint64_t seed = 42;
    uint8_t *bytes = malloc(MIB);
    assert_non_null(bytes);
    for (int round = 0; round < 60; round++) {
        for (size_t i = 0; i < MIB;) {
            const size_t n = tarn_min_u64(MIB - i, 1 + tarn_test_random_below(&seed, 90000));
            switch (tarn_test_random_below(&seed, 3)) {
            case 0:
                tarn_test_noise(&seed, bytes + i, n);
                break;
            case 1:
                tarn_test_text(&seed, bytes + i, n);
                break;
            default:
                memset(bytes + i, (int)tarn_test_random_below(&seed, 256), n);
            }
            i += n;
        }
        for (size_t i = tarn_test_random_below(&seed, 64); i < MIB;) {
            const size_t want = naive_next(bytes + i, MIB - i);
            const size_t got = tarn_chunker_next(bytes + i, MIB - i);
            if (want != got)
                fail_msg("round %d, at %zu: want %zu, got %zu", round, i, want, got);
            i += got;
        }
    }
    free(bytes);
}

// Every length around the borders, and that no byte beyond the length is looked at.
static void test_lengths(void **state)
{
    (void)state;
    const size_t borders[] = { 0, 1, TARN_CHUNK_MIN, TARN_CHUNK_AVG, TARN_CHUNK_MAX };
    for (size_t b = 0; b < sizeof borders / sizeof *borders; b++) {
        for (size_t delta = 0; delta < 40; delta++) {
            if (borders[b] + delta < 20)
                continue;
            const size_t length = borders[b] + delta - 20;
            uint8_t *bytes = malloc(length ? length : 1); // exact, for AddressSanitizer
            assert_non_null(bytes);
            uint64_t seed = 7 + length;
            tarn_test_noise(&seed, bytes, length);
            const size_t want = naive_next(bytes, length);
            const size_t got = tarn_chunker_next(bytes, length);
            if (want != got)
                fail_msg("length %zu: want %zu, got %zu", length, want, got);
            free(bytes);
        }
    }
    assert_int_equal(tarn_chunker_next((const uint8_t *)"", 0), 0);
}

// A caller may show any number of bytes from the largest chunk on.
static void test_more_bytes_change_nothing(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(MIB);
    assert_non_null(bytes);
    tarn_test_sha_stream(bytes, MIB);
    for (size_t i = 0; i + TARN_CHUNK_MAX < MIB;) {
        const size_t want = tarn_chunker_next(bytes + i, MIB - i);
        assert_int_equal(tarn_chunker_next(bytes + i, TARN_CHUNK_MAX), want);
        assert_int_equal(tarn_chunker_next(bytes + i, TARN_CHUNK_MAX + 1), want);
        i += want;
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gear_table_is_its_definition),
        cmocka_unit_test(test_golden_cut_points),
        cmocka_unit_test(test_agrees_with_the_definition),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_more_bytes_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
