// SPDX-License-Identifier: Apache-2.0
// zstd by libzstd. The magic of each frame is looked at first, so that what is no frame is told by
// its place, and the library's decoders for formats before 1.0 are never reached.
#include <inttypes.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"
#include "converter/decompress_internal.h"

enum { WINDOW_LOG_MAX = 27, MAGIC_SIZE = 4 };

struct tarn_unzstd {
    struct tarn_piece *piece;
    ZSTD_DCtx *context;
    uint64_t offset;       // input bytes taken
    uint64_t frame_offset; // where the current frame begins
    bool inside;           // of a frame, behind its magic
    uint8_t magic[MAGIC_SIZE];
    size_t magic_length; // below MAGIC_SIZE: the frame has not begun
};

bool tarn_unzstd_is_frame(const uint8_t magic[4])
{
    const uint32_t value = tarn_get_le32(magic);
    return value == ZSTD_MAGICNUMBER ||
           (value & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

struct tarn_unzstd *tarn_unzstd_new(struct tarn_piece *piece)
{
    struct tarn_unzstd *unzstd = calloc(1, sizeof *unzstd);
    if (!unzstd)
        return NULL;
    unzstd->piece = piece;
    unzstd->context = ZSTD_createDCtx();
    if (!unzstd->context || ZSTD_isError(ZSTD_DCtx_setParameter(
                                unzstd->context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        tarn_unzstd_free(unzstd);
        return NULL;
    }
    return unzstd;
}

void tarn_unzstd_free(struct tarn_unzstd *unzstd)
{
    if (!unzstd)
        return;
    ZSTD_freeDCtx(unzstd->context);
    free(unzstd);
}

static int decode_failed(const struct tarn_unzstd *unzstd, size_t result, struct tarn_err *err)
{
    const ZSTD_ErrorCode code = ZSTD_getErrorCode(result);
    const uint64_t at = unzstd->frame_offset;
    if (code == ZSTD_error_memory_allocation)
        return tarn_fail_errno(err, -ENOMEM, "zstd: the window of the frame at byte %" PRIu64, at);
    if (code == ZSTD_error_frameParameter_windowTooLarge)
        return tarn_fail(err, -ENOTSUP,
                         "zstd: the frame at byte %" PRIu64 " needs a window over %d MiB", at,
                         1 << (WINDOW_LOG_MAX - 20));
    if (code == ZSTD_error_dictionary_wrong)
        return tarn_fail(err, -ENOTSUP, "zstd: the frame at byte %" PRIu64 " needs a dictionary",
                         at);
    if (code == ZSTD_error_checksum_wrong)
        return tarn_fail(err, -EUCLEAN, "zstd: checksum mismatch in the frame at byte %" PRIu64,
                         at);
    return tarn_fail(err, -EUCLEAN,
                     "zstd: damaged data near byte %" PRIu64 " in the frame at byte %" PRIu64
                     " (%s)",
                     unzstd->offset, at, ZSTD_getErrorName(result));
}

// Decodes until the input or the frame ends. Sets *used.
static int decode_some(struct tarn_unzstd *unzstd, const uint8_t *bytes, size_t length,
                       size_t *used, struct tarn_err *err)
{
    struct tarn_piece *piece = unzstd->piece;
    ZSTD_inBuffer in = { bytes, length, 0 };
    size_t result;
    bool full;
    do {
        ZSTD_outBuffer out = { piece->data, TARN_PIECE_SIZE, piece->length };
        result = ZSTD_decompressStream(unzstd->context, &out, &in);
        if (ZSTD_isError(result)) {
            unzstd->offset += in.pos;
            return decode_failed(unzstd, result, err);
        }
        piece->length = out.pos;
        full = out.pos == out.size; // more may wait inside of libzstd
        if (full) {
            const int ret = tarn_piece_flush(piece);
            if (ret < 0)
                return ret;
        }
    } while (result != 0 && (in.pos < in.size || full));
    *used = in.pos;
    unzstd->offset += in.pos;
    if (result == 0) {
        unzstd->inside = false;
        unzstd->magic_length = 0;
    }
    return 0;
}

// One byte of a frame's magic.
static int magic_byte(struct tarn_unzstd *unzstd, uint8_t byte, struct tarn_err *err)
{
    if (unzstd->magic_length == 0)
        unzstd->frame_offset = unzstd->offset;
    unzstd->magic[unzstd->magic_length++] = byte;
    unzstd->offset++;
    if (unzstd->magic_length < MAGIC_SIZE)
        return 0;
    if (!tarn_unzstd_is_frame(unzstd->magic))
        return tarn_fail(err, -EUCLEAN, "zstd: garbage after the last frame at byte %" PRIu64,
                         unzstd->frame_offset);
    unzstd->inside = true;
    unzstd->offset -= MAGIC_SIZE;
    size_t used;
    return decode_some(unzstd, unzstd->magic, MAGIC_SIZE, &used, err);
}

int tarn_unzstd_push(struct tarn_unzstd *unzstd, const uint8_t *bytes, size_t length,
                     struct tarn_err *err)
{
    int ret = 0;
    while (ret == 0 && length > 0) {
        size_t used = 1;
        ret = unzstd->inside ? decode_some(unzstd, bytes, length, &used, err)
                             : magic_byte(unzstd, *bytes, err);
        bytes += used;
        length -= used;
    }
    return ret;
}

int tarn_unzstd_finish(const struct tarn_unzstd *unzstd, struct tarn_err *err)
{
    if (!unzstd->inside && unzstd->magic_length == 0)
        return 0;
    return tarn_fail(err, -EUCLEAN, "zstd: truncated at byte %" PRIu64, unzstd->offset);
}
