// SPDX-License-Identifier: Apache-2.0
// Ownership by scope: a variable declared with tarn_cleanup() is released on every exit path.
#ifndef TARN_BASE_CLEANUP_H
#define TARN_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define tarn_must_check __attribute__((warn_unused_result))
#define tarn_printf(fmt_index, arg_index) __attribute__((format(printf, fmt_index, arg_index)))

// Declares that FUNCTION(&variable) runs when the variable's scope ends.
#define tarn_cleanup(function) __attribute__((cleanup(function)))

// Hands the pointer over: yields its value and leaves NULL behind, so that the cleanup does
// nothing.
#define tarn_steal(pointer)                                                                        \
    __extension__({                                                                                \
        __auto_type tarn_stolen_ = (pointer);                                                      \
        (pointer) = NULL;                                                                          \
        tarn_stolen_;                                                                              \
    })

// Defines FREE_p(TYPE **), for tarn_cleanup(), from FREE(TYPE *), which takes NULL.
// NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses here
#define TARN_DEFINE_CLEANUP(type, free_function)                                                   \
    static inline void free_function##_p(type **pointer)                                           \
    {                                                                                              \
        free_function(*pointer);                                                                   \
        *pointer = NULL;                                                                           \
    }
// NOLINTEND(bugprone-macro-parentheses)

static inline void tarn_free_p(void *pointer)
{
    free(*(void **)pointer);
}

static inline void tarn_close_p(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define tarn_autofree tarn_cleanup(tarn_free_p)
#define tarn_autoclose tarn_cleanup(tarn_close_p)

// Hands a descriptor over: yields it and leaves -1 behind.
static inline int tarn_steal_fd(int *fd)
{
    const int value = *fd;
    *fd = -1;
    return value;
}

#endif
