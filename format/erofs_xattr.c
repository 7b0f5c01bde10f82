// SPDX-License-Identifier: Apache-2.0
// Xattrs of an inode. A cursor is a position in the inode's xattr area: among the ids of shared
// xattrs, or at an inline entry.
#include <string.h>

#include "format/erofs_reader.h"

// The entry at offset, of which everything must lie below end. *room: its bytes.
static int get_entry(const struct tarn_erofs *erofs, uint64_t offset, uint64_t end,
                     struct tarn_erofs_xattr *xattr, uint32_t *room)
{
    if (!tarn_range_ok(offset, TARN_EROFS_XATTR_ENTRY, end))
        return -EUCLEAN;
    const uint8_t *p = erofs->bytes + offset;
    *xattr = (struct tarn_erofs_xattr){ .name_length = p[0],
                                        .index = p[1],
                                        .length = tarn_get_le16(p + 2),
                                        .name = (const char *)p + TARN_EROFS_XATTR_ENTRY,
                                        .value = p + TARN_EROFS_XATTR_ENTRY + p[0] };
    const uint64_t size = TARN_EROFS_XATTR_ENTRY + xattr->name_length + xattr->length;
    *room = (uint32_t)tarn_round_up(size, TARN_EROFS_XATTR_UNIT);
    const char *prefix = tarn_erofs_xattr_prefix(xattr->index);
    if (!tarn_range_ok(offset, size, end) || !prefix ||
        memchr(xattr->name, '\0', xattr->name_length) ||
        strlen(prefix) + xattr->name_length > TARN_XATTR_NAME_MAX)
        return -EUCLEAN;
    const bool whole = prefix[strlen(prefix) - 1] != '.';
    return whole == (xattr->name_length == 0) ? 0 : -EUCLEAN;
}

int tarn_erofs_xattr(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                     uint32_t *cursor, struct tarn_erofs_xattr *xattr)
{
    if (inode->xattr_length == 0)
        return 0;
    const uint8_t *area = erofs->bytes + inode->xattr_offset;
    const uint32_t ids = TARN_EROFS_XATTR_HEADER + area[4] * (uint32_t)TARN_EROFS_XATTR_UNIT;
    if (*cursor == 0)
        *cursor = TARN_EROFS_XATTR_HEADER;
    if (ids > inode->xattr_length)
        return -EUCLEAN;
    if (*cursor >= inode->xattr_length)
        return 0;
    uint32_t room;
    int ret;
    if (*cursor < ids) {
        const uint64_t id = tarn_get_le32(area + *cursor);
        ret = erofs->xattr_offset == 0
                  ? -EUCLEAN
                  : get_entry(erofs, erofs->xattr_offset + id * TARN_EROFS_XATTR_UNIT,
                              erofs->length, xattr, &room);
        room = TARN_EROFS_XATTR_UNIT;
    } else {
        ret = get_entry(erofs, inode->xattr_offset + *cursor,
                        inode->xattr_offset + inode->xattr_length, xattr, &room);
    }
    if (ret < 0)
        return ret;
    *cursor += room;
    return 1;
}

int tarn_erofs_xattr_get(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                         const char *name, struct tarn_erofs_xattr *xattr)
{
    const char *rest;
    const unsigned index = tarn_erofs_xattr_index(name, &rest);
    if (index == 0 || inode->xattr_length == 0)
        return -ENODATA;
    const size_t length = strlen(rest);
    const uint32_t filter = tarn_get_le32(erofs->bytes + inode->xattr_offset);
    if (filter & UINT32_C(1) << tarn_erofs_xattr_filter_bit(index, rest, length))
        return -ENODATA;
    uint32_t cursor = 0;
    int ret;
    while ((ret = tarn_erofs_xattr(erofs, inode, &cursor, xattr)) > 0)
        if (xattr->index == index && xattr->name_length == length &&
            memcmp(xattr->name, rest, length) == 0)
            return 0;
    return ret < 0 ? ret : -ENODATA;
}
