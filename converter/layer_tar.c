// SPDX-License-Identifier: Apache-2.0
#include "converter/layer_tar.h"

#include "base/buf.h"
#include "base/map.h"
#include "converter/content_pieces.h"
#include "converter/lower_links.h"
#include "converter/tar_name.h"

enum { BUFFER_SIZE = 256 << 10 };

struct layer_tar {
    struct tarn_tar_writer *writer;
    struct tarn_data_reader *data;
    struct tarn_map *early;  // nodes that were written before their turn
    struct tarn_buf firsts;  // of const struct tarn_node *: the first name of inode->index - 1
    struct tarn_buf path;    // of the current entry
    struct tarn_buf link;    // its target
    struct tarn_buf xattrs;  // of struct tarn_tar_xattr
    struct tarn_buf extents; // of struct tarn_tar_extent
    uint8_t *buffer;         // BUFFER_SIZE
    struct tarn_err *err;
};

static int out_of_memory(const struct layer_tar *tar)
{
    return tarn_fail(tar->err, -ENOMEM, "out of memory");
}

// --- nodes that were written before their turn ---------------------------------------------------
static bool same_node(const void *key, const void *value)
{
    return key == value;
}

static bool is_early(const struct layer_tar *tar, const struct tarn_node *node)
{
    return tarn_map_get(tar->early, tarn_map_hash_address(node), node, same_node);
}

// --- paths ---------------------------------------------------------------------------------------
// Replaces path by that of the node, with a NUL behind it that does not count.
static int set_path(struct tarn_buf *path, const struct tarn_node *node)
{
    path->length = 0;
    int ret = tarn_node_path(node, path);
    if (ret == 0)
        ret = tarn_buf_append_zeros(path, 1);
    if (ret == 0)
        path->length--;
    return ret;
}

// The path of a mark that stands in this directory.
static int set_mark_path(struct tarn_buf *path, const struct tarn_node *directory, const char *mark,
                         const char *name)
{
    path->length = 0;
    int ret = tarn_node_path(directory, path);
    if (ret == 0)
        ret = tarn_buf_printf(path, "%s%s%s", path->length > 0 ? "/" : "", mark, name);
    return ret;
}

static int wrap_path(const struct layer_tar *tar, int code)
{
    char quoted[TARN_TAR_QUOTED];
    return tarn_wrap(tar->err, code, "entry %s",
                     tarn_tar_quote(tar->path.data, tar->path.length, quoted));
}

// --- entries -------------------------------------------------------------------------------------
// An empty file with the path that tar->path holds.
static int write_mark(struct layer_tar *tar)
{
    const struct tarn_tar_entry entry = {
        .path = (const char *)tar->path.data,
        .path_length = tar->path.length,
        .type = S_IFREG,
    };
    return tarn_tar_writer_entry(tar->writer, &entry, tar->err);
}

static int set_xattrs(struct layer_tar *tar, const struct tarn_inode *inode,
                      struct tarn_tar_entry *entry)
{
    const struct tarn_xattr_set *set = inode->xattrs;
    tar->xattrs.length = 0;
    for (uint32_t i = 0; set && i < set->count; i++) {
        const struct tarn_tar_xattr xattr = {
            .name = set->items[i].name,
            .name_length = strlen(set->items[i].name),
            .value = set->items[i].value,
            .length = set->items[i].length,
        };
        if (tarn_buf_append(&tar->xattrs, &xattr, sizeof xattr) < 0)
            return -ENOMEM;
    }
    entry->xattrs = (const void *)tar->xattrs.data;
    entry->xattr_count = set ? set->count : 0;
    return 0;
}

static int set_extents(struct layer_tar *tar, const struct tarn_content *content,
                       struct tarn_tar_entry *entry)
{
    entry->size = content->size;
    entry->sparse = content->kind == TARN_CONTENT_UNITS;
    tar->extents.length = 0;
    if (!entry->sparse)
        return 0;
    struct tarn_content_pieces pieces = tarn_content_pieces_start(content);
    struct tarn_content_piece piece;
    while (tarn_content_pieces_next(&pieces, &piece)) {
        const struct tarn_tar_extent extent = { piece.logical, piece.length };
        if (tarn_buf_append(&tar->extents, &extent, sizeof extent) < 0)
            return -ENOMEM;
    }
    entry->extents = (const void *)tar->extents.data;
    entry->extent_count = tar->extents.length / sizeof *entry->extents;
    return 0;
}

// Makes the entry a hard link if its inode has been written under another name.
static int set_hard_link(struct layer_tar *tar, const struct tarn_node *node,
                         struct tarn_tar_entry *entry)
{
    struct tarn_inode *inode = node->inode;
    if (inode->nlink < 2 || S_ISDIR(inode->mode))
        return 0;
    if (inode->index == 0) {
        inode->index = (uint32_t)(tar->firsts.length / sizeof node) + 1;
        return tarn_buf_append(&tar->firsts, &node, sizeof node);
    }
    const struct tarn_node *first;
    memcpy(&first, tar->firsts.data + (inode->index - 1) * sizeof first, sizeof first);
    const int ret = set_path(&tar->link, first);
    entry->type = TARN_TAR_HARDLINK;
    entry->link = (const char *)tar->link.data;
    entry->link_length = tar->link.length;
    return ret;
}

static int fill_entry(struct layer_tar *tar, const struct tarn_node *node,
                      struct tarn_tar_entry *entry)
{
    const struct tarn_inode *inode = node->inode;
    *entry = (struct tarn_tar_entry){
        .path = (const char *)tar->path.data,
        .path_length = tar->path.length,
        .type = inode->mode & S_IFMT,
        .mode = inode->mode & 07777,
        .uid = inode->uid,
        .gid = inode->gid,
        .mtime = inode->mtime,
        .mtime_ns = inode->mtime_ns,
        .rdev_major = inode->major,
        .rdev_minor = inode->minor,
    };
    if (tarn_node_is_lower_link(node) || S_ISLNK(inode->mode)) {
        entry->link = inode->target.bytes;
        entry->link_length = inode->target.length;
    }
    int ret = set_xattrs(tar, inode, entry);
    if (ret == 0)
        ret = set_hard_link(tar, node, entry);
    if (ret == 0 && S_ISREG(entry->type))
        ret = set_extents(tar, inode->content, entry);
    return ret < 0 ? out_of_memory(tar) : 0;
}

static int write_data(struct layer_tar *tar, const struct tarn_content *content)
{
    struct tarn_content_pieces pieces = tarn_content_pieces_start(content);
    struct tarn_content_piece piece;
    while (tarn_content_pieces_next(&pieces, &piece)) {
        for (uint64_t done = 0; done < piece.length;) {
            const size_t step = (size_t)tarn_min_u64(piece.length - done, BUFFER_SIZE);
            const struct tarn_data_range range = { content->holder, piece.address + done, step };
            int ret = tarn_data_reader_read(tar->data, &range, tar->buffer, tar->err);
            if (ret == 0)
                ret = tarn_tar_writer_data(tar->writer, tar->buffer, step, tar->err);
            if (ret < 0)
                return ret;
            done += step;
        }
    }
    return 0;
}

static int write_entry(struct layer_tar *tar, const struct tarn_node *node)
{
    if (set_path(&tar->path, node) < 0)
        return out_of_memory(tar);
    struct tarn_tar_entry entry;
    int ret = fill_entry(tar, node, &entry);
    if (ret == 0)
        ret = tarn_tar_writer_entry(tar->writer, &entry, tar->err);
    if (ret == 0 && S_ISREG(entry.type))
        ret = write_data(tar, node->inode->content);
    return ret < 0 ? wrap_path(tar, ret) : 0;
}

// A name with all that stands before and behind it.
static int write_node(struct layer_tar *tar, const struct tarn_node *node)
{
    if (node->length >= 4 && memcmp(node->name, ".wh.", 4) == 0) {
        if (set_path(&tar->path, node) < 0)
            return out_of_memory(tar);
        tarn_fail(tar->err, -ENOTSUP, "a layer takes such a name for a whiteout");
        return wrap_path(tar, -ENOTSUP);
    }
    int ret = 0;
    if (node->whiteout) {
        if (set_mark_path(&tar->path, node->parent, ".wh.", node->name) < 0)
            return out_of_memory(tar);
        ret = write_mark(tar);
    }
    if (ret == 0 && node->inode)
        ret = write_entry(tar, node);
    if (ret < 0 || !node->opaque)
        return ret;
    if (set_mark_path(&tar->path, node, ".wh..wh..opq", "") < 0)
        return out_of_memory(tar);
    return write_mark(tar);
}

// --- the tree ------------------------------------------------------------------------------------
static int write_early(struct layer_tar *tar, const struct tarn_buf *order)
{
    int ret = 0;
    for (size_t at = 0; at < order->length && ret == 0; at += sizeof(struct tarn_node *)) {
        struct tarn_node *node;
        memcpy(&node, order->data + at, sizeof node);
        ret = tarn_map_add(tar->early, tarn_map_hash_address(node), node) < 0
                  ? out_of_memory(tar)
                  : write_node(tar, node);
    }
    return ret;
}

static int write_all(struct layer_tar *tar, struct tarn_tree *tree)
{
    tarn_autobuf struct tarn_buf order = { 0 };
    int ret = tarn_lower_links_order(tree, &order, tar->err);
    if (ret == 0)
        ret = write_early(tar, &order);
    for (struct tarn_node *node = tarn_tree_root(tree); node && ret == 0;
         node = tarn_tree_next(node))
        if (!is_early(tar, node))
            ret = write_node(tar, node);
    return ret < 0 ? ret : tarn_tar_writer_finish(tar->writer, tar->err);
}

int tarn_layer_tar_write(struct tarn_tree *tree, struct tarn_data_reader *data,
                         const struct tarn_tar_output *output, struct tarn_err *err)
{
    for (struct tarn_node *node = tarn_tree_root(tree); node; node = tarn_tree_next(node))
        if (node->inode)
            node->inode->index = 0;
    struct layer_tar tar = {
        .writer = tarn_tar_writer_new(output),
        .data = data,
        .early = tarn_map_new(),
        .buffer = malloc(BUFFER_SIZE),
        .err = err,
    };
    const int ret =
        tar.writer && tar.early && tar.buffer ? write_all(&tar, tree) : out_of_memory(&tar);
    tarn_tar_writer_free(tar.writer);
    tarn_map_free(tar.early);
    tarn_buf_release(&tar.firsts);
    tarn_buf_release(&tar.path);
    tarn_buf_release(&tar.link);
    tarn_buf_release(&tar.xattrs);
    tarn_buf_release(&tar.extents);
    free(tar.buffer);
    return ret;
}
