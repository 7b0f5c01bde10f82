// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/listing.h"
#include "format/merge.h"
#include "tests/support/test_bytes.h"
#include "tests/support/tree_text.h"

// The golden digest was computed by this, from section 8 alone:
//
//   import hashlib, struct
//   u32 = lambda v: struct.pack("<I", v)
//   s = lambda b: u32(len(b)) + b
//   out = b"tarn tree 1\n"
//   def inode(path, mode, uid=0, gid=0, mtime=0, ns=0, dev=0, xattrs=(), tail=b""):
//       global out
//       out += s(path) + b"\0" + struct.pack("<IIIqIQ", mode, uid, gid, mtime, ns, dev)
//       out += u32(len(xattrs)) + b"".join(s(n) + s(v) for n, v in xattrs) + tail
//   def plain(b): return struct.pack("<BQ", 1, len(b)) + hashlib.sha256(b).digest()
//   inode(b"", 0o40755)
//   inode(b"a", 0o40711, 5, 6, -1)
//   inode(b"a/-x", 0o100644, tail=plain(b""))
//   inode(b"a/f", 0o104755, 4000000000, 7, 5000000000, 999999999,
//         xattrs=[(b"security.capability", b"\1\0\2"), (b"user.k", b"")], tail=plain(b"one"))
//   inode(b"a!", 0o20666, dev=259 << 32 | 1048575)
//   inode(b"b", 0o120777, tail=s(b"a/f"))
//   out += s(b"c") + b"\1" + s(b"a/f")
//   inode(b"holes", 0o100600,
//         tail=struct.pack("<BQ", 2, 1 << 20) + hashlib.sha256(b"units").digest())
//   inode(b"\xff", 0o10644)
//   print(hashlib.sha256(out).hexdigest())
static const char golden[] = "fe53c1a2af5bee190884dbaeb88675aa08ff3214f13b8748dd647f442ca77a82";

static void assert_digest(struct tarn_tree *merged, const char *want)
{
    struct tarn_digest digest;
    char hex[TARN_DIGEST_HEX + 1];
    assert_int_equal(tarn_listing_digest(merged, &digest), 0);
    tarn_digest_format_hex(&digest, hex);
    if (strcmp(hex, want) != 0)
        fail_msg("want %s, got %s", want, hex);
}

static struct tarn_tree *make_sample(void)
{
    struct tarn_err err = { 0 };
    struct tarn_tree *layer = tarn_tree_new();
    assert_non_null(layer);
    if (tarn_test_tree_apply(layer,
                             "p \xff\nf holes - m=600\nf a/f one m=4755 u=4000000000 g=7 "
                             "t=5000000000 x=user.k:\nd a m=711 u=5 g=6 t=-1\nl b a/f\n"
                             "h c a/f\nc a! 259:1048575 m=666\nf a/-x -",
                             &err) < 0)
        fail_msg("%s", err.text);
    struct tarn_node *holes = tarn_tree_child(layer, tarn_tree_root(layer), "holes", 5);
    struct tarn_content units = { .kind = TARN_CONTENT_UNITS, .size = 1 << 20 };
    tarn_sha256("units", 5, &units.digest);
    holes->inode->content = tarn_tree_content(layer, &units);
    struct tarn_inode *file = tarn_tree_child(layer, tarn_tree_root(layer), "c", 1)->inode;
    file->mtime_ns = 999999999;
    const struct tarn_xattr xattrs[] = {
        { "user.k", (const uint8_t *)"", 0 },
        { "security.capability", (const uint8_t *)"\1\0\2", 3 },
    };
    assert_int_equal(tarn_tree_xattrs(layer, xattrs, 2, &file->xattrs, NULL), 0);
    tarn_tree_sort(layer);
    struct tarn_tree *merged = tarn_merge_new();
    assert_non_null(merged);
    assert_int_equal(tarn_merge_layer(merged, layer, &err), 0);
    tarn_tree_free(layer);
    return merged;
}

static void test_golden(void **state)
{
    (void)state;
    struct tarn_tree *merged = make_sample();
    assert_digest(merged, golden);
    assert_digest(merged, golden); // sorted by now
    tarn_tree_free(merged);
}

// Each single fact changes the digest.
static void test_each_fact_counts(void **state)
{
    (void)state;
    enum { FACTS = 14 };
    struct tarn_digest digests[FACTS];
    for (int fact = 0; fact < FACTS; fact++) {
        struct tarn_tree *merged = make_sample();
        struct tarn_node *root = tarn_tree_root(merged);
        struct tarn_node *node = tarn_tree_child(merged, root, "c", 1);
        struct tarn_inode *file = node->inode;
        struct tarn_node *link = tarn_tree_child(merged, root, "b", 1);
        struct tarn_inode *device = tarn_tree_child(merged, root, "a!", 2)->inode;
        struct tarn_inode *copy = NULL;
        file->mode ^= fact == 1 ? 04000 : 0;
        file->uid ^= fact == 2 ? 1 : 0;
        file->gid ^= fact == 3 ? 1 : 0;
        file->mtime += fact == 4 ? 1 : 0;
        file->mtime_ns -= fact == 5 ? 1 : 0;
        device->major ^= fact == 6 ? 1 : 0;
        device->minor ^= fact == 7 ? 1 : 0;
        file->xattrs = fact == 8 ? NULL : file->xattrs;
        link->inode->target.length -= fact == 9 ? 1 : 0;
        file->content->kind = fact == 10 ? TARN_CONTENT_UNITS : file->content->kind;
        file->content->size += fact == 11 ? 1 : 0;
        file->content->digest.bytes[31] ^= fact == 12 ? 1 : 0;
        if (fact == 13) { // two inodes instead of one with two names
            copy = tarn_tree_inode_new(merged);
            assert_non_null(copy);
            *copy = *file;
            copy->nlink = 0;
            tarn_node_set_inode(node, copy);
        }
        assert_int_equal(tarn_listing_digest(merged, &digests[fact]), 0);
        for (int i = 0; i < fact; i++)
            if (tarn_digest_equal(&digests[i], &digests[fact]))
                fail_msg("facts %d and %d give one digest", i, fact);
        tarn_tree_free(merged);
    }
}

// Longer than the buffer in all ways: many entries, a long path, long values.
static void test_long_listings(void **state)
{
    (void)state;
    enum { LEVELS = 300 };
    static uint8_t value[65535];
    struct tarn_tree *merged = tarn_merge_new();
    struct tarn_hasher *hasher = tarn_hasher_new();
    assert_non_null(merged);
    assert_non_null(hasher);
    static const uint8_t attributes[4 + 4 + 4 + 8 + 4 + 8];
    uint8_t word[4];
    tarn_hasher_update(hasher, "tarn tree 1\n", 12);
    struct tarn_node *node = tarn_tree_root(merged);
    static char path[LEVELS * 256];
    size_t length = 0;
    for (int i = 0; i < LEVELS + 1; i++) {
        struct tarn_inode *inode = node->inode ? node->inode : tarn_tree_inode_new(merged);
        assert_non_null(inode);
        inode->mode = S_IFDIR;
        memset(value, i, sizeof value);
        const struct tarn_xattr xattr = { "user.k", value,
                                          (uint32_t)tarn_min_u64((uint64_t)i * 255, sizeof value) };
        assert_int_equal(tarn_tree_xattrs(merged, &xattr, 1, &inode->xattrs, NULL), 0);
        if (!node->inode)
            tarn_node_set_inode(node, inode);
        tarn_put_le32(word, (uint32_t)length);
        tarn_hasher_update(hasher, word, 4);
        tarn_hasher_update(hasher, path, length);
        tarn_hasher_update(hasher, "\0\0\x40\0\0", 5);
        tarn_hasher_update(hasher, attributes + 4, sizeof attributes - 4);
        tarn_hasher_update(hasher, "\1\0\0\0\6\0\0\0user.k", 14);
        tarn_put_le32(word, xattr.length);
        tarn_hasher_update(hasher, word, 4);
        tarn_hasher_update(hasher, value, xattr.length);
        if (i == LEVELS)
            break;
        if (length > 0)
            path[length++] = '/';
        memset(path + length, 'n', 255);
        assert_int_equal(tarn_tree_add(merged, node, path + length, 255, &node), 0);
        length += 255;
    }
    struct tarn_digest want;
    char hex[TARN_DIGEST_HEX + 1];
    tarn_hasher_finish(hasher, &want);
    assert_digest(merged, tarn_digest_format_hex(&want, hex));
    tarn_hasher_free(hasher);
    tarn_tree_free(merged);
}

// The order in which names came does not matter.
static void test_order_of_entries(void **state)
{
    (void)state;
    static const char *const lines[] = { "d a u=1", "f a/b one", "d a/c", "f a/c/d two",
                                         "f e one", "l g a",     "p a/p", "d a/c/q" };
    uint64_t random = 5;
    char want[TARN_DIGEST_HEX + 1] = "";
    for (int round = 0; round < 50; round++) {
        size_t order[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
        struct tarn_tree *layer = tarn_tree_new();
        struct tarn_tree *merged = tarn_merge_new();
        assert_non_null(layer);
        assert_non_null(merged);
        for (size_t i = 8; i > 0; i--) {
            const size_t k = tarn_test_random_below(&random, i);
            assert_int_equal(tarn_test_tree_apply(layer, lines[order[k]], NULL), 0);
            order[k] = order[i - 1];
        }
        tarn_tree_sort(layer);
        assert_int_equal(tarn_merge_layer(merged, layer, NULL), 0);
        if (round == 0) {
            struct tarn_digest digest;
            assert_int_equal(tarn_listing_digest(merged, &digest), 0);
            tarn_digest_format_hex(&digest, want);
        }
        assert_digest(merged, want);
        tarn_tree_free(layer);
        tarn_tree_free(merged);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_each_fact_counts),
        cmocka_unit_test(test_long_listings),
        cmocka_unit_test(test_order_of_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
