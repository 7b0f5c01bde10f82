// SPDX-License-Identifier: Apache-2.0
// What the daemon counts, for `tarn stats`. Any thread.
#ifndef TARN_DAEMON_COUNTERS_H
#define TARN_DAEMON_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

struct tarn_counters {
    _Atomic uint64_t reads;           // read requests
    _Atomic uint64_t read_bytes;      // bytes given to readers
    _Atomic uint64_t read_waits;      // read requests that had to wait for chunks
    _Atomic uint64_t read_errors;     // read requests answered with an error
    _Atomic uint64_t ranges;          // range reads from repositories
    _Atomic uint64_t fetched_bytes;   // bytes that these brought
    _Atomic uint64_t decoded_chunks;  // chunks decoded with the right digest
    _Atomic uint64_t copied_chunks;   // chunks taken from another place of the store
    _Atomic uint64_t checked_chunks;  // chunks found right at first use
    _Atomic uint64_t dropped_chunks;  // chunks of the store found wrong at first use
    _Atomic uint64_t digest_errors;   // chunks that came with wrong bytes
    _Atomic uint64_t unstored_chunks; // chunks that could not be written to the store
};

static inline void tarn_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif
