// SPDX-License-Identifier: Apache-2.0
#include "converter/convert_internal.h"

static void note(const struct tarn_conversion *conversion, const char *text)
{
    if (conversion->options->note)
        conversion->options->note(conversion->options->context, text);
}

// Copies the dict image's blobs to the destination; those that cannot be had are left out.
static int copy_dict(struct tarn_conversion *conversion, const struct tarn_copy *copy,
                     const struct tarn_manifest *manifest, struct tarn_err *err)
{
    tarn_autofree bool *usable = calloc(manifest->chain_count, sizeof *usable);
    if (!usable)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < manifest->chain_count; i++) {
        const struct tarn_blob_id blob = { manifest->blobs[i].digest, manifest->blobs[i].size };
        struct tarn_err copy_err = { 0 };
        const int ret = tarn_copy_blob(copy, &blob, &copy_err);
        if (ret == -ENOSPC || ret == -ENOMEM)
            return tarn_fail(err, ret, "%s", copy_err.text);
        usable[i] = ret == 0;
        if (ret < 0) {
            tarn_err_prepend(&copy_err, "warning: a dict blob is left out");
            note(conversion, copy_err.text);
        }
    }
    conversion->dict =
        tarn_dict_new(&conversion->dict_tables.tables, manifest->chain_count, usable);
    return conversion->dict ? 0 : tarn_fail(err, -ENOMEM, "out of memory for the dict's chunks");
}

static int load_dict(struct tarn_conversion *conversion, struct tarn_copy *copy,
                     const struct tarn_reference *reference, struct tarn_err *err)
{
    struct tarn_platform platform;
    int ret = tarn_convert_platform(conversion, &platform, err);
    if (ret < 0)
        return ret;
    const struct tarn_image_query query = tarn_image_query_of(reference, &platform);
    struct tarn_image_list list;
    ret = tarn_blocking_resolve(copy->from_blocking, copy->from, &query, &list, err);
    if (ret < 0)
        return ret;
    struct tarn_manifest manifest = { 0 };
    if (!list.images[0].tarn.json)
        ret = tarn_fail(err, -EINVAL, "the image is not converted; convert it first");
    else
        ret = tarn_image_read_manifest(copy->from_blocking, copy->from, &list.images[0].tarn,
                                       &manifest, err);
    tarn_image_list_release(&list);
    if (ret == 0)
        ret = tarn_image_read_bootstrap(copy->from_blocking, copy->from, &manifest,
                                        &conversion->dict_bootstrap, err);
    if (ret == 0)
        ret = tarn_bootstrap_open(conversion->dict_bootstrap.data,
                                  conversion->dict_bootstrap.length, &conversion->dict_tables, err);
    if (ret == 0 && conversion->dict_tables.chain_count != manifest.chain_count)
        ret = tarn_fail(err, -EUCLEAN, "manifest and bootstrap have different numbers of layers");
    if (ret == 0)
        ret = copy_dict(conversion, copy, &manifest, err);
    tarn_manifest_release(&manifest);
    return ret;
}

int tarn_convert_open_dict(struct tarn_conversion *conversion, struct tarn_err *err)
{
    if (!conversion->options->dict)
        return 0;
    struct tarn_reference reference;
    int ret = tarn_reference_parse(conversion->options->dict, &reference, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "--dict");
    struct tarn_copy copy = { .to_blocking = conversion->to_blocking, .to = conversion->to };
    copy.from_blocking = tarn_blocking_new(err);
    const struct tarn_repository_options options = { .access = conversion->options->access };
    ret = copy.from_blocking
              ? tarn_blocking_open(copy.from_blocking, &reference, &options, &copy.from, err)
              : -ENOMEM;
    if (ret == 0)
        ret = load_dict(conversion, &copy, &reference, err);
    tarn_repository_close(copy.from);
    tarn_blocking_free(copy.from_blocking);
    if (ret < 0)
        tarn_wrap(err, ret, "--dict %s", reference.text);
    tarn_reference_release(&reference);
    return ret;
}
