// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/content.h"
#include "tests/support/test_bytes.h"

enum { UNITS_MAX = 64 };
#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB (UINT64_C(1) << 30)

// A file in memory, of which some ranges are missing (and zeros).
struct file {
    uint8_t *bytes;
    size_t size;
    size_t given;     // up to where update() got it
    uint8_t *missing; // for each block of 512 bytes
    bool reread_missing;
    unsigned rereads;
};

static int reread(void *context, uint64_t offset, void *data, size_t length)
{
    struct file *file = context;
    file->rereads++;
    if (!tarn_range_ok(offset, length, file->given))
        return -EFAULT;
    for (uint64_t i = offset / 512; i <= (offset + length - 1) / 512; i++)
        if (file->missing && file->missing[i])
            file->reread_missing = true;
    memcpy(data, file->bytes + offset, length);
    return 0;
}

// Section 3, word by word.
static void naive(const uint8_t *bytes, size_t size, struct tarn_content *content,
                  struct tarn_extent extents[UNITS_MAX])
{
    uint64_t unit = 262144;
    uint64_t power = 1;
    while (power * 65536 < size)
        power *= 2;
    if (power > unit)
        unit = power;
    *content = (struct tarn_content){ .kind = TARN_CONTENT_PLAIN, .size = size };
    struct tarn_hasher *list = tarn_hasher_new();
    assert_non_null(list);
    for (uint64_t number = 0; number * unit < size; number++) {
        const uint8_t *data = bytes + number * unit;
        const size_t length = (size_t)(size - number * unit < unit ? size - number * unit : unit);
        bool zeros = true;
        for (size_t i = 0; i < length; i++)
            zeros = zeros && data[i] == 0;
        if (zeros) {
            content->kind = TARN_CONTENT_UNITS;
            continue;
        }
        struct tarn_digest digest;
        tarn_sha256(data, length, &digest);
        uint8_t word[8];
        tarn_put_le64(word, number);
        tarn_hasher_update(list, word, sizeof word);
        tarn_hasher_update(list, digest.bytes, sizeof digest.bytes);
        struct tarn_extent *last = &extents[content->extent_count - 1];
        if (content->extent_count > 0 && last->first + last->count == number)
            last->count++;
        else
            extents[content->extent_count++] = (struct tarn_extent){ (uint32_t)number, 1 };
    }
    tarn_hasher_finish(list, &content->digest);
    tarn_hasher_free(list);
    if (content->kind == TARN_CONTENT_PLAIN) {
        tarn_sha256(bytes, size, &content->digest);
        content->extent_count = 0;
    }
    content->extents = extents;
}

static void assert_same(const char *what, const struct tarn_content *want,
                        const struct tarn_content *got)
{
    char a[TARN_DIGEST_TEXT];
    char b[TARN_DIGEST_TEXT];
    if (!tarn_content_same(want, got) || want->extent_count != got->extent_count)
        fail_msg("%s: want kind %d, size %llu, %s, %u extents; got %d, %llu, %s, %u", what,
                 want->kind, (unsigned long long)want->size, tarn_digest_format(&want->digest, a),
                 want->extent_count, got->kind, (unsigned long long)got->size,
                 tarn_digest_format(&got->digest, b), got->extent_count);
    for (uint32_t i = 0; i < want->extent_count; i++)
        if (want->extents[i].first != got->extents[i].first ||
            want->extents[i].count != got->extents[i].count)
            fail_msg("%s: extent %u: want %u+%u, got %u+%u", what, i, want->extents[i].first,
                     want->extents[i].count, got->extents[i].first, got->extents[i].count);
    assert_int_equal(got->holder, TARN_NONE);
    assert_int_equal(got->address, 0);
    assert_int_equal(tarn_content_hash(want, want), tarn_content_hash(got, want));
}

// Feeds the file in pieces of random size, leaving out what is missing.
static void feed(struct tarn_content_hasher *hasher, struct file *file, uint64_t *random)
{
    tarn_content_hasher_start(hasher, file->size);
    file->given = 0;
    const uint64_t largest = UINT64_C(1) << (8 + tarn_test_random_below(random, 13));
    for (size_t at = 0; at < file->size;) {
        size_t end = at + (size_t)(1 + tarn_test_random_below(random, largest));
        if (end > file->size)
            end = file->size;
        if (file->missing) {
            const uint8_t kind = file->missing[at / 512];
            size_t i = at;
            while (i < end && file->missing[i / 512] == kind)
                i = (i / 512 + 1) * 512;
            end = i < end ? i : end;
            if (kind) {
                at = end;
                continue;
            }
        }
        // The file is told only afterwards: what the running call got is not asked for.
        const int ret = tarn_content_hasher_update(hasher, at, file->bytes + at, end - at);
        if (ret < 0)
            fail_msg("update at %zu: %d", at, ret);
        at = end;
        file->given = end;
    }
}

static void test_agrees_with_the_definition(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,      1,      15,     16,     17,      4095,    4096,
                                    262143, 262144, 262145, 524288, 1 * MIB, 3000001, 5 * MIB };
    uint64_t random = 7;
    struct file file = { .bytes = malloc(6 * MIB), .missing = malloc(6 * MIB / 512) };
    uint8_t *missing = file.missing;
    struct tarn_content_hasher *hasher = tarn_content_hasher_new(reread, &file);
    assert_non_null(file.bytes);
    assert_non_null(missing);
    assert_non_null(hasher);
    for (unsigned round = 0; round < 400; round++) {
        file.size = round < 140 ? sizes[round % 14] : tarn_test_random_below(&random, 6 * MIB);
        tarn_test_noise(&random, file.bytes, file.size);
        memset(missing, 0, 6 * MIB / 512);
        file.missing = round % 3 == 1 ? missing : NULL;
        // Zeros of all kinds: whole units, pieces, at both ends; given or missing.
        const uint64_t holes = tarn_test_random_below(&random, 6);
        for (uint64_t i = 0; i < holes && file.size > 0 && round % 4 != 3; i++) {
            size_t start = tarn_test_random_below(&random, file.size);
            size_t length = 1 + tarn_test_random_below(&random, file.size - start);
            if (i % 2 == 0) {
                start = start / (256 * KIB) * (256 * KIB);
                length = length < 256 * KIB ? 256 * KIB : length;
            }
            length = length < file.size - start ? length : file.size - start;
            memset(file.bytes + start, 0, length);
            for (size_t at = start; at < start + length && tarn_test_random(&random) % 64; at++)
                if (at % 512 == 0 && at + 512 <= start + length)
                    missing[at / 512] = 1;
        }
        struct tarn_extent extents[UNITS_MAX];
        struct tarn_content want;
        struct tarn_content got;
        naive(file.bytes, file.size, &want, extents);
        feed(hasher, &file, &random);
        assert_int_equal(tarn_content_hasher_finish(hasher, &got), 0);
        char what[64];
        snprintf(what, sizeof what, "round %u", round);
        assert_same(what, &want, &got);
        uint64_t stored = 0;
        for (uint64_t at = 0; at < file.size; at += 256 * KIB) {
            const size_t length = tarn_min_u64(file.size - at, 256 * KIB);
            stored += tarn_all_zero(file.bytes + at, length) ? 0 : length;
        }
        assert_int_equal(tarn_content_stored(&got), stored);
        if (file.reread_missing)
            fail_msg("%s: bytes were read back that never came", what);
    }
    tarn_content_hasher_free(hasher);
    free(file.bytes);
    free(missing);
}

static int reread_x(void *context, uint64_t offset, void *data, size_t length)
{
    if (length != 1 || offset != *(const uint64_t *)context)
        return -EFAULT;
    memcpy(data, "x", 1);
    return 0;
}

// Golden: computed with python3, hashlib.sha256 over struct.pack("<Q", n) + sha256(unit).
static void test_golden(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t size;
        uint64_t at; // of one byte 'x'; the rest is missing
        uint64_t unit;
        uint32_t extents;
        uint64_t stored;
        const char *digest;
    } table[] = {
        { "empty", UINT64_C(0), UINT64_C(0), 262144, 0, 0,
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "one byte", UINT64_C(1), UINT64_C(0), 262144, 0, 1,
          "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" },
        { "one zero", UINT64_C(1), UINT64_C(1), 262144, 0, 0,
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "4 KiB, the last byte", UINT64_C(4096), UINT64_C(4095), 262144, 0, 4096,
          "d598e5cc442f59e8ee7aa5640b790511eb15744a477cfd8c76db73f7aca3a8ce" },
        { "a hole behind", UINT64_C(262145), UINT64_C(0), 262144, 1, 262144,
          "4a8e508f5feb378bc18a241f14608007fbeddeda9644e5db93a7054be2f68529" },
        { "a hole before", UINT64_C(262145), UINT64_C(262144), 262144, 1, 1,
          "674d7503276fab410a2c436d9d150095081243555b95700249190346f48213a4" },
        { "no hole", UINT64_C(262144), UINT64_C(262143), 262144, 0, 262144,
          "9fe9037f1b89e8a207fc0d0c66dcd2e18d21182270be06538c7b17ff7137d020" },
        { "all zeros", UINT64_C(5242880), UINT64_C(5242880), 262144, 0, 0,
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "16 GiB", UINT64_C(17179869184), UINT64_C(5368709127), 262144, 1, 262144,
          "0cda48338b67a1388264f66222140c55574473c1b058841e876dbd73be8eed76" },
        { "16 GiB and 1", UINT64_C(17179869185), UINT64_C(17179869184), 524288, 1, 1,
          "72eefc48b486af46e20203cf7b2539d93cf6a7f65193d495db3106352b1b8632" },
        { "17 GiB", UINT64_C(18253611008), UINT64_C(9663676421), 524288, 1, 524288,
          "cfc5a74c6010ec63737822da49803aee6fd75a7c76c0185d8dff75893f8b7a54" },
        { "1 TiB", UINT64_C(1099511627776), UINT64_C(1098437890049), 16777216, 1, 16777216,
          "654f9bbb068ff0f7cdc70c37e373bd46d80283d0af4bfeb75f7f7e1e278ee556" },
        { "8 TiB", UINT64_C(8796093022208), UINT64_C(8796093022207), 134217728, 1, 134217728,
          "60f454aafa12e28679cab01c97fd30abfaead79e9d102490e1cf4ebd355ed62a" },
    };
    uint64_t at = 0;
    struct tarn_content_hasher *hasher = tarn_content_hasher_new(reread_x, &at);
    assert_non_null(hasher);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tarn_content content;
        at = table[i].at;
        char text[TARN_DIGEST_TEXT];
        tarn_content_hasher_start(hasher, table[i].size);
        if (table[i].at < table[i].size)
            assert_int_equal(tarn_content_hasher_update(hasher, table[i].at, "x", 1), 0);
        assert_int_equal(tarn_content_hasher_finish(hasher, &content), 0);
        const uint64_t unit = tarn_content_unit(table[i].size);
        const uint64_t stored = tarn_content_stored(&content);
        tarn_digest_format_hex(&content.digest, text);
        if (unit != table[i].unit || content.extent_count != table[i].extents ||
            stored != table[i].stored || strcmp(text, table[i].digest) != 0)
            fail_msg("%s: want unit %llu, %u extents, %llu stored, %s; got %llu, %u, %llu, %s",
                     table[i].name, (unsigned long long)table[i].unit, table[i].extents,
                     (unsigned long long)table[i].stored, table[i].digest, (unsigned long long)unit,
                     content.extent_count, (unsigned long long)stored, text);
    }
    tarn_content_hasher_free(hasher);
}

static void test_unit(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        uint64_t unit;
    } table[] = {
        { 0, 256 * KIB },         { 1, 256 * KIB },
        { 16 * GIB, 256 * KIB },  { 16 * GIB + 1, 512 * KIB },
        { 32 * GIB, 512 * KIB },  { 32 * GIB + 1, MIB },
        { 1024 * GIB, 16 * MIB }, { 8192 * GIB, 128 * MIB },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (tarn_content_unit(table[i].size) != table[i].unit)
            fail_msg("size %llu: want %llu, got %llu", (unsigned long long)table[i].size,
                     (unsigned long long)table[i].unit,
                     (unsigned long long)tarn_content_unit(table[i].size));
}

static int reread_fails(void *context, uint64_t offset, void *data, size_t length)
{
    (void)context;
    (void)offset;
    (void)data;
    (void)length;
    return -EIO;
}

static void test_errors(void **state)
{
    (void)state;
    struct tarn_content content;
    uint8_t *bytes = calloc(1, 256 * KIB);
    struct tarn_content_hasher *hasher = tarn_content_hasher_new(reread_fails, NULL);
    assert_non_null(bytes);
    assert_non_null(hasher);
    tarn_content_hasher_start(hasher, 512 * KIB);
    bytes[5] = 1;
    assert_int_equal(tarn_content_hasher_update(hasher, 0, bytes, 256 * KIB), 0);
    bytes[5] = 0;
    assert_int_equal(tarn_content_hasher_update(hasher, 256 * KIB, bytes, 256 * KIB), -EIO);
    tarn_content_hasher_start(hasher, 10);
    assert_int_equal(tarn_content_hasher_update(hasher, 0, bytes, 5), 0);
    assert_int_equal(tarn_content_hasher_update(hasher, 4, bytes, 1), -EINVAL);
    assert_int_equal(tarn_content_hasher_update(hasher, 6, bytes, 5), -EINVAL);
    assert_int_equal(tarn_content_hasher_update(hasher, UINT64_MAX, bytes, 5), -EINVAL);
    assert_int_equal(tarn_content_hasher_finish(hasher, &content), -EIO); // bytes are missing
    tarn_content_hasher_start(hasher, 0);
    assert_int_equal(tarn_content_hasher_finish(hasher, &content), 0);
    assert_int_equal(content.kind, TARN_CONTENT_PLAIN);
    tarn_content_hasher_free(hasher);
    free(bytes);
}

// A file without zeros is never read back.
static void test_reads_back_only_for_holes(void **state)
{
    (void)state;
    uint64_t random = 3;
    struct file file = { .bytes = malloc(2 * MIB), .size = 2 * MIB };
    struct tarn_content_hasher *hasher = tarn_content_hasher_new(reread, &file);
    struct tarn_content content;
    assert_non_null(file.bytes);
    assert_non_null(hasher);
    tarn_test_noise(&random, file.bytes, file.size);
    feed(hasher, &file, &random);
    assert_int_equal(tarn_content_hasher_finish(hasher, &content), 0);
    assert_int_equal(file.rereads, 0);
    assert_int_equal(tarn_content_stored(&content), 2 * MIB);
    tarn_content_hasher_free(hasher);
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_agrees_with_the_definition),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_reads_back_only_for_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
