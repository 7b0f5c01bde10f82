// SPDX-License-Identifier: Apache-2.0
// Path walks inside the root. A link's target is a further piece to work off before what follows
// the link; the depth of pieces is bounded by the number of links. A component is entered only when
// something below it is asked for, so that `x/../y` neither makes nor replaces x: the container
// tools resolve such names by their letters where x does not exist.
#include "format/tree_internal.h"

#include <string.h>

#include "base/buf.h"

struct piece {
    const char *at;
    const char *end;
};

struct walk {
    struct tarn_tree *tree;
    enum tarn_walk missing;
    bool follow; // the last component too
    struct tarn_node *at;
    unsigned absent; // trailing components that were missing; made, unless TARN_WALK_FAIL
    unsigned links;
    unsigned depth;
    struct piece pieces[TARN_SYMLINK_DEPTH + 1];
    const char *name; // the last component, if it is not to be followed
    size_t length;
    struct tarn_buf *letters; // tarn_tree_resolve(): "/NAME" for each of the absent; else NULL
};

static int make_directory(struct walk *walk, struct tarn_node *node)
{
    if (walk->missing == TARN_WALK_IMPLICIT) {
        // What is no directory here took the place of whatever the layers below have.
        if (node->inode)
            node->whiteout = true;
        tarn_node_set_inode(node, NULL);
        node->implicit = true;
        return 0;
    }
    struct tarn_inode *inode = tarn_tree_inode_new(walk->tree);
    if (!inode)
        return -ENOMEM;
    inode->mode = S_IFDIR | 0755;
    tarn_node_set_inode(node, inode);
    return 0;
}

// Undoes make_directory() of a directory that was missing.
static void unmake_directory(struct walk *walk, struct tarn_node *node)
{
    if (!node->whiteout) {
        tarn_tree_remove(walk->tree, node);
        return;
    }
    tarn_node_set_inode(node, NULL);
    node->implicit = false;
}

// Makes sure that walk->at is a directory.
static int enter(struct walk *walk)
{
    if (walk->missing == TARN_WALK_FAIL && walk->absent > 0)
        return walk->letters ? 0 : -ENOENT;
    if (tarn_node_is_directory(walk->at))
        return 0;
    return walk->missing == TARN_WALK_FAIL ? -ENOTDIR : make_directory(walk, walk->at);
}

static void go_up(struct walk *walk)
{
    struct tarn_node *left = walk->at;
    if (walk->absent > 0) {
        walk->absent--;
        if (walk->letters)
            while (walk->letters->data[--walk->letters->length] != '/')
                ;
        if (walk->missing == TARN_WALK_FAIL)
            return;
        walk->at = left->parent;
        unmake_directory(walk, left);
    } else if (left->parent) {
        walk->at = left->parent;
    }
}

static int follow_link(struct walk *walk, const struct tarn_inode *link)
{
    if (++walk->links > TARN_SYMLINK_DEPTH)
        return -ELOOP;
    const char *target = link->target.bytes;
    walk->pieces[++walk->depth] = (struct piece){ target, target + link->target.length };
    if (link->target.length > 0 && target[0] == '/')
        walk->at = walk->tree->root;
    return 0;
}

// A component that TARN_WALK_FAIL did not find, or that stands below one.
static int miss(struct walk *walk, const char *name, size_t length)
{
    walk->absent++;
    if (!walk->letters)
        return 0;
    const int ret = tarn_buf_append(walk->letters, "/", 1);
    return ret < 0 ? ret : tarn_buf_append(walk->letters, name, length);
}

static int descend(struct walk *walk, const char *name, size_t length)
{
    if (walk->missing == TARN_WALK_FAIL && walk->absent > 0)
        return miss(walk, name, length);
    int ret = enter(walk);
    if (ret < 0)
        return ret;
    struct tarn_node *child = tarn_tree_child(walk->tree, walk->at, name, length);
    if (tarn_node_exists(child)) {
        if (child->inode && S_ISLNK(child->inode->mode))
            return follow_link(walk, child->inode);
        if (walk->letters && !tarn_node_is_directory(child))
            return miss(walk, name, length);
        walk->at = child;
        return 0;
    }
    if (walk->missing == TARN_WALK_FAIL)
        return miss(walk, name, length);
    walk->absent++;
    if (!child) {
        ret = tarn_tree_add(walk->tree, walk->at, name, length, &child);
        if (ret < 0)
            return ret;
    }
    walk->at = child;
    return make_directory(walk, child);
}

static int run(struct walk *walk)
{
    for (;;) {
        struct piece *piece = &walk->pieces[walk->depth];
        while (piece->at < piece->end && *piece->at == '/')
            piece->at++;
        if (piece->at == piece->end) {
            if (walk->depth == 0)
                return 0;
            walk->depth--;
            continue;
        }
        const char *name = piece->at;
        const char *end = memchr(name, '/', (size_t)(piece->end - name));
        piece->at = end ? end : piece->end;
        const size_t length = (size_t)(piece->at - name);
        if (length == 1 && name[0] == '.')
            continue;
        if (length == 2 && name[0] == '.' && name[1] == '.') {
            go_up(walk);
            continue;
        }
        if (!walk->follow && walk->depth == 0 && piece->at == piece->end) {
            walk->name = name;
            walk->length = length;
            return enter(walk);
        }
        const int ret = descend(walk, name, length);
        if (ret < 0)
            return ret;
    }
}

// The length without '/' and "." components at the end, which would hide what is last.
static size_t trim(const char *path, size_t length)
{
    while (length > 0) {
        if (path[length - 1] == '/')
            length--;
        else if (path[length - 1] == '.' && (length == 1 || path[length - 2] == '/'))
            length--;
        else
            break;
    }
    return length;
}

int tarn_tree_walk(struct tarn_tree *tree, const char *path, size_t length, enum tarn_walk missing,
                   struct tarn_walked *walked)
{
    struct walk walk = { .tree = tree, .missing = missing, .at = tree->root };
    walk.pieces[0] = (struct piece){ path, path + trim(path, length) };
    const int ret = run(&walk);
    if (ret < 0)
        return ret;
    if (walk.name) {
        *walked =
            (struct tarn_walked){ .parent = walk.at, .name = walk.name, .length = walk.length };
        walked->node = tarn_tree_child(tree, walk.at, walk.name, walk.length);
        return 0;
    }
    if (missing == TARN_WALK_FAIL && walk.absent > 0)
        return -ENOENT;
    *walked = (struct tarn_walked){
        .parent = walk.at->parent, .node = walk.at, .name = walk.at->name, .length = walk.at->length
    };
    return 0;
}

int tarn_tree_resolve(struct tarn_tree *tree, const char *path, size_t length,
                      struct tarn_buf *resolved)
{
    tarn_autobuf struct tarn_buf letters = { 0 };
    struct walk walk = {
        .tree = tree, .missing = TARN_WALK_FAIL, .at = tree->root, .letters = &letters
    };
    walk.pieces[0] = (struct piece){ path, path + trim(path, length) };
    const size_t start = resolved->length;
    int ret = run(&walk);
    if (ret == 0)
        ret = tarn_node_path(walk.at, resolved);
    if (ret == 0 && walk.name) {
        ret = tarn_buf_append(&letters, "/", 1);
        if (ret == 0)
            ret = tarn_buf_append(&letters, walk.name, walk.length);
    }
    if (ret < 0 || letters.length == 0)
        return ret;
    const size_t skip = resolved->length == start ? 1 : 0; // no slash in front
    return tarn_buf_append(resolved, letters.data + skip, letters.length - skip);
}

int tarn_tree_walk_child(struct tarn_tree *tree, struct tarn_node *parent,
                         const struct tarn_node *named, enum tarn_walk missing,
                         struct tarn_node **directory)
{
    struct walk walk = { .tree = tree, .missing = missing, .follow = true, .at = parent };
    walk.pieces[0] = (struct piece){ named->name, named->name + named->length };
    int ret = run(&walk);
    if (ret == 0)
        ret = enter(&walk);
    if (ret == 0)
        *directory = walk.at;
    return ret;
}
