// SPDX-License-Identifier: Apache-2.0
// One hash table serves all directories: its key is the parent's address and the name, so that a
// directory of any size costs the same and small ones cost nothing of their own. Siblings are a
// doubly linked list that grows at its front. What is removed stays in the arena: its pointers stay
// readable, and a walk may hold them.
#include "format/tree_internal.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"

struct key {
    const struct tarn_node *parent;
    const char *name;
    size_t length;
};

static uint64_t key_hash(const struct key *key)
{
    return XXH3_64bits_withSeed(key->name, key->length, (uintptr_t)key->parent);
}

static bool key_equal(const void *key_pointer, const void *value)
{
    const struct key *key = key_pointer;
    const struct tarn_node *node = value;
    return node->parent == key->parent && node->length == key->length &&
           memcmp(node->name, key->name, key->length) == 0;
}

struct tarn_tree *tarn_tree_new(void)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *tree = calloc(1, sizeof *tree);
    if (!tree)
        return NULL;
    tree->arena = tarn_arena_new();
    tree->nodes = tarn_map_new();
    tree->sets = tarn_map_new();
    tree->contents = tarn_map_new();
    if (!tree->arena || !tree->nodes || !tree->sets || !tree->contents)
        return NULL;
    tree->root = tarn_arena_alloc(tree->arena, sizeof *tree->root + 1);
    if (!tree->root)
        return NULL;
    tree->count = 1;
    tree->sorted = true;
    return tarn_steal(tree);
}

void tarn_tree_drop_index(struct tarn_tree *tree)
{
    tarn_map_free(tarn_steal(tree->contents));
    tarn_map_free(tarn_steal(tree->sets));
    tarn_map_free(tarn_steal(tree->nodes));
}

void tarn_tree_free(struct tarn_tree *tree)
{
    if (!tree)
        return;
    tarn_tree_drop_index(tree);
    tarn_arena_free(tree->arena);
    free(tree);
}

struct tarn_node *tarn_tree_root(const struct tarn_tree *tree)
{
    return tree->root;
}

struct tarn_arena *tarn_tree_arena(struct tarn_tree *tree)
{
    return tree->arena;
}

uint64_t tarn_tree_count(const struct tarn_tree *tree)
{
    return tree->count;
}

size_t tarn_tree_memory(const struct tarn_tree *tree)
{
    return tarn_arena_memory(tree->arena) + tarn_map_memory(tree->nodes) +
           tarn_map_memory(tree->sets) + tarn_map_memory(tree->contents);
}

bool tarn_node_exists(const struct tarn_node *node)
{
    return node && (node->inode || node->implicit || !node->parent);
}

bool tarn_node_is_directory(const struct tarn_node *node)
{
    return node->inode ? S_ISDIR(node->inode->mode) : node->implicit || !node->parent;
}

struct tarn_node *tarn_tree_child(const struct tarn_tree *tree, const struct tarn_node *parent,
                                  const char *name, size_t length)
{
    const struct key key = { parent, name, length };
    return tarn_map_get(tree->nodes, key_hash(&key), &key, key_equal);
}

static bool name_ok(const char *name, size_t length)
{
    if (length == 0 || length > TARN_NAME_MAX)
        return false;
    if (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))
        return false;
    return !memchr(name, '/', length) && !memchr(name, '\0', length);
}

int tarn_tree_add(struct tarn_tree *tree, struct tarn_node *parent, const char *name, size_t length,
                  struct tarn_node **node)
{
    if (!name_ok(name, length) || tree->count >= TARN_ENTRIES_LIMIT)
        return -EINVAL;
    struct tarn_node *added =
        tarn_arena_alloc(tree->arena, offsetof(struct tarn_node, name) + length + 1);
    if (!added)
        return -ENOMEM;
    memcpy(added->name, name, length);
    added->length = (uint16_t)length;
    added->parent = parent;
    const struct key key = { parent, added->name, length };
    const int ret = tarn_map_add(tree->nodes, key_hash(&key), added);
    if (ret < 0)
        return ret;
    added->next = parent->child;
    if (added->next)
        added->next->previous = added;
    parent->child = added;
    tree->count++;
    tree->sorted = false;
    *node = added;
    return 0;
}

// The node behind `node` in the subtree of `top`, in the order of the lists.
static struct tarn_node *next_below(const struct tarn_node *top, const struct tarn_node *node)
{
    if (node->child)
        return node->child;
    for (; node != top; node = node->parent)
        if (node->next)
            return node->next;
    return NULL;
}

static void drop(struct tarn_tree *tree, struct tarn_node *node)
{
    const struct key key = { node->parent, node->name, node->length };
    const bool removed = tarn_map_remove(tree->nodes, key_hash(&key), node);
    assert(removed);
    tarn_node_set_inode(node, NULL);
    tree->count--;
}

void tarn_tree_remove_children(struct tarn_tree *tree, struct tarn_node *node)
{
    for (struct tarn_node *i = next_below(node, node); i; i = next_below(node, i))
        drop(tree, i);
    node->child = NULL;
}

void tarn_tree_remove(struct tarn_tree *tree, struct tarn_node *node)
{
    assert(node->parent);
    tarn_tree_remove_children(tree, node);
    if (node->previous)
        node->previous->next = node->next;
    else
        node->parent->child = node->next;
    if (node->next)
        node->next->previous = node->previous;
    drop(tree, node);
}

struct tarn_inode *tarn_tree_inode_new(struct tarn_tree *tree)
{
    return tarn_arena_alloc(tree->arena, sizeof(struct tarn_inode));
}

void tarn_node_set_inode(struct tarn_node *node, struct tarn_inode *inode)
{
    if (inode) {
        inode->nlink++;
        node->implicit = false;
    }
    if (node->inode)
        node->inode->nlink--;
    node->inode = inode;
}

static bool content_equal(const void *key, const void *value)
{
    return tarn_content_same(key, value);
}

const struct tarn_content *tarn_tree_find_content(const struct tarn_tree *tree,
                                                  const struct tarn_content *content)
{
    return tarn_map_get(tree->contents, tarn_content_hash(content, tree), content, content_equal);
}

struct tarn_content *tarn_tree_content(struct tarn_tree *tree, const struct tarn_content *content)
{
    const uint64_t hash = tarn_content_hash(content, tree);
    struct tarn_content *found = tarn_map_get(tree->contents, hash, content, content_equal);
    if (found)
        return found;
    struct tarn_content *made = tarn_arena_alloc(tree->arena, sizeof *made);
    if (!made)
        return NULL;
    *made = *content;
    made->extents = NULL;
    if (content->extent_count > 0) {
        const size_t size = content->extent_count * sizeof *content->extents;
        struct tarn_extent *extents = tarn_arena_alloc(tree->arena, size);
        if (!extents)
            return NULL;
        memcpy(extents, content->extents, size);
        made->extents = extents;
    }
    return tarn_map_add(tree->contents, hash, made) < 0 ? NULL : made;
}

int tarn_node_path(const struct tarn_node *node, struct tarn_buf *buf)
{
    size_t length = 0;
    if (!node->parent)
        return 0;
    for (const struct tarn_node *i = node; i->parent; i = i->parent)
        length += i->length + (i->parent->parent ? 1U : 0U);
    const int ret = tarn_buf_reserve(buf, length);
    if (ret < 0)
        return ret;
    buf->length += length;
    uint8_t *end = buf->data + buf->length;
    for (const struct tarn_node *i = node; i->parent; i = i->parent) {
        end -= i->length;
        memcpy(end, i->name, i->length);
        if (i->parent->parent)
            *--end = '/';
    }
    return 0;
}

uint64_t tarn_tree_content_count(const struct tarn_tree *tree)
{
    return tarn_map_count(tree->contents);
}
