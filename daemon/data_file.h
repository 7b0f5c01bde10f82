// SPDX-License-Identifier: Apache-2.0
// One blob's data space on the node: a directory <name> in the store's blobs/ with
//   data     sparse, as long as the data space; each chunk at its address
//   written  a byte for each row: 1, the chunk was written. A hint, trusted for nothing.
//   table    the blob's rows (data_rows.h), so that any image can use its chunks
// "Verified" is a bit in memory only: set when the chunk was decoded and checked, or found right at
// first use. Bytes count only with that bit.
//
// A store that cannot be written (full, read-only, removed) costs speed, nothing else: chunks are not
// kept then, and a missing directory is made as soon as that can be done.
//
// The table is part of the identity: an image whose rows differ gets another directory, so that no
// image can plant chunks for another. It is mapped, so it may be cut, changed or unreadable at any time
// (bus_guard.h): what it says while no image is compared with it is a hint of where a chunk may be found.
// Which bytes are right is said by the caller, from an image's own tables. Any thread; the bits are atomic.
#ifndef TARN_DAEMON_DATA_FILE_H
#define TARN_DAEMON_DATA_FILE_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/data_table.h"

struct tarn_data_file {
    uint32_t number;         // set by the store: its place in the list there
    char *name;              // of the directory
    struct tarn_rows rows;   // points into the table
    bool whole;              // no gaps but the last row: the directory's name is the blob's digest
    _Atomic uint32_t users;  // images that are open and use it
    _Atomic bool unwritable; // the last chunk could not be written
    // How often the verified bits became void. Bytes that were read because their chunks were verified count
    // if this is afterwards what it was before the bits were looked at.
    _Atomic uint32_t distrusts;

    // private
    int blobs; // the store's directory, borrowed
    struct tarn_data_table table;
    _Atomic int fd;    // of data; -1 until first used
    _Atomic int marks; // of written; -1 until first used
    void *written_words;
    void *verified_words;
    _Atomic uint64_t *written;  // in written_words
    _Atomic uint64_t *verified; // in verified_words
    // Held while a verified bit is set, and while all become void: from a lost write's report on.
    pthread_mutex_t trust;
    pthread_mutex_t making; // guards made_at
    int64_t made_at;        // when making the directory was last tried, monotonic seconds
};

// Opens the directory. -EUCLEAN if its table is missing or damaged. blobs outlives the file.
int tarn_data_file_open(int blobs, const char *name, struct tarn_data_file **file,
                        struct tarn_err *err) tarn_must_check;
// Makes the directory (replacing a damaged one) and opens it. If that cannot be done, its table is in
// memory only.
int tarn_data_file_create(int blobs, const char *name, const struct tarn_rows *rows,
                          struct tarn_data_file **file, struct tarn_err *err) tarn_must_check;
void tarn_data_file_free(struct tarn_data_file *file);

// Of a row of the blob, from 0; false for one that it does not have.
static inline bool tarn_data_file_verified(const struct tarn_data_file *file, uint32_t row)
{
    return row < file->rows.count &&
           atomic_load_explicit(&file->verified[row / 64], memory_order_acquire) >> (row % 64) & 1;
}

static inline bool tarn_data_file_written(const struct tarn_data_file *file, uint32_t row)
{
    return row < file->rows.count &&
           atomic_load_explicit(&file->written[row / 64], memory_order_acquire) >> (row % 64) & 1;
}

static inline bool tarn_data_file_unwritable(const struct tarn_data_file *file)
{
    return atomic_load_explicit(&file->unwritable, memory_order_relaxed);
}

// Reads bytes of the data space. Blocks. -EIO: they cannot be read or are not all there, or the disk did not
// take what was written since; no chunk of the file is verified any more then. Another -errno: the file
// cannot be opened now.
int tarn_data_file_read(struct tarn_data_file *file, uint64_t address, void *data,
                        size_t length) tarn_must_check;

// Reads a chunk (to scratch, TARN_CHUNK_MAX bytes) and checks its digest: 0, and sets verified, unless the
// bits became void meanwhile; or clears both bits, -EIO. Another -errno: it could not be looked at. Blocks.
int tarn_data_file_check(struct tarn_data_file *file, const struct tarn_row_chunk *chunk,
                         void *scratch) tarn_must_check;

// The same for a chunk that another file wants, and of which a table says that it may be here: verified
// is not set, since the row may lie elsewhere.
int tarn_data_file_lend(struct tarn_data_file *file, const struct tarn_row_chunk *chunk,
                        void *bytes) tarn_must_check;

// Writes a chunk whose digest was checked, and sets both bits, verified only unless the bits became void
// meanwhile. Blocks. -errno: neither is set.
int tarn_data_file_put(struct tarn_data_file *file, const struct tarn_row_chunk *chunk,
                       const void *bytes) tarn_must_check;

// Whether the file is that of these rows. False if its table is damaged.
bool tarn_data_file_same(const struct tarn_data_file *file, const struct tarn_rows *rows);
// Makes a damaged table again from the rows that it had. proven: the rows are those of the directory's
// name; else nobody may use the file. Nothing is verified then. Returns whether the file is that of these
// rows now. Blocks; one caller at a time.
bool tarn_data_file_mend(struct tarn_data_file *file, const struct tarn_rows *rows, bool proven);

#endif
