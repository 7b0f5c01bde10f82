// SPDX-License-Identifier: Apache-2.0
// repository.h and image_resolve.h for programs that wait: each call runs a loop of its own until the
// answer is there. One thread at a time for each tarn_blocking; several threads may have one each.
// Codes and errors are those of the callbacks.
#ifndef TARN_REGISTRY_BLOCKING_H
#define TARN_REGISTRY_BLOCKING_H

#include "base/buf.h"
#include "registry/image_resolve.h"
#include "registry/repository.h"

struct tarn_blocking;

struct tarn_blocking *tarn_blocking_new(struct tarn_err *err);
// Its repositories must have been closed. Waits for what they still have to do.
void tarn_blocking_free(struct tarn_blocking *blocking);
TARN_DEFINE_CLEANUP(struct tarn_blocking, tarn_blocking_free)

// As tarn_repository_open(), on this loop and with an HTTP client of its own (options->http is not
// looked at; options may be NULL). To be closed by tarn_repository_close().
int tarn_blocking_open(struct tarn_blocking *blocking, const struct tarn_reference *reference,
                       const struct tarn_repository_options *options,
                       struct tarn_repository **repository, struct tarn_err *err) tarn_must_check;

// Runs the loop, so that what is under way moves on, until tarn_blocking_wake() is called; a call that came
// since the last return counts.
void tarn_blocking_serve(struct tarn_blocking *blocking);
void tarn_blocking_wake(struct tarn_blocking *blocking); // any thread

// Reads what kind, tag and digest of read say (its callbacks are not looked at) and appends it to
// buf, up to TARN_MANIFEST_LIMIT bytes, or for a blob up to read->size, which must be set then.
// -EFBIG above. On an error buf is as before.
int tarn_blocking_read_buf(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_read *read, struct tarn_buf *buf,
                           struct tarn_err *err) tarn_must_check;

// Reads a blob or a range, handing it to read->data with read->context; read->done is not called.
int tarn_blocking_read(struct tarn_blocking *blocking, struct tarn_repository *repository,
                       const struct tarn_read *read, struct tarn_err *err) tarn_must_check;

// 0, or -ENOENT.
int tarn_blocking_has_blob(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_blob_id *blob, struct tarn_err *err) tarn_must_check;

// 0, or -ENOENT: copy it. from may belong to another tarn_blocking, but no other thread may use it.
int tarn_blocking_mount_blob(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_repository *from, const struct tarn_blob_id *blob,
                             struct tarn_err *err) tarn_must_check;

// A blob in pieces: tarn_repository_upload(), these, and tarn_upload_abort() instead of the commit.
int tarn_blocking_write(struct tarn_blocking *blocking, struct tarn_upload *upload,
                        const void *bytes, size_t length, struct tarn_err *err) tarn_must_check;
int tarn_blocking_commit(struct tarn_blocking *blocking, struct tarn_upload *upload,
                         const struct tarn_blob_id *blob, struct tarn_err *err) tarn_must_check;

// A whole blob from memory, unless a registry has it already. Sets blob, if not NULL.
int tarn_blocking_put_blob(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_buf *bytes, struct tarn_blob_id *blob,
                           struct tarn_err *err) tarn_must_check;

int tarn_blocking_put_manifest(struct tarn_blocking *blocking, struct tarn_repository *repository,
                               const struct tarn_manifest_bytes *manifest,
                               struct tarn_err *err) tarn_must_check;

int tarn_blocking_publish(struct tarn_blocking *blocking, struct tarn_repository *repository,
                          const struct tarn_publication *publication,
                          struct tarn_err *err) tarn_must_check;

// The images that the query asks for. To be released by tarn_image_list_release().
int tarn_blocking_resolve(struct tarn_blocking *blocking, struct tarn_repository *repository,
                          const struct tarn_image_query *query, struct tarn_image_list *list,
                          struct tarn_err *err) tarn_must_check;

#endif
