// SPDX-License-Identifier: Apache-2.0
// How other threads hand work to the worker's loop. Posting never blocks for long and never fails.
#ifndef TARN_DAEMON_LOOP_QUEUE_H
#define TARN_DAEMON_LOOP_QUEUE_H

#include <uv.h>

#include "base/err.h"

// One piece of work, embedded in the caller's struct, which stays alive until run() is called on the
// loop's thread.
struct tarn_post {
    void (*run)(struct tarn_post *post);
    struct tarn_post *next; // the queue's
};

struct tarn_loop_queue;

// batch_done, if not NULL, is called on the loop's thread after each batch of posts has run.
struct tarn_loop_queue *tarn_loop_queue_new(uv_loop_t *loop, void (*batch_done)(void *context),
                                            void *context, struct tarn_err *err);
// On the loop's thread; nobody posts any more. Memory goes when the loop has run once more.
void tarn_loop_queue_close(struct tarn_loop_queue *queue);

uv_loop_t *tarn_loop_queue_loop(const struct tarn_loop_queue *queue);

// Any thread.
void tarn_loop_queue_post(struct tarn_loop_queue *queue, struct tarn_post *post);

#endif
