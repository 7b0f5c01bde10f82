// SPDX-License-Identifier: Apache-2.0
// Depth first with a stack of open directories; a path is opened component by component from its
// parent's descriptor, so that a tree that changes meanwhile is not escaped from.
#include "converter/directory_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/cancel.h"
#include "base/file.h"
#include "base/map.h"
#include "converter/tar_name.h"

enum { READ_SIZE = 256 << 10 };

// The first path of an inode with several names.
struct first_name {
    dev_t device;
    ino_t inode;
    char path[];
};

struct walk {
    struct tarn_layer_builder *builder;
    const volatile sig_atomic_t *cancel;
    struct tarn_err *err;
    uint64_t sockets;
    struct tarn_buf path;   // of the current entry, NUL-terminated beyond its length
    struct tarn_map *links; // owned struct first_name, freed by free_links()
    uint8_t *data;
    struct tarn_buf names;  // xattr names
    struct tarn_buf values; // xattr values
    struct tarn_tar_xattr *xattrs;
    size_t xattr_capacity;
};

static int fail(const struct walk *walk, int code, const char *what)
{
    char quoted[TARN_TAR_QUOTED];
    return tarn_fail_errno(
        walk->err, code, "cannot %s %s", what,
        walk->path.length ? tarn_tar_quote(walk->path.data, walk->path.length, quoted) : "it");
}

static int check_cancel(const struct walk *walk)
{
    return tarn_cancel_is_set(walk->cancel) ? tarn_fail(walk->err, -EINTR, "interrupted") : 0;
}

// --- hard links ------------------------------------------------------------------------------------
static bool same_inode(const void *key, const void *value)
{
    const struct stat *st = key;
    const struct first_name *first = value;
    return first->device == st->st_dev && first->inode == st->st_ino;
}

// The path under which the inode was seen before, or NULL; then it is noted.
static int find_link(struct walk *walk, const struct stat *st, const char **path)
{
    const uint64_t hash = (st->st_ino ^ st->st_dev << 40) * UINT64_C(0x9e3779b97f4a7c15) >> 7;
    const struct first_name *first = tarn_map_get(walk->links, hash, st, same_inode);
    *path = first ? first->path : NULL;
    if (first)
        return 0;
    struct first_name *name = malloc(sizeof *name + walk->path.length + 1);
    if (!name)
        return -ENOMEM;
    name->device = st->st_dev;
    name->inode = st->st_ino;
    memcpy(name->path, walk->path.data, walk->path.length + 1);
    const int ret = tarn_map_add(walk->links, hash, name);
    if (ret < 0)
        free(name);
    return ret;
}

static void free_links(struct tarn_map *links)
{
    size_t position = 0;
    struct first_name *name;
    while (links && (name = tarn_map_next(links, &position)))
        free(name);
    tarn_map_free(links);
}

// --- xattrs ----------------------------------------------------------------------------------------
// /proc/self/fd/N names any entry without following it, also where fgetxattr() refuses O_PATH.
static void fd_path(int fd, char path[64])
{
    snprintf(path, 64, "/proc/self/fd/%d", fd);
}

static int list_names(struct walk *walk, const char *path)
{
    for (;;) {
        const ssize_t n = listxattr(path, (char *)walk->names.data, walk->names.capacity);
        if (n >= 0 && (walk->names.capacity > 0 || n == 0)) {
            walk->names.length = (size_t)n;
            return 0;
        }
        if (n < 0 && errno != ERANGE)
            return errno == ENOTSUP ? 0 : -errno;
        walk->names.length = 0;
        if (tarn_buf_reserve(&walk->names, walk->names.capacity * 2 + 256) < 0)
            return -ENOMEM;
    }
}

static int read_value(struct walk *walk, const char *path, const char *name, size_t *length)
{
    if (tarn_buf_reserve(&walk->values, 65536) < 0)
        return -ENOMEM;
    const ssize_t n = getxattr(path, name, walk->values.data + walk->values.length, 65536);
    if (n < 0)
        return -errno;
    *length = (size_t)n;
    walk->values.length += (size_t)n;
    return 0;
}

static int add_xattr(struct walk *walk, size_t index, const char *name, size_t length)
{
    if (index == walk->xattr_capacity) {
        const size_t capacity = walk->xattr_capacity ? walk->xattr_capacity * 2 : 8;
        struct tarn_tar_xattr *xattrs = realloc(walk->xattrs, capacity * sizeof *xattrs);
        if (!xattrs)
            return -ENOMEM;
        walk->xattrs = xattrs;
        walk->xattr_capacity = capacity;
    }
    walk->xattrs[index] =
        (struct tarn_tar_xattr){ .name = name, .name_length = strlen(name), .length = length };
    return 0;
}

// Fills entry->xattrs from the open entry. The values' buffer may move until all are read.
static int read_xattrs(struct walk *walk, int fd, struct tarn_tar_entry *entry)
{
    char path[64];
    fd_path(fd, path);
    walk->names.length = 0;
    walk->values.length = 0;
    int ret = list_names(walk, path);
    if (ret == 0)
        ret = tarn_buf_reserve(&walk->values, 1); // no value is NULL
    if (ret < 0)
        return fail(walk, ret, "list the xattrs of");
    if (walk->names.length == 0)
        return 0;
    const char *name = (const char *)walk->names.data;
    const char *end = name + walk->names.length;
    for (; name < end; name += strlen(name) + 1) {
        size_t length = 0;
        ret = read_value(walk, path, name, &length);
        if (ret == -ENODATA)
            continue; // it went away
        if (ret == 0)
            ret = add_xattr(walk, entry->xattr_count++, name, length);
        if (ret < 0)
            return fail(walk, ret, "read the xattrs of");
    }
    size_t offset = 0;
    for (size_t i = 0; i < entry->xattr_count; i++) {
        walk->xattrs[i].value = walk->values.data + offset;
        offset += walk->xattrs[i].length;
    }
    entry->xattrs = walk->xattrs;
    return 0;
}

// --- entries ---------------------------------------------------------------------------------------
static int read_piece(struct walk *walk, int fd, uint64_t offset, uint64_t end)
{
    while (offset < end) {
        const size_t n = end - offset < READ_SIZE ? end - offset : READ_SIZE;
        int ret = check_cancel(walk);
        if (ret < 0)
            return ret;
        ret = tarn_pread_full(fd, walk->data, n, offset);
        char quoted[TARN_TAR_QUOTED];
        if (ret == -ENODATA)
            return tarn_fail(walk->err, ret, "%s became shorter while it was read; convert again",
                             tarn_tar_quote(walk->path.data, walk->path.length, quoted));
        if (ret < 0)
            return fail(walk, ret, "read");
        ret = tarn_layer_builder_data(walk->builder, offset, walk->data, n, walk->err);
        if (ret < 0)
            return ret;
        offset += n;
    }
    return 0;
}

// Reads what the file system says is data; a file system that cannot tell says that all is.
static int read_data(struct walk *walk, int fd, uint64_t size)
{
    uint64_t offset = 0;
    while (offset < size) {
        const off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0;
        const off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        const uint64_t start = data < 0 ? offset : (uint64_t)data;
        const uint64_t end = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
        const int ret = start < end ? read_piece(walk, fd, start, end) : 0;
        if (ret < 0)
            return ret;
        offset = start < end ? end : size;
    }
    return 0;
}

static int deliver(struct walk *walk, int fd, struct tarn_tar_entry *entry, int data_fd)
{
    int ret = entry->type == TARN_TAR_HARDLINK ? 0 : read_xattrs(walk, fd, entry);
    if (ret == 0)
        ret = tarn_layer_builder_begin(walk->builder, entry, walk->err);
    if (ret == 0 && data_fd >= 0)
        ret = read_data(walk, data_fd, entry->size);
    return ret < 0 ? ret : tarn_layer_builder_end(walk->builder, walk->err);
}

static void fill_entry(const struct walk *walk, const struct stat *st, struct tarn_tar_entry *entry)
{
    *entry = (struct tarn_tar_entry){
        .path = (const char *)walk->path.data,
        .path_length = walk->path.length,
        .type = st->st_mode & S_IFMT,
        .mode = st->st_mode & 07777,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .mtime = st->st_mtim.tv_sec,
        .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
    };
    if (S_ISREG(st->st_mode))
        entry->size = (uint64_t)st->st_size;
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        entry->rdev_major = major(st->st_rdev);
        entry->rdev_minor = minor(st->st_rdev);
    }
}

// The current path, which fd (O_PATH) has open; name under parent names it too.
static int visit(struct walk *walk, int parent, const char *name, int fd, const struct stat *st)
{
    struct tarn_tar_entry entry;
    char target[4097];
    fill_entry(walk, st, &entry);
    if (S_ISSOCK(st->st_mode)) {
        walk->sockets++;
        return 0;
    }
    if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
        const char *first;
        if (find_link(walk, st, &first) < 0)
            return tarn_fail(walk->err, -ENOMEM, "out of memory");
        if (first) {
            entry.type = TARN_TAR_HARDLINK;
            entry.size = 0;
            entry.link = first;
            entry.link_length = strlen(first);
            return deliver(walk, fd, &entry, -1);
        }
    }
    if (S_ISLNK(st->st_mode)) {
        const ssize_t n = readlinkat(fd, "", target, sizeof target - 1);
        if (n < 0)
            return fail(walk, -errno, "read the link");
        target[n] = '\0';
        entry.link = target;
        entry.link_length = (size_t)n;
    }
    if (!S_ISREG(st->st_mode))
        return deliver(walk, fd, &entry, -1);
    tarn_autoclose int data = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (data < 0)
        return fail(walk, -errno, "open");
    return deliver(walk, fd, &entry, data);
}

static int set_path(struct walk *walk, size_t base, const char *name)
{
    walk->path.length = base;
    int ret = 0;
    if (base > 0)
        ret = tarn_buf_append(&walk->path, "/", 1);
    if (ret == 0)
        ret = tarn_buf_append(&walk->path, name, strlen(name) + 1);
    if (ret < 0)
        return tarn_fail(walk->err, -ENOMEM, "out of memory");
    walk->path.length--;
    return 0;
}

// --- directories -----------------------------------------------------------------------------------
struct level {
    DIR *dir;
    size_t base; // length of its path
};

struct stack {
    struct level *levels;
    size_t count;
    size_t capacity;
};

static int push(struct walk *walk, struct stack *stack, int fd)
{
    if (stack->count == stack->capacity) {
        const size_t capacity = stack->capacity ? stack->capacity * 2 : 16;
        struct level *levels = realloc(stack->levels, capacity * sizeof *levels);
        if (!levels) {
            close(fd);
            return tarn_fail(walk->err, -ENOMEM, "out of memory");
        }
        stack->levels = levels;
        stack->capacity = capacity;
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return fail(walk, -errno, "read directory");
    }
    stack->levels[stack->count++] = (struct level){ dir, walk->path.length };
    return 0;
}

static int visit_name(struct walk *walk, struct stack *stack, const char *name)
{
    const struct level *level = &stack->levels[stack->count - 1];
    const int parent = dirfd(level->dir);
    int ret = check_cancel(walk);
    if (ret == 0)
        ret = set_path(walk, level->base, name);
    if (ret < 0)
        return ret;
    tarn_autoclose int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(walk, -errno, "open");
    ret = visit(walk, parent, name, fd, &st);
    if (ret < 0 || !S_ISDIR(st.st_mode))
        return ret;
    const int child = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return child < 0 ? fail(walk, -errno, "open directory") : push(walk, stack, child);
}

static int walk_all(struct walk *walk, struct stack *stack)
{
    while (stack->count > 0) {
        errno = 0;
        const struct dirent *entry = readdir(stack->levels[stack->count - 1].dir);
        if (!entry) {
            if (errno)
                return fail(walk, -errno, "read directory");
            closedir(stack->levels[--stack->count].dir);
            continue;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        const int ret = visit_name(walk, stack, entry->d_name);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int walk_root(struct walk *walk, struct stack *stack, const char *path)
{
    const int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (root < 0 || fstat(root, &st) < 0) {
        const int code = -errno;
        if (root >= 0)
            close(root);
        return tarn_fail_errno(walk->err, code, "cannot open directory %s", path);
    }
    int ret = set_path(walk, 0, "");
    if (ret == 0)
        ret = visit(walk, root, ".", root, &st);
    if (ret < 0) {
        close(root);
        return ret;
    }
    ret = push(walk, stack, root);
    return ret < 0 ? ret : walk_all(walk, stack);
}

int tarn_directory_read(const char *path, struct tarn_layer_builder *builder,
                        const volatile sig_atomic_t *cancel, uint64_t *sockets,
                        struct tarn_err *err)
{
    struct walk walk = { .builder = builder,
                         .cancel = cancel,
                         .err = err,
                         .links = tarn_map_new(),
                         .data = malloc(READ_SIZE) };
    struct stack stack = { 0 };
    int ret = walk.links && walk.data ? walk_root(&walk, &stack, path)
                                      : tarn_fail(err, -ENOMEM, "out of memory");
    *sockets = walk.sockets;
    while (stack.count > 0)
        closedir(stack.levels[--stack.count].dir);
    free(stack.levels);
    free_links(walk.links);
    free(walk.data);
    free(walk.xattrs);
    tarn_buf_release(&walk.path);
    tarn_buf_release(&walk.names);
    tarn_buf_release(&walk.values);
    return ret < 0 ? tarn_wrap(err, ret, "dir:%s", path) : 0;
}
