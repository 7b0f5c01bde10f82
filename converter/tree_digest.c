// SPDX-License-Identifier: Apache-2.0
#include "converter/tree_digest.h"

#include "converter/layer_reader.h"
#include "format/layer_metadata.h"
#include "format/listing.h"
#include "format/merge.h"
#include "registry/image_reader.h"

// Applies a layer that is read from its source.
static int merge_source(struct tarn_tree *merged, const struct tarn_layer_source *source,
                        struct tarn_err *err)
{
    const struct tarn_layer_read_options options = { .measure = true };
    struct tarn_layer_input input;
    int ret = tarn_layer_read(source, &options, &input, err);
    if (ret < 0)
        return ret;
    tarn_tree_sort(input.tree);
    ret = tarn_merge_layer(merged, input.tree, err);
    tarn_layer_input_release(&input);
    return ret;
}

static int finish(struct tarn_tree *merged, struct tarn_digest *digest, struct tarn_err *err)
{
    const int ret = tarn_listing_digest(merged, digest);
    return ret < 0 ? tarn_fail(err, ret, "out of memory for the tree's listing") : 0;
}

int tarn_tree_digest_path(const struct tarn_reference *reference, struct tarn_digest *digest,
                          struct tarn_err *err)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *merged = tarn_merge_new();
    if (!merged)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_layer_source source = {
        .kind = reference->kind == TARN_REFERENCE_DIR ? TARN_LAYER_SOURCE_DIRECTORY
                                                      : TARN_LAYER_SOURCE_FILE,
        .path = reference->path,
    };
    const int ret = merge_source(merged, &source, err);
    return ret < 0 ? ret : finish(merged, digest, err);
}

static int merge_original(struct tarn_blocking *blocking, struct tarn_repository *repository,
                          const struct tarn_descriptor *original, struct tarn_tree *merged,
                          struct tarn_err *err)
{
    tarn_autojson json_t *manifest =
        tarn_image_read_json(blocking, repository, original, "manifest", err);
    if (!manifest)
        return -EUCLEAN;
    size_t i;
    json_t *json;
    json_array_foreach(json_object_get(manifest, "layers"), i, json)
    {
        struct tarn_descriptor layer;
        enum tarn_layer_kind kind;
        int ret = tarn_descriptor_parse(json, "descriptor", &layer, err);
        if (ret == 0)
            ret = tarn_layer_kind(layer.media_type, &kind, err);
        if (ret == 0) {
            const struct tarn_layer_source source = {
                .kind = TARN_LAYER_SOURCE_BLOB,
                .blocking = blocking,
                .repository = repository,
                .blob = { layer.digest, layer.size },
            };
            ret = merge_source(merged, &source, err);
        }
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %zu", i);
    }
    return 0;
}

static int merge_converted(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_manifest *manifest, struct tarn_tree *merged,
                           struct tarn_err *err)
{
    for (uint32_t i = 0; i < manifest->chain_count; i++) {
        tarn_autobuf struct tarn_buf bytes = { 0 };
        struct tarn_layer_metadata metadata = { 0 };
        int ret = tarn_image_read_metadata(blocking, repository, &manifest->blobs[i], &bytes, err);
        if (ret == 0)
            ret = tarn_layer_metadata_read(bytes.data, bytes.length, &metadata, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %u", i);
        ret = tarn_merge_layer(merged, metadata.tree, err);
        tarn_layer_metadata_release(&metadata);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %u", i);
    }
    return 0;
}

static int digest_converted(struct tarn_blocking *blocking, struct tarn_repository *repository,
                            const struct tarn_descriptor *converted, struct tarn_digest *digest,
                            struct tarn_err *err)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *merged = tarn_merge_new();
    if (!merged)
        return tarn_fail(err, -ENOMEM, "out of memory");
    struct tarn_manifest manifest;
    int ret = tarn_image_read_manifest(blocking, repository, converted, &manifest, err);
    if (ret < 0)
        return ret;
    ret = merge_converted(blocking, repository, &manifest, merged, err);
    if (ret == 0)
        ret = finish(merged, digest, err);
    char found[TARN_DIGEST_TEXT];
    char stated[TARN_DIGEST_TEXT];
    if (ret == 0 && !tarn_digest_equal(digest, &manifest.tree_digest))
        ret = tarn_fail(err, -EUCLEAN, "the tree's digest is %s, the manifest states %s",
                        tarn_digest_format(digest, found),
                        tarn_digest_format(&manifest.tree_digest, stated));
    tarn_manifest_release(&manifest);
    return ret;
}

static int digest_original(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_descriptor *original, struct tarn_digest *digest,
                           struct tarn_err *err)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *merged = tarn_merge_new();
    if (!merged)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const int ret = merge_original(blocking, repository, original, merged, err);
    return ret < 0 ? ret : finish(merged, digest, err);
}

int tarn_tree_digest_image(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_image *image, struct tarn_digest *digest,
                           struct tarn_err *err)
{
    const int ret = image->tarn.json
                        ? digest_converted(blocking, repository, &image->tarn, digest, err)
                        : digest_original(blocking, repository, &image->original, digest, err);
    return ret < 0 ? tarn_wrap(err, ret, "%s", tarn_repository_name(repository)) : 0;
}
