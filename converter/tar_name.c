// SPDX-License-Identifier: Apache-2.0
#include "converter/tar_name.h"

#include <stdbool.h>
#include <string.h>

#include "converter/tar_entry.h"

static bool is_whiteout(const char *name, size_t length)
{
    return length > 4 && memcmp(name, ".wh.", 4) == 0;
}

static int append_component(struct tarn_buf *clean, const char *name, size_t length, bool last,
                            struct tarn_err *err)
{
    const size_t limit =
        last && is_whiteout(name, length) ? TARN_TAR_NAME_MAX + 4 : TARN_TAR_NAME_MAX;
    if (length == 0 || (length == 1 && name[0] == '.'))
        return 0;
    if (length == 2 && name[0] == '.' && name[1] == '.')
        return tarn_fail(err, -EINVAL, "'..' in a name is refused");
    if (length > limit)
        return tarn_fail(err, -ENOTSUP, "a name of %zu bytes is over the limit of %zu", length,
                         limit);
    int ret = 0;
    if (clean->length > 0)
        ret = tarn_buf_append(clean, "/", 1);
    if (ret == 0)
        ret = tarn_buf_append(clean, name, length);
    return ret < 0 ? tarn_fail_errno(err, ret, "keeping a name") : 0;
}

int tarn_tar_clean(const void *name, size_t length, struct tarn_buf *clean, struct tarn_err *err)
{
    clean->length = 0;
    if (length == 0)
        return tarn_fail(err, -EINVAL, "an empty name is refused");
    if (length > TARN_TAR_PATH_MAX)
        return tarn_fail(err, -ENOTSUP, "a path of %zu bytes is over the limit of %d", length,
                         TARN_TAR_PATH_MAX);
    if (memchr(name, '\0', length))
        return tarn_fail(err, -EINVAL, "a NUL in a name is refused");
    const char *p = name;
    const char *end = p + length;
    for (;;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        const int ret = append_component(clean, p, (size_t)(stop - p), !slash, err);
        if (ret < 0)
            return ret;
        if (!slash)
            break;
        p = slash + 1;
    }
    const int ret = tarn_buf_append(clean, "", 1);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "keeping a name");
    clean->length--;
    return 0;
}

const char *tarn_tar_quote(const void *name, size_t length, char text[TARN_TAR_QUOTED])
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *p = name;
    size_t n = 0;
    text[n++] = '\'';
    for (size_t i = 0; i < length; i++) {
        if (n + 4 + sizeof "...'" > TARN_TAR_QUOTED) {
            memcpy(text + n, "...", 3);
            n += 3;
            break;
        }
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\' && p[i] != '\'') {
            text[n++] = (char)p[i];
            continue;
        }
        text[n++] = '\\';
        text[n++] = 'x';
        text[n++] = hex[p[i] >> 4];
        text[n++] = hex[p[i] & 15];
    }
    text[n++] = '\'';
    text[n] = '\0';
    return text;
}
