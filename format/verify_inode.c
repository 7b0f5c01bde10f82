// SPDX-License-Identifier: Apache-2.0
// One inode: its place, its fields, the blocks and chunks that it names.
#include <string.h>
#include <sys/stat.h>

#include "format/content.h"
#include "format/verify_internal.h"

static int broken(const struct tarn_verify *verify, const struct tarn_erofs_inode *inode,
                  const char *rule)
{
    return tarn_verify_broken(verify, inode->nid * TARN_EROFS_NID_SIZE, "inode nid %llu: %s",
                              (unsigned long long)inode->nid, rule);
}

static uint64_t head_size(const struct tarn_erofs_inode *inode)
{
    return inode->xattr_offset + inode->xattr_length - inode->nid * TARN_EROFS_NID_SIZE;
}

static uint64_t tail_size(const struct tarn_erofs_inode *inode)
{
    return inode->layout == TARN_EROFS_LAYOUT_INLINE ? inode->size % TARN_BLOCK : 0;
}

// Directly behind the inode before, but an inline tail keeps the whole in one block.
static int check_place(struct tarn_verify *verify, const struct tarn_erofs_inode *inode)
{
    const uint64_t offset = inode->nid * TARN_EROFS_NID_SIZE;
    const uint64_t whole = head_size(inode) + tail_size(inode);
    uint64_t place = tarn_round_up(verify->inodes_end, TARN_EROFS_NID_SIZE);
    if (inode->layout == TARN_EROFS_LAYOUT_INLINE && place % TARN_BLOCK + whole > TARN_BLOCK)
        place = tarn_round_up(place, TARN_BLOCK);
    if (offset != place)
        return tarn_verify_broken(verify, offset,
                                  "inode nid %llu: out of place, the next one is at %llu",
                                  (unsigned long long)inode->nid, (unsigned long long)place);
    if (!tarn_all_zero(verify->erofs->bytes + verify->inodes_end, offset - verify->inodes_end))
        return broken(verify, inode, "bytes before it are not zero");
    verify->inodes_end = offset + head_size(inode) + tail_size(inode);
    if (inode->layout == TARN_EROFS_LAYOUT_CHUNKED) {
        if (!tarn_all_zero(verify->erofs->bytes + verify->inodes_end,
                           inode->data_offset - verify->inodes_end))
            return broken(verify, inode, "bytes before the chunk indexes are not zero");
        verify->inodes_end = inode->data_offset + tarn_erofs_index_count(inode) * TARN_EROFS_INDEX;
    }
    verify->inodes++;
    if (inode->number != verify->inodes)
        return tarn_verify_broken(
            verify, offset + TARN_EROFS_I_INO, "inode nid %llu: number %u, must be %llu",
            (unsigned long long)inode->nid, inode->number, (unsigned long long)verify->inodes);
    return 0;
}

static bool fits_compact(const struct tarn_verify *verify, const struct tarn_erofs_inode *inode)
{
    return inode->uid <= UINT16_MAX && inode->gid <= UINT16_MAX && inode->nlink <= UINT16_MAX &&
           inode->size <= UINT32_MAX && inode->mtime == verify->erofs->epoch &&
           inode->mtime_ns == verify->erofs->epoch_ns;
}

// Blocks of a directory or symbolic link.
static int check_blocks(struct tarn_verify *verify, const struct tarn_erofs_inode *inode)
{
    const uint64_t tail = inode->size % TARN_BLOCK;
    const bool fits = tail != 0 && head_size(inode) + tail <= TARN_BLOCK;
    if (fits != (inode->layout == TARN_EROFS_LAYOUT_INLINE))
        return broken(verify, inode,
                      fits ? "the tail fits behind the inode but is not there"
                           : "the tail does not fit behind the inode");
    const uint64_t blocks =
        (tarn_round_up(inode->size, TARN_BLOCK) - (fits ? TARN_BLOCK : 0)) / TARN_BLOCK;
    if (blocks == 0)
        return 0;
    if (verify->data_start == 0)
        verify->data_start = verify->data_next = inode->start_block;
    if (inode->start_block != verify->data_next)
        return tarn_verify_broken(verify, inode->nid * TARN_EROFS_NID_SIZE + TARN_EROFS_I_UNION,
                                  "inode nid %llu: start block %u, must be %llu",
                                  (unsigned long long)inode->nid, inode->start_block,
                                  (unsigned long long)verify->data_next);
    verify->data_next += blocks;
    return 0;
}

static int check_symlink(struct tarn_verify *verify, const struct tarn_erofs_inode *inode)
{
    const char *target;
    int ret = tarn_erofs_symlink(verify->erofs, inode, &target);
    if (ret < 0 || memchr(target, '\0', inode->size))
        return broken(verify, inode, "the target holds a NUL");
    if (inode->layout == TARN_EROFS_LAYOUT_PLAIN &&
        !tarn_all_zero(target + inode->size, TARN_BLOCK - inode->size))
        return broken(verify, inode, "the unused end of a block is not zero");
    return check_blocks(verify, inode);
}

// --- chunks --------------------------------------------------------------------------------

static unsigned bits_of(uint64_t length)
{
    unsigned bits = TARN_EROFS_BLOCK_BITS;
    while (UINT64_C(1) << bits < length)
        bits++;
    return bits;
}

static int check_index(struct tarn_verify *verify, const struct tarn_erofs_inode *inode,
                       uint64_t number, uint64_t *next)
{
    const uint64_t offset = inode->data_offset + number * TARN_EROFS_INDEX;
    const uint64_t index = tarn_erofs_index(verify->erofs, inode, number);
    const uint32_t slot = index >> 16 & 0xffff;
    const uint64_t start = number << inode->chunk_bits;
    const uint64_t length = tarn_min_u64(UINT64_C(1) << inode->chunk_bits, inode->size - start);
    const uint64_t address = (index >> 32) * TARN_BLOCK;
    struct tarn_erofs_device_slot device;
    const char *rule = NULL;
    if ((index & 0xffff) != 0)
        rule = "a field of a chunk index that must be zero is not";
    else if (tarn_erofs_device(verify->erofs, slot, &device) < 0)
        rule = "a chunk lies in a slot that is not there";
    else if (!tarn_range_ok(address, length, device.blocks * TARN_BLOCK))
        rule = "a chunk lies behind the end of its device";
    else if (*next != 0 && *next != (address | slot))
        rule = "the chunks of a file do not follow one another";
    if (rule)
        return tarn_verify_broken(verify, offset, "inode nid %llu: %s",
                                  (unsigned long long)inode->nid, rule);
    verify->slots[slot] = 1;
    *next = (address + length) | slot;
    return 0;
}

static int check_chunks(struct tarn_verify *verify, const struct tarn_erofs_inode *inode)
{
    const uint64_t count = tarn_erofs_index_count(inode);
    uint64_t holes = 0;
    for (uint64_t i = 0; i < count; i++)
        holes += tarn_erofs_index(verify->erofs, inode, i) == TARN_EROFS_HOLE;
    const uint64_t chunk = holes > 0 ? tarn_content_unit(inode->size) : inode->size;
    if (count > 0 && inode->chunk_bits != bits_of(chunk))
        return tarn_verify_broken(verify, inode->nid * TARN_EROFS_NID_SIZE + TARN_EROFS_I_UNION,
                                  "inode nid %llu: chunks of 2^%u bytes, must be of 2^%u",
                                  (unsigned long long)inode->nid, inode->chunk_bits,
                                  bits_of(chunk));
    uint64_t next = 0; // address and, in its low bits, slot
    for (uint64_t i = 0; i < count; i++) {
        if (tarn_erofs_index(verify->erofs, inode, i) == TARN_EROFS_HOLE)
            continue;
        int ret = check_index(verify, inode, i, &next);
        if (ret < 0)
            return ret;
    }
    return 0;
}

// --- an inode ------------------------------------------------------------------------------

int tarn_verify_inode(struct tarn_verify *verify, uint64_t nid, struct tarn_erofs_inode *inode)
{
    const char *rule;
    if (tarn_erofs_inode_explain(verify->erofs, nid, inode, &rule) < 0)
        return tarn_verify_broken(verify, nid * TARN_EROFS_NID_SIZE, "inode nid %llu: %s",
                                  (unsigned long long)nid, rule);
    int ret = check_place(verify, inode);
    if (ret == 0 && inode->extended && fits_compact(verify, inode))
        ret = broken(verify, inode, "it is extended without need");
    if (ret == 0)
        ret = tarn_verify_xattrs(verify, inode);
    if (ret < 0)
        return ret;
    if (S_ISDIR(inode->mode))
        return check_blocks(verify, inode);
    if (S_ISLNK(inode->mode))
        return check_symlink(verify, inode);
    if (!S_ISREG(inode->mode))
        return 0;
    verify->file_bytes += inode->size;
    return check_chunks(verify, inode);
}
