// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/cancel.h"
#include "converter/image_convert_internal.h"
#include "format/bootstrap_layer.h"

static int put_json(const struct tarn_image_job *job, json_t *json, struct tarn_blob_id *id,
                    struct tarn_err *err)
{
    tarn_autofree char *text = json ? tarn_json_dump(json) : NULL;
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_buf bytes = { (uint8_t *)text, strlen(text), strlen(text) };
    return tarn_blocking_put_blob(job->blocking, job->destination, &bytes, id, err);
}

// While the last blobs are stored, the bootstrap is made.
static int put_bootstrap(struct tarn_image_conversion *conversion, struct tarn_image_parts *parts,
                         struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain *chain = &conversion->chain;
    tarn_autobuf struct tarn_buf bootstrap = { 0 };
    tarn_autobuf struct tarn_buf layer = { 0 };
    int ret = tarn_chain_bootstrap(chain, &parts->tree_digest, &bootstrap, err);
    if (ret < 0)
        return ret;
    tarn_chain_drop_trees(chain);
    tarn_sha256(bootstrap.data, bootstrap.length, &parts->bootstrap_digest);
    ret = tarn_bootstrap_layer_write(bootstrap.data, bootstrap.length, &layer,
                                     &parts->bootstrap_layer_diff_id, err);
    if (ret == 0)
        ret = tarn_blob_uploader_finish(tarn_steal(conversion->uploader), err);
    if (ret < 0)
        return ret;
    if (tarn_cancel_is_set(job->options->cancel))
        return tarn_fail(err, -EINTR, "interrupted");
    return tarn_blocking_put_blob(job->blocking, job->destination, &layer, &parts->bootstrap_layer,
                                  err);
}

// What is published can be read: the JSON library tells of lacking memory only by members that are missing.
static int check_manifest(const char *text, struct tarn_err *err)
{
    const size_t length = strlen(text);
    if (length > TARN_MANIFEST_LIMIT)
        return tarn_fail(err, -EFBIG,
                         "the image has too many layers: its manifest takes %zu bytes, and readers "
                         "take %d",
                         length, TARN_MANIFEST_LIMIT);
    struct tarn_manifest manifest = { 0 };
    const int ret = tarn_manifest_parse(text, length, "the new manifest", &manifest, err);
    if (ret == 0)
        tarn_manifest_release(&manifest);
    return ret;
}

static int put_documents(const struct tarn_image_job *job, struct tarn_image_parts *parts,
                         struct tarn_image_result *result, struct tarn_err *err)
{
    struct tarn_blob_id config_id;
    tarn_autojson json_t *config = tarn_image_config(parts);
    int ret = put_json(job, config, &config_id, err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *manifest = tarn_image_manifest(parts, &config_id);
    tarn_autofree char *text = manifest ? tarn_json_dump(manifest) : NULL;
    if (!text || tarn_buf_append(&result->manifest_bytes, text, strlen(text)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    ret = check_manifest(text, err);
    if (ret < 0)
        return ret;
    tarn_sha256(text, strlen(text), &result->manifest.digest);
    result->manifest.size = strlen(text);
    const struct tarn_manifest_bytes bytes = { TARN_MEDIA_OCI_MANIFEST, text, strlen(text) };
    return tarn_blocking_put_manifest(job->blocking, job->destination, &bytes, err);
}

int tarn_image_store_documents(struct tarn_image_conversion *conversion,
                               struct tarn_image_result *result, struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain *chain = &conversion->chain;
    tarn_autofree struct tarn_blob_record *foreign = NULL;
    struct tarn_image_parts parts = {
        .source_config = job->source_config,
        .platform = &job->platform,
        .subject = job->subject,
        .chain = chain,
    };
    parts.tree_digest = conversion->tree_digest;
    int ret = tarn_chain_foreign(chain, &foreign, &parts.foreign_count);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    parts.foreign = foreign;
    ret = put_bootstrap(conversion, &parts, err);
    if (ret == 0)
        ret = put_documents(job, &parts, result, err);
    result->tree_digest = parts.tree_digest;
    conversion->summary->bootstrap_bytes += parts.bootstrap_layer.size;
    conversion->summary->images++;
    return ret;
}
