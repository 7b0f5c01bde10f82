// SPDX-License-Identifier: Apache-2.0
#include "base/pool.h"

#include <pthread.h>
#include <stdbool.h>

struct tarn_pool {
    pthread_mutex_t lock; // guards first, last, stopping
    pthread_cond_t wake;
    struct tarn_job *first;
    struct tarn_job *last;
    bool stopping;
    unsigned count;
    pthread_t threads[];
};

// With the lock held.
static struct tarn_job *take(struct tarn_pool *pool)
{
    struct tarn_job *job = pool->first;
    if (job) {
        pool->first = job->next;
        if (!pool->first)
            pool->last = NULL;
    }
    return job;
}

static void *work(void *argument)
{
    struct tarn_pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct tarn_job *job = take(pool);
        if (job) {
            pthread_mutex_unlock(&pool->lock);
            job->run(job);
            pthread_mutex_lock(&pool->lock);
        } else if (pool->stopping) {
            break;
        } else {
            pthread_cond_wait(&pool->wake, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct tarn_pool *tarn_pool_new(unsigned threads, struct tarn_err *err)
{
    struct tarn_pool *pool = calloc(1, sizeof *pool + threads * sizeof pool->threads[0]);
    if (!pool) {
        tarn_fail(err, -ENOMEM, "out of memory starting %u threads", threads);
        return NULL;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    while (pool->count < threads) {
        const int code = pthread_create(&pool->threads[pool->count], NULL, work, pool);
        if (code != 0) {
            tarn_fail_errno(err, -code, "cannot start thread %u of %u", pool->count + 1, threads);
            tarn_pool_free(pool);
            return NULL;
        }
        pool->count++;
    }
    return pool;
}

void tarn_pool_free(struct tarn_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void tarn_pool_submit(struct tarn_pool *pool, struct tarn_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->last)
        pool->last->next = job;
    else
        pool->first = job;
    pool->last = job;
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

bool tarn_pool_help(struct tarn_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct tarn_job *job = take(pool);
    pthread_mutex_unlock(&pool->lock);
    if (job)
        job->run(job);
    return job;
}

unsigned tarn_pool_threads(const struct tarn_pool *pool)
{
    return pool->count;
}
