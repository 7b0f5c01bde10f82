// SPDX-License-Identifier: Apache-2.0
// Names of a directory: order, blocks, types, and the inodes behind them.
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "format/verify_internal.h"

// Where the reading stands.
struct scan {
    struct tarn_verify *verify;
    const struct tarn_erofs_inode *directory;
    uint64_t parent_nid;
    uint64_t cookie; // of the current entry
    struct tarn_erofs_dirent entry;
    const char *last; // name before
    size_t last_length;
    uint32_t used; // bytes of the current block
    bool dot, dotdot;
    uint32_t directories;
};

static uint64_t block_offset(const struct tarn_erofs_inode *directory, uint64_t number)
{
    const uint64_t start = number * TARN_BLOCK;
    if (directory->layout == TARN_EROFS_LAYOUT_INLINE && directory->size - start < TARN_BLOCK)
        return directory->data_offset;
    return (uint64_t)directory->start_block * TARN_BLOCK + start;
}

static uint64_t entry_offset(const struct scan *scan)
{
    return block_offset(scan->directory, scan->cookie >> 16) +
           (scan->cookie & 0xffff) * TARN_EROFS_DIRENT;
}

static int broken(const struct scan *scan, const char *rule)
{
    return tarn_verify_broken(scan->verify, entry_offset(scan), "directory nid %llu: %s",
                              (unsigned long long)scan->directory->nid, rule);
}

static int check_order(struct scan *scan)
{
    const struct tarn_erofs_dirent *entry = &scan->entry;
    if (scan->last) {
        const size_t common = scan->last_length < entry->length ? scan->last_length : entry->length;
        const int order = memcmp(scan->last, entry->name, common);
        if (order == 0 && scan->last_length == entry->length)
            return broken(scan, "a name stands twice");
        if (order > 0 || (order == 0 && scan->last_length > entry->length))
            return broken(scan, "names are not in order");
    }
    scan->last = entry->name;
    scan->last_length = entry->length;
    return 0;
}

// Blocks are as full as can be, names lie one behind the other, and zeros follow the last one.
static int check_block(struct scan *scan)
{
    const struct tarn_erofs_dirent *entry = &scan->entry;
    const uint64_t number = scan->cookie >> 16;
    const uint8_t *block = scan->verify->erofs->bytes + block_offset(scan->directory, number);
    const uint32_t room = TARN_EROFS_DIRENT + (uint32_t)entry->length;
    if ((scan->cookie & 0xffff) == 0) {
        if (number > 0 && scan->used + room <= TARN_BLOCK)
            return broken(scan, "the block before has room for this name");
        scan->used = 0;
    }
    scan->used += room;
    if (block[(scan->cookie & 0xffff) * TARN_EROFS_DIRENT + TARN_EROFS_D_TYPE + 1] != 0)
        return broken(scan, "a field that must be zero is not");
    if (entry->cookie >> 16 == number)
        return 0; // not the block's last name
    const uint64_t size = scan->directory->size - number * TARN_BLOCK;
    const uint8_t *end = (const uint8_t *)entry->name + entry->length;
    if (size <= TARN_BLOCK && end != block + size)
        return broken(scan, "the directory does not end with its last name");
    if (!tarn_all_zero(end, (size_t)(block + tarn_min_u64(size, TARN_BLOCK) - end)))
        return broken(scan, "the unused end of a block is not zero");
    return 0;
}

static unsigned type_of(uint32_t mode)
{
    return (mode & S_IFMT) >> 12;
}

// `.` or `..`.
static int check_dots(struct scan *scan)
{
    const bool up = scan->entry.length == 2;
    const uint64_t nid = up ? scan->parent_nid : scan->directory->nid;
    if (scan->entry.nid != nid)
        return broken(scan, up ? "`..` is not the parent" : "`.` is not the directory");
    if (scan->entry.type != DT_DIR)
        return broken(scan, "the type of an entry is not that of its inode");
    if (up)
        scan->dotdot = true;
    else
        scan->dot = true;
    return 0;
}

static int check_inode(struct scan *scan)
{
    struct tarn_verify *verify = scan->verify;
    const uint64_t nid = scan->entry.nid;
    struct tarn_erofs_inode inode;
    int ret;
    if (nid >= verify->erofs->length / TARN_EROFS_NID_SIZE)
        return broken(scan, "an entry's inode lies behind the end of the image");
    const bool first = verify->links[nid] == 0;
    ret = first ? tarn_verify_inode(verify, nid, &inode)
                : tarn_erofs_inode(verify->erofs, nid, &inode);
    if (ret < 0)
        return ret;
    if (S_ISDIR(inode.mode)) {
        if (!first)
            return broken(scan, "a directory is reached twice");
        scan->directories++;
    }
    if (scan->entry.type != type_of(inode.mode))
        return broken(scan, "the type of an entry is not that of its inode");
    verify->links[nid]++;
    verify->names++;
    return 0;
}

static int check_end(const struct scan *scan)
{
    const struct tarn_erofs_inode *directory = scan->directory;
    const uint64_t offset = directory->nid * TARN_EROFS_NID_SIZE;
    const unsigned long long nid = directory->nid;
    if (!scan->dot || !scan->dotdot)
        return tarn_verify_broken(scan->verify, offset, "directory nid %llu: no `%s`", nid,
                                  scan->dot ? ".." : ".");
    if (directory->nlink != 2 + scan->directories)
        return tarn_verify_broken(scan->verify, offset,
                                  "directory nid %llu: link count %u, must be %u", nid,
                                  directory->nlink, 2 + scan->directories);
    // Behind the directory's end, up to the end of its last block.
    const uint64_t tail = directory->size % TARN_BLOCK;
    if (directory->layout == TARN_EROFS_LAYOUT_PLAIN && tail != 0) {
        const uint64_t end = (uint64_t)directory->start_block * TARN_BLOCK + directory->size;
        if (!tarn_all_zero(scan->verify->erofs->bytes + end, TARN_BLOCK - tail))
            return tarn_verify_broken(scan->verify, end,
                                      "directory nid %llu: the unused end of a block is not zero",
                                      nid);
    }
    return 0;
}

int tarn_verify_directory(struct tarn_verify *verify, const struct tarn_erofs_inode *directory,
                          uint64_t parent_nid)
{
    struct scan scan = { .verify = verify, .directory = directory, .parent_nid = parent_nid };
    for (;; scan.cookie = scan.entry.cookie) {
        int ret = tarn_erofs_readdir(verify->erofs, directory, scan.cookie, &scan.entry);
        if (ret < 0)
            return broken(&scan, "a block or a name is out of bounds");
        if (ret == 0)
            return check_end(&scan);
        ret = check_order(&scan);
        if (ret == 0)
            ret = check_block(&scan);
        if (ret < 0)
            return ret;
        const bool dots =
            scan.entry.length <= 2 && memcmp(scan.entry.name, "..", scan.entry.length) == 0;
        ret = dots ? check_dots(&scan) : check_inode(&scan);
        if (ret < 0)
            return ret;
    }
}
