// SPDX-License-Identifier: Apache-2.0
// For the tests of the fetch engine: a store, two blobs, and two images of them whose repositories can fail
// in every way.
#ifndef TARN_TESTS_FETCH_WORLD_H
#define TARN_TESTS_FETCH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/fetch_internal.h"
#include "registry/repository_internal.h"

enum { CHUNKS = 24, RUN = 13 };
#define CHUNK ((size_t)20000)
#define SPACE (CHUNKS * CHUNK)

// A blob and its table: runs of 13 chunks; the last chunk of blob 1 refers to chunk 5 of blob 0.
struct blob {
    struct tarn_digest digest;
    uint8_t data[SPACE];
    uint8_t stored[SPACE];
    size_t size;
};

// A repository.
struct fake {
    struct tarn_repository repository;
    const struct blob *blobs;
    size_t piece;        // bytes handed over at a time
    size_t max_ranges;   // of one read
    size_t last_ranges;  // of the last read
    uint64_t bad_offset; // a byte that is wrong, in blob 0, in the next bad_times reads of it
    unsigned bad_times;
    unsigned short_times; // reads that end early without an error
    unsigned fail_times;  // reads that fail
    unsigned deny_times;  // reads that do not even start
    bool hold;            // nothing is handed over
    bool last_background; // of the last read
    struct tarn_digest last;
    unsigned reads;
    uint64_t bytes;
};

struct world {
    char *root;
    uv_loop_t loop;
    struct blob blobs[2];
    struct tarn_tables_builder builder;
    struct fake fakes[2];
    struct tarn_node_image images[2]; // of the same blobs, from two repositories
    struct tarn_store *store;
    struct tarn_pool *pool;
    struct tarn_loop_queue *queue;
    struct tarn_fetch *fetch;
    struct tarn_counters total;
    unsigned waiting;
};

// Set-up and tear-down of a test, whose state is the world.
int tarn_world_make(void **state);
int tarn_world_end(void **state);
#define TARN_WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, tarn_world_make, tarn_world_end)

struct waiter {
    struct tarn_fetch_waiter waiter;
    struct world *world;
    int status;
    bool woken;
};

// Wants the chunk for a reader; true if it is local.
bool tarn_world_want(struct world *world, struct waiter *waiter, size_t image, uint32_t blob,
                     uint32_t chunk);
// Wants it, which is not local, and flushes.
void tarn_world_start(struct world *world, struct waiter *waiter, size_t image, uint32_t blob,
                      uint32_t chunk);
// Wants it, which is not local, for nobody.
void tarn_world_want_ahead(struct world *world, size_t image, uint32_t blob, uint32_t chunk);
// The same, and flushes.
void tarn_world_start_ahead(struct world *world, size_t image, uint32_t blob, uint32_t chunk);
// Until no reader waits.
void tarn_world_wait(struct world *world);
// Until nothing is under way.
void tarn_world_wait_for_all(struct world *world);
// Wants it and waits; the outcome.
int tarn_world_bring(struct world *world, size_t image, uint32_t blob, uint32_t chunk);

// Every chunk that is verified is right. How many there are.
unsigned tarn_world_check(struct world *world, uint32_t blob);
// The chunk's row in the tables, and the stored length of the chunks [from, to).
uint32_t tarn_world_row(uint32_t blob, uint32_t chunk);
uint64_t tarn_world_stored_bytes(const struct world *world, uint32_t blob, uint32_t from,
                                 uint32_t to);

#endif
