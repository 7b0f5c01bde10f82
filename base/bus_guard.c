// SPDX-License-Identifier: Apache-2.0
// Ranges stand in a list that only grows, so that the handler can walk it while others change it; those
// that are removed have length 0 and are used again.
#include "base/bus_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

struct tarn_bus_range {
    struct tarn_bus_range *next;
    _Atomic uintptr_t start;
    _Atomic size_t length; // 0: not in use
    _Atomic int protection;
    _Atomic bool damaged;
};

static struct {
    pthread_mutex_t lock; // of who changes the list
    struct tarn_bus_range *_Atomic first;
    struct sigaction before;
} guard = { .lock = PTHREAD_MUTEX_INITIALIZER };

// --- in the handler: async-signal-safe, no lock --------------------------------------------------------

// A range that others change meanwhile is not the one with the fault, whose owner is here; its length is 0
// while its start changes.
static struct tarn_bus_range *find(uintptr_t address)
{
    for (struct tarn_bus_range *range = atomic_load(&guard.first); range; range = range->next) {
        const size_t length = atomic_load(&range->length);
        const uintptr_t start = atomic_load(&range->start);
        if (address >= start && address - start < length && atomic_load(&range->length) == length)
            return range;
    }
    return NULL;
}

// The mark comes first: nobody sees the zeros without it. Not by mmap(), of which sanitizers have their own.
static bool replace(struct tarn_bus_range *range)
{
#ifdef SYS_mmap2
    const long number = SYS_mmap2;
#else
    const long number = SYS_mmap;
#endif
    const uintptr_t start = atomic_load(&range->start);
    atomic_store(&range->damaged, true);
    return syscall(number, start, atomic_load(&range->length), atomic_load(&range->protection),
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == (long)start;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    const int saved = errno;
    const bool sent = info->si_code <= 0; // by a process, not by a fault
    struct tarn_bus_range *range = sent ? NULL : find((uintptr_t)info->si_addr);
    if (!range || !replace(range)) {
        sigaction(number, &guard.before, NULL); // a fault comes again at once
        if (sent)
            raise(number);
    }
    errno = saved;
}

// --------------------------------------------------------------------------------------------------------

int tarn_bus_guard_start(struct tarn_err *err)
{
    struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART };
    struct sigaction now;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&guard.lock);
    int ret = sigaction(SIGBUS, NULL, &now) < 0 ? -errno : 0;
    if (ret == 0 && !(now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_bus_error)) {
        guard.before = now;
        ret = sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
    }
    pthread_mutex_unlock(&guard.lock);
    return ret < 0 ? tarn_fail_errno(err, ret, "cannot handle SIGBUS") : 0;
}

struct tarn_bus_range *tarn_bus_guard_add(void *address, size_t length, int protection)
{
    pthread_mutex_lock(&guard.lock);
    struct tarn_bus_range *range = atomic_load(&guard.first);
    while (range && atomic_load(&range->length) > 0)
        range = range->next;
    const bool old = range;
    if (!old)
        range = calloc(1, sizeof *range);
    if (range) {
        atomic_store(&range->damaged, false);
        atomic_store(&range->protection, protection);
        atomic_store(&range->start, (uintptr_t)address);
        atomic_store(&range->length, length);
    }
    if (range && !old) {
        range->next = atomic_load(&guard.first);
        atomic_store(&guard.first, range);
    }
    pthread_mutex_unlock(&guard.lock);
    return range;
}

void tarn_bus_guard_remove(struct tarn_bus_range *range)
{
    if (range)
        atomic_store(&range->length, 0);
}

bool tarn_bus_range_damaged(const struct tarn_bus_range *range)
{
#ifndef __SANITIZE_THREAD__                    // which knows no fences
    atomic_thread_fence(memory_order_acquire); // what was read was read before the mark is
#endif
    return range && atomic_load(&range->damaged);
}

void tarn_bus_range_spoil(struct tarn_bus_range *range)
{
    if (range)
        (void)replace(range); // the mark is what counts
}

void tarn_bus_range_renew(struct tarn_bus_range *range)
{
    if (range)
        atomic_store(&range->damaged, false);
}
