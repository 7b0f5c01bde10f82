// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "converter/data_space.h"
#include "tests/support/tree_text.h"

enum { CHAIN_INDEX = 3 };

static struct tarn_tree *make_tree(const char *lines)
{
    struct tarn_err err = { 0 };
    struct tarn_tree *tree = tarn_tree_new();
    assert_non_null(tree);
    if (tarn_test_tree_apply(tree, lines, &err) < 0)
        fail_msg("%s", err.text);
    return tree;
}

static uint64_t place(const struct tarn_tree *lower, struct tarn_tree *tree, uint32_t chain_index)
{
    uint64_t length;
    struct tarn_err err = { 0 };
    if (tarn_data_space_place(lower, tree, chain_index, &length, &err) < 0)
        fail_msg("%s", err.text);
    return length;
}

// The first names of what lies in the own data space, by address, each one block long.
static void assert_order(struct tarn_tree *tree, uint64_t length, const char *want)
{
    tarn_autobuf struct tarn_buf got = { 0 };
    for (uint64_t address = 0; address < length; address += TARN_BLOCK) {
        const struct tarn_node *node = tarn_tree_root(tree);
        while (node && !(node->inode && S_ISREG(node->inode->mode) &&
                         node->inode->content->holder == CHAIN_INDEX &&
                         node->inode->content->address == address))
            node = tarn_tree_next(node);
        if (!node)
            fail_msg("nothing at %llu behind %s", (unsigned long long)address,
                     got.data ? (const char *)got.data : "");
        else if (tarn_node_path(node, &got) < 0 || tarn_buf_append(&got, " ", 1) < 0)
            fail_msg("out of memory");
    }
    assert_int_equal(tarn_buf_append_zeros(&got, 1), 0);
    assert_string_equal((const char *)got.data, want);
}

static void test_kinds_first_paths_second(void **state)
{
    (void)state;
    struct tarn_tree *tree = make_tree("f z.so 1\nf a.so 2\nf m.py 3\nf m.pyc 4\nf b.json 5\n"
                                       "f c.js 6\nf bin/sh 7\nf a/x.py 8\nf a-b/x.py 9");
    const uint64_t length = place(NULL, tree, CHAIN_INDEX);
    assert_int_equal(length, 9 * TARN_BLOCK);
    assert_order(tree, length, "a.so z.so m.pyc b.json c.js a/x.py a-b/x.py m.py bin/sh ");
    tarn_tree_free(tree);
}

static void test_rare_ones_by_extension(void **state)
{
    (void)state;
    struct tarn_tree *tree = make_tree("f doc/b.js 1\nf doc/a 2\nf x.h 3\nf a.md 4\nf a.h 5\n"
                                       "f doc/z.a 6\nf x 7\nf LICENSE 8");
    const uint64_t length = place(NULL, tree, CHAIN_INDEX);
    assert_order(tree, length, "x LICENSE doc/a doc/z.a a.h x.h doc/b.js a.md ");
    tarn_tree_free(tree);
}

// Of several names of a content the first one counts, of a hard link's too.
static void test_first_path_counts(void **state)
{
    (void)state;
    struct tarn_tree *tree =
        make_tree("f a.md one\nf b.so one\nf c.so two\nf d.h three\nh a.so d.h");
    const uint64_t length = place(NULL, tree, CHAIN_INDEX);
    assert_int_equal(length, 3 * TARN_BLOCK);
    assert_order(tree, length, "a.so c.so a.md ");
    tarn_tree_free(tree);
}

static void test_only_own_ones_take_room(void **state)
{
    (void)state;
    struct tarn_tree *lower = make_tree("f old one\nf older two");
    assert_int_equal(place(NULL, lower, 0), 2 * TARN_BLOCK);
    struct tarn_tree *tree = make_tree("f a two\nf b three\nf empty -\nf replaced four\n"
                                       "f replaced five");
    const uint64_t length = place(lower, tree, CHAIN_INDEX);
    assert_int_equal(length, 2 * TARN_BLOCK);
    const struct tarn_node *a = tarn_tree_child(tree, tarn_tree_root(tree), "a", 1);
    assert_int_equal(a->inode->content->holder, 0);
    assert_int_equal(a->inode->content->address, TARN_BLOCK);
    assert_order(tree, length, "b replaced ");
    tarn_tree_free(tree);
    tarn_tree_free(lower);
}

static void test_empty(void **state)
{
    (void)state;
    struct tarn_tree *tree = make_tree("f empty -\nd d");
    assert_int_equal(place(NULL, tree, CHAIN_INDEX), 0);
    assert_int_equal(
        tarn_tree_child(tree, tarn_tree_root(tree), "empty", 5)->inode->content->holder, 0);
    tarn_tree_free(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_first_paths_second),
        cmocka_unit_test(test_rare_ones_by_extension),
        cmocka_unit_test(test_first_path_counts),
        cmocka_unit_test(test_only_own_ones_take_room),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
