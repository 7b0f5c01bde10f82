// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "tests/support/encode_chunk.h"
#include "tests/support/test_bytes.h"

enum { DATA = 1 << 20 };

struct fixture {
    uint8_t *data; // text, then noise
    uint8_t *stored;
    uint8_t *again;
    uint8_t *out;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->data = malloc(DATA);
    f->stored = malloc(tarn_encoder_bound());
    f->again = malloc(tarn_encoder_bound());
    f->out = malloc(TARN_CHUNK_MAX + 64);
    uint64_t seed = 99;
    tarn_test_text(&seed, f->data, DATA / 2);
    tarn_test_noise(&seed, f->data + DATA / 2, DATA / 2);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    free(f->data);
    free(f->stored);
    free(f->again);
    free(f->out);
    free(f);
    return 0;
}

static void decode_and_compare(struct fixture *f, struct tarn_decoder *decoder,
                               const struct tarn_plain_chunk *plain,
                               const struct tarn_encoded_chunk *encoded)
{
    memset(f->out, 0xee, TARN_CHUNK_MAX + 64);
    assert_int_equal(tarn_decoder_decode(decoder, encoded, f->out, plain->length), 0);
    assert_memory_equal(f->out, plain->bytes, plain->length);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(f->out[plain->length + i], 0xee);
}

// Levels, lengths and prefixes; the prefix is decoded from a place of its own.
static void test_round_trips(void **state)
{
    struct fixture *f = *state;
    const int levels[] = { -5, 0, 1, 3, 9, 19 };
    const size_t lengths[] = { 1, 2, 100, 8191, 8193, 40000, TARN_CHUNK_MAX };
    const size_t prefixes[] = { 0, 1, 7, 4096, 65535, TARN_PREFIX_LENGTH };
    struct tarn_decoder *decoder = tarn_decoder_new();
    assert_non_null(decoder);
    uint8_t *prefix = malloc(TARN_PREFIX_LENGTH);
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        struct tarn_encoder *encoder = tarn_encoder_new(levels[l]);
        assert_non_null(encoder);
        for (size_t i = 0; i < 84; i++) {
            const size_t place = TARN_PREFIX_LENGTH + (i % 2 ? 0 : DATA / 2); // text, noise
            const struct tarn_plain_chunk plain = { f->data + place, lengths[i / 2 / 6],
                                                    prefixes[i / 2 % 6] };
            bool raw = false;
            const ssize_t stored = tarn_test_encode(encoder, &plain, f->stored, &raw);
            assert_true(stored > 0 && (size_t)stored <= plain.length);
            assert_int_equal(raw, (size_t)stored == plain.length);
            memcpy(prefix, plain.bytes - plain.prefix_length, plain.prefix_length);
            const struct tarn_encoded_chunk encoded = { f->stored, (size_t)stored, raw,
                                                        plain.prefix_length ? prefix : NULL,
                                                        plain.prefix_length };
            decode_and_compare(f, decoder, &plain, &encoded);
        }
        tarn_encoder_free(encoder);
    }
    free(prefix);
    tarn_decoder_free(decoder);
}

// Equal bytes from another buffer at every alignment, and from contexts of any history.
static void test_bytes_depend_on_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct tarn_encoder *reused = tarn_encoder_new(3);
    uint8_t *other = malloc(400000);
    uint64_t seed = 5;
    for (int round = 0; round < 150; round++) {
        const size_t length = 1 + tarn_test_random_below(&seed, TARN_CHUNK_MAX);
        const size_t prefix = tarn_test_random_below(&seed, 3)
                                  ? tarn_test_random_below(&seed, TARN_PREFIX_LENGTH + 1)
                                  : 0;
        const size_t place = prefix + tarn_test_random_below(&seed, DATA / 2 - prefix);
        const struct tarn_plain_chunk first = { f->data + place, length, prefix };
        bool raw, raw_again;
        const ssize_t want = tarn_test_encode(reused, &first, f->stored, &raw);
        assert_true(want > 0);

        const size_t shift = tarn_test_random_below(&seed, 4096);
        memset(other, round, 400000);
        memcpy(other + shift, f->data + place - prefix, prefix + length);
        const struct tarn_plain_chunk second = { other + shift + prefix, length, prefix };
        struct tarn_encoder *fresh = tarn_encoder_new(3);
        const ssize_t got = tarn_test_encode(fresh, &second, f->again, &raw_again);
        tarn_encoder_free(fresh);
        if (got != want || raw != raw_again || memcmp(f->stored, f->again, (size_t)want) != 0)
            fail_msg("round %d (length %zu, prefix %zu): want %zd bytes, got %zd or others", round,
                     length, prefix, want, got);
    }
    free(other);
    tarn_encoder_free(reused);
}

// Noise with just so much repetition that the frame is as long as the chunk: it is stored raw.
static void test_equal_length_is_raw(void **state)
{
    struct fixture *f = *state;
    struct tarn_encoder *encoder = tarn_encoder_new(0);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    enum { LENGTH = 60 }; // longer ones save at least 1 in 64 or nothing
    bool found = false;
    for (size_t repeated = 4; repeated < 40 && !found; repeated++) {
        uint8_t chunk[LENGTH];
        memcpy(chunk, f->data + DATA / 2, LENGTH);
        memcpy(chunk + LENGTH - repeated, chunk, repeated);
        ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
        found = ZSTD_compress2(context, f->again, tarn_encoder_bound(), chunk, LENGTH) == LENGTH;
        if (!found)
            continue;
        const struct tarn_plain_chunk plain = { chunk, LENGTH, 0 };
        bool raw = false;
        assert_int_equal(tarn_test_encode(encoder, &plain, f->stored, &raw), LENGTH);
        assert_true(raw);
        assert_memory_equal(f->stored, chunk, LENGTH);
    }
    assert_true(found);
    ZSTD_freeCCtx(context);
    tarn_encoder_free(encoder);
}

static void test_levels(void **state)
{
    (void)state;
    const struct {
        int level;
        bool known;
    } cases[] = { { -6, false },
                  { -5, true },
                  { 0, true },
                  { 19, true },
                  { 20, false },
                  { 99, false },
                  { -2147483647 - 1, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_encoder *encoder = tarn_encoder_new(cases[i].level);
        if ((encoder != NULL) != cases[i].known)
            fail_msg("level %d: want %d, got %d", cases[i].level, cases[i].known, encoder != NULL);
        tarn_encoder_free(encoder);
    }
}

// A frame made by other calls than the encoder's.
static size_t make_frame(const struct fixture *f, size_t length, int checksum, int content_size)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, content_size);
    const size_t n =
        ZSTD_compress2(context, f->stored, tarn_encoder_bound(), f->data + 70000, length);
    ZSTD_freeCCtx(context);
    assert_false(ZSTD_isError(n));
    return n;
}

static void expect_eio(struct fixture *f, const char *what, size_t stored, size_t length)
{
    struct tarn_decoder *decoder = tarn_decoder_new();
    const struct tarn_encoded_chunk encoded = { f->stored, stored, false, NULL, 0 };
    memset(f->out, 0xee, TARN_CHUNK_MAX + 64);
    const int ret = tarn_decoder_decode(decoder, &encoded, f->out, length);
    if (ret != -EIO)
        fail_msg("%s: want %d, got %d", what, -EIO, ret);
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(f->out[length + i], 0xee);
    tarn_decoder_free(decoder);
}

static void test_refuses_other_frames(void **state)
{
    struct fixture *f = *state;
    const size_t n = make_frame(f, 10000, 0, 1);
    expect_eio(f, "too short a length", n, 9999);
    expect_eio(f, "too long a length", n, 10001);
    expect_eio(f, "length 0", n, 0);
    expect_eio(f, "cut off", n - 1, 10000);
    f->stored[n] = 0;
    expect_eio(f, "a byte behind", n + 1, 10000);
    memmove(f->stored + n, f->stored, n);
    expect_eio(f, "two frames", 2 * n, 10000);
    const uint8_t skippable[12] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
    memcpy(f->stored + n, skippable, sizeof skippable);
    expect_eio(f, "a skippable frame behind", n + sizeof skippable, 10000);
    expect_eio(f, "nothing", 0, 10000);
    expect_eio(f, "checksum", make_frame(f, 10000, 1, 1), 10000);
    expect_eio(f, "no content size", make_frame(f, 10000, 0, 0), 10000);

    // A small frame that says that it holds more: content size 256 bytes, 1 + 255 of zeros.
    const uint8_t bomb[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x10, 0x03, 0x00, 0x08, 0x00 };
    memcpy(f->stored, bomb, sizeof bomb);
    expect_eio(f, "block beyond the content size", sizeof bomb, 16);
}

static void test_refuses_wrong_raw_lengths(void **state)
{
    struct fixture *f = *state;
    struct tarn_decoder *decoder = tarn_decoder_new();
    const size_t lengths[] = { 0, 99, 101, TARN_CHUNK_MAX + 1 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const struct tarn_encoded_chunk encoded = { f->data, 100, true, NULL, 0 };
        assert_int_equal(tarn_decoder_decode(decoder, &encoded, f->out, lengths[i]), -EIO);
    }
    tarn_decoder_free(decoder);
}

// Any flipped bit: an error or other bytes, never a write beyond; the decoder works on afterwards.
static void test_flipped_bits(void **state)
{
    struct fixture *f = *state;
    struct tarn_encoder *encoder = tarn_encoder_new(3);
    struct tarn_decoder *decoder = tarn_decoder_new();
    const struct tarn_plain_chunk plain = { f->data + 70000, 20000, 65536 };
    bool raw;
    const ssize_t stored = tarn_test_encode(encoder, &plain, f->stored, &raw);
    assert_true(stored > 0 && !raw);
    const struct tarn_encoded_chunk encoded = { f->stored, (size_t)stored, false,
                                                plain.bytes - 65536, 65536 };
    uint64_t seed = 3;
    for (int i = 0; i < 2000; i++) {
        const size_t bit = tarn_test_random_below(&seed, (uint64_t)stored * 8);
        f->stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(f->out + 20000, 0xee, 64);
        const int ret = tarn_decoder_decode(decoder, &encoded, f->out, 20000);
        assert_true(ret == 0 || ret == -EIO);
        for (size_t k = 0; k < 64; k++)
            assert_int_equal(f->out[20000 + k], 0xee);
        f->stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    decode_and_compare(f, decoder, &plain, &encoded);
    tarn_decoder_free(decoder);
    tarn_encoder_free(encoder);
}

// A prefix that starts with the magic number of zstd dictionaries is still a prefix.
static void test_prefix_that_looks_like_a_dictionary(void **state)
{
    struct fixture *f = *state;
    const uint8_t dictionary_magic[] = { 0x37, 0xa4, 0x30, 0xec };
    uint8_t *copy = malloc(200000);
    memcpy(copy, f->data, 200000);
    memcpy(copy + 10000, dictionary_magic, sizeof dictionary_magic);
    struct tarn_encoder *encoder = tarn_encoder_new(3);
    struct tarn_decoder *decoder = tarn_decoder_new();
    const struct tarn_plain_chunk plain = { copy + 60000, 30000, 50000 };
    bool raw;
    const ssize_t stored = tarn_test_encode(encoder, &plain, f->stored, &raw);
    assert_true(stored > 0 && !raw);
    const struct tarn_encoded_chunk encoded = { f->stored, (size_t)stored, false, copy + 10000,
                                                50000 };
    decode_and_compare(f, decoder, &plain, &encoded);
    tarn_decoder_free(decoder);
    tarn_encoder_free(encoder);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_bytes_depend_on_nothing_else),
        cmocka_unit_test(test_equal_length_is_raw),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_refuses_other_frames),
        cmocka_unit_test(test_refuses_wrong_raw_lengths),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_prefix_that_looks_like_a_dictionary),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
