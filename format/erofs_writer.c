// SPDX-License-Identifier: Apache-2.0
// First everything gets its place (erofs_layout), then one buffer of exactly the planned size is
// filled, each inode at its place.
#include "format/erofs_writer.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "format/erofs.h"
#include "format/erofs_layout.h"
#include "format/erofs_names.h"

struct writer {
    const struct tarn_erofs_plan *plan;
    const struct tarn_erofs_layout *layout;
    uint8_t *image; // zeros, layout->blocks blocks
};

static uint64_t nid_of(const struct writer *writer, const struct tarn_node *node)
{
    return writer->layout->places[node->inode->index - 1].offset / TARN_EROFS_NID_SIZE;
}

static uint8_t *data_block(const struct writer *writer, const struct tarn_erofs_place *place,
                           uint64_t number)
{
    return writer->image + (writer->layout->data_start + place->data_block + number) * TARN_BLOCK;
}

// --- superblock and devices --------------------------------------------------------------------

static void write_devices(const struct writer *writer)
{
    for (uint32_t i = 0; i < writer->plan->device_count; i++) {
        const struct tarn_erofs_device *device = &writer->plan->devices[i];
        uint8_t *slot =
            writer->image + TARN_EROFS_DEVICE_TABLE + (size_t)i * TARN_EROFS_DEVICE_SIZE;
        char hex[TARN_DIGEST_HEX + 1];
        memcpy(slot + TARN_EROFS_DEVICE_TAG, tarn_digest_format_hex(&device->digest, hex),
               TARN_EROFS_DEVICE_TAG_SIZE);
        tarn_put_le32(slot + TARN_EROFS_DEVICE_BLOCKS,
                      (uint32_t)(device->data_length / TARN_BLOCK));
    }
}

static void write_super(const struct writer *writer)
{
    const struct tarn_erofs_layout *layout = writer->layout;
    const uint32_t devices = writer->plan->device_count;
    uint8_t *super = writer->image + TARN_EROFS_SUPER_OFFSET;
    tarn_put_le32(super + TARN_EROFS_SB_MAGIC, TARN_EROFS_MAGIC);
    tarn_put_le32(super + TARN_EROFS_SB_COMPAT, TARN_EROFS_COMPAT_SB_CHKSUM |
                                                    TARN_EROFS_COMPAT_MTIME |
                                                    TARN_EROFS_COMPAT_XATTR_FILTER);
    super[TARN_EROFS_SB_BLOCK_BITS] = TARN_EROFS_BLOCK_BITS;
    tarn_put_le16(super + TARN_EROFS_SB_ROOT_NID,
                  (uint16_t)(layout->places[0].offset / TARN_EROFS_NID_SIZE));
    tarn_put_le64(super + TARN_EROFS_SB_INODES, layout->count);
    tarn_put_le64(super + TARN_EROFS_SB_EPOCH, (uint64_t)layout->epoch);
    tarn_put_le32(super + TARN_EROFS_SB_EPOCH_NS, layout->epoch_ns);
    tarn_put_le32(super + TARN_EROFS_SB_BLOCKS, (uint32_t)layout->blocks);
    tarn_put_le32(super + TARN_EROFS_SB_XATTR_BLOCK, (uint32_t)layout->xattr_block);
    memcpy(super + TARN_EROFS_SB_UUID, writer->plan->tree_digest.bytes, 16);
    tarn_put_le32(super + TARN_EROFS_SB_INCOMPAT,
                  TARN_EROFS_INCOMPAT_CHUNKED_FILE |
                      (devices > 0 ? TARN_EROFS_INCOMPAT_DEVICE_TABLE : 0));
    tarn_put_le16(super + TARN_EROFS_SB_DEVICES, (uint16_t)devices);
    tarn_put_le16(super + TARN_EROFS_SB_DEVICE_TABLE, devices > 0 ? TARN_EROFS_SLOT_OFFSET : 0);
    tarn_put_le32(super + TARN_EROFS_SB_CHECKSUM, tarn_erofs_checksum(writer->image));
}

// --- inodes --------------------------------------------------------------------------------

// The kernel's 32-bit encoding of a device number.
static uint32_t encode_device(const struct tarn_inode *inode)
{
    return (inode->minor & 0xff) | (inode->major << 8) | ((inode->minor & ~UINT32_C(0xff)) << 12);
}

static uint32_t inode_union(const struct writer *writer, const struct tarn_erofs_place *place)
{
    const struct tarn_inode *inode = place->node->inode;
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        return encode_device(inode);
    if (place->layout == TARN_EROFS_LAYOUT_CHUNKED)
        return tarn_erofs_chunk_bits(inode->content) | TARN_EROFS_CHUNK_INDEXES;
    if (tarn_erofs_place_blocks(place) > 0)
        return (uint32_t)(writer->layout->data_start + place->data_block);
    return 0;
}

static void write_inode(const struct writer *writer, uint32_t number)
{
    const struct tarn_erofs_place *place = &writer->layout->places[number];
    const struct tarn_inode *inode = place->node->inode;
    uint8_t *out = writer->image + place->offset;
    tarn_put_le16(
        out + TARN_EROFS_I_FORMAT,
        (uint16_t)(place->layout << 1 | (place->extended ? TARN_EROFS_FORMAT_EXTENDED : 0)));
    tarn_put_le16(out + TARN_EROFS_I_MODE, (uint16_t)inode->mode);
    tarn_put_le32(out + TARN_EROFS_I_UNION, inode_union(writer, place));
    tarn_put_le32(out + TARN_EROFS_I_INO, number + 1);
    if (place->extended) {
        tarn_put_le64(out + TARN_EROFS_I_SIZE, place->size);
        tarn_put_le32(out + TARN_EROFS_I_UID, inode->uid);
        tarn_put_le32(out + TARN_EROFS_I_GID, inode->gid);
        tarn_put_le64(out + TARN_EROFS_I_MTIME, (uint64_t)inode->mtime);
        tarn_put_le32(out + TARN_EROFS_I_MTIME_NS, inode->mtime_ns);
        tarn_put_le32(out + TARN_EROFS_I_NLINK, place->nlink);
    } else {
        tarn_put_le16(out + TARN_EROFS_I_NLINK16, (uint16_t)place->nlink);
        tarn_put_le32(out + TARN_EROFS_I_SIZE, (uint32_t)place->size);
        tarn_put_le16(out + TARN_EROFS_I_UID16, (uint16_t)inode->uid);
        tarn_put_le16(out + TARN_EROFS_I_GID16, (uint16_t)inode->gid);
    }
    if (place->xattrs == 0)
        return;
    const uint64_t length = tarn_erofs_xattr_plan_inline(writer->layout->xattrs, place->xattrs);
    const uint64_t units = (length - TARN_EROFS_XATTR_HEADER) / TARN_EROFS_XATTR_UNIT + 1;
    assert(units <= UINT16_MAX);
    tarn_put_le16(out + TARN_EROFS_I_XATTRS, (uint16_t)units);
    tarn_erofs_xattr_plan_write_inline(
        writer->layout->xattrs, place->xattrs,
        out + (place->extended ? TARN_EROFS_EXTENDED : TARN_EROFS_COMPACT));
}

// --- contents ------------------------------------------------------------------------------

static void put_index(uint8_t *out, uint32_t slot, uint64_t address)
{
    tarn_put_le16(out, 0);
    tarn_put_le16(out + 2, (uint16_t)slot);
    tarn_put_le32(out + 4, (uint32_t)(address / TARN_BLOCK));
}

static void write_indexes(const struct writer *writer, const struct tarn_content *content,
                          uint8_t *out)
{
    const uint64_t stored = tarn_content_stored(content);
    const uint32_t slot = stored > 0 ? writer->plan->slots[content->holder] : 0;
    if (content->kind == TARN_CONTENT_PLAIN) {
        put_index(out, slot, content->address);
        return;
    }
    memset(out, 0xff, tarn_erofs_chunk_count(content) * TARN_EROFS_INDEX);
    const uint64_t unit = tarn_content_unit(content->size);
    uint64_t address = content->address;
    for (uint32_t i = 0; i < content->extent_count; i++) {
        const struct tarn_extent *extent = &content->extents[i];
        for (uint64_t k = 0; k < extent->count; k++, address += unit)
            put_index(out + (extent->first + k) * TARN_EROFS_INDEX, slot, address);
    }
}

static void write_names_block(const struct writer *writer, struct tarn_erofs_names *names,
                              uint8_t *out, uint64_t length)
{
    struct tarn_erofs_names ahead = *names;
    uint32_t bytes;
    const uint32_t count = tarn_erofs_names_block(&ahead, &bytes);
    uint32_t offset = count * TARN_EROFS_DIRENT;
    for (uint32_t i = 0; i < count; i++) {
        struct tarn_erofs_name name;
        const bool more = tarn_erofs_names_next(names, &name);
        assert(more);
        uint8_t *entry = out + (size_t)i * TARN_EROFS_DIRENT;
        tarn_put_le64(entry + TARN_EROFS_D_NID, nid_of(writer, name.node));
        tarn_put_le16(entry + TARN_EROFS_D_NAME, (uint16_t)offset);
        entry[TARN_EROFS_D_TYPE] = (uint8_t)tarn_erofs_file_type(name.node->inode->mode);
        memcpy(out + offset, name.bytes, name.length);
        offset += name.length;
    }
    assert(offset == bytes && bytes <= length && (length == TARN_BLOCK || length == bytes));
}

static void write_directory(const struct writer *writer, const struct tarn_erofs_place *place,
                            uint8_t *tail)
{
    struct tarn_erofs_names names = tarn_erofs_names_start(place->node);
    const uint64_t blocks = tarn_erofs_place_blocks(place);
    for (uint64_t i = 0; i < blocks; i++)
        write_names_block(writer, &names, data_block(writer, place, i), TARN_BLOCK);
    if (place->layout == TARN_EROFS_LAYOUT_INLINE)
        write_names_block(writer, &names, tail, tarn_erofs_place_tail(place));
}

static void write_content(const struct writer *writer, const struct tarn_erofs_place *place)
{
    const struct tarn_inode *inode = place->node->inode;
    const uint64_t head = place->offset + tarn_erofs_place_head(writer->layout, place);
    if (place->layout == TARN_EROFS_LAYOUT_CHUNKED)
        write_indexes(writer, inode->content,
                      writer->image + tarn_round_up(head, TARN_EROFS_INDEX));
    else if (S_ISDIR(inode->mode))
        write_directory(writer, place, writer->image + head);
    else if (S_ISLNK(inode->mode))
        memcpy(place->layout == TARN_EROFS_LAYOUT_INLINE ? writer->image + head
                                                         : data_block(writer, place, 0),
               inode->target.bytes, inode->target.length);
}

int tarn_erofs_write(struct tarn_tree *tree, const struct tarn_erofs_plan *plan,
                     struct tarn_buf *out, uint64_t *inode_count, struct tarn_err *err)
{
    assert(out->length == 0);
    struct tarn_erofs_layout layout;
    int ret = tarn_erofs_layout_make(tree, plan, &layout, err);
    if (ret < 0)
        return ret;
    if (tarn_buf_append_zeros(out, layout.blocks * TARN_BLOCK) != 0) {
        tarn_erofs_layout_release(&layout);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    const struct writer writer = { plan, &layout, out->data };
    write_devices(&writer);
    for (uint32_t i = 0; i < layout.count; i++) {
        write_inode(&writer, i);
        write_content(&writer, &layout.places[i]);
    }
    if (layout.xattr_block > 0)
        tarn_erofs_xattr_plan_write_shared(layout.xattrs,
                                           out->data + layout.xattr_block * TARN_BLOCK);
    write_super(&writer);
    *inode_count = layout.count;
    tarn_erofs_layout_release(&layout);
    return 0;
}
