// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

int(tarn_fail)(struct tarn_err *err, int code, const char *format, ...)
{
    assert(code < 0);
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

int(tarn_fail_errno)(struct tarn_err *err, int code, const char *format, ...)
{
    assert(code < 0);
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", strerrordesc_np(-code));
    err->code = code;
    return code;
}

static tarn_printf(2, 0) void prepend(struct tarn_err *err, const char *format, va_list args)
{
    char context[TARN_ERR_TEXT];
    const int n = vsnprintf(context, sizeof context - 3, format, args);
    if (n < 0)
        return;
    size_t length = strnlen(context, sizeof context);
    memcpy(context + length, ": ", 3);
    length += 2;
    const size_t room = sizeof err->text - 1 - length;
    const size_t kept = strnlen(err->text, room);
    memmove(err->text + length, err->text, kept);
    memcpy(err->text, context, length);
    err->text[length + kept] = '\0';
}

void tarn_err_prepend(struct tarn_err *err, const char *format, ...)
{
    if (!err)
        return;
    va_list args;
    va_start(args, format);
    prepend(err, format, args);
    va_end(args);
}

int(tarn_wrap)(struct tarn_err *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        prepend(err, format, args);
        va_end(args);
        err->code = code;
    }
    return code;
}
