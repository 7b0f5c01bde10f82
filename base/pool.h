// SPDX-License-Identifier: Apache-2.0
// A fixed set of threads and one queue of jobs.
#ifndef TARN_BASE_POOL_H
#define TARN_BASE_POOL_H

#include <stdbool.h>

#include "base/err.h"

struct tarn_pool;

// One piece of work, embedded in the caller's struct; run() gets the job itself. The caller keeps
// it alive until run() returned; how it learns of that is its own affair.
struct tarn_job {
    void (*run)(struct tarn_job *job);
    struct tarn_job *next; // the pool's
};

struct tarn_pool *tarn_pool_new(unsigned threads, struct tarn_err *err);
void tarn_pool_free(struct tarn_pool *pool); // waits for all jobs
TARN_DEFINE_CLEANUP(struct tarn_pool, tarn_pool_free)

// Queues the job behind the others. Never blocks, never fails. Any thread.
void tarn_pool_submit(struct tarn_pool *pool, struct tarn_job *job);

// Runs one queued job on the calling thread, if there is one; returns whether it did. For a caller
// that has nothing else to do than to wait.
bool tarn_pool_help(struct tarn_pool *pool);

unsigned tarn_pool_threads(const struct tarn_pool *pool);

#endif
