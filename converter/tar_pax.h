// SPDX-License-Identifier: Apache-2.0
// The records of a pax extended header (POSIX pax, "ustar interchange format"): "LENGTH
// KEY=VALUE\n".
//
// Read: path, linkpath, size, uid, gid, mtime, SCHILY.devmajor, SCHILY.devminor, SCHILY.xattr.NAME
// (the value as it stands), LIBARCHIVE.xattr.NAME (URL-encoded name, base64 value) and
// GNU.sparse.*. All others are passed over: atime, ctime, comment, hdrcharset (names are opaque
// bytes anyway), uname, gname, and ACLs as text, which container runtimes do not apply either (ACLs
// as system.posix_acl_* xattrs are kept). When a key comes twice the last one counts, xattrs of
// both spellings included; an empty value takes an earlier one back, but an xattr may be empty.
#ifndef TARN_CONVERTER_TAR_PAX_H
#define TARN_CONVERTER_TAR_PAX_H

#include "converter/tar_sparse.h"

enum tarn_tar_pax_key {
    TARN_TAR_PAX_PATH,
    TARN_TAR_PAX_LINKPATH,
    TARN_TAR_PAX_SIZE,
    TARN_TAR_PAX_UID,
    TARN_TAR_PAX_GID,
    TARN_TAR_PAX_MTIME,
    TARN_TAR_PAX_DEVMAJOR,
    TARN_TAR_PAX_DEVMINOR,
    TARN_TAR_PAX_SPARSE_MAJOR,
    TARN_TAR_PAX_SPARSE_MINOR,
    TARN_TAR_PAX_SPARSE_NAME,
    TARN_TAR_PAX_SPARSE_REAL_SIZE, // GNU.sparse.size, too
    TARN_TAR_PAX_SPARSE_BLOCKS,
    TARN_TAR_PAX_SPARSE_MAP,
    TARN_TAR_PAX_SPARSE_OFFSET,
    TARN_TAR_PAX_SPARSE_LENGTH,
    TARN_TAR_PAX_KEYS,
};

struct tarn_tar_text {
    const char *data; // not NUL-terminated
    size_t length;
};

// A zeroed struct is an empty header. Texts, names and values point into the parsed bytes.
struct tarn_tar_pax {
    uint32_t has; // 1 << enum tarn_tar_pax_key
    struct tarn_tar_text path;
    struct tarn_tar_text link;
    struct tarn_tar_text sparse_name;
    tarn_tar_int numbers[TARN_TAR_PAX_KEYS]; // of the keys that are numbers, not checked for range
    struct tarn_tar_time mtime;
    struct tarn_tar_map map;       // of pax 0.0 and 0.1
    struct tarn_tar_xattr *xattrs; // owned; sorted, each name once
    size_t xattr_count;
    size_t xattr_capacity;
};

void tarn_tar_pax_release(struct tarn_tar_pax *pax);
void tarn_tar_pax_clear(struct tarn_tar_pax *pax); // keeps the memory

// Fills the empty pax from the records in bytes, which it changes (values are decoded in place) and
// which must outlive pax. On failure pax->path may be set already, for the message. -EUCLEAN:
// damaged; -EINVAL; -ENOTSUP: over a limit of tar_entry.h; -ENOMEM.
int tarn_tar_pax_parse(struct tarn_tar_pax *pax, uint8_t *bytes, size_t length,
                       struct tarn_err *err) tarn_must_check;

static inline bool tarn_tar_pax_has(const struct tarn_tar_pax *pax, enum tarn_tar_pax_key key)
{
    return pax->has & 1u << key;
}

#endif
