// SPDX-License-Identifier: Apache-2.0
// EROFS on disk, as far as a bootstrap uses it (section 9). Offsets, sizes and flags only; access
// is through tarn_get_le*(). Source: Linux' fs/erofs/erofs_fs.h, restated.
#ifndef TARN_FORMAT_EROFS_H
#define TARN_FORMAT_EROFS_H

#include <stddef.h>
#include <stdint.h>

#include "format/limits.h"

enum {
    TARN_EROFS_SUPER_OFFSET = 1024,
    TARN_EROFS_SUPER_SIZE = 128,
    TARN_EROFS_DEVICE_TABLE = 1152,
    TARN_EROFS_DEVICE_SIZE = 128,
    TARN_EROFS_SLOT_OFFSET = 9, // device table in units of 128 bytes
    TARN_EROFS_BLOCK_BITS = 12,
    TARN_EROFS_NID_SIZE = 32,
    TARN_EROFS_ROOT_NID_MAX = 65535,
    TARN_EROFS_COMPACT = 32,
    TARN_EROFS_EXTENDED = 64,
    TARN_EROFS_DIRENT = 12,
    TARN_EROFS_INDEX = 8,
    TARN_EROFS_XATTR_HEADER = 12,
    TARN_EROFS_XATTR_ENTRY = 4,
    TARN_EROFS_XATTR_UNIT = 4, // alignment of entries; unit of i_xattr_icount and shared ids
    TARN_EROFS_SHARED_MAX = 255,
    TARN_EROFS_SHARED_SIZE = 1024, // longer xattr entries are shared
    TARN_EROFS_XATTR_INLINE_MAX = 4 * 65535,

    // Superblock, from TARN_EROFS_SUPER_OFFSET.
    TARN_EROFS_SB_MAGIC = 0,
    TARN_EROFS_SB_CHECKSUM = 4,
    TARN_EROFS_SB_COMPAT = 8,
    TARN_EROFS_SB_BLOCK_BITS = 12,
    TARN_EROFS_SB_EXTENSIONS = 13,
    TARN_EROFS_SB_ROOT_NID = 14,
    TARN_EROFS_SB_INODES = 16,
    TARN_EROFS_SB_EPOCH = 24,
    TARN_EROFS_SB_EPOCH_NS = 32,
    TARN_EROFS_SB_BLOCKS = 36,
    TARN_EROFS_SB_META_BLOCK = 40,
    TARN_EROFS_SB_XATTR_BLOCK = 44,
    TARN_EROFS_SB_UUID = 48,
    TARN_EROFS_SB_VOLUME = 64,
    TARN_EROFS_SB_INCOMPAT = 80,
    TARN_EROFS_SB_COMPRESSION = 84,
    TARN_EROFS_SB_DEVICES = 86,
    TARN_EROFS_SB_DEVICE_TABLE = 88,
    TARN_EROFS_SB_REST = 90,

    // Device slot.
    TARN_EROFS_DEVICE_TAG = 0,
    TARN_EROFS_DEVICE_TAG_SIZE = 64,
    TARN_EROFS_DEVICE_BLOCKS = 64,
    TARN_EROFS_DEVICE_REST = 68,

    // Inode: common, then what differs.
    TARN_EROFS_I_FORMAT = 0,
    TARN_EROFS_I_XATTRS = 2,
    TARN_EROFS_I_MODE = 4,
    TARN_EROFS_I_NLINK16 = 6, // compact; zero in extended ones
    TARN_EROFS_I_SIZE = 8,    // u32 and four zeros, or u64
    TARN_EROFS_I_UNION = 16,  // start block, device or chunk format
    TARN_EROFS_I_INO = 20,
    TARN_EROFS_I_UID16 = 24,
    TARN_EROFS_I_GID16 = 26,
    TARN_EROFS_I_REST16 = 28,
    TARN_EROFS_I_UID = 24,
    TARN_EROFS_I_GID = 28,
    TARN_EROFS_I_MTIME = 32,
    TARN_EROFS_I_MTIME_NS = 40,
    TARN_EROFS_I_NLINK = 44,
    TARN_EROFS_I_REST = 48,

    // Directory entry.
    TARN_EROFS_D_NID = 0,
    TARN_EROFS_D_NAME = 8,
    TARN_EROFS_D_TYPE = 10,

    TARN_EROFS_COMPAT_SB_CHKSUM = 1,
    TARN_EROFS_COMPAT_MTIME = 2,
    TARN_EROFS_COMPAT_XATTR_FILTER = 4,
    TARN_EROFS_INCOMPAT_CHUNKED_FILE = 4,
    TARN_EROFS_INCOMPAT_DEVICE_TABLE = 8,

    TARN_EROFS_FORMAT_EXTENDED = 1, // bit 0 of i_format; the layout is bits 1 to 3
    TARN_EROFS_LAYOUT_PLAIN = 0,
    TARN_EROFS_LAYOUT_INLINE = 2,
    TARN_EROFS_LAYOUT_CHUNKED = 4,
    TARN_EROFS_CHUNK_BITS_MASK = 0x1f,
    TARN_EROFS_CHUNK_INDEXES = 0x20,

    TARN_EROFS_TYPE_REGULAR = 1,
    TARN_EROFS_TYPE_DIRECTORY = 2,
    TARN_EROFS_TYPE_CHARACTER = 3,
    TARN_EROFS_TYPE_BLOCK = 4,
    TARN_EROFS_TYPE_FIFO = 5,
    TARN_EROFS_TYPE_SYMLINK = 7,

    TARN_EROFS_XATTR_USER = 1,
    TARN_EROFS_XATTR_ACL_ACCESS = 2,
    TARN_EROFS_XATTR_ACL_DEFAULT = 3,
    TARN_EROFS_XATTR_TRUSTED = 4,
    TARN_EROFS_XATTR_SECURITY = 6,
    TARN_EROFS_XATTR_INDEX_MAX = 6,
};

#define TARN_EROFS_MAGIC UINT32_C(0xe0f5e1e2)
#define TARN_EROFS_XATTR_FILTER_SEED UINT32_C(0x25bbe08f)
#define TARN_EROFS_HOLE UINT64_MAX // a chunk index

// The xattr name index of a full name and the rest behind the prefix; 0 if the format refuses it.
unsigned tarn_erofs_xattr_index(const char *name, const char **rest);
// The prefix for an index ("user.", ..., "system.posix_acl_access"); NULL for an unknown one.
const char *tarn_erofs_xattr_prefix(unsigned index);
// The bit of an inode's name filter that is clear if it has this xattr.
unsigned tarn_erofs_xattr_filter_bit(unsigned index, const char *rest, size_t length);

// The type in directory entries for a file mode; 0 for one that an image cannot hold.
unsigned tarn_erofs_file_type(uint32_t mode);

// CRC32C (Castagnoli), reflected, without final inversion.
uint32_t tarn_crc32c(uint32_t seed, const void *data, uint64_t length);
// The superblock's checksum, from the first block of an image.
uint32_t tarn_erofs_checksum(const uint8_t block[TARN_BLOCK]);

#endif
