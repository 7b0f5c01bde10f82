// SPDX-License-Identifier: Apache-2.0
#include "converter/layer_builder.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/map.h"
#include "converter/tar_name.h"
#include "format/erofs.h"

#define WHITEOUT_PREFIX ".wh."
#define OPAQUE_MARK ".wh..wh..opq"
#define AUFS_PREFIX ".wh..wh."

struct tarn_layer_builder {
    struct tarn_layer_builder_setup setup;
    struct tarn_map *lower_links;       // by target: the inode record of all lower links to it
    const struct tarn_tar_entry *entry; // the current one
    struct tarn_inode *file;            // of the current regular file; NULL: no data is expected
    struct tarn_xattr *xattrs;          // room for those of an entry
    size_t xattr_capacity;
    uint64_t dropped_xattrs;
};

struct tarn_layer_builder *tarn_layer_builder_new(const struct tarn_layer_builder_setup *setup)
{
    struct tarn_layer_builder *builder = calloc(1, sizeof *builder);
    if (!builder)
        return NULL;
    builder->setup = *setup;
    builder->lower_links = tarn_map_new();
    if (!builder->lower_links) {
        free(builder);
        return NULL;
    }
    return builder;
}

void tarn_layer_builder_free(struct tarn_layer_builder *builder)
{
    if (!builder)
        return;
    tarn_map_free(builder->lower_links);
    free(builder->xattrs);
    free(builder);
}

uint64_t tarn_layer_builder_dropped_xattrs(const struct tarn_layer_builder *builder)
{
    return builder->dropped_xattrs;
}

// Puts the entry's name before the sentence that err holds.
static int wrap_entry(const struct tarn_layer_builder *builder, int code, struct tarn_err *err)
{
    char quoted[TARN_TAR_QUOTED];
    return tarn_wrap(err, code, "entry %s",
                     tarn_tar_quote(builder->entry->path, builder->entry->path_length, quoted));
}

static int fail_walk(int code, struct tarn_err *err)
{
    if (code == -ELOOP)
        return tarn_fail(err, -EINVAL, "more than %d symbolic links on its way",
                         TARN_SYMLINK_DEPTH);
    return tarn_fail_errno(err, code, "cannot be placed");
}

// --- attributes ----------------------------------------------------------------------------------
static int reserve_xattrs(struct tarn_layer_builder *builder, size_t count)
{
    if (count <= builder->xattr_capacity)
        return 0;
    struct tarn_xattr *xattrs = realloc(builder->xattrs, count * sizeof *xattrs);
    if (!xattrs)
        return -ENOMEM;
    builder->xattrs = xattrs;
    builder->xattr_capacity = count;
    return 0;
}

// Adds the entry's xattrs to those of *set (NULL: none), of which equal names are replaced.
static int add_xattrs(struct tarn_layer_builder *builder, const struct tarn_xattr_set **set,
                      struct tarn_err *err)
{
    const struct tarn_tar_entry *entry = builder->entry;
    if (reserve_xattrs(builder, entry->xattr_count) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory for xattrs");
    uint32_t count = 0;
    for (size_t i = 0; i < entry->xattr_count; i++) {
        const struct tarn_tar_xattr *xattr = &entry->xattrs[i];
        const char *rest;
        if (tarn_erofs_xattr_index(xattr->name, &rest) == 0) {
            builder->dropped_xattrs++;
            continue;
        }
        builder->xattrs[count++] =
            (struct tarn_xattr){ xattr->name, xattr->value, (uint32_t)xattr->length };
    }
    return tarn_tree_join_xattrs(builder->setup.tree, builder->xattrs, count, set, err);
}

// Sets what hard links share with all other entries.
static int set_attributes(struct tarn_layer_builder *builder, struct tarn_inode *inode,
                          struct tarn_err *err)
{
    const struct tarn_tar_entry *entry = builder->entry;
    // Linux has no mode of symbolic links but 0777, whatever an archive says.
    inode->mode = (inode->mode & S_IFMT) | (S_ISLNK(inode->mode) ? 0777 : entry->mode);
    inode->uid = entry->uid;
    inode->gid = entry->gid;
    inode->mtime = entry->mtime;
    inode->mtime_ns = entry->mtime_ns;
    return add_xattrs(builder, &inode->xattrs, err);
}

static int set_target(struct tarn_layer_builder *builder, struct tarn_inode *inode,
                      const void *target, size_t length)
{
    inode->target.length = (uint32_t)length;
    inode->target.bytes = tarn_arena_copy(tarn_tree_arena(builder->setup.tree), target, length);
    return inode->target.bytes ? 0 : -ENOMEM;
}

static int check_device(const struct tarn_tar_entry *entry, struct tarn_err *err)
{
    if (entry->rdev_major < TARN_MAJOR_LIMIT && entry->rdev_minor < TARN_MINOR_LIMIT)
        return 0;
    return tarn_fail(err, -ENOTSUP, "device %u:%u is beyond what Linux numbers (4095:1048575)",
                     entry->rdev_major, entry->rdev_minor);
}

// A new inode for an entry that is no hard link.
static int make_inode(struct tarn_layer_builder *builder, struct tarn_inode **result,
                      struct tarn_err *err)
{
    const struct tarn_tar_entry *entry = builder->entry;
    struct tarn_inode *inode = tarn_tree_inode_new(builder->setup.tree);
    if (!inode)
        return tarn_fail(err, -ENOMEM, "out of memory");
    inode->mode = entry->type;
    int ret = set_attributes(builder, inode, err);
    if (ret < 0)
        return ret;
    switch (entry->type) {
    case S_IFLNK:
        ret = set_target(builder, inode, entry->link, entry->link_length);
        break;
    case S_IFCHR:
    case S_IFBLK:
        ret = check_device(entry, err);
        if (ret < 0)
            return ret;
        inode->major = entry->rdev_major;
        inode->minor = entry->rdev_minor;
        break;
    default:
        break;
    }
    *result = inode;
    return ret < 0 ? tarn_fail(err, ret, "out of memory") : 0;
}

// --- whiteouts -----------------------------------------------------------------------------------
// The entry's path with its last component replaced by name, appended to path.
static int sibling_path(const struct tarn_tar_entry *entry, const char *name, struct tarn_buf *path)
{
    const char *last = strrchr(entry->path, '/');
    const size_t parent = last ? (size_t)(last + 1 - entry->path) : 0;
    const int ret = tarn_buf_append(path, entry->path, parent);
    return ret < 0 ? ret : tarn_buf_append(path, name, strlen(name));
}

// The node that path names, made if it is not there.
static int ensure_node(struct tarn_layer_builder *builder, const struct tarn_buf *path,
                       struct tarn_node **node)
{
    struct tarn_walked walked;
    struct tarn_tree *tree = builder->setup.tree;
    const int ret =
        tarn_tree_walk(tree, (const char *)path->data, path->length, TARN_WALK_IMPLICIT, &walked);
    if (ret < 0)
        return ret;
    *node = walked.node;
    return walked.node ? 0 : tarn_tree_add(tree, walked.parent, walked.name, walked.length, node);
}

static int mark_opaque(struct tarn_layer_builder *builder, struct tarn_err *err)
{
    // Walking to the mark makes its directory; the mark itself gets no node.
    struct tarn_walked walked;
    const int ret = tarn_tree_walk(builder->setup.tree, builder->entry->path,
                                   builder->entry->path_length, TARN_WALK_IMPLICIT, &walked);
    if (ret < 0)
        return fail_walk(ret, err);
    walked.parent->opaque = true;
    return 0;
}

static int mark_whiteout(struct tarn_layer_builder *builder, const char *name, struct tarn_err *err)
{
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return tarn_fail(err, -EINVAL, "a whiteout of '%s' is refused", name);
    tarn_autobuf struct tarn_buf path = { 0 };
    struct tarn_node *node = NULL;
    int ret = sibling_path(builder->entry, name, &path);
    if (ret == 0)
        ret = ensure_node(builder, &path, &node);
    if (ret < 0)
        return fail_walk(ret, err);
    assert(node);
    node->whiteout = true;
    return 0;
}

// --- hard links ----------------------------------------------------------------------------------
static bool same_target(const void *key, const void *value)
{
    const struct tarn_buf *target = key;
    const struct tarn_inode *inode = value;
    return inode->target.length == target->length &&
           memcmp(inode->target.bytes, target->data, target->length) == 0;
}

// The inode record of lower links to this path.
static int lower_link_inode(struct tarn_layer_builder *builder, const struct tarn_buf *target,
                            struct tarn_inode **inode)
{
    const uint64_t hash = XXH3_64bits_withSeed(target->data, target->length, (uintptr_t)builder);
    *inode = tarn_map_get(builder->lower_links, hash, target, same_target);
    if (*inode)
        return 0;
    *inode = tarn_tree_inode_new(builder->setup.tree);
    if (!*inode || set_target(builder, *inode, target->data, target->length) < 0)
        return -ENOMEM;
    return tarn_map_add(builder->lower_links, hash, *inode);
}

// Replaces path by one without links of the own tree, in the clean form of tar_entry.h.
static int resolve(struct tarn_layer_builder *builder, const char *path, size_t length,
                   struct tarn_buf *clean, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf resolved = { 0 };
    const int ret = tarn_tree_resolve(builder->setup.tree, path, length, &resolved);
    if (ret < 0)
        return fail_walk(ret, err);
    return tarn_tar_clean(resolved.data, resolved.length, clean, err);
}

static int refuse_itself(struct tarn_layer_builder *builder, const struct tarn_buf *target,
                         struct tarn_err *err)
{
    const struct tarn_tar_entry *entry = builder->entry;
    tarn_autobuf struct tarn_buf own = { 0 };
    const int ret = resolve(builder, entry->path, entry->path_length, &own, err);
    if (ret < 0)
        return ret;
    if (own.length > 0 && own.length == target->length &&
        memcmp(own.data, target->data, own.length) == 0)
        return tarn_fail(err, -EINVAL, "a hard link to itself is refused");
    return 0;
}

// The inode that a hard link joins: the own tree's, or a lower link's record.
static int find_target(struct tarn_layer_builder *builder, struct tarn_inode **inode,
                       struct tarn_err *err)
{
    const struct tarn_tar_entry *entry = builder->entry;
    char quoted[TARN_TAR_QUOTED];
    struct tarn_walked walked = { 0 };
    int ret = tarn_tree_walk(builder->setup.tree, entry->link, entry->link_length, TARN_WALK_FAIL,
                             &walked);
    if (ret < 0 && ret != -ENOENT && ret != -ENOTDIR)
        return fail_walk(ret, err);
    if (ret == 0 && walked.node && tarn_node_is_directory(walked.node))
        return tarn_fail(err, -EINVAL, "a hard link to %s, a directory, is refused",
                         tarn_tar_quote(entry->link, entry->link_length, quoted));
    const bool own = ret == 0 && walked.node && walked.node->inode;
    tarn_autobuf struct tarn_buf target = { 0 };
    ret = resolve(builder, entry->link, entry->link_length, &target, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "target %s",
                         tarn_tar_quote(entry->link, entry->link_length, quoted));
    ret = refuse_itself(builder, &target, err);
    if (ret < 0)
        return ret;
    if (own) {
        *inode = walked.node->inode;
        return 0;
    }
    return lower_link_inode(builder, &target, inode) < 0 ? tarn_fail(err, -ENOMEM, "out of memory")
                                                         : 0;
}

// --- entries ---------------------------------------------------------------------------------------
// Frees the name for something that is no directory.
static void clear_node(struct tarn_layer_builder *builder, struct tarn_node *node)
{
    tarn_tree_remove_children(builder->setup.tree, node);
    tarn_node_set_inode(node, NULL);
    node->implicit = false;
    node->opaque = false;
}

static int place_entry(struct tarn_layer_builder *builder, struct tarn_inode *inode,
                       struct tarn_err *err)
{
    struct tarn_tree *tree = builder->setup.tree;
    const struct tarn_tar_entry *entry = builder->entry;
    struct tarn_walked walked;
    int ret = tarn_tree_walk(tree, entry->path, entry->path_length, TARN_WALK_IMPLICIT, &walked);
    struct tarn_node *node = walked.node;
    if (ret == 0 && !node)
        ret = tarn_tree_add(tree, walked.parent, walked.name, walked.length, &node);
    if (ret < 0)
        return fail_walk(ret, err);
    if (entry->type != S_IFDIR) {
        clear_node(builder, node);
    } else if (node->inode && !S_ISDIR(node->inode->mode)) {
        // The file that stood here had already taken the place of a directory below.
        node->whiteout = true;
    }
    node->implicit = false;
    tarn_node_set_inode(node, inode);
    return 0;
}

static int add_entry(struct tarn_layer_builder *builder, struct tarn_err *err)
{
    const struct tarn_tar_entry *entry = builder->entry;
    struct tarn_inode *inode = NULL;
    int ret;
    if (entry->path_length == 0 && entry->type != S_IFDIR)
        return tarn_fail(err, -EINVAL, "the root is no directory");
    if (entry->type == TARN_TAR_HARDLINK) {
        ret = find_target(builder, &inode, err);
        if (ret == 0)
            ret = set_attributes(builder, inode, err);
    } else {
        ret = make_inode(builder, &inode, err);
    }
    if (ret == 0)
        ret = place_entry(builder, inode, err);
    if (ret == 0 && entry->type == S_IFREG) {
        builder->file = inode;
        ret = tarn_spool_start(builder->setup.spool, entry->size, err);
    }
    return ret;
}

// One entry takes 20 MiB at most (its xattrs), so that looking before each is enough.
static int check_memory(const struct tarn_layer_builder *builder, struct tarn_err *err)
{
    const uint64_t limit = builder->setup.memory_limit;
    if (tarn_tree_memory(builder->setup.tree) <= limit)
        return 0;
    return tarn_fail(
        err, -EINVAL,
        "the layer's tree takes more than %llu MiB already, too much for a layer of its "
        "size: it is taken for a bomb",
        (unsigned long long)(limit >> 20));
}

int tarn_layer_builder_begin(struct tarn_layer_builder *builder, const struct tarn_tar_entry *entry,
                             struct tarn_err *err)
{
    builder->entry = entry;
    builder->file = NULL;
    const char *last = strrchr(entry->path, '/');
    const char *name = last ? last + 1 : entry->path;
    int ret = check_memory(builder, err);
    if (ret < 0)
        return wrap_entry(builder, ret, err);
    if (!builder->setup.whiteouts || strncmp(name, WHITEOUT_PREFIX, 4) != 0)
        ret = add_entry(builder, err);
    else if (strcmp(name, OPAQUE_MARK) == 0)
        ret = mark_opaque(builder, err);
    else if (strncmp(name, AUFS_PREFIX, strlen(AUFS_PREFIX)) == 0)
        ret = 0; // aufs' own bookkeeping, which every unpacker skips
    else
        ret = mark_whiteout(builder, name + strlen(WHITEOUT_PREFIX), err);
    return ret < 0 ? wrap_entry(builder, ret, err) : 0;
}

int tarn_layer_builder_data(struct tarn_layer_builder *builder, uint64_t offset, const void *bytes,
                            size_t length, struct tarn_err *err)
{
    if (!builder->file)
        return 0;
    const int ret = tarn_spool_write(builder->setup.spool, offset, bytes, length, err);
    return ret < 0 ? wrap_entry(builder, ret, err) : 0;
}

static bool is_placed(void *context, const struct tarn_content *content)
{
    const struct tarn_layer_builder *builder = context;
    return builder->setup.lower && tarn_tree_find_content(builder->setup.lower, content);
}

int tarn_layer_builder_end(struct tarn_layer_builder *builder, struct tarn_err *err)
{
    if (!builder->file)
        return 0;
    const struct tarn_spool_finish finish = { builder->setup.tree, is_placed, builder };
    const int ret = tarn_spool_finish(builder->setup.spool, &finish, &builder->file->content, err);
    builder->file = NULL;
    return ret < 0 ? wrap_entry(builder, ret, err) : 0;
}

// Layers that were packed on aufs may have its directories (.wh..wh.plnk holds what has several names).
// The entries in them are kept until here, because others are hard links to them.
void tarn_layer_builder_finish(struct tarn_layer_builder *builder)
{
    struct tarn_node *next = NULL;
    if (!builder->setup.whiteouts)
        return;
    for (struct tarn_node *node = tarn_tree_root(builder->setup.tree)->child; node; node = next) {
        next = node->next;
        if (strncmp(node->name, AUFS_PREFIX, strlen(AUFS_PREFIX)) == 0)
            tarn_tree_remove(builder->setup.tree, node);
    }
}
