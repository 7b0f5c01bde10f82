// SPDX-License-Identifier: Apache-2.0
#include "format/chunk_codec.h"

#include <assert.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "format/zstd_frame.h"

enum { LEVEL_MIN = -5, LEVEL_MAX = 19 };

struct tarn_encoder {
    ZSTD_CCtx *context;
    int level;
};

struct tarn_encoder *tarn_encoder_new(int level)
{
    const ZSTD_bounds bounds = ZSTD_cParam_getBounds(ZSTD_c_compressionLevel);
    if (ZSTD_isError(bounds.error) || level < bounds.lowerBound || level > bounds.upperBound ||
        level < LEVEL_MIN || level > LEVEL_MAX)
        return NULL;
    struct tarn_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return NULL;
    encoder->level = level;
    encoder->context = ZSTD_createCCtx();
    if (!encoder->context) {
        free(encoder);
        return NULL;
    }
    return encoder;
}

void tarn_encoder_free(struct tarn_encoder *encoder)
{
    if (!encoder)
        return;
    ZSTD_freeCCtx(encoder->context);
    free(encoder);
}

size_t tarn_encoder_bound(void)
{
    return ZSTD_compressBound(TARN_CHUNK_MAX);
}

// At the default level: how zstd searches. Stated in full, because zstd's own choice for a level
// depends on the chunk's length; matches of 4 bytes in tables that hold prefix and chunk are
// smaller at the same speed.
static size_t set_search(ZSTD_CCtx *context)
{
    static const struct {
        ZSTD_cParameter parameter;
        int value;
    } search[] = {
        { ZSTD_c_strategy, ZSTD_dfast },
        { ZSTD_c_hashLog, 17 },
        { ZSTD_c_chainLog, 16 },
        { ZSTD_c_minMatch, 4 },
    };
    size_t ret = 0;
    for (size_t i = 0; i < sizeof search / sizeof *search && !ZSTD_isError(ret); i++)
        ret = ZSTD_CCtx_setParameter(context, search[i].parameter, search[i].value);
    return ret;
}

// The calls and their order are normative (section 5): other orders give other bytes.
static size_t compress(struct tarn_encoder *encoder, const struct tarn_plain_chunk *chunk,
                       uint8_t *out)
{
    ZSTD_CCtx *const context = encoder->context;
    size_t ret = ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
    if (!ZSTD_isError(ret))
        ret = ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, encoder->level);
    if (!ZSTD_isError(ret) && encoder->level == TARN_LEVEL_DEFAULT)
        ret = set_search(context);
    if (!ZSTD_isError(ret))
        ret = ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0);
    if (!ZSTD_isError(ret))
        ret = ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1);
    if (!ZSTD_isError(ret))
        ret = ZSTD_CCtx_setPledgedSrcSize(context, chunk->length);
    if (!ZSTD_isError(ret) && chunk->prefix_length > 0)
        ret =
            ZSTD_CCtx_refPrefix(context, chunk->bytes - chunk->prefix_length, chunk->prefix_length);
    if (!ZSTD_isError(ret))
        ret = ZSTD_compress2(context, out, ZSTD_compressBound(chunk->length), chunk->bytes,
                             chunk->length);
    return ret;
}

ssize_t tarn_encoder_encode(struct tarn_encoder *encoder, const struct tarn_plain_chunk *chunk,
                            uint8_t *out, bool *raw)
{
    assert(chunk->length > 0 && chunk->length <= TARN_CHUNK_MAX);
    assert(chunk->prefix_length <= TARN_PREFIX_LENGTH);
    const size_t stored = compress(encoder, chunk, out);
    if (ZSTD_isError(stored))
        return ZSTD_getErrorCode(stored) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    *raw = stored >= chunk->length;
    if (!*raw)
        return (ssize_t)stored;
    memcpy(out, chunk->bytes, chunk->length);
    return (ssize_t)chunk->length;
}

// libzstd keeps a dictionary of some 30 KB for each prefix that it is told of: one malloc and no
// clearing, which is small against decoding. ZSTD_decompress_usingDict() would do without, but
// takes a prefix that happens to start with the dictionary's magic number for a dictionary.
struct tarn_decoder {
    ZSTD_DCtx *context;
};

struct tarn_decoder *tarn_decoder_new(void)
{
    struct tarn_decoder *decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return NULL;
    decoder->context = ZSTD_createDCtx();
    if (!decoder->context) {
        free(decoder);
        return NULL;
    }
    return decoder;
}

void tarn_decoder_free(struct tarn_decoder *decoder)
{
    if (!decoder)
        return;
    ZSTD_freeDCtx(decoder->context);
    free(decoder);
}

// Decoding in one call needs no window of libzstd's own: memory does not depend on the frame.
int tarn_decoder_decode(struct tarn_decoder *decoder, const struct tarn_encoded_chunk *chunk,
                        uint8_t *out, size_t length)
{
    if (length == 0 || length > TARN_CHUNK_MAX || chunk->prefix_length > TARN_PREFIX_LENGTH)
        return -EIO;
    if (chunk->raw) {
        if (chunk->stored_length != length)
            return -EIO;
        memcpy(out, chunk->stored, length);
        return 0;
    }
    uint64_t content;
    if (!tarn_zstd_frame(chunk->stored, chunk->stored_length, &content) || content != length)
        return -EIO;
    size_t ret = ZSTD_DCtx_reset(decoder->context, ZSTD_reset_session_only);
    if (!ZSTD_isError(ret))
        ret = ZSTD_DCtx_refPrefix(decoder->context, chunk->prefix, chunk->prefix_length);
    if (!ZSTD_isError(ret))
        ret =
            ZSTD_decompressDCtx(decoder->context, out, length, chunk->stored, chunk->stored_length);
    if (ZSTD_isError(ret))
        return ZSTD_getErrorCode(ret) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    return ret == length ? 0 : -EIO;
}
