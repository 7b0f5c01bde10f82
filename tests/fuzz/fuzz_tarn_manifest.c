// SPDX-License-Identifier: Apache-2.0
// Any bytes as Tarn's own manifest: what is accepted has its layers in order, ranges inside of the
// blobs, and a bootstrap.
#include <stdlib.h>

#include "registry/tarn_manifest.h"

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tarn_manifest manifest = { 0 };
    struct tarn_err err = { 0 };
    const int ret = tarn_manifest_parse(data, size, "input", &manifest, &err);
    if (ret < 0) {
        must(err.text[0] != '\0');
        return 0;
    }
    must(manifest.json && manifest.chain_count <= manifest.blob_count);
    must(tarn_manifest_is_tarn(manifest.json));
    for (uint32_t i = 0; i < manifest.blob_count; i++) {
        const struct tarn_manifest_blob *blob = &manifest.blobs[i];
        must(blob->foreign == (i >= manifest.chain_count));
        must(blob->metadata_offset <= blob->size &&
             blob->metadata_length <= blob->size - blob->metadata_offset);
    }
    tarn_manifest_release(&manifest);
    return 0;
}
