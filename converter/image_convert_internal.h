// SPDX-License-Identifier: Apache-2.0
// One conversion of an image, as its two stages (image_stage_a.c, image_stage_b.c) and what follows them
// (image_documents.c) share it.
#ifndef TARN_CONVERTER_IMAGE_CONVERT_INTERNAL_H
#define TARN_CONVERTER_IMAGE_CONVERT_INTERNAL_H

#include <stdatomic.h>

#include "converter/blob_upload.h"
#include "converter/image_convert.h"
#include "converter/image_copy.h"
#include "converter/layer_queue.h"

struct tarn_image_conversion {
    const struct tarn_image_job *job;
    struct tarn_chain chain;
    struct tarn_layer_queue *queue;
    struct tarn_convert_summary *summary; // stage B's
    struct tarn_blob_uploader *uploader;  // stage B's; until the bootstrap is made

    // Stage A's, until it is joined.
    bool *read;      // for each layer, whether it was read, not reused
    uint32_t copied; // layers whose original was copied, or is left to whoever does it afterwards
    uint64_t uncopied_bytes;                    // of the layers above that were read
    _Atomic(struct tarn_image_copier *) copier; // set by stage A, may be NULL
    struct tarn_digest tree_digest;
};

// Tells options->progress, if anyone listens.
void tarn_image_tell(const struct tarn_convert_options *options, enum tarn_convert_progress what,
                     uint64_t bytes);

// Stage B, or at least its chunks, is done, so that the copy of the original may take a processor.
void tarn_image_hurry_copy(struct tarn_image_conversion *conversion);

// Reads all layers, or finds them converted, and puts them into the queue; then what needs no blob
// written: the tree digest and the copy of the original's layers, or its start. -ECANCELED when the queue
// was stopped.
int tarn_image_stage_a(struct tarn_image_conversion *conversion,
                       struct tarn_err *err) tarn_must_check;

// Takes the layers out of the queue and makes their blobs. -ECANCELED when the queue was stopped.
int tarn_image_stage_b(struct tarn_image_conversion *conversion,
                       struct tarn_err *err) tarn_must_check;

// After both stages: stores bootstrap, config and manifest.
int tarn_image_store_documents(struct tarn_image_conversion *conversion,
                               struct tarn_image_result *result,
                               struct tarn_err *err) tarn_must_check;

#endif
