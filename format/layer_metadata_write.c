// SPDX-License-Identifier: Apache-2.0
// The index fields of inodes, xattr sets and contents carry their record numbers: the tree is
// walked once for each section, and a thing is new where its number is the next one.
#include <assert.h>

#include "base/bytes.h"
#include "format/layer_metadata_internal.h"

struct writer {
    struct tarn_tree *tree;
    const struct tarn_layer_parameters *parameters;
    const struct tarn_tables *tables;
    struct tarn_buf *out;
    struct tarn_err *err;
    struct tarn_sections sections;
    uint64_t cost; // of the sections so far
    uint32_t inode_count;
    uint32_t set_count;
    uint32_t content_count;
    uint32_t extent_count;
};

static int append(struct writer *writer, const struct tarn_section_form *form, const void *data,
                  size_t length)
{
    writer->cost += tarn_layer_metadata_cost(form->type, length);
    const int ret = tarn_section_append(&writer->sections, writer->out, form, data, length);
    return ret < 0 ? tarn_fail(writer->err, ret, "out of memory") : 0;
}

static int append_columns(struct writer *writer, const struct tarn_section_form *form,
                          const struct tarn_buf *columns)
{
    writer->cost += tarn_layer_metadata_cost(form->type, columns->length);
    const int ret = tarn_section_append_columns(&writer->sections, writer->out, form, columns->data,
                                                columns->length);
    return ret < 0 ? tarn_fail(writer->err, ret, "out of memory") : 0;
}

static int out_of_memory(const struct writer *writer)
{
    return tarn_fail(writer->err, -ENOMEM, "out of memory");
}

static bool has_target(const struct tarn_inode *inode)
{
    return S_ISLNK(inode->mode) || (inode->mode & S_IFMT) == 0;
}

// --- numbering -------------------------------------------------------------------------------

static int fail_content(const struct writer *writer, const struct tarn_node *node, const char *rule)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    if (tarn_node_path(node, &path) < 0)
        return out_of_memory(writer);
    return tarn_fail(writer->err, -EINVAL, "layer metadata: file '%.*s' %s", (int)path.length,
                     path.data ? (const char *)path.data : "", rule);
}

static int clear_numbers(const struct writer *writer)
{
    for (struct tarn_node *node = tarn_tree_root(writer->tree); node; node = tarn_tree_next(node)) {
        struct tarn_inode *inode = node->inode;
        if (!inode)
            continue;
        inode->index = TARN_NONE;
        if (inode->xattrs)
            *tarn_layer_metadata_set_index(inode->xattrs) = TARN_NONE;
        if (!S_ISREG(inode->mode))
            continue;
        if (!inode->content)
            return fail_content(writer, node, "has no content");
        if (inode->content->holder == TARN_NONE)
            return fail_content(writer, node, "has a content without a place");
        inode->content->index = TARN_NONE;
    }
    return 0;
}

static int set_numbers(struct writer *writer)
{
    for (struct tarn_node *node = tarn_tree_root(writer->tree); node; node = tarn_tree_next(node)) {
        struct tarn_inode *inode = node->inode;
        if (!inode || inode->index != TARN_NONE)
            continue;
        inode->index = writer->inode_count++;
        if (inode->xattrs && inode->xattrs->index == TARN_NONE)
            *tarn_layer_metadata_set_index(inode->xattrs) = writer->set_count++;
        if (!S_ISREG(inode->mode) || inode->content->index != TARN_NONE)
            continue;
        inode->content->index = writer->content_count++;
        if (__builtin_add_overflow(writer->extent_count, inode->content->extent_count,
                                   &writer->extent_count))
            return tarn_fail(writer->err, -EINVAL, "layer metadata: too many extents");
    }
    return 0;
}

// The next inode in order, NULL at the end: at the first of its names. Start with *node = the root
// and *index = 0.
static struct tarn_inode *next_inode(struct tarn_node **node, uint32_t *index)
{
    while (*node) {
        struct tarn_inode *inode = (*node)->inode;
        *node = tarn_tree_next(*node);
        if (inode && inode->index == *index) {
            (*index)++;
            return inode;
        }
    }
    return NULL;
}

// --- sections --------------------------------------------------------------------------------

static int write_layer(struct writer *writer)
{
    const struct tarn_layer_parameters *parameters = writer->parameters;
    uint8_t bytes[LAYER_SIZE] = { 0 };
    tarn_put_le32(bytes + LAYER_CHUNKER, TARN_CHUNKER_GEAR);
    tarn_put_le32(bytes + LAYER_MIN, TARN_CHUNK_MIN);
    tarn_put_le32(bytes + LAYER_AVG, TARN_CHUNK_AVG);
    tarn_put_le32(bytes + LAYER_MAX, TARN_CHUNK_MAX);
    tarn_put_le32(bytes + LAYER_NORMALISATION, TARN_CHUNK_NORMALISATION);
    tarn_put_le32(bytes + LAYER_RUN, TARN_RUN_LENGTH);
    tarn_put_le32(bytes + LAYER_PREFIX, TARN_PREFIX_LENGTH);
    tarn_put_le32(bytes + LAYER_COMPRESSION, TARN_COMPRESSION_ZSTD);
    tarn_put_le32(bytes + LAYER_LEVEL, (uint32_t)parameters->level);
    tarn_put_le32(bytes + LAYER_ZSTD, parameters->zstd_version);
    tarn_put_le32(bytes + LAYER_CHAIN_INDEX, parameters->chain_index);
    tarn_put_le64(bytes + LAYER_DATA_LENGTH, parameters->data_length);
    tarn_put_le64(bytes + LAYER_CHUNKS_LENGTH, parameters->chunks_length);
    tarn_put_le32(bytes + LAYER_INODES, writer->inode_count);
    tarn_put_le32(bytes + LAYER_NAMES, (uint32_t)tarn_tree_count(writer->tree));
    tarn_put_le32(bytes + LAYER_CONTENTS, writer->content_count);
    tarn_put_le32(bytes + LAYER_BLOBS, writer->tables->blob_count);
    const struct tarn_section_form form = { TARN_SECTION_LAYER, false, 0 };
    return append(writer, &form, bytes, sizeof bytes);
}

static void put_inode(uint8_t *record, const struct tarn_inode *inode, uint64_t *target)
{
    tarn_put_le32(record + INODE_MODE, inode->mode);
    tarn_put_le32(record + INODE_UID, inode->uid);
    tarn_put_le32(record + INODE_GID, inode->gid);
    tarn_put_le64(record + INODE_MTIME, (uint64_t)inode->mtime);
    tarn_put_le32(record + INODE_MTIME_NS, inode->mtime_ns);
    if (inode->xattrs)
        tarn_put_le32(record + INODE_XATTRS, inode->xattrs->index + 1);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        tarn_put_le64(record + INODE_DEVICE, (uint64_t)inode->major << 32 | inode->minor);
    if (S_ISREG(inode->mode))
        tarn_put_le32(record + INODE_CONTENT, inode->content->index + 1);
    if (!has_target(inode))
        return;
    tarn_put_le64(record + INODE_TARGET, *target);
    tarn_put_le32(record + INODE_TARGET_LENGTH, inode->target.length);
    *target += inode->target.length;
}

static int write_inodes(struct writer *writer)
{
    tarn_autobuf struct tarn_buf columns = { 0 };
    if (tarn_buf_append_zeros(&columns, (size_t)writer->inode_count * INODE_SIZE) < 0)
        return out_of_memory(writer);
    struct tarn_node *node = tarn_tree_root(writer->tree);
    const struct tarn_inode *inode;
    uint64_t target = 0;
    for (uint32_t i = 0; (inode = next_inode(&node, &i));) {
        uint8_t record[INODE_SIZE] = { 0 };
        put_inode(record, inode, &target);
        tarn_section_put_columns(columns.data, writer->inode_count, inode->index, record,
                                 INODE_SIZE);
    }
    const struct tarn_section_form form = { TARN_SECTION_INODES, true, INODE_SIZE };
    return append_columns(writer, &form, &columns);
}

static uint16_t name_flags(const struct tarn_node *node)
{
    const bool implicit = node->implicit || (!node->parent && !node->inode);
    return (uint16_t)((node->whiteout ? NAME_WHITEOUT : 0) | (node->opaque ? NAME_OPAQUE : 0) |
                      (implicit ? NAME_IMPLICIT : 0));
}

// path holds the record numbers from the root down to the node that was written last.
static int put_name(uint8_t *record, const struct tarn_node *node, uint32_t index,
                    struct tarn_buf *path)
{
    uint32_t parent = 0;
    if (path->length > 0)
        memcpy(&parent, path->data + path->length - sizeof parent, sizeof parent);
    tarn_put_le32(record + NAME_PARENT, parent);
    tarn_put_le32(record + NAME_INODE, node->inode ? node->inode->index : TARN_NONE);
    tarn_put_le16(record + NAME_LENGTH, node->length);
    tarn_put_le16(record + NAME_FLAGS, name_flags(node));
    return tarn_buf_append(path, &index, sizeof index);
}

static int write_names(struct writer *writer)
{
    tarn_autobuf struct tarn_buf records = { 0 };
    tarn_autobuf struct tarn_buf path = { 0 };
    if (tarn_buf_append_zeros(&records, tarn_tree_count(writer->tree) * NAME_SIZE) < 0)
        return out_of_memory(writer);
    const struct tarn_node *last = NULL;
    uint32_t index = 0;
    for (const struct tarn_node *node = tarn_tree_root(writer->tree); node;
         node = tarn_tree_next(node), index++) {
        for (; last && last != node->parent; last = last->parent)
            path.length -= sizeof index;
        if (put_name(records.data + (size_t)index * NAME_SIZE, node, index, &path) < 0)
            return out_of_memory(writer);
        last = node;
    }
    assert(index == tarn_tree_count(writer->tree));
    const struct tarn_section_form form = { TARN_SECTION_NAMES, true, NAME_SIZE };
    return append(writer, &form, records.data, records.length);
}

static int write_name_bytes(struct writer *writer)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    for (const struct tarn_node *node = tarn_tree_root(writer->tree); node;
         node = tarn_tree_next(node))
        if (tarn_buf_append(&bytes, node->name, node->length) < 0)
            return out_of_memory(writer);
    const struct tarn_section_form form = { TARN_SECTION_NAME_BYTES, true, 0 };
    return append(writer, &form, bytes.data, bytes.length);
}

static int write_targets(struct writer *writer)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    struct tarn_node *node = tarn_tree_root(writer->tree);
    const struct tarn_inode *inode;
    for (uint32_t i = 0; (inode = next_inode(&node, &i));)
        if (has_target(inode) &&
            tarn_buf_append(&bytes, inode->target.bytes, inode->target.length) < 0)
            return out_of_memory(writer);
    const struct tarn_section_form form = { TARN_SECTION_TARGETS, true, 0 };
    return append(writer, &form, bytes.data, bytes.length);
}

static int append_set(struct tarn_buf *bytes, const struct tarn_xattr_set *set)
{
    int ret = tarn_buf_append_le32(bytes, set->count);
    for (uint32_t i = 0; i < set->count && ret == 0; i++) {
        const struct tarn_xattr *xattr = &set->items[i];
        const size_t length = strlen(xattr->name);
        ret = tarn_buf_append_le32(bytes, (uint32_t)length);
        if (ret == 0)
            ret = tarn_buf_append_le32(bytes, xattr->length);
        if (ret == 0)
            ret = tarn_buf_append(bytes, xattr->name, length);
        if (ret == 0)
            ret = tarn_buf_append(bytes, xattr->value, xattr->length);
    }
    return ret;
}

static int write_xattr_sets(struct writer *writer)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    struct tarn_node *node = tarn_tree_root(writer->tree);
    const struct tarn_inode *inode;
    uint32_t written = 0;
    for (uint32_t i = 0; (inode = next_inode(&node, &i));) {
        if (!inode->xattrs || inode->xattrs->index != written)
            continue;
        written++;
        if (append_set(&bytes, inode->xattrs) < 0)
            return out_of_memory(writer);
    }
    const struct tarn_section_form form = { TARN_SECTION_XATTR_SETS, true, 0 };
    return append(writer, &form, bytes.data, bytes.length);
}

static void put_content(uint8_t *record, const struct tarn_content *content, uint32_t extent)
{
    memcpy(record + CONTENT_DIGEST, content->digest.bytes, TARN_DIGEST_SIZE);
    tarn_put_le64(record + CONTENT_FILE_SIZE, content->size);
    tarn_put_le64(record + CONTENT_ADDRESS, content->address);
    tarn_put_le32(record + CONTENT_KIND, content->kind);
    tarn_put_le32(record + CONTENT_HOLDER, content->holder);
    if (content->kind != TARN_CONTENT_UNITS)
        return;
    tarn_put_le32(record + CONTENT_FIRST_EXTENT, extent);
    tarn_put_le32(record + CONTENT_EXTENTS, content->extent_count);
}

static void put_extents(uint8_t *records, const struct tarn_content *content)
{
    for (uint32_t i = 0; i < content->extent_count; i++, records += EXTENT_SIZE) {
        tarn_put_le32(records, content->extents[i].first);
        tarn_put_le32(records + 4, content->extents[i].count);
    }
}

static int write_contents(struct writer *writer)
{
    tarn_autobuf struct tarn_buf columns = { 0 };
    tarn_autobuf struct tarn_buf units = { 0 };
    if (tarn_buf_append_zeros(&columns, (size_t)writer->content_count * CONTENT_SIZE) < 0 ||
        tarn_buf_append_zeros(&units, (size_t)writer->extent_count * EXTENT_SIZE) < 0)
        return out_of_memory(writer);
    struct tarn_node *node = tarn_tree_root(writer->tree);
    const struct tarn_inode *inode;
    uint32_t written = 0;
    uint32_t extent = 0;
    for (uint32_t i = 0; (inode = next_inode(&node, &i));) {
        if (!S_ISREG(inode->mode) || inode->content->index != written)
            continue;
        uint8_t record[CONTENT_SIZE] = { 0 };
        put_content(record, inode->content, extent);
        tarn_section_put_columns(columns.data, writer->content_count, written++, record,
                                 CONTENT_SIZE);
        if (inode->content->extent_count > 0)
            put_extents(units.data + (size_t)extent * EXTENT_SIZE, inode->content);
        extent += inode->content->extent_count;
    }
    const struct tarn_section_form form = { TARN_SECTION_CONTENTS, true, CONTENT_SIZE };
    const int ret = append_columns(writer, &form, &columns);
    if (ret < 0)
        return ret;
    tarn_buf_release(&columns);
    const struct tarn_section_form units_form = { TARN_SECTION_UNITS, true, EXTENT_SIZE };
    return append(writer, &units_form, units.data, units.length);
}

static int write_rows(struct writer *writer)
{
    const struct tarn_tables *tables = writer->tables;
    const size_t rows = tables->row_count;
    const struct tarn_section_form addresses = { TARN_SECTION_CHUNK_ADDRESSES, true, 8 };
    const struct tarn_section_form locations = { TARN_SECTION_CHUNK_LOCATIONS, true, 8 };
    const struct tarn_section_form digests = { TARN_SECTION_CHUNK_DIGESTS, false, 0 };
    int ret = append(writer, &addresses, tables->addresses, rows * 8);
    if (ret == 0)
        ret = append(writer, &locations, tables->locations, rows * 8);
    return ret < 0 ? ret : append(writer, &digests, tables->digests, rows * TARN_DIGEST_SIZE);
}

static int write_blobs(struct writer *writer)
{
    const struct tarn_section_form form = { TARN_SECTION_BLOBS, true, 0 };
    return append(writer, &form, writer->tables->blobs,
                  (size_t)writer->tables->blob_count * TARN_BLOB_RECORD_SIZE);
}

// What readers would refuse is not written.
static int check_size(const struct writer *writer)
{
    const size_t length = writer->out->length;
    if (length > TARN_METADATA_LIMIT)
        return tarn_fail(writer->err, -EFBIG, "layer metadata: %zu bytes are more than 2^32",
                         length);
    if (tarn_layer_metadata_is_bomb(writer->cost, length))
        return tarn_fail(writer->err, -EFBIG,
                         "layer metadata: %llu bytes compress to %zu, too few: readers would take "
                         "it for a bomb",
                         (unsigned long long)writer->cost, length);
    return 0;
}

int tarn_layer_metadata_write(const struct tarn_layer_parameters *parameters,
                              struct tarn_tree *tree, const struct tarn_tables *tables,
                              struct tarn_buf *out, struct tarn_err *err)
{
    assert(out->length == 0);
    struct writer writer = {
        .tree = tree, .parameters = parameters, .tables = tables, .out = out, .err = err
    };
    tarn_tree_sort(tree);
    int ret = clear_numbers(&writer);
    if (ret == 0)
        ret = set_numbers(&writer);
    int (*const steps[])(struct writer *) = {
        write_layer,   write_blobs,      write_inodes,   write_names, write_name_bytes,
        write_targets, write_xattr_sets, write_contents, write_rows,
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps && ret == 0; i++)
        ret = steps[i](&writer);
    if (ret < 0)
        return ret;
    ret = tarn_sections_finish(&writer.sections, TARN_CONTAINER_METADATA, 0, out);
    return ret < 0 ? out_of_memory(&writer) : check_size(&writer);
}
