// SPDX-License-Identifier: Apache-2.0
// Reads an EROFS image that lies in memory (mmap), as written by erofs_writer. No allocation, no
// I/O; any number of threads. Every number is bounded: a damaged image gives -EUCLEAN, never a wild
// read. The core of the FUSE tree, of ls, cat and check.
#ifndef TARN_FORMAT_EROFS_READER_H
#define TARN_FORMAT_EROFS_READER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"
#include "format/erofs.h"

struct tarn_erofs {
    const uint8_t *bytes; // borrowed
    uint64_t length;      // blocks x 4096
    uint64_t root_nid;
    uint64_t inode_count;
    int64_t epoch; // mtime of compact inodes
    uint32_t epoch_ns;
    uint64_t xattr_offset; // of the shared area; 0: none
    uint32_t device_count;
};

// Checks superblock (checksum too), flags, reserved bytes and device table. length must be that of
// the image. -EUCLEAN or -ENOTSUP, naming offset and rule.
int tarn_erofs_open(const uint8_t *bytes, uint64_t length, struct tarn_erofs *erofs,
                    struct tarn_err *err) tarn_must_check;

struct tarn_erofs_device_slot {
    char tag[65]; // the blob's digest in hex
    uint64_t blocks;
};
// slot: from 1 to device_count, else -EINVAL.
int tarn_erofs_device(const struct tarn_erofs *erofs, uint32_t slot,
                      struct tarn_erofs_device_slot *device) tarn_must_check;

struct tarn_erofs_inode {
    uint64_t nid;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint32_t nlink;
    uint64_t size;
    int64_t mtime;
    uint32_t mtime_ns;
    uint32_t major;
    uint32_t minor;
    uint32_t number; // i_ino
    bool extended;
    unsigned layout;
    uint32_t start_block;
    unsigned chunk_bits;   // chunked: log2 of the chunk's bytes
    uint64_t xattr_offset; // in the image
    uint32_t xattr_length; // 0: none
    uint64_t data_offset;  // of inline tail or chunk indexes, in the image; else behind the xattrs
};

// Reads the inode and bounds all that hangs on it, so that the functions below may take its fields
// as they are: only pass inodes that came from here, with the image that they came from.
int tarn_erofs_inode(const struct tarn_erofs *erofs, uint64_t nid,
                     struct tarn_erofs_inode *inode) tarn_must_check;
// The same; *rule says on -EUCLEAN what is wrong.
int tarn_erofs_inode_explain(const struct tarn_erofs *erofs, uint64_t nid,
                             struct tarn_erofs_inode *inode, const char **rule) tarn_must_check;

// --- directories ---------------------------------------------------------------------------
struct tarn_erofs_dirent {
    uint64_t nid;
    const char *name; // in the image, not terminated
    size_t length;
    unsigned type;   // DT_*
    uint64_t cookie; // of the next entry: where to go on
};
// The entry at cookie (0: the first), `.` and `..` included, in bytewise order. 1 there is one, 0
// end, -EUCLEAN, -EINVAL for a cookie that is none of this directory's. Cookies: block number << 16
// | index in the block.
int tarn_erofs_readdir(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *directory,
                       uint64_t cookie, struct tarn_erofs_dirent *entry) tarn_must_check;
// 0, -ENOENT, -EUCLEAN. Binary search.
int tarn_erofs_lookup(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *directory,
                      const char *name, size_t length, uint64_t *nid) tarn_must_check;
// Walks a path from the root, not following symbolic links. 0, -ENOENT, -ENOTDIR, -EUCLEAN.
int tarn_erofs_walk(const struct tarn_erofs *erofs, const char *path,
                    struct tarn_erofs_inode *inode) tarn_must_check;
// The same, following symbolic links, the last one too, as a process does whose root this is. -ELOOP
// for more than 40, or when *names, how many names may be looked up, has come down to 0; -ENAMETOOLONG.
int tarn_erofs_follow(const struct tarn_erofs *erofs, const char *path, unsigned *names,
                      struct tarn_erofs_inode *inode) tarn_must_check;

// --- contents --------------------------------------------------------------------------------
// The target, in the image, not terminated; inode->size bytes. -EINVAL for another type.
int tarn_erofs_symlink(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                       const char **target) tarn_must_check;

// Where the bytes of a regular file from offset on lie. The piece reaches to the end of the file or
// to where the data goes on elsewhere, but it may end after TARN_EROFS_MAP_CHUNKS chunks (16 MiB or
// more), so that a call has a bound.
enum { TARN_EROFS_MAP_CHUNKS = 64 };
struct tarn_erofs_extent {
    uint32_t slot;    // 0: a hole
    uint64_t address; // in that device; bounded by its blocks
    uint64_t length;  // 0 only at or behind the end of the file
};
int tarn_erofs_map(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                   uint64_t offset, struct tarn_erofs_extent *extent) tarn_must_check;
// How many chunk indexes a regular file has, and one of them as it stands.
uint64_t tarn_erofs_index_count(const struct tarn_erofs_inode *inode);
static inline uint64_t tarn_erofs_index(const struct tarn_erofs *erofs,
                                        const struct tarn_erofs_inode *inode, uint64_t i)
{
    return tarn_get_le64(erofs->bytes + inode->data_offset + i * TARN_EROFS_INDEX);
}

// --- xattrs ----------------------------------------------------------------------------------
struct tarn_erofs_xattr {
    unsigned index;   // name index, see tarn_erofs_xattr_prefix()
    const char *name; // behind the prefix, not terminated
    size_t name_length;
    const uint8_t *value;
    size_t length;
};
// The inode's next xattr: 1, 0 end, -EUCLEAN. *cursor: 0 for the first; then left alone by the
// caller. Shared ones come first.
int tarn_erofs_xattr(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                     uint32_t *cursor, struct tarn_erofs_xattr *xattr) tarn_must_check;
// By full name: 0, -ENODATA, -EUCLEAN. Uses the name filter first.
int tarn_erofs_xattr_get(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode,
                         const char *name, struct tarn_erofs_xattr *xattr) tarn_must_check;

#endif
