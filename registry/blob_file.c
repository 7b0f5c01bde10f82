// SPDX-License-Identifier: Apache-2.0
#include "registry/blob_file.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"

enum { NAME_TRIES = 10000 };

static int create_named(struct tarn_blob_file *file)
{
    for (unsigned n = 0; n < NAME_TRIES; n++) {
        snprintf(file->name, sizeof file->name, ".tarn-%d-%u.tmp", (int)getpid(), n);
        tarn_autoclose int fd =
            openat(file->directory, file->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return -errno;
        // Between the open and the lock a sweep may have taken the file for a dead one's.
        struct stat st;
        if (flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
            return -errno;
        if (st.st_nlink == 0)
            continue;
        file->fd = tarn_steal_fd(&fd);
        return 0;
    }
    return -EEXIST;
}

int tarn_blob_file_create(int directory, enum tarn_blob_file_kind kind, struct tarn_blob_file *file,
                          struct tarn_err *err)
{
    *file = (struct tarn_blob_file){ .directory = directory, .fd = -1 };
    int ret = -EOPNOTSUPP;
    if (kind == TARN_BLOB_FILE_ANY) {
        file->fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
        ret = file->fd < 0 ? -errno : 0;
    }
    // What old kernels and some file systems say instead of EOPNOTSUPP.
    if (ret == -EOPNOTSUPP || ret == -EISDIR || ret == -EINVAL)
        ret = create_named(file);
    return ret < 0 ? tarn_fail_errno(err, ret, "cannot create a temporary file") : 0;
}

// By /proc where it is mounted, because the other way needs CAP_DAC_READ_SEARCH.
static int link_to(const struct tarn_blob_file *file, const char *name)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    if (linkat(AT_FDCWD, path, file->directory, name, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    return linkat(file->fd, "", file->directory, name, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

// Gives a file without a name one of the temporary ones.
static int link_temporary(struct tarn_blob_file *file)
{
    if (flock(file->fd, LOCK_EX) < 0)
        return -errno;
    for (unsigned n = 0; n < NAME_TRIES; n++) {
        snprintf(file->name, sizeof file->name, ".tarn-%d-%u.tmp", (int)getpid(), n);
        const int ret = link_to(file, file->name);
        if (ret != -EEXIST) {
            if (ret < 0)
                file->name[0] = '\0';
            return ret;
        }
    }
    file->name[0] = '\0';
    return -EEXIST;
}

static bool is_there(const struct tarn_blob_file *file, const char *name)
{
    struct stat st;
    return fstatat(file->directory, name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

static int give_name(struct tarn_blob_file *file, const char *name, bool keep)
{
    if (fsync(file->fd) < 0)
        return -errno;
    if (keep && is_there(file, name))
        return 0;
    if (file->name[0] == '\0') {
        int ret = link_to(file, name);
        if (ret != -EEXIST)
            return ret;
        if (keep && is_there(file, name)) // written by another just now
            return 0;
        ret = link_temporary(file);
        if (ret < 0)
            return ret;
    }
    if (renameat(file->directory, file->name, file->directory, name) < 0)
        return -errno;
    file->name[0] = '\0';
    return 0;
}

int tarn_blob_file_commit(struct tarn_blob_file *file, const char *name, bool keep,
                          struct tarn_err *err)
{
    const int ret = give_name(file, name, keep);
    tarn_blob_file_discard(file);
    return ret < 0 ? tarn_fail_errno(err, ret, "cannot write %s", name) : 0;
}

void tarn_blob_file_discard(struct tarn_blob_file *file)
{
    if (file->fd < 0)
        return;
    if (file->name[0] != '\0')
        unlinkat(file->directory, file->name, 0);
    close(tarn_steal_fd(&file->fd));
}

static void sweep_one(int directory, const char *name)
{
    tarn_autoclose int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlinkat(directory, name, 0);
}

void tarn_blob_file_sweep(int directory)
{
    tarn_autodir DIR *dir = NULL;
    if (tarn_directory_open(directory, &dir) < 0)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        const size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, ".tarn-", 6) == 0 && length > 10 &&
            strcmp(entry->d_name + length - 4, ".tmp") == 0)
            sweep_one(directory, entry->d_name);
    }
}
