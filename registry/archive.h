// SPDX-License-Identifier: Apache-2.0
// OCI archives: one plain tar with an OCI layout in it. Reading takes ranges from the file in place.
// Writing keeps new blobs in a directory beside the file, "FILE.tarn-<pid>-<n>.tmp", and publishing
// writes a whole new archive there (what the old one held, the new blobs, the new index.json; sorted,
// times 0) and renames it over the file, whose mode it keeps, and owner and group where it can.
#ifndef TARN_REGISTRY_ARCHIVE_H
#define TARN_REGISTRY_ARCHIVE_H

#include "registry/repository.h"

// tarn_repository_open() for oci-archive:PATH. Reads the header of every member of the tar.
int tarn_archive_open(const char *path, uv_loop_t *loop,
                      const struct tarn_repository_options *options,
                      struct tarn_repository **repository, struct tarn_err *err) tarn_must_check;

#endif
