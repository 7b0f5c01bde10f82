// SPDX-License-Identifier: Apache-2.0
// The delicate cases of the format in one tree.
#include <string.h>
#include <sys/stat.h>

#include "tests/support/sample_tree.h"

static struct tarn_node *directory(struct tarn_sample *s, const char *name)
{
    struct tarn_node *node = tarn_sample_add(s, tarn_tree_root(s->tree), name, S_IFDIR | 0755);
    node->inode->mtime = 1700000000;
    return node;
}

static struct tarn_node *plain(struct tarn_sample *s, struct tarn_node *parent, const char *name,
                               uint64_t size)
{
    return tarn_sample_file(s, parent, name,
                            (struct tarn_shape){ size, 0, size, (uint32_t)(size % s->chain) });
}

static void fill_names(struct tarn_sample *s)
{
    struct tarn_node *names = directory(s, "names");
    static const char *const odd[] = { "!x", "-x",       "...",     "..a",          ".a",
                                       ".-", "..-",      " ",       "a b",          "\xff\xfe",
                                       "\n", "\x01\x02", "caf\xe9", "cafe\xcc\x81", "caf\xc3\xa9" };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        plain(s, names, odd[i], i);
    char name[TARN_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    name[TARN_NAME_MAX] = '\0';
    struct tarn_node *longest = directory(s, "long");
    for (int i = 0; i < 60; i++) {
        name[254] = (char)('0' + i);
        tarn_sample_add(s, longest, name, S_IFIFO | 0600);
    }
    struct tarn_node *many = directory(s, "many");
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(name, sizeof name, "%s%d", i % 7 ? "entry-" : "e", i * 7919 % 10007);
        tarn_sample_add(s, many, name, S_IFREG | 0644)->inode->content =
            names->child->inode->content;
    }
    struct tarn_node *deep = directory(s, "deep");
    for (int i = 0; i < 100; i++)
        deep = tarn_sample_add(s, deep, "level", S_IFDIR | 0755);
    plain(s, deep, "bottom", 5);
}

static void fill_sizes(struct tarn_sample *s)
{
    struct tarn_node *sizes = directory(s, "sizes");
    static const uint64_t all[] = { 0, 1, 4095, 4096, 4097, 8192, 262143, 262144, 262145, 1000000 };
    char name[64];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        (void)snprintf(name, sizeof name, "f%llu", (unsigned long long)all[i]);
        plain(s, sizes, name, all[i]);
        (void)snprintf(name, sizeof name, "z%llu", (unsigned long long)all[i]);
        tarn_sample_file(s, sizes, name, (struct tarn_shape){ all[i], 0, 0, 0 });
    }
    const uint64_t hole = UINT64_C(64) << 20;
    tarn_sample_file(s, sizes, "hole-head", (struct tarn_shape){ hole + 10, hole, 10, 1 });
    tarn_sample_file(s, sizes, "hole-tail", (struct tarn_shape){ hole + 10, 0, 300000, 1 });
    tarn_sample_file(s, sizes, "hole-both", (struct tarn_shape){ 2 * hole + 5, hole - 9, 20, 2 });
    tarn_sample_file(s, sizes, "hole-all", (struct tarn_shape){ hole + 1, 0, 0, 0 });
}

static void fill_inodes(struct tarn_sample *s)
{
    struct tarn_node *kinds = directory(s, "kinds");
    struct tarn_node *node = plain(s, kinds, "setuid", 100);
    node->inode->mode = S_IFREG | 06755;
    tarn_sample_link(s, kinds, "setuid-too", node->inode);
    tarn_sample_link(s, tarn_tree_root(s->tree), "z-link", node->inode);
    tarn_sample_add(s, kinds, "sticky", S_IFDIR | 01777);
    tarn_sample_add(s, kinds, "none", S_IFDIR);
    tarn_sample_add(s, kinds, "fifo", S_IFIFO | 0640);
    static const struct {
        const char *name;
        uint32_t mode, major, minor;
    } devices[] = { { "null", S_IFCHR | 0666, 1, 3 },
                    { "large", S_IFCHR | 0600, 4095, 1048575 },
                    { "block", S_IFBLK | 0660, 259, 70000 },
                    { "zero-zero", S_IFCHR | 0600, 0, 0 } };
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        node = tarn_sample_add(s, kinds, devices[i].name, devices[i].mode);
        node->inode->major = devices[i].major;
        node->inode->minor = devices[i].minor;
    }
    static const struct {
        const char *name;
        uint32_t uid, gid;
        int64_t mtime;
        uint32_t ns;
    } owners[] = { { "uid16", 65535, 65535, 0, 0 },
                   { "uid17", 65536, 5, 0, 0 },
                   { "gid17", 5, 65536, 0, 0 },
                   { "uid-max", 4294967294, 4294967294, 0, 0 },
                   { "before-1970", 0, 0, INT64_C(-31536000), 999999999 },
                   { "before-1901", 0, 0, INT64_C(-3000000000), 1 },
                   { "after-2106", 0, 0, INT64_C(5000000000), 123456789 },
                   { "nanosecond", 0, 0, 0, 1 } };
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
        node = plain(s, kinds, owners[i].name, 10 + i);
        node->inode->uid = owners[i].uid;
        node->inode->gid = owners[i].gid;
        node->inode->mtime = owners[i].mtime;
        node->inode->mtime_ns = owners[i].ns;
    }
}

static void set(struct tarn_xattr *xattr, const char *name, const void *value, size_t length)
{
    *xattr = (struct tarn_xattr){ name, value, (uint32_t)length };
}

// user::rwx, user:1000:r--, group::r-x, mask::r-x, other::---
static const uint8_t acl[] = { 2,    0,    0,    0,    1,    0,    7,    0,    0xff, 0xff, 0xff,
                               0xff, 2,    0,    4,    0,    0xe8, 3,    0,    0,    4,    0,
                               5,    0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,    5,    0,    0xff,
                               0xff, 0xff, 0xff, 0x20, 0,    0,    0,    0xff, 0xff, 0xff, 0xff };
// VFS_CAP_REVISION_2, effective, cap_net_bind_service
static const uint8_t capability[] = { 1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

static void fill_xattrs(struct tarn_sample *s)
{
    struct tarn_node *xattrs = directory(s, "xattrs");
    struct tarn_xattr items[300];
    static uint8_t const big[65535] = { 1, 2, 3 };
    set(&items[0], "user.k", "value", 5);
    set(&items[1], "user.empty", "", 0);
    set(&items[2], "trusted.t", "\0\xff\0", 3);
    set(&items[3], "security.capability", capability, sizeof capability);
    set(&items[4], "system.posix_acl_access", acl, sizeof acl);
    tarn_sample_xattrs(s, plain(s, xattrs, "all", 50), items, 5);
    set(&items[5], "system.posix_acl_default", acl, sizeof acl);
    tarn_sample_xattrs(s, tarn_sample_add(s, xattrs, "acl-dir", S_IFDIR | 0750), items + 4, 2);
    tarn_sample_xattrs(s, tarn_tree_root(s->tree), items, 3);
    set(&items[0], "user.big", big, 60000);
    tarn_sample_xattrs(s, plain(s, xattrs, "big", 51), items, 1);
    set(&items[1], "user.big2", big, 60001);
    set(&items[2], "user.big3", big, 65535);
    tarn_sample_xattrs(s, tarn_sample_add(s, xattrs, "three-big", S_IFDIR | 0700), items, 3);
    char name[64];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "same-%d", i);
        set(&items[0], "user.same", "the same", 8);
        set(&items[1], "user.other", &i, sizeof i);
        tarn_sample_xattrs(s, tarn_sample_add(s, xattrs, name, S_IFDIR | 0700), items, 2);
    }
    char long_name[255 + 1] = "user."; // the kernel's longest, prefix included
    memset(long_name + 5, 'x', 250);
    set(&items[0], long_name, "v", 1);
    tarn_sample_xattrs(s, tarn_sample_add(s, xattrs, "long-name", S_IFDIR | 0700), items, 1);
    // More that may be shared than an inode can point to.
    char many[300][16] = { 0 };
    for (int i = 0; i < 300; i++) {
        (void)snprintf(many[i], sizeof many[i], "user.m%d", i);
        set(&items[i], many[i], many[i], (size_t)i % 16);
    }
    tarn_sample_xattrs(s, tarn_sample_add(s, xattrs, "many-1", S_IFDIR | 0700), items, 300);
    tarn_sample_xattrs(s, tarn_sample_add(s, xattrs, "many-2", S_IFDIR | 0700), items, 299);
}

// Inode, xattrs and tail together around a block, for symbolic links and directories.
static void fill_borders(struct tarn_sample *s)
{
    struct tarn_node *borders = directory(s, "borders");
    char name[TARN_NAME_MAX + 1];
    for (size_t length = 3980; length <= 4095; length++) {
        (void)snprintf(name, sizeof name, "link-%zu", length);
        tarn_sample_symlink(s, borders, name, length);
    }
    tarn_sample_symlink(s, borders, "link-1", 1);
    static const char *const keys[] = { "user.a", "user.b", "user.c", "user.d" };
    uint8_t value[1100];
    for (uint32_t i = 0; i < 80; i++) {
        memset(value, (int)i + 1, sizeof value);
        struct tarn_xattr items[4];
        for (size_t k = 0; k < 4; k++)
            set(&items[k], keys[k], value, 960 + i % 40);
        (void)snprintf(name, sizeof name, "dir-%u", i);
        struct tarn_node *node = tarn_sample_add(s, borders, name, S_IFDIR | 0755);
        node->inode->uid = i < 40 ? 1 : 100000;
        tarn_sample_xattrs(s, node, items, 4);
        for (uint32_t k = 0; k < i % 4; k++) {
            memset(name, (int)('a' + k), 40);
            name[20 + i % 11] = '\0';
            tarn_sample_add(s, node, name, S_IFIFO | 0600);
        }
    }
    // Directories of exactly one block, a byte less, a byte more.
    for (size_t last = 1; last < 60; last++) {
        (void)snprintf(name, sizeof name, "block-%zu", last);
        struct tarn_node *node = tarn_sample_add(s, borders, name, S_IFDIR | 0755);
        for (int k = 0; k < 15; k++) {
            memset(name, 'a' + k, 240);
            name[240] = '\0';
            tarn_sample_add(s, node, name, S_IFIFO | 0600);
        }
        memset(name, 'z', 240 + 15);
        name[200 + last > 255 ? 255 : 200 + last] = '\0';
        tarn_sample_add(s, node, name, S_IFIFO | 0600);
    }
}

void tarn_sample_fill_large(struct tarn_sample *sample)
{
    struct tarn_node *root = tarn_tree_root(sample->tree);
    // Larger than 65,536 units of 256 KiB: units of 512 KiB.
    tarn_sample_file(
        sample, root, "hole-huge",
        (struct tarn_shape){ UINT64_C(17) << 30, (UINT64_C(9) << 30) + 12345, 700000, 0 });
    tarn_sample_file(sample, root, "large", (struct tarn_shape){ 150 << 20, 0, 150 << 20, 1 });
    struct tarn_node *many = tarn_sample_add(sample, root, "300000", S_IFDIR | 0755);
    char name[32];
    for (int i = 0; i < 300000; i++) {
        (void)snprintf(name, sizeof name, "%lld", i * 7919LL);
        tarn_sample_add(sample, many, name, i % 100 ? S_IFIFO | 0600 : S_IFDIR | 0700);
    }
}

void tarn_sample_fill(struct tarn_sample *sample)
{
    tarn_tree_root(sample->tree)->inode->mtime = 1700000000;
    fill_names(sample);
    fill_sizes(sample);
    fill_inodes(sample);
    fill_xattrs(sample);
    fill_borders(sample);
}
