// SPDX-License-Identifier: Apache-2.0
// A blob on its way to the destination while it is made. To a registry a thread of its own keeps the bytes
// moving; the tarn_blocking is that thread's until the upload has ended. Into a layout or an archive the
// caller's thread writes. The digest is the caller's to find while it writes.
#ifndef TARN_CONVERTER_BLOB_UPLOAD_H
#define TARN_CONVERTER_BLOB_UPLOAD_H

#include "registry/blocking.h"

struct tarn_blob_upload;

int tarn_blob_upload_start(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           struct tarn_blob_upload **upload, struct tarn_err *err) tarn_must_check;
// Appends. Blocks while a few MiB wait already. context is the upload, as tarn_blob_output has it.
int tarn_blob_upload_write(void *context, const void *bytes, size_t length,
                           struct tarn_err *err) tarn_must_check;
// Ends it, as tarn_blocking_commit() does.
int tarn_blob_upload_commit(struct tarn_blob_upload *upload, const struct tarn_blob_id *blob,
                            struct tarn_err *err) tarn_must_check;
// Ends it without a blob.
void tarn_blob_upload_abort(struct tarn_blob_upload *upload);

#endif
