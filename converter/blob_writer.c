// SPDX-License-Identifier: Apache-2.0
#include "converter/blob_writer.h"

#include <malloc.h>
#include <xxhash.h>
#include <zstd.h>

#include "converter/chunk_pipeline.h"
#include "format/blob_footer.h"

struct writer {
    const struct tarn_blob_output *output;
    struct tarn_blob_result *result;
    struct tarn_hasher *hasher;
    XXH3_state_t *xxh3;   // of the chunks section
    uint64_t written;     // bytes of the blob so far
    uint64_t next_offset; // of the next stored chunk
};

static int emit(struct writer *writer, const void *bytes, size_t length, struct tarn_err *err)
{
    tarn_hasher_update(writer->hasher, bytes, length);
    writer->written += length;
    return writer->output->write(writer->output->context, bytes, length, err);
}

static int on_run(void *context, const uint8_t *bytes, size_t length, struct tarn_err *err)
{
    struct writer *writer = context;
    writer->result->statistics.runs++;
    XXH3_64bits_update(writer->xxh3, bytes, length);
    return emit(writer, bytes, length, err);
}

static int on_chunk(void *context, const struct tarn_decided_chunk *chunk)
{
    struct writer *writer = context;
    struct tarn_blob_statistics *statistics = &writer->result->statistics;
    struct tarn_location location = chunk->location;
    statistics->chunks++;
    if (location.kind == TARN_LOCATION_STORED) {
        location.offset = writer->next_offset;
        writer->next_offset += location.stored_length;
    } else {
        statistics->references++;
        statistics->reference_bytes += chunk->length;
    }
    return tarn_tables_builder_add_row(&writer->result->tables, chunk->address, &location,
                                       &chunk->digest);
}

// The records in front: the chain below, which has no rows here.
static int add_lower_blobs(const struct tarn_blob_layer *layer, struct tarn_blob_result *result)
{
    for (uint32_t i = 0; i < layer->chain_index; i++) {
        struct tarn_blob_record record = layer->lower[i];
        record.first_row = 0;
        record.row_count = 0;
        const int ret = tarn_tables_builder_add_blob(&result->tables, &record);
        if (ret < 0)
            return ret;
    }
    return 0;
}

// The own blob's record and gap row, and the foreign blobs.
static int finish_tables(const struct tarn_blob_context *context,
                         const struct tarn_blob_layer *layer, struct tarn_blob_result *result)
{
    int ret = tarn_tables_builder_add_gap(&result->tables, layer->data_length);
    const struct tarn_blob_record own = {
        .data_length = layer->data_length,
        .row_count = tarn_tables_builder_rows(&result->tables),
        .role = TARN_BLOB_CHAIN,
    };
    if (ret == 0)
        ret = tarn_tables_builder_add_blob(&result->tables, &own);
    if (ret == 0 && context->dict)
        ret = tarn_dict_append(context->dict, &result->tables);
    return ret;
}

// Behind the chunks: padding to 8, layer metadata, directory.
static int write_tail(struct writer *writer, const struct tarn_blob_context *context,
                      const struct tarn_blob_layer *layer, struct tarn_err *err)
{
    struct tarn_blob_record *record = &writer->result->record;
    const struct tarn_layer_parameters parameters = {
        .level = context->level,
        .zstd_version = ZSTD_versionNumber(),
        .chain_index = layer->chain_index,
        .data_length = layer->data_length,
        .chunks_length = writer->written,
    };
    struct tarn_blob_footer footer = { .chunks_length = writer->written,
                                       .chunks_xxh3 = XXH3_64bits_digest(writer->xxh3) };
    tarn_autobuf struct tarn_buf metadata = { 0 };
    const struct tarn_tables tables = tarn_tables_builder_view(&writer->result->tables);
    int ret = tarn_layer_metadata_write(&parameters, layer->tree, &tables, &metadata, err);
    if (ret < 0)
        return ret;
    static const uint8_t zeros[8];
    ret = emit(writer, zeros, tarn_round_up(writer->written, 8) - writer->written, err);
    if (ret < 0)
        return ret;
    footer.metadata_offset = record->metadata_offset = writer->written;
    footer.metadata_length = record->metadata_length = metadata.length;
    footer.metadata_xxh3 = XXH3_64bits(metadata.data, metadata.length);
    tarn_sha256(metadata.data, metadata.length, &record->metadata_digest);
    ret = emit(writer, metadata.data, metadata.length, err);
    if (ret < 0)
        return ret;
    tarn_autobuf struct tarn_buf directory = { 0 };
    ret = tarn_blob_footer_write(&footer, &directory);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory for the blob's directory");
    return emit(writer, directory.data, directory.length, err);
}

static int write_blob(struct writer *writer, const struct tarn_blob_context *context,
                      const struct tarn_blob_layer *layer, struct tarn_err *err)
{
    int ret = add_lower_blobs(layer, writer->result);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory for chunk tables");
    const struct tarn_chunk_output output = { on_chunk, on_run, writer };
    ret = tarn_chunk_pipeline_run(context, layer, &output, err);
    if (ret < 0)
        return ret;
    ret = finish_tables(context, layer, writer->result);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory for chunk tables");
    malloc_trim(0); // the chunks' buffers, before those of the metadata come
    ret = write_tail(writer, context, layer, err);
    if (ret < 0)
        return ret;
    writer->result->record.data_length = layer->data_length;
    writer->result->record.size = writer->written;
    tarn_hasher_finish(writer->hasher, &writer->result->record.digest);
    return 0;
}

int tarn_blob_write(const struct tarn_blob_context *context, const struct tarn_blob_layer *layer,
                    const struct tarn_blob_output *output, struct tarn_blob_result *result,
                    struct tarn_err *err)
{
    *result = (struct tarn_blob_result){ 0 };
    if (context->dict)
        tarn_dict_begin_layer(context->dict);
    tarn_cleanup(tarn_hasher_free_p) struct tarn_hasher *hasher = tarn_hasher_new();
    struct writer writer = {
        .output = output, .result = result, .hasher = hasher, .xxh3 = XXH3_createState()
    };
    int ret;
    if (!hasher || !writer.xxh3) {
        ret = tarn_fail(err, -ENOMEM, "out of memory for a blob");
    } else {
        XXH3_64bits_reset(writer.xxh3);
        ret = write_blob(&writer, context, layer, err);
    }
    XXH3_freeState(writer.xxh3);
    return ret;
}
