// SPDX-License-Identifier: Apache-2.0
// A tar whose bytes depend only on names and contents: owner 0, time 0, modes 0644 and 0755.
#ifndef TARN_REGISTRY_ARCHIVE_WRITE_H
#define TARN_REGISTRY_ARCHIVE_WRITE_H

#include <stdint.h>

#include "base/err.h"

// One file: bytes in memory, or size bytes at offset of fd.
struct tarn_archive_part {
    const char *name;  // relative, without "." parts; borrowed
    const void *bytes; // borrowed; NULL: from fd
    int fd;            // borrowed
    uint64_t offset;
    uint64_t size;
};

// Writes the parts, which are sorted bytewise by name, with their directories, to an empty file. Blocks.
int tarn_archive_write(int fd, const struct tarn_archive_part *parts, size_t count,
                       struct tarn_err *err) tarn_must_check;

#endif
