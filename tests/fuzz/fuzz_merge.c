// SPDX-License-Identifier: Apache-2.0
// Layers from bytes, merged twice: by the library and by looking up every path from the root. Both
// must agree, and the invariants of trees hold after each step.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "format/listing.h"
#include "format/merge.h"
#include "tests/support/tree_text.h"

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static unsigned take(struct input *input, unsigned limit)
{
    return input->at < input->end ? *input->at++ % limit : 0;
}

static void take_path(struct input *input, char path[64])
{
    static const char *const names[] = { "a", "b", "l", "m", "..", "s" };
    int length = 0;
    for (unsigned depth = 1 + take(input, 4); depth > 0; depth--)
        length += snprintf(path + length, 64 - (size_t)length, "%s%s", length > 0 ? "/" : "",
                           names[take(input, 6)]);
}

static void take_line(struct input *input, char line[256])
{
    static const char types[] = "dflhwocbp";
    static const char *const tails[] = { "", " u=1", " m=4711 t=-5", " x=user.a:1",
                                         " x=user.a:2 x=trusted.b:3" };
    char path[64];
    char argument[80] = "/";
    const char type = types[take(input, sizeof types - 1)];
    take_path(input, path);
    const char *shown = "";
    if (type == 'l' || type == 'h') {
        shown = type == 'l' && take(input, 2) ? argument : argument + 1;
        take_path(input, argument + 1);
    } else if (type == 'f') {
        shown = take(input, 2) ? "one" : "-";
    } else if (type == 'c' || type == 'b') {
        shown = "1:3";
    }
    snprintf(line, 256, "%c %s %s%s", type, path, shown, tails[take(input, 5)]);
}

static void must(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void must_be_sound(struct tarn_tree *tree)
{
    const char *fault = tarn_test_tree_check(tree);
    if (fault)
        fprintf(stderr, "%s\n", fault);
    must(!fault);
}

static struct tarn_tree *take_layer(struct input *input)
{
    struct tarn_tree *layer = tarn_tree_new();
    must(layer != NULL);
    for (unsigned lines = take(input, 16); lines > 0; lines--) {
        char line[256];
        take_line(input, line);
        const int ret = tarn_test_tree_apply(layer, line, NULL);
        must(ret == 0 || ret == -EINVAL || ret == -ELOOP);
        must_be_sound(layer);
    }
    tarn_tree_sort(layer);
    must_be_sound(layer);
    return layer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, data + size };
    struct tarn_tree *merged = tarn_merge_new();
    struct tarn_tree *naive = tarn_merge_new();
    must(merged && naive);
    int ret = 0;
    for (unsigned layers = 1 + take(&input, 4); layers > 0 && ret == 0; layers--) {
        struct tarn_tree *layer = take_layer(&input);
        ret = tarn_merge_layer(merged, layer, NULL);
        const int want = tarn_test_merge_naive(naive, layer);
        must(ret == 0 || ret == -EINVAL);
        must(!ret == !want);
        tarn_tree_free(layer);
        if (ret < 0)
            break;
        must_be_sound(merged);
        struct tarn_digest a;
        struct tarn_digest b;
        must(tarn_listing_digest(merged, &a) == 0);
        must(tarn_listing_digest(naive, &b) == 0);
        must(tarn_digest_equal(&a, &b));
    }
    tarn_tree_free(merged);
    tarn_tree_free(naive);
    return 0;
}
