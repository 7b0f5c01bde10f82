// SPDX-License-Identifier: Apache-2.0
// The rows of one blob's chunk table, and the file "table" that keeps them in the store: a header, then
// addresses, locations and digests as in docs/format.md, section 7. Of a reference only that it is one
// is kept: blob indexes differ between images. Pure functions over bytes.
#ifndef TARN_DAEMON_DATA_ROWS_H
#define TARN_DAEMON_DATA_ROWS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/digest.h"
#include "format/tables.h"

// A blob's rows, borrowed.
struct tarn_rows {
    struct tarn_digest blob;
    uint64_t blob_size;
    uint64_t data_length;
    uint32_t count; // gap rows included
    const uint8_t *addresses;
    const uint8_t *locations;
    const uint8_t *digests;
};

// A chunk as an image's tables name it.
struct tarn_row_chunk {
    uint32_t row; // of its blob
    uint64_t address;
    size_t length;
    struct tarn_digest digest;
};

// The rows of one blob of a table.
struct tarn_rows tarn_rows_of(const struct tarn_tables *tables,
                              const struct tarn_blob_record *record);

static inline uint64_t tarn_rows_address(const struct tarn_rows *rows, uint32_t row)
{
    return tarn_get_le64(rows->addresses + (size_t)row * 8);
}

// Bytes of the chunk. Not for the last row.
static inline size_t tarn_rows_length(const struct tarn_rows *rows, uint32_t row)
{
    return (size_t)(tarn_rows_address(rows, row + 1) - tarn_rows_address(rows, row));
}

static inline const struct tarn_digest *tarn_rows_digest_at(const struct tarn_rows *rows,
                                                            uint32_t row)
{
    return (const struct tarn_digest *)(const void *)(rows->digests +
                                                      (size_t)row * TARN_DIGEST_SIZE);
}

// The chunk of a row, not of the last one. The digest is read last (bus_guard.h).
static inline struct tarn_row_chunk tarn_rows_chunk(const struct tarn_rows *rows, uint32_t row)
{
    struct tarn_row_chunk chunk = { .row = row, .address = tarn_rows_address(rows, row) };
    chunk.length = tarn_rows_length(rows, row);
    chunk.digest = *tarn_rows_digest_at(rows, row);
    return chunk;
}

// Whether chunk rows can be used without further checks: inside the data space, of a chunk's length.
bool tarn_rows_sound(const struct tarn_rows *rows);
// No gaps but the last row.
bool tarn_rows_whole(const struct tarn_rows *rows);

// Appends the table. -ENOMEM.
int tarn_rows_build_table(const struct tarn_rows *rows, struct tarn_buf *table) tarn_must_check;
// Rows that point into the table. -EUCLEAN: it is none, or is damaged.
int tarn_rows_parse_table(const uint8_t *table, size_t length,
                          struct tarn_rows *rows) tarn_must_check;

// The checksum that a table says it has, which finds accidents.
uint64_t tarn_rows_table_hash(const uint8_t *table);

// Whether a table's rows say the same as those: addresses, digests, and where chunks are stored.
bool tarn_rows_same(const struct tarn_rows *table, const struct tarn_rows *rows);
// What tells apart tables of one blob. Sets digest. -ENOMEM.
int tarn_rows_digest(const struct tarn_rows *rows, struct tarn_digest *digest) tarn_must_check;

#endif
