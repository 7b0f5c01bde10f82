// SPDX-License-Identifier: Apache-2.0
// The xattrs of one inode: header, order, filter, padding, and the shared ones' places.
#include <string.h>

#include "format/verify_internal.h"

struct area {
    struct tarn_verify *verify;
    const struct tarn_erofs_inode *inode;
    uint32_t ids_end; // in the inode's xattr area
    uint32_t filter;
};

static int broken(const struct area *area, uint64_t offset, const char *rule)
{
    return tarn_verify_broken(area->verify, offset, "inode nid %llu: %s",
                              (unsigned long long)area->inode->nid, rule);
}

static uint64_t offset_of(const struct area *area, const struct tarn_erofs_xattr *xattr)
{
    return (uint64_t)((const uint8_t *)xattr->name - area->verify->erofs->bytes) -
           TARN_EROFS_XATTR_ENTRY;
}

static int compare(const struct tarn_erofs_xattr *a, const struct tarn_erofs_xattr *b)
{
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    const size_t common = a->name_length < b->name_length ? a->name_length : b->name_length;
    const int order = memcmp(a->name, b->name, common);
    return order != 0 ? order
                      : (a->name_length > b->name_length) - (a->name_length < b->name_length);
}

// A shared xattr lies where one began before, or directly behind all that were used before.
static int check_shared(struct area *area, const struct tarn_erofs_xattr *xattr, uint64_t room)
{
    struct tarn_verify *verify = area->verify;
    const uint64_t offset = offset_of(area, xattr);
    const uint64_t start = offset - verify->erofs->xattr_offset;
    const uint64_t id = start / TARN_EROFS_XATTR_UNIT;
    if (start == verify->shared_bytes) {
        verify->shared[id / 8] |= (uint8_t)(1 << id % 8);
        verify->shared_bytes += room;
        return 0;
    }
    return verify->shared[id / 8] & 1 << id % 8
               ? 0
               : broken(area, offset, "a shared xattr is out of place");
}

static int check_entry(struct area *area, const struct tarn_erofs_xattr *xattr, bool shared)
{
    const uint64_t size = TARN_EROFS_XATTR_ENTRY + xattr->name_length + xattr->length;
    const uint64_t room = tarn_round_up(size, TARN_EROFS_XATTR_UNIT);
    const uint64_t offset = offset_of(area, xattr);
    const uint32_t shared_count = (area->ids_end - TARN_EROFS_XATTR_HEADER) / TARN_EROFS_XATTR_UNIT;
    if (offset + room > area->verify->erofs->length ||
        !tarn_all_zero(xattr->value + xattr->length, room - size))
        return broken(area, offset, "bytes behind an xattr are not zero");
    area->filter &= ~(
        UINT32_C(1) << tarn_erofs_xattr_filter_bit(xattr->index, xattr->name, xattr->name_length));
    if (shared)
        return check_shared(area, xattr, room);
    if (size > TARN_EROFS_SHARED_SIZE && shared_count < TARN_EROFS_SHARED_MAX)
        return broken(area, offset, "a long xattr is not shared");
    return 0;
}

// One of the two lists, each in order.
static int check_list(struct area *area, bool shared)
{
    const struct tarn_erofs_inode *inode = area->inode;
    const uint32_t end = shared ? area->ids_end : inode->xattr_length;
    struct tarn_erofs_xattr last = { 0 };
    uint32_t cursor = shared ? TARN_EROFS_XATTR_HEADER : area->ids_end;
    while (cursor < end) {
        const uint64_t at = inode->xattr_offset + cursor;
        struct tarn_erofs_xattr xattr;
        if (tarn_erofs_xattr(area->verify->erofs, inode, &cursor, &xattr) != 1)
            return broken(area, at, "an xattr is out of bounds");
        if (last.name && compare(&last, &xattr) >= 0)
            return broken(area, at, "xattrs are not in order");
        last = xattr;
        int ret = check_entry(area, &xattr, shared);
        if (ret < 0)
            return ret;
    }
    return cursor == end ? 0 : broken(area, inode->xattr_offset, "an xattr is out of bounds");
}

// That no name stands in both lists.
static int check_twice(const struct area *area)
{
    const struct tarn_erofs *erofs = area->verify->erofs;
    uint32_t a = TARN_EROFS_XATTR_HEADER, b = area->ids_end;
    struct tarn_erofs_xattr x, y;
    while (a < area->ids_end && b < area->inode->xattr_length) {
        uint32_t after_a = a, after_b = b;
        if (tarn_erofs_xattr(erofs, area->inode, &after_a, &x) != 1 ||
            tarn_erofs_xattr(erofs, area->inode, &after_b, &y) != 1)
            return broken(area, area->inode->xattr_offset, "an xattr is out of bounds");
        const int order = compare(&x, &y);
        if (order == 0)
            return broken(area, area->inode->xattr_offset + b, "an xattr stands twice");
        if (order < 0)
            a = after_a;
        else
            b = after_b;
    }
    return 0;
}

int tarn_verify_xattrs(struct tarn_verify *verify, const struct tarn_erofs_inode *inode)
{
    if (inode->xattr_length == 0)
        return 0;
    const uint8_t *header = verify->erofs->bytes + inode->xattr_offset;
    struct area area = { .verify = verify,
                         .inode = inode,
                         .ids_end =
                             TARN_EROFS_XATTR_HEADER + header[4] * (uint32_t)TARN_EROFS_XATTR_UNIT,
                         .filter = ~UINT32_C(0) };
    if (area.ids_end > inode->xattr_length)
        return broken(&area, inode->xattr_offset,
                      "more shared xattrs than the header has room for");
    if (!tarn_all_zero(header + 5, TARN_EROFS_XATTR_HEADER - 5))
        return broken(&area, inode->xattr_offset + 5, "a field that must be zero is not");
    int ret = check_list(&area, true);
    if (ret == 0)
        ret = check_list(&area, false);
    if (ret == 0)
        ret = check_twice(&area);
    if (ret < 0)
        return ret;
    if (tarn_get_le32(header) != area.filter)
        return broken(&area, inode->xattr_offset, "the filter of xattr names is wrong");
    return 0;
}
