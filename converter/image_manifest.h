// SPDX-License-Identifier: Apache-2.0
// The documents of a converted image (docs/format.md, section 11): config, manifest, index entry.
#ifndef TARN_CONVERTER_IMAGE_MANIFEST_H
#define TARN_CONVERTER_IMAGE_MANIFEST_H

#include "converter/chain.h"
#include "registry/image_index.h"
#include "registry/repository.h"
#include "registry/tarn_manifest.h"

// A layer of the chain as the manifest names it.
struct tarn_manifest_blob tarn_chain_blob(const struct tarn_chain_layer *layer);

// The one-layer manifest that keeps a converted layer findable (registry/layer_note.h). NULL when out of
// memory.
json_t *tarn_manifest_of_layer(const struct tarn_manifest_blob *blob);

// What the documents are made of.
struct tarn_image_parts {
    const json_t *source_config;           // the original's; NULL for tar: and dir:
    const struct tarn_platform *platform;  // for a config that is made anew
    const struct tarn_descriptor *subject; // the original manifest; NULL for tar: and dir:
    const struct tarn_chain *chain;
    const struct tarn_blob_record *foreign;
    uint32_t foreign_count;
    struct tarn_blob_id bootstrap_layer;
    struct tarn_digest bootstrap_layer_diff_id;
    struct tarn_digest bootstrap_digest;
    struct tarn_digest tree_digest;
};

// NULL when out of memory.
json_t *tarn_image_config(const struct tarn_image_parts *parts);
json_t *tarn_image_manifest(const struct tarn_image_parts *parts,
                            const struct tarn_blob_id *config);
// The index's entry for a Tarn manifest.
json_t *tarn_image_entry(const struct tarn_blob_id *manifest, const struct tarn_digest *subject,
                         const struct tarn_platform *platform);

#endif
