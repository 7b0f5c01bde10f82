// SPDX-License-Identifier: Apache-2.0
// One 512-byte tar header, with the extended headers that stood before it, made into an entry.
// Dialects: v7, ustar (POSIX), star, GNU (its manual, "Basic Tar Format").
#ifndef TARN_CONVERTER_TAR_HEADER_H
#define TARN_CONVERTER_TAR_HEADER_H

#include "base/buf.h"
#include "converter/tar_pax.h"

// Type flags that more than one file looks at.
enum {
    TARN_TAR_FLAG_OLD_SPARSE = 'S',
    TARN_TAR_FLAG_PAX = 'x',
    TARN_TAR_FLAG_PAX_GLOBAL = 'g',
    TARN_TAR_FLAG_LONG_NAME = 'L',
    TARN_TAR_FLAG_LONG_LINK = 'K',
    TARN_TAR_FLAG_VOLUME = 'V',
    TARN_TAR_FLAG_MULTIVOLUME = 'M',
};

// What describes one entry. All of it is borrowed.
struct tarn_tar_head {
    const uint8_t *block; // TARN_TAR_BLOCK bytes with a right checksum
    const struct tarn_tar_pax *pax;
    struct tarn_tar_text long_name; // of GNU's L and K entries; length 0: none
    struct tarn_tar_text long_link;
};

// Whether the header's checksum is right, as unsigned or, as some old writers have it, signed
// bytes.
bool tarn_tar_header_sum_ok(const uint8_t block[TARN_TAR_BLOCK]);

char tarn_tar_header_flag(const uint8_t block[TARN_TAR_BLOCK]);

// The size field alone.
int tarn_tar_header_size(const uint8_t block[TARN_TAR_BLOCK], uint64_t *size,
                         struct tarn_err *err) tarn_must_check;

// Replaces raw by the entry's name as the tar has it: of GNU.sparse.name, L, path or the header,
// the first that is there. Go's archive/tar, which container runtimes use, has the same order.
int tarn_tar_head_name(const struct tarn_tar_head *head, struct tarn_buf *raw,
                       struct tarn_err *err) tarn_must_check;

enum tarn_tar_sparse { // how the map of a sparse file is told
    TARN_TAR_SPARSE_NONE,
    TARN_TAR_SPARSE_OLD,  // in the header and in blocks behind it
    TARN_TAR_SPARSE_PAX,  // in pax->map
    TARN_TAR_SPARSE_DATA, // in front of the data (1.0)
};

struct tarn_tar_decoded {
    struct tarn_tar_entry entry; // path and link point into the buffers below; no extents yet
    struct tarn_buf path;        // owned, reused
    struct tarn_buf link;
    enum tarn_tar_sparse sparse;
    uint64_t stored; // S_IFREG: bytes that follow the header and its map; else 0
};

void tarn_tar_decoded_release(struct tarn_tar_decoded *decoded);

// Fills decoded from head; raw is from tarn_tar_head_name(). -EUCLEAN, -EINVAL, -ENOTSUP, -ENOMEM
// with the reason, not the entry's name.
int tarn_tar_decode(const struct tarn_tar_head *head, const struct tarn_buf *raw,
                    struct tarn_tar_decoded *decoded, struct tarn_err *err) tarn_must_check;

// The map entries of an old sparse header, or of a block behind it. Sets *more when a further block
// follows.
int tarn_tar_old_sparse(const uint8_t block[TARN_TAR_BLOCK], bool extension,
                        struct tarn_tar_map *map, bool *more, struct tarn_err *err) tarn_must_check;

#endif
