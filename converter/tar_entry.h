// SPDX-License-Identifier: Apache-2.0
// One entry of a tar, whatever dialect wrote it, and the limits that Tarn sets.
#ifndef TARN_CONVERTER_TAR_ENTRY_H
#define TARN_CONVERTER_TAR_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TARN_TAR_BLOCK = 512,
    TARN_TAR_NAME_MAX = 255,        // bytes of one path component, and of an xattr's name
    TARN_TAR_PATH_MAX = 65535,      // bytes of a path, before and after cleaning
    TARN_TAR_SYMLINK_MAX = 4095,    // bytes of a symbolic link's target
    TARN_TAR_XATTR_MAX = 65535,     // bytes of an xattr's value
    TARN_TAR_PAX_MAX = 8 << 20,     // bytes of one extended header
    TARN_TAR_EXTENTS_MAX = 1 << 20, // entries in a sparse map
};
#define TARN_TAR_SIZE_MAX (UINT64_C(8) << 40) // of a file

// A type of struct tarn_tar_entry that is no S_IFMT value.
enum { TARN_TAR_HARDLINK = 0 };

struct tarn_tar_xattr {
    const char *name; // with its prefix ("user.x"), NUL-terminated, 1 to TARN_TAR_NAME_MAX bytes
    const uint8_t *value; // may hold any bytes; never NULL
    size_t name_length;
    size_t length;
};

struct tarn_tar_extent {
    uint64_t offset; // in the file
    uint64_t length;
};

// Paths are clean: components joined by single '/', none of them empty, "." or "..", and no '/' in
// front or behind; "" is the root; the last one may be ".wh." and TARN_TAR_NAME_MAX bytes. Names, targets and xattrs are opaque bytes.
struct tarn_tar_entry {
    const char *path; // NUL-terminated
    size_t path_length;
    uint32_t type; // S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO or TARN_TAR_HARDLINK
    uint32_t mode; // 07777
    uint32_t uid;  // neither is ever UINT32_MAX, which means "unchanged" to chown(2)
    uint32_t gid;
    int64_t mtime;       // seconds, rounded down
    uint32_t mtime_ns;   // 0 to 999,999,999
    uint32_t rdev_major; // S_IFCHR and S_IFBLK, else 0
    uint32_t rdev_minor;
    uint64_t size; // S_IFREG: bytes, holes included; else 0
    // S_IFLNK: the target as it stands, not empty. TARN_TAR_HARDLINK: a clean path, not the root.
    // NUL-terminated; else NULL.
    const char *link;
    size_t link_length;
    const struct tarn_tar_xattr *xattrs; // by name, bytewise, no name twice
    size_t xattr_count;
    // S_IFREG with a sparse map: where the data lies, ascending, not empty, apart. All else is
    // zeros.
    bool sparse;
    const struct tarn_tar_extent *extents;
    size_t extent_count;
};

#endif
