// SPDX-License-Identifier: Apache-2.0
// Copies what a destination lacks of an image: blobs, and manifests byte for byte.
#ifndef TARN_CONVERTER_BLOB_COPY_H
#define TARN_CONVERTER_BLOB_COPY_H

#include <signal.h>

#include "registry/blocking.h"

struct tarn_copy {
    struct tarn_blocking *from_blocking;
    struct tarn_repository *from;
    struct tarn_blocking *to_blocking;
    struct tarn_repository *to;
    // NULL, or a file with the bytes of a blob that was downloaded before (borrowed), or -1.
    int (*downloaded)(void *context, const struct tarn_digest *digest);
    void *context;
    const volatile sig_atomic_t *cancel; // NULL, or ends a copy with -EINTR once it is not 0
    // Of the index that is copied, leave out Tarn's entries; where there are any, itself too.
    bool without_tarn;
    // NULL, or called before each piece of a blob is written; may wait, and ends the copy by -errno.
    int (*pace)(void *context, size_t length);
    void *pace_context;
};

// One blob, unless it is there already or can be mounted there. Checked against its digest on the way.
int tarn_copy_blob(const struct tarn_copy *copy, const struct tarn_blob_id *blob,
                   struct tarn_err *err) tarn_must_check;

// A plain image: config and layers of its manifest, then the manifest itself. An index: all images
// that it lists, then the index. Appends the document's bytes to bytes.
int tarn_copy_image(const struct tarn_copy *copy, const struct tarn_descriptor *descriptor,
                    struct tarn_buf *bytes, struct tarn_err *err) tarn_must_check;

#endif
