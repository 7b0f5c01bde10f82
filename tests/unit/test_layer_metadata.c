// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/layer_metadata.h"
#include "tests/support/metadata_parts.h"
#include "tests/support/metadata_sample.h"
#include "tests/support/test_bytes.h"

enum {
    LAYER = 0x0101,
    BLOBS,
    INODES,
    NAMES,
    NAME_BYTES,
    TARGETS,
    XATTRS,
    CONTENTS,
    UNITS,
    ADDRESSES,
    LOCATIONS,
    DIGESTS,
};

static int set_up(void **state)
{
    struct tarn_buf *sample = calloc(1, sizeof *sample);
    struct tarn_err err = { 0 };
    *state = sample;
    if (tarn_test_sample_metadata(sample, &err))
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int tear_down(void **state)
{
    tarn_buf_release(*state);
    free(*state);
    return 0;
}

static void expect_equal_content(const struct tarn_content *a, const struct tarn_content *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->digest.bytes, b->digest.bytes, 32);
    assert_int_equal(a->holder, b->holder);
    assert_int_equal(a->address, b->address);
    assert_int_equal(a->extent_count, b->extent_count);
    for (uint32_t i = 0; i < a->extent_count; i++) {
        assert_int_equal(a->extents[i].first, b->extents[i].first);
        assert_int_equal(a->extents[i].count, b->extents[i].count);
    }
}

static void expect_equal_xattrs(const struct tarn_xattr_set *a, const struct tarn_xattr_set *b)
{
    assert_int_equal(a != NULL, b != NULL);
    if (!a || !b)
        return;
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_string_equal(a->items[i].name, b->items[i].name);
        assert_int_equal(a->items[i].length, b->items[i].length);
        if (a->items[i].length > 0)
            assert_memory_equal(a->items[i].value, b->items[i].value, a->items[i].length);
    }
}

static void expect_equal_inode(const struct tarn_inode *a, const struct tarn_inode *b)
{
    assert_int_equal(a != NULL, b != NULL);
    if (!a || !b)
        return;
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->mtime, b->mtime);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_int_equal(a->major, b->major);
    assert_int_equal(a->minor, b->minor);
    assert_int_equal(a->nlink, b->nlink);
    assert_int_equal(a->index, b->index); // so that hard links are the same
    expect_equal_xattrs(a->xattrs, b->xattrs);
    if (S_ISREG(a->mode)) {
        expect_equal_content(a->content, b->content);
    } else if (S_ISLNK(a->mode) || (a->mode & S_IFMT) == 0) {
        assert_int_equal(a->target.length, b->target.length);
        assert_memory_equal(a->target.bytes, b->target.bytes, a->target.length);
    }
}

static void expect_equal_trees(const struct tarn_tree *want, const struct tarn_tree *got)
{
    assert_int_equal(tarn_tree_count(want), tarn_tree_count(got));
    const struct tarn_node *a = tarn_tree_root(want);
    const struct tarn_node *b = tarn_tree_root(got);
    for (; a && b; a = tarn_tree_next(a), b = tarn_tree_next(b)) {
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->parent != NULL, b->parent != NULL);
        if (a->parent && b->parent)
            assert_string_equal(a->parent->name, b->parent->name);
        assert_int_equal(a->whiteout, b->whiteout);
        assert_int_equal(a->opaque, b->opaque);
        assert_int_equal(a->implicit, b->implicit);
        expect_equal_inode(a->inode, b->inode);
    }
    assert_ptr_equal(a, b);
}

static struct tarn_layer_metadata read_ok(const struct tarn_buf *container)
{
    struct tarn_layer_metadata metadata;
    struct tarn_err err = { 0 };
    const int ret = tarn_layer_metadata_read(container->data, container->length, &metadata, &err);
    if (ret != 0)
        fail_msg("want 0, got %d \"%s\"", ret, err.text);
    return metadata;
}

static void test_round_trip(void **state)
{
    const struct tarn_buf *sample = *state;
    struct tarn_layer_metadata metadata = read_ok(sample);
    const struct tarn_layer_parameters want = tarn_test_sample_parameters();
    assert_memory_equal(&metadata.parameters, &want, sizeof want);
    struct tarn_tree *tree = tarn_test_sample_tree();
    struct tarn_tables_builder builder = { 0 };
    assert_true(tarn_test_sample_tables(&builder));
    const struct tarn_tables tables = tarn_tables_builder_view(&builder);
    struct tarn_buf again = { 0 };
    assert_int_equal(tarn_layer_metadata_write(&want, tree, &tables, &again, NULL), 0);
    expect_equal_trees(tree, metadata.tree);
    assert_int_equal(metadata.tables.blob_count, 3);
    assert_int_equal(metadata.tables.row_count, 12);
    assert_memory_equal(metadata.tables.addresses, tables.addresses, (size_t)12 * 8);
    assert_memory_equal(metadata.tables.locations, tables.locations, (size_t)12 * 8);
    assert_memory_equal(metadata.tables.digests, tables.digests, (size_t)12 * 32);
    assert_memory_equal(metadata.tables.blobs, tables.blobs, (size_t)3 * 128);
    tarn_buf_release(&again);
    tarn_tables_builder_release(&builder);
    tarn_tree_free(tree);

    // What was read gives the same bytes again.
    assert_int_equal(tarn_layer_metadata_write(&metadata.parameters, metadata.tree,
                                               &metadata.tables, &again, NULL),
                     0);
    assert_int_equal(again.length, sample->length);
    assert_memory_equal(again.data, sample->data, again.length);
    tarn_buf_release(&again);
    tarn_layer_metadata_release(&metadata);
}

// Names, inodes, sets and contents made in another order give the same bytes.
static struct tarn_buf write_many(bool backwards)
{
    struct tarn_tree *tree = tarn_tree_new();
    struct tarn_inode *root = tarn_tree_inode_new(tree);
    root->mode = S_IFDIR | 0755;
    tarn_node_set_inode(tarn_tree_root(tree), root);
    enum { COUNT = 500, CONTENT_COUNT = (COUNT + 2) / 3 };
    for (uint32_t k = 0; k < COUNT; k++) {
        const uint32_t i = backwards ? COUNT - 1 - k : k;
        char name[16], value[4];
        snprintf(name, sizeof name, "file%03u", i);
        snprintf(value, sizeof value, "%u", i / 7 % 10);
        struct tarn_node *node;
        assert_int_equal(tarn_tree_add(tree, tarn_tree_root(tree), name, strlen(name), &node), 0);
        struct tarn_inode *inode = tarn_tree_inode_new(tree);
        inode->mode = S_IFREG | 0600;
        const struct tarn_xattr xattr = { "user.k", (const uint8_t *)value, 1 };
        assert_int_equal(tarn_tree_xattrs(tree, &xattr, 1, &inode->xattrs, NULL), 0);
        struct tarn_content content = { .kind = TARN_CONTENT_PLAIN, .size = 1 + i / 3 };
        tarn_sha256(&content.size, sizeof content.size, &content.digest);
        inode->content = tarn_tree_content(tree, &content);
        inode->content->holder = 0;
        // Addresses are in no order, but all are there.
        inode->content->address = (uint64_t)(i / 3 * 50 % CONTENT_COUNT) * 4096;
        tarn_node_set_inode(node, inode);
    }
    struct tarn_tables_builder builder = { 0 };
    const uint64_t data = (uint64_t)CONTENT_COUNT * 4096;
    const struct tarn_digest digest = { { 1 } };
    uint32_t rows = 0;
    for (uint64_t address = 0; address < data; address += 65536, rows++) {
        const struct tarn_location location = { .kind = TARN_LOCATION_STORED,
                                                .run_start = rows % 4 == 0,
                                                .stored_length = 1,
                                                .offset = rows };
        assert_int_equal(tarn_tables_builder_add_row(&builder, address, &location, &digest), 0);
    }
    assert_int_equal(tarn_tables_builder_add_gap(&builder, data), 0);
    const struct tarn_blob_record own = { .data_length = data, .row_count = rows + 1 };
    assert_int_equal(tarn_tables_builder_add_blob(&builder, &own), 0);
    const struct tarn_layer_parameters parameters = { 3, 10504, 0, data, rows };
    const struct tarn_tables tables = tarn_tables_builder_view(&builder);
    struct tarn_buf out = { 0 };
    assert_int_equal(tarn_layer_metadata_write(&parameters, tree, &tables, &out, NULL), 0);
    tarn_tables_builder_release(&builder);
    tarn_tree_free(tree);
    return out;
}

static void test_order_of_making_does_not_matter(void **state)
{
    (void)state;
    struct tarn_buf forwards = write_many(false);
    struct tarn_buf backwards = write_many(true);
    assert_int_equal(forwards.length, backwards.length);
    assert_memory_equal(forwards.data, backwards.data, forwards.length);
    struct tarn_layer_metadata metadata = read_ok(&forwards);
    assert_int_equal(tarn_tree_count(metadata.tree), 501);
    tarn_layer_metadata_release(&metadata);
    tarn_buf_release(&forwards);
    tarn_buf_release(&backwards);
}

// A layer without any entry: a root that only exists.
static void test_empty_layer(void **state)
{
    (void)state;
    struct tarn_tree *tree = tarn_tree_new();
    struct tarn_tables_builder builder = { 0 };
    const struct tarn_blob_record own = { .row_count = 1 };
    assert_int_equal(tarn_tables_builder_add_gap(&builder, 0), 0);
    assert_int_equal(tarn_tables_builder_add_blob(&builder, &own), 0);
    const struct tarn_layer_parameters parameters = { .level = 3 };
    const struct tarn_tables tables = tarn_tables_builder_view(&builder);
    struct tarn_buf out = { 0 };
    assert_int_equal(tarn_layer_metadata_write(&parameters, tree, &tables, &out, NULL), 0);
    struct tarn_layer_metadata metadata = read_ok(&out);
    expect_equal_trees(tree, metadata.tree);
    tarn_layer_metadata_release(&metadata);
    tarn_buf_release(&out);
    tarn_tables_builder_release(&builder);
    tarn_tree_free(tree);
}

static void test_refuses_to_write_without_places(void **state)
{
    (void)state;
    struct tarn_tree *tree = tarn_test_sample_tree();
    struct tarn_node *node = tarn_tree_child(tree, tarn_tree_root(tree), "holes", 5);
    const struct tarn_layer_parameters parameters = tarn_test_sample_parameters();
    const struct tarn_tables none = { 0 };
    struct tarn_buf out = { 0 };
    struct tarn_err err = { 0 };
    node->inode->content->holder = TARN_NONE;
    assert_int_equal(tarn_layer_metadata_write(&parameters, tree, &none, &out, &err), -EINVAL);
    assert_string_equal(err.text, "layer metadata: file 'holes' has a content without a place");
    tarn_tree_free(tree);
    tarn_buf_release(&out);
}

// --- refused -----------------------------------------------------------------------------------

struct refused {
    uint32_t section;
    uint32_t record; // of size bytes
    uint32_t size;
    uint32_t offset; // in the record
    int width;       // bytes of value
    int code;
    uint64_t value;
    const char *want;
};

// Every change behind right checksums. Names by record: 0 root, 1 below, 2 d, 3 d/five, 4 d/five-again,
// 5 d/link, 6 d/lower, 7 d.link, 8 empty, 9 ffff..., 10 gone, 11 hole-only, 12 holes, 13 implied,
// 14 implied/fifo, 15 implied/link, 16 implied/tty, 17 replaced.
// Inodes: 0 root, 1 below (lower link), 2 d, 3 five, 4 five-again, 5 d/link, 6 d/lower, 7 d.link,
// 8 empty, 9 ffff (block device), 10 hole-only, 11 holes, 12 fifo, 13 link = tty, 14 replaced.
// Contents: 0 five, 1 lower, 2 empty, 3 hole-only, 4 holes. Sets: 0 of d, 1 of tty and replaced.
static const struct refused refused[] = {
    { LAYER, 0, 0, 0, 4, -ENOTSUP, 2, "section 0x0101: chunker 2 is not known" },
    { LAYER, 0, 0, 12, 4, -ENOTSUP, 65536, "largest chunk length 65536 is not known" },
    { LAYER, 0, 0, 28, 4, -ENOTSUP, 0, "compression 0 is not known" },
    { LAYER, 0, 0, 32, 4, -ENOTSUP, 1, "encryption 1 is not known" },
    { LAYER, 0, 0, 44, 4, -EUCLEAN, 3, "number of blobs is out of range" },
    { LAYER, 0, 0, 48, 8, -EUCLEAN, 532481, "data space has a wrong length" },
    { LAYER, 0, 0, 48, 8, -EUCLEAN, UINT64_C(1) << 45, "data space has a wrong length" },
    { LAYER, 0, 0, 48, 8, -EUCLEAN, 528384, "data space is not that of the own blob's record" },
    { LAYER, 0, 0, 56, 8, -EUCLEAN, 532481, "chunks are longer than the data space" },
    { LAYER, 0, 0, 56, 8, -EUCLEAN, 5001, "record 1: chunks do not fill the chunks section" },
    { LAYER, 0, 0, 64, 4, -EUCLEAN, 14, "section 0x0103: is longer than it can be" },
    { LAYER, 0, 0, 64, 4, -EUCLEAN, 16, "section 0x0103 has 960 bytes, 1024 belong there" },
    { LAYER, 0, 0, 64, 4, -EUCLEAN, 19, "more inodes than names" },
    { LAYER, 0, 0, 68, 4, -EUCLEAN, 0, "number of names is out of range" },
    { LAYER, 0, 0, 68, 4, -EUCLEAN, 0xffffffff, "number of names is out of range" },
    { LAYER, 0, 0, 72, 4, -EUCLEAN, 16, "more contents than inodes" },
    { LAYER, 0, 0, 76, 4, -EUCLEAN, 65536, "number of blobs is out of range" },
    { LAYER, 0, 0, 80, 4, -EUCLEAN, 1, "section 0x0101: reserved bytes are not zero" },
    { BLOBS, 2, 128, 116, 4, -EUCLEAN, 0, "layer metadata: section 0x0102 record 2: role" },
    { LOCATIONS, 1, 8, 0, 8, -EUCLEAN, 0, "layer metadata: section 0x010b row 1: " },

    { INODES, 1, 64, 0, 4, -EUCLEAN, 0170644, "inodes record 1: mode has an unknown type" },
    { INODES, 2, 64, 0, 4, -EUCLEAN, 0240755, "inodes record 2: mode has an unknown type" },
    { INODES, 2, 64, 4, 4, -EUCLEAN, 1, "inodes record 2: reserved bytes are not zero" },
    { INODES, 2, 64, 56, 8, -EUCLEAN, 1, "inodes record 2: reserved bytes are not zero" },
    { INODES, 2, 64, 8, 4, -EUCLEAN, 0xffffffff, "inodes record 2: owner is 2^32 - 1" },
    { INODES, 2, 64, 24, 4, -EUCLEAN, 1000000000, "inodes record 2: mtime has too many" },
    { INODES, 2, 64, 28, 4, -EUCLEAN, 2, "inodes record 2: xattr set is not there or out of" },
    { INODES, 2, 64, 28, 4, -EUCLEAN, 9, "inodes record 2: xattr set is not there or out of" },
    { INODES, 13, 64, 28, 4, 0, 1, "" }, // another set that is there: a sound record
    { INODES, 14, 64, 28, 4, 0, 1, "" },
    { INODES, 2, 64, 32, 8, -EUCLEAN, 1, "inodes record 2: device number of what is no device" },
    { INODES, 13, 64, 32, 8, -EUCLEAN, UINT64_C(4096) << 32, "device number is too large" },
    { INODES, 13, 64, 32, 8, -EUCLEAN, 1 << 20, "inodes record 13: device number is too large" },
    { INODES, 2, 64, 40, 8, -EUCLEAN, 1, "inodes record 2: target of what has none" },
    { INODES, 5, 64, 40, 8, -EUCLEAN, 0, "inodes record 5: target does not follow" },
    { INODES, 5, 64, 48, 4, -EUCLEAN, 0, "section 0x0106: is longer than it can be" },
    { INODES, 5, 64, 48, 4, -EUCLEAN, 65536, "inodes record 5: target is too long" },
    { INODES, 5, 64, 48, 4, -EUCLEAN, 2, "section 0x0106 has 18 bytes, 19 belong there" },
    { INODES, 2, 64, 52, 4, -EUCLEAN, 1, "inodes record 2: content of what is no regular" },
    { INODES, 3, 64, 52, 4, -EUCLEAN, 0, "inodes record 3: content is not there or out of" },
    { INODES, 3, 64, 52, 4, -EUCLEAN, 2, "inodes record 3: content is not there or out of" },
    { INODES, 3, 64, 52, 4, -EUCLEAN, 6, "inodes record 3: content is not there or out of" },
    { INODES, 11, 64, 52, 4, -EUCLEAN, 4, "contents record 4: no inode has it" },
    { TARGETS, 0, 0, 0, 1, -EUCLEAN, '/', "inodes record 1: target of a lower link is no path" },
    { TARGETS, 0, 0, 4, 1, -EUCLEAN, '/', "inodes record 1: target of a lower link is no path" },
    { TARGETS, 0, 0, 12, 1, -EUCLEAN, '/', "inodes record 1: target of a lower link is no path" },
    { TARGETS, 0, 0, 4, 4, -EUCLEAN, '.' << 8 | '.' << 16 | '/', "is no path" },
    { TARGETS, 0, 0, 5, 1, -EUCLEAN, 0, "inodes record 1: target of a lower link is no path" },
    { TARGETS, 0, 0, 13, 1, -EUCLEAN, 0, "inodes record 5: symbolic link is too long or has" },

    { NAMES, 0, 12, 0, 4, -EUCLEAN, 1, "names record 0: root is not the root" },
    { NAMES, 0, 12, 8, 2, -EUCLEAN, 1, "names record 0: root is not the root" },
    { NAMES, 0, 12, 4, 4, -EUCLEAN, 0xffffffff, "names record 0: has no inode and no reason" },
    { NAMES, 0, 12, 10, 2, -EUCLEAN, 1, "names record 0: root is a whiteout" },
    { NAMES, 3, 12, 0, 4, -EUCLEAN, 3, "layer metadata: names record 3: parent stands after it" },
    { NAMES, 3, 12, 0, 4, -EUCLEAN, 0xffffffff, "names record 3: parent stands after it" },
    { NAMES, 4, 12, 0, 4, -EUCLEAN, 3, "names record 4: parent is no directory" },
    { NAMES, 14, 12, 0, 4, -EUCLEAN, 2, "names record 14: is out of order" },
    { NAMES, 8, 12, 4, 4, -EUCLEAN, 15, "names record 8: inode is not there or out of order" },
    { NAMES, 8, 12, 4, 4, -EUCLEAN, 9, "names record 8: inode is not there or out of order" },
    { NAMES, 8, 12, 4, 4, -EUCLEAN, 2, "names record 8: directory with a second name" },
    { NAMES, 17, 12, 4, 4, -EUCLEAN, 3, "inodes record 14: has no name" },
    { NAMES, 8, 12, 8, 2, -EUCLEAN, 0, "names record 8: name is not allowed" },
    { NAMES, 8, 12, 8, 2, -EUCLEAN, 65535, "names record 8: name is not in section 0x0105" },
    { NAMES, 17, 12, 8, 2, -EUCLEAN, 7, "section 0x0105 has bytes behind the last name" },
    { NAMES, 8, 12, 10, 2, -EUCLEAN, 8, "names record 8: flags are not known" },
    { NAMES, 8, 12, 10, 2, -EUCLEAN, 4, "names record 8: implicit directory with an inode" },
    { NAMES, 8, 12, 10, 2, -EUCLEAN, 2, "names record 8: opaque and no directory" },
    { NAMES, 10, 12, 10, 2, -EUCLEAN, 0, "names record 10: has no inode and no reason" },
    { NAMES, 10, 12, 10, 2, -EUCLEAN, 3, "names record 10: opaque and no directory" },
    { NAME_BYTES, 0, 0, 0, 1, -EUCLEAN, 'z', "names record 2: is out of order" },
    { NAME_BYTES, 0, 0, 0, 5, -EUCLEAN, 0x61613d61, "names record 1: name is not allowed" },
    { NAME_BYTES, 0, 0, 0, 1, -EUCLEAN, '/', "names record 1: name is not allowed" },

    { XATTRS, 0, 0, 0, 4, -EUCLEAN, 0, "xattr sets record 0: count is out of range" },
    { XATTRS, 0, 0, 0, 4, -EUCLEAN, 0xffffffff, "xattr sets record 0: count is out of range" },
    { XATTRS, 0, 0, 4, 4, -EUCLEAN, 0xffffffff, "xattr sets record 0: reaches beyond" },
    { XATTRS, 0, 0, 8, 4, -EUCLEAN, 0xffffffff, "xattr sets record 0: reaches beyond" },
    { XATTRS, 0, 0, 12, 1, -EUCLEAN, 'z', "xattr sets record 0: names do not ascend" },
    { XATTRS, 0, 0, 12, 1, -EUCLEAN, 'a', "xattr sets record 0: xattr 'aystem.posix_acl_access'" },
    { XATTRS, 0, 0, 13, 1, -EUCLEAN, 0, "xattr sets record 0: name with a NUL" },

    { CONTENTS, 0, 64, 32, 8, -EUCLEAN, (UINT64_C(1) << 43) + 1, "file is larger than" },
    { CONTENTS, 0, 64, 32, 8, -EUCLEAN, 8193, "contents record 4: overlaps another" },
    { CONTENTS, 0, 64, 32, 8, -EUCLEAN, 532481, "contents record 0: lies beyond the data space" },
    { CONTENTS, 0, 64, 40, 8, -EUCLEAN, 1, "contents record 0: address is no multiple" },
    { CONTENTS, 0, 64, 40, 8, -EUCLEAN, 4096, "contents record 0: lies behind bytes of" },
    { CONTENTS, 0, 64, 40, 8, -EUCLEAN, UINT64_MAX - 4095, "contents record 0: lies beyond" },
    { CONTENTS, 0, 64, 48, 4, -EUCLEAN, 3, "contents record 0: kind is neither 1 nor 2" },
    { CONTENTS, 0, 64, 48, 4, -EUCLEAN, 2, "contents record 0: has no data and a place" },
    { CONTENTS, 0, 64, 52, 4, -EUCLEAN, 2, "contents record 0: holder is above this layer" },
    { CONTENTS, 0, 64, 52, 4, -EUCLEAN, 0xffffffff, "contents record 0: holder is above" },
    { CONTENTS, 0, 64, 52, 4, -EUCLEAN, 0, "contents record 4: lies behind bytes of" },
    { CONTENTS, 0, 64, 56, 4, -EUCLEAN, 1, "contents record 0: kind 1 with extents" },
    { CONTENTS, 0, 64, 60, 4, -EUCLEAN, 1, "section 0x0109 has 16 bytes, 24 belong there" },
    { CONTENTS, 1, 64, 40, 8, -EUCLEAN, 61440, "contents record 1: lies beyond the data space" },
    { CONTENTS, 1, 64, 40, 8, -EUCLEAN, 4095, "contents record 1: address is no multiple" },
    { CONTENTS, 2, 64, 40, 8, -EUCLEAN, 4096, "contents record 2: has no data and a place" },
    { CONTENTS, 2, 64, 52, 4, -EUCLEAN, 1, "contents record 2: has no data and a place" },
    { CONTENTS, 2, 64, 0, 1, -EUCLEAN, 0, "contents record 2: has no data and not the digest" },
    { CONTENTS, 3, 64, 40, 8, -EUCLEAN, 4096, "contents record 3: has no data and a place" },
    { CONTENTS, 3, 64, 32, 8, -EUCLEAN, 0, "contents record 3: kind 2 without a hole" },
    { CONTENTS, 3, 64, 56, 4, -EUCLEAN, 1, "contents record 3: extents do not follow" },
    { CONTENTS, 3, 64, 60, 4, -EUCLEAN, 32769, "contents record 3: has more extents than" },
    { CONTENTS, 4, 64, 40, 8, -EUCLEAN, 0, "contents record 4: overlaps another content" },
    { CONTENTS, 4, 64, 40, 8, -EUCLEAN, 4096, "contents record 4: overlaps another content" },
    { CONTENTS, 4, 64, 56, 4, -EUCLEAN, 1, "contents record 4: extents do not follow" },
    { CONTENTS, 4, 64, 32, 8, -EUCLEAN, 786432, "contents record 4: extents reach beyond" },
    { CONTENTS, 4, 64, 32, 8, 0, 1048577, "" }, // a fifth unit, a hole
    { CONTENTS, 4, 64, 32, 8, -EUCLEAN, 1043000, "contents end at 528384, the data space at" },
    { UNITS, 0, 8, 4, 4, -EUCLEAN, 0, "contents record 4: extents are not maximal" },
    { UNITS, 0, 8, 4, 4, -EUCLEAN, 2, "contents record 4: extents are not maximal" },
    { UNITS, 0, 8, 0, 4, -EUCLEAN, 4, "contents record 4: extents reach beyond" },
    { UNITS, 1, 8, 0, 4, -EUCLEAN, 0, "contents record 4: extents are not maximal" },
    { UNITS, 1, 8, 4, 4, -EUCLEAN, 0xffffffff, "contents record 4: extents reach beyond" },
};

static void put(struct tarn_test_parts *parts, const struct refused *what)
{
    struct tarn_buf *part = &parts->sections[what->section - LAYER];
    const size_t offset = (size_t)what->record * what->size + what->offset;
    uint8_t bytes[8];
    tarn_put_le64(bytes, what->value);
    assert_in_range(offset + (size_t)what->width, 0, part->length);
    memcpy(part->data + offset, bytes, (size_t)what->width);
}

static void test_refused_records(void **state)
{
    const struct tarn_buf *sample = *state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct tarn_test_parts parts = { 0 };
        struct tarn_buf changed = { 0 };
        assert_true(tarn_test_parts_split(sample->data, sample->length, &parts));
        put(&parts, &refused[i]);
        assert_true(tarn_test_parts_join(&parts, &changed));
        struct tarn_layer_metadata metadata;
        struct tarn_err err = { 0 };
        const int ret = tarn_layer_metadata_read(changed.data, changed.length, &metadata, &err);
        if (ret != refused[i].code || !strstr(err.text, refused[i].want)) {
            print_error("case %zu: want %d \"%s\", got %d \"%s\"\n", i, refused[i].code,
                        refused[i].want, ret, err.text);
            failed++;
        }
        assert_int_equal(metadata.tree != NULL, ret == 0);
        tarn_layer_metadata_release(&metadata);
        tarn_buf_release(&changed);
        tarn_test_parts_release(&parts);
    }
    assert_int_equal(failed, 0);
}

// A kind 2 content whose extents are all of its units.
static void test_refuses_units_without_a_hole(void **state)
{
    const struct tarn_buf *sample = *state;
    struct tarn_test_parts parts = { 0 };
    struct tarn_buf changed = { 0 };
    assert_true(tarn_test_parts_split(sample->data, sample->length, &parts));
    struct tarn_buf *units = &parts.sections[UNITS - LAYER];
    units->length = 8;
    tarn_put_le32(units->data, 0);
    tarn_put_le32(units->data + 4, 4);
    tarn_put_le32(parts.sections[CONTENTS - LAYER].data + 316, 1);
    assert_true(tarn_test_parts_join(&parts, &changed));
    struct tarn_layer_metadata metadata;
    struct tarn_err err = { 0 };
    assert_int_equal(tarn_layer_metadata_read(changed.data, changed.length, &metadata, &err),
                     -EUCLEAN);
    assert_string_equal(err.text, "layer metadata: contents record 4: kind 2 without a hole");
    tarn_buf_release(&changed);
    tarn_test_parts_release(&parts);
}

// The same identity, and the same xattr set, a second time.
static void test_refuses_what_stands_twice(void **state)
{
    const struct tarn_buf *sample = *state;
    for (int which = 0; which < 2; which++) {
        struct tarn_test_parts parts = { 0 };
        struct tarn_buf changed = { 0 };
        assert_true(tarn_test_parts_split(sample->data, sample->length, &parts));
        if (which == 0) {
            uint8_t *contents = parts.sections[CONTENTS - LAYER].data;
            memcpy(contents + 64, contents, 32);
            tarn_put_le64(contents + 64 + 32, 5000);
        } else {
            struct tarn_buf *sets = &parts.sections[XATTRS - LAYER];
            const size_t length = sets->length;
            // The second set lies behind the first: replace it by a copy of the first.
            const size_t first = 4 + 3 * 8 + 23 + 6 + 6 + 44 + 2 + 300;
            assert_in_range(2 * first, 0, length + first);
            sets->length = first;
            assert_int_equal(tarn_buf_reserve(sets, first), 0);
            memcpy(sets->data + first, sets->data, first);
            sets->length = 2 * first;
        }
        assert_true(tarn_test_parts_join(&parts, &changed));
        struct tarn_layer_metadata metadata;
        struct tarn_err err = { 0 };
        assert_int_equal(tarn_layer_metadata_read(changed.data, changed.length, &metadata, &err),
                         -EUCLEAN);
        assert_string_equal(err.text, which == 0
                                          ? "layer metadata: contents record 1: stands twice"
                                          : "layer metadata: xattr sets record 1: stands twice");
        tarn_buf_release(&changed);
        tarn_test_parts_release(&parts);
    }
}

// Any change to any decoded byte: an error, or a record whose bytes come back as they are.
static void test_any_changed_byte(void **state)
{
    const struct tarn_buf *sample = *state;
    struct tarn_test_parts parts = { 0 };
    assert_true(tarn_test_parts_split(sample->data, sample->length, &parts));
    uint64_t seed = 17;
    for (int round = 0; round < 1000; round++) {
        struct tarn_buf *part = &parts.sections[tarn_test_random_below(&seed, TARN_TEST_PARTS)];
        uint8_t *byte = part->data + tarn_test_random_below(&seed, part->length);
        const uint8_t before = *byte;
        *byte ^= (uint8_t)(1 << tarn_test_random_below(&seed, 8));
        struct tarn_buf changed = { 0 }, again = { 0 };
        assert_true(tarn_test_parts_join(&parts, &changed));
        struct tarn_layer_metadata metadata;
        if (tarn_layer_metadata_read(changed.data, changed.length, &metadata, NULL) == 0) {
            assert_int_equal(tarn_layer_metadata_write(&metadata.parameters, metadata.tree,
                                                       &metadata.tables, &again, NULL),
                             0);
            assert_int_equal(again.length, changed.length);
            assert_memory_equal(again.data, changed.data, again.length);
            tarn_layer_metadata_release(&metadata);
        }
        tarn_buf_release(&again);
        tarn_buf_release(&changed);
        *byte = before;
    }
    tarn_test_parts_release(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_order_of_making_does_not_matter),
        cmocka_unit_test(test_empty_layer),
        cmocka_unit_test(test_refuses_to_write_without_places),
        cmocka_unit_test(test_refused_records),
        cmocka_unit_test(test_refuses_units_without_a_hole),
        cmocka_unit_test(test_refuses_what_stands_twice),
        cmocka_unit_test(test_any_changed_byte),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
