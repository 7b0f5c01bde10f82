// SPDX-License-Identifier: Apache-2.0
#include "registry/tarn_manifest.h"

#include <string.h>

#include "base/bytes.h"
#include "format/limits.h"

bool tarn_manifest_is_tarn(const json_t *document)
{
    const char *type = tarn_json_string(document, "artifactType");
    return type && strcmp(type, TARN_ARTIFACT_TYPE) == 0;
}

// A required or optional annotation that holds a digest.
static int digest_annotation(const json_t *json, const char *key, struct tarn_digest *digest,
                             struct tarn_err *err)
{
    const char *text = tarn_oci_annotation(json, key);
    if (!text)
        return tarn_fail(err, -EUCLEAN, "the annotation %s is missing", key);
    const int ret = tarn_digest_parse(text, digest, err);
    return ret < 0 ? tarn_wrap(err, -EUCLEAN, "annotation %s", key) : 0;
}

static int number(const char **text, uint64_t *value)
{
    char *end;
    if (**text < '0' || **text > '9')
        return -EINVAL;
    errno = 0;
    const unsigned long long n = strtoull(*text, &end, 10);
    if (errno || *end != ',')
        return -EINVAL;
    *value = n;
    *text = end + 1;
    return 0;
}

// "OFFSET,LENGTH,sha256:..." inside a blob of this size.
static int parse_meta(const char *text, struct tarn_manifest_blob *blob, struct tarn_err *err)
{
    const char *rest = text;
    if (!text || number(&rest, &blob->metadata_offset) < 0 ||
        number(&rest, &blob->metadata_length) < 0 ||
        tarn_digest_parse(rest, &blob->metadata_digest, NULL) < 0)
        return tarn_fail(err, -EUCLEAN, "the annotation %s is not OFFSET,LENGTH,DIGEST",
                         TARN_ANNOTATION_META);
    if (!tarn_range_ok(blob->metadata_offset, blob->metadata_length, blob->size))
        return tarn_fail(err, -EUCLEAN, "the annotation %s points outside of the blob",
                         TARN_ANNOTATION_META);
    if (blob->metadata_length > TARN_METADATA_LIMIT)
        return tarn_fail(err, -EUCLEAN, "the annotation %s has more than 2^32 bytes",
                         TARN_ANNOTATION_META);
    return 0;
}

int tarn_manifest_blob_parse(const struct tarn_descriptor *layer, struct tarn_manifest_blob *blob,
                             struct tarn_err *err)
{
    *blob = (struct tarn_manifest_blob){ 0 };
    if (strcmp(layer->media_type, TARN_MEDIA_TARN_BLOB) != 0)
        return tarn_fail(err, -EUCLEAN, "media type %s where a Tarn blob belongs",
                         layer->media_type);
    blob->digest = layer->digest;
    blob->size = layer->size;
    int ret = parse_meta(tarn_oci_annotation(layer->json, TARN_ANNOTATION_META), blob, err);
    if (ret < 0)
        return ret;
    const char *role = tarn_oci_annotation(layer->json, TARN_ANNOTATION_ROLE);
    blob->foreign = role && strcmp(role, "dict") == 0;
    if (role && !blob->foreign)
        return tarn_fail(err, -ENOTSUP, "unknown role '%s'", role);
    blob->has_source_digest = tarn_oci_annotation(layer->json, TARN_ANNOTATION_SOURCE_DIGEST);
    if (blob->has_source_digest)
        ret = digest_annotation(layer->json, TARN_ANNOTATION_SOURCE_DIGEST, &blob->source_digest,
                                err);
    blob->has_key = tarn_oci_annotation(layer->json, TARN_ANNOTATION_KEY);
    if (ret == 0 && blob->has_key)
        ret = digest_annotation(layer->json, TARN_ANNOTATION_KEY, &blob->key, err);
    return ret;
}

static int parse_bootstrap(struct tarn_manifest *manifest, struct tarn_err *err)
{
    const json_t *json = manifest->bootstrap.json;
    if (strcmp(manifest->bootstrap.media_type, TARN_MEDIA_OCI_LAYER_ZSTD) != 0 ||
        !tarn_oci_annotation(json, TARN_ANNOTATION_BOOTSTRAP))
        return tarn_fail(err, -EUCLEAN, "the last layer is no bootstrap");
    if (manifest->bootstrap.size > TARN_BOOTSTRAP_LAYER_LIMIT)
        return tarn_fail(err, -EUCLEAN, "the bootstrap's layer has more than 2^30 bytes");
    const char *format = tarn_oci_annotation(json, TARN_ANNOTATION_FORMAT);
    if (!format || strcmp(format, "1") != 0)
        return tarn_fail(err, -ENOTSUP,
                         "format version '%s': this program reads version %d; use a newer one",
                         format ? format : "", TARN_FORMAT_VERSION);
    const int ret =
        digest_annotation(json, TARN_ANNOTATION_BOOTSTRAP_DIGEST, &manifest->bootstrap_digest, err);
    return ret < 0
               ? ret
               : digest_annotation(json, TARN_ANNOTATION_TREE_DIGEST, &manifest->tree_digest, err);
}

static int parse_layers(struct tarn_manifest *manifest, struct tarn_err *err)
{
    const json_t *layers = json_object_get(manifest->json, "layers");
    const size_t count = json_array_size(layers);
    if (count < 2 || count > TARN_BLOBS_MAX)
        return tarn_fail(err, -EUCLEAN, "%zu layers; a Tarn image has at least two", count);
    manifest->blobs = calloc(count, sizeof *manifest->blobs);
    if (!manifest->blobs)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        struct tarn_descriptor layer;
        int ret = tarn_descriptor_parse(json_array_get(layers, i), "layer", &layer, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %zu", i);
        if (i + 1 == count) {
            manifest->bootstrap = layer;
            return parse_bootstrap(manifest, err);
        }
        struct tarn_manifest_blob *blob = &manifest->blobs[manifest->blob_count++];
        ret = tarn_manifest_blob_parse(&layer, blob, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %zu", i);
        if (!blob->foreign && manifest->chain_count + 1 < manifest->blob_count)
            return tarn_fail(err, -EUCLEAN, "layer %zu: a layer of the chain behind a dict", i);
        if (!blob->foreign)
            manifest->chain_count++;
    }
    return 0;
}

static int parse(struct tarn_manifest *manifest, struct tarn_err *err)
{
    if (!tarn_manifest_is_tarn(manifest->json))
        return tarn_fail(err, -EUCLEAN, "no Tarn image: artifactType is not %s",
                         TARN_ARTIFACT_TYPE);
    int ret = tarn_descriptor_parse(json_object_get(manifest->json, "config"), "config",
                                    &manifest->config, err);
    const json_t *subject = json_object_get(manifest->json, "subject");
    manifest->has_subject = subject;
    if (ret == 0 && subject)
        ret = tarn_descriptor_parse(subject, "subject", &manifest->subject, err);
    return ret < 0 ? ret : parse_layers(manifest, err);
}

int tarn_manifest_parse(const void *text, size_t length, const char *what,
                        struct tarn_manifest *manifest, struct tarn_err *err)
{
    *manifest = (struct tarn_manifest){ 0 };
    manifest->json = tarn_json_parse(text, length, what, err);
    if (!manifest->json)
        return -EUCLEAN;
    const int ret = parse(manifest, err);
    if (ret < 0) {
        tarn_manifest_release(manifest);
        return tarn_wrap(err, ret, "%s", what);
    }
    return 0;
}

void tarn_manifest_release(struct tarn_manifest *manifest)
{
    json_decref(manifest->json);
    free(manifest->blobs);
    *manifest = (struct tarn_manifest){ 0 };
}
