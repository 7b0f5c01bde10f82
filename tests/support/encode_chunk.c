// SPDX-License-Identifier: Apache-2.0
#include "tests/support/encode_chunk.h"

#include "base/bytes.h"

ssize_t tarn_test_encode(struct tarn_encoder *encoder, const struct tarn_plain_chunk *chunk,
                         uint8_t *out, bool *raw)
{
    tarn_encoder_start_run(encoder, chunk->bytes - chunk->prefix_length);
    size_t left = chunk->prefix_length;
    while (left > 0) {
        const size_t length = tarn_min_u64(left, TARN_CHUNK_MAX);
        const ssize_t n = tarn_encoder_encode(encoder, length, out, raw);
        if (n < 0)
            return n;
        left -= length;
    }
    return tarn_encoder_encode(encoder, chunk->length, out, raw);
}
