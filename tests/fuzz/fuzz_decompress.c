// SPDX-License-Identifier: Apache-2.0
// The decompressor on any bytes: the same in one piece as in many, and for one gzip member the same
// as zlib gives.
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "converter/decompress.h"

enum { LIMIT = 4 << 20, TOO_MUCH = -EFBIG };

static int take(void *context, const void *bytes, size_t length)
{
    struct tarn_buf *out = context;
    if (length > LIMIT - out->length)
        return TOO_MUCH;
    return tarn_buf_append(out, bytes, length);
}

static int decode(const uint8_t *data, size_t size, size_t piece, struct tarn_buf *out)
{
    struct tarn_decompress *decompress tarn_cleanup(tarn_decompress_free_p) =
        tarn_decompress_new(take, out);
    if (!decompress)
        return -ENOMEM;
    int ret = 0;
    for (size_t at = 0; at < size && ret == 0; at += piece)
        ret = tarn_decompress_push(decompress, data + at, piece < size - at ? piece : size - at,
                                   NULL);
    return ret == 0 ? tarn_decompress_finish(decompress, NULL) : ret;
}

static void check(bool right)
{
    if (!right)
        abort();
}

// ISA-L lets incomplete sets of codes pass that zlib refuses ("invalid distances set"), as long as none of
// the missing ones is used: CRC and length are compared all the same.
static bool is_about_a_set(const z_stream *stream)
{
    return stream->msg && strstr(stream->msg, " set");
}

// Where zlib finds exactly one member in data, ret and out must be the same.
static void compare_zlib(const uint8_t *data, size_t size, int ret, const struct tarn_buf *out)
{
    uint8_t *plain tarn_autofree = malloc(LIMIT);
    z_stream stream = { 0 };
    if (!plain || inflateInit2(&stream, 31) != Z_OK)
        return;
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    stream.next_out = plain;
    stream.avail_out = LIMIT;
    const int code = inflate(&stream, Z_FINISH);
    if (code == Z_STREAM_END && stream.avail_in == 0)
        check(ret == 0 && out->length == stream.total_out &&
              (out->length == 0 || memcmp(out->data, plain, out->length) == 0));
    else if (code == Z_DATA_ERROR && stream.total_in > 2 && !is_about_a_set(&stream))
        check(ret < 0);
    inflateEnd(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tarn_buf whole tarn_autobuf = { 0 };
    struct tarn_buf pieces tarn_autobuf = { 0 };
    if (size < 1)
        return 0;
    const int ret = decode(data, size, size, &whole);
    const size_t piece = 1 + data[size - 1] % 64;
    check(decode(data, size, piece, &pieces) == ret);
    check(ret != 0 || (whole.length == pieces.length &&
                       (whole.length == 0 || memcmp(whole.data, pieces.data, whole.length) == 0)));
    if (size > 2 && data[0] == 0x1f && data[1] == 0x8b)
        compare_zlib(data, size, ret, &whole);
    return 0;
}
