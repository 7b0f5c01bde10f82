// SPDX-License-Identifier: Apache-2.0
// Both passes over the layer keep a stack of frames, one for each directory on the way to the
// current name, with the merged directory that it stands for: no path is walked from the root.
//
// Where a link of the merged tree stands for a directory of the layer, the frames above lie
// elsewhere than their names say, and then a name may remove a link or a directory that the frames
// came through, or put something else there: they are stale then, and what remains of them for the
// next name is looked up anew. Without a link that cannot happen, since such a name lies below its frame.
#include "format/merge.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/map.h"

struct frame {
    const struct tarn_node *from;
    struct tarn_node *to; // NULL: there is no such directory (first pass)
    size_t path_length;   // of to
    bool redirected;      // a link stands for this or for a directory below in the stack
};

// What an object of the layer is in the merged tree.
struct twin {
    const void *from;
    void *to;
    const struct tarn_xattr_set *joined; // of a lower link: what its inode had with its xattrs
};

struct merge {
    struct tarn_tree *merged;
    const struct tarn_tree *layer;
    enum tarn_walk missing; // of the running pass
    struct frame *frames;   // owned
    size_t depth;           // number of frames
    size_t capacity;
    bool stale;                 // all frames but the first
    struct tarn_map *twins;     // of inodes with several names, lower links and xattr sets
    struct tarn_arena *scratch; // for the twins
    struct tarn_err *err;
};

static int out_of_memory(struct merge *merge)
{
    return tarn_fail_errno(merge->err, -ENOMEM, "cannot merge the layer");
}

// How much of a path a message shows.
static int shown(size_t length)
{
    return (int)tarn_min_u64(length, 400);
}

// Sets err to "PATH: why", for a node of the layer.
static int fail_at(struct merge *merge, const struct tarn_node *node, int code, const char *why)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    if (tarn_node_path(node, &path) < 0)
        return out_of_memory(merge);
    return tarn_fail(merge->err, code, "'%.*s': %s", shown(path.length), (const char *)path.data,
                     why);
}

// Puts the node's path before what err says.
static int wrap_at(struct merge *merge, const struct tarn_node *node, int code)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    if (tarn_node_path(node, &path) < 0)
        return out_of_memory(merge);
    return tarn_wrap(merge->err, code, "'%.*s'", shown(path.length), (const char *)path.data);
}

// --- twins -----------------------------------------------------------------------------------

static bool twin_equal(const void *from, const void *value)
{
    return ((const struct twin *)value)->from == from;
}

static struct twin *twin_find(const struct merge *merge, const void *from)
{
    return tarn_map_get(merge->twins, tarn_map_hash_address(from), from, twin_equal);
}

static void *twin_get(const struct merge *merge, const void *from)
{
    const struct twin *twin = twin_find(merge, from);
    return twin ? twin->to : NULL;
}

static int twin_add(struct merge *merge, const void *from, void *to)
{
    struct twin *twin = tarn_arena_alloc(merge->scratch, sizeof *twin);
    if (!twin)
        return out_of_memory(merge);
    *twin = (struct twin){ from, to, NULL };
    const int ret = tarn_map_add(merge->twins, tarn_map_hash_address(from), twin);
    return ret < 0 ? out_of_memory(merge) : 0;
}

// --- frames ----------------------------------------------------------------------------------

static struct frame *top(const struct merge *merge)
{
    return &merge->frames[merge->depth - 1];
}

static int push(struct merge *merge, const struct frame *frame)
{
    if (merge->depth == merge->capacity) {
        const size_t capacity = merge->capacity > 0 ? merge->capacity * 2 : 64;
        struct frame *frames = reallocarray(merge->frames, capacity, sizeof *frames);
        if (!frames)
            return out_of_memory(merge);
        merge->frames = frames;
        merge->capacity = capacity;
    }
    merge->frames[merge->depth++] = *frame;
    return 0;
}

static size_t path_length(const struct tarn_node *node)
{
    size_t length = 0;
    for (; node->parent; node = node->parent)
        length += node->length + (node->parent->parent ? 1U : 0U);
    return length;
}

static size_t joined_length(const struct frame *frame, const struct tarn_node *node)
{
    return frame->path_length + (frame->path_length > 0 ? 1 : 0) + node->length;
}

// Looks up what the directory `from` of the layer is, below this frame. The first pass knows
// directories that are not there; the second one makes them.
static int find_directory(struct merge *merge, const struct frame *parent,
                          const struct tarn_node *from, struct frame *found)
{
    *found = (struct frame){ .from = from, .redirected = parent->redirected };
    if (!parent->to)
        return 0;
    int ret = tarn_tree_walk_child(merge->merged, parent->to, from, merge->missing, &found->to);
    if (ret < 0 && merge->missing == TARN_WALK_FAIL && ret != -ENOMEM) {
        found->to = NULL;
        return 0;
    }
    if (ret == -ELOOP)
        return fail_at(merge, from, -EINVAL, "too many symbolic links lead from one to the next");
    if (ret == -EINVAL)
        return fail_at(merge, from, ret, "it leads through a link to a name that is too long");
    if (ret < 0)
        return out_of_memory(merge);
    found->path_length = joined_length(parent, from);
    if (found->to->parent != parent->to || found->to->length != from->length ||
        memcmp(found->to->name, from->name, from->length) != 0) {
        found->redirected = true;
        found->path_length = path_length(found->to);
    }
    return 0;
}

static int refresh(struct merge *merge)
{
    for (size_t i = 1; i < merge->depth; i++) {
        const struct frame *parent = &merge->frames[i - 1];
        struct frame found = { 0 };
        const int ret = find_directory(merge, parent, merge->frames[i].from, &found);
        if (ret < 0)
            return ret;
        merge->frames[i] = found;
    }
    merge->stale = false;
    return 0;
}

// Makes the frame of the directory that holds this node of the layer the top one.
static int return_to_parent(struct merge *merge, const struct tarn_node *node)
{
    while (top(merge)->from != node->parent)
        merge->depth--;
    return merge->stale ? refresh(merge) : 0;
}

// Removes a child of the top frame's directory.
static void remove_child(struct merge *merge, struct tarn_node *node)
{
    if (tarn_node_is_directory(node) || (node->inode && S_ISLNK(node->inode->mode)))
        merge->stale = top(merge)->redirected;
    tarn_tree_remove(merge->merged, node);
}

static int start_pass(struct merge *merge, enum tarn_walk missing)
{
    merge->missing = missing;
    merge->depth = 0;
    merge->stale = false;
    const struct frame root = { .from = tarn_tree_root(merge->layer),
                                .to = tarn_tree_root(merge->merged) };
    return push(merge, &root);
}

// --- step 1: what the layer takes away -------------------------------------------------------

static int take_away(struct merge *merge, const struct tarn_node *node)
{
    int ret = return_to_parent(merge, node);
    if (ret < 0)
        return ret;
    if (node->whiteout && top(merge)->to) {
        struct tarn_node *lower =
            tarn_tree_child(merge->merged, top(merge)->to, node->name, node->length);
        if (lower)
            remove_child(merge, lower);
    }
    if (!node->child && !node->opaque)
        return 0;
    ret = return_to_parent(merge, node);
    struct frame found = { 0 };
    if (ret == 0)
        ret = find_directory(merge, top(merge), node, &found);
    if (ret == 0)
        ret = push(merge, &found);
    if (ret < 0 || !node->opaque || !found.to)
        return ret;
    tarn_tree_remove_children(merge->merged, found.to);
    merge->stale = found.redirected;
    return 0;
}

static int take_all_away(struct merge *merge)
{
    const struct tarn_node *root = tarn_tree_root(merge->layer);
    if (root->opaque)
        tarn_tree_remove_children(merge->merged, tarn_tree_root(merge->merged));
    int ret = start_pass(merge, TARN_WALK_FAIL);
    const struct tarn_node *node = tarn_tree_next(root);
    for (; node && ret == 0; node = tarn_tree_next(node))
        ret = take_away(merge, node);
    return ret;
}

// --- step 2: what the layer links to ---------------------------------------------------------

static int fail_link(struct merge *merge, const struct tarn_node *node, const char *why)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    if (tarn_node_path(node, &path) < 0)
        return out_of_memory(merge);
    return tarn_fail(merge->err, -EINVAL, "hard link '%.*s' to '%.*s': %s", shown(path.length),
                     (const char *)path.data, shown(node->inode->target.length),
                     node->inode->target.bytes, why);
}

static int find_target(struct merge *merge, const struct tarn_node *node)
{
    const struct tarn_inode *link = node->inode;
    struct tarn_walked walked;
    const int ret = tarn_tree_walk(merge->merged, link->target.bytes, link->target.length,
                                   TARN_WALK_FAIL, &walked);
    if (ret < 0 || !walked.node)
        return fail_link(merge, node, "there is no such file in this layer or below");
    if (tarn_node_is_directory(walked.node))
        return fail_link(merge, node, "that is a directory");
    return twin_add(merge, link, walked.node->inode);
}

static bool is_lower_link(const struct tarn_inode *inode)
{
    return (inode->mode & S_IFMT) == 0;
}

static int find_targets(struct merge *merge)
{
    const struct tarn_node *node = tarn_tree_root(merge->layer);
    for (; node; node = tarn_tree_next(node)) {
        if (!node->inode || !is_lower_link(node->inode) || twin_get(merge, node->inode))
            continue;
        const int ret = find_target(merge, node);
        if (ret < 0)
            return ret;
    }
    return 0;
}

// --- step 3: what the layer brings -----------------------------------------------------------

static int copy_xattrs(struct merge *merge, const struct tarn_xattr_set *from,
                       const struct tarn_xattr_set **to)
{
    *to = from ? twin_get(merge, from) : NULL;
    if (!from || *to)
        return 0;
    const int ret = tarn_tree_xattrs(merge->merged, from->items, from->count, to, merge->err);
    if (ret < 0 || !*to)
        return ret;
    return twin_add(merge, from, (void *)(uintptr_t)*to);
}

// Adds the xattrs of a lower link, which win, to those of its inode. Its further names add nothing, unless
// another link changed them since: to look through them for each name could take hours.
static int join_xattrs(struct merge *merge, const struct tarn_xattr_set *from, struct twin *twin)
{
    struct tarn_inode *to = twin->to;
    if (!from || (twin->joined && twin->joined == to->xattrs))
        return 0;
    const int ret = to->xattrs ? tarn_tree_join_xattrs(merge->merged, from->items, from->count,
                                                       &to->xattrs, merge->err)
                               : copy_xattrs(merge, from, &to->xattrs);
    twin->joined = to->xattrs;
    return ret;
}

static void copy_attributes(const struct tarn_inode *from, struct tarn_inode *to)
{
    // The mode bits of a symbolic link mean nothing, and no tool can set them.
    if (!S_ISLNK(to->mode))
        to->mode = (to->mode & S_IFMT) | (from->mode & 07777);
    to->uid = from->uid;
    to->gid = from->gid;
    to->mtime = from->mtime;
    to->mtime_ns = from->mtime_ns;
}

static int copy_inode(struct merge *merge, const struct tarn_inode *from, struct tarn_inode **copy)
{
    struct tarn_inode *to = tarn_tree_inode_new(merge->merged);
    if (!to)
        return out_of_memory(merge);
    to->mode = from->mode;
    to->uid = from->uid;
    to->gid = from->gid;
    to->mtime = from->mtime;
    to->mtime_ns = from->mtime_ns;
    to->major = from->major;
    to->minor = from->minor;
    if (S_ISREG(from->mode)) {
        to->content = tarn_tree_content(merge->merged, from->content);
        if (!to->content)
            return out_of_memory(merge);
    } else if (S_ISLNK(from->mode)) {
        to->target.bytes = tarn_arena_copy(tarn_tree_arena(merge->merged), from->target.bytes,
                                           from->target.length);
        to->target.length = from->target.length;
        if (!to->target.bytes)
            return out_of_memory(merge);
    }
    *copy = to;
    return copy_xattrs(merge, from->xattrs, &to->xattrs);
}

// The merged inode for a node of the layer that is no directory.
static int find_inode(struct merge *merge, const struct tarn_inode *from, struct tarn_inode **found)
{
    if (is_lower_link(from)) {
        struct twin *twin = twin_find(merge, from);
        assert(twin);
        *found = twin->to;
        copy_attributes(from, *found);
        return join_xattrs(merge, from->xattrs, twin);
    }
    *found = from->nlink > 1 ? twin_get(merge, from) : NULL;
    if (*found)
        return 0;
    const int ret = copy_inode(merge, from, found);
    return ret == 0 && from->nlink > 1 ? twin_add(merge, from, *found) : ret;
}

// Makes room for a name in the top frame's directory and adds it, without inode.
static int replace(struct merge *merge, const struct tarn_node *node, struct tarn_node **added)
{
    struct tarn_node *old =
        tarn_tree_child(merge->merged, top(merge)->to, node->name, node->length);
    if (old)
        remove_child(merge, old);
    const int ret = tarn_tree_add(merge->merged, top(merge)->to, node->name, node->length, added);
    if (ret == -EINVAL)
        return fail_at(merge, node, ret, "the name is not possible, or there are too many");
    return ret < 0 ? out_of_memory(merge) : 0;
}

static int bring_leaf(struct merge *merge, const struct tarn_node *node)
{
    struct tarn_inode *inode = NULL;
    int ret = find_inode(merge, node->inode, &inode);
    if (ret < 0)
        return wrap_at(merge, node, ret);
    struct tarn_node *added = NULL;
    ret = replace(merge, node, &added);
    if (ret < 0)
        return ret;
    tarn_node_set_inode(added, inode);
    // It may lie on the way that a link which stands for a frame leads.
    merge->stale = top(merge)->redirected;
    return 0;
}

// A directory's entry applies to a directory that is there, in its place.
static int set_directory(struct merge *merge, const struct tarn_inode *from, struct tarn_inode *to)
{
    copy_attributes(from, to);
    return copy_xattrs(merge, from->xattrs, &to->xattrs);
}

static int bring_directory(struct merge *merge, const struct tarn_node *node)
{
    struct tarn_node *old =
        tarn_tree_child(merge->merged, top(merge)->to, node->name, node->length);
    if (old && tarn_node_is_directory(old))
        return set_directory(merge, node->inode, old->inode);
    struct tarn_node *added = NULL;
    int ret = replace(merge, node, &added);
    if (ret < 0)
        return ret;
    struct tarn_inode *inode = NULL;
    ret = copy_inode(merge, node->inode, &inode);
    if (ret == 0)
        tarn_node_set_inode(added, inode);
    return ret;
}

static int fail_length(struct merge *merge, const struct tarn_node *node)
{
    return fail_at(merge, node, -EINVAL, "the path becomes too long in the merged tree");
}

static int bring(struct merge *merge, const struct tarn_node *node)
{
    if (!tarn_node_exists(node) && !node->child)
        return 0;
    if (!tarn_node_is_directory(node) && node->child)
        return fail_at(merge, node, -EINVAL, "there are names below, but it is no directory");
    int ret = return_to_parent(merge, node);
    if (ret < 0)
        return ret;
    if (joined_length(top(merge), node) > TARN_PATH_LIMIT)
        return fail_length(merge, node);
    if (!tarn_node_is_directory(node))
        return bring_leaf(merge, node);
    ret = node->inode ? bring_directory(merge, node) : 0;
    // Makes an implicit one, or enters the link that stands for it.
    struct frame found = { 0 };
    if (ret == 0)
        ret = find_directory(merge, top(merge), node, &found);
    if (ret < 0)
        return ret;
    if (found.path_length > TARN_PATH_LIMIT)
        return fail_length(merge, node);
    return push(merge, &found);
}

static int bring_all(struct merge *merge)
{
    const struct tarn_node *root = tarn_tree_root(merge->layer);
    int ret = start_pass(merge, TARN_WALK_MAKE);
    if (ret == 0 && root->inode)
        ret = set_directory(merge, root->inode, tarn_tree_root(merge->merged)->inode);
    const struct tarn_node *node = tarn_tree_next(root);
    for (; node && ret == 0; node = tarn_tree_next(node))
        ret = bring(merge, node);
    return ret;
}

struct tarn_tree *tarn_merge_new(void)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *tree = tarn_tree_new();
    struct tarn_inode *inode = tree ? tarn_tree_inode_new(tree) : NULL;
    if (!inode)
        return NULL;
    inode->mode = S_IFDIR | 0755;
    tarn_node_set_inode(tarn_tree_root(tree), inode);
    return tarn_steal(tree);
}

int tarn_merge_layer(struct tarn_tree *merged, const struct tarn_tree *layer, struct tarn_err *err)
{
    struct merge merge = { .merged = merged, .layer = layer, .err = err };
    merge.twins = tarn_map_new();
    merge.scratch = tarn_arena_new();
    int ret = merge.twins && merge.scratch ? 0 : out_of_memory(&merge);
    if (ret == 0)
        ret = take_all_away(&merge);
    if (ret == 0)
        ret = find_targets(&merge);
    if (ret == 0)
        ret = bring_all(&merge);
    free(merge.frames);
    tarn_map_free(merge.twins);
    tarn_arena_free(merge.scratch);
    return ret;
}
