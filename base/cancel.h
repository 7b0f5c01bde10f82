// SPDX-License-Identifier: Apache-2.0
// A flag by which a signal handler asks long work to stop. The threads that do the work look at it: so it is
// written and read as an atomic, which is also safe in a handler.
#ifndef TARN_BASE_CANCEL_H
#define TARN_BASE_CANCEL_H

#include <signal.h>
#include <stdbool.h>

// NOLINTNEXTLINE(readability-non-const-parameter): it does not see the builtin write
static inline void tarn_cancel_set(volatile sig_atomic_t *cancel)
{
    __atomic_store_n(cancel, 1, __ATOMIC_RELAXED);
}

// cancel may be NULL: nobody will ask.
static inline bool tarn_cancel_is_set(const volatile sig_atomic_t *cancel)
{
    return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0;
}

#endif
