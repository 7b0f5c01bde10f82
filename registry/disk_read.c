// SPDX-License-Identifier: Apache-2.0
// Transfers: one piece after another, each read (and hashed) on one of libuv's threads, then handed on
// on the loop while the thread reads the next. What is not said to be the loop's belongs to the thread
// while busy and to the loop else, so a transfer needs no lock.
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "registry/disk.h"

enum {
    PIECE = 256 << 10,
    RANGES = 64, // any number is right
};

struct transfer {
    struct tarn_transfer base;
    uv_work_t work;
    struct tarn_disk *disk; // referenced
    struct tarn_read read;
    char *tag;                    // owns read.tag
    struct tarn_disk_place place; // of a blob; fd -1 before the first piece
    struct tarn_read_range
        *ranges; // at least one: what of the current one is not read yet, and the others
    size_t current;
    uint64_t left;              // in all of them
    struct tarn_hasher *hasher; // for whole blobs, else NULL
    struct tarn_buf piece;
    struct tarn_buf given; // the piece being handed on; the loop's
    int refused;           // by the receiver; the loop's
    bool busy;             // a piece is queued or being read; the loop's
    bool cancelled;        // the loop's
    int status;
    struct tarn_err err;
};

static void transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return;
    if (transfer->place.fd >= 0)
        close(transfer->place.fd);
    tarn_hasher_free(transfer->hasher);
    tarn_buf_release(&transfer->piece);
    tarn_buf_release(&transfer->given);
    free(transfer->tag);
    free(transfer->ranges);
    tarn_disk_unref(transfer->disk);
    free(transfer);
}
TARN_DEFINE_CLEANUP(struct transfer, transfer_free)

// --- on a thread of the pool ----------------------------------------------------------------------

static int make_listing(struct transfer *transfer)
{
    struct tarn_disk *disk = transfer->disk;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_autojson json_t *index = NULL;
    tarn_autojson json_t *listing = NULL;
    int ret = disk->operations->read_index(disk, &bytes, &transfer->err);
    if (ret == 0)
        ret = tarn_layout_index_parse(bytes.data, bytes.length, disk->repository.name, &index,
                                      &transfer->err);
    if (ret < 0)
        return ret;
    const struct tarn_layout_query query = {
        .name = disk->repository.name,
        .tag = transfer->read.tag,
        .digest = transfer->read.kind == TARN_READ_REFERRERS ? &transfer->read.digest : NULL,
        .layers = transfer->read.kind == TARN_READ_LAYERS,
        .source = tarn_disk_source(disk),
    };
    ret = tarn_layout_index_list(index, &query, &listing, &transfer->err);
    if (ret < 0)
        return ret;
    tarn_autofree char *text = tarn_json_dump(listing);
    if (!text || tarn_buf_append(&transfer->piece, text, strlen(text)) < 0)
        return tarn_fail(&transfer->err, -ENOMEM, "out of memory");
    return 0;
}

static int fail_damaged(struct transfer *transfer, const char *format, ...) tarn_printf(2, 3);

static int fail_damaged(struct transfer *transfer, const char *format, ...)
{
    char what[200];
    char text[TARN_DIGEST_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return tarn_fail(
        &transfer->err, -EIO, "blob %s of %s: %s, the file is damaged; copy the image again",
        tarn_digest_format(&transfer->read.digest, text), transfer->disk->repository.name, what);
}

static int open_blob(struct transfer *transfer)
{
    struct tarn_disk *disk = transfer->disk;
    const struct tarn_read *read = &transfer->read;
    const int ret = disk->operations->find(disk, &read->digest, &transfer->place, &transfer->err);
    if (ret < 0)
        return ret;
    const uint64_t size = transfer->place.size;
    struct tarn_read_range *first = transfer->ranges;
    if (first->length == UINT64_MAX && first->offset <= size)
        first->length = size - first->offset;
    const size_t count = read->range_count ? read->range_count : 1;
    for (size_t i = 0; i < count; i++) {
        const struct tarn_read_range *range = &transfer->ranges[i];
        char text[TARN_DIGEST_TEXT];
        if (!tarn_range_ok(range->offset, range->length, size))
            return tarn_fail(&transfer->err, -EUCLEAN,
                             "blob %s of %s: a range from %" PRIu64 " of %" PRIu64
                             " bytes lies past its end, it has %" PRIu64 " bytes",
                             tarn_digest_format(&read->digest, text), disk->repository.name,
                             range->offset, range->length, size);
        transfer->left += range->length;
    }
    const bool whole = first->offset == 0 && first->length == size;
    if (whole && read->size != 0 && read->size != size)
        return fail_damaged(transfer, "it has %" PRIu64 " bytes and not %" PRIu64, size,
                            read->size);
    if (whole && !(transfer->hasher = tarn_hasher_new()))
        return tarn_fail(&transfer->err, -ENOMEM, "out of memory");
    if (first->length > PIECE)
        posix_fadvise(transfer->place.fd, (off_t)(transfer->place.offset + first->offset),
                      (off_t)first->length, POSIX_FADV_SEQUENTIAL);
    return 0;
}

static int check_whole(struct transfer *transfer)
{
    struct tarn_digest found;
    char text[TARN_DIGEST_TEXT];
    tarn_hasher_finish(transfer->hasher, &found);
    if (tarn_digest_equal(&found, &transfer->read.digest))
        return 0;
    return fail_damaged(transfer, "content has digest %s", tarn_digest_format(&found, text));
}

// Up to limit bytes of the current range.
static int append_range(struct transfer *transfer, size_t limit)
{
    struct tarn_read_range *range = &transfer->ranges[transfer->current];
    const size_t length = (size_t)tarn_min_u64(range->length, limit);
    const int ret =
        tarn_pread_full(transfer->place.fd, transfer->piece.data + transfer->piece.length, length,
                        transfer->place.offset + range->offset);
    if (ret == -ENODATA)
        return fail_damaged(transfer, "it ends early");
    char text[TARN_DIGEST_TEXT];
    if (ret < 0)
        return tarn_fail_errno(&transfer->err, ret, "blob %s of %s: cannot read",
                               tarn_digest_format(&transfer->read.digest, text),
                               transfer->disk->repository.name);
    transfer->piece.length += length;
    transfer->left -= length;
    range->offset += length;
    range->length -= length;
    if (range->length == 0)
        transfer->current++;
    return 0;
}

static int read_piece(struct transfer *transfer)
{
    if (transfer->place.fd < 0) {
        const int ret = open_blob(transfer);
        if (ret < 0)
            return ret;
    }
    const size_t length = (size_t)tarn_min_u64(transfer->left, PIECE);
    transfer->piece.length = 0;
    if (tarn_buf_reserve(&transfer->piece, length) < 0)
        return tarn_fail(&transfer->err, -ENOMEM, "out of memory");
    while (transfer->piece.length < length) {
        const int ret = append_range(transfer, length - transfer->piece.length);
        if (ret < 0)
            return ret;
    }
    if (transfer->hasher && length > 0)
        tarn_hasher_update(transfer->hasher, transfer->piece.data, length);
    return transfer->hasher && transfer->left == 0 ? check_whole(transfer) : 0;
}

static void transfer_work(uv_work_t *work)
{
    struct transfer *transfer = work->data;
    switch (transfer->read.kind) {
    case TARN_READ_TAG:
    case TARN_READ_REFERRERS:
    case TARN_READ_LAYERS:
        transfer->status = make_listing(transfer);
        break;
    case TARN_READ_MANIFEST:
        transfer->status = tarn_disk_read_document(transfer->disk, &transfer->read.digest,
                                                   &transfer->piece, &transfer->err);
        break;
    case TARN_READ_BLOB:
        transfer->status = read_piece(transfer);
        break;
    }
}

// --- on the loop --------------------------------------------------------------------------------------

static int queue(struct transfer *transfer);

// Hands the piece on; whatever follows it is being read meanwhile.
static void hand_on(struct transfer *transfer)
{
    const struct tarn_read *read = &transfer->read;
    const struct tarn_buf piece = transfer->piece;
    transfer->piece = transfer->given;
    transfer->given = piece;
    if (transfer->left > 0)
        (void)queue(transfer); // sets status where it fails
    if (piece.length > 0)
        transfer->refused = read->data(read->context, piece.data, piece.length);
    if (transfer->refused < 0 && transfer->busy)
        uv_cancel((uv_req_t *)&transfer->work);
}

static void transfer_after(uv_work_t *work, int uv_status)
{
    struct transfer *transfer = work->data;
    (void)uv_status; // UV_ECANCELED comes only with transfer->cancelled or refused
    const struct tarn_read *read = &transfer->read;
    transfer->busy = false;
    if (!transfer->cancelled && transfer->refused >= 0 && transfer->status == 0) {
        hand_on(transfer);
        if (transfer->busy)
            return;
    }
    if (transfer->refused < 0)
        transfer->status =
            tarn_fail_errno(&transfer->err, transfer->refused, "%s: reading was given up",
                            transfer->disk->repository.name);
    if (!transfer->cancelled)
        read->done(read->context, transfer->status, &transfer->err);
    transfer_free(transfer);
}

// When this has succeeded, status and err belong to the thread.
static int queue(struct transfer *transfer)
{
    transfer->busy = true;
    const int ret = uv_queue_work(transfer->disk->repository.loop, &transfer->work, transfer_work,
                                  transfer_after);
    if (ret == 0)
        return 0;
    transfer->busy = false;
    transfer->status = tarn_fail_errno(&transfer->err, ret, "%s: cannot start work",
                                       transfer->disk->repository.name);
    return ret;
}

int tarn_disk_read(struct tarn_repository *repository, const struct tarn_read *read,
                   struct tarn_transfer **transfer, struct tarn_err *err)
{
    tarn_cleanup(transfer_free_p) struct transfer *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->base.repository = repository;
    new->disk = (struct tarn_disk *)repository;
    tarn_disk_ref(new->disk);
    new->work.data = new;
    new->place.fd = -1;
    new->read = *read;
    if (read->kind == TARN_READ_TAG && read->tag && !(new->tag = strdup(read->tag)))
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->read.tag = new->tag;
    if (!(new->ranges = tarn_read_ranges(read)))
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->read.ranges = NULL;
    const int ret = queue(new);
    if (ret < 0)
        return tarn_fail(err, ret, "%s", new->err.text);
    *transfer = &tarn_steal(new)->base;
    return 0;
}

void tarn_disk_cancel(struct tarn_transfer *base)
{
    struct transfer *transfer = (struct transfer *)base;
    transfer->cancelled = true;
    // What waits for a thread need not run; what runs ends by itself and frees the transfer.
    if (transfer->busy)
        uv_cancel((uv_req_t *)&transfer->work);
}

size_t tarn_disk_max_ranges(const struct tarn_repository *repository)
{
    (void)repository;
    return RANGES;
}
