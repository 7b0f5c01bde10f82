// SPDX-License-Identifier: Apache-2.0
#include "registry/repository.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "registry/archive.h"
#include "registry/layout.h"
#include "registry/oci.h"
#include "registry/remote.h"
#include "registry/repository_internal.h"

int tarn_repository_open(const struct tarn_reference *reference, uv_loop_t *loop,
                         const struct tarn_repository_options *options,
                         struct tarn_repository **repository, struct tarn_err *err)
{
    *repository = NULL;
    switch (reference->kind) {
    case TARN_REFERENCE_OCI:
        return tarn_layout_open(reference->path, loop, options, repository, err);
    case TARN_REFERENCE_OCI_ARCHIVE:
        return tarn_archive_open(reference->path, loop, options, repository, err);
    case TARN_REFERENCE_DOCKER:
        return tarn_remote_open(reference, loop, options, repository, err);
    case TARN_REFERENCE_TAR:
    case TARN_REFERENCE_DIR:
        break;
    }
    return tarn_fail(
        err, -EINVAL,
        "%s holds no images; expected docker://HOST/REPOSITORY[:TAG], oci:DIRECTORY[:TAG] "
        "or oci-archive:FILE[:TAG]",
        reference->text);
}

void tarn_repository_close(struct tarn_repository *repository)
{
    if (repository)
        repository->operations->close(repository);
}

const char *tarn_repository_name(const struct tarn_repository *repository)
{
    return repository->name;
}

static bool begins_with(const struct tarn_err *err, const char *name)
{
    return strncmp(err->text, name, strlen(name)) == 0;
}

int tarn_repository_wrap(const struct tarn_repository *repository, int code, const char *name,
                         struct tarn_err *err)
{
    if (!err || begins_with(err, name) ||
        (repository && begins_with(err, tarn_repository_name(repository))))
        return code;
    return tarn_wrap(err, code, "%s", name);
}

size_t tarn_repository_max_ranges(const struct tarn_repository *repository)
{
    const struct tarn_repository_operations *operations = repository->operations;
    return operations->max_ranges ? operations->max_ranges(repository) : 1;
}

bool tarn_repository_lists_tags(const struct tarn_repository *repository)
{
    return repository->operations->lists_tags;
}

bool tarn_repository_checks_blobs(const struct tarn_repository *repository)
{
    return repository->operations->checks_blobs;
}

static bool ranges_ok(const struct tarn_read *read)
{
    uint64_t end = 0;
    for (size_t i = 0; i < read->range_count; i++) {
        const struct tarn_read_range *range = &read->ranges[i];
        if (range->offset < end || range->length == 0 ||
            __builtin_add_overflow(range->offset, range->length, &end))
            return false;
    }
    return read->range_count == 0 || read->kind == TARN_READ_BLOB;
}

struct tarn_read_range *tarn_read_ranges(const struct tarn_read *read)
{
    const struct tarn_read_range only = { read->offset, read->length };
    const struct tarn_read_range *from = read->range_count ? read->ranges : &only;
    const size_t count = read->range_count ? read->range_count : 1;
    struct tarn_read_range *ranges = calloc(count, sizeof *ranges);
    if (ranges)
        memcpy(ranges, from, count * sizeof *ranges);
    return ranges;
}

int tarn_repository_read(struct tarn_repository *repository, const struct tarn_read *read,
                         struct tarn_transfer **transfer, struct tarn_err *err)
{
    assert(read->data && read->done && ranges_ok(read));
    *transfer = NULL;
    return repository->operations->read(repository, read, transfer, err);
}

void tarn_transfer_cancel(struct tarn_transfer *transfer)
{
    transfer->repository->operations->cancel(transfer);
}

int tarn_repository_has_blob(struct tarn_repository *repository, const struct tarn_blob_id *blob,
                             tarn_done *done, void *context, struct tarn_err *err)
{
    return repository->operations->has_blob(repository, blob, done, context, err);
}

int tarn_repository_mount_blob(struct tarn_repository *repository,
                               const struct tarn_blob_source *from, tarn_done *done, void *context,
                               struct tarn_err *err)
{
    if (repository->operations != from->repository->operations ||
        !repository->operations->mount_blob)
        return tarn_fail(err, -ENOENT, "%s takes no blobs over from %s", repository->name,
                         from->repository->name);
    return repository->operations->mount_blob(repository, from, done, context, err);
}

int tarn_repository_upload(struct tarn_repository *repository, struct tarn_upload **upload,
                           struct tarn_err *err)
{
    *upload = NULL;
    return repository->operations->upload(repository, upload, err);
}

void tarn_upload_vouch(struct tarn_upload *upload)
{
    upload->vouched = true;
}

void tarn_upload_write(struct tarn_upload *upload, const void *bytes, size_t length,
                       tarn_done *done, void *context)
{
    upload->repository->operations->write(upload, bytes, length, done, context);
}

void tarn_upload_commit(struct tarn_upload *upload, const struct tarn_blob_id *blob,
                        tarn_done *done, void *context)
{
    upload->repository->operations->commit(upload, blob, done, context);
}

void tarn_upload_abort(struct tarn_upload *upload)
{
    upload->repository->operations->abort(upload);
}

int tarn_repository_put_manifest(struct tarn_repository *repository,
                                 const struct tarn_manifest_bytes *manifest, tarn_done *done,
                                 void *context, struct tarn_err *err)
{
    if (manifest->length > TARN_MANIFEST_LIMIT)
        return tarn_fail(err, -EFBIG, "%s: a manifest of %zu bytes; up to %d are allowed",
                         repository->name, manifest->length, TARN_MANIFEST_LIMIT);
    return repository->operations->put_manifest(repository, manifest, done, context, err);
}

int tarn_repository_publish(struct tarn_repository *repository,
                            const struct tarn_publication *publication, tarn_done *done,
                            void *context, struct tarn_err *err)
{
    return repository->operations->publish(repository, publication, done, context, err);
}
