// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes, directories, and files that appear complete or not at all.
#ifndef TARN_BASE_FILE_H
#define TARN_BASE_FILE_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

// At the start of a program: has descriptors 0 to 2 open, so that no other file gets their numbers.
// One that was closed can only be used the wrong way round, so that its use fails as before.
int tarn_open_standard_files(void) tarn_must_check;

// Exactly length bytes, or -errno. -ENODATA when the file ends earlier.
int tarn_pread_full(int fd, void *data, size_t length, uint64_t offset) tarn_must_check;
int tarn_write_full(int fd, const void *data, size_t length) tarn_must_check;
int tarn_pwrite_full(int fd, const void *data, size_t length, uint64_t offset) tarn_must_check;

// Whether a system call that reports on earlier writes says that the disk did not take one.
static inline bool tarn_is_lost_write(int code)
{
    return code == EIO || code == ENOSPC || code == EDQUOT;
}

// Appends the whole regular file to buf (-EINVAL for another kind); -EFBIG above limit bytes. dirfd
// may be AT_FDCWD. Does not wait for a writer.
int tarn_file_read(int dirfd, const char *path, size_t limit, struct tarn_buf *buf,
                   struct tarn_err *err) tarn_must_check;

// Writes a file under its name in one step (temporary sibling, fsync, rename), mode 0644 & ~umask.
int tarn_file_replace(int dirfd, const char *path, const void *data, size_t length,
                      struct tarn_err *err) tarn_must_check;

// The same without waiting for the disk (temporary sibling, rename): after a crash of the system
// the file may be empty or have zeros. Only for what is checked whenever it is read and can be made
// again.
int tarn_file_replace_unsynced(int dirfd, const char *path, const void *data, size_t length,
                               struct tarn_err *err) tarn_must_check;

// Removes from the directory what processes that died in one of these left of files whose names start with
// prefix. Best effort; nobody replaces such a file meanwhile.
void tarn_file_sweep(int dirfd, const char *prefix);

// Yields the entries of the directory that dirfd, which is only borrowed, names. 0 or -errno.
int tarn_directory_open(int dirfd, DIR **directory) tarn_must_check;
static inline void tarn_closedir_p(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}
#define tarn_autodir tarn_cleanup(tarn_closedir_p)

// Makes path and its missing parents. Existing directories are fine.
int tarn_mkdirs(const char *path, mode_t mode, struct tarn_err *err) tarn_must_check;

// Removes what path names, directories with all below. A path that is not there is fine.
int tarn_remove_tree(int dirfd, const char *path, struct tarn_err *err) tarn_must_check;

// The directory for temporary files: $TMPDIR, or /var/tmp.
const char *tarn_temporary_directory(void);
// A file there without a name, open for reading and writing. A descriptor or -errno.
int tarn_temporary_open(struct tarn_err *err) tarn_must_check;

// "directory/name" in fresh memory, or NULL.
char *tarn_path_join(const char *directory, const char *name);

// printf into fresh memory, or NULL.
char *tarn_asprintf(const char *format, ...) tarn_printf(1, 2);

#endif
