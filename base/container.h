// SPDX-License-Identifier: Apache-2.0
// From a part to the whole: a callback that is handed the job, post or waiter which its caller embedded in
// a struct finds that struct.
#ifndef TARN_BASE_CONTAINER_H
#define TARN_BASE_CONTAINER_H

#include <stddef.h>

// The struct of this type whose member the pointer, which must have the member's type, points to.
// NOLINTBEGIN(bugprone-macro-parentheses): a type cannot stand in parentheses here
#define tarn_container_of(pointer, type, member)                                                   \
    __extension__({                                                                                \
        __typeof__(((type *)0)->member) *tarn_member_ = (pointer);                                 \
        (type *)(void *)((char *)tarn_member_ - offsetof(type, member));                           \
    })
// NOLINTEND(bugprone-macro-parentheses)

#endif
