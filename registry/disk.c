// SPDX-License-Identifier: Apache-2.0
#include "registry/disk.h"

#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "registry/oci.h"

// One call that has one answer: has_blob, put_manifest or publish.
struct action {
    uv_work_t work;
    struct tarn_disk *disk; // referenced
    int (*run)(struct action *action);
    tarn_done *done;
    void *context;
    int status;
    struct tarn_err err;
    struct tarn_blob_id blob;         // has_blob, put_manifest
    struct tarn_buf bytes;            // put_manifest
    struct tarn_layout_change change; // publish; its members are owned, by the next three
    char *tag;
    json_t *original;
    json_t *tarn;
};

static void action_free(struct action *action)
{
    if (!action)
        return;
    if (action->disk)
        tarn_disk_unref(action->disk);
    tarn_buf_release(&action->bytes);
    json_decref(action->original);
    json_decref(action->tarn);
    free(action->tag);
    free(action);
}
TARN_DEFINE_CLEANUP(struct action, action_free)

static struct action *action_new(struct tarn_repository *repository, int (*run)(struct action *),
                                 tarn_done *done, void *context)
{
    struct action *action = calloc(1, sizeof *action);
    if (!action)
        return NULL;
    action->disk = (struct tarn_disk *)repository;
    tarn_disk_ref(action->disk);
    action->work.data = action;
    action->run = run;
    action->done = done;
    action->context = context;
    return action;
}

static void action_work(uv_work_t *work)
{
    struct action *action = work->data;
    action->status = action->run(action);
}

static void action_after(uv_work_t *work, int uv_status)
{
    struct action *action = work->data;
    (void)uv_status; // actions are never cancelled
    action->done(action->context, action->status, &action->err);
    action_free(action);
}

static int action_start(struct action *action, struct tarn_err *err)
{
    const int ret =
        uv_queue_work(action->disk->repository.loop, &action->work, action_work, action_after);
    if (ret == 0)
        return 0;
    const int code =
        tarn_fail_errno(err, ret, "%s: cannot start work", action->disk->repository.name);
    action_free(action);
    return code;
}

static int run_has_blob(struct action *action)
{
    struct tarn_disk_place place = { .fd = -1 };
    const int ret =
        action->disk->operations->find(action->disk, &action->blob.digest, &place, &action->err);
    if (ret < 0)
        return ret;
    close(place.fd);
    char text[TARN_DIGEST_TEXT];
    if (place.size != action->blob.size)
        return tarn_fail(
            &action->err, -ENOENT, "%s: blob %s has %" PRIu64 " bytes and not %" PRIu64,
            action->disk->repository.name, tarn_digest_format(&action->blob.digest, text),
            place.size, action->blob.size);
    return 0;
}

static int disk_has_blob(struct tarn_repository *repository, const struct tarn_blob_id *blob,
                         tarn_done *done, void *context, struct tarn_err *err)
{
    struct action *action = action_new(repository, run_has_blob, done, context);
    if (!action)
        return tarn_fail(err, -ENOMEM, "out of memory");
    action->blob = *blob;
    return action_start(action, err);
}

static int run_put_manifest(struct action *action)
{
    struct tarn_disk *disk = action->disk;
    struct tarn_blob_file file;
    int ret = disk->operations->create(disk, &file, &action->err);
    if (ret < 0)
        return ret;
    ret = tarn_write_full(file.fd, action->bytes.data, action->bytes.length);
    if (ret < 0) {
        tarn_blob_file_discard(&file);
        return tarn_fail_errno(&action->err, ret, "%s: cannot write a manifest",
                               disk->repository.name);
    }
    return disk->operations->commit(disk, &file, &action->blob, &action->err);
}

static int disk_put_manifest(struct tarn_repository *repository,
                             const struct tarn_manifest_bytes *manifest, tarn_done *done,
                             void *context, struct tarn_err *err)
{
    tarn_cleanup(action_free_p) struct action *action =
        action_new(repository, run_put_manifest, done, context);
    if (!action || tarn_buf_append(&action->bytes, manifest->bytes, manifest->length) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_sha256(manifest->bytes, manifest->length, &action->blob.digest);
    action->blob.size = manifest->length;
    return action_start(tarn_steal(action), err);
}

static int run_publish(struct action *action)
{
    return action->disk->operations->publish(action->disk, &action->change, &action->err);
}

static int disk_publish(struct tarn_repository *repository,
                        const struct tarn_publication *publication, tarn_done *done, void *context,
                        struct tarn_err *err)
{
    tarn_cleanup(action_free_p) struct action *action =
        action_new(repository, run_publish, done, context);
    if (!action)
        return tarn_fail(err, -ENOMEM, "out of memory");
    action->tag = publication->tag ? strdup(publication->tag) : NULL;
    action->original = publication->tag ? json_deep_copy(publication->original) : NULL;
    action->tarn = publication->tarn ? json_deep_copy(publication->tarn) : json_array();
    if (!action->tarn || (publication->tag && (!action->tag || !action->original)))
        return tarn_fail(err, -ENOMEM, "out of memory");
    action->change = (struct tarn_layout_change){
        .tag = action->tag,
        .original = action->original,
        .tarn = action->tarn,
        .more = publication->more,
        .source = tarn_disk_source(action->disk),
    };
    return action_start(tarn_steal(action), err);
}

static void disk_close(struct tarn_repository *repository)
{
    tarn_disk_unref((struct tarn_disk *)repository);
}

void tarn_disk_init(struct tarn_disk *disk, const struct tarn_disk_operations *operations,
                    uv_loop_t *loop, char *name)
{
    static const struct tarn_repository_operations table = {
        .lists_tags = true,
        .close = disk_close,
        .read = tarn_disk_read,
        .cancel = tarn_disk_cancel,
        .max_ranges = tarn_disk_max_ranges,
        .has_blob = disk_has_blob,
        .upload = tarn_disk_upload,
        .write = tarn_disk_write,
        .commit = tarn_disk_commit,
        .abort = tarn_disk_abort,
        .put_manifest = disk_put_manifest,
        .publish = disk_publish,
    };
    *disk = (struct tarn_disk){
        .repository = { .operations = &table, .loop = loop },
        .operations = operations,
        .references = 1,
    };
    disk->repository.name = name;
}

void tarn_disk_ref(struct tarn_disk *disk)
{
    disk->references++;
}

void tarn_disk_unref(struct tarn_disk *disk)
{
    if (--disk->references == 0)
        disk->operations->close(disk);
}

int tarn_disk_read_document(struct tarn_disk *disk, const struct tarn_digest *digest,
                            struct tarn_buf *buf, struct tarn_err *err)
{
    struct tarn_disk_place place = { .fd = -1 };
    int ret = disk->operations->find(disk, digest, &place, err);
    if (ret < 0)
        return ret;
    tarn_autoclose int fd = place.fd;
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(digest, text);
    if (place.size > TARN_MANIFEST_LIMIT)
        return tarn_fail(err, -EUCLEAN,
                         "%s: manifest %s has %" PRIu64 " bytes; up to %d are allowed",
                         disk->repository.name, text, place.size, TARN_MANIFEST_LIMIT);
    const size_t length = (size_t)place.size;
    if (tarn_buf_reserve(buf, length) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    uint8_t *bytes = length ? buf->data + buf->length : (uint8_t *)text;
    ret = length ? tarn_pread_full(fd, bytes, length, place.offset) : 0;
    if (ret < 0)
        return tarn_fail_errno(err, -EIO, "%s: cannot read manifest %s", disk->repository.name,
                               text);
    struct tarn_digest found;
    tarn_sha256(bytes, length, &found);
    if (!tarn_digest_equal(&found, digest)) {
        char other[TARN_DIGEST_TEXT];
        return tarn_fail(err, -EIO,
                         "manifest %s of %s: content has digest %s, the file is damaged; copy the "
                         "image again",
                         text, disk->repository.name, tarn_digest_format(&found, other));
    }
    buf->length += length;
    return 0;
}

static int source_read(void *context, const struct tarn_digest *digest, struct tarn_buf *buf,
                       struct tarn_err *err)
{
    return tarn_disk_read_document(context, digest, buf, err);
}

struct tarn_document_source tarn_disk_source(struct tarn_disk *disk)
{
    return (struct tarn_document_source){ .read = source_read, .context = disk };
}

static int check_one(struct tarn_disk *disk, const json_t *json, struct tarn_err *err)
{
    struct tarn_descriptor descriptor;
    int ret = tarn_descriptor_parse(json, disk->repository.name, &descriptor, err);
    if (ret < 0)
        return tarn_wrap(err, -EINVAL, "cannot publish");
    struct tarn_disk_place place = { .fd = -1 };
    ret = disk->operations->find(disk, &descriptor.digest, &place, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "cannot publish");
    close(place.fd);
    char text[TARN_DIGEST_TEXT];
    if (place.size != descriptor.size)
        return tarn_fail(err, -ENOENT,
                         "cannot publish: %s: manifest %s has %" PRIu64 " bytes and not %" PRIu64,
                         disk->repository.name, tarn_digest_format(&descriptor.digest, text),
                         place.size, descriptor.size);
    return 0;
}

int tarn_disk_check_change(struct tarn_disk *disk, const struct tarn_layout_change *change,
                           struct tarn_err *err)
{
    int ret = change->tag ? check_one(disk, change->original, err) : 0;
    for (size_t i = 0; ret == 0 && i < json_array_size(change->tarn); i++)
        ret = check_one(disk, json_array_get(change->tarn, i), err);
    return ret;
}
