// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/fetch_plan.h"
#include "daemon/read_ahead.h"

#define K UINT64_C(1024)

// Five chunks of 96 KiB: a prefix reaches over two of them.
static const uint64_t even[] = { 0, 96 * K, 192 * K, 288 * K, 384 * K, 480 * K };
// A large chunk, small ones, a large one; not at the start of the data space.
static const uint64_t mixed[] = { 1000, 1000 + 300 * K, 1000 + 330 * K, 1000 + 360 * K,
                                  1000 + 750 * K };

static void test_needed(void **state)
{
    (void)state;
    const struct {
        const char *what;
        const uint64_t *addresses;
        uint32_t count;
        uint64_t local;
        uint64_t wanted;
        uint64_t needed;
    } cases[] = {
        { "the first stands alone", even, 5, 0, 0x01, 0x01 },
        { "cold: from the run's start", even, 5, 0, 0x10, 0x1f },
        { "prefix local: itself only", even, 5, 0x0c, 0x10, 0x10 },
        { "half of the prefix local", even, 5, 0x08, 0x10, 0x17 },
        { "the near half missing", even, 5, 0x07, 0x10, 0x18 },
        { "what is before the prefix does not matter", even, 5, 0x0c, 0x30 & 0x1f, 0x10 },
        { "a local row is not needed", even, 5, 0x02, 0x02, 0 },
        { "two wanted", even, 5, 0, 0x05, 0x07 },
        { "a hole in what is local", even, 5, 0x0b, 0x10, 0x14 },
        { "all local", even, 5, 0x1f, 0x1f, 0 },
        { "a prefix inside one large chunk", mixed, 4, 0, 0x02, 0x03 },
        { "small ones do not hide the large", mixed, 4, 0x06, 0x08, 0x09 },
        { "mixed, the large one local", mixed, 4, 0x01, 0x08, 0x0e },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tarn_run_shape run = { cases[i].addresses, cases[i].count };
        const uint64_t got = tarn_plan_needed(&run, cases[i].local, cases[i].wanted);
        if (got != cases[i].needed)
            fail_msg("%s: want %#llx, got %#llx", cases[i].what,
                     (unsigned long long)cases[i].needed, (unsigned long long)got);
    }
}

// 64 chunks, the most that a word can say.
static void test_long_run(void **state)
{
    (void)state;
    uint64_t addresses[65];
    for (uint64_t i = 0; i < 65; i++)
        addresses[i] = i * 6000;
    const struct tarn_run_shape run = { addresses, 64 };
    assert_int_equal(tarn_plan_needed(&run, 0, UINT64_C(1) << 63), UINT64_MAX);
    // 196,608 bytes before row 63 reach into row 30.
    assert_int_equal(tarn_plan_prefix(&run, 63), (UINT64_MAX >> 1) & ~(UINT64_MAX >> 34));
}

static void test_ranges(void **state)
{
    (void)state;
    const struct {
        const char *what;
        struct tarn_plan_item items[4];
        size_t count;
        uint64_t limit;
        size_t want;
    } cases[] = {
        { "one", { { 100, 50 } }, 1, 1 << 20, 1 },
        { "neighbours", { { 0, 100 }, { 100, 100 }, { 200, 1 } }, 3, 1 << 20, 3 },
        { "up to the limit", { { 0, 100 }, { 100, 100 }, { 200, 1 } }, 3, 200, 2 },
        { "one above the limit", { { 0, 1000 }, { 1000, 1 } }, 2, 200, 1 },
        { "a small gap", { { 0, 50000 }, { 52000, 50000 } }, 2, 1 << 20, 2 },
        { "5 % and no more", { { 0, 10000 }, { 11000, 10000 } }, 2, 1 << 20, 2 },
        { "more than 5 %", { { 0, 10000 }, { 11001, 10000 } }, 2, 1 << 20, 1 },
        { "more than 8 KiB", { { 0, 400000 }, { 408193, 400000 } }, 2, 1 << 20, 1 },
        { "gaps in sum", { { 0, 50000 }, { 54000, 50000 }, { 108000, 20000 } }, 3, 1 << 20, 2 },
        { "the limit counts gaps", { { 0, 50000 }, { 52000, 50000 } }, 2, 101000, 1 },
        { "the same chunk twice", { { 0, 100 }, { 0, 100 } }, 2, 1 << 20, 1 },
        { "at the end of all", { { UINT64_MAX - 100, 100 }, { UINT64_MAX, 0 } }, 2, 1 << 20, 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t got = tarn_plan_range(cases[i].items, cases[i].count, cases[i].limit);
        if (got != cases[i].want)
            fail_msg("%s: want %zu, got %zu", cases[i].what, cases[i].want, got);
    }
}

static void check_span(const char *what, struct tarn_span got, uint64_t from, uint64_t to)
{
    if (got.from != from || got.to != to)
        fail_msg("%s: want [%llu, %llu), got [%llu, %llu)", what, (unsigned long long)from,
                 (unsigned long long)to, (unsigned long long)got.from, (unsigned long long)got.to);
}

static void test_whole_file(void **state)
{
    (void)state;
    struct tarn_ahead ahead = { 0 };
    const struct tarn_miss miss = { 3, 9 << 20, 4096, 8 << 20, 2 << 20, false };
    for (int i = 0; i < 3; i++)
        check_span("all of it", tarn_ahead_note(&ahead, &miss), 8 << 20, 10 << 20);
}

// Each miss of a region doubles what is brought behind the file, up to 4 MiB.
static void test_small_files(void **state)
{
    (void)state;
    struct tarn_ahead ahead = { 0 };
    const uint64_t want[] = { 64 * K, 320 * K, 640 * K, 1280 * K, 2560 * K, 4096 * K, 4096 * K };
    for (uint64_t i = 0; i < 7; i++) {
        const uint64_t at = (16 << 20) + i * 16 * K;
        const struct tarn_miss miss = { 0, at, 100, at, 5000, true };
        check_span("more each time", tarn_ahead_note(&ahead, &miss), at, at + 5000 + want[i]);
    }
    const struct tarn_miss elsewhere = { 0, 24 << 20, 100, 24 << 20, 5000, true };
    check_span("another region", tarn_ahead_note(&ahead, &elsewhere), 24 << 20,
               (24 << 20) + 5000 + 64 * K);
    const struct tarn_miss other = { 1, 16 << 20, 100, 16 << 20, 5000, true };
    check_span("another blob", tarn_ahead_note(&ahead, &other), 16 << 20,
               (16 << 20) + 5000 + 64 * K);
}

// Blobs and regions that are missed in turn do not forget each other.
static void test_regions_in_turn(void **state)
{
    (void)state;
    struct tarn_ahead ahead = { 0 };
    for (uint64_t round = 0; round < 3; round++)
        for (uint32_t blob = 0; blob < 4; blob++)
            for (uint64_t region = 0; region < 4; region++) {
                const uint64_t at = (region * 8 << 20) + round * 16 * K;
                const struct tarn_miss miss = { blob, at, 100, at, 5000, true };
                check_span("in turn", tarn_ahead_note(&ahead, &miss), at,
                           at + 5000 + (uint64_t[]){ 64, 320, 640 }[round] * K);
            }
}

// A middling file comes alone, until many of its region were missed.
static void test_middle_files(void **state)
{
    (void)state;
    struct tarn_ahead ahead = { 0 };
    const uint64_t want[] = { 0, 0, 160 * K, 320 * K, 640 * K };
    for (uint64_t i = 0; i < 5; i++) {
        const uint64_t at = (16 << 20) + i * 200 * K;
        const struct tarn_miss miss = { 0, at + 8192, 100, at, 100 * K, true };
        check_span("a middling file", tarn_ahead_note(&ahead, &miss), at, at + 100 * K + want[i]);
    }
}

static void test_large_file(void **state)
{
    (void)state;
    struct tarn_ahead ahead = { 0 };
    const uint64_t file = 1 << 30;
    const uint64_t size = 100 << 20;
    const struct {
        const char *what;
        uint64_t at;
        bool lonely;
        uint64_t bytes;
    } cases[] = {
        { "a page at random: nothing more", 50 << 20, true, 4096 },
        { "another one", 90 << 20, true, 4096 },
        { "near", 51 << 20, false, 384 * K },
        { "and again", 52 << 20, false, 768 * K },
        { "far away: less", 20 << 20, true, 384 * K },
        { "near", 21 << 20, false, 768 * K },
        { "and again", 22 << 20, false, 1536 * K },
        { "the most", 23 << 20, false, 3072 * K },
        { "the end", size - 8192, false, 8192 },
        { "the start", 0, false, 512 * K },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tarn_miss miss = { 0, file + cases[i].at, 4096, file, size, cases[i].lonely };
        check_span(cases[i].what, tarn_ahead_note(&ahead, &miss), file + cases[i].at,
                   file + cases[i].at + cases[i].bytes);
    }
    const struct tarn_miss opened = { 0, file, 4096, file, size, false };
    assert_int_equal(tarn_ahead_note(&ahead, &opened).tail, 32 * K);
    // What is read now comes in any case.
    const struct tarn_miss wide = { 0, file + 4096, 4 << 20, file, size, false };
    ahead = (struct tarn_ahead){ 0 };
    check_span("a long read", tarn_ahead_note(&ahead, &wide), file + 4096, file + 4096 + (4 << 20));
}

// A reader that goes on where the last guess ended gets ever more, to the end of the file.
static void test_sequence(void **state)
{
    (void)state;
    struct tarn_ahead ahead = { 0 };
    const uint64_t size = 40 << 20;
    const uint64_t want[] = { 512, 896, 3968, 12160, 20352, 28544, 36736, 40960 };
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const struct tarn_miss miss = { 2, at, 128 * K, 0, size, false };
        check_span("in sequence", tarn_ahead_note(&ahead, &miss), at, want[i] * K);
        at = want[i] * K;
    }
}

// Nothing comes ahead that would not be kept: the engine is not even asked.
static void test_ahead_of_a_full_store(void **state)
{
    (void)state;
    struct tarn_data_file file = { .unwritable = true };
    struct tarn_data_file *files[] = { &file };
    struct tarn_node_image image = { .files = files };
    struct tarn_slot slot = { .image = &image };
    const struct tarn_read_source source = { .slot = &slot };
    const struct tarn_span span = { .to = 1 << 20 };
    tarn_read_ahead_want(NULL, &source, 0, &span);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needed),       cmocka_unit_test(test_long_run),
        cmocka_unit_test(test_ranges),       cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_small_files),  cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_sequence),     cmocka_unit_test(test_regions_in_turn),
        cmocka_unit_test(test_middle_files), cmocka_unit_test(test_ahead_of_a_full_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
