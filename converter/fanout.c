// SPDX-License-Identifier: Apache-2.0
#include "converter/fanout.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK_SIZE = 256 << 10, BLOCKS = 16 };

struct tarn_fanout {
    pthread_mutex_t lock; // guards all but the bytes of blocks in flight
    pthread_cond_t changed;
    uint64_t written;                    // full blocks so far
    uint64_t taken[TARN_FANOUT_READERS]; // blocks that the reader is done with
    bool holds[TARN_FANOUT_READERS];     // it works on block number taken[]
    bool finished;
    bool cancelled;
    int status;
    size_t lengths[BLOCKS];
    size_t filling; // bytes in the block being filled; the writer's own
    uint8_t *blocks;
};

struct tarn_fanout *tarn_fanout_new(void)
{
    struct tarn_fanout *fanout = calloc(1, sizeof *fanout);
    if (!fanout)
        return NULL;
    fanout->blocks = malloc((size_t)BLOCK_SIZE * BLOCKS);
    if (!fanout->blocks) {
        free(fanout);
        return NULL;
    }
    pthread_mutex_init(&fanout->lock, NULL);
    pthread_cond_init(&fanout->changed, NULL);
    return fanout;
}

void tarn_fanout_free(struct tarn_fanout *fanout)
{
    if (!fanout)
        return;
    pthread_cond_destroy(&fanout->changed);
    pthread_mutex_destroy(&fanout->lock);
    free(fanout->blocks);
    free(fanout);
}

static uint8_t *block_at(const struct tarn_fanout *fanout, uint64_t number)
{
    return fanout->blocks + number % BLOCKS * BLOCK_SIZE;
}

static bool is_full(const struct tarn_fanout *fanout)
{
    for (unsigned i = 0; i < TARN_FANOUT_READERS; i++)
        if (fanout->written - fanout->taken[i] == BLOCKS)
            return true;
    return false;
}

// Waits for a free block to fill.
static int wait_room(struct tarn_fanout *fanout)
{
    pthread_mutex_lock(&fanout->lock);
    while (!fanout->cancelled && is_full(fanout))
        pthread_cond_wait(&fanout->changed, &fanout->lock);
    const int ret = fanout->cancelled ? -ECANCELED : 0;
    pthread_mutex_unlock(&fanout->lock);
    return ret;
}

static void publish(struct tarn_fanout *fanout)
{
    pthread_mutex_lock(&fanout->lock);
    fanout->lengths[fanout->written % BLOCKS] = fanout->filling;
    fanout->written++;
    fanout->filling = 0;
    pthread_cond_broadcast(&fanout->changed);
    pthread_mutex_unlock(&fanout->lock);
}

int tarn_fanout_write(struct tarn_fanout *fanout, const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    while (length > 0) {
        const int ret = fanout->filling == 0 ? wait_room(fanout) : 0;
        if (ret < 0)
            return ret;
        const size_t room = BLOCK_SIZE - fanout->filling;
        const size_t n = length < room ? length : room;
        memcpy(block_at(fanout, fanout->written) + fanout->filling, p, n);
        fanout->filling += n;
        p += n;
        length -= n;
        if (fanout->filling == BLOCK_SIZE)
            publish(fanout);
    }
    return 0;
}

void tarn_fanout_finish(struct tarn_fanout *fanout, int status)
{
    if (fanout->filling > 0)
        publish(fanout);
    pthread_mutex_lock(&fanout->lock);
    fanout->finished = true;
    fanout->status = status;
    pthread_cond_broadcast(&fanout->changed);
    pthread_mutex_unlock(&fanout->lock);
}

ssize_t tarn_fanout_next(struct tarn_fanout *fanout, unsigned reader, const void **bytes)
{
    pthread_mutex_lock(&fanout->lock);
    if (fanout->holds[reader]) {
        fanout->holds[reader] = false;
        fanout->taken[reader]++;
        pthread_cond_broadcast(&fanout->changed);
    }
    while (!fanout->cancelled && !fanout->finished && fanout->taken[reader] == fanout->written)
        pthread_cond_wait(&fanout->changed, &fanout->lock);
    ssize_t ret;
    if (fanout->cancelled) {
        ret = -ECANCELED;
    } else if (fanout->taken[reader] < fanout->written) {
        fanout->holds[reader] = true;
        *bytes = block_at(fanout, fanout->taken[reader]);
        ret = (ssize_t)fanout->lengths[fanout->taken[reader] % BLOCKS];
    } else {
        ret = fanout->status;
    }
    pthread_mutex_unlock(&fanout->lock);
    return ret;
}

void tarn_fanout_cancel(struct tarn_fanout *fanout)
{
    pthread_mutex_lock(&fanout->lock);
    fanout->cancelled = true;
    pthread_cond_broadcast(&fanout->changed);
    pthread_mutex_unlock(&fanout->lock);
}
