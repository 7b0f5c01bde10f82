// SPDX-License-Identifier: Apache-2.0
// One blob's data space on the node: a directory <name> in the store's blobs/ with
//   data     sparse, as long as the data space; each chunk at its address
//   written  one bit for each row: the chunk was written. A hint, trusted for nothing.
//   table    the blob's rows (addresses, locations, digests), so that any image can use its chunks
// "Verified" is a bit in memory only: set when the chunk was decoded and checked, or found right at
// first use. Bytes count only with that bit.
//
// The table is part of the identity: an image whose rows differ gets another directory, so that no
// image can plant chunks for another. Any thread; the bits are atomic.
#ifndef TARN_DAEMON_DATA_FILE_H
#define TARN_DAEMON_DATA_FILE_H

#include <stdatomic.h>
#include <stdbool.h>

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

// The rows of one blob of a table.
struct tarn_rows tarn_rows_of(const struct tarn_tables *tables,
                              const struct tarn_blob_record *record);

struct tarn_data_file {
    uint32_t number;         // set by the store: its place in the list there
    char *name;              // of the directory
    struct tarn_rows rows;   // points into the mapped table
    bool whole;              // no gaps but the last row: the directory's name is the blob's digest
    _Atomic uint32_t users;  // images that are open and use it
    _Atomic bool unwritable; // the last chunk could not be written

    // private
    int directory;  // -1: there is none
    _Atomic int fd; // -1 until first used
    void *table;
    size_t table_length;
    void *written_map; // of the file, or anonymous when the disk is full
    size_t written_length;
    void *verified_words;
    _Atomic uint64_t *written;  // in written_map
    _Atomic uint64_t *verified; // in verified_words
};

// Opens the directory. -ENOENT if there is none; -EUCLEAN if its table is damaged.
int tarn_data_file_open(int blobs, const char *name, struct tarn_data_file **file,
                        struct tarn_err *err) tarn_must_check;
// Makes the directory (replacing a damaged one) and opens it. On a full disk the file lives in memory
// only, without data: no chunk can be written to it.
int tarn_data_file_create(int blobs, const char *name, const struct tarn_rows *rows,
                          struct tarn_data_file **file, struct tarn_err *err) tarn_must_check;
void tarn_data_file_free(struct tarn_data_file *file);

// Whether its table says the same: addresses, digests, and where chunks are stored (that a row is a
// reference counts, its target does not: blob indexes differ between images).
bool tarn_data_file_same(const struct tarn_data_file *file, const struct tarn_rows *rows);
// What tells apart tables of one blob. Sets digest.
int tarn_rows_digest(const struct tarn_rows *rows, struct tarn_digest *digest) tarn_must_check;

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

static inline bool tarn_data_file_verified(const struct tarn_data_file *file, uint32_t row)
{
    return atomic_load_explicit(&file->verified[row / 64], memory_order_acquire) >> (row % 64) & 1;
}

static inline bool tarn_data_file_written(const struct tarn_data_file *file, uint32_t row)
{
    return atomic_load_explicit(&file->written[row / 64], memory_order_acquire) >> (row % 64) & 1;
}

// Reads bytes of the data space. Blocks. Short files give -EIO.
int tarn_data_file_read(struct tarn_data_file *file, uint64_t address, void *data,
                        size_t length) tarn_must_check;

// Reads a chunk (to scratch, TARN_CHUNK_MAX bytes) and checks its digest: sets verified, 0; or
// clears both bits, -EIO. Blocks.
int tarn_data_file_check(struct tarn_data_file *file, uint32_t row, void *scratch) tarn_must_check;

// Writes a chunk whose digest was checked, and sets both bits. Blocks. -errno: neither is set.
int tarn_data_file_put(struct tarn_data_file *file, uint32_t row,
                       const void *bytes) tarn_must_check;

#endif
