// SPDX-License-Identifier: Apache-2.0
// Stage B of a layer's conversion: data space in, blob out. Cuts, hashes, deduplicates and compresses
// (docs/format.md, sections 4 and 5) on all threads of a pool; the bytes are the same for any number.
//
// Memory: about 9 MiB for each batch in flight, of which there are 3 and one more for every four
// threads; and 56 to 104 bytes a chunk for the table and its index.
#ifndef TARN_CONVERTER_BLOB_WRITER_H
#define TARN_CONVERTER_BLOB_WRITER_H

#include <signal.h>

#include "base/pool.h"
#include "converter/data_space.h"
#include "converter/dedup_index.h"
#include "converter/dict.h"
#include "format/layer_metadata.h"

// Where the blob's bytes go, in order; called on the thread that writes the blob.
struct tarn_blob_output {
    int (*write)(void *context, const void *bytes, size_t length, struct tarn_err *err);
    void *context;
};

// What all layers of one conversion share.
struct tarn_blob_context {
    struct tarn_pool *pool;         // its threads help; the calling thread works too
    struct tarn_dedup_index *index; // stored chunks of the chain so far: {chain index, address}
    struct tarn_dict *dict;         // NULL: none
    int level;
    const volatile sig_atomic_t *cancel; // NULL, or ends the work with -EINTR once it is not 0
    void (*progress)(void *context, uint64_t bytes); // NULL, or told of data-space bytes done
    void *progress_context;
};

struct tarn_blob_layer {
    uint32_t chain_index;
    uint64_t data_length;
    struct tarn_data_space *space;
    struct tarn_tree *tree;               // own tree; contents placed
    const struct tarn_blob_record *lower; // the chain's blobs below, chain_index of them
};

struct tarn_blob_statistics {
    uint64_t chunks;
    uint64_t references;
    uint64_t reference_bytes; // of data space
    uint64_t runs;
};

struct tarn_blob_result {
    struct tarn_blob_record record;    // digest, size, metadata; row fields 0
    struct tarn_tables_builder tables; // as in the layer metadata; the caller releases it
    struct tarn_blob_statistics statistics;
};

int tarn_blob_write(const struct tarn_blob_context *context, const struct tarn_blob_layer *layer,
                    const struct tarn_blob_output *output, struct tarn_blob_result *result,
                    struct tarn_err *err) tarn_must_check;

#endif
