// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

char *tarn_base64_encode(const void *data, size_t length)
{
    if (length > INT_MAX / 2)
        return NULL;
    char *text = malloc((length + 2) / 3 * 4 + 1);
    if (text)
        EVP_EncodeBlock((unsigned char *)text, data, (int)length);
    return text;
}

int tarn_base64_decode(const char *text, struct tarn_buf *buf)
{
    const size_t length = strlen(text);
    size_t padding = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    // The library would skip spaces and take '=' anywhere.
    if (length % 4 != 0 || length > INT_MAX / 2 ||
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") !=
            length - padding)
        return -EINVAL;
    if (tarn_buf_reserve(buf, length / 4 * 3) < 0)
        return -ENOMEM;
    const int n = length == 0 ? 0
                              : EVP_DecodeBlock(buf->data + buf->length,
                                                (const unsigned char *)text, (int)length);
    if (n < 0)
        return -EINVAL;
    buf->length += (size_t)n - padding;
    return 0;
}
