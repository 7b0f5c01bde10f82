// SPDX-License-Identifier: Apache-2.0
// The archive's form is fixed to the byte, so that reading it is comparing it with what would be
// written: no tar parser stands between registry and mount.
#include "format/bootstrap_layer.h"

#include <stdbool.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "format/limits.h"

enum { TAR_BLOCK = TARN_BOOTSTRAP_LAYER_HEADER, TAR_END = 2 * TAR_BLOCK };

// The ustar header of tarn/bootstrap. The length is within the format's limit, so that it fits.
static void tar_header(uint64_t length, uint8_t header[TAR_BLOCK])
{
    memset(header, 0, TAR_BLOCK);
    char *p = (char *)header;
    memcpy(p, "tarn/bootstrap", 14);
    memcpy(p + 100, "0000444", 7);
    memcpy(p + 108, "0000000", 7);
    memcpy(p + 116, "0000000", 7);
    snprintf(p + 124, 12, "%011llo", (unsigned long long)length);
    memcpy(p + 136, "00000000000", 11);
    memset(p + 148, ' ', 8);
    p[156] = '0';
    memcpy(p + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += header[i];
    snprintf(p + 148, 8, "%06o", sum);
    p[155] = ' ';
}

static uint64_t tar_length(uint64_t length)
{
    return TAR_BLOCK + tarn_round_up(length, TAR_BLOCK) + TAR_END;
}

static bool is_bomb(uint64_t tar, size_t layer)
{
    return tar > TARN_BOOTSTRAP_LAYER_PLAIN &&
           (tar - TARN_BOOTSTRAP_LAYER_PLAIN) / TARN_BOOTSTRAP_LAYER_RATIO > layer;
}

struct layer_writer {
    ZSTD_CCtx *context;
    struct tarn_hasher *hasher; // of the tar
    struct tarn_buf *out;
};

// Adds bytes of the tar; last: the frame ends behind them.
static int write_tar(struct layer_writer *writer, const void *bytes, size_t length, bool last)
{
    ZSTD_inBuffer in = { bytes, length, 0 };
    size_t left;
    tarn_hasher_update(writer->hasher, bytes, length);
    do {
        if (tarn_buf_reserve(writer->out, ZSTD_CStreamOutSize()) < 0)
            return -ENOMEM;
        ZSTD_outBuffer room = { writer->out->data + writer->out->length,
                                writer->out->capacity - writer->out->length, 0 };
        left =
            ZSTD_compressStream2(writer->context, &room, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
        writer->out->length += room.pos;
    } while (last ? left > 0 : in.pos < in.size);
    return 0;
}

static int write_layer(struct layer_writer *writer, const uint8_t header[TAR_BLOCK],
                       const uint8_t *bootstrap, size_t length)
{
    static const uint8_t zeros[TAR_BLOCK + TAR_END];
    const size_t total = tar_length(length);
    ZSTD_CCtx *context = writer->context;
    if (ZSTD_isError(
            ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, TARN_BOOTSTRAP_LAYER_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, total)))
        return -ENOMEM;
    int ret = write_tar(writer, header, TAR_BLOCK, false);
    if (ret == 0)
        ret = write_tar(writer, bootstrap, length, false);
    return ret < 0 ? ret : write_tar(writer, zeros, total - TAR_BLOCK - length, true);
}

int tarn_bootstrap_layer_write(const uint8_t *bootstrap, size_t length, struct tarn_buf *out,
                               struct tarn_digest *diff_id, struct tarn_err *err)
{
    if (tar_length(length) > TARN_BOOTSTRAP_LIMIT)
        return tarn_fail(err, -EFBIG, "the bootstrap of %zu bytes is larger than 4 GiB", length);
    uint8_t header[TAR_BLOCK];
    tar_header(length, header);
    const size_t start = out->length;
    tarn_cleanup(tarn_hasher_free_p) struct tarn_hasher *hasher = tarn_hasher_new();
    struct layer_writer writer = { ZSTD_createCCtx(), hasher, out };
    const int ret =
        writer.context && hasher ? write_layer(&writer, header, bootstrap, length) : -ENOMEM;
    ZSTD_freeCCtx(writer.context);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory for the bootstrap layer");
    if (out->length - start > TARN_BOOTSTRAP_LAYER_LIMIT)
        return tarn_fail(err, -EFBIG, "the bootstrap of %zu bytes compresses to more than 1 GiB",
                         length);
    if (is_bomb(tar_length(length), out->length - start))
        return tarn_fail(err, -EFBIG, "the bootstrap of %zu bytes compresses to %zu: too few",
                         length, out->length - start);
    tarn_hasher_finish(hasher, diff_id);
    return 0;
}

int tarn_bootstrap_layer_size(const uint8_t *layer, size_t length, size_t *size,
                              struct tarn_err *err)
{
    const unsigned long long total = ZSTD_getFrameContentSize(layer, length);
    if (total == ZSTD_CONTENTSIZE_UNKNOWN || total == ZSTD_CONTENTSIZE_ERROR ||
        ZSTD_findFrameCompressedSize(layer, length) != length)
        return tarn_fail(err, -EUCLEAN, "bootstrap layer: not one zstd frame with its size");
    if (total < TAR_BLOCK + TAR_END || total > TARN_BOOTSTRAP_LIMIT)
        return tarn_fail(err, -EUCLEAN, "bootstrap layer: %llu bytes are out of range", total);
    if (is_bomb(total, length))
        return tarn_fail(err, -EUCLEAN, "bootstrap layer: %llu bytes in %zu, more than %d to one",
                         total, length, TARN_BOOTSTRAP_LAYER_RATIO);
    *size = total;
    return 0;
}

static uint64_t octal(const uint8_t *digits, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value * 8 + (uint64_t)(digits[i] & 7);
    return value;
}

// Whether these are the bytes that hold a bootstrap of this size.
static bool is_archive(const struct tarn_bootstrap_room *room, uint64_t size)
{
    if (tar_length(size) != room->length)
        return false;
    uint8_t header[TAR_BLOCK];
    tar_header(size, header);
    return memcmp(header, room->tar, TAR_BLOCK) == 0 &&
           tarn_all_zero(room->tar + TAR_BLOCK + size, room->length - TAR_BLOCK - size);
}

int tarn_bootstrap_compare(const uint8_t *bootstrap, size_t length, const struct tarn_digest *want,
                           struct tarn_err *err)
{
    struct tarn_digest digest;
    tarn_sha256(bootstrap, length, &digest);
    if (tarn_digest_equal(&digest, want))
        return 0;
    char text[TARN_DIGEST_TEXT];
    return tarn_fail(err, -EIO, "the bootstrap's digest is %s, not what the manifest says",
                     tarn_digest_format(&digest, text));
}

int tarn_bootstrap_layer_unpack(const uint8_t *layer, size_t length, const struct tarn_digest *want,
                                struct tarn_bootstrap_room *room, struct tarn_err *err)
{
    const size_t n = ZSTD_decompress(room->tar, room->length, layer, length);
    if (ZSTD_isError(n) || n != room->length)
        return tarn_fail(err, -EUCLEAN, "bootstrap layer: damaged: %s",
                         ZSTD_isError(n) ? ZSTD_getErrorName(n) : "wrong length");
    const uint64_t size = octal(room->tar + 124, 11);
    if (!is_archive(room, size))
        return tarn_fail(err, -EUCLEAN, "bootstrap layer: not an archive of tarn/bootstrap alone");
    room->size = size;
    return want ? tarn_bootstrap_compare(room->tar + TAR_BLOCK, size, want, err) : 0;
}

int tarn_bootstrap_layer_read(const uint8_t *layer, size_t length, const struct tarn_digest *want,
                              struct tarn_buf *out, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf tar = { 0 };
    size_t total;
    int ret = tarn_bootstrap_layer_size(layer, length, &total, err);
    if (ret < 0)
        return ret;
    if (tarn_buf_reserve(&tar, total) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory for a bootstrap of %zu bytes", total);
    struct tarn_bootstrap_room room = { tar.data, total, 0 };
    ret = tarn_bootstrap_layer_unpack(layer, length, want, &room, err);
    if (ret < 0)
        return ret;
    // The buffer changes hands; only the header is moved away.
    memmove(tar.data, tar.data + TAR_BLOCK, room.size);
    *out = (struct tarn_buf){ tar.data, room.size, tar.capacity };
    tar = (struct tarn_buf){ 0 };
    return 0;
}
