// SPDX-License-Identifier: Apache-2.0
// Where in the store a chunk with a digest may lie: all rows of all data files. Eight bytes and a
// little for each row; digests stay in the mapped tables. The caller serialises.
#ifndef TARN_DAEMON_CHUNK_INDEX_H
#define TARN_DAEMON_CHUNK_INDEX_H

#include "daemon/data_file.h"

struct tarn_chunk_index;

struct tarn_chunk_place {
    struct tarn_data_file *file; // borrowed
    uint32_t row;                // of the file's blob, from 0
    uint64_t address;            // where its table says that the row lies
};

struct tarn_chunk_index *tarn_chunk_index_new(void); // NULL when out of memory
void tarn_chunk_index_free(struct tarn_chunk_index *index);

// Adds all chunks of a file, which must outlive the index. -ENOMEM: some may be missing.
int tarn_chunk_index_add(struct tarn_chunk_index *index,
                         struct tarn_data_file *file) tarn_must_check;

// Finds a written chunk with this digest and length in another file than the given one.
bool tarn_chunk_index_find(const struct tarn_chunk_index *index, const struct tarn_digest *digest,
                           size_t length, const struct tarn_data_file *except,
                           struct tarn_chunk_place *place);

#endif
