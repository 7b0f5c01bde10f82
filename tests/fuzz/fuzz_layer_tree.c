// SPDX-License-Identifier: Apache-2.0
// Any tar as a layer: reader, builder, own tree, merged tree. The own tree is sound at every entry's
// end, and two ways to merge it agree.
#include <stdio.h>

#include "converter/layer_builder.h"
#include "converter/tar_reader.h"
#include "format/listing.h"
#include "format/merge.h"
#include "tests/fuzz/tar_mutator.h"
#include "tests/support/tree_text.h"

enum { ENTRIES = 300 }; // sound trees are looked for after each, so that time is bounded

struct reading {
    struct tarn_layer_builder *builder;
    struct tarn_tree *tree;
    unsigned entries;
    struct tarn_err err;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void must_be_sound(struct tarn_tree *tree)
{
    const char *fault = tarn_test_tree_check(tree);
    if (fault)
        fprintf(stderr, "%s\n", fault);
    must(!fault);
}

static int on_begin(void *context, const struct tarn_tar_entry *entry)
{
    struct reading *reading = context;
    if (++reading->entries > ENTRIES)
        return tarn_fail(&reading->err, -E2BIG, "enough");
    return tarn_layer_builder_begin(reading->builder, entry, &reading->err);
}

static int on_data(void *context, uint64_t offset, const void *bytes, size_t length)
{
    struct reading *reading = context;
    return tarn_layer_builder_data(reading->builder, offset, bytes, length, &reading->err);
}

static int on_end(void *context)
{
    struct reading *reading = context;
    const int ret = tarn_layer_builder_end(reading->builder, &reading->err);
    if (ret == 0)
        must_be_sound(reading->tree);
    return ret;
}

static int read_tar(struct reading *reading, const uint8_t *data, size_t size)
{
    static const struct tarn_tar_events events = { on_begin, on_data, on_end };
    struct tarn_tar_reader *reader = tarn_tar_reader_new(&events, reading);
    must(reader != NULL);
    int ret = size > 0 ? tarn_tar_reader_push(reader, data, size, &reading->err) : 0;
    if (ret == 0)
        ret = tarn_tar_reader_finish(reader, &reading->err);
    must(ret <= 0 && (ret == 0 || reading->err.text[0] != '\0'));
    tarn_tar_reader_free(reader);
    return ret;
}

static void merge(struct tarn_tree *tree)
{
    struct tarn_tree *merged = tarn_merge_new();
    struct tarn_tree *naive = tarn_merge_new();
    must(merged && naive);
    struct tarn_err err = { 0 };
    const int ret = tarn_merge_layer(merged, tree, &err);
    must(!ret == !tarn_test_merge_naive(naive, tree));
    if (ret == 0) {
        struct tarn_digest a;
        struct tarn_digest b;
        must_be_sound(merged);
        must(tarn_listing_digest(merged, &a) == 0 && tarn_listing_digest(naive, &b) == 0);
        must(tarn_digest_equal(&a, &b));
    } else {
        must(err.text[0] != '\0');
    }
    tarn_tree_free(merged);
    tarn_tree_free(naive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading reading = { .tree = tarn_tree_new() };
    struct tarn_spool *spool = tarn_spool_new(false, NULL);
    must(reading.tree && spool);
    const struct tarn_layer_builder_setup setup = { reading.tree, spool, NULL, true, UINT64_MAX };
    reading.builder = tarn_layer_builder_new(&setup);
    must(reading.builder != NULL);
    const int ret = read_tar(&reading, data, size);
    tarn_layer_builder_finish(reading.builder);
    if (ret == 0) {
        uint64_t length;
        if (tarn_data_space_place(NULL, reading.tree, 0, &length, NULL) == 0)
            merge(reading.tree);
    }
    tarn_layer_builder_free(reading.builder);
    tarn_spool_free(spool);
    tarn_tree_free(reading.tree);
    return 0;
}
