// SPDX-License-Identifier: Apache-2.0
#include "converter/data_reader.h"

#include <inttypes.h>

#include "format/chunk_codec.h"

// One run: where it is, its stored bytes, and the data space that was decoded from them so far.
struct run {
    uint64_t used; // when: larger is later; 0: the slot is empty
    uint32_t blob;
    uint32_t first_row;
    uint32_t end_row;  // behind the last row of the run that the tables know
    uint32_t next_row; // the first that is not decoded yet
    uint64_t address;  // of the first chunk
    uint64_t offset;   // of the stored bytes in the blob
    struct tarn_buf stored;
    struct tarn_buf plain; // from address on
};

struct tarn_data_reader {
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    const struct tarn_tables *tables;
    struct tarn_decoder *decoder;
    uint64_t clock;
    struct run runs[TARN_DATA_READER_RUNS];
};

struct tarn_data_reader *tarn_data_reader_new(struct tarn_blocking *blocking,
                                              struct tarn_repository *repository,
                                              const struct tarn_tables *tables)
{
    struct tarn_data_reader *reader = calloc(1, sizeof *reader);
    struct tarn_decoder *decoder = tarn_decoder_new();
    if (!reader || !decoder) {
        free(reader);
        tarn_decoder_free(decoder);
        return NULL;
    }
    reader->blocking = blocking;
    reader->repository = repository;
    reader->tables = tables;
    reader->decoder = decoder;
    return reader;
}

void tarn_data_reader_free(struct tarn_data_reader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < TARN_DATA_READER_RUNS; i++) {
        tarn_buf_release(&reader->runs[i].stored);
        tarn_buf_release(&reader->runs[i].plain);
    }
    tarn_decoder_free(reader->decoder);
    free(reader);
}

// Sets err to "blob sha256:... chunk at data-space address N (offset O): why".
static int fail_chunk(const struct tarn_data_reader *reader, const struct run *run, uint32_t row,
                      const char *why, struct tarn_err *err)
{
    const struct tarn_blob_record blob = tarn_tables_blob(reader->tables, run->blob);
    char text[TARN_DIGEST_TEXT];
    return tarn_fail(
        err, -EIO, "blob %s chunk at data-space address %" PRIu64 " (offset %" PRIu64 "): %s",
        tarn_digest_format(&blob.digest, text), tarn_tables_address(reader->tables, row),
        tarn_tables_location(reader->tables, row).offset, why);
}

// --- fetching ------------------------------------------------------------------------------------
// Behind the last known row of the run that starts at first.
static uint32_t find_run_end(const struct tarn_tables *tables,
                             const struct tarn_blob_record *record, uint32_t first)
{
    uint32_t row = first + 1;
    while (row < record->first_row + record->row_count) {
        const struct tarn_location location = tarn_tables_location(tables, row);
        if (location.kind != TARN_LOCATION_STORED || location.run_start)
            break;
        row++;
    }
    return row;
}

static int fetch(struct tarn_data_reader *reader, struct run *run,
                 const struct tarn_blob_record *record, struct tarn_err *err)
{
    const struct tarn_location first = tarn_tables_location(reader->tables, run->first_row);
    const struct tarn_location last = tarn_tables_location(reader->tables, run->end_row - 1);
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = record->digest,
        .size = record->size,
        .offset = first.offset,
        .length = last.offset + last.stored_length - first.offset,
    };
    const int ret =
        tarn_blocking_read_buf(reader->blocking, reader->repository, &read, &run->stored, err);
    if (ret == -ENOMEM)
        return tarn_fail(err, ret, "out of memory for a run");
    if (ret < 0)
        return ret;
    if (run->stored.length != read.length)
        return fail_chunk(reader, run, run->first_row, "the blob ends in its run", err);
    return 0;
}

static struct run *find_cached(struct tarn_data_reader *reader, uint32_t first_row)
{
    for (size_t i = 0; i < TARN_DATA_READER_RUNS; i++)
        if (reader->runs[i].used > 0 && reader->runs[i].first_row == first_row)
            return &reader->runs[i];
    return NULL;
}

static struct run *evict(struct tarn_data_reader *reader)
{
    struct run *oldest = &reader->runs[0];
    for (size_t i = 1; i < TARN_DATA_READER_RUNS; i++)
        if (reader->runs[i].used < oldest->used)
            oldest = &reader->runs[i];
    oldest->used = 0;
    oldest->stored.length = 0;
    oldest->plain.length = 0;
    return oldest;
}

// The run of a stored row, with its stored bytes unless all of it is decoded.
static int get_run(struct tarn_data_reader *reader, uint32_t blob, uint32_t row, struct run **found,
                   struct tarn_err *err)
{
    const uint32_t first_row = tarn_tables_run_start(reader->tables, row);
    struct run *run = find_cached(reader, first_row);
    if (!run) {
        const struct tarn_blob_record record = tarn_tables_blob(reader->tables, blob);
        run = evict(reader);
        run->blob = blob;
        run->first_row = first_row;
        run->next_row = first_row;
        run->end_row = find_run_end(reader->tables, &record, first_row);
        run->address = tarn_tables_address(reader->tables, first_row);
        run->offset = tarn_tables_location(reader->tables, first_row).offset;
        const int ret = fetch(reader, run, &record, err);
        if (ret < 0)
            return ret;
    }
    run->used = ++reader->clock;
    *found = run;
    return 0;
}

// --- decoding ------------------------------------------------------------------------------------
static int decode_next(struct tarn_data_reader *reader, struct run *run, struct tarn_err *err)
{
    const uint32_t row = run->next_row;
    const struct tarn_location location = tarn_tables_location(reader->tables, row);
    const size_t length = (size_t)tarn_tables_length(reader->tables, row);
    const size_t prefix = (size_t)tarn_min_u64(run->plain.length, TARN_PREFIX_LENGTH);
    if (tarn_buf_reserve(&run->plain, length) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory for a run");
    uint8_t *out = run->plain.data + run->plain.length;
    const struct tarn_encoded_chunk chunk = {
        .stored = run->stored.data + (location.offset - run->offset),
        .stored_length = location.stored_length,
        .raw = location.raw,
        .prefix = prefix > 0 ? out - prefix : NULL,
        .prefix_length = prefix,
    };
    const int ret = tarn_decoder_decode(reader->decoder, &chunk, out, length);
    if (ret == -ENOMEM)
        return tarn_fail(err, ret, "out of memory for a chunk");
    if (ret < 0)
        return fail_chunk(reader, run, row, "it cannot be decoded, the blob is damaged", err);
    struct tarn_digest want, got;
    tarn_tables_digest(reader->tables, row, &want);
    tarn_sha256(out, length, &got);
    if (!tarn_digest_equal(&want, &got))
        return fail_chunk(reader, run, row, "digest is wrong, the blob is damaged", err);
    run->plain.length += length;
    run->next_row++;
    return 0;
}

// The bytes of a stored row, in the run.
static int get_chunk(struct tarn_data_reader *reader, uint32_t blob, uint32_t row,
                     const uint8_t **bytes, struct tarn_err *err)
{
    struct run *run = NULL;
    int ret = get_run(reader, blob, row, &run, err);
    while (ret == 0 && run->next_row <= row)
        ret = decode_next(reader, run, err);
    if (ret == 0)
        *bytes = run->plain.data + (tarn_tables_address(reader->tables, row) - run->address);
    return ret;
}

// --- reading -------------------------------------------------------------------------------------
static int find_row(const struct tarn_data_reader *reader, uint32_t blob, uint64_t address,
                    uint32_t *row, struct tarn_err *err)
{
    const struct tarn_tables *tables = reader->tables;
    if (blob >= tables->blob_count)
        return tarn_fail(err, -EUCLEAN, "there is no blob %u", blob);
    const struct tarn_blob_record record = tarn_tables_blob(tables, blob);
    *row = tarn_tables_find(tables, &record, address);
    if (*row != TARN_NONE)
        return 0;
    char text[TARN_DIGEST_TEXT];
    return tarn_fail(err, -EUCLEAN, "blob %s: there is no chunk at data-space address %" PRIu64,
                     tarn_digest_format(&record.digest, text), address);
}

// Copies from the chunk that holds the address, at most length bytes.
static int read_some(struct tarn_data_reader *reader, uint32_t blob, uint64_t address,
                     struct tarn_buf *out, struct tarn_err *err)
{
    uint32_t row;
    int ret = find_row(reader, blob, address, &row, err);
    if (ret < 0)
        return ret;
    const uint64_t inside = address - tarn_tables_address(reader->tables, row);
    const uint64_t left = tarn_tables_length(reader->tables, row) - inside;
    const struct tarn_location location = tarn_tables_location(reader->tables, row);
    if (location.kind == TARN_LOCATION_REFERENCE) {
        blob = location.blob;
        ret = find_row(reader, blob, location.address, &row, err);
        if (ret < 0)
            return ret;
    }
    const uint8_t *bytes = NULL;
    ret = get_chunk(reader, blob, row, &bytes, err);
    if (ret < 0)
        return ret;
    const size_t step = (size_t)tarn_min_u64(out->capacity - out->length, left);
    memcpy(out->data + out->length, bytes + inside, step);
    out->length += step;
    return 0;
}

int tarn_data_reader_read(struct tarn_data_reader *reader, const struct tarn_data_range *range,
                          void *buffer, struct tarn_err *err)
{
    struct tarn_buf out = { .data = buffer, .capacity = range->length };
    while (out.length < range->length) {
        const int ret = read_some(reader, range->blob, range->address + out.length, &out, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}
