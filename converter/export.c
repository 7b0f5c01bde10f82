// SPDX-License-Identifier: Apache-2.0
#include "converter/export.h"

#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "base/cancel.h"
#include "converter/layer_tar.h"

enum {
    GZIP_LEVEL = 6,
    GZIP_WINDOW =
        15 + 16, // the largest, with a gzip header, in which zlib writes no time and no name
    GZIP_MEMORY = 8,
    OUT_SIZE = 256 << 10,
};

struct exporter {
    const struct tarn_export_source *source;
    struct tarn_export_summary *summary;
    struct tarn_repository *destination;
    struct tarn_data_reader *data;
    json_t *layers; // descriptors
    json_t *diff_ids;
};

static int out_of_memory(struct tarn_err *err)
{
    return tarn_fail(err, -ENOMEM, "out of memory");
}

// --- one layer -----------------------------------------------------------------------------------
// From tar bytes to a gzip blob that is uploaded as it comes.
struct gzip {
    struct tarn_blocking *blocking;
    struct tarn_upload *upload; // NULL: none, or ended
    const volatile sig_atomic_t *cancel;
    z_stream stream;
    bool started;
    struct tarn_hasher *plain;
    struct tarn_hasher *stored;
    uint64_t plain_length;
    struct tarn_blob_id blob;
    struct tarn_digest diff_id;
    uint8_t *out; // OUT_SIZE
};

static void gzip_release(struct gzip *gzip)
{
    if (gzip->upload)
        tarn_upload_abort(gzip->upload);
    if (gzip->started)
        deflateEnd(&gzip->stream);
    tarn_hasher_free(gzip->plain);
    tarn_hasher_free(gzip->stored);
    free(gzip->out);
}

static int gzip_init(struct gzip *gzip, const struct exporter *exporter, struct tarn_err *err)
{
    *gzip = (struct gzip){
        .blocking = exporter->source->blocking,
        .cancel = exporter->source->cancel,
        .plain = tarn_hasher_new(),
        .stored = tarn_hasher_new(),
        .out = malloc(OUT_SIZE),
    };
    gzip->started = deflateInit2(&gzip->stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                                 Z_DEFAULT_STRATEGY) == Z_OK;
    if (!gzip->started || !gzip->plain || !gzip->stored || !gzip->out)
        return out_of_memory(err);
    gzip->stream.next_out = gzip->out;
    gzip->stream.avail_out = OUT_SIZE;
    return tarn_repository_upload(exporter->destination, &gzip->upload, err);
}

static int gzip_flush(struct gzip *gzip, struct tarn_err *err)
{
    const size_t length = OUT_SIZE - gzip->stream.avail_out;
    gzip->stream.next_out = gzip->out;
    gzip->stream.avail_out = OUT_SIZE;
    if (length == 0)
        return 0;
    tarn_hasher_update(gzip->stored, gzip->out, length);
    gzip->blob.size += length;
    return tarn_blocking_write(gzip->blocking, gzip->upload, gzip->out, length, err);
}

// Runs zlib until it took all input, and with Z_FINISH until it gave all output.
static int gzip_run(struct gzip *gzip, int flush, struct tarn_err *err)
{
    for (;;) {
        const int status = deflate(&gzip->stream, flush);
        if (status == Z_STREAM_ERROR)
            return tarn_fail(err, -EIO, "zlib failed");
        const bool full = gzip->stream.avail_out == 0;
        if (full) {
            const int ret = gzip_flush(gzip, err);
            if (ret < 0)
                return ret;
        }
        if (flush == Z_FINISH ? status == Z_STREAM_END : !full)
            return 0;
    }
}

static int gzip_write(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    struct gzip *gzip = context;
    if (tarn_cancel_is_set(gzip->cancel))
        return tarn_fail(err, -EINTR, "interrupted");
    tarn_hasher_update(gzip->plain, bytes, length);
    gzip->plain_length += length;
    const uint8_t *next = bytes;
    while (length > 0) {
        const uInt step = (uInt)tarn_min_u64(length, 1 << 30);
        gzip->stream.next_in = (Bytef *)(uintptr_t)next;
        gzip->stream.avail_in = step;
        const int ret = gzip_run(gzip, Z_NO_FLUSH, err);
        if (ret < 0)
            return ret;
        next += step;
        length -= step;
    }
    return 0;
}

static int gzip_finish(struct gzip *gzip, struct tarn_err *err)
{
    gzip->stream.next_in = NULL;
    gzip->stream.avail_in = 0;
    int ret = gzip_run(gzip, Z_FINISH, err);
    if (ret == 0)
        ret = gzip_flush(gzip, err);
    if (ret < 0)
        return ret;
    tarn_hasher_finish(gzip->plain, &gzip->diff_id);
    tarn_hasher_finish(gzip->stored, &gzip->blob.digest);
    return tarn_blocking_commit(gzip->blocking, tarn_steal(gzip->upload), &gzip->blob, err);
}

static int read_metadata(const struct exporter *exporter, uint32_t i,
                         struct tarn_layer_metadata *metadata, struct tarn_err *err)
{
    const struct tarn_export_source *source = exporter->source;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    int ret = tarn_image_read_metadata(source->blocking, source->repository,
                                       &source->manifest->blobs[i], &bytes, err);
    if (ret == 0)
        ret = tarn_layer_metadata_read(bytes.data, bytes.length, metadata, err);
    if (ret == 0 && metadata->parameters.chain_index != i) {
        tarn_layer_metadata_release(metadata);
        ret = tarn_fail(err, -EUCLEAN, "the blob was made for place %u of a chain",
                        metadata->parameters.chain_index);
    }
    return ret;
}

static int add_layer(const struct exporter *exporter, const struct gzip *gzip, struct tarn_err *err)
{
    char text[TARN_DIGEST_TEXT];
    json_t *descriptor =
        tarn_descriptor_json(TARN_MEDIA_OCI_LAYER_GZIP, &gzip->blob.digest, gzip->blob.size);
    json_t *diff_id = json_string(tarn_digest_format(&gzip->diff_id, text));
    const int first = json_array_append_new(exporter->layers, descriptor);
    const int second = json_array_append_new(exporter->diff_ids, diff_id);
    if (first < 0 || second < 0)
        return out_of_memory(err);
    exporter->summary->layers++;
    exporter->summary->tar_bytes += gzip->plain_length;
    exporter->summary->layer_bytes += gzip->blob.size;
    return 0;
}

static int export_layer(const struct exporter *exporter, uint32_t i, struct tarn_err *err)
{
    struct tarn_layer_metadata metadata = { 0 };
    struct gzip gzip;
    int ret = gzip_init(&gzip, exporter, err);
    if (ret == 0)
        ret = read_metadata(exporter, i, &metadata, err);
    const struct tarn_tar_output output = { gzip_write, &gzip };
    if (ret == 0)
        ret = tarn_layer_tar_write(metadata.tree, exporter->data, &output, err);
    if (ret == 0)
        ret = gzip_finish(&gzip, err);
    if (ret == 0)
        ret = add_layer(exporter, &gzip, err);
    gzip_release(&gzip);
    tarn_layer_metadata_release(&metadata);
    return ret < 0 ? tarn_wrap(err, ret, "layer %" PRIu32, i) : 0;
}

// --- documents -----------------------------------------------------------------------------------
// Takes the entries out that conversion put behind the original ones.
static int restore_history(json_t *config, size_t added, struct tarn_err *err)
{
    json_t *history = json_object_get(config, "history");
    for (size_t size = json_array_size(history); added > 0 && size > 0; added--, size--) {
        const char *by = tarn_json_string(json_array_get(history, size - 1), "created_by");
        if (!by || strcmp(by, "tarn") != 0)
            break;
        if (json_array_remove(history, size - 1) < 0)
            return out_of_memory(err);
    }
    if (history && json_array_size(history) == 0)
        json_object_del(config, "history");
    return 0;
}

static int put_config(const struct exporter *exporter, struct tarn_blob_id *id,
                      struct tarn_err *err)
{
    const struct tarn_export_source *source = exporter->source;
    const struct tarn_manifest *manifest = source->manifest;
    tarn_autojson json_t *config = tarn_image_read_json(source->blocking, source->repository,
                                                        &manifest->config, "config", err);
    if (!config)
        return -EUCLEAN;
    // One entry for each foreign blob and one for the bootstrap.
    int ret = restore_history(config, manifest->blob_count - manifest->chain_count + 1, err);
    if (ret < 0)
        return ret;
    json_t *rootfs = json_pack("{s:O, s:s}", "diff_ids", exporter->diff_ids, "type", "layers");
    if (json_object_set_new(config, "rootfs", rootfs) < 0)
        return out_of_memory(err);
    tarn_autofree char *text = tarn_json_dump(config);
    if (!text)
        return out_of_memory(err);
    const struct tarn_buf bytes = { (uint8_t *)text, strlen(text), strlen(text) };
    return tarn_blocking_put_blob(source->blocking, exporter->destination, &bytes, id, err);
}

static int publish(const struct exporter *exporter, const char *tag, const char *text,
                   struct tarn_err *err)
{
    struct tarn_blocking *blocking = exporter->source->blocking;
    struct tarn_blob_id *id = &exporter->summary->manifest;
    id->size = strlen(text);
    tarn_sha256(text, id->size, &id->digest);
    const struct tarn_manifest_bytes bytes = { TARN_MEDIA_OCI_MANIFEST, text, id->size };
    const int ret = tarn_blocking_put_manifest(blocking, exporter->destination, &bytes, err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *descriptor =
        tarn_descriptor_json(TARN_MEDIA_OCI_MANIFEST, &id->digest, id->size);
    if (!descriptor)
        return out_of_memory(err);
    const struct tarn_publication publication = {
        .tag = tag,
        .original = descriptor,
        .original_bytes = text,
        .original_length = id->size,
    };
    return tarn_blocking_publish(blocking, exporter->destination, &publication, err);
}

static int put_manifest(const struct exporter *exporter, const struct tarn_blob_id *config,
                        const char *tag, struct tarn_err *err)
{
    tarn_autojson json_t *manifest = json_pack(
        "{s:o, s:O, s:s, s:i}", "config",
        tarn_descriptor_json(TARN_MEDIA_OCI_CONFIG, &config->digest, config->size), "layers",
        exporter->layers, "mediaType", TARN_MEDIA_OCI_MANIFEST, "schemaVersion", 2);
    tarn_autofree char *text = manifest ? tarn_json_dump(manifest) : NULL;
    return text ? publish(exporter, tag, text, err) : out_of_memory(err);
}

// --- all of it -----------------------------------------------------------------------------------
static bool is_interrupted(const void *context)
{
    const struct tarn_export_source *source = context;
    return tarn_cancel_is_set(source->cancel);
}

static int export_image(struct exporter *exporter, const char *tag, struct tarn_err *err)
{
    int ret = 0;
    for (uint32_t i = 0; i < exporter->source->manifest->chain_count && ret == 0; i++)
        ret = export_layer(exporter, i, err);
    struct tarn_blob_id config = { 0 };
    if (ret == 0 && is_interrupted(exporter->source))
        ret = tarn_fail(err, -EINTR, "interrupted");
    if (ret == 0)
        ret = put_config(exporter, &config, err);
    return ret < 0 ? ret : put_manifest(exporter, &config, tag, err);
}

int tarn_export(const struct tarn_export_source *source, const struct tarn_reference *destination,
                struct tarn_export_summary *summary, struct tarn_err *err)
{
    *summary = (struct tarn_export_summary){ 0 };
    if (destination->kind == TARN_REFERENCE_TAR || destination->kind == TARN_REFERENCE_DIR)
        return tarn_fail(err, -ENOTSUP,
                         "%s: the destination of an export is docker://HOST/REPOSITORY[:TAG], "
                         "oci:DIR[:TAG] or oci-archive:FILE[:TAG]",
                         destination->text);
    if (destination->has_digest)
        return tarn_fail(err, -EINVAL, "%s: give the destination a tag, not a digest",
                         destination->text);
    struct exporter exporter = { .source = source, .summary = summary };
    const struct tarn_repository_options options = {
        .create = true,
        .access = source->access,
        .interrupted = is_interrupted,
        .interrupted_context = source,
    };
    int ret =
        tarn_blocking_open(source->blocking, destination, &options, &exporter.destination, err);
    if (ret < 0)
        return ret;
    exporter.data =
        tarn_data_reader_new(source->blocking, source->repository, &source->bootstrap->tables);
    exporter.layers = json_array();
    exporter.diff_ids = json_array();
    if (exporter.data && exporter.layers && exporter.diff_ids)
        ret = export_image(&exporter, tarn_reference_tag(destination), err);
    else
        ret = out_of_memory(err);
    json_decref(exporter.layers);
    json_decref(exporter.diff_ids);
    tarn_data_reader_free(exporter.data);
    tarn_repository_close(exporter.destination);
    return ret;
}
