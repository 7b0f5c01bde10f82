// SPDX-License-Identifier: Apache-2.0
// `tarn export`: plain OCI layers back from a converted image, out of its layer metadata and data
// spaces alone. Unpacked they are what the source's layers were, with the same tree digest; their
// bytes are Tarn's own, the same for the same image and zlib version.
#ifndef TARN_CONVERTER_EXPORT_H
#define TARN_CONVERTER_EXPORT_H

#include <signal.h>

#include "format/bootstrap.h"
#include "registry/image_reader.h"

// A converted image whose bootstrap was opened and belongs to the manifest. All borrowed.
struct tarn_export_source {
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    const struct tarn_manifest *manifest;
    const struct tarn_bootstrap *bootstrap;
    const struct tarn_access *access;    // to the destination, if that is a registry
    const volatile sig_atomic_t *cancel; // NULL, or ends it with -EINTR once it is not 0
};

struct tarn_export_summary {
    uint32_t layers;
    uint64_t tar_bytes;   // uncompressed
    uint64_t layer_bytes; // as stored
    struct tarn_blob_id manifest;
};

// Writes the image to a docker:, oci: or oci-archive: reference and points its tag there. Blocks; leaves no
// tag behind when it fails. Holds one layer's tree in memory, and no file.
int tarn_export(const struct tarn_export_source *source, const struct tarn_reference *destination,
                struct tarn_export_summary *summary, struct tarn_err *err) tarn_must_check;

#endif
