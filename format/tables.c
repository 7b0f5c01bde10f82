// SPDX-License-Identifier: Apache-2.0
#include "format/tables.h"

#include <assert.h>

#include "format/tables_internal.h"

enum {
    ADDRESS_BITS = 44,
    STORED_LENGTH_BITS = 17,
    BLOB_BITS = 19,
    REFERENCE_BIT = 63,
    RAW_BIT = 62,
    RUN_START_BIT = 61,
};

#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)

struct tarn_location tarn_location_unpack(uint64_t packed)
{
    if (packed == UINT64_MAX)
        return (struct tarn_location){ .kind = TARN_LOCATION_GAP };
    if (packed >> REFERENCE_BIT)
        return (struct tarn_location){
            .kind = TARN_LOCATION_REFERENCE,
            .blob = (uint32_t)(packed >> ADDRESS_BITS & MASK(BLOB_BITS)),
            .address = packed & MASK(ADDRESS_BITS),
        };
    return (struct tarn_location){
        .kind = TARN_LOCATION_STORED,
        .raw = packed >> RAW_BIT & 1,
        .run_start = packed >> RUN_START_BIT & 1,
        .stored_length = (uint32_t)(packed >> ADDRESS_BITS & MASK(STORED_LENGTH_BITS)) + 1,
        .offset = packed & MASK(ADDRESS_BITS),
    };
}

uint64_t tarn_location_pack(const struct tarn_location *location)
{
    switch (location->kind) {
    case TARN_LOCATION_GAP:
        return UINT64_MAX;
    case TARN_LOCATION_REFERENCE:
        assert(location->blob < TARN_BLOBS_MAX && location->address <= MASK(ADDRESS_BITS));
        return UINT64_C(1) << REFERENCE_BIT | (uint64_t)location->blob << ADDRESS_BITS |
               location->address;
    case TARN_LOCATION_STORED:
        break;
    }
    assert(location->stored_length > 0 && location->stored_length <= TARN_CHUNK_MAX);
    assert(location->offset <= MASK(ADDRESS_BITS));
    return (uint64_t)location->raw << RAW_BIT | (uint64_t)location->run_start << RUN_START_BIT |
           (uint64_t)(location->stored_length - 1) << ADDRESS_BITS | location->offset;
}

struct tarn_blob_record tarn_tables_blob(const struct tarn_tables *tables, uint32_t blob)
{
    assert(blob < tables->blob_count);
    const uint8_t *bytes = tables->blobs + (size_t)blob * TARN_BLOB_RECORD_SIZE;
    struct tarn_blob_record record = {
        .size = tarn_get_le64(bytes + RECORD_SIZE),
        .data_length = tarn_get_le64(bytes + RECORD_DATA_LENGTH),
        .metadata_offset = tarn_get_le64(bytes + RECORD_METADATA_OFFSET),
        .metadata_length = tarn_get_le64(bytes + RECORD_METADATA_LENGTH),
        .first_row = tarn_get_le32(bytes + RECORD_FIRST_ROW),
        .row_count = tarn_get_le32(bytes + RECORD_ROW_COUNT),
        .slot = tarn_get_le32(bytes + RECORD_SLOT),
        .role = tarn_get_le32(bytes + RECORD_ROLE) == TARN_BLOB_CHAIN ? TARN_BLOB_CHAIN
                                                                      : TARN_BLOB_FOREIGN,
    };
    memcpy(record.digest.bytes, bytes + RECORD_DIGEST, TARN_DIGEST_SIZE);
    memcpy(record.metadata_digest.bytes, bytes + RECORD_METADATA_DIGEST, TARN_DIGEST_SIZE);
    return record;
}

static bool is_gap(const struct tarn_tables *tables, uint32_t row)
{
    return tarn_get_le64(tables->locations + (size_t)row * 8) == UINT64_MAX;
}

// The last row that starts at or before the address. No branch depends on what is compared.
uint32_t tarn_tables_find(const struct tarn_tables *tables, const struct tarn_blob_record *blob,
                          uint64_t address)
{
    if (blob->row_count < 2 || !tarn_range_ok(blob->first_row, blob->row_count, tables->row_count))
        return TARN_NONE;
    const uint8_t *const rows = tables->addresses + (size_t)blob->first_row * 8;
    size_t base = 0;
    for (size_t n = blob->row_count; n > 1;) {
        const size_t half = n / 2;
        base += tarn_get_le64(rows + (base + half) * 8) <= address ? half : 0;
        n -= half;
    }
    if (base == blob->row_count - 1 || tarn_get_le64(rows) > address)
        return TARN_NONE;
    const uint32_t row = blob->first_row + (uint32_t)base;
    return is_gap(tables, row) ? TARN_NONE : row;
}

struct tarn_row_range tarn_tables_rows(const struct tarn_tables *tables,
                                       const struct tarn_blob_record *blob, uint64_t from,
                                       uint64_t to)
{
    const uint32_t first = from < to ? tarn_tables_find(tables, blob, from) : TARN_NONE;
    if (first == TARN_NONE)
        return (struct tarn_row_range){ .whole = from >= to };
    const uint32_t last = blob->first_row + blob->row_count - 1; // where the data space ends
    uint32_t end = first + 1;
    while (end < last && tarn_tables_address(tables, end) < to && !is_gap(tables, end))
        end++;
    return (struct tarn_row_range){ first, end, tarn_tables_address(tables, end) >= to };
}

uint32_t tarn_tables_run_start(const struct tarn_tables *tables, uint32_t row)
{
    while (row > 0) {
        const struct tarn_location location = tarn_tables_location(tables, row);
        if (location.kind != TARN_LOCATION_STORED || location.run_start)
            break;
        row--;
    }
    return row;
}
