// SPDX-License-Identifier: Apache-2.0
// Input: a byte whose bit 0 says raw, u32 length, u16 length of the prefix; prefix; stored bytes. The
// decoder must not write beyond the length. Then prefix and stored bytes as a plain chunk: cut,
// encoded and decoded again.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/chunk_codec.h"
#include "format/chunker.h"
#include "tests/support/encode_chunk.h"

enum { HEADER = 7 };

static void decode(const struct tarn_encoded_chunk *chunk, size_t length)
{
    uint8_t *out = malloc(length ? length : 1); // AddressSanitizer guards its end
    struct tarn_decoder *decoder = tarn_decoder_new();
    if (out && decoder) {
        const int ret = tarn_decoder_decode(decoder, chunk, out, length);
        if (ret > 0)
            abort();
    }
    tarn_decoder_free(decoder);
    free(out);
}

static void encode(const uint8_t *bytes, size_t prefix, size_t left)
{
    const size_t length = tarn_chunker_next(bytes + prefix, left);
    if (length == 0)
        return;
    if (length > left || length > TARN_CHUNK_MAX)
        abort();
    struct tarn_encoder *encoder = tarn_encoder_new(1);
    struct tarn_decoder *decoder = tarn_decoder_new();
    uint8_t *stored = malloc(tarn_encoder_bound());
    uint8_t *out = malloc(length);
    if (encoder && decoder && stored && out) {
        const struct tarn_plain_chunk plain = { bytes + prefix, length, prefix };
        bool raw;
        const ssize_t n = tarn_test_encode(encoder, &plain, stored, &raw);
        if (n < 0)
            abort();
        const struct tarn_encoded_chunk encoded = { stored, (size_t)n, raw, bytes, prefix };
        if (tarn_decoder_decode(decoder, &encoded, out, length) < 0 ||
            memcmp(out, bytes + prefix, length) != 0)
            abort();
    }
    free(out);
    free(stored);
    tarn_decoder_free(decoder);
    tarn_encoder_free(encoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEADER)
        return 0;
    const size_t length = tarn_get_le32(data + 1) % (TARN_CHUNK_MAX + 2);
    const size_t prefix = tarn_min_u64(tarn_get_le16(data + 5), size - HEADER);
    const struct tarn_encoded_chunk chunk = {
        .stored = data + HEADER + prefix,
        .stored_length = size - HEADER - prefix,
        .raw = data[0] & 1,
        .prefix = data + HEADER,
        .prefix_length = prefix,
    };
    decode(&chunk, length);
    encode(data + HEADER, prefix, size - HEADER - prefix);
    return 0;
}
