// SPDX-License-Identifier: Apache-2.0
// Inodes and names, into the tree.
#include <assert.h>

#include "base/bytes.h"
#include "format/layer_metadata_internal.h"

// --- inodes ----------------------------------------------------------------------------------

struct inodes {
    struct tarn_layer_metadata_reader *reader;
    struct tarn_bytes targets;
    uint64_t next_target;
    uint32_t next_set;     // the next one that no inode had before
    uint32_t next_content; // likewise
};

static int fail_inode(const struct inodes *inodes, uint32_t index, const char *rule)
{
    return tarn_layer_metadata_fail(inodes->reader, "inodes", index, rule);
}

static bool has_target(uint32_t type)
{
    return type == S_IFLNK || type == 0;
}

static bool type_ok(uint32_t type)
{
    switch (type) {
    case 0:
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
        return true;
    default:
        return false;
    }
}

static bool component_ok(const char *name, size_t length)
{
    if (length == 0 || length > TARN_NAME_MAX)
        return false;
    return !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

// A path without leading slash, as the format allows it.
static bool path_ok(const char *path, size_t length)
{
    if (length > TARN_PATH_LIMIT || memchr(path, '\0', length))
        return false;
    for (const char *end = path + length; path < end;) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        const size_t component = (size_t)((slash ? slash : end) - path);
        if (!component_ok(path, component) || slash == end - 1)
            return false;
        path += component + 1;
    }
    return true;
}

// The fields that every inode has.
static int unpack_inode(const struct inodes *inodes, uint32_t index, const uint8_t *record,
                        struct tarn_inode *inode)
{
    inode->mode = tarn_get_le32(record + INODE_MODE);
    inode->uid = tarn_get_le32(record + INODE_UID);
    inode->gid = tarn_get_le32(record + INODE_GID);
    inode->mtime = (int64_t)tarn_get_le64(record + INODE_MTIME);
    inode->mtime_ns = tarn_get_le32(record + INODE_MTIME_NS);
    if (inode->mode & ~(uint32_t)(S_IFMT | 07777) || !type_ok(inode->mode & S_IFMT))
        return fail_inode(inodes, index, "mode has an unknown type or bits");
    if (tarn_get_le32(record + INODE_ZERO) != 0 || tarn_get_le64(record + INODE_ZERO_END) != 0)
        return fail_inode(inodes, index, "reserved bytes are not zero");
    if (inode->uid == UINT32_MAX || inode->gid == UINT32_MAX)
        return fail_inode(inodes, index, "owner is 2^32 - 1");
    if (inode->mtime_ns >= 1000000000)
        return fail_inode(inodes, index, "mtime has too many nanoseconds");
    const uint64_t device = tarn_get_le64(record + INODE_DEVICE);
    inode->major = (uint32_t)(device >> 32);
    inode->minor = (uint32_t)device;
    if (!S_ISCHR(inode->mode) && !S_ISBLK(inode->mode) && device != 0)
        return fail_inode(inodes, index, "device number of what is no device");
    if (inode->major >= TARN_MAJOR_LIMIT || inode->minor >= TARN_MINOR_LIMIT)
        return fail_inode(inodes, index, "device number is too large");
    return 0;
}

static int take_target(struct inodes *inodes, uint32_t index, const uint8_t *record,
                       struct tarn_inode *inode)
{
    const uint32_t type = inode->mode & S_IFMT;
    const uint64_t offset = tarn_get_le64(record + INODE_TARGET);
    const uint32_t length = tarn_get_le32(record + INODE_TARGET_LENGTH);
    if (!has_target(type))
        return offset || length ? fail_inode(inodes, index, "target of what has none") : 0;
    if (offset != inodes->next_target)
        return fail_inode(inodes, index, "target does not follow the one before");
    if (length == 0 || !tarn_range_ok(offset, length, inodes->targets.length))
        return fail_inode(inodes, index, "target is not in section 0x0106");
    const char *target = (const char *)inodes->targets.data + offset;
    if (type == S_IFLNK && (length > TARN_SYMLINK_MAX || memchr(target, '\0', length)))
        return fail_inode(inodes, index, "symbolic link is too long or has a NUL");
    if (type == 0 && !path_ok(target, length))
        return fail_inode(inodes, index, "target of a lower link is no path");
    struct tarn_arena *arena = tarn_tree_arena(inodes->reader->metadata->tree);
    inode->target.bytes = tarn_arena_copy(arena, target, length);
    if (!inode->target.bytes)
        return tarn_fail(inodes->reader->err, -ENOMEM, "out of memory");
    inode->target.length = length;
    inodes->next_target += length;
    return 0;
}

// Numbers that come first when they are used first: each is one that was there or the next.
static bool take_number(uint32_t number, uint32_t *next, uint32_t count)
{
    if (number > *next || number >= count)
        return false;
    *next += number == *next;
    return true;
}

static int take_xattrs_and_content(struct inodes *inodes, uint32_t index, const uint8_t *record,
                                   struct tarn_inode *inode)
{
    const struct tarn_layer_metadata_reader *reader = inodes->reader;
    const uint32_t set = tarn_get_le32(record + INODE_XATTRS);
    if (set > 0) {
        if (!take_number(set - 1, &inodes->next_set, reader->set_count))
            return fail_inode(inodes, index, "xattr set is not there or out of order");
        inode->xattrs = reader->sets[set - 1];
    }
    const uint32_t content = tarn_get_le32(record + INODE_CONTENT);
    if (!S_ISREG(inode->mode))
        return content ? fail_inode(inodes, index, "content of what is no regular file") : 0;
    if (content == 0 || !take_number(content - 1, &inodes->next_content, reader->content_count))
        return fail_inode(inodes, index, "content is not there or out of order");
    inode->content = reader->contents[content - 1];
    return 0;
}

static int read_inode(struct inodes *inodes, uint32_t index, const uint8_t *record)
{
    struct tarn_layer_metadata_reader *reader = inodes->reader;
    struct tarn_inode *inode = tarn_tree_inode_new(reader->metadata->tree);
    if (!inode)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    reader->inodes[index] = inode;
    inode->index = index;
    int ret = unpack_inode(inodes, index, record, inode);
    if (ret == 0)
        ret = take_xattrs_and_content(inodes, index, record, inode);
    return ret < 0 ? ret : take_target(inodes, index, record, inode);
}

// That nothing stands in the sections that no inode has.
static int check_used(const struct inodes *inodes)
{
    const struct tarn_layer_metadata_reader *reader = inodes->reader;
    if (inodes->next_content < reader->content_count)
        return tarn_layer_metadata_fail(reader, "contents", inodes->next_content,
                                        "no inode has it");
    if (inodes->next_set < reader->set_count)
        return tarn_layer_metadata_fail(reader, "xattr sets", inodes->next_set, "no inode has it");
    return 0;
}

int tarn_layer_metadata_read_inodes(struct tarn_layer_metadata_reader *reader)
{
    tarn_autobuf struct tarn_buf records_buf = { 0 };
    tarn_autobuf struct tarn_buf targets_buf = { 0 };
    struct tarn_bytes records;
    struct inodes inodes = { .reader = reader };
    int ret = tarn_layer_metadata_open(
        reader,
        &(struct tarn_layer_metadata_shape){ TARN_SECTION_INODES, INODE_SIZE, reader->inode_count },
        &records_buf, &records);
    if (ret < 0)
        return ret;
    uint64_t targets = 0;
    for (uint32_t i = 0; i < reader->inode_count; i++) {
        const uint32_t length =
            tarn_get_le32(records.data + (size_t)i * INODE_SIZE + INODE_TARGET_LENGTH);
        if (length > TARN_PATH_LIMIT)
            return fail_inode(&inodes, i, "target is too long");
        targets += length;
    }
    ret = tarn_layer_metadata_open(
        reader, &(struct tarn_layer_metadata_shape){ TARN_SECTION_TARGETS, 1, targets },
        &targets_buf, &inodes.targets);
    if (ret < 0)
        return ret;
    reader->inodes = calloc((size_t)reader->inode_count + 1, sizeof *reader->inodes);
    if (!reader->inodes)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < reader->inode_count && ret == 0; i++)
        ret = read_inode(&inodes, i, records.data + (size_t)i * INODE_SIZE);
    return ret < 0 ? ret : check_used(&inodes);
}

// --- names -----------------------------------------------------------------------------------

struct names {
    struct tarn_layer_metadata_reader *reader;
    struct tarn_bytes bytes;
    uint64_t next_byte;
    uint32_t next_inode;      // the next one that no name had before
    struct tarn_node **nodes; // by record; the records before the current one
    struct tarn_node *last;   // the record before
    uint64_t path_length;     // of last's path
};

static int fail_name(const struct names *names, uint32_t index, const char *rule)
{
    return tarn_layer_metadata_fail(names->reader, "names", index, rule);
}

// Whether the name may stand here: canonical order means that its parent is the record before or
// one above that, and that the child of the parent through which one came is lower.
static int check_order(struct names *names, uint32_t index, uint32_t parent, const char *name,
                       size_t length)
{
    if (parent >= index)
        return fail_name(names, index, "parent stands after it");
    const struct tarn_node *directory = names->nodes[parent];
    assert(directory);
    if (!tarn_node_is_directory(directory))
        return fail_name(names, index, "parent is no directory");
    const struct tarn_node *before = NULL;
    for (; names->last != directory; names->last = names->last->parent) {
        before = names->last;
        assert(before);
        if (!before->parent)
            return fail_name(names, index, "is out of order");
        names->path_length -= before->length + (before->parent->parent ? 1U : 0U);
    }
    if (before) {
        const int order = memcmp(before->name, name, tarn_min_u64(before->length, length));
        if (order > 0 || (order == 0 && before->length > length))
            return fail_name(names, index, "is out of order");
        if (order == 0 && before->length == length)
            return fail_name(names, index, "stands twice");
    }
    names->path_length += length + (directory->parent ? 1 : 0);
    return names->path_length > TARN_PATH_LIMIT ? fail_name(names, index, "path is too long") : 0;
}

static int add_node(struct names *names, uint32_t index, const uint8_t *record,
                    struct tarn_node **node)
{
    struct tarn_tree *tree = names->reader->metadata->tree;
    const uint32_t parent = tarn_get_le32(record + NAME_PARENT);
    const size_t length = tarn_get_le16(record + NAME_LENGTH);
    if (index == 0) {
        *node = tarn_tree_root(tree);
        return parent == 0 && length == 0 ? 0 : fail_name(names, index, "root is not the root");
    }
    if (!tarn_range_ok(names->next_byte, length, names->bytes.length))
        return fail_name(names, index, "name is not in section 0x0105");
    const char *name = (const char *)names->bytes.data + names->next_byte;
    if (length == 0)
        return fail_name(names, index, "name is not allowed");
    int ret = check_order(names, index, parent, name, length);
    if (ret < 0)
        return ret;
    ret = tarn_tree_add(tree, names->nodes[parent], name, length, node);
    if (ret == -EINVAL)
        return fail_name(names, index, "name is not allowed");
    if (ret < 0)
        return tarn_fail(names->reader->err, ret, "out of memory");
    names->next_byte += length;
    return 0;
}

// What the name stands for.
static int set_node(struct names *names, uint32_t index, const uint8_t *record,
                    struct tarn_node *node)
{
    const struct tarn_layer_metadata_reader *reader = names->reader;
    const uint16_t flags = tarn_get_le16(record + NAME_FLAGS);
    const uint32_t number = tarn_get_le32(record + NAME_INODE);
    if (flags & ~(NAME_WHITEOUT | NAME_OPAQUE | NAME_IMPLICIT))
        return fail_name(names, index, "flags are not known");
    node->whiteout = flags & NAME_WHITEOUT;
    node->opaque = flags & NAME_OPAQUE;
    node->implicit = flags & NAME_IMPLICIT && index > 0;
    if (index == 0 && node->whiteout)
        return fail_name(names, index, "root is a whiteout");
    if (number == TARN_NONE) {
        if (!(flags & (NAME_WHITEOUT | NAME_IMPLICIT)) || (index == 0 && !(flags & NAME_IMPLICIT)))
            return fail_name(names, index, "has no inode and no reason to have none");
        if (node->opaque && !(flags & NAME_IMPLICIT))
            return fail_name(names, index, "opaque and no directory");
        return 0;
    }
    if (flags & NAME_IMPLICIT)
        return fail_name(names, index, "implicit directory with an inode");
    if (!take_number(number, &names->next_inode, reader->inode_count))
        return fail_name(names, index, "inode is not there or out of order");
    struct tarn_inode *inode = reader->inodes[number];
    if (node->opaque && !S_ISDIR(inode->mode))
        return fail_name(names, index, "opaque and no directory");
    if (S_ISDIR(inode->mode) && inode->nlink > 0)
        return fail_name(names, index, "directory with a second name");
    if (index == 0 && !S_ISDIR(inode->mode))
        return fail_name(names, index, "root is no directory");
    tarn_node_set_inode(node, inode);
    return 0;
}

static int read_name(struct names *names, uint32_t index, const uint8_t *record)
{
    struct tarn_node *node = NULL;
    const int ret = add_node(names, index, record, &node);
    if (ret < 0)
        return ret;
    assert(node);
    names->nodes[index] = names->last = node;
    return set_node(names, index, record, node);
}

static int check_all_used(const struct names *names)
{
    if (names->next_inode < names->reader->inode_count)
        return tarn_layer_metadata_fail(names->reader, "inodes", names->next_inode, "has no name");
    if (names->next_byte < names->bytes.length)
        return tarn_fail(names->reader->err, -EUCLEAN,
                         "layer metadata: section 0x%04x has bytes behind the last name",
                         TARN_SECTION_NAME_BYTES);
    return 0;
}

int tarn_layer_metadata_read_names(struct tarn_layer_metadata_reader *reader)
{
    tarn_autobuf struct tarn_buf records_buf = { 0 };
    tarn_autobuf struct tarn_buf bytes_buf = { 0 };
    tarn_autofree struct tarn_node **nodes = NULL;
    struct tarn_bytes records;
    struct names names = { .reader = reader };
    int ret = tarn_layer_metadata_open(
        reader,
        &(struct tarn_layer_metadata_shape){ TARN_SECTION_NAMES, NAME_SIZE, reader->name_count },
        &records_buf, &records);
    if (ret < 0)
        return ret;
    ret = tarn_layer_metadata_open(
        reader,
        &(struct tarn_layer_metadata_shape){ TARN_SECTION_NAME_BYTES, 0,
                                             (uint64_t)reader->name_count * TARN_NAME_MAX },
        &bytes_buf, &names.bytes);
    if (ret < 0)
        return ret;
    names.nodes = nodes = calloc(reader->name_count, sizeof *nodes);
    if (!nodes)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < reader->name_count && ret == 0; i++)
        ret = read_name(&names, i, records.data + (size_t)i * NAME_SIZE);
    return ret < 0 ? ret : check_all_used(&names);
}
