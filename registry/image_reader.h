// SPDX-License-Identifier: Apache-2.0
// The parts of a converted image, read from its repository and checked against their digests. For
// programs that wait (blocking.h).
#ifndef TARN_REGISTRY_IMAGE_READER_H
#define TARN_REGISTRY_IMAGE_READER_H

#include "format/bootstrap.h"
#include "registry/blocking.h"
#include "registry/tarn_manifest.h"

// A manifest or config by descriptor, as JSON; NULL on failure. what names it in errors.
json_t *tarn_image_read_json(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_descriptor *descriptor, const char *what,
                             struct tarn_err *err);

// Reads and parses a Tarn manifest. To be released by tarn_manifest_release(). -EUCLEAN, also where its
// size is not the descriptor's.
int tarn_image_read_manifest(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_descriptor *descriptor,
                             struct tarn_manifest *manifest, struct tarn_err *err) tarn_must_check;

// A converted image, opened.
struct tarn_loaded_image {
    struct tarn_manifest manifest;
    struct tarn_buf bootstrap_bytes;
    struct tarn_bootstrap
        bootstrap; // borrows from the bytes; its layers are as many as the manifest's
};

// Reads manifest and bootstrap of a zeroed loaded image. The release is right after a failure too. -EINVAL
// for an image that is not converted, -EIO for a wrong digest, -EUCLEAN.
int tarn_image_load(struct tarn_blocking *blocking, struct tarn_repository *repository,
                    const struct tarn_image *image, struct tarn_loaded_image *loaded,
                    struct tarn_err *err) tarn_must_check;
void tarn_loaded_image_release(struct tarn_loaded_image *loaded);

// Appends the bytes of a blob's layer metadata to out, which must be empty. -EIO for a wrong digest.
int tarn_image_read_metadata(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_manifest_blob *blob, struct tarn_buf *out,
                             struct tarn_err *err) tarn_must_check;

#endif
