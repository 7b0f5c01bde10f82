// SPDX-License-Identifier: Apache-2.0
// Runs of any bytes and any chunks, encoded and decoded again. Input: steps of 7 bytes, kind, u24 value, u24
// count: bytes that follow in the input, zeros, noise with the value as seed, or a copy from value + 1
// bytes before; with bit 2 of the kind a chunk ends behind them. What is left over counts as bytes.
// Encoded twice, by a fresh encoder and by one that encoded something else before: equal bytes.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/chunk_codec.h"
#include "tests/support/test_bytes.h"

enum { HEADER = 7, RUN_MAX = TARN_RUN_LENGTH - 1 + TARN_CHUNK_MAX, CUTS_MAX = 4096 };
enum { BYTES, ZEROS, NOISE, COPY, KINDS };

struct plan {
    uint8_t *run; // RUN_MAX bytes
    size_t length;
    size_t cut_count; // ends of chunks, as far as the input says
    size_t cuts[CUTS_MAX];
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static uint32_t get_le24(const uint8_t *p)
{
    return tarn_get_le16(p) | (uint32_t)p[2] << 16;
}

static void fill(struct plan *plan, unsigned kind, uint32_t value, size_t count)
{
    uint8_t *at = plan->run + plan->length;
    uint64_t seed = (uint64_t)value + 1;
    if (kind == NOISE)
        tarn_test_noise(&seed, at, count);
    else if (kind == COPY && plan->length > 0)
        for (size_t i = 0; i < count; i++)
            at[i] = *(at + i - 1 - value % plan->length);
    else
        memset(at, 0, count);
    plan->length += count;
}

static void make(struct plan *plan, const uint8_t *data, size_t size)
{
    while (size > 0 && plan->length < RUN_MAX) {
        const bool step = size >= HEADER;
        const unsigned kind = step ? data[0] % KINDS : BYTES;
        size_t count = step ? get_le24(data + 4) : size;
        count = tarn_min_u64(count, RUN_MAX - plan->length);
        const uint32_t value = step ? get_le24(data + 1) : 0;
        const bool cut = step && data[0] & KINDS;
        data += step ? HEADER : 0;
        size -= step ? HEADER : 0;
        if (kind == BYTES) {
            count = tarn_min_u64(count, size);
            memcpy(plan->run + plan->length, data, count);
            plan->length += count;
            data += count;
            size -= count;
        } else {
            fill(plan, kind, value, count);
        }
        if (cut && plan->cut_count < CUTS_MAX)
            plan->cuts[plan->cut_count++] = plan->length;
    }
}

static void encode(const struct plan *plan, struct tarn_encoder *fresh, struct tarn_encoder *used)
{
    struct tarn_decoder *decoder = tarn_decoder_new();
    uint8_t *stored = malloc(tarn_encoder_bound());
    uint8_t *again = malloc(tarn_encoder_bound());
    uint8_t *out = malloc(TARN_CHUNK_MAX);
    must(decoder && stored && again && out);
    tarn_encoder_start_run(fresh, plan->run);
    tarn_encoder_start_run(used, plan->run);
    size_t cut = 0;
    size_t length;
    for (size_t at = 0; at < plan->length && at < TARN_RUN_LENGTH; at += length) {
        while (cut < plan->cut_count && plan->cuts[cut] <= at)
            cut++;
        length = (cut < plan->cut_count ? plan->cuts[cut] : plan->length) - at;
        length = tarn_min_u64(length, TARN_CHUNK_MAX);
        bool raw, raw_again;
        const ssize_t n = tarn_encoder_encode(fresh, length, stored, &raw);
        must(n > 0 && (size_t)n <= length);
        must(tarn_encoder_encode(used, length, again, &raw_again) == n && raw == raw_again &&
             memcmp(stored, again, (size_t)n) == 0);
        const size_t prefix = tarn_min_u64(at, TARN_PREFIX_LENGTH);
        const struct tarn_encoded_chunk encoded = { stored, (size_t)n, raw, plan->run + at - prefix,
                                                    prefix };
        must(tarn_decoder_decode(decoder, &encoded, out, length) == 0 &&
             memcmp(out, plan->run + at, length) == 0);
    }
    free(out);
    free(again);
    free(stored);
    tarn_decoder_free(decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tarn_encoder *used; // has encoded the inputs before
    if (!used)
        used = tarn_encoder_new(TARN_LEVEL_DEFAULT);
    struct tarn_encoder *fresh = tarn_encoder_new(TARN_LEVEL_DEFAULT);
    struct plan *plan = calloc(1, sizeof *plan);
    must(used && fresh && plan);
    // The run ends where its memory does, so that a read behind it is seen.
    plan->run = malloc(RUN_MAX);
    must(plan->run);
    make(plan, data, size);
    if (plan->length > 0) {
        plan->run = realloc(plan->run, plan->length);
        must(plan->run);
        encode(plan, fresh, used);
    }
    free(plan->run);
    free(plan);
    tarn_encoder_free(fresh);
    return 0;
}
