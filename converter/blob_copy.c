// SPDX-License-Identifier: Apache-2.0
#include "converter/blob_copy.h"

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/file.h"

enum { INDEX_DEPTH = 4 };

struct piping {
    const struct tarn_copy *copy;
    struct tarn_upload *upload;
    uint64_t left; // bytes that may still come
    struct tarn_err *err;
};

static int on_data(void *context, const void *bytes, size_t length)
{
    struct piping *piping = context;
    const struct tarn_copy *copy = piping->copy;
    if (length > piping->left) // to a repository 0 is a size that is not known
        return tarn_fail(piping->err, -EIO, "a blob is larger than its descriptor says");
    piping->left -= length;
    if (tarn_cancel_is_set(copy->cancel))
        return tarn_fail(piping->err, -EINTR, "interrupted");
    const int ret = copy->pace ? copy->pace(copy->pace_context, length) : 0;
    if (ret < 0)
        return tarn_fail_errno(piping->err, ret, "copying was given up");
    return tarn_blocking_write(copy->to_blocking, piping->upload, bytes, length, piping->err);
}

static int read_file(int fd, const struct tarn_read *read, struct tarn_err *err)
{
    enum { PIECE = 256 << 10 };
    tarn_autofree uint8_t *piece = malloc(PIECE);
    if (!piece)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint64_t offset = 0; offset < read->size;) {
        const size_t length = (size_t)tarn_min_u64(PIECE, read->size - offset);
        int ret = tarn_pread_full(fd, piece, length, offset);
        if (ret < 0)
            return tarn_fail_errno(err, ret, "cannot read a spool file");
        ret = read->data(read->context, piece, length);
        if (ret < 0)
            return ret;
        offset += length;
    }
    return 0;
}

int tarn_copy_blob(const struct tarn_copy *copy, const struct tarn_blob_id *blob,
                   struct tarn_err *err)
{
    int ret = tarn_blocking_has_blob(copy->to_blocking, copy->to, blob, err);
    if (ret == -ENOENT)
        ret = tarn_blocking_mount_blob(copy->to_blocking, copy->to, copy->from, blob, err);
    if (ret != -ENOENT)
        return ret;
    struct tarn_err write_err = { 0 };
    struct piping piping = { .copy = copy, .left = blob->size, .err = &write_err };
    ret = tarn_repository_upload(copy->to, &piping.upload, err);
    if (ret < 0)
        return ret;
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = blob->digest,
        .size = blob->size,
        .length = UINT64_MAX,
        .context = &piping,
        .data = on_data,
    };
    const int fd = copy->downloaded ? copy->downloaded(copy->context, &blob->digest) : -1;
    if (fd < 0) // a repository checks what it reads
        tarn_upload_vouch(piping.upload);
    ret = fd >= 0 ? read_file(fd, &read, err)
                  : tarn_blocking_read(copy->from_blocking, copy->from, &read, err);
    if (ret == 0)
        return tarn_blocking_commit(copy->to_blocking, piping.upload, blob, err);
    tarn_upload_abort(piping.upload);
    if (write_err.code && err)
        *err = write_err;
    return ret;
}

static int copy_descriptor(const struct tarn_copy *copy, const json_t *json, const char *what,
                           struct tarn_err *err)
{
    struct tarn_descriptor descriptor;
    const int ret = tarn_descriptor_parse(json, what, &descriptor, err);
    if (ret < 0)
        return ret;
    const struct tarn_blob_id blob = { descriptor.digest, descriptor.size };
    return tarn_copy_blob(copy, &blob, err);
}

// Copying documents: what is under way, and what was done.
struct copying {
    const struct tarn_copy *copy;
    json_t *done; // object: digest text -> true; an index may list things many times
    unsigned depth;
};

static int copy_document(struct copying *copying, const struct tarn_descriptor *descriptor,
                         struct tarn_buf *bytes, struct tarn_err *err);

static int copy_entry(struct copying *copying, const json_t *entry, struct tarn_err *err)
{
    struct tarn_descriptor descriptor;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    char text[TARN_DIGEST_TEXT];
    int ret = tarn_descriptor_parse(entry, "entry", &descriptor, err);
    if (ret < 0 || json_object_get(copying->done, tarn_digest_format(&descriptor.digest, text)))
        return ret;
    copying->depth++;
    ret = copy_document(copying, &descriptor, &bytes, err);
    copying->depth--;
    if (ret == 0 && json_object_set_new(copying->done, text, json_true()) < 0)
        ret = tarn_fail(err, -ENOMEM, "out of memory");
    return ret;
}

// *whole: nothing was left out.
static int copy_children(struct copying *copying, const json_t *document, bool *whole,
                         struct tarn_err *err)
{
    const struct tarn_copy *copy = copying->copy;
    size_t i;
    json_t *child;
    *whole = true;
    json_array_foreach(json_object_get(document, "manifests"), i, child)
    {
        if (copy->without_tarn && copying->depth == 0 &&
            tarn_entry_kind(child) == TARN_ENTRY_TARN) {
            *whole = false;
            continue;
        }
        const int ret = copy_entry(copying, child, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "image %zu of the index", i);
    }
    const json_t *config = json_object_get(document, "config");
    int ret = config ? copy_descriptor(copy, config, "config", err) : 0;
    json_array_foreach(json_object_get(document, "layers"), i, child)
    {
        if (ret == 0)
            ret = copy_descriptor(copy, child, "layer", err);
    }
    return ret;
}

static int copy_document(struct copying *copying, const struct tarn_descriptor *descriptor,
                         struct tarn_buf *bytes, struct tarn_err *err)
{
    const struct tarn_copy *copy = copying->copy;
    if (copying->depth > INDEX_DEPTH)
        return tarn_fail(err, -EUCLEAN, "indexes are nested more than %d deep", INDEX_DEPTH);
    const struct tarn_read read = { .kind = TARN_READ_MANIFEST, .digest = descriptor->digest };
    int ret = tarn_blocking_read_buf(copy->from_blocking, copy->from, &read, bytes, err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *document =
        tarn_json_parse(bytes->data, bytes->length, "the original's manifest", err);
    if (!document)
        return -EUCLEAN;
    bool whole;
    ret = copy_children(copying, document, &whole, err);
    if (ret < 0 || !whole)
        return ret;
    const struct tarn_manifest_bytes manifest = { descriptor->media_type, bytes->data,
                                                  bytes->length };
    return tarn_blocking_put_manifest(copy->to_blocking, copy->to, &manifest, err);
}

int tarn_copy_image(const struct tarn_copy *copy, const struct tarn_descriptor *descriptor,
                    struct tarn_buf *bytes, struct tarn_err *err)
{
    tarn_autojson json_t *done = json_object();
    struct copying copying = { .copy = copy, .done = done };
    return done ? copy_document(&copying, descriptor, bytes, err)
                : tarn_fail(err, -ENOMEM, "out of memory");
}
