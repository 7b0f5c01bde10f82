// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"

void tarn_buf_release(struct tarn_buf *buf)
{
    free(buf->data);
    *buf = (struct tarn_buf){ 0 };
}

int tarn_buf_reserve(struct tarn_buf *buf, size_t extra)
{
    size_t need;
    if (__builtin_add_overflow(buf->length, extra, &need))
        return -ENOMEM;
    if (need <= buf->capacity)
        return 0;
    size_t capacity = buf->capacity ? buf->capacity : 64;
    while (capacity < need)
        if (__builtin_mul_overflow(capacity, 2, &capacity))
            return -ENOMEM;
    uint8_t *data = realloc(buf->data, capacity);
    if (!data)
        return -ENOMEM;
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

int tarn_buf_append(struct tarn_buf *buf, const void *data, size_t length)
{
    const int ret = tarn_buf_reserve(buf, length);
    if (ret < 0)
        return ret;
    if (length > 0)
        memcpy(buf->data + buf->length, data, length);
    buf->length += length;
    return 0;
}

int tarn_buf_append_zeros(struct tarn_buf *buf, size_t length)
{
    const int ret = tarn_buf_reserve(buf, length);
    if (ret < 0)
        return ret;
    if (length > 0)
        memset(buf->data + buf->length, 0, length);
    buf->length += length;
    return 0;
}

int tarn_buf_append_le32(struct tarn_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    tarn_put_le32(bytes, value);
    return tarn_buf_append(buf, bytes, sizeof bytes);
}

int tarn_buf_append_le64(struct tarn_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    tarn_put_le64(bytes, value);
    return tarn_buf_append(buf, bytes, sizeof bytes);
}

int tarn_buf_printf(struct tarn_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    const int ret = tarn_buf_reserve(buf, (size_t)n + 1);
    if (ret < 0)
        return ret;
    va_start(args, format);
    vsnprintf((char *)buf->data + buf->length, (size_t)n + 1, format, args);
    va_end(args);
    buf->length += (size_t)n;
    return 0;
}
