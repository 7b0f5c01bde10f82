// SPDX-License-Identifier: Apache-2.0
// A queue of blobs, each with the bytes that wait. The caller fills the last one's buffer; the thread swaps
// the first one's against the empty one that it has sent. With nothing to send the thread runs the loop,
// so that what the repository has taken already moves on.
#include "converter/blob_upload.h"

#include <pthread.h>

#include "converter/reuse.h"

enum { BUFFER_LIMIT = 4 << 20 };

struct blob {
    struct blob *next;
    uint32_t layer;
    struct tarn_upload *upload; // the thread's
    struct tarn_buf waiting;    // the uploader's lock
    bool ended;                 // the uploader's lock; then what follows stays
    bool note;
    struct tarn_manifest_blob id;
};

struct tarn_blob_uploader {
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    pthread_t thread;

    pthread_mutex_t lock; // guards all below
    pthread_cond_t changed;
    struct blob *first;
    struct blob *last;
    size_t length;       // of all that waits
    bool complete;       // no more blobs come
    int status;          // of the first blob that failed
    struct tarn_err err; // its
};

// --- the thread ----------------------------------------------------------------------------------
static void remove_first(struct tarn_blob_uploader *uploader)
{
    pthread_mutex_lock(&uploader->lock);
    struct blob *blob = uploader->first;
    uploader->first = blob->next;
    if (!uploader->first)
        uploader->last = NULL;
    pthread_mutex_unlock(&uploader->lock);
    tarn_buf_release(&blob->waiting);
    free(blob);
}

// What the thread is to do next.
struct work {
    struct blob *blob; // NULL: none is there
    struct tarn_buf bytes;
    bool ended;    // the bytes are its last
    bool complete; // no more come, of this blob or any other
};

static void take(struct tarn_blob_uploader *uploader, struct work *work)
{
    struct tarn_buf empty = work->bytes;
    empty.length = 0;
    pthread_mutex_lock(&uploader->lock);
    struct blob *blob = uploader->first;
    if (blob) {
        work->bytes = blob->waiting;
        blob->waiting = empty;
        uploader->length -= work->bytes.length;
        work->ended = blob->ended;
    }
    work->blob = blob;
    work->complete = uploader->complete;
    pthread_cond_signal(&uploader->changed);
    pthread_mutex_unlock(&uploader->lock);
}

static int send_bytes(struct tarn_blob_uploader *uploader, const struct work *work,
                      struct tarn_err *err)
{
    struct blob *blob = work->blob;
    if (work->bytes.length == 0)
        return 0;
    if (!blob->upload) {
        const int ret = tarn_repository_upload(uploader->repository, &blob->upload, err);
        if (ret < 0)
            return ret;
        tarn_upload_vouch(blob->upload);
    }
    return tarn_blocking_write(uploader->blocking, blob->upload, work->bytes.data,
                               work->bytes.length, err);
}

static int store(struct tarn_blob_uploader *uploader, struct blob *blob, struct tarn_err *err)
{
    const struct tarn_blob_id id = { blob->id.digest, blob->id.size };
    int ret = tarn_blocking_commit(uploader->blocking, tarn_steal(blob->upload), &id, err);
    if (ret == 0 && blob->note)
        ret = tarn_reuse_note(uploader->blocking, uploader->repository, &blob->id, err);
    return ret;
}

static void set_failure(struct tarn_blob_uploader *uploader, const struct blob *blob, int status,
                        struct tarn_err *err)
{
    tarn_err_prepend(err, "layer %u", blob->layer);
    pthread_mutex_lock(&uploader->lock);
    uploader->status = status;
    uploader->err = *err;
    pthread_cond_signal(&uploader->changed);
    pthread_mutex_unlock(&uploader->lock);
}

static void *run(void *argument)
{
    struct tarn_blob_uploader *uploader = argument;
    struct work work = { 0 };
    int status = 0;
    for (;;) {
        struct tarn_err err = { 0 };
        take(uploader, &work);
        if (work.blob && status == 0 && (work.ended || !work.complete)) {
            status = send_bytes(uploader, &work, &err);
            if (status == 0 && work.ended)
                status = store(uploader, work.blob, &err);
            if (status < 0)
                set_failure(uploader, work.blob, status, &err);
        }
        if (work.blob && (work.ended || work.complete)) {
            if (work.blob->upload)
                tarn_upload_abort(work.blob->upload);
            remove_first(uploader);
        } else if (work.complete) {
            break;
        } else if (!work.blob || work.bytes.length == 0) {
            tarn_blocking_serve(uploader->blocking);
        }
    }
    tarn_buf_release(&work.bytes);
    return NULL;
}

// --- the caller ----------------------------------------------------------------------------------
int tarn_blob_uploader_new(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           struct tarn_blob_uploader **uploader, struct tarn_err *err)
{
    struct tarn_blob_uploader *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->blocking = blocking;
    new->repository = repository;
    pthread_mutex_init(&new->lock, NULL);
    pthread_cond_init(&new->changed, NULL);
    const int code = pthread_create(&new->thread, NULL, run, new);
    if (code != 0) {
        pthread_cond_destroy(&new->changed);
        pthread_mutex_destroy(&new->lock);
        free(new);
        return tarn_fail_errno(err, -code, "cannot start a thread");
    }
    *uploader = new;
    return 0;
}

int tarn_blob_uploader_begin(struct tarn_blob_uploader *uploader, uint32_t layer,
                             struct tarn_err *err)
{
    struct blob *blob = calloc(1, sizeof *blob);
    if (!blob)
        return tarn_fail(err, -ENOMEM, "out of memory");
    blob->layer = layer;
    pthread_mutex_lock(&uploader->lock);
    if (uploader->last)
        uploader->last->next = blob;
    else
        uploader->first = blob;
    uploader->last = blob;
    pthread_mutex_unlock(&uploader->lock);
    return 0;
}

int tarn_blob_uploader_write(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    struct tarn_blob_uploader *uploader = context;
    pthread_mutex_lock(&uploader->lock);
    while (uploader->length >= BUFFER_LIMIT && uploader->status == 0)
        pthread_cond_wait(&uploader->changed, &uploader->lock);
    int ret = uploader->status;
    if (ret < 0 && err)
        *err = uploader->err;
    if (ret == 0 && tarn_buf_append(&uploader->last->waiting, bytes, length) < 0)
        ret = tarn_fail(err, -ENOMEM, "out of memory");
    if (ret == 0)
        uploader->length += length;
    pthread_mutex_unlock(&uploader->lock);
    tarn_blocking_wake(uploader->blocking);
    return ret;
}

void tarn_blob_uploader_end(struct tarn_blob_uploader *uploader,
                            const struct tarn_manifest_blob *blob, bool note)
{
    pthread_mutex_lock(&uploader->lock);
    uploader->last->id = *blob;
    uploader->last->note = note;
    uploader->last->ended = true;
    pthread_mutex_unlock(&uploader->lock);
    tarn_blocking_wake(uploader->blocking);
}

bool tarn_blob_uploader_failed(struct tarn_blob_uploader *uploader)
{
    pthread_mutex_lock(&uploader->lock);
    const bool failed = uploader->status < 0;
    pthread_mutex_unlock(&uploader->lock);
    return failed;
}

int tarn_blob_uploader_finish(struct tarn_blob_uploader *uploader, struct tarn_err *err)
{
    if (!uploader)
        return 0;
    pthread_mutex_lock(&uploader->lock);
    uploader->complete = true;
    pthread_mutex_unlock(&uploader->lock);
    tarn_blocking_wake(uploader->blocking);
    pthread_join(uploader->thread, NULL);
    const int status = uploader->status;
    if (status < 0 && err)
        *err = uploader->err;
    pthread_cond_destroy(&uploader->changed);
    pthread_mutex_destroy(&uploader->lock);
    free(uploader);
    return status;
}
