// SPDX-License-Identifier: Apache-2.0
#include "tests/support/sample_tree.h"

#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "format/listing.h"

static void require(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "sample tree: %s\n", what);
    abort();
}

struct tarn_sample *tarn_sample_new(uint32_t chain)
{
    struct tarn_sample *sample = calloc(1, sizeof *sample);
    require(sample && chain <= TARN_SAMPLE_CHAIN, "new");
    sample->tree = tarn_tree_new();
    sample->chain = chain;
    require(sample->tree, "new tree");
    struct tarn_inode *root = tarn_tree_inode_new(sample->tree);
    require(root, "root");
    root->mode = S_IFDIR | 0755;
    tarn_node_set_inode(tarn_tree_root(sample->tree), root);
    for (uint32_t i = 0; i < chain; i++)
        tarn_sha256(&i, sizeof i, &sample->digests[i]);
    return sample;
}

void tarn_sample_free(struct tarn_sample *sample)
{
    if (!sample)
        return;
    for (uint32_t i = 0; i < sample->chain; i++)
        tarn_buf_release(&sample->spaces[i]);
    tarn_tree_free(sample->tree);
    free(sample);
}

struct tarn_node *tarn_sample_add(struct tarn_sample *sample, struct tarn_node *parent,
                                  const char *name, uint32_t mode)
{
    struct tarn_node *node;
    require(tarn_tree_add(sample->tree, parent, name, strlen(name), &node) == 0, name);
    struct tarn_inode *inode = tarn_tree_inode_new(sample->tree);
    require(inode, "inode");
    inode->mode = mode;
    tarn_node_set_inode(node, inode);
    return node;
}

void tarn_sample_symlink_to(struct tarn_sample *sample, struct tarn_node *parent, const char *name,
                            const char *target)
{
    struct tarn_inode *inode = tarn_sample_add(sample, parent, name, S_IFLNK | 0777)->inode;
    inode->target.bytes = target;
    inode->target.length = (uint32_t)strlen(target);
}

void tarn_sample_link(struct tarn_sample *sample, struct tarn_node *parent, const char *name,
                      struct tarn_inode *inode)
{
    struct tarn_node *node;
    require(tarn_tree_add(sample->tree, parent, name, strlen(name), &node) == 0, name);
    tarn_node_set_inode(node, inode);
}

void tarn_sample_symlink(struct tarn_sample *sample, struct tarn_node *parent, const char *name,
                         size_t length)
{
    char *target = tarn_arena_alloc(tarn_tree_arena(sample->tree), length + 1);
    require(target, "target");
    for (size_t i = 0; i < length; i++)
        target[i] = (char)(i % 200 == 199 ? '/' : 'a' + (i + length) % 26);
    target[length] = '\0';
    tarn_sample_symlink_to(sample, parent, name, target);
}

// --- contents ------------------------------------------------------------------------------

struct source {
    struct tarn_buf bytes; // of the piece
    struct tarn_shape shape;
};

// Never zero, and different for each file.
static void make_bytes(struct source *source, const char *name)
{
    uint64_t state = 1;
    for (const char *p = name; *p; p++)
        state = state * 31 + (unsigned char)*p;
    state += source->shape.length;
    require(tarn_buf_append_zeros(&source->bytes, source->shape.length) == 0, "bytes");
    for (size_t i = 0; i < source->shape.length; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        source->bytes.data[i] = (uint8_t)(state >> 40 | 1);
    }
}

static int reread(void *context, uint64_t offset, void *data, size_t length)
{
    const struct source *source = context;
    uint8_t *out = data;
    for (size_t i = 0; i < length; i++) {
        const uint64_t at = offset + i - source->shape.offset;
        out[i] = offset + i >= source->shape.offset && at < source->shape.length
                     ? source->bytes.data[at]
                     : 0;
    }
    return 0;
}

static void store_unit(struct tarn_buf *space, struct source *source, uint64_t start,
                       uint64_t length)
{
    require(tarn_buf_append_zeros(space, length) == 0, "space");
    (void)reread(source, start, space->data + space->length - length, length);
}

static void store(struct tarn_sample *sample, struct source *source, struct tarn_content *content,
                  uint32_t holder)
{
    const uint64_t stored = tarn_content_stored(content);
    content->holder = stored > 0 ? holder : 0;
    content->address = stored > 0 ? sample->spaces[holder].length : 0;
    if (stored == 0)
        return;
    struct tarn_buf *space = &sample->spaces[holder];
    const uint64_t unit = tarn_content_unit(content->size);
    if (content->kind == TARN_CONTENT_PLAIN)
        store_unit(space, source, 0, content->size);
    for (uint32_t i = 0; i < content->extent_count; i++)
        for (uint64_t k = 0; k < content->extents[i].count; k++) {
            const uint64_t start = (content->extents[i].first + k) * unit;
            store_unit(space, source, start, tarn_min_u64(unit, content->size - start));
        }
    require(space->length == content->address + stored, "stored bytes");
    require(tarn_buf_append_zeros(space, tarn_round_up(stored, TARN_BLOCK) - stored) == 0, "pad");
}

struct tarn_node *tarn_sample_file(struct tarn_sample *sample, struct tarn_node *parent,
                                   const char *name, struct tarn_shape shape)
{
    struct tarn_node *node = tarn_sample_add(sample, parent, name, S_IFREG | 0644);
    struct source source = { .shape = shape };
    make_bytes(&source, name);
    tarn_cleanup(tarn_content_hasher_free_p) struct tarn_content_hasher *hasher =
        tarn_content_hasher_new(reread, &source);
    require(hasher, "hasher");
    struct tarn_content content;
    tarn_content_hasher_start(hasher, shape.size);
    require(tarn_content_hasher_update(hasher, shape.offset, source.bytes.data, shape.length) == 0,
            "update");
    require(tarn_content_hasher_finish(hasher, &content) == 0, "finish");
    node->inode->content = tarn_tree_content(sample->tree, &content);
    require(node->inode->content, "content");
    if (node->inode->content->holder == TARN_NONE)
        store(sample, &source, node->inode->content, shape.holder);
    tarn_buf_release(&source.bytes);
    return node;
}

void tarn_sample_xattrs(struct tarn_sample *sample, struct tarn_node *node,
                        const struct tarn_xattr *items, uint32_t count)
{
    struct tarn_err err = { 0 };
    require(tarn_tree_xattrs(sample->tree, items, count, &node->inode->xattrs, &err) == 0,
            err.text);
}

// --- image ---------------------------------------------------------------------------------

void tarn_sample_plan(struct tarn_sample *sample)
{
    uint32_t devices = 0;
    memset(sample->slots, 0, sizeof sample->slots);
    for (struct tarn_node *n = tarn_tree_root(sample->tree); n; n = tarn_tree_next(n))
        if (S_ISREG(n->inode->mode) && tarn_content_stored(n->inode->content) > 0)
            sample->slots[n->inode->content->holder] = 1;
    for (uint32_t i = 0; i < sample->chain; i++) {
        if (sample->slots[i] == 0)
            continue;
        sample->devices[devices] =
            (struct tarn_erofs_device){ sample->digests[i], sample->spaces[i].length };
        sample->slots[i] = ++devices;
    }
    sample->plan = (struct tarn_erofs_plan){ .devices = sample->devices,
                                             .device_count = devices,
                                             .slots = sample->slots,
                                             .chain_count = sample->chain };
    require(tarn_listing_digest(sample->tree, &sample->plan.tree_digest) == 0, "digest");
}

void tarn_sample_image(struct tarn_sample *sample, struct tarn_buf *out)
{
    struct tarn_err err = { 0 };
    uint64_t inodes;
    tarn_tree_sort(sample->tree);
    tarn_sample_plan(sample);
    require(tarn_erofs_write(sample->tree, &sample->plan, out, &inodes, &err) == 0, err.text);
}
