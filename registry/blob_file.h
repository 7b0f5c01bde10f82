// SPDX-License-Identifier: Apache-2.0
// A file that gets its name only when it is complete. Until then it has none at all (O_TMPFILE), or,
// where the file system cannot do that, a name ".tarn-<pid>-<n>.tmp" and an flock that tells the
// living from the dead. Blocks; any thread, one at a time for each file.
#ifndef TARN_REGISTRY_BLOB_FILE_H
#define TARN_REGISTRY_BLOB_FILE_H

#include <stdbool.h>

#include "base/err.h"

enum tarn_blob_file_kind {
    TARN_BLOB_FILE_ANY,   // without a name if possible
    TARN_BLOB_FILE_NAMED, // with one, as on a file system that cannot do without
};

struct tarn_blob_file {
    int directory; // borrowed; must stay open
    int fd;        // owned; open for reading and writing
    char name[64]; // "" without a name
};

// A new empty file, mode 0644 & ~umask.
int tarn_blob_file_create(int directory, enum tarn_blob_file_kind kind, struct tarn_blob_file *file,
                          struct tarn_err *err) tarn_must_check;

// Makes the content durable and gives it the name. What stands there already is replaced: it may be
// damaged. With keep a regular file stays, and is success. Ends the file in any case, leaving nothing else
// behind.
int tarn_blob_file_commit(struct tarn_blob_file *file, const char *name, bool keep,
                          struct tarn_err *err) tarn_must_check;

// Ends the file, leaving nothing behind.
void tarn_blob_file_discard(struct tarn_blob_file *file);

// Removes named files whose writers are dead. Best effort.
void tarn_blob_file_sweep(int directory);

#endif
