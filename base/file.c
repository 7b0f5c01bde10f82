// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

int tarn_open_standard_files(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        const int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        if (opened != fd)
            return opened < 0 ? -errno : -EBADF;
    }
    return 0;
}

int tarn_pread_full(int fd, void *data, size_t length, uint64_t offset)
{
    uint8_t *p = data;
    while (length > 0) {
        const ssize_t n = pread(fd, p, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        p += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

int tarn_write_full(int fd, const void *data, size_t length)
{
    const uint8_t *p = data;
    while (length > 0) {
        const ssize_t n = write(fd, p, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; // no file system does this; without an end it would go on for ever
        p += n;
        length -= (size_t)n;
    }
    return 0;
}

int tarn_pwrite_full(int fd, const void *data, size_t length, uint64_t offset)
{
    const uint8_t *p = data;
    while (length > 0) {
        const ssize_t n = pwrite(fd, p, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; // no file system does this; without an end it would go on for ever
        p += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

int tarn_file_read(int dirfd, const char *path, size_t limit, struct tarn_buf *buf,
                   struct tarn_err *err)
{
    struct stat st;
    // Non-blocking for a fifo, which would wait for a writer.
    tarn_autoclose int fd = openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return tarn_fail_errno(err, -errno, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return tarn_fail(err, -EINVAL, "%s is not a regular file", path);
    const size_t start = buf->length;
    for (;;) {
        if (tarn_buf_reserve(buf, 65536) < 0)
            return tarn_fail(err, -ENOMEM, "out of memory reading %s", path);
        const ssize_t n = read(fd, buf->data + buf->length, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tarn_fail_errno(err, -errno, "cannot read %s", path);
        if (n == 0)
            return 0;
        buf->length += (size_t)n;
        if (buf->length - start > limit)
            return tarn_fail(err, -EFBIG, "%s is larger than %zu bytes", path, limit);
    }
}

struct replacement {
    const void *data;
    size_t length;
    bool synced;
};

static int replace(int dirfd, const char *path, const struct replacement *by, struct tarn_err *err)
{
    tarn_autofree char *temporary = tarn_asprintf("%s.%d.tmp", path, (int)gettid());
    if (!temporary)
        return tarn_fail(err, -ENOMEM, "out of memory writing %s", path);
    tarn_autoclose int fd =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return tarn_fail_errno(err, -errno, "cannot create %s", temporary);
    int ret = tarn_write_full(fd, by->data, by->length);
    if (ret == 0 && by->synced && fsync(fd) < 0)
        ret = -errno;
    if (ret == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
        ret = -errno;
    if (ret < 0) {
        unlinkat(dirfd, temporary, 0);
        return tarn_fail_errno(err, ret, "cannot write %s", path);
    }
    return 0;
}

int tarn_file_replace(int dirfd, const char *path, const void *data, size_t length,
                      struct tarn_err *err)
{
    const struct replacement by = { data, length, true };
    return replace(dirfd, path, &by, err);
}

int tarn_file_replace_unsynced(int dirfd, const char *path, const void *data, size_t length,
                               struct tarn_err *err)
{
    const struct replacement by = { data, length, false };
    return replace(dirfd, path, &by, err);
}

int tarn_mkdirs(const char *path, mode_t mode, struct tarn_err *err)
{
    tarn_autofree char *copy = strdup(path);
    if (!copy)
        return tarn_fail(err, -ENOMEM, "out of memory making %s", path);
    for (char *p = copy + (*copy == '/');; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        const char end = *p;
        *p = '\0';
        struct stat st;
        if (mkdir(copy, mode) < 0 &&
            (errno != EEXIST || stat(copy, &st) < 0 || !S_ISDIR(st.st_mode)))
            return tarn_fail_errno(err, errno == EEXIST ? -ENOTDIR : -errno,
                                   "cannot make directory %s", copy);
        if (end == '\0')
            return 0;
        *p = end;
    }
}

static int open_entries(int dirfd, const char *path, DIR **directory)
{
    const int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *directory = fd < 0 ? NULL : fdopendir(fd);
    const int ret = *directory ? 0 : -errno;
    assert(*directory || ret < 0);
    if (!*directory && fd >= 0)
        close(fd);
    return ret;
}

int tarn_directory_open(int dirfd, DIR **directory)
{
    return open_entries(dirfd, ".", directory);
}

void tarn_file_sweep(int dirfd, const char *prefix)
{
    static const char suffix[] = ".tmp";
    tarn_autodir DIR *dir = NULL;
    if (tarn_directory_open(dirfd, &dir) < 0)
        return;
    const size_t start = strlen(prefix);
    const size_t end = sizeof suffix - 1;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        const size_t length = strlen(entry->d_name);
        if (length > start + end && strncmp(entry->d_name, prefix, start) == 0 &&
            strcmp(entry->d_name + length - end, suffix) == 0)
            unlinkat(dirfd, entry->d_name, 0);
    }
}

static int remove_children(int parent, const char *path)
{
    tarn_autodir DIR *dir = NULL;
    int ret = open_entries(parent, path, &dir);
    const struct dirent *entry;
    while (ret == 0 && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        ret = tarn_remove_tree(dirfd(dir), entry->d_name, NULL);
    }
    return ret;
}

int tarn_remove_tree(int dirfd, const char *path, struct tarn_err *err)
{
    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return tarn_fail_errno(err, -errno, "cannot remove %s", path);
    int ret = remove_children(dirfd, path);
    if (ret == 0 && unlinkat(dirfd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
        ret = -errno;
    return ret < 0 ? tarn_fail_errno(err, ret, "cannot remove %s", path) : 0;
}

char *tarn_path_join(const char *directory, const char *name)
{
    return tarn_asprintf("%s/%s", directory, name);
}

char *tarn_asprintf(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    const int n = vasprintf(&text, format, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

const char *tarn_temporary_directory(void)
{
    const char *directory = getenv("TMPDIR");
    return directory && *directory ? directory : "/var/tmp";
}

int tarn_temporary_open(struct tarn_err *err)
{
    const char *directory = tarn_temporary_directory();
    const int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    // Where the file system has no O_TMPFILE: a named one that is unlinked at once.
    tarn_autofree char *name = tarn_asprintf("%s/tarn-XXXXXX", directory);
    if (!name)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const int named = mkostemp(name, O_CLOEXEC);
    if (named < 0)
        return tarn_fail_errno(err, -errno,
                               "cannot make a temporary file in %s (set TMPDIR to choose another)",
                               directory);
    unlink(name);
    return named;
}
