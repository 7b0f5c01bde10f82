// SPDX-License-Identifier: Apache-2.0
// Open addressing with linear probing. A slot holds file number + 1 and
// row. Nothing is ever removed: a row whose chunk is not written is passed over.
#include "daemon/chunk_index.h"

struct place {
    uint32_t file; // index in files + 1; 0: empty
    uint32_t row;
};

struct tarn_chunk_index {
    struct place *places;
    size_t capacity; // a power of two
    size_t count;
    struct tarn_data_file **files;
    uint32_t file_count;
};

enum { FIRST_CAPACITY = 1024, PROBES_MAX = 4096 };

struct tarn_chunk_index *tarn_chunk_index_new(void)
{
    struct tarn_chunk_index *index = calloc(1, sizeof *index);
    if (!index)
        return NULL;
    index->capacity = FIRST_CAPACITY;
    index->places = calloc(index->capacity, sizeof *index->places);
    if (!index->places) {
        free(index);
        return NULL;
    }
    return index;
}

void tarn_chunk_index_free(struct tarn_chunk_index *index)
{
    if (!index)
        return;
    free(index->places);
    free(index->files);
    free(index);
}

static size_t start_of(const struct tarn_chunk_index *index, const struct tarn_digest *digest,
                       size_t capacity)
{
    return (size_t)tarn_digest_hash(digest, index) & (capacity - 1);
}

static const struct tarn_digest *digest_of(const struct tarn_chunk_index *index, struct place place)
{
    return tarn_rows_digest_at(&index->files[place.file - 1]->rows, place.row);
}

static void insert(const struct tarn_chunk_index *index, struct place *places, size_t capacity,
                   struct place place)
{
    size_t i = start_of(index, digest_of(index, place), capacity);
    while (places[i].file != 0)
        i = (i + 1) & (capacity - 1);
    places[i] = place;
}

static int grow(struct tarn_chunk_index *index, size_t extra)
{
    size_t capacity = index->capacity;
    while ((index->count + extra) * 4 > capacity * 3)
        capacity *= 2;
    if (capacity == index->capacity)
        return 0;
    struct place *places = calloc(capacity, sizeof *places);
    if (!places)
        return -ENOMEM;
    for (size_t i = 0; i < index->capacity; i++)
        if (index->places[i].file != 0 && !tarn_digest_is_zero(digest_of(index, index->places[i])))
            insert(index, places, capacity, index->places[i]);
    free(index->places);
    index->places = places;
    index->capacity = capacity;
    return 0;
}

// A digest that the index holds several times (one chunk repeated in a file, as references) is
// entered once for each file: its first row.
static bool holds(const struct tarn_chunk_index *index, struct place place)
{
    const struct tarn_digest *digest = digest_of(index, place);
    size_t i = start_of(index, digest, index->capacity);
    for (; index->places[i].file != 0; i = (i + 1) & (index->capacity - 1))
        if (index->places[i].file == place.file &&
            tarn_digest_equal(digest_of(index, index->places[i]), digest))
            return true;
    return false;
}

int tarn_chunk_index_add(struct tarn_chunk_index *index, struct tarn_data_file *file)
{
    struct tarn_data_file **files =
        reallocarray(index->files, (size_t)index->file_count + 1, sizeof *files);
    if (!files)
        return -ENOMEM;
    index->files = files;
    files[index->file_count++] = file;
    if (file->rows.count == 0)
        return 0;
    const int ret = grow(index, file->rows.count);
    if (ret < 0)
        return ret;
    for (uint32_t row = 0; row + 1 < file->rows.count; row++) {
        const struct place place = { index->file_count, row };
        if (tarn_digest_is_zero(digest_of(index, place)) || holds(index, place))
            continue;
        insert(index, index->places, index->capacity, place);
        index->count++;
    }
    return 0;
}

bool tarn_chunk_index_find(const struct tarn_chunk_index *index, const struct tarn_digest *digest,
                           size_t length, const struct tarn_data_file *except,
                           struct tarn_chunk_place *place)
{
    size_t i = start_of(index, digest, index->capacity);
    for (size_t n = 0; index->places[i].file != 0 && n < PROBES_MAX;
         n++, i = (i + 1) & (index->capacity - 1)) {
        const struct place candidate = index->places[i];
        struct tarn_data_file *file = index->files[candidate.file - 1];
        if (file == except || !tarn_data_file_written(file, candidate.row) ||
            !tarn_digest_equal(digest_of(index, candidate), digest) ||
            tarn_rows_length(&file->rows, candidate.row) != length)
            continue;
        place->file = file;
        place->row = candidate.row;
        place->address = tarn_rows_address(&file->rows, candidate.row);
        return true;
    }
    return false;
}
