// SPDX-License-Identifier: Apache-2.0
#include "format/listing.h"

#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/map.h"

enum { PIECE = 64 << 10 };

struct listing {
    struct tarn_hasher *hasher;
    struct tarn_buf piece; // what was not hashed yet, at most PIECE bytes
    struct tarn_buf path;  // of the current node
    struct tarn_map *seen; // first nodes of inodes with several names
};

static void flush(struct listing *listing)
{
    tarn_hasher_update(listing->hasher, listing->piece.data, listing->piece.length);
    listing->piece.length = 0;
}

static void put(struct listing *listing, const void *data, size_t length)
{
    if (length > PIECE - listing->piece.length)
        flush(listing);
    if (length > PIECE) {
        tarn_hasher_update(listing->hasher, data, length);
        return;
    }
    if (length > 0)
        memcpy(listing->piece.data + listing->piece.length, data, length);
    listing->piece.length += length;
}

static void put_u8(struct listing *listing, uint8_t value)
{
    put(listing, &value, sizeof value);
}

static void put_u32(struct listing *listing, uint32_t value)
{
    uint8_t bytes[4];
    tarn_put_le32(bytes, value);
    put(listing, bytes, sizeof bytes);
}

static void put_u64(struct listing *listing, uint64_t value)
{
    uint8_t bytes[8];
    tarn_put_le64(bytes, value);
    put(listing, bytes, sizeof bytes);
}

static void put_string(struct listing *listing, const void *data, size_t length)
{
    put_u32(listing, (uint32_t)length);
    put(listing, data, length);
}

static void put_xattrs(struct listing *listing, const struct tarn_xattr_set *set)
{
    const uint32_t count = set ? set->count : 0;
    put_u32(listing, count);
    for (uint32_t i = 0; i < count; i++) {
        put_string(listing, set->items[i].name, strlen(set->items[i].name));
        put_string(listing, set->items[i].value, set->items[i].length);
    }
}

static void put_inode(struct listing *listing, const struct tarn_inode *inode)
{
    put_u8(listing, 0);
    put_u32(listing, inode->mode);
    put_u32(listing, inode->uid);
    put_u32(listing, inode->gid);
    put_u64(listing, (uint64_t)inode->mtime);
    put_u32(listing, inode->mtime_ns);
    put_u64(listing, (uint64_t)inode->major << 32 | inode->minor);
    put_xattrs(listing, inode->xattrs);
    if (S_ISREG(inode->mode)) {
        put_u8(listing, (uint8_t)inode->content->kind);
        put_u64(listing, inode->content->size);
        put(listing, inode->content->digest.bytes, TARN_DIGEST_SIZE);
    } else if (S_ISLNK(inode->mode)) {
        put_string(listing, inode->target.bytes, inode->target.length);
    }
}

static bool has_inode(const void *inode, const void *value)
{
    return ((const struct tarn_node *)value)->inode == inode;
}

// Yields the node at which this inode was listed, or NULL if it is listed here.
static int find_first(struct listing *listing, struct tarn_node *node,
                      const struct tarn_node **first)
{
    *first = NULL;
    if (node->inode->nlink <= 1)
        return 0;
    const uint64_t hash = tarn_map_hash_address(node->inode);
    *first = tarn_map_get(listing->seen, hash, node->inode, has_inode);
    return *first ? 0 : tarn_map_add(listing->seen, hash, node);
}

static int put_node(struct listing *listing, struct tarn_node *node)
{
    put_string(listing, listing->path.data, listing->path.length);
    const struct tarn_node *first = NULL;
    int ret = find_first(listing, node, &first);
    if (ret < 0)
        return ret;
    if (!first) {
        put_inode(listing, node->inode);
        return 0;
    }
    tarn_autobuf struct tarn_buf path = { 0 };
    ret = tarn_node_path(first, &path);
    if (ret < 0)
        return ret;
    put_u8(listing, 1);
    put_string(listing, path.data, path.length);
    return 0;
}

static void leave(struct listing *listing, const struct tarn_node *node)
{
    if (node->parent)
        listing->path.length -= node->length + (node->parent->parent ? 1U : 0U);
}

static int enter(struct listing *listing, const struct tarn_node *node)
{
    int ret = 0;
    if (node->parent && node->parent->parent)
        ret = tarn_buf_append(&listing->path, "/", 1);
    return ret < 0 ? ret : tarn_buf_append(&listing->path, node->name, node->length);
}

// As tarn_tree_next(), keeping the path.
static struct tarn_node *step(struct listing *listing, const struct tarn_node *node)
{
    if (node->child)
        return node->child;
    leave(listing, node);
    while (node && !node->next) {
        node = node->parent;
        if (node)
            leave(listing, node);
    }
    return node ? node->next : NULL;
}

static int put_all(struct listing *listing, struct tarn_node *root)
{
    put(listing, "tarn tree 1\n", 12);
    for (struct tarn_node *node = root; node; node = step(listing, node)) {
        int ret = enter(listing, node);
        if (ret == 0)
            ret = put_node(listing, node);
        if (ret < 0)
            return ret;
    }
    flush(listing);
    return 0;
}

int tarn_listing_digest(struct tarn_tree *merged, struct tarn_digest *digest)
{
    struct listing listing = { .hasher = tarn_hasher_new(), .seen = tarn_map_new() };
    int ret = listing.hasher && listing.seen ? tarn_buf_reserve(&listing.piece, PIECE) : -ENOMEM;
    if (ret == 0) {
        tarn_tree_sort(merged);
        ret = put_all(&listing, tarn_tree_root(merged));
    }
    if (ret == 0)
        tarn_hasher_finish(listing.hasher, digest);
    tarn_hasher_free(listing.hasher);
    tarn_map_free(listing.seen);
    tarn_buf_release(&listing.piece);
    tarn_buf_release(&listing.path);
    return ret;
}
