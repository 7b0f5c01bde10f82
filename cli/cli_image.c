// SPDX-License-Identifier: Apache-2.0
#include "cli/cli_image.h"

#include "base/cancel.h"
#include "format/verify.h"

static bool is_interrupted(const void *context)
{
    const struct tarn_image_options *options = context;
    return tarn_cancel_is_set(options->cancel);
}

int tarn_cli_image_open(struct tarn_cli_image *image, const char *name,
                        const struct tarn_image_options *options, struct tarn_err *err)
{
    *image = (struct tarn_cli_image){ 0 };
    struct tarn_platform wanted;
    int ret = tarn_reference_parse(name, &image->reference, err);
    if (ret < 0)
        return ret;
    if (image->reference.kind == TARN_REFERENCE_TAR || image->reference.kind == TARN_REFERENCE_DIR)
        return tarn_fail(err, -EINVAL,
                         "%s is no image; give docker://HOST/REPOSITORY:TAG, oci:DIR:TAG or "
                         "oci-archive:FILE:TAG",
                         name);
    ret = options->platform ? tarn_platform_parse(options->platform, &wanted, err)
                            : tarn_platform_host(&wanted, err);
    if (ret < 0)
        return ret;
    image->blocking = tarn_blocking_new(err);
    if (!image->blocking)
        return -ENOMEM;
    const struct tarn_repository_options repository = {
        .access = &options->access,
        .interrupted = options->cancel ? is_interrupted : NULL,
        .interrupted_context = options,
    };
    ret = tarn_blocking_open(image->blocking, &image->reference, &repository, &image->repository,
                             err);
    if (ret < 0)
        return ret;
    const struct tarn_image_query query = tarn_image_query_of(&image->reference, &wanted);
    ret = tarn_blocking_resolve(image->blocking, image->repository, &query, &image->list, err);
    return ret < 0 ? tarn_repository_wrap(image->repository, ret, name, err) : 0;
}

int tarn_cli_image_load(struct tarn_cli_image *image, struct tarn_err *err)
{
    int ret = tarn_image_load(image->blocking, image->repository, &image->list.images[0],
                              &image->converted, err);
    if (ret == 0)
        ret = tarn_verify_tree(&image->converted.bootstrap, err);
    return ret < 0 ? tarn_repository_wrap(image->repository, ret, image->reference.text, err) : 0;
}

void tarn_cli_image_release(struct tarn_cli_image *image)
{
    tarn_loaded_image_release(&image->converted);
    tarn_image_list_release(&image->list);
    tarn_repository_close(image->repository);
    tarn_blocking_free(image->blocking);
    tarn_reference_release(&image->reference);
}
