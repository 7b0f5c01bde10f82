// SPDX-License-Identifier: Apache-2.0
#include "converter/data_space.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "converter/placement.h"

// A content without a place, and what decides on it.
struct unplaced {
    struct tarn_content *content;
    const char *extension; // terminated; of a rare one
    enum tarn_placement_rank rank;
    uint32_t path; // rank of the first path in canonical order
};

struct placing {
    const struct tarn_tree *lower;
    uint32_t chain_index;
    struct unplaced *own; // those that get a place in the layer's own data space
    uint32_t count;
    struct tarn_buf path;
};

static int by_placement(const void *a, const void *b)
{
    const struct unplaced *x = a;
    const struct unplaced *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    const int order = strcmp(x->extension, y->extension);
    if (order != 0)
        return order;
    return x->path < y->path ? -1 : x->path > y->path;
}

// Gives the content of a first path its place below, or takes it to the own ones. 0 or -ENOMEM.
static int take_content(struct placing *placing, const struct tarn_node *node)
{
    struct tarn_content *content = node->inode->content;
    content->holder = 0;
    content->address = 0;
    if (tarn_content_stored(content) == 0)
        return 0;
    const struct tarn_content *lower =
        placing->lower ? tarn_tree_find_content(placing->lower, content) : NULL;
    if (lower) {
        content->holder = lower->holder;
        content->address = lower->address;
        return 0;
    }
    content->holder = placing->chain_index;
    placing->path.length = 0;
    const int ret = tarn_node_path(node, &placing->path);
    if (ret < 0)
        return ret;
    const struct tarn_placement placement =
        tarn_placement_of((const char *)placing->path.data, placing->path.length);
    const struct unplaced unplaced = {
        .content = content,
        .extension = node->name + node->length - placement.extension_length,
        .rank = placement.rank,
        .path = placing->count,
    };
    placing->own[placing->count++] = unplaced;
    return 0;
}

static int take_contents(struct placing *placing, struct tarn_tree *tree)
{
    placing->own = malloc((tarn_tree_content_count(tree) + 1) * sizeof *placing->own);
    if (!placing->own)
        return -ENOMEM;
    tarn_tree_sort(tree);
    int ret = 0;
    for (struct tarn_node *node = tarn_tree_root(tree); node && ret == 0;
         node = tarn_tree_next(node))
        if (node->inode && S_ISREG(node->inode->mode) && node->inode->content->holder == TARN_NONE)
            ret = take_content(placing, node);
    return ret;
}

// The own ones, in their order. 0 or -EFBIG.
static int place_own(const struct placing *placing, uint64_t *end)
{
    if (placing->count > 0)
        qsort(placing->own, placing->count, sizeof *placing->own, by_placement);
    *end = 0;
    for (uint32_t i = 0; i < placing->count; i++) {
        struct tarn_content *content = placing->own[i].content;
        content->address = *end;
        *end += tarn_round_up(tarn_content_stored(content), TARN_BLOCK);
        if (*end > TARN_DATA_SPACE_LIMIT)
            return -EFBIG;
    }
    return 0;
}

int tarn_data_space_place(const struct tarn_tree *lower, struct tarn_tree *tree,
                          uint32_t chain_index, uint64_t *length, struct tarn_err *err)
{
    struct placing placing = { .lower = lower, .chain_index = chain_index };
    int ret = take_contents(&placing, tree);
    if (ret == 0)
        ret = place_own(&placing, length);
    free(placing.own);
    tarn_buf_release(&placing.path);
    if (ret == -EFBIG)
        return tarn_fail(err, ret, "the layer holds more than the format's 16 TiB");
    return ret < 0 ? tarn_fail(err, ret, "out of memory for the layer's contents") : 0;
}

struct tarn_data_space {
    struct tarn_spool *spool;
    struct tarn_spooled *contents; // owned copy, by address, this layer's own ones
    size_t count;
    size_t current;
    uint64_t inside; // bytes of the current content, padding included, that were read
    uint64_t position;
    uint64_t length;
};

static int by_address(const void *a, const void *b)
{
    const struct tarn_spooled *x = a;
    const struct tarn_spooled *y = b;
    return x->content->address < y->content->address ? -1
                                                     : x->content->address > y->content->address;
}

struct tarn_data_space *tarn_data_space_new(struct tarn_spool *spool, uint32_t chain_index,
                                            uint64_t length, struct tarn_err *err)
{
    size_t all;
    const struct tarn_spooled *spooled = tarn_spool_contents(spool, &all);
    struct tarn_data_space *space = calloc(1, sizeof *space);
    struct tarn_spooled *contents = malloc((all + 1) * sizeof *contents);
    if (!space || !contents) {
        free(space);
        free(contents);
        tarn_fail(err, -ENOMEM, "out of memory for the layer's contents");
        return NULL;
    }
    // Contents without a place are those of entries that a later one replaced.
    for (size_t i = 0; i < all; i++)
        if (spooled[i].content->holder == chain_index)
            contents[space->count++] = spooled[i];
    qsort(contents, space->count, sizeof *contents, by_address);
    space->spool = spool;
    space->contents = contents;
    space->length = length;
    return space;
}

void tarn_data_space_free(struct tarn_data_space *space)
{
    if (!space)
        return;
    free(space->contents);
    free(space);
}

// Where in the file the stored byte lies; *run: how many follow it there.
static uint64_t logical_offset(const struct tarn_content *content, uint64_t stored, uint64_t *run)
{
    if (content->kind == TARN_CONTENT_PLAIN) {
        *run = content->size - stored;
        return stored;
    }
    const uint64_t unit = tarn_content_unit(content->size);
    uint64_t before = 0; // stored bytes before this extent
    for (uint32_t i = 0;; i++) {
        assert(i < content->extent_count);
        const struct tarn_extent extent = content->extents[i];
        const uint64_t first = extent.first * unit;
        const uint64_t end =
            tarn_min_u64((extent.first + (uint64_t)extent.count) * unit, content->size);
        if (stored - before < end - first) {
            *run = end - first - (stored - before);
            return first + (stored - before);
        }
        before += end - first;
    }
}

// Fills data with the current content's bytes and padding, as far as they reach.
static ssize_t read_content(struct tarn_data_space *space, uint8_t *data, size_t length)
{
    const struct tarn_spooled *spooled = &space->contents[space->current];
    const uint64_t stored = tarn_content_stored(spooled->content);
    const uint64_t padded = tarn_round_up(stored, TARN_BLOCK);
    size_t n;
    if (space->inside >= stored) {
        n = tarn_min_u64(length, padded - space->inside);
        memset(data, 0, n);
    } else {
        uint64_t run;
        const uint64_t logical = logical_offset(spooled->content, space->inside, &run);
        n = tarn_min_u64(length, run);
        const int ret = tarn_spool_read(space->spool, spooled, logical, data, n);
        if (ret < 0)
            return ret;
    }
    space->inside += n;
    if (space->inside == padded) {
        space->current++;
        space->inside = 0;
    }
    return (ssize_t)n;
}

ssize_t tarn_data_space_read(struct tarn_data_space *space, void *data, size_t length)
{
    size_t done = 0;
    while (done < length && space->current < space->count) {
        const ssize_t n = read_content(space, (uint8_t *)data + done, length - done);
        if (n < 0)
            return n;
        done += (size_t)n;
        space->position += (uint64_t)n;
    }
    assert(space->current < space->count || space->position == space->length);
    return (ssize_t)done;
}
