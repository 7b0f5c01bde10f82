// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "format/tree.h"
#include "tests/support/test_bytes.h"
#include "tests/support/tree_text.h"

static void assert_sound(struct tarn_tree *tree)
{
    const char *fault = tarn_test_tree_check(tree);
    if (fault)
        fail_msg("%s", fault);
}

static struct tarn_tree *make(const char *lines)
{
    struct tarn_err err = { 0 };
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    if (tarn_test_tree_apply(tree, lines, &err) < 0)
        fail_msg("%s", err.text);
    return tree;
}

static struct tarn_node *must_add(struct tarn_tree *tree, struct tarn_node *parent,
                                  const char *name)
{
    struct tarn_node *node = NULL;
    assert_int_equal(tarn_tree_add(tree, parent, name, strlen(name), &node), 0);
    return node;
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t length;
        int want;
    } table[] = {
        { "", 0, -EINVAL },     { ".", 1, -EINVAL },  { "..", 2, -EINVAL }, { "a/b", 3, -EINVAL },
        { "a\0b", 3, -EINVAL }, { "...", 3, 0 },      { ".a", 2, 0 },       { "\xff\x80", 2, 0 },
        { "-x", 2, 0 },         { "..", 1, -EINVAL }, { " ", 1, 0 },
    };
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    struct tarn_node *node = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const int got =
            tarn_tree_add(tree, tarn_tree_root(tree), table[i].name, table[i].length, &node);
        if (got != table[i].want)
            fail_msg("'%s': want %d, got %d", table[i].name, table[i].want, got);
    }
    char name[256];
    memset(name, 'n', sizeof name);
    assert_int_equal(tarn_tree_add(tree, tarn_tree_root(tree), name, 256, &node), -EINVAL);
    assert_int_equal(tarn_tree_add(tree, tarn_tree_root(tree), name, 255, &node), 0);
    assert_int_equal(tarn_tree_count(tree), 7);
    assert_sound(tree);
    tarn_tree_free(tree);
}

// What archives may do to an own tree (section 6).
static void test_own_trees(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *lines;
        const char *want; // NULL: refused
    } table[] = {
        { "order", "f b one\nf a/z one\nf a! one\nf a/-x one\nf a/!x one\nf a/.y one\nf aa one",
          "i a\nf a/!x one\nf a/-x one\nf a/.y one\nf a/z one\nf a! one\nf aa one\nf b one\n" },
        { "implicit parents", "f a/b/c one", "i a\ni a/b\nf a/b/c one\n" },
        { "implicit becomes explicit", "f a/b one\nd a m=700", "d a m=700\nf a/b one\n" },
        { "the last counts", "f a one\nf a two", "f a two\n" },
        { "directory on directory", "d a u=1\nf a/b one\nd a u=2", "d a u=2\nf a/b one\n" },
        { "file over directory and back", "d a\nf a/b one\nf a two\nd a\nf a/c one",
          "w a\nd a\nf a/c one\n" },
        { "a link is followed", "d d\nl s d\nf s/x one", "d d\nf d/x one\nl s d\n" },
        { "through a dangling link", "l s /x/y\nf s/z one", "l s /x/y\ni x\ni x/y\nf x/y/z one\n" },
        { "absolute", "d a\nd a/b\nl a/b/s /d\nf a/b/s/f one",
          "d a\nd a/b\nl a/b/s /d\ni d\nf d/f one\n" },
        { "above the root", "l s ../../../d\nf s/f one", "i d\nf d/f one\nl s ../../../d\n" },
        { "links through links", "d d/e\nl a d\nl b a/e\nl c ./b//\nf c/f one",
          "l a d\nl b a/e\nl c ./b//\ni d\nd d/e\nf d/e/f one\n" },
        { "dots", "l s x/../y/.\nf s/f one", "l s x/../y/.\ni y\nf y/f one\n" },
        { "dots after a file", "f x one\nl s x/../y\nf s/f one",
          "l s x/../y\nf x one\ni y\nf y/f one\n" },
        { "the last is not followed", "d d\nl s d\nf s one", "d d\nf s one\n" },
        { "a file in the way", "f a one\nf a/b two", "w a\ni a\nf a/b two\n" },
        { "a link to a file in the way", "f a one\nl s a\nf s/b two",
          "w a\ni a\nf a/b two\nl s a\n" },
        { "a loop", "l a b\nl b a\nf a/c one", NULL },
        { "onto itself", "l a a\nf a/c one", NULL },
        { "a whiteout does not exist", "w a\nf a/b one", "w a\ni a\nf a/b one\n" },
        { "a whiteout on the way is left", "w x\nl s x/../y\nf s/f one",
          "l s x/../y\nw x\ni y\nf y/f one\n" },
        { "whiteout and entry", "w a\nf a one", "w a\nf a one\n" },
        { "entry and whiteout", "f a one\nw a", "w a\nf a one\n" },
        { "opaque", "f d/x one\no d", "o d\ni d\nf d/x one\n" },
        { "hard link", "f a one\nh b a\nf a two", "f a two\nf b one\n" },
        { "lower links share", "h a x/y\nh b x/y\nh c z", "h a x/y\nh b x/y\nh c z\n" },
        { "a whiteout is no target", "w x\nh a x", "h a x\nw x\n" },
        { "slashes and dots", "f .//a/./b/ one", "i a\nf a/b one\n" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tarn_err err = { 0 };
        struct tarn_tree *tree = tarn_tree_new();
        assert_non_null(tree);
        const int ret = tarn_test_tree_apply(tree, table[i].lines, &err);
        char *got = tarn_test_tree_print(tree);
        assert_non_null(got);
        if (table[i].want ? ret < 0 || strcmp(got, table[i].want) != 0 : ret >= 0)
            fail_msg("%s: want\n%sgot %d\n%s%s", table[i].name,
                     table[i].want ? table[i].want : "an error\n", ret, got, err.text);
        if (ret == 0)
            assert_sound(tree);
        free(got);
        tarn_tree_free(tree);
    }
}

static const struct walk {
    const char *path;
    int want;           // of tarn_tree_walk
    const char *parent; // NULL: none
    const char *name;
    bool there;
} walks[] = {
    { "", 0, NULL, "", true },
    { "/", 0, NULL, "", true },
    { "./.", 0, NULL, "", true },
    { "d", 0, "", "d", true },
    { "/d/./e//", 0, "d", "e", true },
    { "d/s", 0, "d", "s", true },
    { "s/e/f", 0, "d/e", "f", true },
    { "d/none", 0, "d", "none", false },
    { "none/x", -ENOENT, NULL, NULL, false },
    { "none/../d", 0, "", "d", true },
    { "none/..", 0, NULL, "", true },
    { "none/deep/..", -ENOENT, NULL, NULL, false },
    { "w", 0, "", "w", true },
    { "w/x", -ENOENT, NULL, NULL, false },
    { "d/e/f/g", -ENOTDIR, NULL, NULL, false },
    { "d/e/..", 0, "", "d", true },
    { "../../d", 0, "", "d", true },
    { "dangling", 0, "", "dangling", true },
    { "dangling/x", -ENOENT, NULL, NULL, false },
    { "loop", 0, "", "loop", true },
    { "loop/x", -ELOOP, NULL, NULL, false },
};

static char *path_of(const struct tarn_node *node)
{
    struct tarn_buf path = { 0 };
    assert_int_equal(tarn_node_path(node, &path), 0);
    assert_int_equal(tarn_buf_append(&path, "", 1), 0);
    return (char *)path.data;
}

static void check_walk(struct tarn_tree *tree, const struct walk *walk)
{
    struct tarn_walked walked = { .name = "" };
    const int got = tarn_tree_walk(tree, walk->path, strlen(walk->path), TARN_WALK_FAIL, &walked);
    if (got != walk->want)
        fail_msg("'%s': want %d, got %d", walk->path, walk->want, got);
    if (got < 0)
        return;
    char *parent = walked.parent ? path_of(walked.parent) : NULL;
    const bool same_parent =
        parent && walk->parent ? strcmp(parent, walk->parent) == 0 : !parent && !walk->parent;
    if (!same_parent || !walked.node == walk->there || walked.length != strlen(walk->name) ||
        memcmp(walked.name, walk->name, walked.length) != 0)
        fail_msg("'%s': got parent '%s', name '%.*s', node %s", walk->path,
                 parent ? parent : "none", (int)walked.length, walked.name,
                 walked.node ? "there" : "not there");
    free(parent);
}

static void test_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *want;
    } table[] = {
        { "", "" },
        { "./", "" },
        { "/d//./e/", "d/e" },
        { "d/s", "d/s" },
        { "s/e/f", "d/e/f" },
        { "s/e/new", "d/e/new" },
        { "s/none/deep/x", "d/none/deep/x" },
        { "s/none/../e/x", "d/e/x" },
        { "s/none/../../x", "x" },
        { "s/none/deep/../x", "d/none/x" },
        { "none/s/x", "none/s/x" },
        { "up/x", "x" },
        { "up/s/x", "d/x" },
        { "top/d/x", "d/x" },
        { "dangling/x", "none/x/x" },
        { "dangling/../../d/x", "d/x" },
        { "d/e/f/x", "d/e/f/x" },
        { "d/e/f/../x", "d/e/x" },
        { "w/x", "w/x" },
        { "loop/x", NULL },
    };
    struct tarn_tree *tree = make("d d\nd d/e\nf d/e/f one\nl d/s ../d/e/f\nl s d\nw w\n"
                                  "l dangling none/x\nl loop loop\nl up ..\nl top /up");
    const uint64_t count = tarn_tree_count(tree);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        // What was in the buffer stays.
        struct tarn_buf got = { 0 };
        assert_int_equal(tarn_buf_append(&got, ":", 1), 0);
        const int ret = tarn_tree_resolve(tree, table[i].path, strlen(table[i].path), &got);
        assert_int_equal(tarn_buf_append(&got, "", 1), 0);
        if (table[i].want ? ret < 0 || strcmp((char *)got.data + 1, table[i].want) != 0
                          : ret != -ELOOP)
            fail_msg("'%s': want '%s', got %d '%s'", table[i].path,
                     table[i].want ? table[i].want : "ELOOP", ret, (char *)got.data);
        tarn_buf_release(&got);
    }
    assert_int_equal(tarn_tree_count(tree), count);
    tarn_tree_free(tree);
}

static void test_walk_fail(void **state)
{
    (void)state;
    struct tarn_tree *tree = make("d d\nd d/e\nf d/e/f one\nl d/s ../d/e/f\nl s d\nw w\n"
                                  "l dangling none/x\nl loop loop");
    const uint64_t count = tarn_tree_count(tree);
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
        check_walk(tree, &walks[i]);
    }
    assert_int_equal(tarn_tree_count(tree), count);
    tarn_tree_free(tree);
}

// 40 links are followed, 41 are not.
static void test_depth_of_links(void **state)
{
    (void)state;
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    char line[64];
    assert_int_equal(tarn_test_tree_apply(tree, "d l0", NULL), 0);
    for (int i = 1; i <= 41; i++) {
        snprintf(line, sizeof line, "l l%d l%d", i, i - 1);
        assert_int_equal(tarn_test_tree_apply(tree, line, NULL), 0);
    }
    struct tarn_walked walked;
    assert_int_equal(tarn_tree_walk(tree, "l40/x", 5, TARN_WALK_FAIL, &walked), 0);
    assert_string_equal(walked.parent->name, "l0");
    assert_int_equal(tarn_tree_walk(tree, "l41/x", 5, TARN_WALK_FAIL, &walked), -ELOOP);
    tarn_tree_free(tree);
}

static void test_xattrs(void **state)
{
    (void)state;
    static uint8_t big[65536];
    char long_name[300] = "user.";
    memset(long_name + 5, 'k', 251);
    char kernel_longest[256] = "user.";
    memset(kernel_longest + 5, 'k', 250);
    const char *const good[] = { kernel_longest,
                                 "user.a",
                                 "trusted.b",
                                 "security.capability",
                                 "system.posix_acl_access",
                                 "system.posix_acl_default" };
    const struct {
        const char *name;
        uint32_t length;
        const char *message;
    } bad[] = {
        { "user.", 1, "xattr 'user.' has no name behind the prefix" },
        { "system.posix_acl_accessx", 1, "xattr 'system.posix_acl_accessx' is none of" },
        { "system.nfs4_acl", 1, "xattr 'system.nfs4_acl' is none of" },
        { "btrfs.x", 1, "xattr 'btrfs.x' is none of" },
        { "", 1, "xattr '' is none of" },
        { "user.big", 65536, "xattr 'user.big' has 65536 bytes, at most 65535" },
        { long_name, 1, "has a name of 256 bytes, Linux reads at most 255" },
    };
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    struct tarn_err err;
    const struct tarn_xattr_set *set = NULL;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const struct tarn_xattr xattr = { good[i], big, 65535 };
        assert_int_equal(tarn_tree_xattrs(tree, &xattr, 1, &set, &err), 0);
        assert_int_equal(set->count, 1);
        assert_int_equal(set->items[0].length, 65535);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct tarn_xattr xattr = { bad[i].name, big, bad[i].length };
        const int got = tarn_tree_xattrs(tree, &xattr, 1, &set, &err);
        if (got != -EINVAL || !strstr(err.text, bad[i].message))
            fail_msg("want %s, got %d %s", bad[i].message, got, err.text);
    }
    long_name[255] = '\0';
    const struct tarn_xattr longest = { long_name, NULL, 0 };
    assert_int_equal(tarn_tree_xattrs(tree, &longest, 1, &set, &err), 0);
    assert_int_equal(set->items[0].length, 0);
    assert_int_equal(tarn_tree_xattrs(tree, NULL, 0, &set, &err), 0);
    assert_null(set);
    tarn_tree_free(tree);
}

static void test_xattr_sets(void **state)
{
    (void)state;
    const uint8_t *one = (const uint8_t *)"one";
    const uint8_t *two = (const uint8_t *)"t\0o";
    const struct tarn_xattr a[] = { { "user.b", one, 3 },
                                    { "user.B", two, 3 },
                                    { "trusted.z", one, 3 },
                                    { "user.b", two, 3 },
                                    { "user", one, 0 } };
    const struct tarn_xattr b[] = { { "trusted.z", one, 3 },
                                    { "user.B", two, 3 },
                                    { "user.b", two, 3 } };
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    struct tarn_err err;
    const struct tarn_xattr_set *x = NULL;
    const struct tarn_xattr_set *y = NULL;
    assert_int_equal(tarn_tree_xattrs(tree, a, 5, &x, &err), -EINVAL);
    assert_int_equal(tarn_tree_xattrs(tree, a, 4, &x, &err), 0);
    assert_int_equal(tarn_tree_xattrs(tree, b, 3, &y, &err), 0);
    assert_ptr_equal(x, y);
    assert_int_equal(x->count, 3);
    assert_string_equal(x->items[0].name, "trusted.z");
    assert_string_equal(x->items[1].name, "user.B");
    assert_string_equal(x->items[2].name, "user.b");
    assert_memory_equal(x->items[2].value, "t\0o", 3);
    assert_int_equal(tarn_tree_xattrs(tree, b, 2, &y, &err), 0);
    assert_ptr_not_equal(x, y);
    tarn_tree_free(tree);
}

static void test_contents(void **state)
{
    (void)state;
    const struct tarn_extent extents[] = { { 1, 2 }, { 5, 1 } };
    struct tarn_content plain = { .kind = TARN_CONTENT_PLAIN, .size = 7, .holder = TARN_NONE };
    struct tarn_content units = { .kind = TARN_CONTENT_UNITS, .size = 7, .holder = TARN_NONE };
    units.extents = extents;
    units.extent_count = 2;
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    struct tarn_content *a = tarn_tree_content(tree, &plain);
    struct tarn_content *b = tarn_tree_content(tree, &units);
    plain.size = 8;
    struct tarn_content *c = tarn_tree_content(tree, &plain);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_ptr_equal(b, tarn_tree_content(tree, &units));
    assert_ptr_not_equal(b->extents, extents);
    assert_int_equal(b->extents[1].first, 5);
    tarn_tree_free(tree);
}

static void test_links_and_removal(void **state)
{
    (void)state;
    struct tarn_tree *tree = make("f d/a one\nh d/b d/a\nh e/c d/a\nd e/f\nl e/f/g x");
    struct tarn_node *d = tarn_tree_child(tree, tarn_tree_root(tree), "d", 1);
    struct tarn_node *e = tarn_tree_child(tree, tarn_tree_root(tree), "e", 1);
    struct tarn_inode *inode = d->child->inode;
    assert_int_equal(inode->nlink, 3);
    tarn_tree_remove(tree, tarn_tree_child(tree, d, "b", 1));
    assert_int_equal(inode->nlink, 2);
    assert_null(tarn_tree_child(tree, d, "b", 1));
    assert_sound(tree);
    tarn_tree_remove_children(tree, e);
    assert_int_equal(inode->nlink, 1);
    assert_int_equal(tarn_tree_count(tree), 4);
    tarn_tree_remove(tree, d);
    assert_int_equal(inode->nlink, 0);
    assert_null(tarn_tree_child(tree, d, "a", 1));
    assert_sound(tree);
    tarn_tree_remove(tree, e);
    assert_int_equal(tarn_tree_count(tree), 1);
    tarn_tree_free(tree);
}

// One directory with this many names in random order, ascending and descending.
static void test_large_directory(void **state)
{
    (void)state;
    enum { NAMES = 300000 };
    uint64_t random = 5;
    for (int order = 0; order < 3; order++) {
        struct tarn_tree *tree = tarn_tree_new();
        assert_non_null(tree);
        struct tarn_node *root = tarn_tree_root(tree);
        char name[32];
        uint64_t added = 0;
        for (int i = 0; i < NAMES; i++) {
            const uint64_t number =
                order == 0 ? tarn_test_random(&random) : (uint64_t)(order == 1 ? i : NAMES - i);
            const int length =
                order == 0 ? snprintf(name, sizeof name, "%llx", (unsigned long long)number)
                           : snprintf(name, sizeof name, "%08llu", (unsigned long long)number);
            struct tarn_node *node = NULL;
            if (tarn_tree_child(tree, root, name, (size_t)length))
                continue;
            assert_int_equal(tarn_tree_add(tree, root, name, (size_t)length, &node), 0);
            added++;
        }
        tarn_tree_sort(tree);
        uint64_t seen = 0;
        const struct tarn_node *previous = NULL;
        for (const struct tarn_node *i = root->child; i; i = i->next) {
            if (previous && strcmp(previous->name, i->name) >= 0)
                fail_msg("order %d: '%s' stands before '%s'", order, previous->name, i->name);
            assert_ptr_equal(i->previous, previous);
            previous = i;
            seen++;
        }
        assert_int_equal(seen, added);
        tarn_tree_free(tree);
    }
}

// Nothing recurses.
static void test_deep(void **state)
{
    (void)state;
    enum { LEVELS = 100000 };
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    struct tarn_node *node = tarn_tree_root(tree);
    for (int i = 0; i < LEVELS; i++) {
        node = must_add(tree, node, "d");
        node->implicit = true;
        must_add(tree, node, "b");
    }
    tarn_tree_sort(tree);
    uint64_t count = 0;
    for (struct tarn_node *i = tarn_tree_root(tree); i; i = tarn_tree_next(i))
        count++;
    assert_int_equal(count, 2 * LEVELS + 1);
    struct tarn_buf path = { 0 };
    assert_int_equal(tarn_node_path(node, &path), 0);
    assert_int_equal(path.length, 2 * LEVELS - 1);
    struct tarn_walked walked;
    assert_int_equal(
        tarn_tree_walk(tree, (const char *)path.data, path.length, TARN_WALK_FAIL, &walked), 0);
    assert_ptr_equal(walked.node, node);
    tarn_tree_remove_children(tree, tarn_tree_root(tree));
    assert_int_equal(tarn_tree_count(tree), 1);
    assert_int_equal(
        tarn_tree_walk(tree, (const char *)path.data, path.length, TARN_WALK_IMPLICIT, &walked), 0);
    assert_int_equal(tarn_tree_count(tree), LEVELS);
    tarn_buf_release(&path);
    tarn_tree_free(tree);
}

// Against a plain model: a set of paths.
static void test_random_operations(void **state)
{
    (void)state;
    uint64_t random = 11;
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    for (unsigned round = 0; round < 20000; round++) {
        struct tarn_node *node = tarn_tree_root(tree);
        char name[4];
        for (uint64_t depth = 1 + tarn_test_random_below(&random, 4); depth > 0; depth--) {
            snprintf(name, sizeof name, "%c%c", (char)('a' + tarn_test_random_below(&random, 5)),
                     (char)('a' + tarn_test_random_below(&random, 3)));
            struct tarn_node *child = tarn_tree_child(tree, node, name, 2);
            node = child ? child : must_add(tree, node, name);
            node->implicit = true;
        }
        if (tarn_test_random_below(&random, 3) == 0)
            tarn_tree_remove(tree, node);
        else if (tarn_test_random_below(&random, 10) == 0)
            tarn_tree_remove_children(tree, node->parent);
        if (round % 1000 == 0) {
            assert_sound(tree);
            tarn_tree_sort(tree);
            assert_sound(tree);
        }
    }
    tarn_tree_free(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_own_trees),
        cmocka_unit_test(test_walk_fail),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_depth_of_links),
        cmocka_unit_test(test_xattrs),
        cmocka_unit_test(test_xattr_sets),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_links_and_removal),
        cmocka_unit_test(test_large_directory),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
