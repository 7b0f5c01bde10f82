// SPDX-License-Identifier: Apache-2.0
// Input: u8 blobs in the chain, u8 own + 1 (0: a bootstrap), u8 blobs, u8 rows, u64 length of the
// chunks section; then blob records, addresses, locations, digests, missing bytes being zero.
#include <stdlib.h>
#include <string.h>

#include "format/tables.h"

enum { HEADER = 12 };

// A copy of its own, for AddressSanitizer to find each byte too far.
static const uint8_t *take(const uint8_t **data, size_t *size, size_t length, uint8_t **copy)
{
    *copy = calloc(length ? length : 1, 1);
    if (!*copy)
        abort();
    const size_t n = length < *size ? length : *size;
    memcpy(*copy, *data, n);
    *data += n;
    *size -= n;
    return *copy;
}

// Everything that may be asked of any tables, sound or not.
static void ask(const struct tarn_tables *tables)
{
    for (uint32_t i = 0; i < tables->blob_count; i++) {
        const struct tarn_blob_record blob = tarn_tables_blob(tables, i);
        for (uint32_t row = 0; row < tables->row_count; row += 1 + tables->blob_count / 8) {
            const uint64_t address = tarn_tables_address(tables, row);
            const uint32_t found = tarn_tables_find(tables, &blob, address);
            if (found != TARN_NONE &&
                (found < blob.first_row || found - blob.first_row >= blob.row_count - 1))
                abort();
            if (address > UINT64_MAX - TARN_CHUNK_MAX)
                continue;
            const struct tarn_row_range rows =
                tarn_tables_rows(tables, &blob, address, address + TARN_CHUNK_MAX);
            if ((found == TARN_NONE) != (rows.first == rows.end) ||
                (found != TARN_NONE && rows.end - blob.first_row >= blob.row_count))
                abort();
        }
    }
    for (uint32_t row = 0; row < tables->row_count; row++) {
        if (tarn_tables_run_start(tables, row) > row)
            abort();
        const struct tarn_location location = tarn_tables_location(tables, row);
        const uint64_t packed = tarn_get_le64(tables->locations + (size_t)row * 8);
        if ((location.kind != TARN_LOCATION_REFERENCE || location.blob < TARN_BLOBS_MAX) &&
            (location.kind != TARN_LOCATION_STORED || location.stored_length <= TARN_CHUNK_MAX) &&
            tarn_location_pack(&location) != packed)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEADER)
        return 0;
    struct tarn_tables tables = { .blob_count = data[2], .row_count = data[3] };
    struct tarn_tables_rules rules = {
        .chain = data[0],
        .own = data[1] ? data[1] - 1U : TARN_NONE,
        .chunks_length = tarn_get_le64(data + 4),
    };
    if (data[1])
        rules.chain = data[1];
    data += HEADER;
    size -= HEADER;
    uint8_t *copies[4];
    tables.blobs =
        take(&data, &size, (size_t)tables.blob_count * TARN_BLOB_RECORD_SIZE, &copies[0]);
    tables.addresses = take(&data, &size, (size_t)tables.row_count * 8, &copies[1]);
    tables.locations = take(&data, &size, (size_t)tables.row_count * 8, &copies[2]);
    tables.digests = take(&data, &size, (size_t)tables.row_count * 32, &copies[3]);
    struct tarn_err err = { 0 };
    const int ret = tarn_tables_verify(&tables, &rules, &err);
    if (ret < 0 && ret != -ENOMEM && strncmp(err.text, "section 0x01", 12) != 0)
        abort();
    ask(&tables);
    for (size_t i = 0; i < 4; i++)
        free(copies[i]);
    return 0;
}
