// SPDX-License-Identifier: Apache-2.0
// The writer fills one buffer while the thread sends the other. With nothing to send the thread runs the
// loop, so that what the repository has taken already moves on.
#include "converter/blob_upload.h"

#include <pthread.h>

enum { BUFFER_LIMIT = 4 << 20 };

struct tarn_blob_upload {
    struct tarn_blocking *blocking;
    struct tarn_upload *upload;
    bool threaded;
    pthread_t thread;

    pthread_mutex_t lock; // guards all below
    pthread_cond_t changed;
    struct tarn_buf filling;
    bool complete;       // no more bytes come
    int status;          // of the thread
    struct tarn_err err; // of the thread
};

// Takes what was written. False: all was.
static bool take(struct tarn_blob_upload *upload, struct tarn_buf *bytes)
{
    const struct tarn_buf empty = *bytes;
    pthread_mutex_lock(&upload->lock);
    *bytes = upload->filling;
    upload->filling = empty;
    upload->filling.length = 0;
    const bool more = bytes->length > 0 || !upload->complete;
    pthread_cond_broadcast(&upload->changed);
    pthread_mutex_unlock(&upload->lock);
    return more;
}

static void *run(void *argument)
{
    struct tarn_blob_upload *upload = argument;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    struct tarn_err err = { 0 };
    int ret = 0;
    while (ret == 0 && take(upload, &bytes)) {
        if (bytes.length == 0)
            tarn_blocking_serve(upload->blocking);
        else
            ret = tarn_blocking_write(upload->blocking, upload->upload, bytes.data, bytes.length,
                                      &err);
    }
    pthread_mutex_lock(&upload->lock);
    upload->status = ret;
    upload->err = err;
    pthread_cond_broadcast(&upload->changed);
    pthread_mutex_unlock(&upload->lock);
    return NULL;
}

static int start_thread(struct tarn_blob_upload *upload, struct tarn_err *err)
{
    const int code = pthread_create(&upload->thread, NULL, run, upload);
    if (code != 0)
        return tarn_fail_errno(err, -code, "cannot start a thread");
    upload->threaded = true;
    return 0;
}

static void free_upload(struct tarn_blob_upload *upload)
{
    tarn_buf_release(&upload->filling);
    pthread_cond_destroy(&upload->changed);
    pthread_mutex_destroy(&upload->lock);
    free(upload);
}

int tarn_blob_upload_start(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           struct tarn_blob_upload **upload, struct tarn_err *err)
{
    struct tarn_blob_upload *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->blocking = blocking;
    pthread_mutex_init(&new->lock, NULL);
    pthread_cond_init(&new->changed, NULL);
    int ret = tarn_repository_upload(repository, &new->upload, err);
    if (ret < 0) {
        free_upload(new);
        return ret;
    }
    tarn_upload_vouch(new->upload);
    if (!tarn_repository_lists_tags(repository))
        ret = start_thread(new, err);
    if (ret < 0) {
        tarn_blob_upload_abort(new);
        return ret;
    }
    *upload = new;
    return 0;
}

int tarn_blob_upload_write(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    struct tarn_blob_upload *upload = context;
    if (!upload->threaded)
        return tarn_blocking_write(upload->blocking, upload->upload, bytes, length, err);
    pthread_mutex_lock(&upload->lock);
    while (upload->filling.length >= BUFFER_LIMIT && upload->status == 0)
        pthread_cond_wait(&upload->changed, &upload->lock);
    int ret = upload->status;
    if (ret < 0 && err)
        *err = upload->err;
    if (ret == 0 && tarn_buf_append(&upload->filling, bytes, length) < 0)
        ret = tarn_fail(err, -ENOMEM, "out of memory");
    pthread_mutex_unlock(&upload->lock);
    tarn_blocking_wake(upload->blocking);
    return ret;
}

// Has the thread send what is left, or drop it, and waits for it.
static int end_thread(struct tarn_blob_upload *upload, bool drop, struct tarn_err *err)
{
    if (!upload->threaded)
        return 0;
    pthread_mutex_lock(&upload->lock);
    upload->complete = true;
    if (drop)
        upload->filling.length = 0;
    pthread_mutex_unlock(&upload->lock);
    tarn_blocking_wake(upload->blocking);
    pthread_join(upload->thread, NULL);
    if (upload->status < 0 && err)
        *err = upload->err;
    return upload->status;
}

int tarn_blob_upload_commit(struct tarn_blob_upload *upload, const struct tarn_blob_id *blob,
                            struct tarn_err *err)
{
    int ret = end_thread(upload, false, err);
    if (ret == 0)
        ret = tarn_blocking_commit(upload->blocking, upload->upload, blob, err);
    else
        tarn_upload_abort(upload->upload);
    free_upload(upload);
    return ret;
}

void tarn_blob_upload_abort(struct tarn_blob_upload *upload)
{
    (void)!end_thread(upload, true, NULL);
    tarn_upload_abort(upload->upload);
    free_upload(upload);
}
