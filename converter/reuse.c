// SPDX-License-Identifier: Apache-2.0
// Manifests that may hold a key are listed by the repository (TARN_READ_LAYERS); each is read once and
// remembered. Nothing that is found here can fail a conversion: what cannot be used is converted again.
#include "converter/reuse.h"

#include <string.h>

#include "converter/image_manifest.h"
#include "registry/image_reader.h"
#include "registry/layer_note.h"

struct tarn_reuse {
    struct tarn_blocking *blocking;
    struct tarn_repository *repository; // NULL: the destination does not exist yet
    char *tag;                          // of the destination
    json_t *manifests;                  // object: digest text -> manifest document
};

struct tarn_reuse *tarn_reuse_new(const struct tarn_reference *destination,
                                  const struct tarn_repository_options *options,
                                  struct tarn_err *err)
{
    tarn_cleanup(tarn_reuse_free_p) struct tarn_reuse *reuse = calloc(1, sizeof *reuse);
    if (reuse) {
        reuse->manifests = json_object();
        reuse->tag = strdup(tarn_reference_tag(destination));
    }
    if (!reuse || !reuse->manifests || !reuse->tag) {
        tarn_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    reuse->blocking = tarn_blocking_new(err);
    if (!reuse->blocking)
        return NULL;
    const int ret =
        tarn_blocking_open(reuse->blocking, destination, options, &reuse->repository, NULL);
    if (ret < 0)
        reuse->repository = NULL;
    return tarn_steal(reuse);
}

void tarn_reuse_free(struct tarn_reuse *reuse)
{
    if (!reuse)
        return;
    tarn_repository_close(reuse->repository);
    tarn_blocking_free(reuse->blocking);
    json_decref(reuse->manifests);
    free(reuse->tag);
    free(reuse);
}

static json_t *read_document(struct tarn_reuse *reuse, const struct tarn_read *read)
{
    tarn_autobuf struct tarn_buf text = { 0 };
    if (tarn_blocking_read_buf(reuse->blocking, reuse->repository, read, &text, NULL) < 0)
        return NULL;
    return tarn_json_parse(text.data, text.length, "manifest", NULL);
}

// The manifest that a descriptor names, borrowed; NULL if it cannot be read.
static const json_t *manifest_of(struct tarn_reuse *reuse, const json_t *entry)
{
    struct tarn_descriptor descriptor;
    if (tarn_descriptor_parse(entry, "entry", &descriptor, NULL) < 0)
        return NULL;
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(&descriptor.digest, text);
    const json_t *known = json_object_get(reuse->manifests, text);
    if (known)
        return known;
    const struct tarn_read read = { .kind = TARN_READ_MANIFEST, .digest = descriptor.digest };
    json_t *manifest = read_document(reuse, &read);
    if (manifest)
        json_object_set_new(reuse->manifests, text, manifest);
    return manifest;
}

// The blob with this key in a Tarn manifest.
static bool find_in_manifest(const json_t *manifest, const struct tarn_digest *key,
                             struct tarn_manifest_blob *blob)
{
    size_t i;
    json_t *layer;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        struct tarn_descriptor descriptor;
        if (tarn_descriptor_parse(layer, "layer", &descriptor, NULL) < 0 ||
            tarn_manifest_blob_parse(&descriptor, blob, NULL) < 0)
            continue;
        if (blob->has_key && !blob->foreign && tarn_digest_equal(&blob->key, key))
            return true;
    }
    return false;
}

static bool find_blob(struct tarn_reuse *reuse, const struct tarn_digest *key,
                      struct tarn_manifest_blob *blob)
{
    // The manifest that had the layer below has this one too, as a rule: the repository is not asked.
    const char *digest;
    json_t *known;
    json_object_foreach(reuse->manifests, digest, known)
    {
        if (find_in_manifest(known, key, blob))
            return true;
    }
    const struct tarn_read read = { .kind = TARN_READ_LAYERS, .tag = reuse->tag, .digest = *key };
    tarn_autojson json_t *index = read_document(reuse, &read);
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(index, "manifests"), i, entry)
    {
        const json_t *manifest = manifest_of(reuse, entry);
        if (manifest && find_in_manifest(manifest, key, blob))
            return true;
    }
    return false;
}

// Reads and checks the layer metadata of a blob that was found.
static int read_metadata(struct tarn_reuse *reuse, const struct tarn_manifest_blob *blob,
                         struct tarn_layer_metadata *metadata)
{
    const struct tarn_blob_id id = { blob->digest, blob->size };
    int ret = tarn_blocking_has_blob(reuse->blocking, reuse->repository, &id, NULL);
    if (ret < 0)
        return ret;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    ret = tarn_image_read_metadata(reuse->blocking, reuse->repository, blob, &bytes, NULL);
    return ret < 0 ? ret : tarn_layer_metadata_read(bytes.data, bytes.length, metadata, NULL);
}

int tarn_reuse_find(struct tarn_reuse *reuse, const struct tarn_digest *key,
                    struct tarn_reused_layer *layer, struct tarn_err *err)
{
    *layer = (struct tarn_reused_layer){ 0 };
    if (!reuse->repository || !find_blob(reuse, key, &layer->blob))
        return 0;
    const int ret = read_metadata(reuse, &layer->blob, &layer->metadata);
    if (ret == -ENOMEM)
        return tarn_fail(err, ret, "out of memory for layer metadata");
    return ret == 0;
}

// The index's entry for a one-layer manifest.
static json_t *layer_entry(const char *manifest, const struct tarn_digest *key)
{
    struct tarn_digest digest;
    char text[TARN_DIGEST_TEXT];
    tarn_sha256(manifest, strlen(manifest), &digest);
    json_t *entry = tarn_descriptor_json(TARN_MEDIA_OCI_MANIFEST, &digest, strlen(manifest));
    json_object_set_new(entry, "artifactType", json_string(TARN_ARTIFACT_TYPE));
    json_object_set_new(entry, "annotations",
                        json_pack("{s:s}", TARN_ANNOTATION_KEY, tarn_digest_format(key, text)));
    return entry;
}

int tarn_reuse_note(struct tarn_blocking *blocking, struct tarn_repository *repository,
                    const struct tarn_manifest_blob *blob, struct tarn_err *err)
{
    tarn_autojson json_t *manifest = tarn_manifest_of_layer(blob);
    tarn_autofree char *text = manifest ? tarn_json_dump(manifest) : NULL;
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_manifest_bytes bytes = { TARN_MEDIA_OCI_MANIFEST, text, strlen(text) };
    const struct tarn_buf empty = { (uint8_t *)(uintptr_t) "{}", 2, 2 };
    struct tarn_blob_id config = { .size = empty.length };
    tarn_layer_note_config(&config.digest);
    // Mostly it is there, from the layer before.
    int ret = tarn_blocking_has_blob(blocking, repository, &config, NULL);
    if (ret < 0)
        ret = tarn_blocking_put_blob(blocking, repository, &empty, NULL, err);
    if (ret == 0)
        ret = tarn_blocking_put_manifest(blocking, repository, &bytes, err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *entries = json_array();
    if (json_array_append_new(entries, layer_entry(text, &blob->key)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_publication publication = { .tarn = entries };
    return tarn_blocking_publish(blocking, repository, &publication, err);
}
