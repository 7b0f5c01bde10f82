// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "format/merge.h"
#include "tests/support/test_bytes.h"
#include "tests/support/tree_text.h"

enum { LAYERS_MAX = 4 };

static struct tarn_tree *make_layer(const char *lines)
{
    struct tarn_err err = { 0 };
    struct tarn_tree *layer = tarn_tree_new();
    assert_non_null(layer);
    if (tarn_test_tree_apply(layer, lines, &err) < 0)
        fail_msg("%s: %s", lines, err.text);
    tarn_tree_sort(layer);
    return layer;
}

static void assert_sound(const char *name, struct tarn_tree *tree)
{
    const char *fault = tarn_test_tree_check(tree);
    if (fault)
        fail_msg("%s: %s", name, fault);
}

static const struct {
    const char *name;
    const char *layers[LAYERS_MAX];
    const char *want; // without the root's line; NULL: refused
    const char *message;
} cases[] = {
    { "nothing", { "" }, "", NULL },
    { "one layer",
      { "d a u=7\nf a/b one m=4755\nl s a/b\nh a/c a/b\np p\nc z 1:3 m=666" },
      "d a u=7\nf a/b one m=4755\nh a/c a/b\np p\nl s a/b\nc z 1:3 m=666\n",
      NULL },
    { "missing parents", { "f a/b/c one t=5" }, "d a\nd a/b\nf a/b/c one t=5\n", NULL },
    { "parents that are there",
      { "d a u=7 t=9 x=user.k:v", "f a/b one" },
      "d a u=7 t=9 x=user.k:v\nf a/b one\n",
      NULL },
    { "an entry of a directory replaces its attributes",
      { "d a m=700 u=7 t=9 x=user.k:v x=user.l:v\nf a/b one", "d a u=8 x=user.m:w" },
      "d a u=8 x=user.m:w\nf a/b one\n",
      NULL },
    { "file over file", { "f a one u=1", "f a two" }, "f a two\n", NULL },
    { "file over directory", { "d a\nf a/b one", "f a two" }, "f a two\n", NULL },
    { "directory over file", { "f a two", "d a\nf a/b one" }, "d a\nf a/b one\n", NULL },
    { "implicit directory over file", { "f a two", "f a/b one" }, "d a\nf a/b one\n", NULL },
    { "entry of a directory over a link",
      { "d d\nl s d", "d s\nf s/x one" },
      "d d\nd s\nf s/x one\n",
      NULL },
    { "implicit directory over a link",
      { "d d u=3\nl s d", "f s/x one" },
      "d d u=3\nf d/x one\nl s d\n",
      NULL },
    { "implicit directory over a dangling link",
      { "l s /x/y", "f s/z/f one" },
      "l s /x/y\nd x\nd x/y\nd x/y/z\nf x/y/z/f one\n",
      NULL },
    { "implicit directory over a link to a file",
      { "f f one\nl s f", "f s/x two" },
      "d f\nf f/x two\nl s f\n",
      NULL },
    { "implicit directory over a chain of links",
      { "d a/b\nl c ../a\nl a/l b\nl s c/l/.", "f s/x one" },
      "d a\nd a/b\nf a/b/x one\nl a/l b\nl c ../a\nl s c/l/.\n",
      NULL },
    { "a link of the layer on the way of a lower one",
      { "d d\nl s d/k/..", "l s/k /e\nf s/z one" },
      "d d\nl d/k /e\nl s d/k/..\nf z one\n",
      NULL },
    { "a fifo of the layer on the way of a lower link",
      { "l s /b/k/../..", "p s/b\nf s/z one" },
      "d b\nl s /b/k/../..\nf z one\n",
      NULL },
    { "a loop that the layer makes on the way of a lower link",
      { "d d\nl s d/k/..", "l s/k /s\nf s/z one" },
      NULL,
      "'s': too many symbolic links lead from one to the next" },
    { "a link of the layer to a lower link",
      { "d a\nl b a", "l c b\nf c/x one" },
      "d a\nf a/x one\nl b a\nl c b\n",
      NULL },
    { "a loop in the way",
      { "l a b\nl b a", "f a/x one" },
      NULL,
      "'a': too many symbolic links lead from one to the next" },
    { "an entry over a loop",
      { "l a b\nl b a", "d a\nf a/x one\nw a/y" },
      "d a\nf a/x one\nl b a\n",
      NULL },
    { "whiteout", { "d a\nf a/b one\nf c one", "w a" }, "f c one\n", NULL },
    { "whiteout of a name in a directory",
      { "d a u=5\nf a/b one\nf a/c one", "w a/b" },
      "d a u=5\nf a/c one\n",
      NULL },
    { "whiteout of what never was", { "f a one", "w b\nw c/d" }, "f a one\nd c\n", NULL },
    { "whiteout below a file", { "f a one", "w a/b" }, "d a\n", NULL },
    { "whiteout and entry of one name",
      { "d a\nf a/b one\nd c\nf c/d one", "w a\nf a two\nw c\nd c" },
      "f a two\nd c\n",
      NULL },
    { "whiteout and implicit directory",
      { "d a u=5\nf a/b one", "w a\nf a/c two" },
      "d a\nf a/c two\n",
      NULL },
    { "whiteout in a directory that is whited out",
      { "d a\nf a/b one", "w a\nd a\nw a/b" },
      "d a\n",
      NULL },
    { "whiteout through a link", { "d d\nf d/x one\nl s d", "w s/x" }, "d d\nl s d\n", NULL },
    { "whiteout of a link", { "d d\nf d/x one\nl s d", "w s" }, "d d\nf d/x one\n", NULL },
    { "a file in a layer takes the directory below away",
      { "d a u=5\nf a/b one", "f a two\nd a\nf a/c one" },
      "d a\nf a/c one\n",
      NULL },
    { "the same, implicit",
      { "d a u=5\nf a/b one", "f a two\nf a/c one" },
      "d a\nf a/c one\n",
      NULL },
    { "whiteouts act on lower layers only",
      { "f a one", "f a two\nw a", "w a", "f a three\nw a" },
      "f a three\n",
      NULL },
    { "opaque",
      { "d a u=5\nf a/b one\nd a/c\nf a/c/d one", "o a\nf a/e two" },
      "d a u=5\nf a/e two\n",
      NULL },
    { "opaque with an entry",
      { "d a u=5\nf a/b one", "d a\nf a/b two\no a" },
      "d a\nf a/b two\n",
      NULL },
    { "opaque root", { "d / u=5\nf a one\nd b", "o /\nf c two" }, "f c two\n", NULL },
    { "opaque through a link",
      { "d d\nf d/x one\nl s d", "o s\nf s/y two" },
      "d d\nf d/y two\nl s d\n",
      NULL },
    { "hard link to a lower file",
      { "f a one u=1 m=600 t=3 x=user.a:1 x=user.b:1",
        "h b a u=2 m=4711 t=4 x=user.b:2 x=user.c:2" },
      "f a one m=4711 u=2 t=4 x=user.a:1 x=user.b:2 x=user.c:2\nh b a\n",
      NULL },
    { "names of one lower link, and one of another between them",
      { "f q one x=user.a:0\nh r q", "h a q x=user.a:1\nh b r x=user.a:2\nh c q\nh d q" },
      "f a one x=user.a:1\nh b a\nh c a\nh d a\nh q a\nh r a\n",
      NULL },
    { "lower link to a lower link",
      { "f a one", "h b a", "h c b u=4" },
      "f a one u=4\nh b a\nh c a\n",
      NULL },
    { "lower links of one layer",
      { "f x/a one", "h b x/a\nh c x/a" },
      "f b one\nh c b\nd x\nh x/a b\n",
      NULL },
    { "lower link whose target is replaced",
      { "f a one", "h b a\nf a two" },
      "f a two\nf b one\n",
      NULL },
    { "lower link whose target becomes a directory",
      { "f a one", "h b a\nd a\nf a/c two" },
      "d a\nf a/c two\nf b one\n",
      NULL },
    { "lower link over what holds its target", { "d a\nf a/b one", "h a a/b" }, "f a one\n", NULL },
    { "lower link over another name of it",
      { "f a one\nh b a", "h b a u=3" },
      "f a one u=3\nh b a\n",
      NULL },
    { "lower link to a symbolic link",
      { "f a one\nl s a", "h t s u=2 m=600" },
      "f a one\nl s a u=2\nh t s\n",
      NULL },
    { "lower link to a device",
      { "c a 1:3 m=666", "h b a m=600" },
      "c a 1:3 m=600\nh b a\n",
      NULL },
    { "lower link through a link",
      { "d d\nf d/x one\nl s d", "h a s/x" },
      "f a one\nd d\nh d/x a\nl s d\n",
      NULL },
    { "target removed by a later layer",
      { "f a one u=1", "h b a u=2", "w a" },
      "f b one u=2\n",
      NULL },
    { "hard link and a new file", { "f a one", "h b a", "f a two" }, "f a two\nf b one\n", NULL },
    { "lower link to nothing",
      { "f a one", "h d/b c" },
      NULL,
      "hard link 'd/b' to 'c': there is no such file in this layer or below" },
    { "lower link to a directory",
      { "d c", "h b c" },
      NULL,
      "hard link 'b' to 'c': that is a directory" },
    { "lower link to what the layer takes away",
      { "f c one", "w c\nh b c" },
      NULL,
      "hard link 'b' to 'c': there is no such file in this layer or below" },
    { "lower link below a file",
      { "f c one", "h b c/d" },
      NULL,
      "hard link 'b' to 'c/d': there is no such file in this layer or below" },
    { "the root's attributes",
      { "d / m=700 u=4 x=user.k:v", "f a one", "d / u=5" },
      "f a one\n",
      NULL },
    // A link of the merged tree leads above itself, and names remove what led there.
    { "a name replaces the link it came through",
      { "d d\nl d/l .", "f d/l/l one\nf d/l/m two" },
      "d d\nd d/l\nf d/l/m two\n",
      NULL },
    { "the same without a name behind",
      { "d d\nl d/l .", "f d/l/l one" },
      "d d\nf d/l one\n",
      NULL },
    { "a name replaces the directory it came through",
      { "d d u=2\nl d/l ..\nf d/k one", "f d/l/d one\nf d/m two" },
      "d d\nf d/m two\n",
      NULL },
    { "a whiteout removes the link it came through",
      { "d d\nl d/l .\nf d/z one", "w d/l/l\nw d/l/z" },
      "d d\nd d/l\nf d/z one\n",
      NULL },
    { "a whiteout removes the directory it came through",
      { "d d u=2\nl d/l ..\nf d/k one", "w d/l/d\nw d/k\nf d/m two" },
      "d d\nd d/l\nf d/m two\n",
      NULL },
    { "opaque removes the directory it came through",
      { "d d u=2\nl d/l ..\nf a one", "o d/l\nw d/k" },
      "d d\nd d/l\n",
      NULL },
    { "opaque removes a directory that others came through",
      { "d X\nd X/d\nl X/d/l /\nl m X\nf n one", "o X/d/l/m\nw X/d/l/n" },
      "d X\nd X/d\nd X/d/l\nd X/d/l/m\nl m X\nf n one\n",
      NULL },
};

static char *merge_all(size_t i, struct tarn_err *err)
{
    struct tarn_tree *merged = tarn_merge_new();
    assert_non_null(merged);
    int ret = 0;
    for (size_t k = 0; k < LAYERS_MAX && cases[i].layers[k] && ret == 0; k++) {
        struct tarn_tree *layer = make_layer(cases[i].layers[k]);
        ret = tarn_merge_layer(merged, layer, err);
        tarn_tree_free(layer);
        if (ret == 0)
            assert_sound(cases[i].name, merged);
    }
    char *got = ret == 0 ? tarn_test_tree_print(merged) : NULL;
    tarn_tree_free(merged);
    return got;
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_err err = { 0 };
        char *got = merge_all(i, &err);
        const char *rest = got ? strchr(got, '\n') + 1 : NULL;
        if (!cases[i].want &&
            (got || err.code != -EINVAL || strcmp(err.text, cases[i].message) != 0))
            fail_msg("%s: want '%s', got '%s'\n%s", cases[i].name, cases[i].message, err.text,
                     got ? got : "");
        if (cases[i].want && (!got || strcmp(rest, cases[i].want) != 0))
            fail_msg("%s: want\n%sgot\n%s%s", cases[i].name, cases[i].want, got ? rest : "",
                     err.text);
        free(got);
    }
}

static void test_root(void **state)
{
    (void)state;
    struct tarn_tree *merged = tarn_merge_new();
    assert_non_null(merged);
    char *got = tarn_test_tree_print(merged);
    assert_string_equal(got, "d /\n");
    free(got);
    struct tarn_tree *layer = make_layer("d / m=711 u=4 t=-7 x=user.k:v");
    assert_int_equal(tarn_merge_layer(merged, layer, NULL), 0);
    tarn_tree_free(layer);
    got = tarn_test_tree_print(merged);
    assert_string_equal(got, "d / m=711 u=4 t=-7 x=user.k:v\n");
    free(got);
    tarn_tree_free(merged);
}

// All that a merged tree holds is its own: the layers are freed before it is read.
static void test_layers_may_go(void **state)
{
    (void)state;
    struct tarn_tree *merged = tarn_merge_new();
    struct tarn_tree *layer = make_layer("l s some/target\nf a one x=user.name:value\nh b a");
    struct tarn_content units = { .kind = TARN_CONTENT_UNITS, .size = 1 << 20, .holder = 3 };
    const struct tarn_extent extent = { 1, 2 };
    units.extents = &extent;
    units.extent_count = 1;
    units.address = 8192;
    struct tarn_node *node = tarn_tree_child(layer, tarn_tree_root(layer), "a", 1);
    node->inode->content = tarn_tree_content(layer, &units);
    assert_int_equal(tarn_merge_layer(merged, layer, NULL), 0);
    tarn_tree_free(layer);
    node = tarn_tree_child(merged, tarn_tree_root(merged), "b", 1);
    assert_int_equal(node->inode->nlink, 2);
    assert_int_equal(node->inode->content->holder, 3);
    assert_int_equal(node->inode->content->address, 8192);
    assert_int_equal(node->inode->content->extents[0].count, 2);
    assert_string_equal(node->inode->xattrs->items[0].name, "user.name");
    node = tarn_tree_child(merged, tarn_tree_root(merged), "s", 1);
    assert_memory_equal(node->inode->target.bytes, "some/target", 11);
    tarn_tree_free(merged);
}

static void test_path_too_long(void **state)
{
    (void)state;
    struct tarn_err err = { 0 };
    struct tarn_tree *merged = tarn_merge_new();
    struct tarn_tree *deep = tarn_tree_new();
    assert_non_null(merged);
    assert_non_null(deep);
    char name[256];
    memset(name, 'n', sizeof name);
    struct tarn_node *node = tarn_tree_root(deep);
    for (int i = 0; i < 256; i++) { // 255 * 256 + 253 = 65,533
        assert_int_equal(tarn_tree_add(deep, node, name, i < 255 ? 255 : 253, &node), 0);
        node->implicit = true;
    }
    struct tarn_node *below = NULL;
    assert_int_equal(tarn_tree_add(deep, node, "x", 1, &below), 0);
    below->implicit = true;
    assert_int_equal(tarn_merge_layer(merged, deep, &err), 0);
    tarn_tree_remove(deep, below);
    assert_int_equal(tarn_tree_add(deep, node, "xy", 2, &below), 0);
    struct tarn_inode *inode = tarn_tree_inode_new(deep);
    assert_non_null(inode);
    inode->mode = S_IFIFO;
    for (int leaf = 0; leaf < 2; leaf++) {
        below->implicit = leaf == 0;
        if (leaf)
            tarn_node_set_inode(below, inode);
        err.text[0] = '\0';
        assert_int_equal(tarn_merge_layer(merged, deep, &err), -EINVAL);
        if (!strstr(err.text, "the path becomes too long in the merged tree"))
            fail_msg("got %s", err.text);
    }
    tarn_tree_free(deep);
    tarn_tree_free(merged);
}

// A small layer on a large tree costs what the small layer costs.
static void test_small_layer_on_large_tree(void **state)
{
    (void)state;
    enum { NAMES = 200000, LAYERS = 20000 };
    struct tarn_tree *merged = tarn_merge_new();
    struct tarn_tree *layer = tarn_tree_new();
    assert_non_null(merged);
    assert_non_null(layer);
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        struct tarn_node *node = NULL;
        const int length = snprintf(name, sizeof name, "%d", i);
        assert_int_equal(tarn_tree_add(layer, tarn_tree_root(layer), name, (size_t)length, &node),
                         0);
        struct tarn_inode *inode = tarn_tree_inode_new(layer);
        assert_non_null(inode);
        inode->mode = S_IFIFO | 0600;
        tarn_node_set_inode(node, inode);
    }
    tarn_tree_sort(layer);
    assert_int_equal(tarn_merge_layer(merged, layer, NULL), 0);
    tarn_tree_free(layer);
    layer = make_layer("w 1\np 1\nw 7");
    for (int i = 0; i < LAYERS; i++)
        assert_int_equal(tarn_merge_layer(merged, layer, NULL), 0);
    assert_int_equal(tarn_tree_count(merged), NAMES);
    tarn_tree_free(layer);
    tarn_tree_free(merged);
}

// Random layers, also against the same rules done by looking up every path from the root.
static void test_random_layers(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "b", "l", "m" };
    static const char *const targets[] = { "..", ".", "a", "/b", "../l", "a/b", "x/y", "/" };
    uint64_t random = 17;
    unsigned merges = 0;
    for (unsigned round = 0; round < 4000; round++) {
        struct tarn_tree *merged = tarn_merge_new();
        struct tarn_tree *naive = tarn_merge_new();
        assert_non_null(merged);
        assert_non_null(naive);
        int ret = 0;
        for (unsigned k = 0; k < 3 && ret == 0; k++) {
            struct tarn_tree *layer = tarn_tree_new();
            assert_non_null(layer);
            for (uint64_t n = tarn_test_random_below(&random, 12); n > 0; n--) {
                char line[128] = "";
                char path[64] = "";
                for (uint64_t d = 1 + tarn_test_random_below(&random, 4); d > 0; d--) {
                    const size_t at = strlen(path);
                    snprintf(path + at, sizeof path - at, "%s%s", at > 0 ? "/" : "",
                             names[tarn_test_random_below(&random, 4)]);
                }
                const char type = "ddffflllhwwo"[tarn_test_random_below(&random, 12)];
                const char *argument = type == 'f'   ? "one"
                                       : type == 'l' ? targets[tarn_test_random_below(&random, 8)]
                                       : type == 'h' ? names[tarn_test_random_below(&random, 4)]
                                                     : "";
                snprintf(line, sizeof line, "%c %s %s u=%u", type, path, argument, round % 7);
                const int applied = tarn_test_tree_apply(layer, line, NULL);
                assert_true(applied == 0 || applied == -ELOOP || applied == -EINVAL);
            }
            tarn_tree_sort(layer);
            assert_sound("layer", layer);
            ret = tarn_merge_layer(merged, layer, NULL);
            const int want = tarn_test_merge_naive(naive, layer);
            if (!ret != !want)
                fail_msg("round %u: want %d, got %d", round, want, ret);
            tarn_tree_free(layer);
            if (ret < 0)
                break;
            merges++;
            assert_sound("merged", merged);
            char *a = tarn_test_tree_print(naive);
            char *b = tarn_test_tree_print(merged);
            if (strcmp(a, b) != 0)
                fail_msg("round %u: want\n%sgot\n%s", round, a, b);
            free(a);
            free(b);
        }
        tarn_tree_free(merged);
        tarn_tree_free(naive);
    }
    assert_true(merges > 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_layers_may_go),
        cmocka_unit_test(test_path_too_long),
        cmocka_unit_test(test_small_layer_on_large_tree),
        cmocka_unit_test(test_random_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
