// SPDX-License-Identifier: Apache-2.0
// The names of a directory as EROFS wants them: children, `.` and `..` in one bytewise order, cut
// into blocks.
#ifndef TARN_FORMAT_EROFS_NAMES_H
#define TARN_FORMAT_EROFS_NAMES_H

#include "format/tree.h"

struct tarn_erofs_names {
    const struct tarn_node *directory; // sorted; NULL: nothing
    const struct tarn_node *child;     // the next one
    unsigned dots;                     // how many of `.` and `..` came already
};

struct tarn_erofs_name {
    const struct tarn_node *node; // whose inode the name stands for
    const char *bytes;
    uint16_t length;
};

static inline struct tarn_erofs_names tarn_erofs_names_start(const struct tarn_node *directory)
{
    return (struct tarn_erofs_names){ .directory = directory, .child = directory->child };
}

// The next name, or false at the end.
bool tarn_erofs_names_next(struct tarn_erofs_names *names, struct tarn_erofs_name *name);

// Steps over the names of the next block. Yields their count (0 at the end) and the bytes that
// they take.
uint32_t tarn_erofs_names_block(struct tarn_erofs_names *names, uint32_t *bytes);

#endif
