// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/chunk_codec.h"
#include "format/match_finder.h"
#include "tests/support/test_bytes.h"

enum { RUN_MAX = TARN_RUN_LENGTH - 1 + TARN_CHUNK_MAX, CHUNKS_MAX = 2000 };

// A run in memory of exactly its length, so that AddressSanitizer sees reads beyond.
struct run {
    const char *name;
    uint8_t *bytes;
    size_t length;
    size_t count;
    size_t chunks[CHUNKS_MAX]; // lengths
};

static struct run *run_new(const char *name, size_t length)
{
    struct run *run = calloc(1, sizeof *run);
    assert_non_null(run);
    *run = (struct run){ .name = name, .bytes = malloc(length), .length = length };
    assert_non_null(run->bytes);
    return run;
}

static void run_free(struct run *run)
{
    free(run->bytes);
    free(run);
}

// The last chunk is what is left.
static void cut_evenly(struct run *run, size_t length)
{
    run->count = 0;
    for (size_t left = run->length; left > 0; left -= run->chunks[run->count++])
        run->chunks[run->count] = tarn_min_u64(length, left);
}

static void cut_anywhere(struct run *run, uint64_t *seed, size_t max)
{
    run->count = 0;
    for (size_t left = run->length; left > 0; left -= run->chunks[run->count++])
        run->chunks[run->count] = tarn_min_u64(1 + tarn_test_random_below(seed, max), left);
}

// Each sequence says the truth and stays inside of its bounds.
static void check_sequences(const struct run *run, size_t position, size_t length,
                            const ZSTD_Sequence *sequences, size_t count)
{
    const uint8_t *chunk = run->bytes + position;
    const size_t prefix = tarn_min_u64(position, TARN_PREFIX_LENGTH);
    size_t at = 0;
    assert_in_range(count, 1, TARN_SEQUENCES_MAX);
    for (size_t i = 0; i < count; i++) {
        const ZSTD_Sequence *s = &sequences[i];
        at += s->litLength;
        if (i + 1 == count)
            assert_true(s->offset == 0 && s->matchLength == 0);
        else if (s->matchLength < 4 || s->matchLength > length - at || s->offset == 0 ||
                 s->offset > at + prefix ||
                 memcmp(chunk + at, chunk + at - s->offset,
                        tarn_min_u64(s->offset, s->matchLength)))
            fail_msg("%s: position %zu + %zu: wrong match %u, %u", run->name, position, at,
                     s->offset, s->matchLength);
        // A match that overlaps itself repeats its first bytes.
        for (size_t k = s->offset; k < s->matchLength; k++)
            assert_int_equal(chunk[at + k], chunk[at + k - s->offset]);
        at += s->matchLength;
    }
    assert_int_equal(at, length);
}

static void find_all(struct tarn_match_finder *finder, const struct run *run)
{
    ZSTD_Sequence *sequences = calloc(TARN_SEQUENCES_MAX, sizeof *sequences);
    tarn_match_finder_start(finder, run->bytes);
    size_t position = 0;
    for (size_t i = 0; i < run->count; position += run->chunks[i++]) {
        const size_t n = tarn_match_finder_next(finder, run->chunks[i], sequences);
        check_sequences(run, position, run->chunks[i], sequences, n);
    }
    free(sequences);
}

// To chunks and back, the prefix in a place of its own. Returns the stored length of all.
static size_t round_trip(struct tarn_encoder *encoder, const struct run *run, uint8_t *all)
{
    struct tarn_decoder *decoder = tarn_decoder_new();
    uint8_t *stored = malloc(tarn_encoder_bound());
    uint8_t *out = malloc(TARN_CHUNK_MAX);
    tarn_encoder_start_run(encoder, run->bytes);
    size_t position = 0, total = 0;
    for (size_t i = 0; i < run->count; position += run->chunks[i++]) {
        const size_t length = run->chunks[i];
        const size_t prefix = tarn_min_u64(position, TARN_PREFIX_LENGTH);
        bool raw;
        const ssize_t n = tarn_encoder_encode(encoder, length, stored, &raw);
        assert_true(n > 0 && (size_t)n <= length);
        uint8_t *copy = malloc(prefix + 1);
        memcpy(copy, run->bytes + position - prefix, prefix);
        const struct tarn_encoded_chunk encoded = { stored, (size_t)n, raw, copy, prefix };
        assert_int_equal(tarn_decoder_decode(decoder, &encoded, out, length), 0);
        if (memcmp(out, run->bytes + position, length) != 0)
            fail_msg("%s: chunk %zu at %zu: other bytes", run->name, i, position);
        free(copy);
        memcpy(all + total, stored, (size_t)n);
        total += (size_t)n;
    }
    free(out);
    free(stored);
    tarn_decoder_free(decoder);
    return total;
}

// With a finder and an encoder that were used before, and with fresh ones.
static void check_run(struct tarn_match_finder *finder, struct tarn_encoder *encoder,
                      const struct run *run)
{
    find_all(finder, run);
    struct tarn_encoder *fresh = tarn_encoder_new(TARN_LEVEL_DEFAULT);
    uint8_t *want = malloc(run->length);
    uint8_t *got = malloc(run->length);
    const size_t length = round_trip(fresh, run, want);
    if (round_trip(encoder, run, got) != length || memcmp(want, got, length) != 0)
        fail_msg("%s: a used encoder gives other bytes than a fresh one", run->name);
    free(want);
    free(got);
    tarn_encoder_free(fresh);
}

static void repeat_period(uint8_t *bytes, size_t length, size_t period)
{
    for (size_t i = period; i < length; i++)
        bytes[i] = bytes[i - period];
}

static struct run *make_run(size_t kind, size_t length, uint64_t *seed)
{
    static const char *const names[] = { "zeros", "noise", "text", "period", "noise and text" };
    struct run *run = run_new(names[kind], length);
    if (kind == 0)
        memset(run->bytes, 0, length);
    else if (kind == 1 || kind == 3)
        tarn_test_noise(seed, run->bytes, length);
    else
        tarn_test_text(seed, run->bytes, length);
    if (kind == 3)
        repeat_period(run->bytes, length, 1 + tarn_test_random_below(seed, length));
    if (kind == 4)
        tarn_test_noise(seed, run->bytes + length / 3, length / 3);
    return run;
}

static void test_kinds_lengths_and_cuts(void **state)
{
    (void)state;
    const size_t lengths[] = { 1, 2, 8, 9, 10, 17, 8192, TARN_CHUNK_MAX, RUN_MAX };
    struct tarn_match_finder *finder = tarn_match_finder_new();
    struct tarn_encoder *encoder = tarn_encoder_new(TARN_LEVEL_DEFAULT);
    assert_true(finder && encoder);
    uint64_t seed = 7;
    for (size_t kind = 0; kind < 5; kind++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            struct run *run = make_run(kind, lengths[i], &seed);
            cut_evenly(run, TARN_CHUNK_MAX);
            check_run(finder, encoder, run);
            cut_anywhere(run, &seed, lengths[i] < 100 ? 4 : 2000);
            check_run(finder, encoder, run);
            run_free(run);
        }
    }
    tarn_encoder_free(encoder);
    tarn_match_finder_free(finder);
}

// The finder's sequences of the run's last chunk.
static size_t last_sequences(const struct run *run, ZSTD_Sequence *sequences)
{
    struct tarn_match_finder *finder = tarn_match_finder_new();
    tarn_match_finder_start(finder, run->bytes);
    size_t n = 0;
    for (size_t i = 0; i < run->count; i++)
        n = tarn_match_finder_next(finder, run->chunks[i], sequences);
    tarn_match_finder_free(finder);
    return n;
}

// Noise of which the last chunk repeats 64 bytes from `source` on at `target`.
static void expect_match(size_t source, size_t target, size_t want_at, size_t want_length)
{
    enum { BEFORE = 32 << 10, LAST = BEFORE + TARN_PREFIX_LENGTH };
    struct run *run = run_new("far", LAST + TARN_CHUNK_MAX);
    uint64_t seed = 3;
    tarn_test_noise(&seed, run->bytes, run->length);
    memcpy(run->bytes + target, run->bytes + source, 64);
    run->count = 4;
    const size_t chunks[] = { BEFORE, TARN_CHUNK_MAX, LAST - BEFORE - TARN_CHUNK_MAX,
                              TARN_CHUNK_MAX };
    memcpy(run->chunks, chunks, sizeof chunks);
    ZSTD_Sequence *sequences = calloc(TARN_SEQUENCES_MAX, sizeof *sequences);
    const size_t n = last_sequences(run, sequences);
    if (want_length == 0 && n != 1)
        fail_msg("%zu to %zu: want no match, got %zu", source, target, n - 1);
    if (want_length > 0 &&
        (n != 2 || sequences[0].litLength != want_at - LAST ||
         sequences[0].offset != target - source || sequences[0].matchLength != want_length))
        fail_msg("%zu to %zu: want %zu bytes at %zu, got %zu sequences, first %u, %u, %u", source,
                 target, want_length, want_at - LAST, n, sequences[0].litLength,
                 sequences[0].offset, sequences[0].matchLength);
    struct tarn_encoder *encoder = tarn_encoder_new(TARN_LEVEL_DEFAULT);
    uint8_t *all = malloc(run->length);
    round_trip(encoder, run, all);
    free(all);
    tarn_encoder_free(encoder);
    free(sequences);
    run_free(run);
}

static void test_reaches_the_prefix_limit(void **state)
{
    (void)state;
    const size_t low = 32 << 10; // where the last chunk's prefix begins
    const size_t last = low + TARN_PREFIX_LENGTH;
    expect_match(low, last, last, 64);
    expect_match(low, last + 100, last + 100, 64);
    // What lies before the prefix is out of reach.
    expect_match(low - 8, last, last + 8, 56);
    expect_match(low - 64, last, 0, 0);
}

// After each clearing of its tables a finder finds what a fresh one does.
static void test_numbers_run_out(void **state)
{
    (void)state;
    struct tarn_match_finder *used = tarn_match_finder_new();
    ZSTD_Sequence *want = calloc(TARN_SEQUENCES_MAX, sizeof *want);
    ZSTD_Sequence *got = calloc(TARN_SEQUENCES_MAX, sizeof *got);
    uint64_t seed = 11;
    struct run *text = make_run(2, 20000, &seed);
    struct run *zeros = make_run(0, TARN_CHUNK_MAX, &seed);
    cut_evenly(text, 20000);
    const size_t n = last_sequences(text, want);
    for (int i = 0; i < 600; i++) { // 79 MB
        tarn_match_finder_start(used, zeros->bytes);
        assert_int_equal(tarn_match_finder_next(used, zeros->length, got), 2);
        assert_int_equal(got[0].offset, 1);
        if (i % 20)
            continue;
        tarn_match_finder_start(used, text->bytes);
        assert_int_equal(tarn_match_finder_next(used, text->length, got), n);
        assert_memory_equal(want, got, n * sizeof *want);
    }
    run_free(zeros);
    run_free(text);
    free(want);
    free(got);
    tarn_match_finder_free(used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_lengths_and_cuts),
        cmocka_unit_test(test_reaches_the_prefix_limit),
        cmocka_unit_test(test_numbers_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
