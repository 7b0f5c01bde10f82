// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/content.h"

// SHA-256 of nothing and of "abc": FIPS 180-2, appendix B.
static const char nothing[] =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char abc[] = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void expect_digest(const struct tarn_digest *digest, const char *want)
{
    char text[TARN_DIGEST_TEXT];
    assert_string_equal(tarn_digest_format(digest, text), want);
    assert_string_equal(tarn_digest_format_hex(digest, text), want + 7);
}

static void test_sha256(void **state)
{
    (void)state;
    struct tarn_digest digest;
    tarn_sha256(NULL, 0, &digest);
    expect_digest(&digest, nothing);
    tarn_cleanup(tarn_hasher_free_p) struct tarn_hasher *hasher = tarn_hasher_new();
    assert_non_null(hasher);
    tarn_hasher_update(hasher, "ab", 2);
    tarn_hasher_update(hasher, "c", 1);
    tarn_hasher_finish(hasher, &digest);
    expect_digest(&digest, abc);
    tarn_hasher_finish(hasher, &digest);
    expect_digest(&digest, nothing);
    tarn_hasher_update(hasher, "x", 1);
    tarn_hasher_reset(hasher);
    tarn_hasher_update(hasher, "abc", 3);
    tarn_hasher_finish(hasher, &digest);
    expect_digest(&digest, abc);
}

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        { abc, 0 },
        { "sha512:ba7816bf", -ENOTSUP },
        { "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", -EINVAL },
        { "sha256:", -EINVAL },
        { "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a", -EINVAL },
        { "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0", -EINVAL },
        { "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", -EINVAL },
        { "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag", -EINVAL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_digest digest;
        struct tarn_err err = { 0 };
        const int ret = tarn_digest_parse(cases[i].text, &digest, &err);
        if (ret != cases[i].code)
            fail_msg("%s: want %d, got %d %s", cases[i].text, cases[i].code, ret, err.text);
        if (ret == 0)
            expect_digest(&digest, cases[i].text);
    }
}

enum { MANY = 4096 };

// How many different places of a table of 2^16 so many hashes take.
static unsigned places_of(const uint64_t *hashes)
{
    static uint8_t taken[1 << 16];
    unsigned count = 0;
    memset(taken, 0, sizeof taken);
    for (size_t i = 0; i < MANY; i++)
        count += taken[hashes[i] & 0xffff]++ == 0;
    return count;
}

// Digests and contents that are alike but for one field must lie apart, in each table elsewhere.
static void test_hashes(void **state)
{
    (void)state;
    static uint64_t hashes[MANY];
    static uint64_t other[MANY];
    static const struct {
        size_t offset; // in the digest; 32: the content's size instead
        unsigned shift;
    } cases[] = { { 0, 0 }, { 24, 0 }, { 24, 52 }, { 0, 52 }, { 32, 0 }, { 32, 30 } };
    const int owner[2] = { 0 };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t i = 0; i < MANY; i++) {
            struct tarn_content content = { .kind = TARN_CONTENT_PLAIN };
            if (cases[c].offset < TARN_DIGEST_SIZE)
                tarn_put_le64(content.digest.bytes + cases[c].offset, i << cases[c].shift);
            else
                content.size = i << cases[c].shift;
            hashes[i] = tarn_content_hash(&content, &owner[0]);
            other[i] = tarn_content_hash(&content, &owner[1]);
            assert_int_not_equal(hashes[i], other[i]);
        }
        assert_in_range(places_of(hashes), MANY * 9 / 10, MANY);
        assert_in_range(places_of(other), MANY * 9 / 10, MANY);
        if (cases[c].offset == TARN_DIGEST_SIZE)
            continue;
        for (size_t i = 0; i < MANY; i++) {
            struct tarn_digest digest = { { 0 } };
            tarn_put_le64(digest.bytes + cases[c].offset, i << cases[c].shift);
            hashes[i] = tarn_digest_hash(&digest, &owner[0]);
            assert_int_not_equal(hashes[i], tarn_digest_hash(&digest, &owner[1]));
        }
        assert_in_range(places_of(hashes), MANY * 9 / 10, MANY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
