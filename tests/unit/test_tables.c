// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/tables.h"

enum { SECTION_BLOBS = 0x0102, ADDRESSES = 0x010a, LOCATIONS = 0x010b, DIGESTS = 0x010c };

static struct tarn_digest digest_of(uint8_t name)
{
    struct tarn_digest digest;
    memset(digest.bytes, name, sizeof digest.bytes);
    return digest;
}

// --- locations -----------------------------------------------------------------------------

static void test_locations(void **state)
{
    (void)state;
    const struct {
        struct tarn_location location;
        uint64_t packed;
    } cases[] = {
        { { .kind = TARN_LOCATION_GAP }, UINT64_MAX },
        { { .kind = TARN_LOCATION_STORED, .stored_length = 1 }, 0 },
        { { .kind = TARN_LOCATION_STORED, .raw = true, .stored_length = 1 },
          UINT64_C(0x4000000000000000) },
        { { .kind = TARN_LOCATION_STORED, .run_start = true, .stored_length = 131072 },
          UINT64_C(0x3ffff00000000000) },
        { { .kind = TARN_LOCATION_STORED, .stored_length = 3, .offset = UINT64_C(0xfffffffffff) },
          UINT64_C(0x00002fffffffffff) },
        { { .kind = TARN_LOCATION_REFERENCE, .blob = 65534, .address = UINT64_C(0xfffffffffff) },
          UINT64_C(0x8fffefffffffffff) },
        { { .kind = TARN_LOCATION_REFERENCE, .blob = 1, .address = 4096 },
          UINT64_C(0x8000100000001000) },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint64_t packed = tarn_location_pack(&cases[i].location);
        if (packed != cases[i].packed)
            fail_msg("case %zu: want %016llx, got %016llx", i, (unsigned long long)cases[i].packed,
                     (unsigned long long)packed);
        const struct tarn_location back = tarn_location_unpack(packed);
        assert_int_equal(back.kind, cases[i].location.kind);
        assert_int_equal(back.raw, cases[i].location.raw);
        assert_int_equal(back.run_start, cases[i].location.run_start);
        assert_int_equal(back.stored_length, cases[i].location.stored_length);
        assert_int_equal(back.offset, cases[i].location.offset);
        assert_int_equal(back.blob, cases[i].location.blob);
        assert_int_equal(back.address, cases[i].location.address);
    }
}

// --- a bootstrap's tables: two blobs of the chain, one foreign ------------------------------

// One row: a stored chunk (of half its length), a reference or, where reference is NULL and stored
// 0, a gap.
struct row {
    uint64_t length;
    uint32_t stored;
    uint8_t digest;
    bool run_start;
    bool reference;
    uint32_t blob;
    uint64_t address;
};

// Adds a blob whose first row is at address, its first chunk at offset.
static void add_blob(struct tarn_tables_builder *builder, struct tarn_blob_record record,
                     uint64_t address, uint64_t offset, const struct row *rows)
{
    record.first_row = tarn_tables_builder_rows(builder);
    for (; rows->length > 0; rows++) {
        const struct tarn_digest digest = digest_of(rows->digest);
        struct tarn_location location = { .kind = TARN_LOCATION_STORED,
                                          .raw = rows->stored == rows->length,
                                          .run_start = rows->run_start,
                                          .stored_length = rows->stored,
                                          .offset = offset };
        if (rows->reference)
            location = (struct tarn_location){ .kind = TARN_LOCATION_REFERENCE,
                                               .blob = rows->blob,
                                               .address = rows->address };
        if (!rows->reference && rows->stored == 0)
            assert_int_equal(tarn_tables_builder_add_gap(builder, address), 0);
        else
            assert_int_equal(tarn_tables_builder_add_row(builder, address, &location, &digest), 0);
        address += rows->length;
        offset += rows->stored;
    }
    assert_int_equal(tarn_tables_builder_add_gap(builder, address), 0);
    record.row_count = tarn_tables_builder_rows(builder) - record.first_row;
    assert_int_equal(tarn_tables_builder_add_blob(builder, &record), 0);
}

// Rows of the chain's first blob: 0 to 3 a run that is full to the byte (262,144), 4 a new run.
static const struct row bottom[] = {
    { 40960, 30000, 1, true, false, 0, 0 },
    { 65536, 30000, 2, false, false, 0, 0 },
    { 65536, 65536, 3, false, false, 0, 0 }, // raw
    { 90112, 30000, 4, false, false, 0, 0 },
    { 20480, 10000, 5, true, false, 0, 0 },
    { 0 },
};
enum { BOTTOM_DATA = 282624, BOTTOM_STORED = 165536 };

// 6 to 13: stored, reference down, stored, to its own first, to foreign, stored, foreign, own.
static const struct row top[] = {
    { 20480, 7000, 6, true, false, 0, 0 },
    { 65536, 0, 2, false, true, 0, 40960 },
    { 20480, 7000, 7, true, false, 0, 0 },
    { 20480, 0, 6, false, true, 1, 0 },
    { 40960, 0, 9, false, true, 2, 1040960 },
    { 10960, 5000, 8, true, false, 0, 0 },
    { 30000, 0, 11, false, true, 2, 1122880 },
    { 20480, 0, 7, false, true, 1, 86016 },
    { 0 },
};
enum { TOP_DATA = 229376, TOP_STORED = 19000 };

// 15 to 18: the start of a run, the chunk that is needed, a gap, another such run.
static const struct row foreign[] = {
    { 40960, 20000, 10, true, false, 0, 0 },
    { 40960, 20000, 9, false, false, 0, 0 },
    { 40960, 0, 0, false, false, 0, 0 },
    { 30000, 20000, 11, true, false, 0, 0 },
    { 0 },
};

static struct tarn_blob_record record(uint8_t name, uint64_t data, uint64_t stored)
{
    const uint64_t metadata = (stored + 7) & ~UINT64_C(7);
    return (struct tarn_blob_record){
        .digest = digest_of(name),
        .size = metadata + 5000,
        .data_length = data,
        .metadata_offset = metadata,
        .metadata_length = 4000,
        .metadata_digest = digest_of((uint8_t)(name + 100)),
    };
}

static void build(struct tarn_tables_builder *builder, bool metadata)
{
    struct tarn_blob_record blobs[] = {
        record(201, BOTTOM_DATA, BOTTOM_STORED),
        record(202, TOP_DATA, TOP_STORED),
        record(203, 4096000, 1000000),
    };
    blobs[2].role = TARN_BLOB_FOREIGN;
    if (metadata) {
        blobs[1].size = blobs[1].metadata_offset = blobs[1].metadata_length = 0;
        blobs[1].digest = blobs[1].metadata_digest = (struct tarn_digest){ { 0 } };
        assert_int_equal(tarn_tables_builder_add_blob(builder, &blobs[0]), 0);
    } else {
        add_blob(builder, blobs[0], 0, 0, bottom);
    }
    add_blob(builder, blobs[1], 0, 0, top);
    add_blob(builder, blobs[2], 1000000, 500000, foreign);
}

static const struct tarn_tables_rules bootstrap_rules = { .chain = 2, .own = TARN_NONE };
static const struct tarn_tables_rules metadata_rules = { 2, 1, TOP_STORED };

static void expect_ok(const struct tarn_tables_builder *builder,
                      const struct tarn_tables_rules *rules)
{
    const struct tarn_tables tables = tarn_tables_builder_view(builder);
    struct tarn_err err = { 0 };
    const int ret = tarn_tables_verify(&tables, rules, &err);
    if (ret != 0)
        fail_msg("want 0, got %d \"%s\"", ret, err.text);
}

static void test_sound_tables(void **state)
{
    (void)state;
    struct tarn_tables_builder builder = { 0 };
    build(&builder, false);
    expect_ok(&builder, &bootstrap_rules);
    tarn_tables_builder_release(&builder);
    build(&builder, true);
    expect_ok(&builder, &metadata_rules);
    tarn_tables_builder_release(&builder);
}

// A layer that brings no data: one gap row at 0.
static void test_empty_table(void **state)
{
    (void)state;
    struct tarn_tables_builder builder = { 0 };
    const struct row none[] = { { 0 } };
    add_blob(&builder, record(1, 0, 0), 0, 0, none);
    expect_ok(&builder, &(struct tarn_tables_rules){ .chain = 1, .own = TARN_NONE });
    const struct tarn_tables tables = tarn_tables_builder_view(&builder);
    const struct tarn_blob_record blob = tarn_tables_blob(&tables, 0);
    assert_int_equal(blob.row_count, 1);
    assert_int_equal(tarn_tables_find(&tables, &blob, 0), TARN_NONE);
    tarn_tables_builder_release(&builder);
}

static void test_find(void **state)
{
    (void)state;
    struct tarn_tables_builder builder = { 0 };
    build(&builder, false);
    const struct tarn_tables tables = tarn_tables_builder_view(&builder);
    for (uint32_t i = 0; i < tables.blob_count; i++) {
        const struct tarn_blob_record blob = tarn_tables_blob(&tables, i);
        for (uint64_t address = 0; address < 1300000; address += 512) {
            uint32_t want = TARN_NONE; // by linear search
            for (uint32_t row = blob.first_row; row < blob.first_row + blob.row_count - 1; row++)
                if (address >= tarn_tables_address(&tables, row) &&
                    address < tarn_tables_address(&tables, row + 1) &&
                    tarn_tables_location(&tables, row).kind != TARN_LOCATION_GAP)
                    want = row;
            const uint32_t got = tarn_tables_find(&tables, &blob, address);
            if (want != got)
                fail_msg("blob %u, address %llu: want row %u, got %u", i,
                         (unsigned long long)address, want, got);
        }
    }
    const uint32_t starts[] = { 0, 0, 0, 0, 4 };
    for (uint32_t row = 0; row < 5; row++)
        assert_int_equal(tarn_tables_run_start(&tables, row), starts[row]);
    assert_int_equal(tarn_tables_run_start(&tables, 16), 15);
    tarn_tables_builder_release(&builder);
}

// Row 16 to 18 of the foreign blob are a chunk, a gap and a chunk.
static void test_rows(void **state)
{
    (void)state;
    const struct {
        uint32_t blob;
        uint64_t from;
        uint64_t to;
        struct tarn_row_range want;
    } cases[] = {
        { 0, 0, 1, { 0, 1, true } },
        { 0, 0, BOTTOM_DATA, { 0, 5, true } },
        { 0, 40959, 40960, { 0, 1, true } },
        { 0, 40959, 40961, { 0, 2, true } },
        { 0, 40960, 106496, { 1, 2, true } },
        { 0, 50000, 172033, { 1, 4, true } },
        { 0, BOTTOM_DATA - 1, BOTTOM_DATA, { 4, 5, true } },
        { 0, BOTTOM_DATA - 1, BOTTOM_DATA + 1, { 4, 5, false } },
        { 0, 106496, UINT64_MAX, { 2, 5, false } },
        { 0, BOTTOM_DATA, BOTTOM_DATA + 1, { 0, 0, false } },
        { 0, 4096, 4096, { 0, 0, true } },
        { 0, 8192, 4096, { 0, 0, true } },
        { 1, 20479, 86017, { 6, 9, true } }, // a reference among them
        { 2, 0, 4096, { 0, 0, false } },
        { 2, 1000000, 1081920, { 15, 17, true } },
        { 2, 1040959, 1122880, { 15, 17, false } }, // into the gap
        { 2, 1000000, 1152880, { 15, 17, false } }, // beyond it
        { 2, 1081920, 1152880, { 0, 0, false } },   // from it on
        { 2, 1122880, 1152880, { 18, 19, true } },
    };
    struct tarn_tables_builder builder = { 0 };
    build(&builder, false);
    const struct tarn_tables tables = tarn_tables_builder_view(&builder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct tarn_blob_record blob = tarn_tables_blob(&tables, cases[i].blob);
        const struct tarn_row_range want = cases[i].want;
        const struct tarn_row_range got =
            tarn_tables_rows(&tables, &blob, cases[i].from, cases[i].to);
        if (got.first != want.first || got.end != want.end || got.whole != want.whole)
            fail_msg("case %zu: want rows %u to %u, whole %d, got %u to %u, whole %d", i,
                     want.first, want.end, want.whole, got.first, got.end, got.whole);
    }
    tarn_tables_builder_release(&builder);
}

// --- refused ---------------------------------------------------------------------------------

struct refused {
    uint32_t section;
    uint32_t row;    // or record
    uint32_t offset; // in the record
    int code;
    uint64_t value; // 8 bytes there
    const char *want;
};

static void set(struct tarn_tables_builder *builder, const struct refused *what)
{
    switch (what->section) {
    case SECTION_BLOBS:
        tarn_put_le64(builder->blobs.data + (size_t)what->row * 128 + what->offset, what->value);
        break;
    case ADDRESSES:
        tarn_put_le64(builder->addresses.data + (size_t)what->row * 8, what->value);
        break;
    case LOCATIONS:
        tarn_put_le64(builder->locations.data + (size_t)what->row * 8, what->value);
        break;
    default:
        tarn_put_le64(builder->digests.data + (size_t)what->row * 32, what->value);
    }
}

static void expect_refused(const struct refused *cases, size_t count, bool metadata)
{
    for (size_t i = 0; i < count; i++) {
        struct tarn_tables_builder builder = { 0 };
        build(&builder, metadata);
        set(&builder, &cases[i]);
        const struct tarn_tables tables = tarn_tables_builder_view(&builder);
        struct tarn_err err = { 0 };
        const int ret =
            tarn_tables_verify(&tables, metadata ? &metadata_rules : &bootstrap_rules, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: want %d \"%s\", got %d \"%s\"", i, cases[i].code, cases[i].want,
                     ret, err.text);
        tarn_tables_builder_release(&builder);
    }
}

#define STORED(raw, start, length, offset)                                                         \
    ((uint64_t)(raw) << 62 | (uint64_t)(start) << 61 | (uint64_t)((length)-1) << 44 | (offset))
#define REFERENCE(blob, address) (UINT64_C(1) << 63 | (uint64_t)(blob) << 44 | (address))
#define RECORD(n) "section 0x0102 record " #n ": "
#define ADDRESS(n) "section 0x010a row " #n ": "
#define LOCATION(n) "section 0x010b row " #n ": "

// Rows: 0 to 4 and 5 (gap); 6 to 13 and 14 (gap); 15, 16, 17 (gap), 18, 19 (gap).
static void test_refused_bootstrap(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        { SECTION_BLOBS, 0, 40, -EUCLEAN, BOTTOM_DATA + 1,
          RECORD(0) "data space has a wrong length" },
        { SECTION_BLOBS, 0, 40, -EUCLEAN, UINT64_MAX - 4095, "data space has a wrong length" },
        { SECTION_BLOBS, 1, 48, -EUCLEAN, 7, RECORD(1) "layer metadata lies outside" },
        { SECTION_BLOBS, 1, 56, -EUCLEAN, UINT64_MAX, RECORD(1) "layer metadata lies outside" },
        { SECTION_BLOBS, 1, 56, -EUCLEAN, 0, RECORD(1) "has no layer metadata" },
        { SECTION_BLOBS, 0, 48, -EUCLEAN, BOTTOM_STORED + 8, "does not follow the chunks" },
        { SECTION_BLOBS, 0, 96, -EUCLEAN, UINT64_C(6) << 32 | 1, RECORD(0) "its rows do not" },
        { SECTION_BLOBS, 0, 96, -EUCLEAN, UINT64_C(5) << 32, RECORD(1) "its rows do not follow" },
        { SECTION_BLOBS, 0, 96, -EUCLEAN, UINT64_C(0xffffffff) << 32, "more rows than there are" },
        { SECTION_BLOBS, 2, 96, -EUCLEAN, UINT64_C(4) << 32 | 15, "20 rows, 19 belong to blobs" },
        { SECTION_BLOBS, 1, 104, -ENOTSUP, 2, RECORD(1) "compression 2, encryption 0" },
        { SECTION_BLOBS, 1, 104, -ENOTSUP, UINT64_C(1) << 32 | 1, "encryption 1 is not known" },
        { SECTION_BLOBS, 1, 112, -EUCLEAN, UINT64_C(1) << 32, RECORD(1) "role does not fit" },
        { SECTION_BLOBS, 2, 112, -EUCLEAN, 0, RECORD(2) "role does not fit" },
        { SECTION_BLOBS, 2, 120, -EUCLEAN, 1, RECORD(2) "reserved bytes are not zero" },
        { ADDRESSES, 0, 0, -EUCLEAN, 1, ADDRESS(0) "table does not start at 0" },
        { ADDRESSES, 2, 0, -EUCLEAN, 40960, ADDRESS(2) "does not ascend" },
        { ADDRESSES, 2, 0, -EUCLEAN, 3, ADDRESS(2) "does not ascend" },
        { ADDRESSES, 5, 0, -EUCLEAN, BOTTOM_DATA - 4096, "table does not end with the data space" },
        { ADDRESSES, 5, 0, -EUCLEAN, BOTTOM_DATA + 1, ADDRESS(5) "lies beyond the data space" },
        { ADDRESSES, 1, 0, -EUCLEAN, 131073, ADDRESS(0) "chunk is longer than" },
        { ADDRESSES, 1, 0, -EUCLEAN, 8191, ADDRESS(0) "chunk is shorter than" },
        { ADDRESSES, 15, 0, -EUCLEAN, 1040960 - 8191, ADDRESS(15) "chunk is shorter than" },
        { LOCATIONS, 5, 0, -EUCLEAN, 0, LOCATION(5) "the blob's last row is no gap row" },
        { LOCATIONS, 2, 0, -EUCLEAN, UINT64_MAX, "digest of a gap row is not zero" },
        { LOCATIONS, 0, 0, -EUCLEAN, STORED(0, 0, 30000, 0), LOCATION(0) "run does not start" },
        { LOCATIONS, 1, 0, -EUCLEAN, STORED(0, 1, 30000, 30000), LOCATION(1) "run starts where" },
        { LOCATIONS, 4, 0, -EUCLEAN, STORED(0, 0, 10000, 155536), LOCATION(4) "run does not" },
        { LOCATIONS, 8, 0, -EUCLEAN, STORED(0, 0, 7000, 7000), LOCATION(8) "run does not start" },
        { LOCATIONS, 1, 0, -EUCLEAN, STORED(0, 0, 30000, 30001), LOCATION(1) "stored chunk does" },
        { LOCATIONS, 0, 0, -EUCLEAN, STORED(0, 1, 30000, 8), LOCATION(0) "stored chunk does not" },
        { LOCATIONS, 2, 0, -EUCLEAN, STORED(1, 0, 65535, 60000), LOCATION(2) "stored length of" },
        { LOCATIONS, 2, 0, -EUCLEAN, STORED(0, 0, 65536, 60000), "is not smaller" },
        { LOCATIONS, 4, 0, -EUCLEAN, STORED(0, 1, 20000, 155536), "beyond the chunks section" },
        { LOCATIONS, 7, 0, -EUCLEAN, REFERENCE(0, 40961), LOCATION(7) "reference names no chunk" },
        { LOCATIONS, 7, 0, -EUCLEAN, REFERENCE(0, 172032), "a chunk of another length" },
        { LOCATIONS, 7, 0, -EUCLEAN, REFERENCE(0, 106496), "a chunk of another digest" },
        { LOCATIONS, 7, 0, -EUCLEAN, REFERENCE(3, 0), "a blob that is not there" },
        { LOCATIONS, 7, 0, -EUCLEAN, REFERENCE(0, BOTTOM_DATA - 4096),
          "reference beyond the data space" },
        { LOCATIONS, 2, 0, -EUCLEAN, REFERENCE(1, 20480), LOCATION(2) "reference forwards" },
        { LOCATIONS, 9, 0, -EUCLEAN, REFERENCE(1, 106496), LOCATION(9) "reference forwards" },
        { LOCATIONS, 13, 0, -EUCLEAN, REFERENCE(1, 106496), LOCATION(13) "reference names a ref" },
        { LOCATIONS, 15, 0, -EUCLEAN, REFERENCE(0, 0), LOCATION(15) "reference in a foreign blob" },
        { LOCATIONS, 16, 0, -EUCLEAN, STORED(0, 0, 20000, 520001), LOCATION(16) "stored chunk" },
        { LOCATIONS, 18, 0, -EUCLEAN, STORED(0, 1, 20000, 539999), LOCATION(18) "stored chunk" },
        { LOCATIONS, 18, 0, -EUCLEAN, STORED(0, 0, 20000, 540000), LOCATION(18) "run does not" },
        { LOCATIONS, 18, 0, -EUCLEAN, STORED(0, 1, 20000, 999999), "beyond the chunks section" },
        { LOCATIONS, 15, 0, -EUCLEAN, UINT64_MAX, "digest of a gap row is not zero" },
        { DIGESTS, 17, 0, -EUCLEAN, 1, "section 0x010c row 17: digest of a gap row" },
        { DIGESTS, 1, 0, -EUCLEAN, 1, LOCATION(7) "reference names a chunk of another digest" },
    };
    expect_refused(cases, sizeof cases / sizeof *cases, false);
}

// Rows: 0 to 7 and 8 (gap); 9, 10, 11 (gap), 12, 13 (gap).
static void test_refused_metadata(void **state)
{
    (void)state;
    static const struct refused cases[] = {
        { SECTION_BLOBS, 0, 96, -EUCLEAN, UINT64_C(1) << 32, RECORD(0) "a lower blob has rows" },
        { SECTION_BLOBS, 1, 0, -EUCLEAN, 1, RECORD(1) "the own blob's digest, size and metadata" },
        { SECTION_BLOBS, 1, 32, -EUCLEAN, 1, RECORD(1) "the own blob's digest" },
        { SECTION_BLOBS, 1, 64, -EUCLEAN, 1, RECORD(1) "the own blob's digest" },
        { SECTION_BLOBS, 0, 112, -EUCLEAN, 1, RECORD(0) "slot is not zero" },
        { LOCATIONS, 1, 0, -EUCLEAN, REFERENCE(0, BOTTOM_DATA - 65535), "beyond the data space" },
        { LOCATIONS, 1, 0, 0, REFERENCE(0, 4096), "" }, // nothing to compare with
        { LOCATIONS, 5, 0, -EUCLEAN, STORED(0, 1, 5001, 14000), "beyond the chunks section" },
        { LOCATIONS, 5, 0, -EUCLEAN, STORED(0, 1, 4999, 14000), "chunks do not fill" },
        { LOCATIONS, 6, 0, -EUCLEAN, REFERENCE(0, 0), ADDRESS(12) "row of a foreign blob that" },
    };
    expect_refused(cases, sizeof cases / sizeof *cases, true);
}

// Rows that only a table of its own shape shows.
static void test_refused_shapes(void **state)
{
    (void)state;
    const struct row gap_inside[] = {
        { 65536, 30000, 1, true, false, 0, 0 },
        { 65536, 0, 0, false, false, 0, 0 },
        { 0 },
    };
    const struct row one[] = { { 65536, 30000, 1, true, false, 0, 0 }, { 0 } };
    const struct row none[] = { { 0 } };
    const struct row gap_first[] = {
        { 4096, 0, 0, false, false, 0, 0 },
        { 65536, 30000, 1, true, false, 0, 0 },
        { 0 },
    };
    const struct {
        const struct row *chain;
        const struct row *foreign;
        const char *want;
    } cases[] = {
        { gap_inside, NULL, LOCATION(1) "gap row in a whole table" },
        { one, one, ADDRESS(2) "row of a foreign blob that nothing needs" },
        { one, none, RECORD(1) "has no rows" },
        { one, gap_first, LOCATION(2) "gap row ends nothing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_tables_builder builder = { 0 };
        uint64_t data = 0;
        for (const struct row *row = cases[i].chain; row->length > 0; row++)
            data += row->length;
        add_blob(&builder, record(1, data, 30000), 0, 0, cases[i].chain);
        if (cases[i].foreign) {
            struct tarn_blob_record blob = record(2, 1 << 20, 50000);
            blob.role = TARN_BLOB_FOREIGN;
            add_blob(&builder, blob, 8192, 0, cases[i].foreign);
        }
        const struct tarn_tables tables = tarn_tables_builder_view(&builder);
        const struct tarn_tables_rules rules = { .chain = 1, .own = TARN_NONE };
        struct tarn_err err = { 0 };
        const int ret = tarn_tables_verify(&tables, &rules, &err);
        if (ret != -EUCLEAN || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: want \"%s\", got %d \"%s\"", i, cases[i].want, ret, err.text);
        tarn_tables_builder_release(&builder);
    }
}

// Two foreign blobs: the first reference to each must come in their order.
static void test_order_of_foreign_blobs(void **state)
{
    (void)state;
    const struct {
        uint32_t blobs[3]; // that three references name
        int code;
        const char *want;
    } cases[] = {
        { { 1, 2, 1 }, 0, "" },
        { { 2, 1, 2 }, -EUCLEAN, LOCATION(0) "foreign blobs are not in order of first reference" },
        { { 1, 1, 1 }, -EUCLEAN, "row of a foreign blob that nothing needs" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct row refs[] = {
            { 8192, 0, 9, false, true, cases[i].blobs[0], 4096 },
            { 8192, 0, 9, false, true, cases[i].blobs[1], 4096 },
            { 8192, 0, 9, false, true, cases[i].blobs[2], 4096 },
            { 0 },
        };
        const struct row one[] = { { 8192, 500, 9, true, false, 0, 0 }, { 0 } };
        struct tarn_tables_builder builder = { 0 };
        struct tarn_blob_record blob = record(1, 24576, 0);
        add_blob(&builder, blob, 0, 0, refs);
        blob = record(2, 1 << 20, 8000);
        blob.role = TARN_BLOB_FOREIGN;
        add_blob(&builder, blob, 4096, 0, one);
        add_blob(&builder, blob, 4096, 0, one);
        const struct tarn_tables tables = tarn_tables_builder_view(&builder);
        const struct tarn_tables_rules rules = { .chain = 1, .own = TARN_NONE };
        struct tarn_err err = { 0 };
        const int ret = tarn_tables_verify(&tables, &rules, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: want \"%s\", got %d \"%s\"", i, cases[i].want, ret, err.text);
        tarn_tables_builder_release(&builder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_locations),
        cmocka_unit_test(test_sound_tables),
        cmocka_unit_test(test_empty_table),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_refused_bootstrap),
        cmocka_unit_test(test_refused_metadata),
        cmocka_unit_test(test_refused_shapes),
        cmocka_unit_test(test_order_of_foreign_blobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
