// SPDX-License-Identifier: Apache-2.0
#include "converter/convert_internal.h"

static int publish(struct tarn_conversion *conversion, const struct tarn_publication *publication,
                   struct tarn_err *err)
{
    return tarn_blocking_publish(conversion->to_blocking, conversion->to, publication, err);
}

// The tag shows Tarn's manifest alone.
int tarn_convert_publish_tarn(struct tarn_conversion *conversion,
                              const struct tarn_image_result *result, struct tarn_err *err)
{
    tarn_autojson json_t *descriptor = tarn_descriptor_json(
        TARN_MEDIA_OCI_MANIFEST, &result->manifest.digest, result->manifest.size);
    if (!descriptor ||
        json_object_set_new(descriptor, "artifactType", json_string(TARN_ARTIFACT_TYPE)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_publication publication = {
        .tag = tarn_reference_tag(&conversion->destination),
        .original = descriptor,
        .original_bytes = result->manifest_bytes.data,
        .original_length = result->manifest_bytes.length,
    };
    return publish(conversion, &publication, err);
}

// The tag goes on to show the original, which is copied, with Tarn's entries behind it.
int tarn_convert_publish_original(struct tarn_conversion *conversion,
                                  const struct tarn_descriptor *original, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    const struct tarn_copy copy = {
        .from_blocking = conversion->from_blocking,
        .from = conversion->from,
        .to_blocking = conversion->to_blocking,
        .to = conversion->to,
        .downloaded = tarn_convert_downloaded,
        .context = conversion,
        .cancel = conversion->options->cancel,
        // A registry gets a new index in place of one that Tarn made.
        .without_tarn = conversion->destination.kind == TARN_REFERENCE_DOCKER &&
                        !conversion->options->referrer && json_array_size(conversion->entries) > 0,
    };
    const int ret = tarn_copy_image(&copy, original, &bytes, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "copying the original");
    tarn_autojson json_t *descriptor = json_deep_copy(original->json);
    if (!descriptor)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_publication publication = {
        .tag = tarn_reference_tag(&conversion->destination),
        .original = descriptor,
        .original_bytes = bytes.data,
        .original_length = bytes.length,
        .tarn = conversion->entries,
        .referrer = conversion->options->referrer,
    };
    return publish(conversion, &publication, err);
}
