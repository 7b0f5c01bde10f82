// SPDX-License-Identifier: Apache-2.0
#include "converter/layer_queue.h"

#include <pthread.h>
#include <stdlib.h>

enum { WAITING_MAX = 16, WAITING_BYTES = 64 << 20, WAITING_NODES = 1 << 16 };

struct tarn_layer_queue {
    pthread_mutex_t lock; // guards all that follows
    pthread_cond_t changed;
    struct tarn_prepared_layer waiting[WAITING_MAX]; // a ring
    uint32_t first;
    uint32_t count;
    bool stopped;
};

void tarn_prepared_layer_release(struct tarn_prepared_layer *layer)
{
    tarn_layer_input_release(&layer->input);
    tarn_layer_metadata_release(&layer->found.metadata);
    *layer = (struct tarn_prepared_layer){ 0 };
}

struct tarn_layer_queue *tarn_layer_queue_new(void)
{
    struct tarn_layer_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    return queue;
}

void tarn_layer_queue_free(struct tarn_layer_queue *queue)
{
    if (!queue)
        return;
    for (uint32_t i = 0; i < queue->count; i++)
        tarn_prepared_layer_release(&queue->waiting[(queue->first + i) % WAITING_MAX]);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static uint64_t nodes_of(const struct tarn_prepared_layer *layer)
{
    return tarn_tree_count(layer->reused ? layer->found.metadata.tree : layer->input.tree);
}

// Whether the layer can wait besides those that do. With the lock held.
static bool has_room(const struct tarn_layer_queue *queue, const struct tarn_prepared_layer *layer)
{
    if (queue->count == 0)
        return true;
    uint64_t bytes = layer->data_length;
    uint64_t nodes = nodes_of(layer);
    for (uint32_t i = 0; i < queue->count; i++) {
        const struct tarn_prepared_layer *other = &queue->waiting[(queue->first + i) % WAITING_MAX];
        bytes += other->data_length;
        nodes += nodes_of(other);
    }
    return queue->count < WAITING_MAX && bytes <= WAITING_BYTES && nodes <= WAITING_NODES;
}

bool tarn_layer_queue_put(struct tarn_layer_queue *queue, const struct tarn_prepared_layer *layer)
{
    pthread_mutex_lock(&queue->lock);
    while (!has_room(queue, layer) && !queue->stopped)
        pthread_cond_wait(&queue->changed, &queue->lock);
    const bool taken = !queue->stopped;
    if (taken) {
        queue->waiting[(queue->first + queue->count++) % WAITING_MAX] = *layer;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

bool tarn_layer_queue_take(struct tarn_layer_queue *queue, struct tarn_prepared_layer *layer)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && !queue->stopped)
        pthread_cond_wait(&queue->changed, &queue->lock);
    const bool taken = !queue->stopped;
    if (taken) {
        *layer = queue->waiting[queue->first];
        queue->first = (queue->first + 1) % WAITING_MAX;
        queue->count--;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

void tarn_layer_queue_stop(struct tarn_layer_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stopped = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

bool tarn_layer_queue_stopped(struct tarn_layer_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const bool stopped = queue->stopped;
    pthread_mutex_unlock(&queue->lock);
    return stopped;
}
