// SPDX-License-Identifier: Apache-2.0
// OCI layouts: a directory with oci-layout, index.json and blobs/sha256/.
// Source: OCI image specification 1.1, image-layout.md.
#ifndef TARN_REGISTRY_LAYOUT_H
#define TARN_REGISTRY_LAYOUT_H

#include "registry/repository.h"

// tarn_repository_open() for oci:PATH.
int tarn_layout_open(const char *path, uv_loop_t *loop,
                     const struct tarn_repository_options *options,
                     struct tarn_repository **repository, struct tarn_err *err) tarn_must_check;

#endif
