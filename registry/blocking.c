// SPDX-License-Identifier: Apache-2.0
#include "registry/blocking.h"

#include <assert.h>

struct tarn_blocking {
    uv_loop_t loop;
    struct tarn_http *http; // NULL until a registry is opened
    uv_async_t wake;        // keeps the loop going only while it is waited for
    bool woken;
};

// One call that is waited for.
struct wait {
    bool over;
    int status;
    struct tarn_err *err; // the caller's, may be NULL
    const struct tarn_read *read;
    struct tarn_buf *buf;
    uint64_t limit; // bytes that may still come into buf
    struct tarn_image_list *list;
};

static void woken(uv_async_t *wake)
{
    ((struct tarn_blocking *)wake->data)->woken = true;
}

struct tarn_blocking *tarn_blocking_new(struct tarn_err *err)
{
    struct tarn_blocking *blocking = calloc(1, sizeof *blocking);
    int ret = blocking ? uv_loop_init(&blocking->loop) : -ENOMEM;
    if (ret == 0) {
        ret = uv_async_init(&blocking->loop, &blocking->wake, woken);
        if (ret < 0)
            uv_loop_close(&blocking->loop);
    }
    if (ret < 0) {
        free(blocking);
        tarn_fail_errno(err, ret, "cannot make an event loop");
        return NULL;
    }
    blocking->wake.data = blocking;
    uv_unref((uv_handle_t *)&blocking->wake);
    return blocking;
}

void tarn_blocking_free(struct tarn_blocking *blocking)
{
    if (!blocking)
        return;
    uv_run(&blocking->loop, UV_RUN_DEFAULT);
    tarn_http_free(blocking->http);
    uv_close((uv_handle_t *)&blocking->wake, NULL);
    uv_run(&blocking->loop, UV_RUN_DEFAULT);
    const int ret = uv_loop_close(&blocking->loop);
    assert(ret == 0); // else something was left open
    (void)ret;
    free(blocking);
}

int tarn_blocking_open(struct tarn_blocking *blocking, const struct tarn_reference *reference,
                       const struct tarn_repository_options *options,
                       struct tarn_repository **repository, struct tarn_err *err)
{
    struct tarn_repository_options own = options ? *options : (struct tarn_repository_options){ 0 };
    *repository = NULL;
    if (reference->kind == TARN_REFERENCE_DOCKER) {
        if (!blocking->http)
            blocking->http = tarn_http_new(&blocking->loop, err);
        if (!blocking->http)
            return -ENOMEM;
        own.http = blocking->http;
    }
    return tarn_repository_open(reference, &blocking->loop, &own, repository, err);
}

void tarn_blocking_serve(struct tarn_blocking *blocking)
{
    uv_ref((uv_handle_t *)&blocking->wake);
    while (!blocking->woken)
        uv_run(&blocking->loop, UV_RUN_ONCE);
    blocking->woken = false;
    uv_unref((uv_handle_t *)&blocking->wake);
}

void tarn_blocking_wake(struct tarn_blocking *blocking)
{
    uv_async_send(&blocking->wake);
}

static void set_result(struct wait *wait, int status, const struct tarn_err *err)
{
    wait->over = true;
    wait->status = status;
    if (status < 0 && wait->err)
        *wait->err = *err;
}

static void done(void *context, int status, const struct tarn_err *err)
{
    set_result(context, status, err);
}

static int run(struct tarn_blocking *blocking, struct wait *wait)
{
    while (!wait->over)
        uv_run(&blocking->loop, UV_RUN_ONCE);
    return wait->status;
}

static int append(void *context, const void *bytes, size_t length)
{
    struct wait *wait = context;
    if (length > wait->limit)
        return -EFBIG;
    wait->limit -= length;
    return tarn_buf_append(wait->buf, bytes, length);
}

int tarn_blocking_read_buf(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_read *read, struct tarn_buf *buf, struct tarn_err *err)
{
    const size_t before = buf->length;
    struct wait wait = {
        .err = err,
        .buf = buf,
        .limit = read->kind == TARN_READ_BLOB ? read->size : TARN_MANIFEST_LIMIT,
    };
    struct tarn_read copy = *read;
    copy.context = &wait;
    copy.data = append;
    copy.done = done;
    struct tarn_transfer *transfer;
    int ret = tarn_repository_read(repository, &copy, &transfer, err);
    if (ret == 0)
        ret = run(blocking, &wait);
    if (ret < 0)
        buf->length = before;
    return ret;
}

static int forward(void *context, const void *bytes, size_t length)
{
    const struct wait *wait = context;
    return wait->read->data(wait->read->context, bytes, length);
}

int tarn_blocking_read(struct tarn_blocking *blocking, struct tarn_repository *repository,
                       const struct tarn_read *read, struct tarn_err *err)
{
    struct wait wait = { .err = err, .read = read };
    struct tarn_read copy = *read;
    copy.context = &wait;
    copy.data = forward;
    copy.done = done;
    struct tarn_transfer *transfer;
    const int ret = tarn_repository_read(repository, &copy, &transfer, err);
    return ret < 0 ? ret : run(blocking, &wait);
}

int tarn_blocking_has_blob(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_blob_id *blob, struct tarn_err *err)
{
    struct wait wait = { .err = err };
    const int ret = tarn_repository_has_blob(repository, blob, done, &wait, err);
    return ret < 0 ? ret : run(blocking, &wait);
}

int tarn_blocking_mount_blob(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_repository *from, const struct tarn_blob_id *blob,
                             struct tarn_err *err)
{
    struct wait wait = { .err = err };
    const struct tarn_blob_source source = { from, *blob };
    const int ret = tarn_repository_mount_blob(repository, &source, done, &wait, err);
    return ret < 0 ? ret : run(blocking, &wait);
}

int tarn_blocking_write(struct tarn_blocking *blocking, struct tarn_upload *upload,
                        const void *bytes, size_t length, struct tarn_err *err)
{
    struct wait wait = { .err = err };
    tarn_upload_write(upload, bytes, length, done, &wait);
    return run(blocking, &wait);
}

int tarn_blocking_commit(struct tarn_blocking *blocking, struct tarn_upload *upload,
                         const struct tarn_blob_id *blob, struct tarn_err *err)
{
    struct wait wait = { .err = err };
    tarn_upload_commit(upload, blob, done, &wait);
    return run(blocking, &wait);
}

int tarn_blocking_put_blob(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_buf *bytes, struct tarn_blob_id *blob,
                           struct tarn_err *err)
{
    struct tarn_blob_id id = { .size = bytes->length };
    tarn_sha256(bytes->data, bytes->length, &id.digest);
    if (blob)
        *blob = id;
    int ret = tarn_repository_checks_blobs(repository)
                  ? tarn_blocking_has_blob(blocking, repository, &id, err)
                  : -ENOENT;
    if (ret != -ENOENT)
        return ret;
    struct tarn_upload *upload;
    ret = tarn_repository_upload(repository, &upload, err);
    if (ret < 0)
        return ret;
    tarn_upload_vouch(upload);
    ret = tarn_blocking_write(blocking, upload, bytes->data, bytes->length, err);
    if (ret < 0) {
        tarn_upload_abort(upload);
        return ret;
    }
    return tarn_blocking_commit(blocking, upload, &id, err);
}

int tarn_blocking_put_manifest(struct tarn_blocking *blocking, struct tarn_repository *repository,
                               const struct tarn_manifest_bytes *manifest, struct tarn_err *err)
{
    struct wait wait = { .err = err };
    const int ret = tarn_repository_put_manifest(repository, manifest, done, &wait, err);
    return ret < 0 ? ret : run(blocking, &wait);
}

int tarn_blocking_publish(struct tarn_blocking *blocking, struct tarn_repository *repository,
                          const struct tarn_publication *publication, struct tarn_err *err)
{
    struct wait wait = { .err = err };
    const int ret = tarn_repository_publish(repository, publication, done, &wait, err);
    return ret < 0 ? ret : run(blocking, &wait);
}

static void resolve_done(void *context, int status, struct tarn_image_list *list,
                         const struct tarn_err *err)
{
    struct wait *wait = context;
    if (status == 0)
        *wait->list = *list;
    set_result(wait, status, err);
}

int tarn_blocking_resolve(struct tarn_blocking *blocking, struct tarn_repository *repository,
                          const struct tarn_image_query *query, struct tarn_image_list *list,
                          struct tarn_err *err)
{
    struct wait wait = { .err = err, .list = list };
    *list = (struct tarn_image_list){ 0 };
    const int ret = tarn_image_resolve(repository, query, resolve_done, &wait);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "%s: cannot resolve", tarn_repository_name(repository));
    return run(blocking, &wait);
}
