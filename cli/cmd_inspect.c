// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "cli/cli_image.h"
#include "cli/commands.h"
#include "cli/usage.h"

static const char usage[] =
    "usage: tarn inspect [OPTION...] IMAGE\n"
    "\n"
    "Shows what a converted image is made of: digests, blobs, chunks, and which blob is which\n"
    "EROFS device (slot), so that the bootstrap can be mounted by hand.\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --json              print it as JSON\n" TARN_ACCESS_USAGE;

static json_t *digest_json(const struct tarn_digest *digest)
{
    char text[TARN_DIGEST_TEXT];
    return json_string(tarn_digest_format(digest, text));
}

struct row_counts {
    uint64_t stored;
    uint64_t references;
    uint64_t runs;
};

static struct row_counts count_rows(const struct tarn_tables *tables,
                                    const struct tarn_blob_record *blob)
{
    struct row_counts counts = { 0 };
    for (uint32_t i = 0; i < blob->row_count; i++) {
        const struct tarn_location location = tarn_tables_location(tables, blob->first_row + i);
        counts.references += location.kind == TARN_LOCATION_REFERENCE;
        if (location.kind != TARN_LOCATION_STORED)
            continue;
        counts.stored++;
        counts.runs += location.run_start;
    }
    return counts;
}

static json_t *blob_json(const struct tarn_cli_image *image, uint32_t i)
{
    const struct tarn_blob_record blob = tarn_tables_blob(&image->converted.bootstrap.tables, i);
    const struct row_counts counts = count_rows(&image->converted.bootstrap.tables, &blob);
    const uint64_t chunks = counts.stored + counts.references;
    json_t *json = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:s}", "digest",
        digest_json(&blob.digest), "size", (json_int_t)blob.size, "data_length",
        (json_int_t)blob.data_length, "metadata_offset", (json_int_t)blob.metadata_offset,
        "metadata_length", (json_int_t)blob.metadata_length, "metadata_digest",
        digest_json(&blob.metadata_digest), "slot", (json_int_t)blob.slot, "chunks",
        (json_int_t)chunks, "references", (json_int_t)counts.references, "runs",
        (json_int_t)counts.runs, "role", blob.role == TARN_BLOB_FOREIGN ? "dict" : "layer");
    if (!json || i >= image->converted.manifest.chain_count)
        return json;
    const struct tarn_manifest_blob *layer = &image->converted.manifest.blobs[i];
    if (layer->has_source_digest)
        json_object_set_new(json, "source_digest", digest_json(&layer->source_digest));
    if (layer->has_key)
        json_object_set_new(json, "key", digest_json(&layer->key));
    return json;
}

static json_t *slots_json(const struct tarn_bootstrap *bootstrap)
{
    json_t *slots = json_array();
    for (uint32_t slot = 1; slot <= bootstrap->slot_count; slot++) {
        const struct tarn_blob_record blob =
            tarn_tables_blob(&bootstrap->tables, bootstrap->slot_blobs[slot]);
        json_array_append_new(slots, json_pack("{s:I, s:o, s:I}", "slot", (json_int_t)slot, "blob",
                                               digest_json(&blob.digest), "data_length",
                                               (json_int_t)blob.data_length));
    }
    return slots;
}

static json_t *image_json(const struct tarn_cli_image *image)
{
    const struct tarn_bootstrap *bootstrap = &image->converted.bootstrap;
    json_t *blobs = json_array();
    for (uint32_t i = 0; i < bootstrap->tables.blob_count; i++)
        json_array_append_new(blobs, blob_json(image, i));
    json_t *json =
        json_pack("{s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:I}", "manifest",
                  digest_json(&image->list.images[0].tarn.digest), "tree_digest",
                  digest_json(&bootstrap->tree_digest), "bootstrap_layer",
                  digest_json(&image->converted.manifest.bootstrap.digest), "bootstrap_layer_size",
                  (json_int_t)image->converted.manifest.bootstrap.size, "bootstrap_digest",
                  digest_json(&image->converted.manifest.bootstrap_digest), "bootstrap_size",
                  (json_int_t)image->converted.bootstrap_bytes.length, "inodes",
                  (json_int_t)bootstrap->inode_count, "names", (json_int_t)bootstrap->name_count,
                  "file_bytes", (json_int_t)bootstrap->file_bytes, "blobs", blobs, "slots",
                  slots_json(bootstrap), "format", (json_int_t)TARN_FORMAT_VERSION);
    if (json && image->converted.manifest.has_subject)
        json_object_set_new(json, "subject",
                            digest_json(&image->converted.manifest.subject.digest));
    return json;
}

static void print_text(const struct tarn_cli_image *image)
{
    const struct tarn_bootstrap *bootstrap = &image->converted.bootstrap;
    char text[TARN_DIGEST_TEXT];
    printf("manifest   %s\n", tarn_digest_format(&image->list.images[0].tarn.digest, text));
    if (image->converted.manifest.has_subject)
        printf("original   %s\n",
               tarn_digest_format(&image->converted.manifest.subject.digest, text));
    printf("tree       %s\n", tarn_digest_format(&bootstrap->tree_digest, text));
    printf("bootstrap  %s\n",
           tarn_digest_format(&image->converted.manifest.bootstrap_digest, text));
    printf("           %zu bytes, %" PRIu64 " as a layer\n",
           image->converted.bootstrap_bytes.length, image->converted.manifest.bootstrap.size);
    printf("files      %" PRIu64 " names, %" PRIu64 " inodes, %" PRIu64 " bytes\n\n",
           bootstrap->name_count, bootstrap->inode_count, bootstrap->file_bytes);
    printf("blob slot %-71s %12s %12s %8s %8s\n", "digest", "size", "data space", "chunks", "refs");
    for (uint32_t i = 0; i < bootstrap->tables.blob_count; i++) {
        const struct tarn_blob_record blob = tarn_tables_blob(&bootstrap->tables, i);
        const struct row_counts counts = count_rows(&bootstrap->tables, &blob);
        printf("%4u %4u %s %12" PRIu64 " %12" PRIu64 " %8" PRIu64 " %8" PRIu64 "%s\n", i, blob.slot,
               tarn_digest_format(&blob.digest, text), blob.size, blob.data_length,
               counts.stored + counts.references, counts.references,
               blob.role == TARN_BLOB_FOREIGN ? " dict" : "");
    }
}

int tarn_cmd_inspect(int argc, char **argv)
{
    tarn_cleanup(tarn_image_options_release) struct tarn_image_options options = { 0 };
    const int parsed = tarn_image_options_parse(&options, argc, argv, usage);
    if (parsed >= 0)
        return parsed;
    if (argc - optind != 1)
        return tarn_cli_usage(usage, "tarn inspect takes one image");
    struct tarn_err err = { 0 };
    struct tarn_cli_image image;
    int status = TARN_EXIT_FAILED;
    int ret = tarn_cli_image_open(&image, argv[optind], &options, &err);
    if (ret == 0)
        ret = tarn_cli_image_load(&image, &err);
    if (ret < 0) {
        tarn_cli_fail(&err);
    } else if (options.json) {
        status = tarn_cli_print_json(image_json(&image));
    } else {
        print_text(&image);
        status = tarn_cli_finish(TARN_EXIT_OK);
    }
    tarn_cli_image_release(&image);
    return status;
}
