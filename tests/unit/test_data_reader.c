// SPDX-License-Identifier: Apache-2.0
// Blobs made by hand in a layout: three data spaces, of which the second refers to all of them.
#include "converter/data_reader.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "format/chunk_codec.h"
#include "tests/support/repository_fixture.h"
#include "tests/support/test_bytes.h"

enum { SPACE = 6 << 20, BLOBS = 3 };
#define CHUNK UINT64_C(50000) // bytes of each chunk but the last

struct fixture {
    struct tarn_test_place place;
    struct tarn_tables_builder builder;
    struct tarn_tables tables;
    struct tarn_blob_record records[BLOBS];
    uint8_t *spaces[BLOBS]; // SPACE bytes each
    struct tarn_data_reader *reader;
};

// --- making blobs --------------------------------------------------------------------------------
struct maker {
    struct tarn_encoder *encoder;
    struct tarn_buf stored;
    uint64_t run_length;
    uint8_t *out;
};

static struct tarn_digest digest_of(const uint8_t *bytes, size_t length)
{
    struct tarn_digest digest;
    tarn_sha256(bytes, length, &digest);
    return digest;
}

static void store(struct fixture *fixture, struct maker *maker, const uint8_t *space,
                  uint64_t address, size_t length)
{
    if (maker->run_length == 0)
        tarn_encoder_start_run(maker->encoder, space + address);
    struct tarn_location location = { .kind = TARN_LOCATION_STORED,
                                      .run_start = maker->run_length == 0,
                                      .offset = maker->stored.length };
    const ssize_t n = tarn_encoder_encode(maker->encoder, length, maker->out, &location.raw);
    assert_true(n > 0);
    location.stored_length = (uint32_t)n;
    assert_int_equal(tarn_buf_append(&maker->stored, maker->out, (size_t)n), 0);
    const struct tarn_digest digest = digest_of(space + address, length);
    assert_int_equal(tarn_tables_builder_add_row(&fixture->builder, address, &location, &digest),
                     0);
    maker->run_length += length;
    if (maker->run_length >= TARN_RUN_LENGTH)
        maker->run_length = 0;
}

static void refer(struct fixture *fixture, struct maker *maker, uint64_t address, uint32_t blob,
                  uint64_t target)
{
    const struct tarn_location location = { .kind = TARN_LOCATION_REFERENCE,
                                            .blob = blob,
                                            .address = target };
    memcpy(fixture->spaces[1] + address, fixture->spaces[blob] + target, CHUNK);
    const struct tarn_digest digest = digest_of(fixture->spaces[1] + address, CHUNK);
    assert_int_equal(tarn_tables_builder_add_row(&fixture->builder, address, &location, &digest),
                     0);
    maker->run_length = 0;
}

// Rows of one blob: every fourth chunk of the second one is a reference.
static void make_rows(struct fixture *fixture, struct maker *maker, uint32_t blob)
{
    uint32_t number = 0;
    for (uint64_t address = 0; address < SPACE; address += CHUNK, number++) {
        const size_t length = tarn_min_u64(SPACE - address, CHUNK);
        const uint64_t back = (uint64_t)number / 4 * 4 * CHUNK;
        if (blob == 1 && number % 4 == 3 && length == CHUNK)
            refer(fixture, maker, address, number / 4 % 3, back);
        else
            store(fixture, maker, fixture->spaces[blob], address, length);
    }
    assert_int_equal(tarn_tables_builder_add_gap(&fixture->builder, SPACE), 0);
}

static void make_blob(struct fixture *fixture, uint32_t blob)
{
    struct maker maker = { .encoder = tarn_encoder_new(1), .out = malloc(tarn_encoder_bound()) };
    struct tarn_blob_record *record = &fixture->records[blob];
    record->data_length = SPACE;
    record->first_row = tarn_tables_builder_rows(&fixture->builder);
    make_rows(fixture, &maker, blob);
    record->row_count = tarn_tables_builder_rows(&fixture->builder) - record->first_row;
    struct tarn_blob_id id;
    struct tarn_err err;
    assert_int_equal(tarn_blocking_put_blob(fixture->place.blocking, fixture->place.repository,
                                            &maker.stored, &id, &err),
                     0);
    record->digest = id.digest;
    record->size = id.size;
    assert_int_equal(tarn_tables_builder_add_blob(&fixture->builder, record), 0);
    tarn_buf_release(&maker.stored);
    tarn_encoder_free(maker.encoder);
    free(maker.out);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    uint64_t seed = 11;
    tarn_test_place_init(&fixture->place);
    tarn_test_place_open(&fixture->place, "oci", "layout", true);
    for (uint32_t i = 0; i < BLOBS; i++) {
        fixture->spaces[i] = malloc(SPACE);
        tarn_test_text(&seed, fixture->spaces[i], SPACE);
        tarn_test_noise(&seed, fixture->spaces[i] + 7 * CHUNK, 2 * CHUNK); // raw chunks
    }
    make_blob(fixture, 0);
    make_blob(fixture, 1);
    make_blob(fixture, 2);
    fixture->tables = tarn_tables_builder_view(&fixture->builder);
    fixture->reader =
        tarn_data_reader_new(fixture->place.blocking, fixture->place.repository, &fixture->tables);
    assert_non_null(fixture->reader);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    tarn_data_reader_free(fixture->reader);
    tarn_tables_builder_release(&fixture->builder);
    for (uint32_t i = 0; i < BLOBS; i++)
        free(fixture->spaces[i]);
    tarn_test_place_close(&fixture->place);
    free(fixture);
    return 0;
}

// --- reading -------------------------------------------------------------------------------------
static void want_bytes(struct fixture *fixture, uint32_t blob, uint64_t address, size_t length)
{
    static uint8_t buffer[SPACE];
    struct tarn_err err = { 0 };
    const struct tarn_data_range range = { blob, address, length };
    const int ret = tarn_data_reader_read(fixture->reader, &range, buffer, &err);
    if (ret < 0)
        fail_msg("blob %u %" PRIu64 "+%zu: want bytes, got %s", blob, address, length, err.text);
    if (memcmp(buffer, fixture->spaces[blob] + address, length) != 0)
        fail_msg("blob %u %" PRIu64 "+%zu: other bytes", blob, address, length);
}

static void want_error(struct fixture *fixture, uint32_t blob, uint64_t address, int code,
                       const char *part)
{
    uint8_t byte;
    struct tarn_err err = { 0 };
    const struct tarn_data_range range = { blob, address, 1 };
    const int ret = tarn_data_reader_read(fixture->reader, &range, &byte, &err);
    if (ret != code || !strstr(err.text, part))
        fail_msg("blob %u %" PRIu64 ": want %d '%s', got %d '%s'", blob, address, code, part, ret,
                 err.text);
}

static void path_of(struct fixture *fixture, uint32_t blob, char path[300])
{
    char hex[TARN_DIGEST_HEX + 1];
    snprintf(path, 300, "%s/layout/blobs/sha256/%s", fixture->place.directory,
             tarn_digest_format_hex(&fixture->records[blob].digest, hex));
}

// Changes the last byte of a stored chunk in its file. Returns the chunk's row.
static uint32_t damage(struct fixture *fixture, uint32_t blob, uint64_t address)
{
    char path[300];
    path_of(fixture, blob, path);
    const uint32_t row = tarn_tables_find(&fixture->tables, &fixture->records[blob], address);
    const struct tarn_location location = tarn_tables_location(&fixture->tables, row);
    size_t length;
    char *bytes = tarn_test_read_file(path, &length);
    bytes[location.offset + location.stored_length - 1] ^= 1;
    tarn_test_write_file(path, bytes, length);
    free(bytes);
    return row;
}

static void test_in_order(void **state)
{
    struct fixture *fixture = *state;
    static const size_t steps[] = { 4096, 99999, 262144, SPACE };
    for (uint32_t blob = 0; blob < BLOBS; blob++)
        for (size_t i = 0; i < 4; i++)
            for (uint64_t at = 0; at < SPACE; at += steps[i])
                want_bytes(fixture, blob, at, tarn_min_u64(SPACE - at, steps[i]));
    want_bytes(fixture, 0, SPACE, 0);
}

static void test_anywhere(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seed = 3;
    for (int i = 0; i < 500; i++) {
        const uint32_t blob = (uint32_t)tarn_test_random_below(&seed, BLOBS);
        const uint64_t at = tarn_test_random_below(&seed, SPACE);
        const uint64_t left = tarn_min_u64(SPACE - at, 200000);
        want_bytes(fixture, blob, at, 1 + tarn_test_random_below(&seed, left));
    }
}

static void test_a_run_is_fetched_once(void **state)
{
    struct fixture *fixture = *state;
    char path[300];
    want_bytes(fixture, 0, 0, 1);
    path_of(fixture, 0, path);
    assert_int_equal(unlink(path), 0);
    want_bytes(fixture, 0, 0, 6 * CHUNK); // the whole first run
    want_error(fixture, 0, 6 * CHUNK, -ENOENT, "sha256:");
    want_bytes(fixture, 0, 2 * CHUNK, CHUNK); // still there
    for (uint64_t at = 0; at < SPACE; at += CHUNK)
        want_bytes(fixture, 2, at, 1); // more runs than are kept
    want_error(fixture, 0, 0, -ENOENT, "sha256:");
}

static void test_damage(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t raw = 8 * CHUNK;
    char want[100];
    char digest[TARN_DIGEST_TEXT];
    const uint32_t row = damage(fixture, 0, raw);
    assert_true(tarn_tables_location(&fixture->tables, row).raw);
    snprintf(want, sizeof want, "blob %s chunk at",
             tarn_digest_format(&fixture->records[0].digest, digest));
    want_bytes(fixture, 0, 0, 8 * CHUNK);
    want_error(fixture, 0, raw + 7, -EIO, want);
    want_error(fixture, 0, raw, -EIO, "chunk at data-space address 400000 (offset ");
    want_error(fixture, 0, raw, -EIO, "digest is wrong");
    // Those behind it in the run need it as prefix.
    want_error(fixture, 0, raw + CHUNK, -EIO, "data-space address 400000 ");
    want_bytes(fixture, 0, 12 * CHUNK, CHUNK);
    // As seen through a reference.
    const uint64_t target = 12 * CHUNK;
    damage(fixture, 0, target);
    tarn_data_reader_free(fixture->reader);
    fixture->reader =
        tarn_data_reader_new(fixture->place.blocking, fixture->place.repository, &fixture->tables);
    want_error(fixture, 1, 15 * CHUNK, -EIO, "data-space address 600000 ");
}

static void test_truncated(void **state)
{
    struct fixture *fixture = *state;
    char path[300];
    path_of(fixture, 2, path);
    assert_int_equal(truncate(path, 1000), 0);
    want_error(fixture, 2, 0, -EUCLEAN, "sha256:");
    want_bytes(fixture, 0, 0, SPACE);
}

static void test_not_there(void **state)
{
    struct fixture *fixture = *state;
    want_error(fixture, 0, SPACE, -EUCLEAN, "there is no chunk at data-space address 6291456");
    want_error(fixture, 2, UINT64_MAX, -EUCLEAN, "there is no chunk");
    want_error(fixture, BLOBS, 0, -EUCLEAN, "there is no blob 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_run_is_fetched_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_there, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
