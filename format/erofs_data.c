// SPDX-License-Identifier: Apache-2.0
// Symbolic links, and where the bytes of regular files lie.
#include <sys/stat.h>

#include "format/erofs_reader.h"

int tarn_erofs_symlink(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                       const char **target)
{
    if (!S_ISLNK(inode->mode))
        return -EINVAL;
    const uint64_t offset = inode->layout == TARN_EROFS_LAYOUT_INLINE
                                ? inode->data_offset
                                : (uint64_t)inode->start_block * TARN_BLOCK;
    *target = (const char *)erofs->bytes + offset;
    return 0;
}

uint64_t tarn_erofs_index_count(const struct tarn_erofs_inode *inode)
{
    if (inode->layout != TARN_EROFS_LAYOUT_CHUNKED)
        return 0;
    return ((inode->size - 1) >> inode->chunk_bits) + 1;
}

// One chunk, from the offset on; checked against its device.
static int map_chunk(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                     uint64_t offset, struct tarn_erofs_extent *extent)
{
    const uint64_t number = offset >> inode->chunk_bits;
    const uint64_t start = number << inode->chunk_bits;
    const uint64_t chunk = UINT64_C(1) << inode->chunk_bits;
    const uint64_t end = start + tarn_min_u64(chunk, inode->size - start);
    extent->length = end - offset;
    const uint64_t index = tarn_erofs_index(erofs, inode, number);
    if (index == TARN_EROFS_HOLE) {
        extent->slot = 0;
        extent->address = 0;
        return 0;
    }
    struct tarn_erofs_device_slot device;
    extent->slot = index >> 16 & 0xffff;
    extent->address = (index >> 32) * TARN_BLOCK;
    if ((index & 0xffff) != 0 || tarn_erofs_device(erofs, extent->slot, &device) < 0 ||
        !tarn_range_ok(extent->address, end - start, device.blocks * TARN_BLOCK))
        return -EUCLEAN;
    extent->address += offset - start;
    return 0;
}

int tarn_erofs_map(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                   uint64_t offset, struct tarn_erofs_extent *extent)
{
    if (!S_ISREG(inode->mode))
        return -EINVAL;
    *extent = (struct tarn_erofs_extent){ 0 };
    if (offset >= inode->size)
        return 0;
    int ret = map_chunk(erofs, inode, offset, extent);
    for (unsigned i = 1; ret == 0 && i < TARN_EROFS_MAP_CHUNKS; i++) {
        struct tarn_erofs_extent next;
        if (extent->length >= inode->size - offset)
            break;
        // What is wrong with a later chunk shows when its bytes are asked for.
        if (map_chunk(erofs, inode, offset + extent->length, &next) < 0 ||
            next.slot != extent->slot ||
            (next.slot != 0 && next.address != extent->address + extent->length))
            break;
        extent->length += next.length;
    }
    return ret;
}
