// SPDX-License-Identifier: Apache-2.0
#include "format/erofs.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

static const struct {
    unsigned index;
    const char *prefix;
} prefixes[] = {
    { TARN_EROFS_XATTR_USER, "user." },
    { TARN_EROFS_XATTR_ACL_ACCESS, "system.posix_acl_access" },
    { TARN_EROFS_XATTR_ACL_DEFAULT, "system.posix_acl_default" },
    { TARN_EROFS_XATTR_TRUSTED, "trusted." },
    { TARN_EROFS_XATTR_SECURITY, "security." },
};

static const size_t prefix_count = sizeof prefixes / sizeof *prefixes;

// The two ACL names are whole names; the other prefixes need something behind them.
unsigned tarn_erofs_xattr_index(const char *name, const char **rest)
{
    for (size_t i = 0; i < prefix_count; i++) {
        const size_t length = strlen(prefixes[i].prefix);
        if (strncmp(name, prefixes[i].prefix, length) != 0)
            continue;
        const bool whole = prefixes[i].prefix[length - 1] != '.';
        if (whole != (name[length] == '\0'))
            continue;
        *rest = name + length;
        return prefixes[i].index;
    }
    return 0;
}

const char *tarn_erofs_xattr_prefix(unsigned index)
{
    for (size_t i = 0; i < prefix_count; i++)
        if (prefixes[i].index == index)
            return prefixes[i].prefix;
    return NULL;
}

unsigned tarn_erofs_xattr_filter_bit(unsigned index, const char *rest, size_t length)
{
    return XXH32(rest, length, TARN_EROFS_XATTR_FILTER_SEED + index) % 32;
}

// Four bits at a time: it runs over 3 KiB of an image once, so a small table is right.
uint32_t tarn_crc32c(uint32_t seed, const void *data, uint64_t length)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *bytes = data;
    uint32_t crc = seed;
    for (uint64_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return crc;
}

uint32_t tarn_erofs_checksum(const uint8_t block[TARN_BLOCK])
{
    static const uint8_t zero[4];
    const size_t field = TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_CHECKSUM;
    uint32_t crc =
        tarn_crc32c(~UINT32_C(0), block + TARN_EROFS_SUPER_OFFSET, TARN_EROFS_SB_CHECKSUM);
    crc = tarn_crc32c(crc, zero, sizeof zero);
    return tarn_crc32c(crc, block + field + sizeof zero, TARN_BLOCK - field - sizeof zero);
}

unsigned tarn_erofs_file_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return TARN_EROFS_TYPE_REGULAR;
    case S_IFDIR:
        return TARN_EROFS_TYPE_DIRECTORY;
    case S_IFCHR:
        return TARN_EROFS_TYPE_CHARACTER;
    case S_IFBLK:
        return TARN_EROFS_TYPE_BLOCK;
    case S_IFIFO:
        return TARN_EROFS_TYPE_FIFO;
    case S_IFLNK:
        return TARN_EROFS_TYPE_SYMLINK;
    default:
        return 0;
    }
}
