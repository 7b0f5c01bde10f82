// SPDX-License-Identifier: Apache-2.0
#include "converter/convert_internal.h"

static void note(const struct tarn_conversion *conversion, const char *text)
{
    if (conversion->options->note)
        conversion->options->note(conversion->options->context, text);
}

// Copies the dict image's blobs to the destination; those that cannot be had are left out.
static int copy_blobs(struct tarn_conversion *conversion, const struct tarn_copy *copy,
                      struct tarn_err *err)
{
    const struct tarn_loaded_image *image = &conversion->dict_image;
    const uint32_t count = image->manifest.chain_count;
    tarn_autofree bool *usable = calloc(count, sizeof *usable);
    if (!usable)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        const struct tarn_manifest_blob *blob = &image->manifest.blobs[i];
        const struct tarn_blob_id id = { blob->digest, blob->size };
        struct tarn_err copy_err = { 0 };
        const int ret = tarn_copy_blob(copy, &id, &copy_err);
        if (ret == -ENOSPC || ret == -ENOMEM || ret == -EINTR)
            return tarn_fail(err, ret, "%s", copy_err.text);
        usable[i] = ret == 0;
        if (ret < 0) {
            tarn_err_prepend(&copy_err, "warning: a dict blob is left out");
            note(conversion, copy_err.text);
        }
    }
    conversion->dict = tarn_dict_new(&image->bootstrap.tables, count, usable);
    return conversion->dict ? 0 : tarn_fail(err, -ENOMEM, "out of memory for the dict's chunks");
}

static int load(struct tarn_conversion *conversion, const struct tarn_copy *copy,
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
    ret = tarn_image_load(copy->from_blocking, copy->from, &list.images[0], &conversion->dict_image,
                          err);
    tarn_image_list_release(&list);
    return ret < 0 ? ret : copy_blobs(conversion, copy, err);
}

static int open_dict(struct tarn_conversion *conversion, const struct tarn_reference *reference,
                     struct tarn_err *err)
{
    if (reference->kind == TARN_REFERENCE_TAR || reference->kind == TARN_REFERENCE_DIR)
        return tarn_fail(err, -EINVAL,
                         "it is no image; give docker://HOST/REPOSITORY:TAG, oci:DIR:TAG or "
                         "oci-archive:FILE:TAG");
    struct tarn_copy copy = { .to_blocking = conversion->to_blocking,
                              .to = conversion->to,
                              .cancel = conversion->options->cancel };
    copy.from_blocking = tarn_blocking_new(err);
    if (!copy.from_blocking)
        return -ENOMEM;
    const struct tarn_repository_options options =
        tarn_convert_repository_options(conversion, false);
    int ret = tarn_blocking_open(copy.from_blocking, reference, &options, &copy.from, err);
    if (ret == 0)
        ret = load(conversion, &copy, reference, err);
    tarn_repository_close(copy.from);
    tarn_blocking_free(copy.from_blocking);
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
    ret = open_dict(conversion, &reference, err);
    if (ret < 0)
        tarn_wrap(err, ret, "--dict %s", reference.text);
    tarn_reference_release(&reference);
    return ret;
}
