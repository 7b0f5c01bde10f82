// SPDX-License-Identifier: Apache-2.0
#include "converter/convert.h"

#include <sys/stat.h>

#include "converter/convert_internal.h"

static void fill_platform(const struct tarn_conversion *conversion, const json_t *config,
                          struct tarn_platform *platform)
{
    if (config && tarn_platform_from_json(config, platform))
        return;
    if (!conversion->options->platform ||
        tarn_platform_parse(conversion->options->platform, platform, NULL) < 0) {
        if (tarn_platform_host(platform, NULL) < 0)
            *platform = (struct tarn_platform){ "linux", "unknown", "" };
    }
}

static int run_job(struct tarn_conversion *conversion, struct tarn_image_job *job,
                   struct tarn_image_result *result, struct tarn_err *err)
{
    const struct tarn_copy copy = {
        .from_blocking = conversion->from_blocking,
        .from = conversion->from,
        .to_blocking = conversion->copy_blocking,
        .to = conversion->copy_to,
        .downloaded = tarn_convert_downloaded,
        .context = conversion,
        .cancel = conversion->options->cancel,
    };
    job->copy = conversion->copy_to ? &copy : NULL;
    job->options = conversion->options;
    job->dict = conversion->dict;
    job->reuse = conversion->reuse;
    // An archive is written whole, in the end: one that holds notes holds the image that they are for too.
    job->notes = !conversion->options->no_layer_tags &&
                 conversion->destination.kind != TARN_REFERENCE_OCI_ARCHIVE;
    job->blocking = conversion->to_blocking;
    job->destination = conversion->to;
    job->pool = conversion->pool;
    fill_platform(conversion, job->source_config, &job->platform);
    const int ret = tarn_image_convert(job, result, conversion->summary, err);
    if (ret < 0)
        return ret;
    conversion->summary->tree_digest = result->tree_digest;
    conversion->summary->manifest_digest = result->manifest.digest;
    if (!job->subject)
        return 0;
    json_t *entry = tarn_image_entry(&result->manifest, &job->subject->digest, &job->platform);
    return json_array_append_new(conversion->entries, entry) < 0
               ? tarn_fail(err, -ENOMEM, "out of memory")
               : 0;
}

static int convert_plain(struct tarn_conversion *conversion, const struct tarn_descriptor *original,
                         struct tarn_image_result *result, struct tarn_err *err)
{
    struct tarn_source_image image;
    int ret = tarn_source_image_open(conversion, original, &image, err);
    if (ret == 0) {
        struct tarn_image_job job = { .layers = image.layers,
                                      .layer_count = image.layer_count,
                                      .source_config = image.config,
                                      .subject = original };
        ret = run_job(conversion, &job, result, err);
    }
    tarn_source_image_release(&image);
    if (conversion->fetch_count > 0)
        tarn_layer_fetch_stop(conversion->fetches[conversion->fetch_count - 1]);
    return ret;
}

static int convert_list(struct tarn_conversion *conversion, const struct tarn_image_list *list,
                        struct tarn_err *err)
{
    const bool many = conversion->options->all_platforms && list->index.json;
    if (conversion->options->replace && list->count > 1)
        return tarn_fail(err, -EINVAL,
                         "--replace needs one image, the index has %zu; choose one "
                         "with --platform",
                         list->count);
    struct tarn_image_result result = { 0 };
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < list->count; i++) {
        const struct tarn_descriptor *original = &list->images[i].original;
        tarn_image_result_release(&result);
        ret = original->json
                  ? convert_plain(conversion, original, &result, err)
                  : tarn_fail(err, -EINVAL,
                              "it is converted already; `tarn export` gives plain layers back");
    }
    const struct tarn_descriptor *published = many ? &list->index : &list->images[0].original;
    if (ret == 0)
        ret = conversion->options->replace
                  ? tarn_convert_publish_tarn(conversion, &result, err)
                  : tarn_convert_publish_original(conversion, published, err);
    tarn_image_result_release(&result);
    return ret;
}

static int convert_repository(struct tarn_conversion *conversion, struct tarn_err *err)
{
    struct tarn_platform platform;
    int ret = tarn_convert_platform(conversion, &platform, err);
    if (ret < 0)
        return ret;
    const struct tarn_image_query query = tarn_image_query_of(
        &conversion->source, conversion->options->all_platforms ? NULL : &platform);
    struct tarn_image_list list;
    ret = tarn_blocking_resolve(conversion->from_blocking, conversion->from, &query, &list, err);
    if (ret == 0) {
        ret = convert_list(conversion, &list, err);
        tarn_image_list_release(&list);
    }
    return ret < 0 ? tarn_repository_wrap(conversion->from, ret, conversion->source.text, err) : 0;
}

static int convert_layers(struct tarn_conversion *conversion,
                          const struct tarn_reference *references, uint32_t count,
                          struct tarn_err *err)
{
    tarn_autofree struct tarn_image_layer *layers = calloc((size_t)count + 1, sizeof *layers);
    if (!layers)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        layers[i].source.kind = references[i].kind == TARN_REFERENCE_DIR
                                    ? TARN_LAYER_SOURCE_DIRECTORY
                                    : TARN_LAYER_SOURCE_FILE;
        layers[i].source.path = references[i].path;
        struct stat st;
        if (references[i].kind == TARN_REFERENCE_TAR && stat(references[i].path, &st) == 0)
            layers[i].source.blob.size = (uint64_t)st.st_size;
    }
    struct tarn_image_job job = { .layers = layers, .layer_count = count };
    struct tarn_image_result result;
    int ret = run_job(conversion, &job, &result, err);
    if (ret < 0)
        return ret;
    ret = tarn_convert_publish_tarn(conversion, &result, err);
    tarn_image_result_release(&result);
    return ret;
}

static int convert_archives(struct tarn_conversion *conversion, struct tarn_err *err)
{
    const uint32_t count = conversion->options->layer_count;
    tarn_autofree struct tarn_reference *references = calloc(count + 1, sizeof *references);
    if (!references)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < count; i++) {
        ret = tarn_reference_parse(conversion->options->layers[i], &references[i], err);
        if (ret == 0 && references[i].kind != TARN_REFERENCE_TAR &&
            references[i].kind != TARN_REFERENCE_DIR)
            ret = tarn_fail(err, -EINVAL, "--layer %s: give tar:FILE or dir:PATH",
                            conversion->options->layers[i]);
    }
    if (ret == 0)
        ret = convert_layers(conversion, references, count, err);
    for (uint32_t i = 0; i < count; i++)
        tarn_reference_release(&references[i]);
    return ret;
}

static int convert_source(struct tarn_conversion *conversion, struct tarn_err *err)
{
    if (!conversion->options->source)
        return convert_archives(conversion, err);
    if (conversion->source.kind == TARN_REFERENCE_TAR ||
        conversion->source.kind == TARN_REFERENCE_DIR)
        return convert_layers(conversion, &conversion->source, 1, err);
    return convert_repository(conversion, err);
}

int tarn_convert(const struct tarn_convert_options *options, struct tarn_convert_summary *summary,
                 struct tarn_err *err)
{
    *summary = (struct tarn_convert_summary){ 0 };
    struct tarn_conversion conversion = { .options = options, .summary = summary };
    int ret = tarn_convert_open(&conversion, err);
    if (ret == 0)
        ret = tarn_convert_open_dict(&conversion, err);
    if (ret == 0)
        ret = convert_source(&conversion, err);
    tarn_convert_close(&conversion);
    return ret;
}
