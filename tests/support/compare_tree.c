// SPDX-License-Identifier: Apache-2.0
#include "tests/support/compare_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/bytes.h"
#include "base/file.h"

enum { READ_ALL_BELOW = 200 << 20, READ_SIZE = 1 << 20 };

static int differ(struct tarn_err *err, const char *path, const char *what, long long want,
                  long long got)
{
    (void)tarn_fail(err, -EINVAL, "%s: %s: want %lld, got %lld", path, what, want, got);
    return -1;
}

static void close_directory(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

static unsigned dirent_type(uint32_t mode)
{
    return (mode & S_IFMT) >> 12;
}

// `.` and `..` once each, as many others as the node has, with the types of the inodes.
static int compare_directory(const struct tarn_node *node, const char *path, struct tarn_err *err)
{
    tarn_cleanup(close_directory) DIR *directory = opendir(path);
    long long want = 2, got = 0;
    for (const struct tarn_node *child = node->child; child; child = child->next)
        want++;
    if (!directory)
        return differ(err, path, "opendir", 0, errno);
    const struct tarn_node *child = node->child;
    for (struct dirent *entry; (entry = readdir(directory)); got++) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        // A mounted image lists in order; what was extracted from one does not.
        if (child && strcmp(child->name, entry->d_name) == 0 &&
            entry->d_type != dirent_type(child->inode->mode))
            return differ(err, path, entry->d_name, dirent_type(child->inode->mode), entry->d_type);
        child = child ? child->next : NULL;
    }
    return want == got ? 0 : differ(err, path, "number of names", want, got);
}

static int reread(void *context, uint64_t offset, void *data, size_t length)
{
    return tarn_pread_full(*(const int *)context, data, length, offset);
}

static int compare_content(const struct tarn_node *node, const char *path, struct tarn_err *err)
{
    const struct tarn_content *want = node->inode->content;
    tarn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return differ(err, path, "open", 0, errno);
    tarn_cleanup(tarn_content_hasher_free_p) struct tarn_content_hasher *hasher =
        tarn_content_hasher_new(reread, &fd);
    tarn_autofree uint8_t *data = malloc(READ_SIZE);
    if (!hasher || !data)
        return differ(err, path, "memory", 0, ENOMEM);
    tarn_content_hasher_start(hasher, want->size);
    for (uint64_t offset = 0; offset < want->size;) {
        if (want->size > READ_ALL_BELOW) {
            const off_t next = lseek(fd, (off_t)offset, SEEK_DATA);
            if (next < 0)
                break;
            offset = (uint64_t)next;
        }
        const size_t length = tarn_min_u64(READ_SIZE, want->size - offset);
        int ret = tarn_pread_full(fd, data, length, offset);
        if (ret == 0)
            ret = tarn_content_hasher_update(hasher, offset, data, length);
        if (ret < 0)
            return differ(err, path, "read", 0, ret);
        offset += length;
    }
    struct tarn_content got;
    if (tarn_content_hasher_finish(hasher, &got) < 0 || !tarn_content_same(want, &got))
        return differ(err, path, "content", want->kind, got.kind);
    return 0;
}

static int compare_target(const struct tarn_node *node, const char *path, struct tarn_err *err)
{
    char got[8192];
    const ssize_t length = readlink(path, got, sizeof got);
    if (length != (ssize_t)node->inode->target.length)
        return differ(err, path, "length of the target", node->inode->target.length, length);
    const int order = memcmp(got, node->inode->target.bytes, (size_t)length);
    return order == 0 ? 0 : differ(err, path, "target", 0, order);
}

static int compare_xattrs(const struct tarn_node *node, const char *path, struct tarn_err *err)
{
    static const struct tarn_xattr_set none;
    const struct tarn_xattr_set *want = node->inode->xattrs ? node->inode->xattrs : &none;
    tarn_autofree char *names = malloc(65536);
    tarn_autofree char *value = malloc(65536);
    if (!names || !value)
        return differ(err, path, "memory", 0, ENOMEM);
    const ssize_t listed = llistxattr(path, names, 65536);
    if (listed < 0)
        return differ(err, path, "llistxattr", 0, errno);
    uint32_t got = 0;
    for (const char *p = names; p < names + listed; p += strlen(p) + 1)
        got++;
    if (got != want->count)
        return differ(err, path, "number of xattrs", want->count, got);
    for (uint32_t i = 0; i < want->count; i++) {
        const struct tarn_xattr *xattr = &want->items[i];
        const ssize_t length = lgetxattr(path, xattr->name, value, 65536);
        if (length != (ssize_t)xattr->length)
            return differ(err, path, xattr->name, xattr->length, length);
        if (length > 0 && memcmp(value, xattr->value, (size_t)length) != 0)
            return differ(err, path, xattr->name, 0, 1);
    }
    const ssize_t absent = lgetxattr(path, "user.absent", value, 65536);
    return absent == -1 && errno == ENODATA ? 0 : differ(err, path, "absent xattr", -1, absent);
}

static int compare_links(const struct tarn_node *node, const char *path, const struct stat *st,
                         struct tarn_err *err)
{
    struct tarn_inode *inode = node->inode;
    unsigned links = inode->nlink;
    if (S_ISDIR(inode->mode)) {
        links = 2;
        for (const struct tarn_node *child = node->child; child; child = child->next)
            links += S_ISDIR(child->inode->mode);
    }
    if (st->st_nlink != links)
        return differ(err, path, "link count", links, (long long)st->st_nlink);
    if (inode->index == 0)
        inode->index = (uint32_t)st->st_ino;
    if (inode->index != (uint32_t)st->st_ino)
        return differ(err, path, "inode number", inode->index, (long long)st->st_ino);
    return 0;
}

static bool compares_bytes(const struct tarn_node *node, unsigned what)
{
    return S_ISREG(node->inode->mode) &&
           (node->inode->content->kind == TARN_CONTENT_PLAIN || (what & TARN_COMPARE_HOLES));
}

static int compare_stat(const struct tarn_node *node, const char *path, unsigned what,
                        struct tarn_err *err)
{
    const struct tarn_inode *inode = node->inode;
    struct stat st;
    if (lstat(path, &st) != 0)
        return differ(err, path, "lstat", 0, errno);
    const uint32_t ignored = what & TARN_COMPARE_SETUID ? 0 : S_ISUID | S_ISGID;
    if (((st.st_mode ^ inode->mode) & ~ignored) != 0)
        return differ(err, path, "mode", inode->mode, st.st_mode);
    if (st.st_uid != inode->uid)
        return differ(err, path, "uid", inode->uid, st.st_uid);
    if (st.st_gid != inode->gid)
        return differ(err, path, "gid", inode->gid, st.st_gid);
    if (compares_bytes(node, what) && (uint64_t)st.st_size != inode->content->size)
        return differ(err, path, "size", (long long)inode->content->size, st.st_size);
    if ((S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) &&
        st.st_rdev != makedev(inode->major, inode->minor))
        return differ(err, path, "device", (long long)makedev(inode->major, inode->minor),
                      (long long)st.st_rdev);
    if ((what & TARN_COMPARE_TIMES) && st.st_mtim.tv_sec != inode->mtime)
        return differ(err, path, "mtime", inode->mtime, st.st_mtim.tv_sec);
    if ((what & TARN_COMPARE_TIMES) && st.st_mtim.tv_nsec != inode->mtime_ns)
        return differ(err, path, "mtime_ns", inode->mtime_ns, st.st_mtim.tv_nsec);
    return what & TARN_COMPARE_LINKS ? compare_links(node, path, &st, err) : 0;
}

static int compare_node(const struct tarn_node *node, const char *path, unsigned what,
                        struct tarn_err *err)
{
    int ret = compare_stat(node, path, what, err);
    if (ret == 0 && (what & TARN_COMPARE_XATTRS))
        ret = compare_xattrs(node, path, err);
    if (ret == 0 && S_ISDIR(node->inode->mode))
        ret = compare_directory(node, path, err);
    if (ret == 0 && compares_bytes(node, what))
        ret = compare_content(node, path, err);
    if (ret == 0 && S_ISLNK(node->inode->mode))
        ret = compare_target(node, path, err);
    return ret;
}

int tarn_compare_tree(const struct tarn_tree *tree, const char *directory, unsigned what,
                      struct tarn_err *err)
{
    for (struct tarn_node *n = tarn_tree_root(tree); n; n = tarn_tree_next(n))
        n->inode->index = 0;
    for (struct tarn_node *n = tarn_tree_root(tree); n; n = tarn_tree_next(n)) {
        tarn_autobuf struct tarn_buf path = { 0 };
        if (tarn_buf_printf(&path, "%s/", directory) != 0 || tarn_node_path(n, &path) != 0 ||
            tarn_buf_append(&path, "", 1) != 0)
            return differ(err, directory, "memory", 0, ENOMEM);
        int ret = compare_node(n, (const char *)path.data, what, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}
