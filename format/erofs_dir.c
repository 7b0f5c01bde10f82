// SPDX-License-Identifier: Apache-2.0
// Directories. A block begins with its entries; the first one's name offset tells how many there
// are, and each name ends where the next one begins.
#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "format/erofs_reader.h"

enum { LINKS_MAX = 40 }; // that a path may lead through, as in the kernel

struct block {
    const uint8_t *bytes;
    uint32_t size;
    uint32_t count; // entries
};

static uint64_t block_count(const struct tarn_erofs_inode *directory)
{
    return directory->size / TARN_BLOCK + (directory->size % TARN_BLOCK != 0);
}

static int get_block(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *directory,
                     uint64_t number, struct block *block)
{
    const uint64_t start = number * TARN_BLOCK;
    block->size = (uint32_t)tarn_min_u64(directory->size - start, TARN_BLOCK);
    const bool tail = directory->layout == TARN_EROFS_LAYOUT_INLINE && block->size < TARN_BLOCK;
    block->bytes = erofs->bytes + (tail ? directory->data_offset
                                        : (uint64_t)directory->start_block * TARN_BLOCK + start);
    if (block->size < TARN_EROFS_DIRENT)
        return -EUCLEAN;
    const uint32_t first = tarn_get_le16(block->bytes + TARN_EROFS_D_NAME);
    if (first < TARN_EROFS_DIRENT || first % TARN_EROFS_DIRENT != 0 || first >= block->size)
        return -EUCLEAN;
    block->count = first / TARN_EROFS_DIRENT;
    return 0;
}

static int get_name(const struct block *block, uint32_t index, const char **name, size_t *length)
{
    const uint8_t *entry = block->bytes + (size_t)index * TARN_EROFS_DIRENT;
    const uint32_t start = tarn_get_le16(entry + TARN_EROFS_D_NAME);
    const bool last = index + 1 == block->count;
    const uint32_t end =
        last ? block->size : tarn_get_le16(entry + TARN_EROFS_DIRENT + TARN_EROFS_D_NAME);
    if (start < block->count * TARN_EROFS_DIRENT || start >= end || end > block->size)
        return -EUCLEAN;
    *name = (const char *)block->bytes + start;
    *length = last ? strnlen(*name, end - start) : end - start;
    return *length >= 1 && *length <= TARN_NAME_MAX ? 0 : -EUCLEAN;
}

static uint64_t get_nid(const struct block *block, uint32_t index)
{
    return tarn_get_le64(block->bytes + (size_t)index * TARN_EROFS_DIRENT + TARN_EROFS_D_NID);
}

static unsigned get_type(const struct block *block, uint32_t index)
{
    static const uint8_t types[] = { DT_UNKNOWN, DT_REG,  DT_DIR,     DT_CHR,
                                     DT_BLK,     DT_FIFO, DT_UNKNOWN, DT_LNK };
    const uint8_t type = block->bytes[(size_t)index * TARN_EROFS_DIRENT + TARN_EROFS_D_TYPE];
    return type < sizeof types ? types[type] : DT_UNKNOWN;
}

int tarn_erofs_readdir(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *directory,
                       uint64_t cookie, struct tarn_erofs_dirent *entry)
{
    const uint64_t number = cookie >> 16;
    const uint32_t index = cookie & 0xffff;
    if (!S_ISDIR(directory->mode))
        return -ENOTDIR;
    if (number >= block_count(directory))
        return index == 0 ? 0 : -EINVAL;
    struct block block;
    int ret = get_block(erofs, directory, number, &block);
    if (ret < 0)
        return ret;
    if (index >= block.count)
        return -EINVAL;
    ret = get_name(&block, index, &entry->name, &entry->length);
    if (ret < 0)
        return ret;
    if (memchr(entry->name, '/', entry->length) || memchr(entry->name, '\0', entry->length))
        return -EUCLEAN;
    entry->nid = get_nid(&block, index);
    entry->type = get_type(&block, index);
    entry->cookie = index + 1 < block.count ? cookie + 1 : (number + 1) << 16;
    return 1;
}

static int compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

// The entry of the block with this name: 0, -ENOENT, -EUCLEAN.
static int find_in_block(const struct block *block, const char *name, size_t length, uint64_t *nid)
{
    uint32_t low = 0, high = block->count; // entries below low are not above the name
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const char *other;
        size_t other_length;
        int ret = get_name(block, middle, &other, &other_length);
        if (ret < 0)
            return ret;
        const int order = compare(other, other_length, name, length);
        if (order == 0) {
            *nid = get_nid(block, middle);
            return 0;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -ENOENT;
}

// Halves the blocks by their first names, then the entries of the block that remains.
int tarn_erofs_lookup(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *directory,
                      const char *name, size_t length, uint64_t *nid)
{
    if (!S_ISDIR(directory->mode))
        return -ENOTDIR;
    struct block block;
    uint64_t low = 0, high = block_count(directory); // blocks below low begin not above the name
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        int ret = get_block(erofs, directory, middle, &block);
        if (ret < 0)
            return ret;
        const char *first;
        size_t first_length;
        ret = get_name(&block, 0, &first, &first_length);
        if (ret < 0)
            return ret;
        const int order = compare(first, first_length, name, length);
        if (order == 0) {
            *nid = get_nid(&block, 0);
            return 0;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return -ENOENT;
    const int ret = get_block(erofs, directory, low - 1, &block);
    return ret < 0 ? ret : find_in_block(&block, name, length, nid);
}

int tarn_erofs_walk(const struct tarn_erofs *erofs, const char *path,
                    struct tarn_erofs_inode *inode)
{
    int ret = tarn_erofs_inode(erofs, erofs->root_nid, inode);
    for (const char *p = path; ret == 0;) {
        p += strspn(p, "/");
        if (*p == '\0')
            return 0;
        const size_t length = strcspn(p, "/");
        uint64_t nid;
        ret = tarn_erofs_lookup(erofs, inode, p, length, &nid);
        if (ret == 0)
            ret = tarn_erofs_inode(erofs, nid, inode);
        p += length;
    }
    return ret;
}

// Puts the link's target before what is left of the path. *rest points into path.
static int expand(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *link,
                  char path[PATH_MAX], const char **rest)
{
    const char *target;
    const int ret = tarn_erofs_symlink(erofs, link, &target);
    if (ret < 0)
        return ret;
    const size_t left = strlen(*rest);
    if (link->size + left >= PATH_MAX)
        return -ENAMETOOLONG;
    memmove(path + link->size, *rest, left + 1);
    memcpy(path, target, link->size);
    *rest = path;
    return 0;
}

int tarn_erofs_follow(const struct tarn_erofs *erofs, const char *path, unsigned *names,
                      struct tarn_erofs_inode *inode)
{
    char text[PATH_MAX];
    const char *rest = text;
    unsigned links = 0;
    if (strlen(path) >= sizeof text)
        return -ENAMETOOLONG;
    memcpy(text, path, strlen(path) + 1);
    int ret = tarn_erofs_inode(erofs, erofs->root_nid, inode);
    while (ret == 0) {
        rest += strspn(rest, "/");
        if (*rest == '\0')
            return 0;
        if (*names == 0)
            return -ELOOP;
        --*names;
        const size_t length = strcspn(rest, "/");
        struct tarn_erofs_inode next;
        uint64_t nid;
        ret = tarn_erofs_lookup(erofs, inode, rest, length, &nid);
        if (ret == 0)
            ret = tarn_erofs_inode(erofs, nid, &next);
        if (ret < 0)
            return ret;
        rest += length;
        if (!S_ISLNK(next.mode)) {
            *inode = next;
            continue;
        }
        ret = ++links > LINKS_MAX ? -ELOOP : expand(erofs, &next, text, &rest);
        if (ret == 0 && text[0] == '/')
            ret = tarn_erofs_inode(erofs, erofs->root_nid, inode);
    }
    return ret;
}
