// SPDX-License-Identifier: Apache-2.0
// /proc/<pid>/mountinfo (proc(5)). Reading it asks no file system anything.
#ifndef TARN_DAEMON_MOUNTINFO_H
#define TARN_DAEMON_MOUNTINFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct tarn_mountinfo {
    unsigned major; // of st_dev
    unsigned minor;
    char *root;  // what of the file system is mounted; with \ooo undone
    char *point; // where, seen from the reader's root
    char *type;
    char *source;
};

// Appends /proc/<pid>/mountinfo ("self" for pid 0) and a NUL. -errno, -ENOENT if the process is gone.
int tarn_mountinfo_read(int pid, struct tarn_buf *text) tarn_must_check;

// Takes the next line from *cursor, which is changed in place. Lines that are no mountinfo are passed
// over. False at the end.
bool tarn_mountinfo_next(char **cursor, struct tarn_mountinfo *info);

// The number in a root of "/images/<number>", alone or with more behind it; 0 for anything else.
uint32_t tarn_mountinfo_slot(const char *root);

#endif
