// SPDX-License-Identifier: Apache-2.0
#include "converter/image_manifest.h"

#include <inttypes.h>

#include "base/file.h"
#include "registry/layer_note.h"

// A string member in fresh memory; whoever builds on sees NULL in the end.
static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text ? json_string(text) : NULL);
}

static void set_digest(json_t *object, const char *key, const struct tarn_digest *digest)
{
    char text[TARN_DIGEST_TEXT];
    set_text(object, key, tarn_digest_format(digest, text));
}

static json_t *digest_json(const struct tarn_digest *digest)
{
    char text[TARN_DIGEST_TEXT];
    return json_string(tarn_digest_format(digest, text));
}

// The descriptor of a converted layer, with all annotations.
static json_t *blob_descriptor(const struct tarn_manifest_blob *blob)
{
    json_t *annotations = json_object();
    char text[TARN_DIGEST_TEXT];
    tarn_autofree char *meta =
        tarn_asprintf("%" PRIu64 ",%" PRIu64 ",%s", blob->metadata_offset, blob->metadata_length,
                      tarn_digest_format(&blob->metadata_digest, text));
    set_text(annotations, TARN_ANNOTATION_BLOB, "true");
    set_text(annotations, TARN_ANNOTATION_META, meta);
    if (blob->foreign)
        set_text(annotations, TARN_ANNOTATION_ROLE, "dict");
    if (blob->has_source_digest)
        set_digest(annotations, TARN_ANNOTATION_SOURCE_DIGEST, &blob->source_digest);
    if (blob->has_key)
        set_digest(annotations, TARN_ANNOTATION_KEY, &blob->key);
    json_t *descriptor = tarn_descriptor_json(TARN_MEDIA_TARN_BLOB, &blob->digest, blob->size);
    json_object_set_new(descriptor, "annotations", annotations);
    return descriptor;
}

static json_t *new_manifest(void)
{
    return json_pack("{s:s, s:s, s:i, s:[]}", "artifactType", TARN_ARTIFACT_TYPE, "mediaType",
                     TARN_MEDIA_OCI_MANIFEST, "schemaVersion", 2, "layers");
}

json_t *tarn_manifest_of_layer(const struct tarn_manifest_blob *blob)
{
    tarn_autojson json_t *descriptor = blob_descriptor(blob);
    return tarn_layer_note(descriptor);
}

static struct tarn_manifest_blob blob_of_record(const struct tarn_blob_record *record)
{
    return (struct tarn_manifest_blob){
        .digest = record->digest,
        .size = record->size,
        .metadata_offset = record->metadata_offset,
        .metadata_length = record->metadata_length,
        .metadata_digest = record->metadata_digest,
    };
}

struct tarn_manifest_blob tarn_chain_blob(const struct tarn_chain_layer *layer)
{
    struct tarn_manifest_blob blob = blob_of_record(&layer->record);
    blob.has_key = true;
    blob.key = layer->key;
    blob.has_source_digest = !tarn_digest_is_zero(&layer->source_digest);
    blob.source_digest = layer->source_digest;
    return blob;
}

static json_t *bootstrap_descriptor(const struct tarn_image_parts *parts)
{
    json_t *annotations = json_object();
    set_text(annotations, TARN_ANNOTATION_BOOTSTRAP, "true");
    set_text(annotations, TARN_ANNOTATION_FORMAT, "1");
    set_digest(annotations, TARN_ANNOTATION_BOOTSTRAP_DIGEST, &parts->bootstrap_digest);
    set_digest(annotations, TARN_ANNOTATION_TREE_DIGEST, &parts->tree_digest);
    json_t *descriptor = tarn_descriptor_json(
        TARN_MEDIA_OCI_LAYER_ZSTD, &parts->bootstrap_layer.digest, parts->bootstrap_layer.size);
    json_object_set_new(descriptor, "annotations", annotations);
    return descriptor;
}

json_t *tarn_image_manifest(const struct tarn_image_parts *parts, const struct tarn_blob_id *config)
{
    json_t *manifest = new_manifest();
    json_t *layers = json_object_get(manifest, "layers");
    json_object_set_new(manifest, "config",
                        tarn_descriptor_json(TARN_MEDIA_OCI_CONFIG, &config->digest, config->size));
    if (parts->subject)
        json_object_set_new(manifest, "subject",
                            tarn_descriptor_json(parts->subject->media_type,
                                                 &parts->subject->digest, parts->subject->size));
    for (uint32_t i = 0; i < parts->chain->count; i++) {
        const struct tarn_manifest_blob blob = tarn_chain_blob(&parts->chain->layers[i]);
        json_array_append_new(layers, blob_descriptor(&blob));
    }
    for (uint32_t i = 0; i < parts->foreign_count; i++) {
        struct tarn_manifest_blob blob = blob_of_record(&parts->foreign[i]);
        blob.foreign = true;
        json_array_append_new(layers, blob_descriptor(&blob));
    }
    json_array_append_new(layers, bootstrap_descriptor(parts));
    return manifest;
}

static void add_history(json_t *history, const char *comment)
{
    json_array_append_new(history,
                          json_pack("{s:s, s:s}", "comment", comment, "created_by", "tarn"));
}

// The original's history (for tar: and dir: an entry for each layer), and an entry for each layer that
// is not one of the source's.
static json_t *make_history(const struct tarn_image_parts *parts)
{
    const json_t *original = json_object_get(parts->source_config, "history");
    json_t *history = original ? json_deep_copy(original) : json_array();
    for (uint32_t i = 0; !original && i < parts->chain->count; i++)
        add_history(history, "layer");
    for (uint32_t i = 0; i < parts->foreign_count; i++)
        add_history(history, "dict blob");
    add_history(history, "bootstrap");
    return history;
}

static json_t *new_config(const struct tarn_platform *platform)
{
    json_t *config = json_pack("{s:s, s:s, s:{}}", "architecture", platform->architecture, "os",
                               platform->os, "config");
    if (platform->variant[0])
        set_text(config, "variant", platform->variant);
    return config;
}

json_t *tarn_image_config(const struct tarn_image_parts *parts)
{
    json_t *config =
        parts->source_config ? json_deep_copy(parts->source_config) : new_config(parts->platform);
    json_t *diff_ids = json_array();
    for (uint32_t i = 0; i < parts->chain->count; i++)
        json_array_append_new(diff_ids, digest_json(&parts->chain->layers[i].record.digest));
    for (uint32_t i = 0; i < parts->foreign_count; i++)
        json_array_append_new(diff_ids, digest_json(&parts->foreign[i].digest));
    json_array_append_new(diff_ids, digest_json(&parts->bootstrap_layer_diff_id));
    json_object_set_new(config, "rootfs",
                        json_pack("{s:o, s:s}", "diff_ids", diff_ids, "type", "layers"));
    // Without a history of its own, an original's layers stay without one.
    if (!parts->source_config || json_is_array(json_object_get(config, "history")))
        json_object_set_new(config, "history", make_history(parts));
    return config;
}

json_t *tarn_image_entry(const struct tarn_blob_id *manifest, const struct tarn_digest *subject,
                         const struct tarn_platform *platform)
{
    char text[TARN_PLATFORM_TEXT];
    json_t *annotations = json_object();
    set_digest(annotations, TARN_ANNOTATION_SUBJECT, subject);
    set_text(annotations, TARN_ANNOTATION_PLATFORM, tarn_platform_format(platform, text));
    json_t *entry =
        tarn_descriptor_json(TARN_MEDIA_OCI_MANIFEST, &manifest->digest, manifest->size);
    set_text(entry, "artifactType", TARN_ARTIFACT_TYPE);
    json_object_set_new(entry, "annotations", annotations);
    json_object_set_new(entry, "platform",
                        json_pack("{s:s, s:s}", "architecture", "unknown", "os", "unknown"));
    return entry;
}
