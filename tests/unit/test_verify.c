// SPDX-License-Identifier: Apache-2.0
// A good bootstrap is broken at known places, one at a time; each time the verifier must name the
// rule. Checksums are made right again, so that nothing else finds the damage first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/bootstrap_internal.h"
#include "format/section.h"
#include "format/verify.h"
#include "tests/support/container_fix.h"
#include "tests/support/sample_bootstrap.h"
#include "tests/support/sample_tree.h"

enum place { SUPER, DEVICE, INODE, XATTR, TAIL, BLOCK, SHARED, IMAGE };

struct damage {
    enum place place;
    const char *path; // for INODE to BLOCK
    uint64_t offset;  // from the place
    uint64_t width;   // bytes
    uint64_t value;
    const char *text;
};

// Places that need explanation: names in the tail of /a are `.`, `..`, one, two; x1's xattr area is
// header, ids of user.same and trusted.big, then user.mine, user.own, security.x.
static const struct damage damages[] = {
    { SUPER, NULL, TARN_EROFS_SB_INODES, 8, 3, "offset 1040: superblock: inodes 3" },
    { SUPER, NULL, TARN_EROFS_SB_UUID, 1, 7, "offset 1072: superblock: uuid is not" },
    { SUPER, NULL, TARN_EROFS_SB_XATTR_BLOCK, 4, 1, "an xattr is out of bounds" },
    { SUPER, NULL, TARN_EROFS_SB_EPOCH, 8, 5, NULL }, // no structure: the tree digest's matter
    { SUPER, NULL, TARN_EROFS_SB_ROOT_NID, 2, 0, "the root" },
    { SUPER, NULL, TARN_EROFS_SB_VOLUME, 1, 1, "field that must be zero" },
    { SUPER, NULL, TARN_EROFS_SB_EXTENSIONS, 1, 1, "field that must be zero" },
    { SUPER, NULL, TARN_EROFS_SB_INCOMPAT, 4, 0x1c, "unknown incompatible features 0x10" },
    { SUPER, NULL, TARN_EROFS_SB_COMPAT, 4, 3, "compatible features are not 7" },
    { SUPER, NULL, TARN_EROFS_SB_BLOCK_BITS, 1, 9, "block size is not 4096" },
    { SUPER, NULL, TARN_EROFS_SB_BLOCKS, 4, 3, "number of blocks is not that of the image" },
    { DEVICE, NULL, 3, 1, 'X', "device slot 1: the tag is no digest" },
    { DEVICE, NULL, 64, 4, 0, "device slot 1: the device has no blocks" },
    { DEVICE, NULL, 64, 4, 77, "the blocks of its device are not those of its data space" },
    { DEVICE, NULL, 68, 1, 1, "device slot 1: a field that must be zero is not" },

    { INODE, "file", TARN_EROFS_I_FORMAT, 2, 3 << 1, "unknown layout" },
    { INODE, "file", TARN_EROFS_I_FORMAT, 2, 0, "a file with bytes is not chunked" },
    { INODE, "file", TARN_EROFS_I_MODE, 2, 0, "unknown file type" },
    { INODE, "file", TARN_EROFS_I_MODE, 2, S_IFDIR, "a directory without blocks" },
    { INODE, "file", TARN_EROFS_I_NLINK16, 2, 2, "link count 2, names 1" },
    { INODE, "h1", TARN_EROFS_I_NLINK16, 2, 1, "link count 1, names 2" },
    { INODE, "a", TARN_EROFS_I_NLINK16, 2, 2, "link count 2, must be 3" },
    { INODE, "file", TARN_EROFS_I_INO, 4, 99, "number 99, must be" },
    { INODE, "file", TARN_EROFS_I_REST16, 4, 1, "a field that must be zero is not" },
    { INODE, "file", 12, 4, 1, "a field that must be zero is not" },
    { INODE, "own", TARN_EROFS_I_REST + 15, 1, 1, "a field that must be zero is not" },
    { INODE, "own", TARN_EROFS_I_NLINK16, 2, 1, "a field that must be zero is not" },
    { INODE, "own", TARN_EROFS_I_MTIME_NS, 4, 1000000000, "nanoseconds are out of range" },
    { INODE, "own", TARN_EROFS_I_UID, 4, 5, "it is extended without need" },
    { INODE, "own", TARN_EROFS_I_SIZE, 4, 5, "a device or fifo with contents" },
    { INODE, "file", TARN_EROFS_I_UNION, 4, 0x61, "unknown chunk format" },
    { INODE, "file", TARN_EROFS_I_UNION, 4, 0x22, "chunks of 2^14 bytes, must be of 2^13" },
    { INODE, "holes", TARN_EROFS_I_UNION, 4, 0x27, "chunks of 2^19 bytes, must be of 2^18" },
    { INODE, "file", TARN_EROFS_I_SIZE, 4, 9000, "chunks of 2^13 bytes, must be of 2^14" },
    { INODE, "file", TARN_EROFS_I_SIZE, 4, 5001, "bytes of files" },
    { INODE, "holes", TARN_EROFS_I_SIZE, 4, UINT32_MAX, "chunk indexes reach behind the end" },
    { INODE, "zero", TARN_EROFS_I_UNION, 4, 1, "a file with bytes is not chunked" },
    { INODE, "link", TARN_EROFS_I_SIZE, 4, 0, "length of the symbolic link is out of range" },
    { INODE, "link", TARN_EROFS_I_SIZE, 4, 4096, "length of the symbolic link is out of range" },
    { INODE, "link", TARN_EROFS_I_SIZE, 4, 2000, "the target holds a NUL" },
    { INODE, "own", TARN_EROFS_I_FORMAT, 2, 0, "out of place, the next one is at" },
    { INODE, "link", TARN_EROFS_I_FORMAT, 2, 0, "the target holds a NUL" },
    { INODE, "link", TARN_EROFS_I_UNION, 4, 1, "there is a start block without blocks" },
    { INODE, "long", TARN_EROFS_I_UNION, 4, 1, "the target holds a NUL" },
    { INODE, "long", TARN_EROFS_I_UNION, 4, 1 << 20, "blocks reach behind the end of the image" },
    { INODE, "long", TARN_EROFS_I_SIZE, 4, 4089, "the unused end of a block is not zero" },
    { INODE, "many", TARN_EROFS_I_UNION, 4, 2, "start block 2, must be" },
    { INODE, "many", TARN_EROFS_I_SIZE, 4, 1 << 30, "the size is larger than the image" },
    { INODE, "a", TARN_EROFS_I_SIZE, 4, 4060, "the inline tail crosses a block" },
    { INODE, "a", TARN_EROFS_I_SIZE, 4, 4096, "the inline tail is empty" },
    { INODE, "file", TARN_EROFS_I_XATTRS, 2, 1, "an xattr header without xattrs" },
    { INODE, "x1", TARN_EROFS_I_XATTRS, 2, 65535, "the xattrs reach behind the end of the image" },
    { INODE, "dev", TARN_EROFS_I_FORMAT, 2, 4, "a device or fifo with contents" },

    { TAIL, "file", 0, 2, 1, "a field of a chunk index that must be zero is not" },
    { TAIL, "file", 2, 2, 3, "a chunk lies in a slot that is not there" },
    { TAIL, "file", 2, 2, 0, "a chunk lies in a slot that is not there" },
    { TAIL, "file", 4, 4, 2, "a chunk lies behind the end of its device" },
    { TAIL, "file", 4, 4, 0xffffffff, "a chunk lies behind the end of its device" },
    { TAIL, "holes", 2 * 8 + 4, 4, 1, "the chunks of a file do not follow one another" },
    { TAIL, "holes", 2 * 8 + 2, 2, 1, "a chunk lies behind the end of its device" },

    { TAIL, "a", 12, 8, 77, "`..` is not the parent" },
    { TAIL, "a", 0, 8, 77, "`.` is not the directory" },
    { TAIL, "a", 10, 1, 1, "the type of an entry is not that of its inode" },
    { TAIL, "a", 24 + 10, 1, 1, "the type of an entry is not that of its inode" },
    { TAIL, "a", 24 + 11, 1, 1, "a field that must be zero is not" },
    { TAIL, "a", 24, 8, UINT64_C(1) << 40, "an entry's inode lies behind the end of the image" },
    { TAIL, "a", 24, 8, 44, "a directory is reached twice" },
    { TAIL, "a", 24, 8, 0, "inode nid 0: unknown file type" },
    { TAIL, "a", 8, 2, 40, "a block or a name is out of bounds" },
    { TAIL, "a", 8, 2, 0, "a block or a name is out of bounds" },
    { TAIL, "a", 24 + 8, 2, 4000, "a block or a name is out of bounds" },
    { TAIL, "a", 48, 1, 'z', "a directory is reached twice" },
    { TAIL, "a", 48, 1, '/', "a block or a name is out of bounds" },
    { TAIL, "a", 51, 3, 'z' << 16 | 'z' << 8 | 'z', "names are not in order" },
    { TAIL, "a", 54, 3, 'e' << 16 | 'n' << 8 | 'o', "a name stands twice" },
    { TAIL, "a", 56, 1, 0, "the directory does not end with its last name" },
    { BLOCK, "many", 4095, 1, 'x', "directory nid" },
    { BLOCK, "many", 4096 + 8, 2, 24, "a block or a name is out of bounds" },
    { BLOCK, "many", 1 * 12 + 8, 2, 4095, "a block or a name is out of bounds" },
    { TAIL, "link", 3, 1, 0, "the target holds a NUL" },

    { XATTR, "x1", 0, 4, 0, "the filter of xattr names is wrong" },
    { XATTR, "x1", 0, 4, 0xffffffff, "the filter of xattr names is wrong" },
    { XATTR, "x1", 4, 1, 200, "more shared xattrs than the header has room for" },
    { XATTR, "x1", 4, 1, 0, "an xattr is out of bounds" },
    { XATTR, "x1", 5, 1, 1, "a field that must be zero is not" },
    { XATTR, "x1", 12, 4, 1, "an xattr is out of bounds" },
    { XATTR, "x1", 12, 4, 0x10000000, "an xattr is out of bounds" },
    { XATTR, "x1", 12, 4, 3, "a shared xattr is out of place" },
    { XATTR, "x2", 16, 4, 0, "xattrs are not in order" },
    { XATTR, "x1", 24, 1, 200, "an xattr is out of bounds" },
    { XATTR, "x1", 25, 1, 5, "an xattr is out of bounds" },
    { XATTR, "x1", 26, 2, 4000, "an xattr is out of bounds" },
    { XATTR, "x1", 28, 1, 'z', "xattrs are not in order" },
    { SHARED, NULL, 1, 1, 7, "an xattr is out of bounds" },
    { SHARED, NULL, 4 + 4 + 4, 1, 1, NULL }, // another entry's header: the next one's place

    { IMAGE, NULL, TARN_IMAGE_INODES, 8, 1, "inodes 1, the tree has" },
    { IMAGE, NULL, TARN_IMAGE_NAMES, 8, 1, "names 1, the tree has" },
    { IMAGE, NULL, TARN_IMAGE_BYTES, 8, 1, "bytes of files 1, the tree has" },
    { IMAGE, NULL, TARN_IMAGE_TREE, 8, 1, "superblock: uuid is not" },
};

static uint64_t find_place(const struct damage *damage, const struct tarn_erofs *erofs,
                           uint64_t image_section)
{
    struct tarn_erofs_inode inode = { 0 };
    if (damage->path)
        assert_int_equal(tarn_erofs_walk(erofs, damage->path, &inode), 0);
    switch (damage->place) {
    case SUPER:
        return TARN_EROFS_SUPER_OFFSET;
    case DEVICE:
        return TARN_EROFS_DEVICE_TABLE;
    case INODE:
        return inode.nid * TARN_EROFS_NID_SIZE;
    case XATTR:
        return inode.xattr_offset;
    case TAIL:
        return inode.data_offset;
    case BLOCK:
        return (uint64_t)inode.start_block * TARN_BLOCK;
    case SHARED:
        return erofs->xattr_offset;
    case IMAGE:
        return image_section;
    }
    return 0;
}

static void fix(uint8_t *bytes, size_t length)
{
    tarn_put_le32(bytes + TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_CHECKSUM,
                  tarn_erofs_checksum(bytes));
    assert_true(tarn_test_fix_container(bytes, length));
}

static int open_and_verify(const uint8_t *bytes, size_t length, struct tarn_err *err)
{
    struct tarn_bootstrap bootstrap;
    int ret = tarn_bootstrap_open(bytes, length, &bootstrap, err);
    if (ret < 0)
        return ret;
    ret = tarn_verify_tree(&bootstrap, err);
    tarn_bootstrap_release(&bootstrap);
    return ret;
}

static void test_damages(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_small();
    tarn_autobuf struct tarn_buf good = { 0 };
    tarn_sample_bootstrap(sample, &good);
    struct tarn_err err = { 0 };
    if (open_and_verify(good.data, good.length, &err) < 0)
        fail_msg("%s", err.text);
    const uint8_t *entry = tarn_test_find_entry(good.data, good.length, TARN_SECTION_IMAGE);
    const uint64_t image = tarn_get_le64(entry + 8);
    struct tarn_erofs erofs;
    assert_int_equal(tarn_erofs_open(good.data, image, &erofs, NULL), 0);
    bool failed = false;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const struct damage *damage = &damages[i];
        tarn_autofree uint8_t *copy = malloc(good.length);
        memcpy(copy, good.data, good.length);
        uint8_t value[8];
        tarn_put_le64(value, damage->value);
        memcpy(copy + find_place(damage, &erofs, image) + damage->offset, value, damage->width);
        assert_memory_not_equal(copy, good.data, good.length);
        fix(copy, good.length);
        err = (struct tarn_err){ 0 };
        const int ret = open_and_verify(copy, good.length, &err);
        if (damage->text ? ret < 0 && strstr(err.text, damage->text) : true)
            continue;
        (void)fprintf(stderr, "%zu, %s + %llu: want \"%s\", got %d \"%s\"\n", i,
                      damage->path ? damage->path : "", (unsigned long long)damage->offset,
                      damage->text, ret, err.text);
        failed = true;
    }
    assert_false(failed);
}

static void allow(uint8_t *allowed, uint64_t offset, uint64_t length)
{
    memset(allowed + offset, 1, length);
}

// What may hold other bytes without breaking a rule, since only the tree digest covers it: modes,
// owners, times, device numbers, values, and names, of which a block's last one may grow.
static void find_allowed(const struct tarn_sample *sample, const struct tarn_erofs *erofs,
                         uint8_t *allowed)
{
    allow(allowed, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_EPOCH, 12);
    for (struct tarn_node *n = tarn_tree_root(sample->tree); n; n = tarn_tree_next(n)) {
        tarn_autobuf struct tarn_buf path = { 0 };
        struct tarn_erofs_inode inode;
        struct tarn_erofs_xattr xattr;
        assert_int_equal(tarn_node_path(n, &path), 0);
        assert_int_equal(tarn_buf_append(&path, "", 1), 0);
        assert_int_equal(tarn_erofs_walk(erofs, (const char *)path.data, &inode), 0);
        const uint64_t offset = inode.nid * TARN_EROFS_NID_SIZE;
        allow(allowed, offset + TARN_EROFS_I_MODE, 2);
        allow(allowed, offset + TARN_EROFS_I_UID16, inode.extended ? 20 : 4);
        if (S_ISCHR(inode.mode))
            allow(allowed, offset + TARN_EROFS_I_UNION, 4);
        struct tarn_erofs_dirent name;
        for (uint64_t at = 0; tarn_erofs_readdir(erofs, &inode, at, &name) == 1; at = name.cookie)
            allow(allowed, (uint64_t)((const uint8_t *)name.name - erofs->bytes) + name.length, 1);
        for (uint32_t cursor = 0; tarn_erofs_xattr(erofs, &inode, &cursor, &xattr) == 1;)
            allow(allowed, (uint64_t)(xattr.value - erofs->bytes), xattr.length);
    }
}

// No other zero can become something else unnoticed.
static void test_every_zero(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_small();
    tarn_autobuf struct tarn_buf good = { 0 };
    tarn_sample_bootstrap(sample, &good);
    const uint8_t *entry = tarn_test_find_entry(good.data, good.length, TARN_SECTION_IMAGE);
    const uint64_t image = tarn_get_le64(entry + 8);
    struct tarn_erofs erofs;
    assert_int_equal(tarn_erofs_open(good.data, image, &erofs, NULL), 0);
    tarn_autofree uint8_t *allowed = calloc(image, 1);
    assert_non_null(allowed);
    find_allowed(sample, &erofs, allowed);
    for (uint64_t at = 0; at < image; at++) {
        if (good.data[at] != 0 || allowed[at])
            continue;
        good.data[at] = 0x80;
        fix(good.data, good.length);
        if (open_and_verify(good.data, good.length, NULL) == 0 &&
            (at < TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_CHECKSUM ||
             at >= TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_CHECKSUM + 4))
            fail_msg("byte %llu may change", (unsigned long long)at);
        good.data[at] = 0;
    }
}

static void test_good(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(3);
    tarn_sample_fill(sample);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_sample_bootstrap(sample, &bytes);
    struct tarn_err err = { 0 };
    if (open_and_verify(bytes.data, bytes.length, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_deep(void **state)
{
    (void)state;
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *node = tarn_tree_root(sample->tree);
    for (int i = 0; i < 100000; i++)
        node = tarn_sample_add(sample, node, "d", S_IFDIR | 0755);
    tarn_autobuf struct tarn_buf bytes = { 0 };
    struct tarn_err err = { 0 };
    uint64_t inodes;
    tarn_tree_sort(sample->tree);
    assert_int_equal(tarn_erofs_write(sample->tree, &sample->plan, &bytes, &inodes, &err), 0);
    struct tarn_bootstrap bootstrap = { .inode_count = 100001, .name_count = 100000 };
    assert_int_equal(tarn_erofs_open(bytes.data, bytes.length, &bootstrap.erofs, &err), 0);
    if (tarn_verify_tree(&bootstrap, &err) < 0)
        fail_msg("%s", err.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_damages),
        cmocka_unit_test(test_every_zero),
        cmocka_unit_test(test_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
