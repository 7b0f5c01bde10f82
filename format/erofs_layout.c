// SPDX-License-Identifier: Apache-2.0
#include "format/erofs_layout.h"

#include "base/bytes.h"
#include "format/erofs_names.h"

void tarn_erofs_layout_release(struct tarn_erofs_layout *layout)
{
    free(layout->places);
    tarn_erofs_xattr_plan_free(layout->xattrs);
    *layout = (struct tarn_erofs_layout){ 0 };
}

// Puts the node's path before what err says.
static int at_path(struct tarn_err *err, int code, const struct tarn_node *node)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    if (tarn_node_path(node, &path) != 0)
        return code;
    return tarn_wrap(err, code, "/%.*s", (int)tarn_min_u64(path.length, 512),
                     path.data ? (const char *)path.data : "");
}

// --- contents ------------------------------------------------------------------------------

unsigned tarn_erofs_chunk_bits(const struct tarn_content *content)
{
    const uint64_t unit =
        content->kind == TARN_CONTENT_UNITS ? tarn_content_unit(content->size) : content->size;
    unsigned bits = 0;
    while (((uint64_t)TARN_BLOCK << bits) < unit)
        bits++;
    return bits;
}

uint64_t tarn_erofs_chunk_count(const struct tarn_content *content)
{
    if (content->kind == TARN_CONTENT_PLAIN)
        return content->size > 0;
    const uint64_t unit = tarn_content_unit(content->size);
    return content->size / unit + (content->size % unit != 0);
}

static bool extents_ok(const struct tarn_content *content)
{
    const uint64_t units = tarn_erofs_chunk_count(content);
    uint64_t end = 0;
    for (uint32_t i = 0; i < content->extent_count; i++) {
        const struct tarn_extent *extent = &content->extents[i];
        if (extent->count == 0 || (i > 0 && extent->first <= end) || extent->first < end ||
            !tarn_range_ok(extent->first, extent->count, units))
            return false;
        end = (uint64_t)extent->first + extent->count;
    }
    return true;
}

static int check_content(const struct tarn_content *content, const struct tarn_erofs_plan *plan,
                         struct tarn_err *err)
{
    if (!content)
        return tarn_fail(err, -EINVAL, "a regular file without content");
    if (content->size > TARN_FILE_LIMIT)
        return tarn_fail(err, -EINVAL, "the file is larger than 8 TiB");
    if (content->kind == TARN_CONTENT_UNITS && (content->size == 0 || !extents_ok(content)))
        return tarn_fail(err, -EINVAL, "the units of the file are out of order");
    const uint64_t stored = tarn_content_stored(content);
    if (stored == 0)
        return 0;
    const uint32_t slot = content->holder < plan->chain_count ? plan->slots[content->holder] : 0;
    if (slot == 0 || slot > plan->device_count)
        return tarn_fail(err, -EINVAL, "no device holds the file's data");
    if (content->address % TARN_BLOCK != 0 ||
        !tarn_range_ok(content->address, stored, plan->devices[slot - 1].data_length))
        return tarn_fail(err, -EINVAL, "the file's data lies outside of its data space");
    return 0;
}

// --- inodes --------------------------------------------------------------------------------

static int check_inode(const struct tarn_node *node, const struct tarn_erofs_plan *plan,
                       struct tarn_err *err)
{
    const struct tarn_inode *inode = node->inode;
    if (node->child && !S_ISDIR(inode->mode))
        return tarn_fail(err, -EINVAL, "names below what is no directory");
    if (inode->mtime_ns >= 1000000000)
        return tarn_fail(err, -EINVAL, "nanoseconds of the mtime are out of range");
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        return check_content(inode->content, plan, err);
    case S_IFLNK:
        if (inode->target.length == 0 || inode->target.length > TARN_SYMLINK_MAX)
            return tarn_fail(err, -EINVAL, "the target's length is not 1 to 4095");
        return 0;
    case S_IFCHR:
    case S_IFBLK:
        if (inode->major >= TARN_MAJOR_LIMIT || inode->minor >= TARN_MINOR_LIMIT)
            return tarn_fail(err, -EINVAL, "device number %u:%u is out of range", inode->major,
                             inode->minor);
        return 0;
    case S_IFDIR:
    case S_IFIFO:
        return 0;
    default:
        return tarn_fail(err, -EINVAL, "file type %o cannot stand in an image",
                         inode->mode & S_IFMT);
    }
}

static int add_place(struct tarn_erofs_layout *layout, const struct tarn_node *node,
                     const struct tarn_erofs_plan *plan, struct tarn_err *err)
{
    int ret = check_inode(node, plan, err);
    if (ret < 0)
        return at_path(err, ret, node);
    struct tarn_erofs_place *place = &layout->places[layout->count];
    *place = (struct tarn_erofs_place){ .node = node, .nlink = node->inode->nlink };
    if (node->inode->xattrs) {
        ret = tarn_erofs_xattr_plan_add(layout->xattrs, node->inode->xattrs, &place->xattrs, err);
        if (ret < 0)
            return at_path(err, ret, node);
    }
    node->inode->index = ++layout->count;
    return 0;
}

// Inode order: a directory's inodes stand together, before those of the directories below it.
static int order_inodes(struct tarn_erofs_layout *layout, const struct tarn_node *root,
                        const struct tarn_erofs_plan *plan, struct tarn_err *err)
{
    if (!root->inode || !S_ISDIR(root->inode->mode))
        return tarn_fail(err, -EINVAL, "the root is no directory");
    for (const struct tarn_node *node = root; node; node = tarn_tree_next(node)) {
        if (!node->inode)
            return at_path(err, tarn_fail(err, -EINVAL, "a name without inode"), node);
        node->inode->index = 0;
    }
    int ret = add_place(layout, root, plan, err);
    for (const struct tarn_node *node = root; node && ret == 0; node = tarn_tree_next(node)) {
        if (!S_ISDIR(node->inode->mode))
            continue;
        uint32_t directories = 0;
        for (const struct tarn_node *child = node->child; child && ret == 0; child = child->next) {
            if (child->inode->index == 0)
                ret = add_place(layout, child, plan, err);
            else if (S_ISDIR(child->inode->mode))
                ret = at_path(err, tarn_fail(err, -EINVAL, "a directory with two names"), child);
            directories += ret == 0 && S_ISDIR(child->inode->mode);
        }
        layout->places[node->inode->index - 1].nlink = 2 + directories;
    }
    return ret;
}

// --- the mtime that most inodes have -----------------------------------------------------------

struct instant {
    int64_t seconds;
    uint32_t ns;
};

static int compare_instants(const void *a, const void *b)
{
    const struct instant *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? -1 : 1;
    return (x->ns > y->ns) - (x->ns < y->ns);
}

static int choose_epoch(struct tarn_erofs_layout *layout)
{
    tarn_autofree struct instant *instants = calloc(layout->count, sizeof *instants);
    if (!instants)
        return -ENOMEM;
    for (uint32_t i = 0; i < layout->count; i++) {
        const struct tarn_inode *inode = layout->places[i].node->inode;
        instants[i] = (struct instant){ inode->mtime, inode->mtime_ns };
    }
    qsort(instants, layout->count, sizeof *instants, compare_instants);
    uint32_t most = 0;
    for (uint32_t i = 0, end; i < layout->count; i = end) {
        for (end = i + 1; end < layout->count; end++)
            if (compare_instants(&instants[i], &instants[end]) != 0)
                break;
        if (end - i <= most)
            continue;
        most = end - i;
        layout->epoch = instants[i].seconds;
        layout->epoch_ns = instants[i].ns;
    }
    return 0;
}

// --- sizes and places ------------------------------------------------------------------------

static uint64_t directory_size(const struct tarn_node *directory)
{
    struct tarn_erofs_names names = tarn_erofs_names_start(directory);
    uint64_t size = 0;
    uint32_t bytes;
    while (tarn_erofs_names_block(&names, &bytes) > 0)
        size = tarn_round_up(size, TARN_BLOCK) + bytes;
    return size;
}

static uint64_t inode_size(const struct tarn_node *node)
{
    switch (node->inode->mode & S_IFMT) {
    case S_IFREG:
        return node->inode->content->size;
    case S_IFDIR:
        return directory_size(node);
    case S_IFLNK:
        return node->inode->target.length;
    default:
        return 0;
    }
}

static bool needs_extended(const struct tarn_erofs_layout *layout,
                           const struct tarn_erofs_place *place)
{
    const struct tarn_inode *inode = place->node->inode;
    return inode->uid > UINT16_MAX || inode->gid > UINT16_MAX || place->nlink > UINT16_MAX ||
           place->size > UINT32_MAX || inode->mtime != layout->epoch ||
           inode->mtime_ns != layout->epoch_ns;
}

uint64_t tarn_erofs_place_head(const struct tarn_erofs_layout *layout,
                               const struct tarn_erofs_place *place)
{
    const uint64_t size = place->extended ? TARN_EROFS_EXTENDED : TARN_EROFS_COMPACT;
    return place->xattrs ? size + tarn_erofs_xattr_plan_inline(layout->xattrs, place->xattrs)
                         : size;
}

uint64_t tarn_erofs_place_blocks(const struct tarn_erofs_place *place)
{
    if (place->layout == TARN_EROFS_LAYOUT_CHUNKED)
        return 0;
    return (place->layout == TARN_EROFS_LAYOUT_INLINE ? place->size
                                                      : tarn_round_up(place->size, TARN_BLOCK)) /
           TARN_BLOCK;
}

uint64_t tarn_erofs_place_tail(const struct tarn_erofs_place *place)
{
    return place->layout == TARN_EROFS_LAYOUT_INLINE ? place->size % TARN_BLOCK : 0;
}

// Gives the inode its layout and its place at or behind *end.
static int put_inode(struct tarn_erofs_layout *layout, struct tarn_erofs_place *place,
                     uint64_t *end, struct tarn_err *err)
{
    const struct tarn_inode *inode = place->node->inode;
    place->size = inode_size(place->node);
    place->extended = needs_extended(layout, place);
    const uint64_t head = tarn_erofs_place_head(layout, place);
    int ret;
    if (place->xattrs &&
        tarn_erofs_xattr_plan_inline(layout->xattrs, place->xattrs) > TARN_EROFS_XATTR_INLINE_MAX) {
        ret = tarn_fail(err, -EINVAL, "the xattrs take more than %d bytes",
                        TARN_EROFS_XATTR_INLINE_MAX);
        return at_path(err, ret, place->node);
    }
    place->offset = tarn_round_up(*end, TARN_EROFS_NID_SIZE);
    *end = place->offset + head;
    if (S_ISREG(inode->mode)) {
        if (place->size == 0)
            return 0;
        place->layout = TARN_EROFS_LAYOUT_CHUNKED;
        *end = tarn_round_up(*end, TARN_EROFS_INDEX) +
               tarn_erofs_chunk_count(inode->content) * TARN_EROFS_INDEX;
        return 0;
    }
    const uint64_t tail = place->size % TARN_BLOCK;
    if (place->size == 0 || tail == 0 || head + tail > TARN_BLOCK)
        return 0;
    place->layout = TARN_EROFS_LAYOUT_INLINE;
    if (place->offset % TARN_BLOCK + head + tail > TARN_BLOCK)
        place->offset = tarn_round_up(place->offset, TARN_BLOCK);
    *end = place->offset + head + tail;
    return 0;
}

// The first inode lies behind the device table.
static uint64_t root_offset(const struct tarn_erofs_plan *plan)
{
    return TARN_EROFS_DEVICE_TABLE + (uint64_t)plan->device_count * TARN_EROFS_DEVICE_SIZE;
}

// The root may lie in the block behind that offset, for its tail.
static int check_root(const struct tarn_erofs_plan *plan, uint64_t offset, struct tarn_err *err)
{
    if (offset / TARN_EROFS_NID_SIZE <= TARN_EROFS_ROOT_NID_MAX)
        return 0;
    return tarn_fail(err, -EINVAL, "%u devices are too many: the root's nid has 16 bits",
                     plan->device_count);
}

static int check_devices(const struct tarn_erofs_plan *plan, struct tarn_err *err)
{
    const int ret = check_root(plan, root_offset(plan), err);
    if (ret < 0)
        return ret;
    for (uint32_t i = 0; i < plan->device_count; i++) {
        const uint64_t length = plan->devices[i].data_length;
        if (length == 0 || length % TARN_BLOCK != 0 || length > TARN_DATA_SPACE_LIMIT)
            return tarn_fail(err, -EINVAL, "device %u has a wrong length", i + 1);
    }
    return 0;
}

static int put_all(struct tarn_erofs_layout *layout, const struct tarn_erofs_plan *plan,
                   struct tarn_err *err)
{
    uint64_t end = root_offset(plan);
    uint64_t data = 0;
    for (uint32_t i = 0; i < layout->count; i++) {
        struct tarn_erofs_place *place = &layout->places[i];
        int ret = put_inode(layout, place, &end, err);
        if (ret == 0 && i == 0)
            ret = check_root(plan, place->offset, err);
        if (ret < 0)
            return ret;
        place->data_block = data;
        data += tarn_erofs_place_blocks(place);
    }
    const uint64_t inodes = tarn_round_up(end, TARN_BLOCK) / TARN_BLOCK;
    const uint64_t shared = tarn_erofs_xattr_plan_shared(layout->xattrs);
    layout->xattr_block = shared > 0 ? inodes : 0;
    layout->data_start = inodes + tarn_round_up(shared, TARN_BLOCK) / TARN_BLOCK;
    layout->blocks = layout->data_start + data;
    if (layout->blocks > UINT32_MAX)
        return tarn_fail(err, -ENOTSUP, "the image's metadata takes more than 16 TiB");
    return 0;
}

int tarn_erofs_layout_make(struct tarn_tree *tree, const struct tarn_erofs_plan *plan,
                           struct tarn_erofs_layout *layout, struct tarn_err *err)
{
    *layout = (struct tarn_erofs_layout){ 0 };
    const uint64_t names = tarn_tree_count(tree);
    if (names > TARN_ENTRIES_LIMIT)
        return tarn_fail(err, -EINVAL, "the tree has more than 2^31 names");
    int ret = check_devices(plan, err);
    if (ret < 0)
        return ret;
    layout->places = calloc(names, sizeof *layout->places);
    layout->xattrs = tarn_erofs_xattr_plan_new();
    ret = layout->places && layout->xattrs ? 0 : -ENOMEM;
    if (ret == 0)
        ret = order_inodes(layout, tarn_tree_root(tree), plan, err);
    if (ret == 0)
        ret = tarn_erofs_xattr_plan_close(layout->xattrs, err);
    if (ret == 0)
        ret = choose_epoch(layout);
    if (ret == 0)
        ret = put_all(layout, plan, err);
    if (ret == -ENOMEM)
        (void)tarn_fail(err, ret, "out of memory");
    if (ret < 0)
        tarn_erofs_layout_release(layout);
    return ret;
}
