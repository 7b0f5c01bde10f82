// SPDX-License-Identifier: Apache-2.0
#include "converter/chain.h"

#include <zstd.h>

#include "format/merge.h"

int tarn_chain_init(struct tarn_chain *chain, uint32_t capacity)
{
    *chain = (struct tarn_chain){
        .merged = tarn_merge_new(),
        .chunks = tarn_dedup_index_new(),
        .layers = calloc((size_t)capacity + 1, sizeof *chain->layers),
        .capacity = capacity,
    };
    if (chain->merged && chain->chunks && chain->layers)
        return 0;
    tarn_chain_release(chain);
    return -ENOMEM;
}

void tarn_chain_release(struct tarn_chain *chain)
{
    tarn_tree_free(chain->merged);
    tarn_dedup_index_free(chain->chunks);
    for (uint32_t i = 0; chain->layers && i < chain->capacity; i++)
        tarn_tables_builder_release(&chain->layers[i].tables);
    free(chain->layers);
    *chain = (struct tarn_chain){ 0 };
}

static void hash_le32(struct tarn_hasher *hasher, uint32_t value)
{
    uint8_t bytes[4];
    tarn_put_le32(bytes, value);
    tarn_hasher_update(hasher, bytes, sizeof bytes);
}

void tarn_chain_key(const struct tarn_chain *chain, uint32_t i, const struct tarn_digest *diff_id,
                    struct tarn_digest *key)
{
    static const struct tarn_digest none;
    const struct tarn_digest *parent = i > 0 ? &chain->layers[i - 1].key : &none;
    const uint32_t dicts = chain->dict ? tarn_dict_count(chain->dict) : 0;
    struct tarn_hasher *hasher = tarn_hasher_new();
    if (!hasher)
        abort();
    tarn_hasher_update(hasher, "tarn key 4\n", 11);
    tarn_hasher_update(hasher, parent->bytes, sizeof parent->bytes);
    tarn_hasher_update(hasher, diff_id->bytes, sizeof diff_id->bytes);
    hash_le32(hasher, TARN_FORMAT_VERSION);
    hash_le32(hasher, ZSTD_versionNumber());
    hash_le32(hasher, (uint32_t)chain->level);
    hash_le32(hasher, TARN_CHUNKER_GEAR);
    hash_le32(hasher, dicts);
    for (uint32_t n = 0; n < dicts; n++) {
        const struct tarn_blob_record dict = tarn_dict_blob(chain->dict, n);
        tarn_hasher_update(hasher, dict.digest.bytes, sizeof dict.digest.bytes);
    }
    tarn_hasher_finish(hasher, key);
    tarn_hasher_free(hasher);
}

struct tarn_blob_record *tarn_chain_records(const struct tarn_chain *chain)
{
    struct tarn_blob_record *records = calloc((size_t)chain->count + 1, sizeof *records);
    for (uint32_t i = 0; records && i < chain->count; i++)
        records[i] = chain->layers[i].record;
    return records;
}

// Whether the metadata's lower blobs are the chain's.
static bool is_of_chain(const struct tarn_chain *chain, const struct tarn_layer_metadata *metadata)
{
    if (metadata->parameters.chain_index != chain->count ||
        metadata->parameters.level != chain->level)
        return false;
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct tarn_blob_record lower = tarn_tables_blob(&metadata->tables, i);
        if (!tarn_digest_equal(&lower.digest, &chain->layers[i].record.digest))
            return false;
    }
    return true;
}

static int copy_tables(const struct tarn_tables *tables, struct tarn_tables_builder *builder)
{
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < tables->blob_count; i++) {
        const struct tarn_blob_record record = tarn_tables_blob(tables, i);
        ret = tarn_tables_builder_add_blob(builder, &record);
    }
    for (uint32_t row = 0; ret == 0 && row < tables->row_count; row++) {
        const struct tarn_location location = tarn_tables_location(tables, row);
        struct tarn_digest digest;
        tarn_tables_digest(tables, row, &digest);
        const uint64_t address = tarn_tables_address(tables, row);
        ret = location.kind == TARN_LOCATION_GAP
                  ? tarn_tables_builder_add_gap(builder, address)
                  : tarn_tables_builder_add_row(builder, address, &location, &digest);
    }
    return ret;
}

// Indexes the own stored chunks of the layer whose tables these are.
static int index_chunks(struct tarn_chain *chain, const struct tarn_tables *tables, uint32_t own)
{
    const struct tarn_blob_record blob = tarn_tables_blob(tables, own);
    for (uint32_t row = blob.first_row; row < blob.first_row + blob.row_count; row++) {
        if (tarn_tables_location(tables, row).kind != TARN_LOCATION_STORED)
            continue;
        struct tarn_digest digest;
        tarn_tables_digest(tables, row, &digest);
        const struct tarn_dedup_place place = { own, tarn_tables_address(tables, row) };
        const int ret = tarn_dedup_index_add(chain->chunks, &digest, place);
        if (ret < 0)
            return ret;
    }
    return 0;
}

// What a conversion of the layer would have counted.
static struct tarn_blob_statistics count_rows(const struct tarn_tables *tables, uint32_t own)
{
    struct tarn_blob_statistics statistics = { 0 };
    const struct tarn_blob_record blob = tarn_tables_blob(tables, own);
    for (uint32_t row = blob.first_row; row + 1 < blob.first_row + blob.row_count; row++) {
        const struct tarn_location location = tarn_tables_location(tables, row);
        statistics.chunks++;
        statistics.runs += location.kind == TARN_LOCATION_STORED && location.run_start;
        if (location.kind != TARN_LOCATION_REFERENCE)
            continue;
        statistics.references++;
        statistics.reference_bytes += tarn_tables_length(tables, row);
    }
    return statistics;
}

int tarn_chain_adopt(struct tarn_chain *chain, const struct tarn_layer_metadata *metadata,
                     struct tarn_err *err)
{
    if (!is_of_chain(chain, metadata))
        return tarn_fail(err, -ESTALE, "the converted layer was made for another chain");
    struct tarn_chain_layer *layer = &chain->layers[chain->count];
    if (copy_tables(&metadata->tables, &layer->tables) < 0 ||
        index_chunks(chain, &metadata->tables, chain->count) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory for chunk tables");
    layer->statistics = count_rows(&metadata->tables, chain->count);
    return 0;
}

int tarn_chain_bootstrap(struct tarn_chain *chain, const struct tarn_digest *tree_digest,
                         struct tarn_buf *out, struct tarn_err *err)
{
    tarn_autofree struct tarn_layer_metadata *metadata = calloc(chain->count + 1, sizeof *metadata);
    tarn_autofree struct tarn_bootstrap_layer *layers = calloc(chain->count + 1, sizeof *layers);
    if (!metadata || !layers)
        return tarn_fail(err, -ENOMEM, "out of memory for the bootstrap");
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct tarn_chain_layer *layer = &chain->layers[i];
        metadata[i].tables = tarn_tables_builder_view(&layer->tables);
        metadata[i].parameters.chain_index = i;
        metadata[i].parameters.data_length = layer->record.data_length;
        layers[i] = (struct tarn_bootstrap_layer){
            .digest = layer->record.digest,
            .size = layer->record.size,
            .metadata_offset = layer->record.metadata_offset,
            .metadata_length = layer->record.metadata_length,
            .metadata_digest = layer->record.metadata_digest,
            .metadata = &metadata[i],
        };
    }
    const struct tarn_bootstrap_source source = { layers, chain->count, chain->merged,
                                                  *tree_digest };
    const int ret = tarn_bootstrap_build(&source, out, err);
    return ret < 0 ? tarn_wrap(err, ret, "bootstrap") : 0;
}

void tarn_chain_drop_trees(struct tarn_chain *chain)
{
    tarn_tree_free(tarn_steal(chain->merged));
    tarn_dedup_index_free(tarn_steal(chain->chunks));
}

static bool has_record(const struct tarn_blob_record *records, uint32_t count,
                       const struct tarn_digest *digest)
{
    for (uint32_t i = 0; i < count; i++)
        if (tarn_digest_equal(&records[i].digest, digest))
            return true;
    return false;
}

int tarn_chain_foreign(const struct tarn_chain *chain, struct tarn_blob_record **records,
                       uint32_t *count)
{
    uint32_t bound = 1;
    for (uint32_t i = 0; i < chain->count; i++)
        bound += tarn_tables_builder_view(&chain->layers[i].tables).blob_count;
    struct tarn_blob_record *found = calloc(bound, sizeof *found);
    if (!found)
        return -ENOMEM;
    *count = 0;
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct tarn_tables tables = tarn_tables_builder_view(&chain->layers[i].tables);
        for (uint32_t n = i + 1; n < tables.blob_count; n++) {
            const struct tarn_blob_record record = tarn_tables_blob(&tables, n);
            if (!has_record(found, *count, &record.digest))
                found[(*count)++] = record;
        }
    }
    *records = found;
    return 0;
}
