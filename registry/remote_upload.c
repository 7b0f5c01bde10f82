// SPDX-License-Identifier: Apache-2.0
// A blob's way to a registry: in one request when it is small, else in parts of PART bytes or more, each sent
// while the next one is gathered. All of it stays in a temporary file until the end. After a request that may
// or may not have been carried out the registry is asked how far it is, and goes on from there; one that has
// lost the upload (Debian's docker-registry does, when a part is cut off) gets it from the start.
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bus_guard.h"
#include "base/file.h"
#include "registry/remote_internal.h"

enum {
    PART = 8 << 20,
    PART_MAX = 32 << 20,
    RECOVERIES_MAX = 8, // without a byte more at the registry
};

struct upload {
    struct tarn_upload base;
    struct tarn_remote *remote; // referenced
    struct tarn_call *call;
    char *location;     // where the next part goes; NULL: no upload was started yet
    int file;           // all that was written
    uint64_t written;   // bytes
    uint64_t confirmed; // of them, what the registry has
    uint64_t furthest;  // the most that it ever had
    void *map;          // of the file: what is being sent, and before it to the page's start
    size_t map_length;
    struct tarn_bus_range *range; // of the map
    uint64_t part_end;            // in the blob
    unsigned recoveries;
    uv_timer_t timer; // tells a write's end from the loop
    bool committing;
    struct tarn_blob_id blob;
    tarn_done *done; // of the write or commit that waits
    void *context;
    bool ended;
    int status; // the first failure: all that follows fails too
    struct tarn_err err;
};

static void proceed(struct upload *upload);

static void set_confirmed(struct upload *upload, uint64_t count)
{
    upload->confirmed = count;
    if (count <= upload->furthest)
        return;
    upload->furthest = count;
    upload->recoveries = 0;
}

// --- the end ---------------------------------------------------------------------------------------------

static void unmap(struct upload *upload)
{
    tarn_bus_guard_remove(upload->range);
    if (upload->map)
        munmap(upload->map, upload->map_length);
    upload->range = NULL;
    upload->map = NULL;
}

static void timer_closed(uv_handle_t *handle)
{
    struct upload *upload = handle->data;
    if (upload->file >= 0)
        close(upload->file);
    free(upload->location);
    tarn_remote_unref(upload->remote);
    free(upload);
}

static void end(struct upload *upload)
{
    upload->ended = true;
    if (upload->call)
        tarn_call_cancel(upload->call);
    upload->call = NULL;
    unmap(upload);
    upload->done = NULL;
    uv_close((uv_handle_t *)&upload->timer, timer_closed);
}

void tarn_remote_abort(struct tarn_upload *base)
{
    struct upload *upload = (struct upload *)base;
    if (upload->ended) // from within the commit's done()
        return;
    // A registry that did not answer before is not asked again.
    if (upload->location && upload->status == 0)
        tarn_remote_forget_upload(upload->remote, upload->location);
    end(upload);
}

// Tells whoever waits.
static void tell(struct upload *upload)
{
    tarn_done *done = upload->done;
    void *context = upload->context;
    const struct tarn_err err = upload->err;
    const int status = upload->status;
    upload->done = NULL;
    if (!done)
        return;
    if (upload->committing)
        end(upload);
    done(context, status, &err);
}

static void fail(struct upload *upload, int status, const struct tarn_err *err)
{
    if (upload->status == 0) {
        upload->status = status == -EAGAIN ? -EIO : status;
        upload->err = *err;
        tarn_err_prepend(&upload->err, "%s: cannot write a blob", upload->remote->repository.name);
    }
    tell(upload);
}

static void on_timer(uv_timer_t *timer)
{
    tell(timer->data);
}

// --- requests ----------------------------------------------------------------------------------------------

static int take_location(struct upload *upload, const struct tarn_http_head *head,
                         struct tarn_err *err)
{
    const char *text = tarn_http_header(head, "Location");
    char *location = text ? tarn_http_resolve(head->url, text) : NULL;
    if (!location && text)
        return tarn_fail(err, -EIO, "the registry answers with the Location '%.200s'", text);
    if (location) {
        free(upload->location);
        upload->location = location;
    }
    return upload->location ? 0 : tarn_fail(err, -EIO, "the registry's answer lacks a Location");
}

static void start_call(struct upload *upload, struct tarn_call_request *request)
{
    struct tarn_err err = { 0 };
    request->scope = (struct tarn_scope){ .push = true };
    request->context = upload;
    const int ret = tarn_call_start(upload->remote->endpoint, request, &upload->call, &err);
    if (ret < 0) {
        upload->status = ret;
        upload->err = err;
        uv_timer_start(&upload->timer, on_timer, 0, 0);
    }
}

static int session_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    if (head->status != 202 && head->status != 201)
        return tarn_call_unexpected(head, "upload", err);
    return take_location(context, head, err);
}

static void session_done(void *context, int status, const struct tarn_err *err)
{
    struct upload *upload = context;
    upload->call = NULL;
    if (status < 0)
        fail(upload, status, err);
    else
        proceed(upload);
}

static void start_session(struct upload *upload)
{
    struct tarn_call_request request = {
        .method = "POST",
        .path = "blobs/uploads/",
        .head = session_head,
        .done = session_done,
    };
    start_call(upload, &request);
}

// "0-LAST", with or without "bytes=".
static bool parse_range(const char *text, uint64_t *count)
{
    uint64_t last;
    if (text && strncmp(text, "bytes=", 6) == 0)
        text += 6;
    if (!text || sscanf(text, "0-%20" SCNu64, &last) != 1 || last == UINT64_MAX)
        return false;
    *count = last + 1;
    return true;
}

// --- after a failure ----------------------------------------------------------------------------------------

static int asked_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    struct upload *upload = context;
    if (head->status != 204 && head->status != 202 && head->status != 200)
        return tarn_call_unexpected(head, "upload", err);
    uint64_t count = 0;
    // Nothing is there yet: registries say "0-0", which could also be one byte.
    if (parse_range(tarn_http_header(head, "Range"), &count) && count == 1)
        count = 0;
    if (count > upload->written)
        return tarn_fail(err, -EIO,
                         "the registry has %" PRIu64 " bytes of an upload, %" PRIu64 " were sent",
                         count, upload->written);
    set_confirmed(upload, count);
    return take_location(upload, head, err);
}

static void asked_done(void *context, int status, const struct tarn_err *err)
{
    struct upload *upload = context;
    upload->call = NULL;
    if (status == -ENOENT) { // lost: another one, from the start
        free(upload->location);
        upload->location = NULL;
        set_confirmed(upload, 0);
    } else if (status < 0) {
        fail(upload, status, err);
        return;
    }
    proceed(upload);
}

static void ask(struct upload *upload)
{
    struct tarn_call_request request = {
        .method = "GET",
        .url = upload->location,
        .head = asked_head,
        .done = asked_done,
    };
    start_call(upload, &request);
}

// Perhaps the blob is complete, and only the answer was lost.
static int there_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    const struct upload *upload = context;
    if (head->status == 200 && head->length == upload->blob.size)
        return 0;
    return tarn_fail(err, -ENOENT, "not there");
}

static void there_done(void *context, int status, const struct tarn_err *err)
{
    struct upload *upload = context;
    (void)err;
    upload->call = NULL;
    if (status == 0)
        tell(upload);
    else
        ask(upload);
}

static void recover(struct upload *upload, const struct tarn_err *err)
{
    if (upload->recoveries++ >= RECOVERIES_MAX) {
        fail(upload, -EIO, err);
        return;
    }
    if (!upload->committing) {
        ask(upload);
        return;
    }
    char digest[TARN_DIGEST_TEXT];
    char path[TARN_DIGEST_TEXT + 8];
    snprintf(path, sizeof path, "blobs/%s", tarn_digest_format(&upload->blob.digest, digest));
    struct tarn_call_request request = {
        .method = "HEAD",
        .path = path,
        .head = there_head,
        .done = there_done,
    };
    start_call(upload, &request);
}

// --- parts -----------------------------------------------------------------------------------------------

// Whether the file could be read so far. False: the upload has failed.
static bool readable(struct upload *upload)
{
    struct tarn_err err = { 0 };
    if (!tarn_bus_range_damaged(upload->range))
        return true;
    unmap(upload);
    fail(upload,
         tarn_fail(&err, -EIO,
                   "a temporary file in %s cannot be read: was it cut, or is the disk damaged?",
                   tarn_temporary_directory()),
         &err);
    return false;
}

// Has it read, so that what cannot be is told before it is sent.
static void touch(const struct upload *upload)
{
    const volatile uint8_t *bytes = upload->map;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t at = 0; at < upload->map_length; at += page)
        (void)bytes[at];
}

// The bytes from confirmed on, up to end. NULL: upload has failed.
static const void *map_part(struct upload *upload, uint64_t end)
{
    const uint64_t from = upload->confirmed & ~((uint64_t)sysconf(_SC_PAGESIZE) - 1);
    unmap(upload);
    upload->part_end = end;
    if (end == upload->confirmed)
        return "";
    upload->map_length = (size_t)(end - from);
    void *map = mmap(NULL, upload->map_length, PROT_READ, MAP_SHARED, upload->file, (off_t)from);
    if (map == MAP_FAILED) {
        struct tarn_err err = { 0 };
        fail(upload, tarn_fail_errno(&err, -errno, "cannot map a temporary file"), &err);
        return NULL;
    }
    upload->map = map;
    upload->range = tarn_bus_guard_add(map, upload->map_length, PROT_READ);
    if (!upload->range) {
        struct tarn_err err = { 0 };
        fail(upload, tarn_fail(&err, -ENOMEM, "out of memory"), &err);
        return NULL;
    }
    touch(upload);
    if (!readable(upload))
        return NULL;
    return (const uint8_t *)map + (upload->confirmed - from);
}

// The registry may have the part, or has another number of bytes, or knows nothing of the upload any more:
// it was restarted, or this was the commit, done already when its answer was lost.
static bool is_lost(int status)
{
    return status == -EAGAIN || status == -ENODATA || status == -ENOENT;
}

static int part_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    struct upload *upload = context;
    uint64_t count;
    if (head->status == 416) // it has more or less than we thought
        return tarn_fail(err, -ENODATA, "HTTP status 416");
    if (head->status != 202 && head->status != 201 && head->status != 204)
        return tarn_call_unexpected(head, "upload", err);
    if (parse_range(tarn_http_header(head, "Range"), &count) && count != upload->part_end &&
        count > 1)
        return tarn_fail(err, -ENODATA, "the registry has %" PRIu64 " bytes of the upload", count);
    return take_location(upload, head, err);
}

static void part_done(void *context, int status, const struct tarn_err *err)
{
    struct upload *upload = context;
    upload->call = NULL;
    if (!readable(upload))
        return;
    unmap(upload);
    if (is_lost(status)) {
        recover(upload, err);
        return;
    }
    if (status < 0) {
        fail(upload, status, err);
        return;
    }
    set_confirmed(upload, upload->part_end);
    proceed(upload);
}

static void send_part(struct upload *upload)
{
    char range[80];
    const uint64_t end = tarn_min_u64(upload->written, upload->confirmed + PART_MAX);
    const void *bytes = map_part(upload, end);
    if (!bytes)
        return;
    snprintf(range, sizeof range, "Content-Range: %" PRIu64 "-%" PRIu64, upload->confirmed,
             end - 1);
    struct tarn_call_request request = {
        .method = "PATCH",
        .url = upload->location,
        .headers = { "Content-Type: application/octet-stream", range },
        .body = bytes,
        .body_length = (size_t)(end - upload->confirmed),
        .once = true,
        .head = part_head,
        .done = part_done,
    };
    start_call(upload, &request);
}

static int last_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    (void)context;
    if (head->status == 416)
        return tarn_fail(err, -ENODATA, "HTTP status 416");
    if (head->status == 400)
        return tarn_fail(err, -EIO, "HTTP status 400: what arrived is not the blob");
    if (head->status != 201 && head->status != 204 && head->status != 202)
        return tarn_call_unexpected(head, "upload", err);
    return 0;
}

static void last_done(void *context, int status, const struct tarn_err *err)
{
    struct upload *upload = context;
    upload->call = NULL;
    if (!readable(upload))
        return;
    unmap(upload);
    if (is_lost(status))
        recover(upload, err);
    else if (status < 0)
        fail(upload, status, err);
    else
        tell(upload);
}

// The last part, and the digest that makes a blob of it all.
static void send_last(struct upload *upload)
{
    char digest[TARN_DIGEST_TEXT];
    tarn_autofree char *url = NULL;
    const void *bytes = map_part(upload, upload->written);
    if (!bytes)
        return;
    const char *separator = strchr(upload->location, '?') ? "&" : "?";
    if (asprintf(&url, "%s%sdigest=%s", upload->location, separator,
                 tarn_digest_format(&upload->blob.digest, digest)) < 0) {
        struct tarn_err err = { 0 };
        tarn_fail(&err, -ENOMEM, "out of memory");
        fail(upload, -ENOMEM, &err);
        return;
    }
    struct tarn_call_request request = {
        .method = "PUT",
        .url = url,
        .headers = { "Content-Type: application/octet-stream" },
        .body = bytes,
        .body_length = (size_t)(upload->written - upload->confirmed),
        .once = true,
        .head = last_head,
        .done = last_done,
    };
    start_call(upload, &request);
}

// The next thing to do when no request is under way.
static void proceed(struct upload *upload)
{
    const uint64_t pending = upload->written - upload->confirmed;
    if (pending < PART && !upload->committing)
        return;
    if (!upload->location)
        start_session(upload);
    else if (upload->committing && pending <= PART_MAX)
        send_last(upload);
    else
        send_part(upload);
}

// --- the calls --------------------------------------------------------------------------------------------

int tarn_remote_upload(struct tarn_repository *repository, struct tarn_upload **upload,
                       struct tarn_err *err)
{
    struct upload *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->file = tarn_temporary_open(err);
    if (new->file < 0) {
        const int ret = new->file;
        free(new);
        return ret;
    }
    new->base.repository = repository;
    new->remote = (struct tarn_remote *)repository;
    new->remote->references++;
    new->timer.data = new;
    uv_timer_init(repository->loop, &new->timer);
    *upload = &new->base;
    return 0;
}

void tarn_remote_write(struct tarn_upload *base, const void *bytes, size_t length, tarn_done *done,
                       void *context)
{
    struct upload *upload = (struct upload *)base;
    upload->done = done;
    upload->context = context;
    const int ret = tarn_pwrite_full(upload->file, bytes, length, upload->written);
    if (ret < 0 && upload->status == 0)
        upload->status = tarn_fail_errno(
            &upload->err, ret, "cannot write a temporary file in %s (set TMPDIR to choose another)",
            tarn_temporary_directory());
    if (ret == 0)
        upload->written += length;
    if (upload->status == 0 && !upload->call)
        proceed(upload);
    uv_timer_start(&upload->timer, on_timer, 0, 0);
}

void tarn_remote_commit(struct tarn_upload *base, const struct tarn_blob_id *blob, tarn_done *done,
                        void *context)
{
    struct upload *upload = (struct upload *)base;
    upload->done = done;
    upload->context = context;
    upload->blob = *blob;
    upload->committing = true;
    if (upload->status < 0)
        uv_timer_start(&upload->timer, on_timer, 0, 0);
    else if (!upload->call)
        proceed(upload);
}
