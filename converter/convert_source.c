// SPDX-License-Identifier: Apache-2.0
#include "converter/convert_internal.h"

static int fill_layer(const struct tarn_conversion *conversion, const json_t *json,
                      const char *diff_id, struct tarn_image_layer *layer, struct tarn_err *err)
{
    struct tarn_descriptor descriptor;
    enum tarn_layer_kind kind;
    int ret = tarn_descriptor_parse(json, "descriptor", &descriptor, err);
    if (ret == 0)
        ret = tarn_layer_kind(descriptor.media_type, &kind, err);
    if (ret == 0 && kind != TARN_LAYER_TAR)
        ret = tarn_fail(err, -EINVAL,
                        "it is converted already; `tarn export` gives plain layers back");
    if (ret == 0)
        ret = tarn_digest_parse(diff_id ? diff_id : "", &layer->diff_id, err);
    if (ret < 0)
        return ret;
    layer->has_diff_id = true;
    layer->source = (struct tarn_layer_source){
        .kind = TARN_LAYER_SOURCE_BLOB,
        .blocking = conversion->from_blocking,
        .repository = conversion->from,
        .blob = { descriptor.digest, descriptor.size },
    };
    return 0;
}

static int fill_layers(const struct tarn_conversion *conversion, const json_t *manifest,
                       struct tarn_source_image *image, struct tarn_err *err)
{
    const json_t *descriptors = json_object_get(manifest, "layers");
    const json_t *diff_ids = json_object_get(json_object_get(image->config, "rootfs"), "diff_ids");
    const size_t count = json_array_size(descriptors);
    if (count == 0)
        return tarn_fail(err, -EINVAL, "the manifest has 0 layers, there is nothing to convert");
    if (count > TARN_BLOBS_MAX)
        return tarn_fail(err, -EUCLEAN, "the manifest has %zu layers, more than %d", count,
                         TARN_BLOBS_MAX);
    if (json_array_size(diff_ids) != count)
        return tarn_fail(err, -EUCLEAN, "the manifest has %zu layers, its config %zu diff_ids",
                         count, json_array_size(diff_ids));
    image->layer_count = (uint32_t)count;
    image->layers = calloc(count, sizeof *image->layers);
    if (!image->layers)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const int ret =
            fill_layer(conversion, json_array_get(descriptors, i),
                       json_string_value(json_array_get(diff_ids, i)), &image->layers[i], err);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %zu", i);
    }
    return 0;
}

// Has the layers of an image at a registry downloaded side by side.
static int start_fetch(struct tarn_conversion *conversion, struct tarn_source_image *image,
                       struct tarn_err *err)
{
    if (conversion->source.kind != TARN_REFERENCE_DOCKER)
        return 0;
    tarn_autofree struct tarn_blob_id *blobs = calloc(image->layer_count, sizeof *blobs);
    struct tarn_layer_fetch **fetches =
        reallocarray(conversion->fetches, conversion->fetch_count + 1, sizeof *fetches);
    if (fetches)
        conversion->fetches = fetches;
    if (!blobs || !fetches)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < image->layer_count; i++)
        blobs[i] = image->layers[i].source.blob;
    const struct tarn_layer_fetch_options options = {
        .source = &conversion->source,
        .access = conversion->options->access,
        .cancel = conversion->options->cancel,
        .layers = blobs,
        .layer_count = image->layer_count,
        .keep = !tarn_convert_same_registry(conversion) && !conversion->options->replace,
    };
    struct tarn_layer_fetch *fetch = tarn_layer_fetch_new(&options);
    if (!fetch)
        return tarn_fail(err, -ENOMEM, "out of memory");
    fetches[conversion->fetch_count++] = fetch;
    for (uint32_t i = 0; i < image->layer_count; i++) {
        image->layers[i].source.fetch = fetch;
        image->layers[i].source.fetch_index = i;
    }
    return 0;
}

int tarn_source_image_open(struct tarn_conversion *conversion,
                           const struct tarn_descriptor *original, struct tarn_source_image *image,
                           struct tarn_err *err)
{
    *image = (struct tarn_source_image){ 0 };
    tarn_autojson json_t *manifest = tarn_image_read_json(
        conversion->from_blocking, conversion->from, original, "the original's manifest", err);
    if (!manifest)
        return -EUCLEAN;
    struct tarn_descriptor config;
    int ret = tarn_descriptor_parse(json_object_get(manifest, "config"), "config", &config, err);
    if (ret < 0)
        return ret;
    image->config = tarn_image_read_json(conversion->from_blocking, conversion->from, &config,
                                         "the config", err);
    if (!image->config)
        return -EUCLEAN;
    ret = fill_layers(conversion, manifest, image, err);
    return ret == 0 ? start_fetch(conversion, image, err) : ret;
}

void tarn_source_image_release(struct tarn_source_image *image)
{
    json_decref(image->config);
    free(image->layers);
}

int tarn_convert_downloaded(void *context, const struct tarn_digest *digest)
{
    const struct tarn_conversion *conversion = context;
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < conversion->fetch_count; i++)
        fd = tarn_layer_fetch_file(conversion->fetches[i], digest);
    return fd;
}
