// SPDX-License-Identifier: Apache-2.0
#include "converter/layer_fetch.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/file.h"
#include "converter/spool.h"
#include "registry/blocking.h"

enum { PIECE = 256 << 10 };

struct layer {
    struct tarn_blob_id blob;
    int fd; // -1: no file yet, or not any more
    bool started;
    bool over;
    uint64_t written;
    int status; // once over
    struct tarn_err err;
};

struct tarn_layer_fetch {
    struct tarn_layer_fetch_options options;
    pthread_mutex_t lock; // guards all below
    pthread_cond_t changed;
    struct layer
        *layers;    // a layer's fd is its thread's until written or over says that it is there
    uint32_t first; // being read
    bool running;   // the threads
    bool stop;
    pthread_t threads[TARN_LAYERS_AT_ONCE];
    unsigned thread_count;
};

// One thread's own.
struct download {
    struct tarn_layer_fetch *fetch;
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    struct layer *layer;
    uint64_t written;
    struct tarn_err err; // of the file
};

struct tarn_layer_fetch *tarn_layer_fetch_new(const struct tarn_layer_fetch_options *options)
{
    struct tarn_layer_fetch *fetch = calloc(1, sizeof *fetch);
    if (!fetch)
        return NULL;
    fetch->options = *options;
    fetch->options.layers = NULL;
    pthread_mutex_init(&fetch->lock, NULL);
    pthread_cond_init(&fetch->changed, NULL);
    fetch->layers = calloc(options->layer_count, sizeof *fetch->layers);
    if (!fetch->layers) {
        tarn_layer_fetch_free(fetch);
        return NULL;
    }
    for (uint32_t i = 0; i < options->layer_count; i++) {
        fetch->layers[i].blob = options->layers[i];
        fetch->layers[i].fd = -1;
    }
    return fetch;
}

void tarn_layer_fetch_stop(struct tarn_layer_fetch *fetch)
{
    pthread_mutex_lock(&fetch->lock);
    fetch->stop = true;
    pthread_cond_broadcast(&fetch->changed);
    pthread_mutex_unlock(&fetch->lock);
    while (fetch->thread_count > 0)
        pthread_join(fetch->threads[--fetch->thread_count], NULL);
}

void tarn_layer_fetch_free(struct tarn_layer_fetch *fetch)
{
    if (!fetch)
        return;
    tarn_layer_fetch_stop(fetch);
    for (uint32_t i = 0; fetch->layers && i < fetch->options.layer_count; i++)
        if (fetch->layers[i].fd >= 0)
            close(fetch->layers[i].fd);
    free(fetch->layers);
    pthread_cond_destroy(&fetch->changed);
    pthread_mutex_destroy(&fetch->lock);
    free(fetch);
}

// --- downloading -------------------------------------------------------------------------------------
static int received(void *context, const void *bytes, size_t length)
{
    struct download *download = context;
    struct tarn_layer_fetch *fetch = download->fetch;
    const uint64_t size = download->layer->blob.size;
    if (length > size - download->written) // to a repository 0 is a size that is not known
        return tarn_fail(&download->err, -EIO, "the layer has more than %" PRIu64 " bytes", size);
    const int ret = tarn_pwrite_full(download->layer->fd, bytes, length, download->written);
    if (ret < 0)
        return tarn_fail_errno(&download->err, ret, "spool directory %s",
                               tarn_temporary_directory());
    download->written += length;
    pthread_mutex_lock(&fetch->lock);
    download->layer->written = download->written;
    const bool stop = fetch->stop;
    pthread_cond_broadcast(&fetch->changed);
    pthread_mutex_unlock(&fetch->lock);
    return stop ? -ECANCELED : 0;
}

// A registry that sends nothing does not keep them either.
static bool is_over(const void *context)
{
    struct tarn_layer_fetch *fetch = (struct tarn_layer_fetch *)(uintptr_t)context;
    pthread_mutex_lock(&fetch->lock);
    const bool stop = fetch->stop;
    pthread_mutex_unlock(&fetch->lock);
    return stop || tarn_cancel_is_set(fetch->options.cancel);
}

static int connect_source(struct download *download, struct tarn_err *err)
{
    const struct tarn_layer_fetch_options *fetch = &download->fetch->options;
    const struct tarn_repository_options options = {
        .access = fetch->access,
        .interrupted = is_over,
        .interrupted_context = download->fetch,
    };
    if (download->repository)
        return 0;
    if (!download->blocking)
        download->blocking = tarn_blocking_new(err);
    return download->blocking ? tarn_blocking_open(download->blocking, fetch->source, &options,
                                                   &download->repository, err)
                              : -ENOMEM;
}

static int fetch_layer(struct download *download, struct tarn_err *err)
{
    struct layer *layer = download->layer;
    int ret = tarn_spool_check_room(layer->blob.size, err);
    if (ret == 0)
        ret = connect_source(download, err);
    if (ret < 0)
        return ret;
    const int fd = tarn_temporary_open(err);
    if (fd < 0)
        return fd;
    layer->fd = fd; // nobody looks at it before something was written
    download->written = 0;
    download->err = (struct tarn_err){ 0 };
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = layer->blob.digest,
        .size = layer->blob.size,
        .length = UINT64_MAX,
        .context = download,
        .data = received,
    };
    ret = tarn_blocking_read(download->blocking, download->repository, &read, err);
    if (ret < 0 && download->err.code && err)
        *err = download->err;
    return ret;
}

// The next layer within reach of the reader, or NULL: nothing is left to do.
static struct layer *next_layer(struct tarn_layer_fetch *fetch)
{
    struct layer *found = NULL;
    pthread_mutex_lock(&fetch->lock);
    while (!fetch->stop && !found) {
        uint32_t i = fetch->first;
        const uint64_t end =
            tarn_min_u64((uint64_t)fetch->first + TARN_LAYERS_AT_ONCE, fetch->options.layer_count);
        while (i < end && fetch->layers[i].started)
            i++;
        if (i < end)
            found = &fetch->layers[i];
        else if (i == fetch->options.layer_count)
            break;
        else
            pthread_cond_wait(&fetch->changed, &fetch->lock);
    }
    if (found)
        found->started = true;
    pthread_mutex_unlock(&fetch->lock);
    return found;
}

static void *run(void *argument)
{
    struct download download = { .fetch = argument };
    struct tarn_layer_fetch *fetch = argument;
    while ((download.layer = next_layer(fetch))) {
        struct tarn_err err = { 0 };
        const int ret = fetch_layer(&download, &err);
        pthread_mutex_lock(&fetch->lock);
        download.layer->status = ret;
        download.layer->err = err;
        download.layer->over = true;
        pthread_cond_broadcast(&fetch->changed);
        pthread_mutex_unlock(&fetch->lock);
    }
    tarn_repository_close(download.repository);
    tarn_blocking_free(download.blocking);
    return NULL;
}

// --- reading -------------------------------------------------------------------------------------------
static int start(struct tarn_layer_fetch *fetch, uint32_t index, struct tarn_err *err)
{
    pthread_mutex_lock(&fetch->lock);
    fetch->first = index;
    pthread_cond_broadcast(&fetch->changed);
    const bool running = fetch->running;
    pthread_mutex_unlock(&fetch->lock);
    if (running)
        return 0;
    fetch->running = true;
    while (fetch->thread_count < TARN_LAYERS_AT_ONCE &&
           fetch->thread_count < fetch->options.layer_count - index) {
        const int code = pthread_create(&fetch->threads[fetch->thread_count], NULL, run, fetch);
        if (code != 0)
            return tarn_fail_errno(err, -code, "cannot start a thread");
        fetch->thread_count++;
    }
    return 0;
}

// Waits for bytes at offset: how many there are; 0 at the end; or what ended the download.
static ssize_t wait_for(struct tarn_layer_fetch *fetch, struct layer *layer, uint64_t offset,
                        struct tarn_err *err)
{
    pthread_mutex_lock(&fetch->lock);
    while (layer->written == offset && !layer->over)
        pthread_cond_wait(&fetch->changed, &fetch->lock);
    const uint64_t there = layer->written - offset;
    const int status = layer->status;
    if (there == 0 && status < 0 && err)
        *err = layer->err;
    pthread_mutex_unlock(&fetch->lock);
    return there > 0 ? (ssize_t)tarn_min_u64(there, PIECE) : status;
}

int tarn_layer_fetch_read(struct tarn_layer_fetch *fetch, uint32_t index,
                          int (*data)(void *context, const void *bytes, size_t length),
                          void *context, struct tarn_err *err)
{
    struct layer *layer = &fetch->layers[index];
    tarn_autofree uint8_t *piece = malloc(PIECE);
    if (!piece)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = start(fetch, index, err);
    if (ret < 0)
        return ret;
    ssize_t n;
    uint64_t offset = 0;
    while ((n = wait_for(fetch, layer, offset, err)) > 0) {
        ret = tarn_pread_full(layer->fd, piece, (size_t)n, offset);
        if (ret < 0)
            return tarn_fail_errno(err, ret, "spool directory %s", tarn_temporary_directory());
        ret = data(context, piece, (size_t)n);
        if (ret < 0)
            return ret;
        offset += (uint64_t)n;
    }
    if (n == 0 && !fetch->options.keep)
        tarn_layer_fetch_drop(fetch, index);
    return (int)n;
}

int tarn_layer_fetch_file(struct tarn_layer_fetch *fetch, const struct tarn_digest *digest)
{
    int fd = -1;
    if (!fetch->options.keep)
        return fd;
    pthread_mutex_lock(&fetch->lock);
    for (uint32_t i = 0; fd < 0 && i < fetch->options.layer_count; i++) {
        const struct layer *layer = &fetch->layers[i];
        if (layer->over && layer->status == 0 && tarn_digest_equal(&layer->blob.digest, digest))
            fd = layer->fd;
    }
    pthread_mutex_unlock(&fetch->lock);
    return fd;
}

void tarn_layer_fetch_drop(struct tarn_layer_fetch *fetch, uint32_t index)
{
    pthread_mutex_lock(&fetch->lock);
    struct layer *layer = &fetch->layers[index];
    if (layer->fd >= 0)
        close(layer->fd);
    layer->fd = -1;
    pthread_mutex_unlock(&fetch->lock);
}
