// SPDX-License-Identifier: Apache-2.0
#include "daemon/data_rows.h"

#include <xxhash.h>

// The file "table": this header, then addresses, locations, digests as in the format's section 7.
// Of a reference only bit 63 of the location is kept.
enum {
    HEADER_SIZE = 80,
    OFFSET_VERSION = 8,
    OFFSET_COUNT = 12,
    OFFSET_DATA_LENGTH = 16,
    OFFSET_BLOB_SIZE = 24,
    OFFSET_BLOB = 32,
    OFFSET_XXH3 = 64, // of all that follows the header: finds accidents
    ROW_SIZE = 8 + 8 + TARN_DIGEST_SIZE,
    VERSION = 1,
};
static const char magic[8] = "TARNROWS";

static uint64_t plain_location(const uint8_t *packed)
{
    const uint64_t location = tarn_get_le64(packed);
    return location >> 63 && location != UINT64_MAX ? UINT64_C(1) << 63 : location;
}

struct tarn_rows tarn_rows_of(const struct tarn_tables *tables,
                              const struct tarn_blob_record *record)
{
    return (struct tarn_rows){
        .blob = record->digest,
        .blob_size = record->size,
        .data_length = record->data_length,
        .count = record->row_count,
        .addresses = tables->addresses + (size_t)record->first_row * 8,
        .locations = tables->locations + (size_t)record->first_row * 8,
        .digests = tables->digests + (size_t)record->first_row * TARN_DIGEST_SIZE,
    };
}

int tarn_rows_build_table(const struct tarn_rows *rows, struct tarn_buf *table)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    memcpy(header, magic, sizeof magic);
    tarn_put_le32(header + OFFSET_VERSION, VERSION);
    tarn_put_le32(header + OFFSET_COUNT, rows->count);
    tarn_put_le64(header + OFFSET_DATA_LENGTH, rows->data_length);
    tarn_put_le64(header + OFFSET_BLOB_SIZE, rows->blob_size);
    memcpy(header + OFFSET_BLOB, rows->blob.bytes, TARN_DIGEST_SIZE);
    int ret = tarn_buf_reserve(table, HEADER_SIZE + (size_t)rows->count * ROW_SIZE);
    if (ret == 0)
        ret = tarn_buf_append(table, header, sizeof header);
    if (ret == 0)
        ret = tarn_buf_append(table, rows->addresses, (size_t)rows->count * 8);
    for (uint32_t i = 0; ret == 0 && i < rows->count; i++)
        ret = tarn_buf_append_le64(table, plain_location(rows->locations + (size_t)i * 8));
    if (ret == 0)
        ret = tarn_buf_append(table, rows->digests, (size_t)rows->count * TARN_DIGEST_SIZE);
    if (ret == 0)
        tarn_put_le64(table->data + OFFSET_XXH3,
                      XXH3_64bits(table->data + HEADER_SIZE, table->length - HEADER_SIZE));
    return ret;
}

int tarn_rows_digest(const struct tarn_rows *rows, struct tarn_digest *digest)
{
    tarn_cleanup(tarn_buf_release) struct tarn_buf table = { 0 };
    const int ret = tarn_rows_build_table(rows, &table);
    if (ret == 0)
        tarn_sha256(table.data, table.length, digest);
    return ret;
}

bool tarn_rows_same(const struct tarn_rows *table, const struct tarn_rows *rows)
{
    if (table->count != rows->count || table->data_length != rows->data_length ||
        table->blob_size != rows->blob_size || !tarn_digest_equal(&table->blob, &rows->blob))
        return false;
    if (rows->count == 0)
        return true;
    if (memcmp(table->addresses, rows->addresses, (size_t)rows->count * 8) != 0 ||
        memcmp(table->digests, rows->digests, (size_t)rows->count * TARN_DIGEST_SIZE) != 0)
        return false;
    for (uint32_t i = 0; i < rows->count; i++)
        if (tarn_get_le64(table->locations + (size_t)i * 8) !=
            plain_location(rows->locations + (size_t)i * 8))
            return false;
    return true;
}

bool tarn_rows_sound(const struct tarn_rows *rows)
{
    if (rows->data_length > TARN_DATA_SPACE_LIMIT)
        return false;
    for (uint32_t i = 0; i < rows->count; i++) {
        const uint64_t address = tarn_rows_address(rows, i);
        const bool gap = tarn_get_le64(rows->locations + (size_t)i * 8) == UINT64_MAX;
        if (address > rows->data_length || (i + 1 == rows->count && !gap))
            return false;
        if (i + 1 == rows->count)
            break;
        const uint64_t next = tarn_rows_address(rows, i + 1);
        if (next <= address || (!gap && next - address > TARN_CHUNK_MAX))
            return false;
    }
    return true;
}

bool tarn_rows_whole(const struct tarn_rows *rows)
{
    if (rows->count == 0)
        return rows->data_length == 0;
    for (uint32_t i = 0; i + 1 < rows->count; i++)
        if (tarn_get_le64(rows->locations + (size_t)i * 8) == UINT64_MAX)
            return false;
    return tarn_rows_address(rows, 0) == 0 &&
           tarn_rows_address(rows, rows->count - 1) == rows->data_length;
}

int tarn_rows_parse_table(const uint8_t *table, size_t length, struct tarn_rows *rows)
{
    if (length < HEADER_SIZE)
        return -EUCLEAN;
    rows->count = tarn_get_le32(table + OFFSET_COUNT);
    rows->data_length = tarn_get_le64(table + OFFSET_DATA_LENGTH);
    rows->blob_size = tarn_get_le64(table + OFFSET_BLOB_SIZE);
    memcpy(rows->blob.bytes, table + OFFSET_BLOB, TARN_DIGEST_SIZE);
    if (memcmp(table, magic, sizeof magic) != 0 ||
        tarn_get_le32(table + OFFSET_VERSION) != VERSION ||
        length != HEADER_SIZE + (uint64_t)rows->count * ROW_SIZE ||
        tarn_get_le64(table + OFFSET_XXH3) !=
            XXH3_64bits(table + HEADER_SIZE, length - HEADER_SIZE))
        return -EUCLEAN;
    rows->addresses = table + HEADER_SIZE;
    rows->locations = rows->addresses + (size_t)rows->count * 8;
    rows->digests = rows->locations + (size_t)rows->count * 8;
    return tarn_rows_sound(rows) ? 0 : -EUCLEAN;
}

uint64_t tarn_rows_table_hash(const uint8_t *table)
{
    return tarn_get_le64(table + OFFSET_XXH3);
}
