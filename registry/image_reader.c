// SPDX-License-Identifier: Apache-2.0
#include "registry/image_reader.h"

#include "base/file.h"
#include "format/bootstrap_layer.h"

json_t *tarn_image_read_json(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_descriptor *descriptor, const char *what,
                             struct tarn_err *err)
{
    const bool manifest = tarn_media_is_manifest(descriptor->media_type) ||
                          tarn_media_is_index(descriptor->media_type);
    const struct tarn_read read = {
        .kind = manifest ? TARN_READ_MANIFEST : TARN_READ_BLOB,
        .digest = descriptor->digest,
        .size = descriptor->size,
        .length = UINT64_MAX,
    };
    tarn_autobuf struct tarn_buf text = { 0 };
    if (descriptor->size > TARN_MANIFEST_LIMIT) {
        tarn_fail(err, -EFBIG, "%s is larger than %d bytes", what, TARN_MANIFEST_LIMIT);
        return NULL;
    }
    if (tarn_blocking_read_buf(blocking, repository, &read, &text, err) < 0)
        return NULL;
    if (tarn_descriptor_check_size(descriptor, text.length, what, err) < 0)
        return NULL;
    return tarn_json_parse(text.data, text.length, what, err);
}

int tarn_image_read_manifest(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_descriptor *descriptor,
                             struct tarn_manifest *manifest, struct tarn_err *err)
{
    const struct tarn_read read = { .kind = TARN_READ_MANIFEST, .digest = descriptor->digest };
    tarn_autobuf struct tarn_buf text = { 0 };
    int ret = tarn_blocking_read_buf(blocking, repository, &read, &text, err);
    if (ret == 0)
        ret = tarn_descriptor_check_size(descriptor, text.length, tarn_repository_name(repository),
                                         err);
    if (ret < 0)
        return ret;
    char name[TARN_DIGEST_TEXT];
    tarn_autofree char *what = tarn_asprintf("%s: manifest %s", tarn_repository_name(repository),
                                             tarn_digest_format(&descriptor->digest, name));
    return tarn_manifest_parse(text.data, text.length, what ? what : "manifest", manifest, err);
}

static int read_bootstrap(struct tarn_blocking *blocking, struct tarn_repository *repository,
                          const struct tarn_manifest *manifest, struct tarn_buf *out,
                          struct tarn_err *err)
{
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = manifest->bootstrap.digest,
        .size = manifest->bootstrap.size,
        .length = UINT64_MAX,
    };
    tarn_autobuf struct tarn_buf layer = { 0 };
    const int ret = tarn_blocking_read_buf(blocking, repository, &read, &layer, err);
    if (ret < 0)
        return ret;
    return tarn_bootstrap_layer_read(layer.data, layer.length, &manifest->bootstrap_digest, out,
                                     err);
}

int tarn_image_load(struct tarn_blocking *blocking, struct tarn_repository *repository,
                    const struct tarn_image *image, struct tarn_loaded_image *loaded,
                    struct tarn_err *err)
{
    if (!image->tarn.json)
        return tarn_fail(err, -EINVAL,
                         "it is not converted; `tarn convert` makes a Tarn image of it");
    int ret = tarn_image_read_manifest(blocking, repository, &image->tarn, &loaded->manifest, err);
    if (ret == 0)
        ret =
            read_bootstrap(blocking, repository, &loaded->manifest, &loaded->bootstrap_bytes, err);
    if (ret == 0)
        ret = tarn_bootstrap_open(loaded->bootstrap_bytes.data, loaded->bootstrap_bytes.length,
                                  &loaded->bootstrap, err);
    if (ret == 0 && loaded->bootstrap.chain_count != loaded->manifest.chain_count)
        ret = tarn_fail(err, -EUCLEAN, "the manifest has %u layers, the bootstrap %u",
                        loaded->manifest.chain_count, loaded->bootstrap.chain_count);
    return ret;
}

void tarn_loaded_image_release(struct tarn_loaded_image *loaded)
{
    tarn_bootstrap_release(&loaded->bootstrap);
    tarn_buf_release(&loaded->bootstrap_bytes);
    tarn_manifest_release(&loaded->manifest);
}

int tarn_image_read_metadata(struct tarn_blocking *blocking, struct tarn_repository *repository,
                             const struct tarn_manifest_blob *blob, struct tarn_buf *out,
                             struct tarn_err *err)
{
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = blob->digest,
        .size = blob->size,
        .offset = blob->metadata_offset,
        .length = blob->metadata_length,
    };
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(&blob->digest, text);
    const int ret = tarn_blocking_read_buf(blocking, repository, &read, out, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "layer metadata of blob %s", text);
    struct tarn_digest found;
    tarn_sha256(out->data, out->length, &found);
    if (tarn_digest_equal(&found, &blob->metadata_digest))
        return 0;
    return tarn_fail(err, -EIO,
                     "layer metadata of blob %s in %s: wrong digest, the blob is damaged; "
                     "copy the image again",
                     text, tarn_repository_name(repository));
}
