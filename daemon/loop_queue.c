// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop_queue.h"

#include <pthread.h>
#include <stdbool.h>

struct tarn_loop_queue {
    uv_async_t async;
    void (*batch_done)(void *context);
    void *context;
    pthread_mutex_t lock; // guards first and last
    struct tarn_post *first;
    struct tarn_post *last;
};

static void drain(uv_async_t *async)
{
    struct tarn_loop_queue *queue = async->data;
    pthread_mutex_lock(&queue->lock);
    struct tarn_post *post = queue->first;
    queue->first = NULL;
    queue->last = NULL;
    pthread_mutex_unlock(&queue->lock);
    while (post) {
        struct tarn_post *next = post->next;
        post->run(post);
        post = next;
    }
    if (queue->batch_done)
        queue->batch_done(queue->context);
}

struct tarn_loop_queue *tarn_loop_queue_new(uv_loop_t *loop, void (*batch_done)(void *context),
                                            void *context, struct tarn_err *err)
{
    struct tarn_loop_queue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        tarn_fail(err, -ENOMEM, "out of memory starting the loop");
        return NULL;
    }
    const int ret = uv_async_init(loop, &queue->async, drain);
    if (ret < 0) {
        free(queue);
        tarn_fail_errno(err, ret, "cannot start the loop");
        return NULL;
    }
    queue->async.data = queue;
    queue->batch_done = batch_done;
    queue->context = context;
    pthread_mutex_init(&queue->lock, NULL);
    return queue;
}

static void closed(uv_handle_t *handle)
{
    struct tarn_loop_queue *queue = handle->data;
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void tarn_loop_queue_close(struct tarn_loop_queue *queue)
{
    if (queue)
        uv_close((uv_handle_t *)&queue->async, closed);
}

uv_loop_t *tarn_loop_queue_loop(const struct tarn_loop_queue *queue)
{
    return queue->async.loop;
}

void tarn_loop_queue_post(struct tarn_loop_queue *queue, struct tarn_post *post)
{
    post->next = NULL;
    pthread_mutex_lock(&queue->lock);
    const bool wake = !queue->first;
    if (queue->last)
        queue->last->next = post;
    else
        queue->first = post;
    queue->last = post;
    pthread_mutex_unlock(&queue->lock);
    if (wake)
        uv_async_send(&queue->async);
}
