// SPDX-License-Identifier: Apache-2.0
// Converts one image: all its layers, bottom first, its bootstrap, config and manifest. Stage A of the
// next layer runs, on threads of its own, while stage B of this one does; behind the last layer it goes
// on with the tree digest and with copying the original.
#ifndef TARN_CONVERTER_IMAGE_CONVERT_H
#define TARN_CONVERTER_IMAGE_CONVERT_H

#include "converter/blob_copy.h"
#include "converter/convert.h"
#include "converter/image_manifest.h"
#include "converter/layer_reader.h"
#include "converter/reuse.h"

// A layer to convert.
struct tarn_image_layer {
    struct tarn_layer_source source;
    bool has_diff_id; // known before it is read, and then checked
    struct tarn_digest diff_id;
};

struct tarn_image_job {
    const struct tarn_convert_options *options;
    const struct tarn_image_layer *layers;
    uint32_t layer_count;
    const json_t *source_config;           // NULL for tar: and dir:
    const struct tarn_descriptor *subject; // NULL for tar: and dir:
    struct tarn_platform platform;
    struct tarn_dict *dict;   // NULL: none
    struct tarn_reuse *reuse; // NULL: nothing is looked for
    bool notes;               // leave a one-layer manifest for each layer that is done
    // NULL, or to where the original's layers are copied while the last blobs are being written; used
    // by stage A's thread alone. What fails there is left to whoever copies the original afterwards.
    const struct tarn_copy *copy;
    struct tarn_blocking *blocking; // to the destination
    struct tarn_repository *destination;
    struct tarn_pool *pool;
};

struct tarn_image_result {
    struct tarn_blob_id manifest;
    struct tarn_buf manifest_bytes;
    struct tarn_digest tree_digest;
};

// Stores everything but tags; adds to summary.
int tarn_image_convert(const struct tarn_image_job *job, struct tarn_image_result *result,
                       struct tarn_convert_summary *summary, struct tarn_err *err) tarn_must_check;
void tarn_image_result_release(struct tarn_image_result *result);

#endif
