// SPDX-License-Identifier: Apache-2.0
// What the conversion of one image knows of the layers so far: their results, the merged tree, the
// contents and chunks that they hold, and their keys.
//
// Stage A's thread owns merged and writes a layer's key; stage B's owns the rest. Both are
// joined before tarn_chain_bootstrap().
#ifndef TARN_CONVERTER_CHAIN_H
#define TARN_CONVERTER_CHAIN_H

#include "converter/blob_writer.h"
#include "format/bootstrap.h"

// One layer that is done.
struct tarn_chain_layer {
    struct tarn_blob_record record;
    struct tarn_tables_builder tables; // of its metadata
    struct tarn_digest key;
    struct tarn_digest source_digest; // zero: from a directory
    struct tarn_blob_statistics statistics;
};

struct tarn_chain {
    struct tarn_tree *merged;
    struct tarn_dedup_index *chunks;
    struct tarn_dict *dict; // borrowed; NULL: none
    int level;
    struct tarn_chain_layer *layers; // capacity of them
    uint32_t capacity;
    uint32_t count; // those that are done
};

int tarn_chain_init(struct tarn_chain *chain, uint32_t capacity) tarn_must_check; // 0, -ENOMEM
void tarn_chain_release(struct tarn_chain *chain);

// The key of layer i (docs/format.md, section 11), of which i - 1's is known.
void tarn_chain_key(const struct tarn_chain *chain, uint32_t i, const struct tarn_digest *diff_id,
                    struct tarn_digest *key);

// The records of all layers that are done, in fresh memory (at least one element). NULL: no memory.
struct tarn_blob_record *tarn_chain_records(const struct tarn_chain *chain);

// Takes over a layer that was converted before. Its metadata must have been made for this chain:
// -ESTALE if not. Stage B's part; stage A's is tarn_merge_layer().
int tarn_chain_adopt(struct tarn_chain *chain, const struct tarn_layer_metadata *metadata,
                     struct tarn_err *err) tarn_must_check;

// Builds the bootstrap of all layers, whose tree has this digest; appends to out.
int tarn_chain_bootstrap(struct tarn_chain *chain, const struct tarn_digest *tree_digest,
                         struct tarn_buf *out, struct tarn_err *err) tarn_must_check;

// Frees what only converting layers and building the bootstrap needs.
void tarn_chain_drop_trees(struct tarn_chain *chain);

// The foreign blobs that the layers refer to, by first reference: the caller frees *records.
int tarn_chain_foreign(const struct tarn_chain *chain, struct tarn_blob_record **records,
                       uint32_t *count) tarn_must_check;

#endif
