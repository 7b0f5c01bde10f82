// SPDX-License-Identifier: Apache-2.0
// Uploads: pieces are copied on the loop and written and, unless the caller vouches for
// them, hashed on one of libuv's threads. The copy lets
// an abort return at once, although a thread may be writing just then.
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "registry/disk.h"

// WRITEBACK: from so many bytes on the disk begins to write, so that a commit has less to wait for.
enum { PIECE = 256 << 10, WRITEBACK = 8 << 20 };

enum step { STEP_WRITE, STEP_COMMIT, STEP_DISCARD };

struct upload {
    struct tarn_upload base;
    uv_work_t work;
    struct tarn_disk *disk;     // referenced
    struct tarn_blob_file file; // fd -1 before the first step
    struct tarn_hasher *hasher;
    uint64_t size;    // written so far
    uint64_t started; // of it, what the disk was told to write
    enum step step;
    const uint8_t *bytes; // the caller's, what is left of it; the loop's
    size_t left;
    uint8_t piece[PIECE];
    size_t piece_length;
    struct tarn_blob_id blob; // STEP_COMMIT
    tarn_done *done;
    void *context;
    bool busy;    // a step is queued or runs; the loop's
    bool aborted; // the loop's
    int status;   // the first fault, which stays
    struct tarn_err err;
};

// --- on a thread of the pool ----------------------------------------------------------------------

static int ensure_file(struct upload *upload)
{
    if (upload->file.fd >= 0)
        return 0;
    const int ret = upload->disk->operations->create(upload->disk, &upload->file, &upload->err);
    if (ret < 0)
        upload->file.fd = -1;
    return ret;
}

static int write_piece(struct upload *upload)
{
    int ret = ensure_file(upload);
    if (ret < 0)
        return ret;
    ret = tarn_write_full(upload->file.fd, upload->piece, upload->piece_length);
    if (ret < 0)
        return tarn_fail_errno(&upload->err, ret, "%s: cannot write a blob",
                               upload->disk->repository.name);
    if (!upload->base.vouched)
        tarn_hasher_update(upload->hasher, upload->piece, upload->piece_length);
    upload->size += upload->piece_length;
    if (upload->size - upload->started >= WRITEBACK) {
        // A hint: what goes wrong is told by the commit's fsync.
        (void)!sync_file_range(upload->file.fd, (off_t)upload->started,
                               (off_t)(upload->size - upload->started), SYNC_FILE_RANGE_WRITE);
        upload->started = upload->size;
    }
    return 0;
}

static int commit(struct upload *upload)
{
    const int ret = ensure_file(upload);
    if (ret < 0)
        return ret;
    struct tarn_digest found = upload->blob.digest;
    char want[TARN_DIGEST_TEXT];
    char got[TARN_DIGEST_TEXT];
    if (!upload->base.vouched)
        tarn_hasher_finish(upload->hasher, &found);
    if (upload->size != upload->blob.size || !tarn_digest_equal(&found, &upload->blob.digest))
        return tarn_fail(
            &upload->err, -EIO,
            "%s: %" PRIu64 " bytes with digest %s were written as blob %s of %" PRIu64 " bytes",
            upload->disk->repository.name, upload->size, tarn_digest_format(&found, got),
            tarn_digest_format(&upload->blob.digest, want), upload->blob.size);
    return upload->disk->operations->commit(upload->disk, &upload->file, &upload->blob,
                                            &upload->err);
}

static void upload_work(uv_work_t *work)
{
    struct upload *upload = work->data;
    if (upload->step == STEP_WRITE && upload->status == 0)
        upload->status = write_piece(upload);
    else if (upload->step == STEP_COMMIT && upload->status == 0)
        upload->status = commit(upload);
    // A fault gives the space back at once: the disk may be full. Freeing a large file can take a
    // while, which is why it is done here.
    if (upload->step != STEP_WRITE || upload->status < 0)
        tarn_blob_file_discard(&upload->file);
}

// --- on the loop --------------------------------------------------------------------------------------

static void upload_free(struct upload *upload)
{
    tarn_blob_file_discard(&upload->file);
    tarn_hasher_free(upload->hasher);
    tarn_disk_unref(upload->disk);
    free(upload);
}

static void queue(struct upload *upload);

static void next_piece(struct upload *upload)
{
    upload->piece_length = (size_t)tarn_min_u64(upload->left, PIECE);
    if (upload->piece_length > 0) {
        memcpy(upload->piece, upload->bytes, upload->piece_length);
        upload->bytes += upload->piece_length;
        upload->left -= upload->piece_length;
    }
    queue(upload);
}

static void upload_after(uv_work_t *work, int uv_status)
{
    struct upload *upload = work->data;
    (void)uv_status; // UV_ECANCELED comes only with upload->aborted
    upload->busy = false;
    if (upload->aborted && upload->step == STEP_WRITE) {
        upload->step = STEP_DISCARD;
        queue(upload);
        return;
    }
    if (upload->step == STEP_WRITE) {
        if (upload->status == 0 && upload->left > 0)
            next_piece(upload);
        else
            upload->done(upload->context, upload->status, &upload->err);
        return; // the callee may have gone on, or have ended the upload
    }
    if (!upload->aborted)
        upload->done(upload->context, upload->status, &upload->err);
    upload_free(upload);
}

static void queue(struct upload *upload)
{
    upload->busy = true;
    // Fails only without a work function.
    const int ret =
        uv_queue_work(upload->disk->repository.loop, &upload->work, upload_work, upload_after);
    assert(ret == 0);
    (void)ret;
}

int tarn_disk_upload(struct tarn_repository *repository, struct tarn_upload **upload,
                     struct tarn_err *err)
{
    struct upload *new = malloc(sizeof *new);
    struct tarn_hasher *hasher = tarn_hasher_new();
    if (!new || !hasher) {
        free(new);
        tarn_hasher_free(hasher);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    memset(new, 0, offsetof(struct upload, piece));
    memset(&new->piece_length, 0, sizeof *new - offsetof(struct upload, piece_length));
    new->base.repository = repository;
    new->work.data = new;
    new->disk = (struct tarn_disk *)repository;
    new->file.fd = -1;
    new->hasher = hasher;
    tarn_disk_ref(new->disk);
    *upload = &new->base;
    return 0;
}

void tarn_disk_write(struct tarn_upload *base, const void *bytes, size_t length, tarn_done *done,
                     void *context)
{
    struct upload *upload = (struct upload *)base;
    assert(!upload->busy);
    upload->step = STEP_WRITE;
    upload->bytes = bytes;
    upload->left = length;
    upload->done = done;
    upload->context = context;
    next_piece(upload);
}

void tarn_disk_commit(struct tarn_upload *base, const struct tarn_blob_id *blob, tarn_done *done,
                      void *context)
{
    struct upload *upload = (struct upload *)base;
    assert(!upload->busy);
    upload->step = STEP_COMMIT;
    upload->blob = *blob;
    upload->done = done;
    upload->context = context;
    queue(upload);
}

void tarn_disk_abort(struct tarn_upload *base)
{
    struct upload *upload = (struct upload *)base;
    const bool inside_commit = !upload->busy && upload->step == STEP_COMMIT;
    if (upload->aborted)
        return;
    upload->aborted = true;
    if (upload->busy) {
        uv_cancel((uv_req_t *)&upload->work);
    } else if (!inside_commit) {
        upload->step = STEP_DISCARD;
        queue(upload);
    }
}
