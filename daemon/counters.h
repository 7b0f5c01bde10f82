// SPDX-License-Identifier: Apache-2.0
// What the daemon counts, for `tarn stats`. Any thread.
#ifndef TARN_DAEMON_COUNTERS_H
#define TARN_DAEMON_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

struct tarn_counters {
    _Atomic uint64_t reads;           // read requests answered with bytes
    _Atomic uint64_t read_bytes;      // bytes given to readers
    _Atomic uint64_t read_waits;      // read requests that had to wait for chunks
    _Atomic uint64_t read_errors;     // read requests answered with an error
    _Atomic uint64_t ranges;          // range reads from repositories
    _Atomic uint64_t fetched_bytes;   // bytes that these brought
    _Atomic uint64_t mount_requests;  // requests for manifests and bootstraps
    _Atomic uint64_t mount_bytes;     // bytes that these brought
    _Atomic uint64_t decoded_chunks;  // chunks decoded with the right digest
    _Atomic uint64_t copied_chunks;   // chunks taken from another place of the store
    _Atomic uint64_t checked_chunks;  // chunks found right at first use
    _Atomic uint64_t dropped_chunks;  // chunks of the store found wrong at first use
    _Atomic uint64_t digest_errors;   // chunks that came with wrong bytes
    _Atomic uint64_t unstored_chunks; // chunks that could not be written to the store
};

// A mount's part of its image's counters. It may outlive the mount by a read that is under way.
struct tarn_share {
    _Atomic uint32_t references;
    _Atomic uint64_t reads;
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t ranges; // range reads that its readers caused
    _Atomic uint64_t fetched_bytes;
    _Atomic uint64_t mount_requests; // as above
    _Atomic uint64_t mount_bytes;
};

static inline struct tarn_share *tarn_share_ref(struct tarn_share *share)
{
    if (share)
        atomic_fetch_add(&share->references, 1);
    return share;
}

static inline void tarn_share_unref(struct tarn_share *share)
{
    if (share && atomic_fetch_sub(&share->references, 1) == 1)
        free(share);
}

static inline void tarn_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
