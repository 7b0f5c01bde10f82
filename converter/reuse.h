// SPDX-License-Identifier: Apache-2.0
// Layers that were converted before, found again at the destination by their key: under the
// destination's tag, or as one-layer manifests that a conversion left as it went.
//
// Has a connection to the destination of its own, so that stage A's thread may use it while stage B's
// uploads.
#ifndef TARN_CONVERTER_REUSE_H
#define TARN_CONVERTER_REUSE_H

#include "format/layer_metadata.h"
#include "registry/blocking.h"
#include "registry/tarn_manifest.h"

struct tarn_reuse;

// A destination that does not exist yet is fine. NULL on failure.
struct tarn_reuse *tarn_reuse_new(const struct tarn_reference *destination,
                                  const struct tarn_repository_options *options,
                                  struct tarn_err *err);
void tarn_reuse_free(struct tarn_reuse *reuse);
TARN_DEFINE_CLEANUP(struct tarn_reuse, tarn_reuse_free)

struct tarn_reused_layer {
    struct tarn_manifest_blob blob;
    struct tarn_layer_metadata metadata; // the caller releases it
};
// 1 and the layer, 0 if there is none (also when what was found is damaged or gone), -errno.
int tarn_reuse_find(struct tarn_reuse *reuse, const struct tarn_digest *key,
                    struct tarn_reused_layer *layer, struct tarn_err *err) tarn_must_check;

// Leaves a one-layer manifest for a layer that is done.
int tarn_reuse_note(struct tarn_blocking *blocking, struct tarn_repository *repository,
                    const struct tarn_manifest_blob *blob, struct tarn_err *err) tarn_must_check;

#endif
