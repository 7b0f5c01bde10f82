// SPDX-License-Identifier: Apache-2.0
// A chain's blobs on their way to the destination while they are made. A thread of its own sends them,
// waits until they are durable and notes them, one behind the other, while the caller makes the next: it
// waits only when a few MiB are ahead. The tarn_blocking and its repository are that thread's until
// tarn_blob_uploader_finish().
//
// One caller's thread. Digests are the caller's to find while it writes.
#ifndef TARN_CONVERTER_BLOB_UPLOAD_H
#define TARN_CONVERTER_BLOB_UPLOAD_H

#include "registry/blocking.h"
#include "registry/tarn_manifest.h"

struct tarn_blob_uploader;

int tarn_blob_uploader_new(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           struct tarn_blob_uploader **uploader,
                           struct tarn_err *err) tarn_must_check;

// Begins a blob; layer is its number for messages. Out of memory: -ENOMEM.
int tarn_blob_uploader_begin(struct tarn_blob_uploader *uploader, uint32_t layer,
                             struct tarn_err *err) tarn_must_check;
// Appends. context is the uploader, as tarn_blob_output has it. May tell what befell an earlier blob: then
// tarn_blob_uploader_failed().
int tarn_blob_uploader_write(void *context, const void *bytes, size_t length,
                             struct tarn_err *err) tarn_must_check;
// Ends the blob, which has some bytes and is to stand under its digest; note: with a one-layer manifest (reuse.h).
void tarn_blob_uploader_end(struct tarn_blob_uploader *uploader,
                            const struct tarn_manifest_blob *blob, bool note);
// Whether a blob could not be stored; the error names its layer.
bool tarn_blob_uploader_failed(struct tarn_blob_uploader *uploader);

// Waits until all blobs that were ended are stored, drops the one that was not, and frees the uploader.
// 0, or the first failure. NULL is fine.
int tarn_blob_uploader_finish(struct tarn_blob_uploader *uploader,
                              struct tarn_err *err) tarn_must_check;

#endif
