// SPDX-License-Identifier: Apache-2.0
// Slow and plain: for each name its directory is looked up from the root again, and each inode's
// twin in a list.
#include "tests/support/tree_text.h"

#include <string.h>

struct pair {
    const struct tarn_inode *from;
    struct tarn_inode *to;
};

struct naive {
    struct tarn_tree *merged;
    struct pair *pairs;
    size_t count;
};

// The directory of the merged tree that this directory of the layer stands for.
static int find(struct naive *naive, const struct tarn_node *node, enum tarn_walk missing,
                struct tarn_node **found)
{
    size_t depth = 0;
    for (const struct tarn_node *i = node; i->parent; i = i->parent)
        depth++;
    *found = tarn_tree_root(naive->merged);
    for (; depth > 0; depth--) {
        const struct tarn_node *at = node;
        for (size_t i = 1; i < depth; i++)
            at = at->parent;
        const int ret = tarn_tree_walk_child(naive->merged, *found, at, missing, found);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int take_away(struct naive *naive, const struct tarn_node *node)
{
    struct tarn_node *directory = NULL;
    if (node->whiteout && find(naive, node->parent, TARN_WALK_FAIL, &directory) == 0) {
        struct tarn_node *lower =
            tarn_tree_child(naive->merged, directory, node->name, node->length);
        if (lower)
            tarn_tree_remove(naive->merged, lower);
    }
    if (node->opaque && find(naive, node, TARN_WALK_FAIL, &directory) == 0)
        tarn_tree_remove_children(naive->merged, directory);
    return 0;
}

static struct tarn_inode *twin(const struct naive *naive, const struct tarn_inode *from)
{
    for (size_t i = 0; i < naive->count; i++)
        if (naive->pairs[i].from == from)
            return naive->pairs[i].to;
    return NULL;
}

static int find_target(struct naive *naive, const struct tarn_node *node)
{
    const struct tarn_inode *link = node->inode;
    if (!link || (link->mode & S_IFMT) != 0 || twin(naive, link))
        return 0;
    struct tarn_walked walked;
    const int ret = tarn_tree_walk(naive->merged, link->target.bytes, link->target.length,
                                   TARN_WALK_FAIL, &walked);
    if (ret < 0 || !walked.node || tarn_node_is_directory(walked.node))
        return -EINVAL;
    naive->pairs[naive->count++] = (struct pair){ link, walked.node->inode };
    return 0;
}

static int join_xattrs(struct naive *naive, const struct tarn_inode *from, struct tarn_inode *to)
{
    struct tarn_xattr items[64];
    uint32_t count = 0;
    for (uint32_t i = 0; to->xattrs && i < to->xattrs->count; i++)
        items[count++] = to->xattrs->items[i];
    for (uint32_t i = 0; from->xattrs && i < from->xattrs->count; i++)
        items[count++] = from->xattrs->items[i];
    return tarn_tree_xattrs(naive->merged, items, count, &to->xattrs, NULL);
}

static void set_attributes(const struct tarn_inode *from, struct tarn_inode *to)
{
    if (!S_ISLNK(to->mode))
        to->mode = (to->mode & S_IFMT) | (from->mode & 07777);
    to->uid = from->uid;
    to->gid = from->gid;
    to->mtime = from->mtime;
    to->mtime_ns = from->mtime_ns;
}

static int make_inode(struct naive *naive, const struct tarn_inode *from, struct tarn_inode **to)
{
    *to = tarn_tree_inode_new(naive->merged);
    if (!*to)
        return -ENOMEM;
    **to = *from;
    (*to)->nlink = 0;
    (*to)->xattrs = NULL;
    if (S_ISREG(from->mode))
        (*to)->content = tarn_tree_content(naive->merged, from->content);
    if (S_ISLNK(from->mode))
        (*to)->target.bytes = tarn_arena_copy(tarn_tree_arena(naive->merged), from->target.bytes,
                                              from->target.length);
    naive->pairs[naive->count++] = (struct pair){ from, *to };
    return join_xattrs(naive, from, *to);
}

static int bring(struct naive *naive, const struct tarn_node *node)
{
    struct tarn_node *directory = tarn_tree_root(naive->merged);
    int ret = node->parent ? find(naive, node->parent, TARN_WALK_MAKE, &directory) : 0;
    if (ret < 0)
        return ret;
    if (!node->inode)
        return find(naive, node, TARN_WALK_MAKE, &directory);
    struct tarn_node *old =
        node->parent ? tarn_tree_child(naive->merged, directory, node->name, node->length)
                     : directory;
    if (old && S_ISDIR(node->inode->mode) && tarn_node_is_directory(old)) {
        set_attributes(node->inode, old->inode);
        old->inode->xattrs = NULL;
        return join_xattrs(naive, node->inode, old->inode);
    }
    struct tarn_inode *inode = twin(naive, node->inode);
    if (inode && (node->inode->mode & S_IFMT) == 0) {
        set_attributes(node->inode, inode);
        ret = join_xattrs(naive, node->inode, inode);
    } else if (!inode) {
        ret = make_inode(naive, node->inode, &inode);
    }
    if (ret < 0)
        return ret;
    if (old)
        tarn_tree_remove(naive->merged, old);
    struct tarn_node *added = NULL;
    ret = tarn_tree_add(naive->merged, directory, node->name, node->length, &added);
    if (ret == 0)
        tarn_node_set_inode(added, inode);
    return ret;
}

int tarn_test_merge_naive(struct tarn_tree *merged, const struct tarn_tree *layer)
{
    struct naive naive = { .merged = merged };
    naive.pairs = calloc((size_t)tarn_tree_count(layer), sizeof *naive.pairs);
    if (!naive.pairs)
        return -ENOMEM;
    struct tarn_node *root = tarn_tree_root(layer);
    int ret = 0;
    for (struct tarn_node *node = root; node && ret == 0; node = tarn_tree_next(node))
        ret = take_away(&naive, node);
    for (struct tarn_node *node = root; node && ret == 0; node = tarn_tree_next(node))
        ret = find_target(&naive, node);
    for (struct tarn_node *node = root; node && ret == 0; node = tarn_tree_next(node))
        if (node->inode || node->implicit)
            ret = bring(&naive, node);
    free(naive.pairs);
    return ret;
}
