// SPDX-License-Identifier: Apache-2.0
// Superblock, device table and inodes. What tarn_erofs_inode() lets pass is in bounds, so that
// erofs_dir.c, erofs_data.c and erofs_xattr.c need not look again.
#include "format/erofs_reader.h"

#include <string.h>
#include <sys/stat.h>

// --- superblock ----------------------------------------------------------------------------

static int broken(struct tarn_err *err, uint64_t offset, const char *rule)
{
    return tarn_fail(err, -EUCLEAN, "bootstrap offset %llu: superblock: %s",
                     (unsigned long long)offset, rule);
}

static int check_flags(const uint8_t *super, struct tarn_err *err)
{
    const uint32_t compat = tarn_get_le32(super + TARN_EROFS_SB_COMPAT);
    const uint32_t incompat = tarn_get_le32(super + TARN_EROFS_SB_INCOMPAT);
    const uint32_t devices = tarn_get_le16(super + TARN_EROFS_SB_DEVICES);
    const uint32_t known = TARN_EROFS_INCOMPAT_CHUNKED_FILE | TARN_EROFS_INCOMPAT_DEVICE_TABLE;
    const uint32_t wanted =
        TARN_EROFS_INCOMPAT_CHUNKED_FILE | (devices > 0 ? TARN_EROFS_INCOMPAT_DEVICE_TABLE : 0);
    const uint64_t base = TARN_EROFS_SUPER_OFFSET;
    if (incompat & ~known)
        return tarn_fail(err, -ENOTSUP,
                         "bootstrap offset %llu: superblock: unknown incompatible features 0x%x",
                         (unsigned long long)base + TARN_EROFS_SB_INCOMPAT, incompat & ~known);
    if (incompat != wanted)
        return broken(err, base + TARN_EROFS_SB_INCOMPAT, "features and devices do not agree");
    if (compat !=
        (TARN_EROFS_COMPAT_SB_CHKSUM | TARN_EROFS_COMPAT_MTIME | TARN_EROFS_COMPAT_XATTR_FILTER))
        return broken(err, base + TARN_EROFS_SB_COMPAT, "the compatible features are not 7");
    if (super[TARN_EROFS_SB_BLOCK_BITS] != TARN_EROFS_BLOCK_BITS)
        return broken(err, base + TARN_EROFS_SB_BLOCK_BITS, "the block size is not 4096");
    if (tarn_get_le16(super + TARN_EROFS_SB_DEVICE_TABLE) !=
        (devices > 0 ? TARN_EROFS_SLOT_OFFSET : 0))
        return broken(err, base + TARN_EROFS_SB_DEVICE_TABLE,
                      "the device table is not behind the superblock");
    static const struct {
        unsigned offset;
        unsigned length;
    } zeros[] = { { TARN_EROFS_SB_EXTENSIONS, 1 },
                  { TARN_EROFS_SB_META_BLOCK, 4 },
                  { TARN_EROFS_SB_VOLUME, 16 },
                  { TARN_EROFS_SB_COMPRESSION, 2 },
                  { TARN_EROFS_SB_REST, TARN_EROFS_SUPER_SIZE - TARN_EROFS_SB_REST } };
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++)
        if (!tarn_all_zero(super + zeros[i].offset, zeros[i].length))
            return broken(err, base + zeros[i].offset, "a field that must be zero is not");
    return 0;
}

static int check_devices(const struct tarn_erofs *erofs, struct tarn_err *err)
{
    if (!tarn_range_ok(TARN_EROFS_DEVICE_TABLE,
                       (uint64_t)erofs->device_count * TARN_EROFS_DEVICE_SIZE, erofs->length))
        return broken(err, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_DEVICES,
                      "the device table reaches behind the end of the image");
    for (uint32_t slot = 1; slot <= erofs->device_count; slot++) {
        const uint64_t offset =
            TARN_EROFS_DEVICE_TABLE + (uint64_t)(slot - 1) * TARN_EROFS_DEVICE_SIZE;
        const char *rule = NULL;
        const char *tag = (const char *)erofs->bytes + offset;
        for (unsigned i = 0; i < TARN_EROFS_DEVICE_TAG_SIZE && !rule; i++)
            if (tag[i] == '\0' || !strchr("0123456789abcdef", tag[i]))
                rule = "the tag is no digest";
        if (!rule && tarn_get_le32(erofs->bytes + offset + TARN_EROFS_DEVICE_BLOCKS) == 0)
            rule = "the device has no blocks";
        if (!rule && !tarn_all_zero(erofs->bytes + offset + TARN_EROFS_DEVICE_REST,
                                    TARN_EROFS_DEVICE_SIZE - TARN_EROFS_DEVICE_REST))
            rule = "a field that must be zero is not";
        if (rule)
            return tarn_fail(err, -EUCLEAN, "bootstrap offset %llu: device slot %u: %s",
                             (unsigned long long)offset, slot, rule);
    }
    return 0;
}

static int check_numbers(const struct tarn_erofs *erofs, const uint8_t *super, struct tarn_err *err)
{
    const uint64_t base = TARN_EROFS_SUPER_OFFSET;
    if (tarn_get_le32(super + TARN_EROFS_SB_BLOCKS) != erofs->length / TARN_BLOCK)
        return broken(err, base + TARN_EROFS_SB_BLOCKS,
                      "the number of blocks is not that of the image");
    if (erofs->epoch_ns >= 1000000000)
        return broken(err, base + TARN_EROFS_SB_EPOCH_NS, "nanoseconds are out of range");
    if (erofs->xattr_offset >= erofs->length)
        return broken(err, base + TARN_EROFS_SB_XATTR_BLOCK,
                      "the shared xattrs lie behind the end of the image");
    if (erofs->inode_count == 0 || erofs->inode_count > TARN_ENTRIES_LIMIT)
        return broken(err, base + TARN_EROFS_SB_INODES, "the number of inodes is out of range");
    return 0;
}

int tarn_erofs_open(const uint8_t *bytes, uint64_t length, struct tarn_erofs *erofs,
                    struct tarn_err *err)
{
    if (length < TARN_BLOCK || length % TARN_BLOCK != 0)
        return broken(err, 0, "the image is not a number of whole blocks");
    const uint8_t *super = bytes + TARN_EROFS_SUPER_OFFSET;
    if (tarn_get_le32(super + TARN_EROFS_SB_MAGIC) != TARN_EROFS_MAGIC)
        return broken(err, TARN_EROFS_SUPER_OFFSET, "the magic number is not EROFS'");
    if (tarn_get_le32(super + TARN_EROFS_SB_CHECKSUM) != tarn_erofs_checksum(bytes))
        return broken(err, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_CHECKSUM,
                      "the checksum is wrong");
    int ret = check_flags(super, err);
    if (ret < 0)
        return ret;
    *erofs = (struct tarn_erofs){
        .bytes = bytes,
        .length = length,
        .root_nid = tarn_get_le16(super + TARN_EROFS_SB_ROOT_NID),
        .inode_count = tarn_get_le64(super + TARN_EROFS_SB_INODES),
        .epoch = (int64_t)tarn_get_le64(super + TARN_EROFS_SB_EPOCH),
        .epoch_ns = tarn_get_le32(super + TARN_EROFS_SB_EPOCH_NS),
        .xattr_offset = (uint64_t)tarn_get_le32(super + TARN_EROFS_SB_XATTR_BLOCK) * TARN_BLOCK,
        .device_count = tarn_get_le16(super + TARN_EROFS_SB_DEVICES),
    };
    ret = check_numbers(erofs, super, err);
    if (ret == 0)
        ret = check_devices(erofs, err);
    if (ret < 0)
        return ret;
    struct tarn_erofs_inode root;
    const char *rule;
    if (tarn_erofs_inode_explain(erofs, erofs->root_nid, &root, &rule) < 0)
        return tarn_fail(err, -EUCLEAN, "bootstrap offset %llu: inode nid %llu, the root: %s",
                         (unsigned long long)erofs->root_nid * TARN_EROFS_NID_SIZE,
                         (unsigned long long)erofs->root_nid, rule);
    if (!S_ISDIR(root.mode))
        return broken(err, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_ROOT_NID,
                      "the root is no directory");
    return 0;
}

int tarn_erofs_device(const struct tarn_erofs *erofs, uint32_t slot,
                      struct tarn_erofs_device_slot *device)
{
    if (slot == 0 || slot > erofs->device_count)
        return -EINVAL;
    const uint8_t *p =
        erofs->bytes + TARN_EROFS_DEVICE_TABLE + (size_t)(slot - 1) * TARN_EROFS_DEVICE_SIZE;
    memcpy(device->tag, p + TARN_EROFS_DEVICE_TAG, TARN_EROFS_DEVICE_TAG_SIZE);
    device->tag[TARN_EROFS_DEVICE_TAG_SIZE] = '\0';
    device->blocks = tarn_get_le32(p + TARN_EROFS_DEVICE_BLOCKS);
    return 0;
}

// --- inodes --------------------------------------------------------------------------------

// Reads the fields; returns the rule that is broken, or NULL.
static const char *read_compact(const struct tarn_erofs *erofs, const uint8_t *p,
                                struct tarn_erofs_inode *inode)
{
    inode->nlink = tarn_get_le16(p + TARN_EROFS_I_NLINK16);
    inode->size = tarn_get_le32(p + TARN_EROFS_I_SIZE);
    inode->uid = tarn_get_le16(p + TARN_EROFS_I_UID16);
    inode->gid = tarn_get_le16(p + TARN_EROFS_I_GID16);
    inode->mtime = erofs->epoch;
    inode->mtime_ns = erofs->epoch_ns;
    if (tarn_get_le32(p + TARN_EROFS_I_SIZE + 4) != 0 ||
        tarn_get_le32(p + TARN_EROFS_I_REST16) != 0)
        return "a field that must be zero is not";
    return NULL;
}

static const char *read_extended(const uint8_t *p, struct tarn_erofs_inode *inode)
{
    inode->nlink = tarn_get_le32(p + TARN_EROFS_I_NLINK);
    inode->size = tarn_get_le64(p + TARN_EROFS_I_SIZE);
    inode->uid = tarn_get_le32(p + TARN_EROFS_I_UID);
    inode->gid = tarn_get_le32(p + TARN_EROFS_I_GID);
    inode->mtime = (int64_t)tarn_get_le64(p + TARN_EROFS_I_MTIME);
    inode->mtime_ns = tarn_get_le32(p + TARN_EROFS_I_MTIME_NS);
    if (inode->mtime_ns >= 1000000000)
        return "nanoseconds are out of range";
    if (tarn_get_le16(p + TARN_EROFS_I_NLINK16) != 0 ||
        !tarn_all_zero(p + TARN_EROFS_I_REST, TARN_EROFS_EXTENDED - TARN_EROFS_I_REST))
        return "a field that must be zero is not";
    return NULL;
}

static const char *read_chunked(const struct tarn_erofs *erofs, uint32_t value,
                                struct tarn_erofs_inode *inode)
{
    if (inode->size == 0 || inode->size > TARN_FILE_LIMIT)
        return "the size of the chunked file is out of range";
    if ((value & ~(uint32_t)TARN_EROFS_CHUNK_BITS_MASK) != TARN_EROFS_CHUNK_INDEXES)
        return "unknown chunk format";
    inode->chunk_bits = TARN_EROFS_BLOCK_BITS + (value & TARN_EROFS_CHUNK_BITS_MASK);
    inode->data_offset = tarn_round_up(inode->data_offset, TARN_EROFS_INDEX);
    if (!tarn_range_ok(inode->data_offset, tarn_erofs_index_count(inode) * TARN_EROFS_INDEX,
                       erofs->length))
        return "the chunk indexes reach behind the end of the image";
    return NULL;
}

// Blocks of layouts 0 and 2, and the tail.
static const char *read_blocks(const struct tarn_erofs *erofs, uint32_t value,
                               struct tarn_erofs_inode *inode)
{
    const bool is_inline = inode->layout == TARN_EROFS_LAYOUT_INLINE;
    const uint64_t tail = is_inline ? inode->size % TARN_BLOCK : 0;
    if (inode->size > erofs->length)
        return "the size is larger than the image";
    const uint64_t bytes = is_inline ? inode->size - tail : tarn_round_up(inode->size, TARN_BLOCK);
    inode->start_block = value;
    if (!tarn_range_ok((uint64_t)value * TARN_BLOCK, bytes, erofs->length))
        return "the blocks reach behind the end of the image";
    if (bytes == 0 && value != 0)
        return "there is a start block without blocks";
    if (is_inline && tail == 0)
        return "the inline tail is empty";
    if (is_inline && inode->data_offset % TARN_BLOCK + tail > TARN_BLOCK)
        return "the inline tail crosses a block";
    if (!tarn_range_ok(inode->data_offset, tail, erofs->length))
        return "the inline tail reaches behind the end of the image";
    return NULL;
}

static const char *read_layout(const struct tarn_erofs *erofs, uint32_t value,
                               struct tarn_erofs_inode *inode)
{
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        if (inode->layout == TARN_EROFS_LAYOUT_CHUNKED)
            return read_chunked(erofs, value, inode);
        if (inode->layout != TARN_EROFS_LAYOUT_PLAIN || inode->size != 0 || value != 0)
            return "a file with bytes is not chunked";
        return NULL;
    case S_IFDIR:
        if (inode->layout == TARN_EROFS_LAYOUT_CHUNKED || inode->size == 0)
            return "a directory without blocks";
        return read_blocks(erofs, value, inode);
    case S_IFLNK:
        if (inode->layout == TARN_EROFS_LAYOUT_CHUNKED || inode->size == 0 ||
            inode->size > TARN_SYMLINK_MAX)
            return "the length of the symbolic link is out of range";
        return read_blocks(erofs, value, inode);
    case S_IFCHR:
    case S_IFBLK:
        inode->major = value >> 8 & (TARN_MAJOR_LIMIT - 1);
        inode->minor = (value & 0xff) | (value >> 12 & ~UINT32_C(0xff));
        value = 0;
        break;
    case S_IFIFO:
        break;
    default:
        return "unknown file type";
    }
    if (inode->layout != TARN_EROFS_LAYOUT_PLAIN || inode->size != 0 || value != 0)
        return "a device or fifo with contents";
    return NULL;
}

static const char *read_inode(const struct tarn_erofs *erofs, uint64_t nid,
                              struct tarn_erofs_inode *inode)
{
    if (nid >= erofs->length / TARN_EROFS_NID_SIZE)
        return "the inode lies behind the end of the image";
    const uint64_t offset = nid * TARN_EROFS_NID_SIZE;
    const uint8_t *p = erofs->bytes + offset;
    const unsigned format = tarn_get_le16(p + TARN_EROFS_I_FORMAT);
    *inode = (struct tarn_erofs_inode){ .nid = nid,
                                        .extended = format & TARN_EROFS_FORMAT_EXTENDED,
                                        .layout = format >> 1,
                                        .mode = tarn_get_le16(p + TARN_EROFS_I_MODE),
                                        .number = tarn_get_le32(p + TARN_EROFS_I_INO) };
    const uint64_t size = inode->extended ? TARN_EROFS_EXTENDED : TARN_EROFS_COMPACT;
    if (!tarn_range_ok(offset, size, erofs->length))
        return "the inode reaches behind the end of the image";
    if (inode->layout != TARN_EROFS_LAYOUT_PLAIN && inode->layout != TARN_EROFS_LAYOUT_INLINE &&
        inode->layout != TARN_EROFS_LAYOUT_CHUNKED)
        return "unknown layout";
    const char *rule = inode->extended ? read_extended(p, inode) : read_compact(erofs, p, inode);
    if (rule)
        return rule;
    const unsigned units = tarn_get_le16(p + TARN_EROFS_I_XATTRS);
    if (units == 1)
        return "an xattr header without xattrs";
    if (units > 1)
        inode->xattr_length = TARN_EROFS_XATTR_HEADER + (units - 1) * TARN_EROFS_XATTR_UNIT;
    inode->xattr_offset = offset + size;
    inode->data_offset = inode->xattr_offset + inode->xattr_length;
    if (inode->data_offset > erofs->length)
        return "the xattrs reach behind the end of the image";
    return read_layout(erofs, tarn_get_le32(p + TARN_EROFS_I_UNION), inode);
}

int tarn_erofs_inode(const struct tarn_erofs *erofs, uint64_t nid, struct tarn_erofs_inode *inode)
{
    return read_inode(erofs, nid, inode) ? -EUCLEAN : 0;
}

int tarn_erofs_inode_explain(const struct tarn_erofs *erofs, uint64_t nid,
                             struct tarn_erofs_inode *inode, const char **rule)
{
    *rule = read_inode(erofs, nid, inode);
    return *rule ? -EUCLEAN : 0;
}
