// SPDX-License-Identifier: Apache-2.0
// Where the regular files of an uncompressed tar lie. Knows ustar, pax (path, linkpath, size) and GNU
// long names and sizes: what the tools that write OCI archives use. The converter reads layers with a
// full tar reader; this one is small because it must stand below it and needs no contents.
// Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
#ifndef TARN_REGISTRY_ARCHIVE_SCAN_H
#define TARN_REGISTRY_ARCHIVE_SCAN_H

#include <stdint.h>

#include "base/err.h"

struct tarn_archive_member {
    char *name;      // without "/" and "./" in front; owned
    char *target;    // while scanning: the name that a hard link stands for; then NULL
    uint64_t offset; // of the content in the archive
    uint64_t size;
    size_t order; // in the archive
};

// Sorted by name, each once: of members with one name the last counts.
struct tarn_archive_members {
    struct tarn_archive_member *list;
    size_t count;
    size_t capacity;
};
void tarn_archive_members_release(struct tarn_archive_members *members);

const struct tarn_archive_member *
tarn_archive_members_find(const struct tarn_archive_members *members, const char *name);

struct tarn_archive_input {
    int (*read)(void *context, void *data, size_t length, uint64_t offset); // all of it, or -errno
    void *context;
    uint64_t size; // bytes
};

// members must be zeroed. -EUCLEAN with the offset for what is no tar or a damaged one; -ENOTSUP for a
// compressed one.
int tarn_archive_scan(const struct tarn_archive_input *input, struct tarn_archive_members *members,
                      struct tarn_err *err) tarn_must_check;

#endif
