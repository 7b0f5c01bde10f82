// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/section.h"
#include "tests/support/container_fix.h"
#include "tests/support/test_bytes.h"

// Layer metadata with a plain, a compressed, a transposed and an empty section.
enum { PLAIN = 101, ZSTD = 100000, RECORDS = 64 * 700 };

struct fixture {
    uint8_t data[ZSTD];
    struct tarn_buf container;
};

static void build(struct fixture *f, struct tarn_buf *out)
{
    struct tarn_sections sections = { 0 };
    const struct {
        struct tarn_section_form form;
        size_t length;
    } parts[] = {
        { { TARN_SECTION_LAYER, false, 0 }, PLAIN },
        { { TARN_SECTION_BLOBS, true, 0 }, ZSTD },
        { { TARN_SECTION_INODES, true, 64 }, RECORDS },
        { { TARN_SECTION_NAMES, true, 12 }, 0 },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_int_equal(
            tarn_section_append(&sections, out, &parts[i].form, f->data, parts[i].length), 0);
    assert_int_equal(tarn_sections_finish(&sections, TARN_CONTAINER_METADATA, 0, out), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    uint64_t seed = 11;
    tarn_test_text(&seed, f->data, ZSTD);
    build(f, &f->container);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tarn_buf_release(&f->container);
    free(f);
    return 0;
}

static int parse(const struct tarn_buf *container, struct tarn_sections *sections,
                 struct tarn_err *err)
{
    const struct tarn_section_tail tail = { TARN_CONTAINER_METADATA, container->data,
                                            container->length, container->length };
    return tarn_sections_parse(&tail, sections, err);
}

static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    struct tarn_sections sections;
    struct tarn_err err = { 0 };
    if (parse(&f->container, &sections, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(sections.count, 4);
    assert_int_equal(tarn_sections_check_padding(&sections, f->container.data, &err), 0);
    const struct {
        uint32_t type;
        bool in_place;
        size_t length;
    } parts[] = {
        { TARN_SECTION_LAYER, true, PLAIN },
        { TARN_SECTION_BLOBS, false, ZSTD },
        { TARN_SECTION_INODES, false, RECORDS },
        { TARN_SECTION_NAMES, true, 0 },
    };
    struct tarn_buf decoded = { 0 };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const struct tarn_section_source source = { &sections, f->container.data, parts[i].length };
        struct tarn_bytes bytes;
        if (tarn_section_open(&source, parts[i].type, &decoded, &bytes, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(bytes.length, parts[i].length);
        assert_memory_equal(bytes.data, f->data, parts[i].length);
        const bool in_place = bytes.data >= f->container.data &&
                              bytes.data <= f->container.data + f->container.length;
        assert_int_equal(in_place, parts[i].in_place);
    }
    tarn_buf_release(&decoded);
}

static void test_equal_data_gives_equal_bytes(void **state)
{
    struct fixture *f = *state;
    struct tarn_buf again = { 0 };
    build(f, &again);
    assert_int_equal(again.length, f->container.length);
    assert_memory_equal(again.data, f->container.data, again.length);
    tarn_buf_release(&again);
}

// The first record's first byte, then the second record's first byte, and so on.
static void test_transposition(void **state)
{
    (void)state;
    uint8_t records[5 * 8];
    for (size_t i = 0; i < sizeof records; i++)
        records[i] = (uint8_t)i;
    struct tarn_sections sections = { 0 };
    struct tarn_buf out = { 0 };
    const struct tarn_section_form form = { TARN_SECTION_UNITS, false, 8 };
    assert_int_equal(tarn_section_append(&sections, &out, &form, records, sizeof records), 0);
    for (size_t column = 0; column < 8; column++)
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(out.data[column * 5 + i], i * 8 + column);
    tarn_buf_release(&out);
}

static void test_limit_and_missing(void **state)
{
    struct fixture *f = *state;
    struct tarn_sections sections;
    assert_int_equal(parse(&f->container, &sections, NULL), 0);
    const struct {
        uint32_t type;
        uint64_t limit;
        const char *want;
    } cases[] = {
        { TARN_SECTION_LAYER, PLAIN - 1,
          "layer metadata offset 0: section 0x0101: is longer than it can be" },
        { TARN_SECTION_BLOBS, ZSTD - 1,
          "layer metadata offset 104: section 0x0102: is longer than it can be" },
        { TARN_SECTION_INODES, RECORDS - 1, "section 0x0103: is longer than it can be" },
        { TARN_SECTION_TARGETS, 1000, "section 0x0106 is missing" },
    };
    struct tarn_buf decoded = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct tarn_section_source source = { &sections, f->container.data, cases[i].limit };
        struct tarn_bytes bytes;
        struct tarn_err err = { 0 };
        assert_int_equal(tarn_section_open(&source, cases[i].type, &decoded, &bytes, &err),
                         -EUCLEAN);
        if (!strstr(err.text, cases[i].want))
            fail_msg("want \"%s\", got \"%s\"", cases[i].want, err.text);
    }
    tarn_buf_release(&decoded);
}

// One number in the directory or the trailer, checksum made right again.
static void test_refused_directories(void **state)
{
    struct fixture *f = *state;
    enum { ENTRY, TRAILER };
    const struct {
        int place;
        uint32_t type; // ENTRY: of this section
        uint32_t offset;
        int width;
        uint64_t value;
        int code;
        const char *want;
    } cases[] = {
        { TRAILER, 0, 0, 4, 0, -EUCLEAN, "magic is not TARNMETA" },
        { TRAILER, 0, 8, 4, 2, -ENOTSUP, "format version 2 is not known" },
        { TRAILER, 0, 12, 4, 65, -EUCLEAN, "65 sections are too many" },
        { TRAILER, 0, 16, 4, 77, 0, "" },
        { TRAILER, 0, 20, 4, 8, -ENOTSUP, "incompat flags 0x8 are not known" },
        { TRAILER, 0, 24, 8, 5, -EUCLEAN, "length 5 is not the container's" },
        { TRAILER, 0, 40, 4, 1, -EUCLEAN, "reserved bytes are not zero" },
        { ENTRY, 0x0102, 0, 4, 0x0199, -ENOTSUP, "section 0x0199 is required and not known" },
        { ENTRY, 0x0102, 0, 4, 0x0101, -EUCLEAN, "section 0x0101: stands twice" },
        { ENTRY, 0x0101, 0, 4, 0x010c, -EUCLEAN, "section 0x0102: is out of order" },
        { ENTRY, 0x0101, 4, 4, 0, -EUCLEAN, "section 0x0101: is not marked as required" },
        { ENTRY, 0x0101, 4, 4, 5, -ENOTSUP, "section 0x0101: flags 0x5 are not known" },
        { ENTRY, 0x0101, 4, 4, 3, -EUCLEAN, "section 0x0101: has another form" },
        { ENTRY, 0x0103, 4, 4, 3 | 32 << 8, -EUCLEAN, "section 0x0103: has another form" },
        { ENTRY, 0x0104, 4, 4, 3, -EUCLEAN, "section 0x0104: is empty and has a form" },
        { ENTRY, 0x0102, 8, 8, 112, -EUCLEAN, "section 0x0102: does not start at" },
        { ENTRY, 0x0102, 8, 8, 96, -EUCLEAN, "section 0x0102: does not start at" },
        { ENTRY, 0x0102, 8, 8, UINT64_MAX, -EUCLEAN, "section 0x0102: reaches beyond" },
        { ENTRY, 0x0102, 16, 8, UINT64_MAX - 50, -EUCLEAN, "section 0x0102: reaches beyond" },
        { ENTRY, 0x0104, 16, 8, 0, 0, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_buf copy = { 0 };
        assert_int_equal(tarn_buf_append(&copy, f->container.data, f->container.length), 0);
        uint8_t *place = copy.data + copy.length - TARN_SECTION_TRAILER_SIZE;
        if (cases[i].place == ENTRY)
            place = tarn_test_find_entry(copy.data, copy.length, cases[i].type);
        if (cases[i].width == 4)
            tarn_put_le32(place + cases[i].offset, (uint32_t)cases[i].value);
        else
            tarn_put_le64(place + cases[i].offset, cases[i].value);
        tarn_test_fix_directory(copy.data, copy.length);
        struct tarn_sections sections;
        struct tarn_err err = { 0 };
        const int ret = parse(&copy, &sections, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: want %d \"%s\", got %d \"%s\"", i, cases[i].code, cases[i].want,
                     ret, err.text);
        tarn_buf_release(&copy);
    }
}

// An unknown section without the required bit is skipped.
static void test_unknown_optional_section(void **state)
{
    struct fixture *f = *state;
    struct tarn_sections sections = { 0 };
    struct tarn_buf out = { 0 };
    const struct tarn_section_form known = { TARN_SECTION_LAYER, false, 0 };
    const struct tarn_section_form unknown = { 0x7777, false, 0 };
    const struct tarn_section_form last = { TARN_SECTION_NAME_BYTES, true, 0 };
    assert_int_equal(tarn_section_append(&sections, &out, &known, f->data, 9), 0);
    assert_int_equal(tarn_section_append(&sections, &out, &unknown, f->data, 9), 0);
    assert_int_equal(tarn_section_append(&sections, &out, &last, f->data, 90), 0);
    assert_int_equal(tarn_sections_finish(&sections, TARN_CONTAINER_METADATA, 0, &out), 0);
    tarn_put_le32(tarn_test_find_entry(out.data, out.length, 0x7777) + 4, 0xf0000000);
    tarn_test_fix_directory(out.data, out.length);
    struct tarn_err err = { 0 };
    if (parse(&out, &sections, &err) < 0)
        fail_msg("%s", err.text);
    assert_non_null(tarn_sections_find(&sections, TARN_SECTION_NAME_BYTES));
    tarn_buf_release(&out);
}

// Every byte of the container is covered: flipped, it makes something fail. All bytes of the ends, some
// of the long sections.
static void test_each_byte_counts(void **state)
{
    struct fixture *f = *state;
    struct tarn_buf decoded = { 0 };
    const size_t length = f->container.length;
    for (size_t i = 0; i < length; i += i < 300 || i > length - 300 ? 1 : 37) {
        f->container.data[i] ^= 0x40;
        struct tarn_sections sections;
        int ret = parse(&f->container, &sections, NULL);
        if (ret == 0)
            ret = tarn_sections_check_padding(&sections, f->container.data, NULL);
        for (uint32_t type = TARN_SECTION_LAYER; type <= TARN_SECTION_NAMES && ret == 0; type++) {
            const struct tarn_section_source source = { &sections, f->container.data, 1 << 20 };
            struct tarn_bytes bytes;
            ret = tarn_section_open(&source, type, &decoded, &bytes, NULL);
        }
        f->container.data[i] ^= 0x40;
        if (ret == 0)
            fail_msg("byte %zu flipped: want an error, got none", i);
    }
    tarn_buf_release(&decoded);
}

// The checksum is right, but the frame is not what the format demands.
static void test_refused_frames(void **state)
{
    struct fixture *f = *state;
    const struct {
        size_t offset; // in section 0x0102
        uint8_t value;
        const char *want;
    } cases[] = {
        { 0, 0, "section 0x0102: is not one zstd frame with its content size" },
        { 4, 0xa4, "section 0x0102: is not one zstd frame" },
        { 4, 0xa1, "section 0x0102: is not one zstd frame" },
        { 4, 0x00, "section 0x0102: is not one zstd frame" },
        { 12, 0x0f, "section 0x0102: cannot be decompressed" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_buf copy = { 0 }, decoded = { 0 };
        assert_int_equal(tarn_buf_append(&copy, f->container.data, f->container.length), 0);
        copy.data[104 + cases[i].offset] = cases[i].value;
        tarn_test_fix_container(copy.data, copy.length);
        struct tarn_sections sections;
        assert_int_equal(parse(&copy, &sections, NULL), 0);
        const struct tarn_section_source source = { &sections, copy.data, ZSTD };
        struct tarn_bytes bytes;
        struct tarn_err err = { 0 };
        const int ret = tarn_section_open(&source, TARN_SECTION_BLOBS, &decoded, &bytes, &err);
        if (ret != -EUCLEAN || !strstr(err.text, cases[i].want))
            fail_msg("case %zu: want \"%s\", got %d \"%s\"", i, cases[i].want, ret, err.text);
        tarn_buf_release(&copy);
        tarn_buf_release(&decoded);
    }
}

static void test_too_short(void **state)
{
    struct fixture *f = *state;
    for (size_t n = 0; n < 64 + 4 * 32; n++) {
        const struct tarn_section_tail tail = { TARN_CONTAINER_METADATA,
                                                f->container.data + f->container.length - n, n,
                                                f->container.length };
        struct tarn_sections sections;
        assert_int_equal(tarn_sections_parse(&tail, &sections, NULL), -EUCLEAN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_equal_data_gives_equal_bytes),
        cmocka_unit_test(test_transposition),
        cmocka_unit_test(test_limit_and_missing),
        cmocka_unit_test(test_refused_directories),
        cmocka_unit_test(test_unknown_optional_section),
        cmocka_unit_test(test_each_byte_counts),
        cmocka_unit_test(test_refused_frames),
        cmocka_unit_test(test_too_short),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
