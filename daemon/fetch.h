// SPDX-License-Identifier: Apache-2.0
// Makes chunks local: from the store (found there, or copied from another data file), else from the
// image's repository, decoded, checked against their SHA-256 and written to their data file. One
// fetch for each chunk at a time; neighbours are read as one range; chunks are decoded while the rest
// still arrives. All functions are called on the loop's thread; decoding runs on a fixed pool.
//
// A chunk with a wrong digest is fetched once more, then everyone who waits for it gets -EIO. Nothing
// is remembered: the next want tries again.
#ifndef TARN_DAEMON_FETCH_H
#define TARN_DAEMON_FETCH_H

#include "base/pool.h"
#include "daemon/loop_queue.h"
#include "daemon/node_image.h"

struct tarn_fetch;

struct tarn_fetch_options {
    struct tarn_store *store;      // borrowed
    struct tarn_pool *pool;        // borrowed; decoding, checking, copying
    struct tarn_loop_queue *queue; // borrowed
    struct tarn_counters *total;   // borrowed; counted beside the image's own
};

struct tarn_fetch *tarn_fetch_new(const struct tarn_fetch_options *options, struct tarn_err *err);
// Nothing may be under way (tarn_fetch_busy()).
void tarn_fetch_free(struct tarn_fetch *fetch);
bool tarn_fetch_busy(const struct tarn_fetch *fetch);

// A chunk's bytes when they could not be written to the store.
struct tarn_chunk_bytes {
    uint64_t address; // of the chunk
    size_t length;
    const uint8_t *data; // valid during the call
};

// Who waits for a chunk; embedded in the caller's struct. wake() is called once, from the loop:
// status 0 with bytes NULL: the chunk is verified in its data file; 0 with bytes: these are it, the
// store is full; else -errno, already logged and counted; -ETIMEDOUT: its source brought nothing in time.
struct tarn_fetch_waiter {
    struct tarn_fetch_waiter *next; // these are the engine's; zeroed before the first want
    struct tarn_fetch_row *row;     // that it waits at, or NULL
    struct tarn_node_image *image;  // whose want it was
    struct tarn_share *share;       // the same, or NULL
    bool retried;
    int failure; // why it is in the list of those that fail at the next flush
    void (*wake)(struct tarn_fetch_waiter *waiter, int status,
                 const struct tarn_chunk_bytes *bytes);
};

struct tarn_fetch_target {
    struct tarn_node_image *image;
    struct tarn_share *share; // whose want it is; NULL: nobody's
    uint32_t blob;
    uint32_t row;
    bool background; // nobody waits for it: what others wait for goes first
};

// Wants a chunk: a row of the image's tables that is no gap. True if it is local and verified: waiter
// is not used then. Else false, and waiter, if not NULL, is woken later, never from within.
bool tarn_fetch_want(struct tarn_fetch *fetch, const struct tarn_fetch_target *target,
                     struct tarn_fetch_waiter *waiter);

// The waiter, which waits, has done so for long. If its chunk is to come from another image's source, and
// that has brought nothing since the loop's time `before`, it is wanted from its own image's instead.
// May wake it. tarn_fetch_flush() must follow.
void tarn_fetch_hurry(struct tarn_fetch *fetch, struct tarn_fetch_waiter *waiter, uint64_t before);

// Whether the row is local and verified, or on its way.
bool tarn_fetch_knows(const struct tarn_fetch *fetch, const struct tarn_node_image *image,
                      uint32_t blob, uint32_t row);

// Starts the range reads for what was wanted since the last flush. To be called after each batch of
// wants.
void tarn_fetch_flush(struct tarn_fetch *fetch);

#endif
