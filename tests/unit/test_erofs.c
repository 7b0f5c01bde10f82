// SPDX-License-Identifier: Apache-2.0
// Writer and reader against each other and against the tree; what the kernel says is in
// test_erofs_kernel.c.
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/erofs_reader.h"
#include "tests/support/sample_tree.h"

static void open_image(const struct tarn_buf *image, struct tarn_erofs *erofs)
{
    struct tarn_err err = { 0 };
    if (tarn_erofs_open(image->data, image->length, erofs, &err) < 0)
        fail_msg("open: %s", err.text);
}

static void test_crc32c(void **state)
{
    (void)state;
    assert_int_equal(~tarn_crc32c(~UINT32_C(0), "123456789", 9), UINT32_C(0xe3069283));
    assert_int_equal(tarn_crc32c(tarn_crc32c(7, "12345", 5), "6789", 4),
                     tarn_crc32c(7, "123456789", 9));
}

static void test_xattr_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned index;
        const char *rest;
    } cases[] = { { "user.k", 1, "k" },
                  { "user.", 0, "" },
                  { "user", 0, "" },
                  { "system.posix_acl_access", 2, "" },
                  { "system.posix_acl_default", 3, "" },
                  { "system.posix_acl_accessx", 0, "" },
                  { "system.nfs4_acl", 0, "" },
                  { "trusted.overlay.opaque", 4, "overlay.opaque" },
                  { "security.capability", 6, "capability" },
                  { "", 0, "" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *rest = "";
        const unsigned index = tarn_erofs_xattr_index(cases[i].name, &rest);
        if (index != cases[i].index || strcmp(rest, cases[i].rest) != 0)
            fail_msg("%s: want %u \"%s\", got %u \"%s\"", cases[i].name, cases[i].index,
                     cases[i].rest, index, rest);
    }
    assert_string_equal(tarn_erofs_xattr_prefix(6), "security.");
    assert_null(tarn_erofs_xattr_prefix(5));
}

// --- everything against the tree -----------------------------------------------------------------

static void check_names(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                        const struct tarn_node *node)
{
    const struct tarn_node *child = node->child;
    struct tarn_erofs_dirent entry;
    char last[TARN_NAME_MAX + 1] = "";
    uint64_t cookie = 0;
    int ret, dots = 0;
    while ((ret = tarn_erofs_readdir(erofs, inode, cookie, &entry)) > 0) {
        char name[TARN_NAME_MAX + 1];
        memcpy(name, entry.name, entry.length);
        name[entry.length] = '\0';
        assert_true(strcmp(last, name) < 0);
        memcpy(last, name, entry.length + 1);
        uint64_t nid;
        assert_int_equal(tarn_erofs_lookup(erofs, inode, name, entry.length, &nid), 0);
        assert_int_equal(nid, entry.nid);
        // What is not there: a bit more and a bit less than this name.
        if (entry.length < TARN_NAME_MAX) {
            name[entry.length] = '\1';
            ret = tarn_erofs_lookup(erofs, inode, name, entry.length + 1, &nid);
            assert_int_equal(ret, -ENOENT);
        }
        cookie = entry.cookie;
        if (entry.length <= 2 && memcmp(entry.name, "..", entry.length) == 0) {
            dots++;
            continue;
        }
        assert_non_null(child);
        assert_int_equal(entry.length, child->length);
        assert_memory_equal(entry.name, child->name, child->length);
        assert_int_equal(entry.type, (child->inode->mode & S_IFMT) >> 12);
        child = child->next;
    }
    assert_int_equal(ret, 0);
    assert_null(child);
    assert_int_equal(dots, 2);
}

static void check_xattrs(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                         const struct tarn_node *node)
{
    const struct tarn_xattr_set *set = node->inode->xattrs;
    const uint32_t want = set ? set->count : 0;
    struct tarn_erofs_xattr xattr;
    uint32_t cursor = 0, got = 0;
    while (tarn_erofs_xattr(erofs, inode, &cursor, &xattr) == 1)
        got++;
    assert_int_equal(got, want);
    for (uint32_t i = 0; i < want; i++) {
        assert_int_equal(tarn_erofs_xattr_get(erofs, inode, set->items[i].name, &xattr), 0);
        assert_int_equal(xattr.length, set->items[i].length);
        if (xattr.length > 0)
            assert_memory_equal(xattr.value, set->items[i].value, xattr.length);
    }
    assert_int_equal(tarn_erofs_xattr_get(erofs, inode, "user.absent", &xattr), -ENODATA);
    assert_int_equal(tarn_erofs_xattr_get(erofs, inode, "bad.name", &xattr), -ENODATA);
}

static int no_reread(void *context, uint64_t offset, void *data, size_t length)
{
    const uint8_t *const *bytes = context;
    memcpy(data, *bytes + offset, length);
    return 0;
}

// Reads the file through the map and hashes it.
static void check_bytes(const struct tarn_sample *sample, const struct tarn_erofs *erofs,
                        const struct tarn_erofs_inode *inode, const struct tarn_content *want)
{
    tarn_autofree uint8_t *bytes = calloc(1, inode->size + 1);
    assert_non_null(bytes);
    for (uint64_t offset = 0; offset < inode->size;) {
        struct tarn_erofs_extent extent;
        assert_int_equal(tarn_erofs_map(erofs, inode, offset, &extent), 0);
        assert_in_range(extent.length, 1, inode->size - offset);
        for (uint32_t i = 0; i < sample->chain && extent.slot > 0; i++)
            if (sample->slots[i] == extent.slot)
                memcpy(bytes + offset, sample->spaces[i].data + extent.address, extent.length);
        offset += extent.length;
    }
    tarn_cleanup(tarn_content_hasher_free_p) struct tarn_content_hasher *hasher =
        tarn_content_hasher_new(no_reread, &bytes);
    struct tarn_content got;
    tarn_content_hasher_start(hasher, inode->size);
    assert_int_equal(tarn_content_hasher_update(hasher, 0, bytes, inode->size), 0);
    assert_int_equal(tarn_content_hasher_finish(hasher, &got), 0);
    assert_true(tarn_content_same(&got, want));
}

static void check_node(const struct tarn_sample *sample, const struct tarn_erofs *erofs,
                       const struct tarn_node *node)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    assert_int_equal(tarn_node_path(node, &path), 0);
    assert_int_equal(tarn_buf_append(&path, "", 1), 0);
    struct tarn_erofs_inode got;
    assert_int_equal(tarn_erofs_walk(erofs, (const char *)path.data, &got), 0);
    const struct tarn_inode *want = node->inode;
    assert_int_equal(got.mode, want->mode);
    assert_int_equal(got.uid, want->uid);
    assert_int_equal(got.gid, want->gid);
    assert_int_equal(got.mtime, want->mtime);
    assert_int_equal(got.mtime_ns, want->mtime_ns);
    assert_int_equal(got.major, want->major);
    assert_int_equal(got.minor, want->minor);
    const char *target;
    check_xattrs(erofs, &got, node);
    if (S_ISDIR(got.mode)) {
        check_names(erofs, &got, node);
        return;
    }
    assert_int_equal(got.nlink, want->nlink);
    if (S_ISREG(got.mode)) {
        assert_int_equal(got.size, want->content->size);
        check_bytes(sample, erofs, &got, want->content);
    } else if (S_ISLNK(got.mode)) {
        assert_int_equal(tarn_erofs_symlink(erofs, &got, &target), 0);
        assert_int_equal(got.size, want->target.length);
        assert_memory_equal(target, want->target.bytes, got.size);
    }
}

static void test_everything(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(3);
    tarn_sample_fill(sample);
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    open_image(&image, &erofs);
    uint64_t inodes = 0;
    for (struct tarn_node *n = tarn_tree_root(sample->tree); n; n = tarn_tree_next(n))
        n->inode->index = 0;
    for (struct tarn_node *n = tarn_tree_root(sample->tree); n; n = tarn_tree_next(n)) {
        check_node(sample, &erofs, n);
        inodes += n->inode->index++ == 0;
    }
    assert_int_equal(erofs.inode_count, inodes);
}

// The bytes of the sample's image. They change only with the format.
static void test_golden(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(3);
    tarn_sample_fill(sample);
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_digest digest;
    char text[TARN_DIGEST_TEXT];
    tarn_sha256(image.data, image.length, &digest);
    assert_string_equal(tarn_digest_format(&digest, text),
                        "sha256:3a2a0e8b3dbe9cb1dc3746e7f12d93b3c4731e7eccefc4abba08a75f544c5623");
}

// --- details of the layout -------------------------------------------------------------------

struct inode_case {
    const char *name;
    uint32_t uid;
    int64_t mtime;
    uint32_t ns;
    bool extended;
};

static void test_compact(void **state)
{
    (void)state;
    static const struct inode_case cases[] = {
        { "a", 65535, 100, 7, false }, { "b", 65536, 100, 7, true }, { "c", 0, 100, 8, true },
        { "d", 0, 99, 7, true },       { "e", 0, 100, 7, false },    { "f", 1, 100, 7, false },
    };
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_inode *inode =
            tarn_sample_add(sample, root, cases[i].name, S_IFIFO | 0600)->inode;
        inode->uid = cases[i].uid;
        inode->mtime = cases[i].mtime;
        inode->mtime_ns = cases[i].ns;
    }
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    open_image(&image, &erofs);
    assert_int_equal(erofs.epoch, 100);
    assert_int_equal(erofs.epoch_ns, 7);
    assert_int_equal(erofs.root_nid, 36);
    // The root is extended, with 8 names of 12 bytes and 9 bytes of names behind it.
    uint64_t offset = 1152 + tarn_round_up(64 + 8 * 12 + 9, 32);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_erofs_inode inode;
        assert_int_equal(tarn_erofs_walk(&erofs, cases[i].name, &inode), 0);
        if (inode.extended != cases[i].extended || inode.nid * 32 != offset ||
            inode.number != i + 2)
            fail_msg("%s: extended %d at %llu, want %d at %llu", cases[i].name, inode.extended,
                     (unsigned long long)inode.nid * 32, cases[i].extended,
                     (unsigned long long)offset);
        offset += inode.extended ? 64 : 32;
    }
}

// Of several mtimes that are equally frequent the earliest.
static void test_epoch_tie(void **state)
{
    (void)state;
    static const int64_t times[] = { 5, 5, -3, -3, 9, 9, 1 };
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    root->inode->mtime = 77;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const char name[2] = { (char)('a' + i), '\0' };
        tarn_sample_add(sample, root, name, S_IFIFO)->inode->mtime = times[i];
    }
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    open_image(&image, &erofs);
    assert_int_equal(erofs.epoch, -3);
}

static void test_map(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(1);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    const uint64_t unit = 262144;
    tarn_sample_file(sample, root, "first", (struct tarn_shape){ 10, 0, 10, 0 });
    tarn_sample_file(sample, root, "holes",
                     (struct tarn_shape){ 10 * unit + 5, 3 * unit + 1, 2 * unit, 0 });
    tarn_sample_file(sample, root, "plain",
                     (struct tarn_shape){ 5 * unit + 5, 0, 5 * unit + 5, 0 });
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    open_image(&image, &erofs);
    const struct {
        const char *name;
        uint64_t offset;
        struct tarn_erofs_extent want;
    } cases[] = {
        { "holes", 0, { 0, 0, 3 * unit } },
        { "holes", 7, { 0, 0, 3 * unit - 7 } },
        { "holes", 3 * unit, { 1, 4096, 3 * unit } },
        { "holes", 4 * unit + 1, { 1, 4096 + unit + 1, 2 * unit - 1 } },
        { "holes", 6 * unit, { 0, 0, 4 * unit + 5 } },
        { "holes", 10 * unit + 4, { 0, 0, 1 } },
        { "holes", 10 * unit + 5, { 0, 0, 0 } },
        { "plain", 0, { 1, 4096 + 3 * unit, 5 * unit + 5 } },
        { "plain", 5 * unit + 4, { 1, 4096 + 8 * unit + 4, 1 } },
        { "first", 4, { 1, 4, 6 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_erofs_inode inode;
        struct tarn_erofs_extent got;
        assert_int_equal(tarn_erofs_walk(&erofs, cases[i].name, &inode), 0);
        assert_int_equal(tarn_erofs_map(&erofs, &inode, cases[i].offset, &got), 0);
        if (got.slot != cases[i].want.slot || got.address != cases[i].want.address ||
            got.length != cases[i].want.length)
            fail_msg("%zu: want %u %llu %llu, got %u %llu %llu", i, cases[i].want.slot,
                     (unsigned long long)cases[i].want.address,
                     (unsigned long long)cases[i].want.length, got.slot,
                     (unsigned long long)got.address, (unsigned long long)got.length);
    }
}

static void test_cookies(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    tarn_sample_add(sample, root, "!x", S_IFIFO);
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    struct tarn_erofs_inode inode;
    struct tarn_erofs_dirent entry;
    open_image(&image, &erofs);
    assert_int_equal(tarn_erofs_walk(&erofs, "/", &inode), 0);
    assert_int_equal(tarn_erofs_readdir(&erofs, &inode, 0, &entry), 1);
    assert_memory_equal(entry.name, "!x", 2);
    assert_int_equal(entry.cookie, 1);
    assert_int_equal(tarn_erofs_readdir(&erofs, &inode, 2, &entry), 1);
    assert_memory_equal(entry.name, "..", 2);
    assert_int_equal(entry.cookie, 1 << 16);
    assert_int_equal(tarn_erofs_readdir(&erofs, &inode, 1 << 16, &entry), 0);
    assert_int_equal(tarn_erofs_readdir(&erofs, &inode, UINT64_C(9) << 16, &entry), 0);
    assert_int_equal(tarn_erofs_readdir(&erofs, &inode, 3, &entry), -EINVAL);
    assert_int_equal(tarn_erofs_readdir(&erofs, &inode, UINT64_MAX, &entry), -EINVAL);
    assert_int_equal(tarn_erofs_walk(&erofs, "/!x/y", &inode), -ENOTDIR);
    assert_int_equal(tarn_erofs_walk(&erofs, "x", &inode), -ENOENT);
    assert_int_equal(tarn_erofs_walk(&erofs, "././/../!x", &inode), 0);
}

static int follow(const struct tarn_erofs *erofs, const char *path, struct tarn_erofs_inode *inode)
{
    unsigned names = 100;
    return tarn_erofs_follow(erofs, path, &names, inode);
}

static void test_follow(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    struct tarn_node *usr = tarn_sample_add(sample, root, "usr", S_IFDIR | 0755);
    struct tarn_node *lib = tarn_sample_add(sample, usr, "lib", S_IFDIR | 0755);
    tarn_sample_add(sample, lib, "a.1", S_IFIFO | 0600);
    tarn_sample_symlink_to(sample, lib, "a", "a.1");
    tarn_sample_symlink_to(sample, root, "lib", "usr/lib");
    tarn_sample_symlink_to(sample, lib, "up", "../../lib/./a");
    tarn_sample_symlink_to(sample, lib, "top", "/usr//lib/up");
    tarn_sample_symlink_to(sample, usr, "out", "/../../lib");
    tarn_sample_symlink_to(sample, usr, "loop", "loop");
    tarn_sample_symlink_to(sample, usr, "gone", "nothing/a");
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    struct tarn_erofs_inode inode;
    open_image(&image, &erofs);
    static const char *const to_fifo[] = { "usr/lib/a.1", "/lib/a",       "lib/a.1",       "lib/up",
                                           "/lib/top",    "usr/out/a.1/", "lib/../lib/top" };
    for (size_t i = 0; i < sizeof to_fifo / sizeof to_fifo[0]; i++) {
        if (follow(&erofs, to_fifo[i], &inode) != 0 || !S_ISFIFO(inode.mode))
            fail_msg("%s does not lead there", to_fifo[i]);
    }
    assert_int_equal(follow(&erofs, "/", &inode), 0);
    assert_int_equal(inode.nid, erofs.root_nid);
    assert_int_equal(follow(&erofs, "usr/loop", &inode), -ELOOP);
    assert_int_equal(follow(&erofs, "usr/gone", &inode), -ENOENT);
    assert_int_equal(follow(&erofs, "lib/a/x", &inode), -ENOTDIR);
    char path[5000];
    memset(path, '/', sizeof path);
    path[4096] = '\0';
    assert_int_equal(follow(&erofs, path, &inode), -ENAMETOOLONG);
    unsigned names = 5; // lib, usr, lib, a, a.1
    assert_int_equal(tarn_erofs_follow(&erofs, "lib/a", &names, &inode), 0);
    assert_int_equal(names, 0);
    names = 4;
    assert_int_equal(tarn_erofs_follow(&erofs, "lib/a", &names, &inode), -ELOOP);
}

static void test_deep(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *node = tarn_tree_root(sample->tree);
    for (int i = 0; i < 100000; i++)
        node = tarn_sample_add(sample, node, "d", S_IFDIR | 0755);
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    struct tarn_erofs_inode inode;
    open_image(&image, &erofs);
    uint64_t nid = erofs.root_nid;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(tarn_erofs_inode(&erofs, nid, &inode), 0);
        assert_int_equal(tarn_erofs_lookup(&erofs, &inode, "d", 1, &nid), 0);
    }
    assert_int_equal(erofs.inode_count, 100001);
}

// --- what the writer refuses -----------------------------------------------------------------

static void expect_refusal(struct tarn_sample *sample, const char *text)
{
    tarn_autobuf struct tarn_buf image = { 0 };
    struct tarn_err err = { 0 };
    uint64_t inodes;
    tarn_tree_sort(sample->tree);
    if (tarn_erofs_write(sample->tree, &sample->plan, &image, &inodes, &err) != -EINVAL ||
        !strstr(err.text, text))
        fail_msg("want \"%s\", got \"%s\"", text, err.text);
    assert_int_equal(image.length, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(1);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    struct tarn_inode *inode = tarn_sample_add(sample, root, "x", S_IFCHR)->inode;
    tarn_tree_sort(sample->tree);
    tarn_sample_plan(sample);
    inode->major = 4096;
    expect_refusal(sample, "/x: device number 4096:0 is out of range");
    inode->major = 1;
    inode->minor = 1 << 20;
    expect_refusal(sample, "/x: device number 1:1048576 is out of range");
    inode->mode = S_IFSOCK;
    expect_refusal(sample, "/x: file type 140000 cannot stand in an image");
    inode->mode = S_IFLNK;
    expect_refusal(sample, "/x: the target's length is not 1 to 4095");
    inode->mode = S_IFREG;
    inode->content = NULL;
    expect_refusal(sample, "/x: a regular file without content");
    struct tarn_content content = { .kind = TARN_CONTENT_PLAIN, .size = 5000, .holder = 0 };
    inode->content = &content;
    expect_refusal(sample, "/x: no device holds the file's data");
    sample->plan.device_count = 1;
    sample->slots[0] = 1;
    expect_refusal(sample, "device 1 has a wrong length");
    sample->devices[0].data_length = 4096;
    expect_refusal(sample, "/x: the file's data lies outside of its data space");
    sample->devices[0].data_length = 8192;
    content.address = 100;
    expect_refusal(sample, "/x: the file's data lies outside of its data space");
    content.address = 0;
    content.kind = TARN_CONTENT_UNITS;
    const struct tarn_extent extent = { 1, 1 };
    content.extents = &extent;
    content.extent_count = 1;
    expect_refusal(sample, "/x: the units of the file are out of order");
    content.extent_count = 0;
    inode->mtime_ns = 1000000000;
    expect_refusal(sample, "/x: nanoseconds");
    inode->mtime_ns = 0;
    sample->plan.device_count = 16375;
    expect_refusal(sample, "16375 devices are too many");
    sample->plan.device_count = 1;
    inode->mode = S_IFDIR;
    tarn_sample_link(sample, root, "y", inode);
    expect_refusal(sample, "/y: a directory with two names");
    tarn_node_set_inode(root, NULL);
    expect_refusal(sample, "the root is no directory");
}

// Behind 16,374 slots 128 bytes are left in the last block in which the root may lie.
static void test_root_number(void **state)
{
    (void)state;
    enum { SLOTS = 16374, ROOM = 128 - 32 - 2 * 12 - 3 };
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    tarn_autofree struct tarn_erofs_device *devices = calloc(SLOTS, sizeof *devices);
    assert_non_null(devices);
    for (size_t i = 0; i < SLOTS; i++)
        devices[i].data_length = 4096;
    char name[ROOM - 12 + 1];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    tarn_sample_add(sample, tarn_tree_root(sample->tree), name, S_IFIFO);
    tarn_sample_plan(sample);
    sample->plan.devices = devices;
    sample->plan.device_count = SLOTS;
    tarn_autobuf struct tarn_buf image = { 0 };
    uint64_t inodes;
    struct tarn_err err = { 0 };
    if (tarn_erofs_write(sample->tree, &sample->plan, &image, &inodes, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(tarn_get_le16(image.data + 1024 + 14), (1152 + 128 * SLOTS) / 32);
    tarn_sample_add(sample, tarn_tree_root(sample->tree), "y", S_IFIFO);
    expect_refusal(sample, "16374 devices are too many: the root's nid has 16 bits");
}

static void test_xattr_limit(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *node =
        tarn_sample_add(sample, tarn_tree_root(sample->tree), "x", S_IFDIR | 0755);
    static uint8_t const value[1000];
    struct tarn_xattr items[300];
    char names[300][16];
    for (uint32_t i = 0; i < 300; i++) {
        (void)snprintf(names[i], sizeof names[i], "user.%u", i);
        items[i] = (struct tarn_xattr){ names[i], value, 1000 };
    }
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_xattrs(sample, node, items, 258);
    tarn_sample_image(sample, &image);
    tarn_sample_xattrs(sample, node, items, 300);
    expect_refusal(sample, "/x: the xattrs take more than 262140 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),      cmocka_unit_test(test_xattr_names),
        cmocka_unit_test(test_everything),  cmocka_unit_test(test_golden),
        cmocka_unit_test(test_compact),     cmocka_unit_test(test_epoch_tie),
        cmocka_unit_test(test_map),         cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_deep),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_root_number), cmocka_unit_test(test_xattr_limit),
        cmocka_unit_test(test_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
