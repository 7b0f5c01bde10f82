// SPDX-License-Identifier: Apache-2.0
// From the bytes of a data space to decided and encoded chunks, in order, on all threads. The heart
// of stage B; blob_writer.h puts the rest around it.
//
// Batches of 4 MiB go through four steps: filled and cut (caller's thread, in order), hashed (pool),
// resolved, that is deduplicated and grouped into runs (caller's thread, in order), encoded (pool, a
// job for each run), and handed out (caller's thread, in order). What is decided depends on the order
// of chunks alone, hence the same result for any number of threads.
#ifndef TARN_CONVERTER_CHUNK_PIPELINE_H
#define TARN_CONVERTER_CHUNK_PIPELINE_H

#include "converter/blob_writer.h"

struct tarn_decided_chunk {
    uint64_t address;
    uint32_t length;
    struct tarn_location location; // a stored one's offset is not set
    struct tarn_digest digest;
};

// Both are called in order of the data space, on the caller's thread.
struct tarn_chunk_output {
    // A decided chunk. 0 or -ENOMEM, which ends everything.
    int (*chunk)(void *context, const struct tarn_decided_chunk *chunk);
    // The stored bytes of the run whose chunks come next.
    int (*run)(void *context, const uint8_t *bytes, size_t length, struct tarn_err *err);
    void *context;
};

int tarn_chunk_pipeline_run(const struct tarn_blob_context *context,
                            const struct tarn_blob_layer *layer,
                            const struct tarn_chunk_output *output,
                            struct tarn_err *err) tarn_must_check;

#endif
