// SPDX-License-Identifier: Apache-2.0
#include "converter/dict.h"

#include <assert.h>

#include "converter/dedup_index.h"

struct dict_blob {
    uint32_t index;   // in the image's tables
    uint32_t foreign; // number in the current layer; TARN_NONE: not referred to
    uint8_t *needed;  // for each row of this blob: the current layer needs it
};

struct tarn_dict {
    struct tarn_tables tables;
    struct tarn_dedup_index *chunks; // {number in blobs, row in tables}
    struct dict_blob *blobs;
    uint32_t count;
    uint32_t foreign_count; // in the current layer
};

static int index_blob(struct tarn_dict *dict, uint32_t number)
{
    const struct tarn_blob_record blob = tarn_tables_blob(&dict->tables, dict->blobs[number].index);
    for (uint32_t row = blob.first_row; row < blob.first_row + blob.row_count; row++) {
        if (tarn_tables_location(&dict->tables, row).kind != TARN_LOCATION_STORED)
            continue;
        struct tarn_digest digest;
        tarn_tables_digest(&dict->tables, row, &digest);
        const struct tarn_dedup_place place = { number, row };
        const int ret = tarn_dedup_index_add(dict->chunks, &digest, place);
        if (ret < 0)
            return ret;
    }
    dict->blobs[number].needed = calloc(1, blob.row_count + 1);
    return dict->blobs[number].needed ? 0 : -ENOMEM;
}

struct tarn_dict *tarn_dict_new(const struct tarn_tables *tables, uint32_t chain_count,
                                const bool *usable)
{
    tarn_cleanup(tarn_dict_free_p) struct tarn_dict *dict = calloc(1, sizeof *dict);
    if (!dict)
        return NULL;
    dict->tables = *tables;
    dict->chunks = tarn_dedup_index_new();
    dict->blobs = calloc(chain_count + 1, sizeof *dict->blobs);
    if (!dict->chunks || !dict->blobs)
        return NULL;
    for (uint32_t i = 0; i < chain_count; i++) {
        if (!usable[i])
            continue;
        dict->blobs[dict->count].index = i;
        if (index_blob(dict, dict->count++) < 0)
            return NULL;
    }
    tarn_dict_begin_layer(dict);
    return tarn_steal(dict);
}

void tarn_dict_free(struct tarn_dict *dict)
{
    if (!dict)
        return;
    for (uint32_t i = 0; dict->blobs && i < dict->count; i++)
        free(dict->blobs[i].needed);
    free(dict->blobs);
    tarn_dedup_index_free(dict->chunks);
    free(dict);
}

uint32_t tarn_dict_count(const struct tarn_dict *dict)
{
    return dict->count;
}

struct tarn_blob_record tarn_dict_blob(const struct tarn_dict *dict, uint32_t i)
{
    return tarn_tables_blob(&dict->tables, dict->blobs[i].index);
}

void tarn_dict_begin_layer(struct tarn_dict *dict)
{
    for (uint32_t i = 0; i < dict->count; i++) {
        dict->blobs[i].foreign = TARN_NONE;
        assert(dict->blobs[i].needed);
        memset(dict->blobs[i].needed, 0, tarn_dict_blob(dict, i).row_count);
    }
    dict->foreign_count = 0;
}

bool tarn_dict_find(struct tarn_dict *dict, const struct tarn_digest *digest, uint32_t *foreign,
                    uint64_t *address)
{
    struct tarn_dedup_place place;
    if (!tarn_dedup_index_find(dict->chunks, digest, &place))
        return false;
    struct dict_blob *blob = &dict->blobs[place.blob];
    if (blob->foreign == TARN_NONE)
        blob->foreign = dict->foreign_count++;
    const uint32_t row = (uint32_t)place.where;
    const uint32_t first = tarn_dict_blob(dict, place.blob).first_row;
    memset(blob->needed + (tarn_tables_run_start(&dict->tables, row) - first), 1,
           row + 1 - tarn_tables_run_start(&dict->tables, row));
    *foreign = blob->foreign;
    *address = tarn_tables_address(&dict->tables, row);
    return true;
}

// The rows that are needed, and a gap row wherever they end.
static int append_rows(const struct tarn_dict *dict, const struct dict_blob *blob,
                       struct tarn_tables_builder *builder)
{
    const struct tarn_blob_record record = tarn_tables_blob(&dict->tables, blob->index);
    bool open = false;
    for (uint32_t i = 0; i < record.row_count; i++) {
        const uint32_t row = record.first_row + i;
        const uint64_t address = tarn_tables_address(&dict->tables, row);
        int ret = 0;
        if (blob->needed[i]) {
            const struct tarn_location location = tarn_tables_location(&dict->tables, row);
            struct tarn_digest digest;
            tarn_tables_digest(&dict->tables, row, &digest);
            ret = tarn_tables_builder_add_row(builder, address, &location, &digest);
        } else if (open) {
            ret = tarn_tables_builder_add_gap(builder, address);
        }
        if (ret < 0)
            return ret;
        open = blob->needed[i];
    }
    return 0;
}

static const struct dict_blob *find_foreign(const struct tarn_dict *dict, uint32_t foreign)
{
    uint32_t i = 0;
    while (dict->blobs[i].foreign != foreign)
        i++;
    return &dict->blobs[i];
}

int tarn_dict_append(const struct tarn_dict *dict, struct tarn_tables_builder *builder)
{
    for (uint32_t foreign = 0; foreign < dict->foreign_count; foreign++) {
        const struct dict_blob *blob = find_foreign(dict, foreign);
        struct tarn_blob_record record = tarn_tables_blob(&dict->tables, blob->index);
        record.slot = 0;
        record.role = TARN_BLOB_FOREIGN;
        record.first_row = tarn_tables_builder_rows(builder);
        int ret = append_rows(dict, blob, builder);
        record.row_count = tarn_tables_builder_rows(builder) - record.first_row;
        if (ret == 0)
            ret = tarn_tables_builder_add_blob(builder, &record);
        if (ret < 0)
            return ret;
    }
    return 0;
}
