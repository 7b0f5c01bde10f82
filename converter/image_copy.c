// SPDX-License-Identifier: Apache-2.0
#include "converter/image_copy.h"

#include <pthread.h>
#include <string.h>

struct tarn_image_copier {
    struct tarn_copy copy;
    struct tarn_blob_id *blobs;
    uint32_t count;
    pthread_t thread;
    uint64_t left; // the thread's

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t changed;
    uint64_t last;
    bool given_up;
};

// Before a piece is written: waits while only the last ones are left.
static int pace(void *context, size_t length)
{
    struct tarn_image_copier *copier = context;
    copier->left -= length;
    pthread_mutex_lock(&copier->lock);
    while (copier->left < copier->last && !copier->given_up)
        pthread_cond_wait(&copier->changed, &copier->lock);
    const bool given_up = copier->given_up;
    pthread_mutex_unlock(&copier->lock);
    return given_up ? -ECANCELED : 0;
}

static void *run(void *argument)
{
    struct tarn_image_copier *copier = argument;
    uint64_t behind = 0; // the sizes of the blobs after the current one
    for (uint32_t i = 0; i < copier->count; i++)
        behind += copier->blobs[i].size;
    for (uint32_t i = 0; i < copier->count; i++) {
        copier->left = behind;
        behind -= copier->blobs[i].size;
        if (tarn_copy_blob(&copier->copy, &copier->blobs[i], NULL) < 0)
            break;
    }
    return NULL;
}

static void free_copier(struct tarn_image_copier *copier)
{
    pthread_cond_destroy(&copier->changed);
    pthread_mutex_destroy(&copier->lock);
    free(copier->blobs);
    free(copier);
}

struct tarn_image_copier *tarn_image_copier_start(const struct tarn_image_copy *image)
{
    struct tarn_image_copier *copier = calloc(1, sizeof *copier);
    if (!copier)
        return NULL;
    pthread_mutex_init(&copier->lock, NULL);
    pthread_cond_init(&copier->changed, NULL);
    copier->copy = *image->copy;
    copier->count = image->count;
    copier->last = image->last;
    copier->copy.pace = pace;
    copier->copy.pace_context = copier;
    copier->blobs = malloc((image->count + 1) * sizeof *copier->blobs);
    if (copier->blobs)
        memcpy(copier->blobs, image->blobs, image->count * sizeof *copier->blobs);
    if (!copier->blobs || pthread_create(&copier->thread, NULL, run, copier) != 0) {
        free_copier(copier);
        return NULL;
    }
    return copier;
}

void tarn_image_copier_hurry(struct tarn_image_copier *copier)
{
    pthread_mutex_lock(&copier->lock);
    copier->last = 0;
    pthread_cond_signal(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
}

void tarn_image_copier_finish(struct tarn_image_copier *copier, bool give_up)
{
    if (!copier)
        return;
    pthread_mutex_lock(&copier->lock);
    copier->last = 0;
    copier->given_up = give_up;
    pthread_cond_signal(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
    pthread_join(copier->thread, NULL);
    free_copier(copier);
}
