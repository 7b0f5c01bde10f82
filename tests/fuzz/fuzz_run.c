// SPDX-License-Identifier: Apache-2.0
// A run: chunks one behind the other, each with what was decoded before it as prefix. Input: for each
// chunk a byte whose bit 0 says raw, u32 length, u16 stored length, stored bytes; missing ones count as
// none. What was decoded is then encoded as a run and decoded again.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/chunk_codec.h"
#include "format/chunker.h"
#include "format/limits.h"

enum { HEADER = 7, SPACE = 4 * TARN_CHUNK_MAX };

static void must(bool holds)
{
    if (!holds)
        abort();
}

// Decodes into space as far as it goes; returns how far.
static size_t decode_run(struct tarn_decoder *decoder, const uint8_t *data, size_t size,
                         uint8_t *space)
{
    size_t end = 0;
    while (size >= HEADER) {
        const size_t length = 1 + tarn_get_le32(data + 1) % TARN_CHUNK_MAX;
        const size_t stored = tarn_min_u64(tarn_get_le16(data + 5), size - HEADER);
        const size_t prefix = tarn_min_u64(end, TARN_PREFIX_LENGTH);
        const struct tarn_encoded_chunk chunk = { data + HEADER, stored, data[0] & 1,
                                                  space + end - prefix, prefix };
        if (length > SPACE - end || tarn_decoder_decode(decoder, &chunk, space + end, length) < 0)
            break;
        end += length;
        data += HEADER + stored;
        size -= HEADER + stored;
    }
    return end;
}

static void encode_run(struct tarn_decoder *decoder, const uint8_t *space, size_t end)
{
    struct tarn_encoder *encoder = tarn_encoder_new(1);
    uint8_t *stored = malloc(tarn_encoder_bound());
    uint8_t *out = malloc(SPACE);
    must(encoder && stored && out);
    tarn_encoder_start_run(encoder, space);
    size_t at = 0;
    while (at < end) {
        const size_t length = tarn_chunker_next(space + at, end - at);
        const size_t prefix = tarn_min_u64(at, TARN_PREFIX_LENGTH);
        must(length > 0 && length <= end - at && length <= TARN_CHUNK_MAX);
        bool raw;
        const ssize_t n = tarn_encoder_encode(encoder, length, stored, &raw);
        must(n > 0 && (size_t)n <= length);
        const struct tarn_encoded_chunk encoded = { stored, (size_t)n, raw, out + at - prefix,
                                                    prefix };
        must(tarn_decoder_decode(decoder, &encoded, out + at, length) == 0);
        at += length;
    }
    must(memcmp(out, space, end) == 0);
    free(out);
    free(stored);
    tarn_encoder_free(encoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tarn_decoder *decoder = tarn_decoder_new();
    uint8_t *space = malloc(SPACE);
    must(decoder && space);
    const size_t end = decode_run(decoder, data, size, space);
    encode_run(decoder, space, end);
    free(space);
    tarn_decoder_free(decoder);
    return 0;
}
