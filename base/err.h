// SPDX-License-Identifier: Apache-2.0
// The error that travels up: a code and one sentence for a person.
//
// A function that can fail returns 0 (or a count) or -errno. At a boundary it also takes a
// struct tarn_err, which the caller owns and which may be NULL. Whoever detects the fault sets it;
// each caller that knows more prepends its context ("layer 3: ..."). errno itself is never a
// contract.
//
// Codes with a meaning of their own: -EUCLEAN a damaged image, -EIO a wrong digest or an unreadable
// source, -ENOTSUP something real that Tarn does not do, -EINVAL a wrong argument or hostile input.
#ifndef TARN_BASE_ERR_H
#define TARN_BASE_ERR_H

#include <errno.h>

#include "base/cleanup.h"

enum { TARN_ERR_TEXT = 1024 };

struct tarn_err {
    int code; // 0 or -errno
    char text[TARN_ERR_TEXT];
};

// Sets err (if not NULL) and returns code, which must be negative.
int tarn_fail(struct tarn_err *err, int code, const char *format, ...) tarn_printf(3, 4);

// As tarn_fail, with ": " and the system's words for the code behind the sentence.
int tarn_fail_errno(struct tarn_err *err, int code, const char *format, ...) tarn_printf(3, 4);

// Puts "context: " before the sentence that err holds.
void tarn_err_prepend(struct tarn_err *err, const char *format, ...) tarn_printf(2, 3);

// As tarn_err_prepend, and returns code, for `return tarn_wrap(err, ret, "layer %u", i);`.
int tarn_wrap(struct tarn_err *err, int code, const char *format, ...) tarn_printf(3, 4);

// For static analysis: these never return 0 or more.
#ifdef __clang_analyzer__
#define tarn_negative_(call, code)                                                                 \
    __extension__({                                                                                \
        const int tarn_code_ = (code);                                                             \
        if (tarn_code_ >= 0)                                                                       \
            __builtin_unreachable();                                                               \
        call;                                                                                      \
        tarn_code_;                                                                                \
    })
#define tarn_fail(err, code, ...) tarn_negative_((tarn_fail)(err, tarn_code_, __VA_ARGS__), code)
#define tarn_fail_errno(err, code, ...)                                                            \
    tarn_negative_((tarn_fail_errno)(err, tarn_code_, __VA_ARGS__), code)
#define tarn_wrap(err, code, ...) tarn_negative_((tarn_wrap)(err, tarn_code_, __VA_ARGS__), code)
#endif

#endif
