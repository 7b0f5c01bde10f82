// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/bootstrap_internal.h"
#include "format/section.h"
#include "format/verify.h"
#include "tests/support/container_fix.h"
#include "tests/support/sample_bootstrap.h"

static struct tarn_sample *make_sample(uint32_t chain)
{
    struct tarn_sample *sample = tarn_sample_new(chain);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    for (uint32_t i = 0; i < chain; i++) {
        char name[32];
        if (i == 2)
            continue; // a blob without data
        (void)snprintf(name, sizeof name, "file%u", i);
        tarn_sample_file(sample, root, name, (struct tarn_shape){ 700000 + i, 0, 700000 + i, i });
    }
    return sample;
}

static void open_or_fail(const struct tarn_buf *bytes, struct tarn_bootstrap *bootstrap)
{
    struct tarn_err err = { 0 };
    if (tarn_bootstrap_open(bytes->data, bytes->length, bootstrap, &err) < 0)
        fail_msg("open: %s", err.text);
}

static void test_round_trip(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = make_sample(5);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_sample_bootstrap(sample, &bytes);
    struct tarn_bootstrap bootstrap;
    open_or_fail(&bytes, &bootstrap);
    struct tarn_err err = { 0 };
    assert_int_equal(tarn_verify_tree(&bootstrap, &err), 0);
    assert_int_equal(bootstrap.chain_count, 5);
    assert_int_equal(bootstrap.slot_count, 4);
    assert_int_equal(bootstrap.inode_count, 5);
    assert_int_equal(bootstrap.name_count, 4);
    assert_int_equal(bootstrap.file_bytes, 4 * 700000 + 0 + 1 + 3 + 4);
    assert_int_equal(bootstrap.tables.blob_count, 6);
    static const uint32_t want[] = { 0, 0, 1, 3, 4 };
    for (uint32_t slot = 1; slot <= 4; slot++)
        assert_int_equal(bootstrap.slot_blobs[slot], want[slot]);
    tarn_bootstrap_release(&bootstrap);
}

// Layers 0 to 3 know chunks 0 to 2 of the foreign blob, layer 4 knows chunks 4 to 6.
static void test_foreign_rows(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = make_sample(5);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_sample_bootstrap(sample, &bytes);
    struct tarn_bootstrap bootstrap;
    open_or_fail(&bytes, &bootstrap);
    const struct tarn_blob_record foreign = tarn_tables_blob(&bootstrap.tables, 5);
    assert_int_equal(foreign.role, TARN_BLOB_FOREIGN);
    static const struct {
        uint64_t address;
        bool gap;
    } want[] = { { 0, false }, { 1, false }, { 2, false }, { 3, true },
                 { 4, false }, { 5, false }, { 6, false }, { 7, true } };
    assert_int_equal(foreign.row_count, 8);
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t row = foreign.first_row + i;
        assert_int_equal(tarn_tables_address(&bootstrap.tables, row),
                         want[i].address * TARN_SAMPLE_CUT);
        assert_int_equal(tarn_tables_location(&bootstrap.tables, row).kind == TARN_LOCATION_GAP,
                         want[i].gap);
    }
    const struct tarn_blob_record top = tarn_tables_blob(&bootstrap.tables, 4);
    const struct tarn_location reference = tarn_tables_location(&bootstrap.tables, top.first_row);
    assert_int_equal(reference.kind, TARN_LOCATION_REFERENCE);
    assert_int_equal(reference.blob, 5);
    assert_int_equal(reference.address, 4 * TARN_SAMPLE_CUT);
    tarn_bootstrap_release(&bootstrap);
}

static void test_empty_chain(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_sample_bootstrap(sample, &bytes);
    struct tarn_bootstrap bootstrap;
    open_or_fail(&bytes, &bootstrap);
    assert_int_equal(tarn_verify_tree(&bootstrap, NULL), 0);
    assert_int_equal(bootstrap.slot_count, 0);
    tarn_bootstrap_release(&bootstrap);
}

static void test_same_bytes(void **state)
{
    (void)state;
    tarn_autobuf struct tarn_buf a = { 0 }, b = { 0 };
    for (int i = 0; i < 2; i++) {
        tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(3);
        tarn_sample_fill(sample);
        tarn_sample_bootstrap(sample, i ? &b : &a);
    }
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
}

// --- refusals --------------------------------------------------------------------------------

static void expect_build_error(const struct tarn_sample_layers *layers, int code, const char *text)
{
    tarn_autobuf struct tarn_buf out = { 0 };
    struct tarn_err err = { 0 };
    const struct tarn_bootstrap_source source = {
        layers->layers, layers->sample->chain, layers->sample->tree, { { 0 } }
    };
    const int ret = tarn_bootstrap_build(&source, &out, &err);
    assert_int_equal(ret, code);
    if (!strstr(err.text, text))
        fail_msg("want \"%s\", got \"%s\"", text, err.text);
}

static void test_wrong_chain(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = make_sample(3);
    tarn_cleanup(tarn_sample_layers_free_p) struct tarn_sample_layers *layers =
        tarn_sample_layers_new(sample, 2);
    layers->layers[0].digest.bytes[3] ^= 1;
    expect_build_error(layers, -EINVAL, "layer 1: the blob was made for another layer 0");
    layers->layers[0].digest.bytes[3] ^= 1;
    layers->metadata[1].parameters.chain_index = 7;
    expect_build_error(layers, -EINVAL, "layer 1: the blob was made for place 7 of a chain");
}

static void test_layers_disagree(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = make_sample(2);
    tarn_cleanup(tarn_sample_layers_free_p) struct tarn_sample_layers *layers =
        tarn_sample_layers_new(sample, 2);
    struct tarn_tables_builder *upper = &layers->tables[1];
    const size_t row = tarn_tables_blob(&layers->metadata[1].tables, 2).first_row + 1;
    upper->digests.data[row * TARN_DIGEST_SIZE] ^= 1;
    expect_build_error(layers, -EUCLEAN,
                       "layer 1: its row of blob 2 for address 65536 is not what");
    upper->digests.data[row * TARN_DIGEST_SIZE] ^= 1;
    tarn_put_le64(upper->blobs.data + (size_t)2 * TARN_BLOB_RECORD_SIZE + 40, 4096);
    expect_build_error(layers, -EUCLEAN, "is not what a lower layer says of it");
}

struct damage {
    uint32_t type; // of the section; 0: the container
    uint64_t offset;
    uint32_t value;
    int code;
    const char *text;
};

static const struct damage damages[] = {
    { TARN_SECTION_IMAGE, 0, 2, -ENOTSUP, "image: parameter 2 of the chunker is not known" },
    { TARN_SECTION_IMAGE, 8, 1, -ENOTSUP, "image: parameter 1 of the chunker is not known" },
    { TARN_SECTION_IMAGE, TARN_IMAGE_CHAIN, 99, -EUCLEAN, "number of blobs is out of range" },
    { TARN_SECTION_IMAGE, TARN_IMAGE_BLOBS, 5, -EUCLEAN, "section 0x0102: 768 bytes, must be 640" },
    { TARN_SECTION_IMAGE, TARN_IMAGE_SLOTS, 3, -EUCLEAN, "image: 3 slots, the device table has 4" },
    { TARN_SECTION_IMAGE, TARN_IMAGE_ZERO, 1, -EUCLEAN, "field that must be zero" },
    { TARN_SECTION_IMAGE, 124, 1, -EUCLEAN, "field that must be zero" },
    { TARN_SECTION_BLOBS, 112, 0, -EUCLEAN, "slots are not in order" },
    { TARN_SECTION_BLOBS, 112, 2, -EUCLEAN, "slots are not in order" },
    { TARN_SECTION_BLOBS, 4 * 128 + 112, 0, -EUCLEAN, "4 slots, blobs have 3" },
    { TARN_SECTION_BLOBS, 5 * 128 + 112, 5, -EUCLEAN, "a foreign blob has a slot" },
    { TARN_SECTION_BLOBS, 2 * 128 + 112, 3, -EUCLEAN, "the tag of its device is another digest" },
    { TARN_SECTION_BLOBS, 128, 0, -EUCLEAN, "the tag of its device is another digest" },
    { TARN_SECTION_BLOBS, 116, 1, -EUCLEAN, "role does not fit its place" },
    { TARN_SECTION_CHUNK_ADDRESSES, 8, 0, -EUCLEAN, "bootstrap offset" },
    { TARN_SECTION_CHUNK_LOCATIONS, 32, 77, -EUCLEAN, "bootstrap offset" },
    { TARN_SECTION_EROFS, 1024, 7, -EUCLEAN, "magic number is not EROFS'" },
    { TARN_SECTION_EROFS, 1028, 7, -EUCLEAN, "superblock: the checksum is wrong" },
    { TARN_SECTION_EROFS, 1152 + 64, 1, -EUCLEAN, "superblock: the checksum is wrong" },
};

static void test_damages(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = make_sample(5);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_sample_bootstrap(sample, &bytes);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const struct damage *damage = &damages[i];
        tarn_autofree uint8_t *copy = malloc(bytes.length);
        memcpy(copy, bytes.data, bytes.length);
        const uint8_t *entry = tarn_test_find_entry(copy, bytes.length, damage->type);
        assert_non_null(entry);
        tarn_put_le32(copy + tarn_get_le64(entry + 8) + damage->offset, damage->value);
        struct tarn_bootstrap bootstrap;
        struct tarn_err err = { 0 };
        // Without the checksum made right the section itself is refused.
        assert_int_equal(tarn_bootstrap_open(copy, bytes.length, &bootstrap, &err), -EUCLEAN);
        assert_true(tarn_test_fix_container(copy, bytes.length));
        err.text[0] = '\0';
        const int ret = tarn_bootstrap_open(copy, bytes.length, &bootstrap, &err);
        if (ret != damage->code || !strstr(err.text, damage->text) || bootstrap.slot_blobs)
            fail_msg("%zu: want %d \"%s\", got %d \"%s\"", i, damage->code, damage->text, ret,
                     err.text);
    }
}

static void test_cut_off(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = make_sample(1);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_sample_bootstrap(sample, &bytes);
    for (size_t length = 0; length < bytes.length; length += length < 200 ? 1 : 97) {
        struct tarn_bootstrap bootstrap;
        tarn_autofree uint8_t *copy = malloc(length + 1);
        memcpy(copy, bytes.data, length);
        assert_int_equal(tarn_bootstrap_open(copy, length, &bootstrap, NULL), -EUCLEAN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_foreign_rows),
        cmocka_unit_test(test_empty_chain), cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_wrong_chain), cmocka_unit_test(test_layers_disagree),
        cmocka_unit_test(test_damages),     cmocka_unit_test(test_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
