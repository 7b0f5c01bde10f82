// SPDX-License-Identifier: Apache-2.0
#include "registry/layer_note.h"

#include "registry/oci.h"

void tarn_layer_note_config(struct tarn_digest *digest)
{
    tarn_sha256("{}", 2, digest);
}

json_t *tarn_layer_note(const json_t *blob)
{
    struct tarn_digest config;
    tarn_layer_note_config(&config);
    json_t *copy = json_deep_copy(blob);
    return json_pack("{s:s, s:o, s:[o], s:s, s:i}", "artifactType", TARN_ARTIFACT_TYPE, "config",
                     tarn_descriptor_json(TARN_MEDIA_OCI_EMPTY, &config, 2), "layers", copy,
                     "mediaType", TARN_MEDIA_OCI_MANIFEST, "schemaVersion", 2);
}
