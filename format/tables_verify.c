// SPDX-License-Identifier: Apache-2.0
// The rules of section 7. Pass 1: the records, so that every blob's rows are known to lie in the
// arrays. Pass 2: blob by blob, row by row. A reference's row is found by binary search in rows
// that may not have been visited yet; that is harmless for memory, and whether those ascend is
// found out when their turn comes.
#include <assert.h>

#include "format/section.h"
#include "format/tables.h"
#include "format/tables_internal.h"

struct check {
    const struct tarn_tables *tables;
    const struct tarn_tables_rules *rules;
    struct tarn_err *err;
    uint8_t *referenced;   // a bit for each row: some reference names it
    uint32_t next_foreign; // the next foreign blob that may be referred to for the first time
};

// What goes along with the rows of one blob.
struct walk {
    uint32_t blob;
    struct tarn_blob_record record;
    bool whole;          // the blob's table has all of its rows
    bool in_run;         // the row before is a stored chunk, and its run is not closed
    uint64_t run_length; // of that run so far
    bool stored_before;  // the row before is a stored chunk
    bool gap_before;
    uint64_t next_offset; // end of the last stored chunk in the blob
};

static int fail_blob(const struct check *check, uint32_t blob, const char *rule)
{
    return tarn_fail(check->err, -EUCLEAN, "section 0x%04x record %u: %s", TARN_SECTION_BLOBS, blob,
                     rule);
}

static int fail_row(const struct check *check, uint32_t section, uint32_t row, const char *rule)
{
    return tarn_fail(check->err, -EUCLEAN, "section 0x%04x row %u: %s", section, row, rule);
}

static int fail_address(const struct check *check, uint32_t row, const char *rule)
{
    return fail_row(check, TARN_SECTION_CHUNK_ADDRESSES, row, rule);
}

static int fail_location(const struct check *check, uint32_t row, const char *rule)
{
    return fail_row(check, TARN_SECTION_CHUNK_LOCATIONS, row, rule);
}

static bool is_own(const struct check *check, uint32_t blob)
{
    return blob == check->rules->own;
}

// A blob that stands in the tables only to be named.
static bool is_lower(const struct check *check, uint32_t blob)
{
    return check->rules->own != TARN_NONE && blob < check->rules->own;
}

static bool is_foreign(const struct check *check, uint32_t blob)
{
    return blob >= check->rules->chain;
}

static const char *record_rule(const struct check *check, uint32_t blob,
                               const struct tarn_blob_record *record)
{
    const bool own = is_own(check, blob);
    if (record->data_length > TARN_DATA_SPACE_LIMIT || record->data_length % TARN_BLOCK != 0)
        return "data space has a wrong length";
    if (own &&
        (record->size | record->metadata_offset | record->metadata_length ||
         !tarn_digest_is_zero(&record->digest) || !tarn_digest_is_zero(&record->metadata_digest)))
        return "the own blob's digest, size and metadata are not zero";
    if (!own && record->metadata_length == 0)
        return "has no layer metadata";
    if (!own && (record->metadata_offset % 8 != 0 ||
                 !tarn_range_ok(record->metadata_offset, record->metadata_length, record->size)))
        return "layer metadata lies outside of the blob";
    if (check->rules->own != TARN_NONE && record->slot != 0)
        return "slot is not zero";
    if (is_lower(check, blob) && record->row_count != 0)
        return "a lower blob has rows";
    if (!is_lower(check, blob) && record->row_count < (is_foreign(check, blob) ? 2 : 1))
        return "has no rows";
    return NULL;
}

static int check_records(const struct check *check)
{
    const struct tarn_tables *tables = check->tables;
    const struct tarn_tables_rules *rules = check->rules;
    if (tables->blob_count > TARN_BLOBS_MAX || tables->blob_count < rules->chain)
        return tarn_fail(check->err, -EUCLEAN,
                         "section 0x%04x: %u records do not fit a chain of %u", TARN_SECTION_BLOBS,
                         tables->blob_count, rules->chain);
    uint64_t rows = 0;
    for (uint32_t i = 0; i < tables->blob_count; i++) {
        const uint8_t *bytes = tables->blobs + (size_t)i * TARN_BLOB_RECORD_SIZE;
        const uint32_t compression = tarn_get_le32(bytes + RECORD_COMPRESSION);
        const uint32_t encryption = tarn_get_le32(bytes + RECORD_ENCRYPTION);
        if (compression != TARN_COMPRESSION_ZSTD || encryption != 0)
            return tarn_fail(check->err, -ENOTSUP,
                             "section 0x%04x record %u: compression %u, encryption %u is not known",
                             TARN_SECTION_BLOBS, i, compression, encryption);
        if (!tarn_all_zero(bytes + RECORD_ZERO, TARN_BLOB_RECORD_SIZE - RECORD_ZERO))
            return fail_blob(check, i, "reserved bytes are not zero");
        if (tarn_get_le32(bytes + RECORD_ROLE) !=
            (is_foreign(check, i) ? TARN_BLOB_FOREIGN : TARN_BLOB_CHAIN))
            return fail_blob(check, i, "role does not fit its place");
        const struct tarn_blob_record record = tarn_tables_blob(tables, i);
        if (record.first_row != rows)
            return fail_blob(check, i, "its rows do not follow the ones before");
        rows += record.row_count;
        if (rows > tables->row_count)
            return fail_blob(check, i, "has more rows than there are");
        const char *rule = record_rule(check, i, &record);
        if (rule)
            return fail_blob(check, i, rule);
    }
    if (rows != tables->row_count)
        return tarn_fail(check->err, -EUCLEAN, "section 0x%04x: %u rows, %llu belong to blobs",
                         TARN_SECTION_CHUNK_ADDRESSES, tables->row_count, (unsigned long long)rows);
    return 0;
}

static int check_gap(const struct check *check, struct walk *walk, uint32_t row)
{
    struct tarn_digest digest;
    tarn_tables_digest(check->tables, row, &digest);
    if (!tarn_digest_is_zero(&digest))
        return fail_row(check, TARN_SECTION_CHUNK_DIGESTS, row, "digest of a gap row is not zero");
    const uint32_t first = walk->record.first_row;
    const bool last = row == first + walk->record.row_count - 1;
    if (!last && walk->whole)
        return fail_location(check, row, "gap row in a whole table");
    if (walk->gap_before || (row == first && !last))
        return fail_location(check, row, "gap row ends nothing");
    walk->gap_before = true;
    walk->stored_before = false;
    return 0;
}

// Where the chunk lies in its blob: behind the one before, directly if no row is missing between.
static int check_offset(const struct check *check, struct walk *walk, uint32_t row,
                        const struct tarn_location *location)
{
    const bool after_unknown = !walk->whole && (walk->gap_before || row == walk->record.first_row);
    if (after_unknown ? location->offset < walk->next_offset
                      : location->offset != walk->next_offset)
        return fail_location(check, row, "stored chunk does not follow the one before");
    const uint64_t end = location->offset + location->stored_length;
    const uint64_t limit =
        is_own(check, walk->blob) ? check->rules->chunks_length : walk->record.metadata_offset;
    if (end > limit)
        return fail_location(check, row, "stored chunk reaches beyond the chunks section");
    walk->next_offset = end;
    return 0;
}

static int check_stored(const struct check *check, struct walk *walk, uint32_t row,
                        const struct tarn_location *location)
{
    const uint64_t length = tarn_tables_length(check->tables, row);
    if (location->raw && location->stored_length != length)
        return fail_location(check, row, "stored length of a raw chunk is not its length");
    if (!location->raw && location->stored_length >= length)
        return fail_location(check, row, "compressed chunk is not smaller than its bytes");
    const bool starts = !walk->stored_before || !walk->in_run;
    if (location->run_start != starts)
        return fail_location(
            check, row, starts ? "run does not start here" : "run starts where none was closed");
    walk->run_length = (starts ? 0 : walk->run_length) + length;
    walk->in_run = walk->run_length < TARN_RUN_LENGTH;
    const int ret = check_offset(check, walk, row, location);
    walk->stored_before = true;
    walk->gap_before = false;
    return ret;
}

// The row that the reference names: a stored chunk of the same length and digest.
static int check_target(const struct check *check, uint32_t row,
                        const struct tarn_location *location, const struct tarn_blob_record *holder)
{
    const struct tarn_tables *tables = check->tables;
    const uint32_t target = tarn_tables_find(tables, holder, location->address);
    if (target == TARN_NONE || tarn_tables_address(tables, target) != location->address)
        return fail_location(check, row, "reference names no chunk");
    if (tarn_tables_location(tables, target).kind != TARN_LOCATION_STORED)
        return fail_location(check, row, "reference names a reference");
    if (tarn_tables_length(tables, target) != tarn_tables_length(tables, row))
        return fail_location(check, row, "reference names a chunk of another length");
    if (memcmp(tables->digests + (size_t)target * TARN_DIGEST_SIZE,
               tables->digests + (size_t)row * TARN_DIGEST_SIZE, TARN_DIGEST_SIZE) != 0)
        return fail_location(check, row, "reference names a chunk of another digest");
    check->referenced[target / 8] |= (uint8_t)(1 << target % 8);
    return 0;
}

static int check_reference(struct check *check, struct walk *walk, uint32_t row,
                           const struct tarn_location *location)
{
    if (!walk->whole)
        return fail_location(check, row, "reference in a foreign blob");
    walk->gap_before = false;
    walk->stored_before = false;
    if (location->blob >= check->tables->blob_count)
        return fail_location(check, row, "reference into a blob that is not there");
    if (is_foreign(check, location->blob)) {
        if (location->blob > check->next_foreign)
            return fail_location(check, row, "foreign blobs are not in order of first reference");
        check->next_foreign += location->blob == check->next_foreign;
    } else if (location->blob > walk->blob ||
               (location->blob == walk->blob &&
                location->address >= tarn_tables_address(check->tables, row))) {
        return fail_location(check, row, "reference forwards in the chain");
    }
    const struct tarn_blob_record holder = tarn_tables_blob(check->tables, location->blob);
    if (!tarn_range_ok(location->address, tarn_tables_length(check->tables, row),
                       holder.data_length))
        return fail_location(check, row, "reference beyond the data space");
    return is_lower(check, location->blob) ? 0 : check_target(check, row, location, &holder);
}

static int check_row(struct check *check, struct walk *walk, uint32_t row)
{
    const struct tarn_location location = tarn_tables_location(check->tables, row);
    if (location.kind == TARN_LOCATION_GAP)
        return check_gap(check, walk, row);
    if (row == walk->record.first_row + walk->record.row_count - 1)
        return fail_location(check, row, "the blob's last row is no gap row");
    const uint64_t address = tarn_tables_address(check->tables, row);
    const uint64_t next = tarn_tables_address(check->tables, row + 1);
    if (next <= address)
        return fail_address(check, row + 1, "does not ascend");
    if (next - address > TARN_CHUNK_MAX)
        return fail_address(check, row, "chunk is longer than the chunker allows");
    if (next - address < TARN_CHUNK_MIN && next != walk->record.data_length)
        return fail_address(check, row, "chunk is shorter than the chunker allows");
    return location.kind == TARN_LOCATION_STORED ? check_stored(check, walk, row, &location)
                                                 : check_reference(check, walk, row, &location);
}

// What can be said of a table when all its rows were seen.
static int check_end(const struct check *check, const struct walk *walk)
{
    if (!walk->whole)
        return 0;
    if (is_own(check, walk->blob))
        return walk->next_offset == check->rules->chunks_length
                   ? 0
                   : fail_blob(check, walk->blob, "chunks do not fill the chunks section");
    return tarn_round_up(walk->next_offset, 8) == walk->record.metadata_offset
               ? 0
               : fail_blob(check, walk->blob, "layer metadata does not follow the chunks");
}

static int check_blob(struct check *check, uint32_t blob)
{
    struct walk walk = {
        .blob = blob,
        .record = tarn_tables_blob(check->tables, blob),
        .whole = !is_foreign(check, blob),
    };
    const uint32_t first = walk.record.first_row;
    const uint32_t count = walk.record.row_count;
    for (uint32_t row = first; row < first + count; row++) {
        const uint64_t address = tarn_tables_address(check->tables, row);
        if (row > first && address <= tarn_tables_address(check->tables, row - 1))
            return fail_address(check, row, "does not ascend");
        if (address > walk.record.data_length)
            return fail_address(check, row, "lies beyond the data space");
        if (walk.whole && row == first && address != 0)
            return fail_address(check, row, "table does not start at 0");
        if (walk.whole && row == first + count - 1 && address != walk.record.data_length)
            return fail_address(check, row, "table does not end with the data space");
        const int ret = check_row(check, &walk, row);
        if (ret < 0)
            return ret;
    }
    return check_end(check, &walk);
}

// Of a foreign blob only what references need: each piece of a run ends in a chunk that is named.
static int check_need(const struct check *check, uint32_t blob)
{
    const struct tarn_blob_record record = tarn_tables_blob(check->tables, blob);
    for (uint32_t row = record.first_row; row < record.first_row + record.row_count - 1; row++) {
        const struct tarn_location location = tarn_tables_location(check->tables, row);
        const struct tarn_location next = tarn_tables_location(check->tables, row + 1);
        if (location.kind == TARN_LOCATION_GAP)
            continue;
        const bool ends = next.kind == TARN_LOCATION_GAP || next.run_start;
        if (ends && !(check->referenced[row / 8] >> row % 8 & 1))
            return fail_address(check, row, "row of a foreign blob that nothing needs");
    }
    return 0;
}

int tarn_tables_verify(const struct tarn_tables *tables, const struct tarn_tables_rules *rules,
                       struct tarn_err *err)
{
    assert(rules->own == TARN_NONE || rules->own + 1 == rules->chain);
    struct check check = { tables, rules, err, NULL, rules->chain };
    int ret = check_records(&check);
    if (ret < 0)
        return ret;
    tarn_autofree uint8_t *referenced = calloc((size_t)tables->row_count / 8 + 1, 1);
    if (!referenced)
        return tarn_fail(err, -ENOMEM, "out of memory");
    check.referenced = referenced;
    for (uint32_t i = 0; i < tables->blob_count && ret == 0; i++)
        if (!is_lower(&check, i))
            ret = check_blob(&check, i);
    for (uint32_t i = rules->chain; i < tables->blob_count && ret == 0; i++)
        ret = check_need(&check, i);
    if (ret == 0 && check.next_foreign < tables->blob_count)
        ret = fail_blob(&check, check.next_foreign, "nothing refers to this foreign blob");
    return ret;
}
