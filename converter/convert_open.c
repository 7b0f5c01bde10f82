// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <unistd.h>

#include "converter/convert_internal.h"

#include "base/cancel.h"

void tarn_convert_close(struct tarn_conversion *conversion)
{
    for (size_t i = 0; i < conversion->fetch_count; i++)
        tarn_layer_fetch_free(conversion->fetches[i]);
    free(conversion->fetches);
    tarn_dict_free(conversion->dict);
    tarn_loaded_image_release(&conversion->dict_image);
    tarn_reuse_free(conversion->reuse);
    tarn_repository_close(conversion->from);
    tarn_blocking_free(conversion->from_blocking);
    tarn_repository_close(conversion->copy_to);
    tarn_blocking_free(conversion->copy_blocking);
    tarn_repository_close(conversion->to);
    tarn_blocking_free(conversion->to_blocking);
    tarn_pool_free(conversion->pool);
    tarn_reference_release(&conversion->source);
    tarn_reference_release(&conversion->destination);
    json_decref(conversion->entries);
}

bool tarn_convert_same_registry(const struct tarn_conversion *conversion)
{
    return conversion->source.kind == TARN_REFERENCE_DOCKER &&
           conversion->destination.kind == TARN_REFERENCE_DOCKER &&
           strcmp(conversion->source.host, conversion->destination.host) == 0;
}

static bool is_interrupted(const void *context)
{
    const struct tarn_convert_options *options = context;
    return tarn_cancel_is_set(options->cancel);
}

struct tarn_repository_options
tarn_convert_repository_options(const struct tarn_conversion *conversion, bool create)
{
    return (struct tarn_repository_options){
        .create = create,
        .access = conversion->options->access,
        .interrupted = is_interrupted,
        .interrupted_context = conversion->options,
    };
}

static int open_source(struct tarn_conversion *conversion, struct tarn_err *err)
{
    const enum tarn_reference_kind kind = conversion->source.kind;
    if (kind == TARN_REFERENCE_TAR || kind == TARN_REFERENCE_DIR)
        return 0;
    conversion->from_blocking = tarn_blocking_new(err);
    if (!conversion->from_blocking)
        return -ENOMEM;
    const struct tarn_repository_options options =
        tarn_convert_repository_options(conversion, false);
    return tarn_blocking_open(conversion->from_blocking, &conversion->source, &options,
                              &conversion->from, err);
}

static int open_destination(struct tarn_conversion *conversion, struct tarn_err *err)
{
    const enum tarn_reference_kind kind = conversion->destination.kind;
    if (kind == TARN_REFERENCE_TAR || kind == TARN_REFERENCE_DIR)
        return tarn_fail(err, -EINVAL,
                         "%s is no destination; give docker://HOST/REPOSITORY:TAG, oci:DIR:TAG or "
                         "oci-archive:FILE:TAG",
                         conversion->destination.text);
    if (conversion->destination.has_digest)
        return tarn_fail(err, -EINVAL, "%s: a destination needs a tag, not a digest",
                         conversion->destination.text);
    conversion->to_blocking = tarn_blocking_new(err);
    if (!conversion->to_blocking)
        return -ENOMEM;
    const struct tarn_repository_options options =
        tarn_convert_repository_options(conversion, true);
    return tarn_blocking_open(conversion->to_blocking, &conversion->destination, &options,
                              &conversion->to, err);
}

static int check_referrer(const struct tarn_conversion *conversion, struct tarn_err *err)
{
    if (conversion->destination.kind != TARN_REFERENCE_DOCKER)
        return tarn_fail(err, -EINVAL,
                         "--referrer: %s is no registry; without it Tarn's manifest stands behind "
                         "the original, which stays as it is",
                         conversion->destination.text);
    if (!conversion->from)
        return tarn_fail(err, -EINVAL,
                         "--referrer needs an image that the result refers to, not layers");
    return 0;
}

int tarn_convert_platform(const struct tarn_conversion *conversion, struct tarn_platform *platform,
                          struct tarn_err *err)
{
    return conversion->options->platform
               ? tarn_platform_parse(conversion->options->platform, platform, err)
               : tarn_platform_host(platform, err);
}

// An archive has one writer, so that it takes no blobs by two ways at a time.
static int open_copy(struct tarn_conversion *conversion, struct tarn_err *err)
{
    if (!conversion->from || conversion->options->replace ||
        tarn_convert_same_registry(conversion) ||
        conversion->destination.kind == TARN_REFERENCE_OCI_ARCHIVE)
        return 0;
    conversion->copy_blocking = tarn_blocking_new(err);
    if (!conversion->copy_blocking)
        return -ENOMEM;
    struct tarn_repository_options options = tarn_convert_repository_options(conversion, true);
    options.first_way = conversion->to;
    return tarn_blocking_open(conversion->copy_blocking, &conversion->destination, &options,
                              &conversion->copy_to, err);
}

static unsigned thread_count(const struct tarn_convert_options *options)
{
    if (options->threads > 0)
        return options->threads;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : (unsigned)processors;
}

int tarn_convert_open(struct tarn_conversion *conversion, struct tarn_err *err)
{
    const struct tarn_convert_options *options = conversion->options;
    int ret = tarn_reference_parse(options->destination, &conversion->destination, err);
    if (ret == 0 && options->source)
        ret = tarn_reference_parse(options->source, &conversion->source, err);
    if (ret == 0 && options->source)
        ret = open_source(conversion, err);
    if (ret == 0 && options->referrer)
        ret = check_referrer(conversion, err);
    if (ret == 0)
        ret = open_destination(conversion, err);
    if (ret == 0)
        ret = open_copy(conversion, err);
    if (ret < 0)
        return ret;
    conversion->entries = json_array();
    // The calling thread works too.
    conversion->pool = tarn_pool_new(thread_count(options) - 1, err);
    if (!conversion->pool || !conversion->entries)
        return -ENOMEM;
    if (!options->no_reuse) {
        const struct tarn_repository_options repository_options =
            tarn_convert_repository_options(conversion, false);
        conversion->reuse = tarn_reuse_new(&conversion->destination, &repository_options, err);
        if (!conversion->reuse)
            return -ENOMEM;
    }
    return 0;
}
