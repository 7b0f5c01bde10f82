// SPDX-License-Identifier: Apache-2.0
#include "registry/oci.h"

#include <inttypes.h>
#include <string.h>

int tarn_descriptor_parse(const json_t *json, const char *what, struct tarn_descriptor *descriptor,
                          struct tarn_err *err)
{
    if (!json_is_object(json))
        return tarn_fail(err, -EUCLEAN, "%s: the descriptor is not an object", what);
    const char *media_type = tarn_json_string(json, "mediaType");
    if (!media_type)
        return tarn_fail(err, -EUCLEAN, "%s: the descriptor has no mediaType", what);
    const char *digest = tarn_json_string(json, "digest");
    if (!digest)
        return tarn_fail(err, -EUCLEAN, "%s: the descriptor has no digest", what);
    const int ret = tarn_digest_parse(digest, &descriptor->digest, err);
    if (ret < 0)
        return tarn_wrap(err, ret == -EINVAL ? -EUCLEAN : ret, "%s", what);
    const uint64_t size = tarn_json_u64(json, "size", UINT64_MAX);
    if (size == UINT64_MAX)
        return tarn_fail(err, -EUCLEAN, "%s: the descriptor of %s has no valid size", what, digest);
    descriptor->media_type = media_type;
    descriptor->size = size;
    descriptor->json = json;
    return 0;
}

int tarn_descriptor_check_size(const struct tarn_descriptor *descriptor, uint64_t size,
                               const char *what, struct tarn_err *err)
{
    if (descriptor->size == size)
        return 0;
    char text[TARN_DIGEST_TEXT];
    return tarn_fail(err, -EUCLEAN,
                     "%s: %s has %" PRIu64 " bytes, its descriptor says %" PRIu64
                     "; copy the image again",
                     what, tarn_digest_format(&descriptor->digest, text), size, descriptor->size);
}

json_t *tarn_descriptor_json(const char *media_type, const struct tarn_digest *digest,
                             uint64_t size)
{
    char text[TARN_DIGEST_TEXT];
    return json_pack("{s:s, s:s, s:I}", "digest", tarn_digest_format(digest, text), "mediaType",
                     media_type, "size", (json_int_t)size);
}

const char *tarn_oci_annotation(const json_t *object, const char *key)
{
    return tarn_json_string(json_object_get(object, "annotations"), key);
}

static bool one_of(const char *media_type, const char *const *list, size_t count)
{
    for (size_t i = 0; media_type && i < count; i++)
        if (strcmp(media_type, list[i]) == 0)
            return true;
    return false;
}

int tarn_layer_kind(const char *media_type, enum tarn_layer_kind *kind, struct tarn_err *err)
{
    static const char *const tar[] = {
        TARN_MEDIA_OCI_LAYER_TAR,
        TARN_MEDIA_OCI_LAYER_GZIP,
        TARN_MEDIA_OCI_LAYER_ZSTD,
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    };
    if (!media_type)
        return tarn_fail(err, -EUCLEAN, "the layer has no media type");
    if (one_of(media_type, tar, sizeof tar / sizeof tar[0])) {
        *kind = TARN_LAYER_TAR;
        return 0;
    }
    if (strcmp(media_type, TARN_MEDIA_TARN_BLOB) == 0) {
        *kind = TARN_LAYER_TARN_BLOB;
        return 0;
    }
    if (strstr(media_type, "+encrypted"))
        return tarn_fail(
            err, -ENOTSUP,
            "the layer is encrypted (%.200s), which is not supported; decrypt the image "
            "first",
            media_type);
    return tarn_fail(err, -ENOTSUP, "layer media type '%.200s' is not supported", media_type);
}

bool tarn_media_is_manifest(const char *media_type)
{
    static const char *const list[] = { TARN_MEDIA_OCI_MANIFEST, TARN_MEDIA_DOCKER_MANIFEST };
    return one_of(media_type, list, sizeof list / sizeof list[0]);
}

bool tarn_media_is_index(const char *media_type)
{
    static const char *const list[] = { TARN_MEDIA_OCI_INDEX, TARN_MEDIA_DOCKER_LIST };
    return one_of(media_type, list, sizeof list / sizeof list[0]);
}
