// SPDX-License-Identifier: Apache-2.0
#include "format/chunk_codec.h"

#include <assert.h>
#include <string.h>
#define ZSTD_STATIC_LINKING_ONLY // for ZSTD_compressSequences()
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"
#include "format/match_finder.h"
#include "format/zstd_frame.h"

enum { LEVEL_MIN = -5, LEVEL_MAX = 19 };

struct tarn_encoder {
    ZSTD_CCtx *context;
    int level;
    const uint8_t *run;
    size_t position; // of the next chunk in it
    // At the default level only:
    struct tarn_match_finder *finder;
    ZSTD_Sequence *sequences;
};

struct tarn_encoder *tarn_encoder_new(int level)
{
    const ZSTD_bounds bounds = ZSTD_cParam_getBounds(ZSTD_c_compressionLevel);
    if (ZSTD_isError(bounds.error) || level < bounds.lowerBound || level > bounds.upperBound ||
        level < LEVEL_MIN || level > LEVEL_MAX)
        return NULL;
    tarn_cleanup(tarn_encoder_free_p) struct tarn_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return NULL;
    encoder->level = level;
    encoder->context = ZSTD_createCCtx();
    if (!encoder->context)
        return NULL;
    if (level == TARN_LEVEL_DEFAULT) {
        encoder->finder = tarn_match_finder_new();
        encoder->sequences = calloc(TARN_SEQUENCES_MAX, sizeof encoder->sequences[0]);
        if (!encoder->finder || !encoder->sequences)
            return NULL;
    }
    return tarn_steal(encoder);
}

void tarn_encoder_free(struct tarn_encoder *encoder)
{
    if (!encoder)
        return;
    ZSTD_freeCCtx(encoder->context);
    tarn_match_finder_free(encoder->finder);
    free(encoder->sequences);
    free(encoder);
}

size_t tarn_encoder_bound(void)
{
    return ZSTD_compressBound(TARN_CHUNK_MAX);
}

void tarn_encoder_start_run(struct tarn_encoder *encoder, const uint8_t *run)
{
    encoder->run = run;
    encoder->position = 0;
    if (encoder->finder)
        tarn_match_finder_start(encoder->finder, run);
}

struct setting {
    ZSTD_cParameter parameter;
    int value;
};

static size_t set_all(ZSTD_CCtx *context, const struct setting *settings, size_t count)
{
    size_t ret = ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
    for (size_t i = 0; i < count && !ZSTD_isError(ret); i++)
        ret = ZSTD_CCtx_setParameter(context, settings[i].parameter, settings[i].value);
    return ret;
}

// The default level: matches by our own search, libzstd makes a frame of one block of them. It neither
// searches nor sees the prefix; small tables spare it the clearing. Settings and calls are normative
// (section 5): others give other bytes.
static size_t compress_own(struct tarn_encoder *encoder, size_t length, uint8_t *out)
{
    static const struct setting settings[] = {
        { ZSTD_c_compressionLevel, TARN_LEVEL_DEFAULT },
        { ZSTD_c_windowLog, 17 },
        { ZSTD_c_hashLog, 6 },
        { ZSTD_c_chainLog, 6 },
        { ZSTD_c_minMatch, 3 },
        { ZSTD_c_strategy, ZSTD_dfast },
        { ZSTD_c_checksumFlag, 0 },
        { ZSTD_c_contentSizeFlag, 1 },
        { ZSTD_c_blockDelimiters, ZSTD_sf_explicitBlockDelimiters },
        { ZSTD_c_searchForExternalRepcodes, ZSTD_ps_enable },
    };
    static_assert(TARN_CHUNK_MAX <= 1 << 17, "a chunk is one block of one window");
    static_assert(ZSTD_VERSION_NUMBER >= 10504, "searchForExternalRepcodes");
    ZSTD_CCtx *const context = encoder->context;
    const size_t count = tarn_match_finder_next(encoder->finder, length, encoder->sequences);
    const size_t ret = set_all(context, settings, sizeof settings / sizeof *settings);
    if (ZSTD_isError(ret))
        return ret;
    return ZSTD_compressSequences(context, out, ZSTD_compressBound(length), encoder->sequences,
                                  count, encoder->run + encoder->position, length);
}

// Other levels: libzstd searches. The calls and their order are normative too.
static size_t compress(struct tarn_encoder *encoder, size_t length, uint8_t *out)
{
    const struct setting settings[] = {
        { ZSTD_c_compressionLevel, encoder->level },
        { ZSTD_c_checksumFlag, 0 },
        { ZSTD_c_contentSizeFlag, 1 },
    };
    ZSTD_CCtx *const context = encoder->context;
    const uint8_t *chunk = encoder->run + encoder->position;
    const size_t prefix = tarn_min_u64(encoder->position, TARN_PREFIX_LENGTH);
    size_t ret = set_all(context, settings, sizeof settings / sizeof *settings);
    if (!ZSTD_isError(ret))
        ret = ZSTD_CCtx_setPledgedSrcSize(context, length);
    if (!ZSTD_isError(ret) && prefix > 0)
        ret = ZSTD_CCtx_refPrefix(context, chunk - prefix, prefix);
    if (!ZSTD_isError(ret))
        ret = ZSTD_compress2(context, out, ZSTD_compressBound(length), chunk, length);
    return ret;
}

ssize_t tarn_encoder_encode(struct tarn_encoder *encoder, size_t length, uint8_t *out, bool *raw)
{
    assert(encoder->run && length > 0 && length <= TARN_CHUNK_MAX);
    const uint8_t *chunk = encoder->run + encoder->position;
    const size_t stored =
        encoder->finder ? compress_own(encoder, length, out) : compress(encoder, length, out);
    if (ZSTD_isError(stored))
        return ZSTD_getErrorCode(stored) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
    encoder->position += length;
    *raw = stored >= length;
    if (!*raw)
        return (ssize_t)stored;
    memcpy(out, chunk, length);
    return (ssize_t)length;
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
