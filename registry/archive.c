// SPDX-License-Identifier: Apache-2.0
#include "registry/archive.h"

#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "registry/archive_scan.h"
#include "registry/archive_write.h"
#include "registry/disk.h"

#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"
#define BLOBS "blobs/sha256/"

enum { TRIES = 10, NAME_TRIES = 10000 };

// The archive as it is on disk.
struct content {
    int fd;         // -1: there is none
    struct stat st; // of fd
    struct tarn_archive_members members;
};

struct archive {
    struct tarn_disk disk;
    char *path; // symbolic links resolved
    bool create;
    pthread_mutex_t publishing; // held while the file is written; taken before lock
    pthread_mutex_t lock;       // guards the members below
    struct content content;
    char *temporary;  // the directory beside the file; NULL before the first blob
    int temporary_fd; // -1 before; carries an exclusive flock
    json_t *pending;  // array of {tag, original, tarn}: publications that wait for the last one
};

static struct archive *archive_of(struct tarn_disk *disk)
{
    return (struct archive *)disk;
}

static const char *name_of(const struct archive *archive)
{
    return archive->disk.repository.name;
}

static void content_release(struct content *content)
{
    if (content->fd >= 0)
        close(content->fd);
    tarn_archive_members_release(&content->members);
    content->fd = -1;
}

// --- reading ----------------------------------------------------------------------------------------

static int input_read(void *context, void *data, size_t length, uint64_t offset)
{
    const int *fd = context;
    return tarn_pread_full(*fd, data, length, offset);
}

static int check_kind(const struct archive *archive, const struct tarn_archive_members *members,
                      struct tarn_err *err)
{
    if (tarn_archive_members_find(members, "index.json"))
        return 0;
    // What `docker save` wrote before version 25, and skopeo's docker-archive.
    const bool docker = tarn_archive_members_find(members, "manifest.json");
    return tarn_fail(err, docker ? -ENOTSUP : -EINVAL,
                     "%s: not an OCI archive: it has no member 'index.json'%s", name_of(archive),
                     docker ? "; it is one of Docker's: skopeo copy docker-archive:FILE "
                              "oci-archive:OTHER makes one of OCI's"
                            : "");
}

// Opens and scans the file. One that is not there, or is empty, is an archive without members.
static int load(const struct archive *archive, struct content *content, struct tarn_err *err)
{
    *content = (struct content){ .fd = open(archive->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
    if (content->fd < 0 && errno == ENOENT && archive->create)
        return 0;
    if (content->fd < 0 && errno == ENOENT)
        return tarn_fail(err, -ENOENT,
                         "%s: no such file (a path in an image name ends at its first "
                         "':')",
                         name_of(archive));
    if (content->fd < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot open", name_of(archive));
    int ret = 0;
    if (fstat(content->fd, &content->st) < 0)
        ret = tarn_fail_errno(err, -errno, "%s: cannot read", name_of(archive));
    else if (!S_ISREG(content->st.st_mode))
        ret = tarn_fail(err, -EINVAL, "%s: not a regular file", name_of(archive));
    if (ret == 0) {
        const struct tarn_archive_input input = { .read = input_read,
                                                  .context = &content->fd,
                                                  .size = (uint64_t)content->st.st_size };
        ret = tarn_archive_scan(&input, &content->members, err);
        if (ret < 0)
            tarn_wrap(err, ret, "%s", name_of(archive));
    }
    if (ret == 0 && !(archive->create && content->members.count == 0))
        ret = check_kind(archive, &content->members, err);
    if (ret < 0)
        content_release(content);
    return ret;
}

// With the lock held: the blob in the archive itself, or NULL.
static const struct tarn_archive_member *member_of(const struct archive *archive,
                                                   const struct tarn_digest *digest)
{
    char name[sizeof BLOBS + TARN_DIGEST_HEX];
    memcpy(name, BLOBS, sizeof BLOBS - 1);
    tarn_digest_format_hex(digest, name + sizeof BLOBS - 1);
    return tarn_archive_members_find(&archive->content.members, name);
}

// With the lock held.
static int find_locked(const struct archive *archive, const struct tarn_digest *digest,
                       struct tarn_disk_place *place)
{
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(digest, hex);
    if (archive->temporary_fd >= 0) {
        tarn_autoclose int fd = openat(archive->temporary_fd, hex, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 && errno != ENOENT)
            return -errno;
        if (fd >= 0) {
            if (fstat(fd, &st) < 0)
                return -errno;
            *place =
                (struct tarn_disk_place){ .fd = tarn_steal_fd(&fd), .size = (uint64_t)st.st_size };
            return 0;
        }
    }
    const struct tarn_archive_member *member = member_of(archive, digest);
    if (!member)
        return -ENOENT;
    const int fd = fcntl(archive->content.fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    *place = (struct tarn_disk_place){ .fd = fd, .offset = member->offset, .size = member->size };
    return 0;
}

static int archive_find(struct tarn_disk *disk, const struct tarn_digest *digest,
                        struct tarn_disk_place *place, struct tarn_err *err)
{
    struct archive *archive = archive_of(disk);
    char text[TARN_DIGEST_TEXT];
    pthread_mutex_lock(&archive->lock);
    const int ret = find_locked(archive, digest, place);
    pthread_mutex_unlock(&archive->lock);
    if (ret == -ENOENT)
        return tarn_fail(err, -ENOENT, "blob %s is not in %s; copy the image again",
                         tarn_digest_format(digest, text), name_of(archive));
    if (ret < 0)
        return tarn_fail_errno(err, ret, "blob %s of %s: cannot open",
                               tarn_digest_format(digest, text), name_of(archive));
    return 0;
}

// The content's index.json, or an empty index.
static int load_index(const struct archive *archive, const struct content *content, json_t **index,
                      struct tarn_err *err)
{
    const struct tarn_archive_member *member =
        tarn_archive_members_find(&content->members, "index.json");
    if (!member) {
        *index = tarn_layout_index_new();
        return *index ? 0 : tarn_fail(err, -ENOMEM, "out of memory");
    }
    if (member->size > TARN_LAYOUT_INDEX_LIMIT)
        return tarn_fail(err, -EUCLEAN, "%s: index.json is larger than %d bytes", name_of(archive),
                         TARN_LAYOUT_INDEX_LIMIT);
    const size_t length = (size_t)member->size;
    tarn_autofree char *bytes = malloc(length + 1);
    if (!bytes)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const int ret = length ? tarn_pread_full(content->fd, bytes, length, member->offset) : 0;
    if (ret < 0)
        return tarn_fail_errno(err, ret, "%s: cannot read index.json", name_of(archive));
    return tarn_layout_index_parse(bytes, length, name_of(archive), index, err);
}

// The index with all pending publications. No lock may be held: finding documents takes it.
static int apply_pending(struct archive *archive, json_t *index, const json_t *pending,
                         struct tarn_err *err)
{
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < json_array_size(pending); i++) {
        const json_t *entry = json_array_get(pending, i);
        const struct tarn_layout_change change = {
            .tag = tarn_json_string(entry, "tag"),
            .original = json_object_get(entry, "original"),
            .tarn = json_object_get(entry, "tarn"),
            .source = tarn_disk_source(&archive->disk),
        };
        ret = tarn_layout_index_publish(index, &change, err);
    }
    return ret < 0 ? tarn_wrap(err, ret, "%s", name_of(archive)) : 0;
}

// A copy that other threads' publications do not change.
static json_t *copy_pending(struct archive *archive)
{
    pthread_mutex_lock(&archive->lock);
    json_t *copy = json_deep_copy(archive->pending);
    pthread_mutex_unlock(&archive->lock);
    return copy;
}

static int archive_read_index(struct tarn_disk *disk, struct tarn_buf *buf, struct tarn_err *err)
{
    struct archive *archive = archive_of(disk);
    tarn_autojson json_t *index = NULL;
    tarn_autojson json_t *pending = copy_pending(archive);
    if (!pending)
        return tarn_fail(err, -ENOMEM, "out of memory");
    pthread_mutex_lock(&archive->lock);
    int ret = load_index(archive, &archive->content, &index, err);
    pthread_mutex_unlock(&archive->lock);
    if (ret == 0)
        ret = apply_pending(archive, index, pending, err);
    if (ret < 0)
        return ret;
    tarn_autofree char *text = tarn_json_dump(index);
    if (!text || tarn_buf_append(buf, text, strlen(text)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    return 0;
}

// --- blobs to be --------------------------------------------------------------------------------------

// With the lock held: makes the directory beside the file. Its flock tells the living from the dead.
static int make_temporary(struct archive *archive)
{
    for (unsigned n = 0; n < NAME_TRIES; n++) {
        tarn_autofree char *path =
            tarn_asprintf("%s.tarn-%d-%u.tmp", archive->path, (int)getpid(), n);
        if (!path)
            return -ENOMEM;
        if (mkdir(path, 0700) < 0) {
            if (errno == EEXIST)
                continue;
            return -errno;
        }
        tarn_autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT && access(dirname(path), F_OK) == 0)
            continue; // a sweep took it for a dead one's
        struct stat st;
        if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
            return -errno;
        if (st.st_nlink == 0)
            continue;
        archive->temporary_fd = tarn_steal_fd(&fd);
        archive->temporary = tarn_steal(path);
        return 0;
    }
    return -EEXIST;
}

static int temporary(struct archive *archive, int *fd, struct tarn_err *err)
{
    pthread_mutex_lock(&archive->lock);
    const int ret = archive->temporary_fd < 0 ? make_temporary(archive) : 0;
    *fd = archive->temporary_fd;
    pthread_mutex_unlock(&archive->lock);
    return ret < 0 ? tarn_fail_errno(err, ret, "%s: cannot make a temporary directory beside it",
                                     name_of(archive))
                   : 0;
}

static int archive_create(struct tarn_disk *disk, struct tarn_blob_file *file, struct tarn_err *err)
{
    struct archive *archive = archive_of(disk);
    int fd;
    int ret = temporary(archive, &fd, err);
    if (ret < 0)
        return ret;
    ret = tarn_blob_file_create(fd, TARN_BLOB_FILE_ANY, file, err);
    return ret < 0 ? tarn_wrap(err, ret, "%s", name_of(archive)) : 0;
}

static int archive_commit(struct tarn_disk *disk, struct tarn_blob_file *file,
                          const struct tarn_blob_id *blob, struct tarn_err *err)
{
    struct archive *archive = archive_of(disk);
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(&blob->digest, hex);
    const int ret = tarn_blob_file_commit(file, hex, false, err);
    return ret < 0 ? tarn_wrap(err, ret, "%s", name_of(archive)) : 0;
}

// --- writing the archive ----------------------------------------------------------------------------

struct parts {
    struct tarn_archive_part *list;
    size_t count;
    size_t capacity;
};

// The parts own their names, and the descriptors of new blobs.
static void parts_release(struct parts *parts, int archive_fd)
{
    for (size_t i = 0; i < parts->count; i++) {
        const struct tarn_archive_part *part = &parts->list[i];
        if (!part->bytes && part->fd != archive_fd)
            close(part->fd);
        free((void *)(uintptr_t)part->name);
    }
    free(parts->list);
}

// Takes name over.
static int add_part(struct parts *parts, const struct tarn_archive_part *part)
{
    if (part->name && parts->count == parts->capacity) {
        const size_t capacity = parts->capacity ? 2 * parts->capacity : 64;
        void *list = reallocarray(parts->list, capacity, sizeof parts->list[0]);
        if (list) {
            parts->list = list;
            parts->capacity = capacity;
        }
    }
    if (!part->name || parts->count == parts->capacity) {
        free((void *)(uintptr_t)part->name);
        return -ENOMEM;
    }
    parts->list[parts->count++] = *part;
    return 0;
}

static int add_new_blobs(struct parts *parts, int directory)
{
    tarn_autodir DIR *dir = NULL;
    int ret = tarn_directory_open(directory, &dir);
    if (ret < 0)
        return ret;
    const struct dirent *entry;
    struct tarn_digest digest;
    while (ret == 0 && (entry = readdir(dir))) {
        if (strlen(entry->d_name) != TARN_DIGEST_HEX ||
            tarn_digest_parse_hex(entry->d_name, &digest) < 0)
            continue;
        struct stat st = { 0 };
        struct tarn_archive_part part = {
            .fd = openat(directory, entry->d_name, O_RDONLY | O_CLOEXEC),
            .name = tarn_asprintf(BLOBS "%s", entry->d_name),
        };
        ret = part.fd < 0 || fstat(part.fd, &st) < 0 ? -errno : 0;
        part.size = ret == 0 ? (uint64_t)st.st_size : 0;
        if (ret == 0)
            ret = add_part(parts, &part);
        else
            free((void *)(uintptr_t)part.name);
        if (ret < 0 && part.fd >= 0)
            close(part.fd);
    }
    return ret;
}

static int compare_parts(const void *a, const void *b)
{
    const struct tarn_archive_part *x = a;
    const struct tarn_archive_part *y = b;
    return strcmp(x->name, y->name);
}

static bool has_part(const struct parts *parts, size_t count, const char *name)
{
    const struct tarn_archive_part key = { .name = name };
    return count > 0 && bsearch(&key, parts->list, count, sizeof key, compare_parts);
}

// What the new archive holds: new blobs and documents, then of the old one what these do not replace.
static int collect(struct archive *archive, const char *index, struct parts *parts)
{
    const struct content *content = &archive->content;
    const struct tarn_archive_part documents[] = {
        { .name = strdup("index.json"), .bytes = index, .size = strlen(index) },
        { .name = strdup("oci-layout"), .bytes = LAYOUT_FILE, .size = strlen(LAYOUT_FILE) },
    };
    int ret = add_part(parts, &documents[0]);
    const int second = add_part(parts, &documents[1]);
    if (ret == 0)
        ret = second;
    if (ret == 0 && archive->temporary_fd >= 0)
        ret = add_new_blobs(parts, archive->temporary_fd);
    if (ret < 0)
        return ret;
    const size_t fresh = parts->count;
    qsort(parts->list, fresh, sizeof parts->list[0], compare_parts);
    for (size_t i = 0; ret == 0 && i < content->members.count; i++) {
        const struct tarn_archive_member *member = &content->members.list[i];
        if (has_part(parts, fresh, member->name))
            continue;
        const struct tarn_archive_part part = {
            .name = strdup(member->name),
            .fd = content->fd,
            .offset = member->offset,
            .size = member->size,
        };
        ret = add_part(parts, &part);
    }
    qsort(parts->list, parts->count, sizeof parts->list[0], compare_parts);
    return ret;
}

// Who could not read the old archive must not read the new one. Only root can keep any owner and group: where
// the group is another one, it gets what all others had.
static int keep_mode(int fd, const struct stat *old, struct tarn_err *err)
{
    mode_t mode = old->st_mode & 0777;
    (void)!fchown(fd, old->st_uid, (gid_t)-1);
    if (fchown(fd, (uid_t)-1, old->st_gid) < 0)
        mode = (mode & 0707) | (mode & 0007) << 3;
    return fchmod(fd, mode) < 0 ? tarn_fail_errno(err, -errno, "cannot set its mode") : 0;
}

// The file in the temporary directory; publishing is held, so that content does not change.
static int write_archive(struct archive *archive, const char *index, struct tarn_err *err)
{
    struct parts parts = { 0 };
    int ret = collect(archive, index, &parts);
    if (ret < 0) {
        parts_release(&parts, archive->content.fd);
        return tarn_fail_errno(err, ret, "%s: cannot collect what it is to hold", name_of(archive));
    }
    tarn_autoclose int fd =
        openat(archive->temporary_fd, "archive", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        ret = tarn_fail_errno(err, -errno, "%s: cannot create it", name_of(archive));
    if (ret == 0)
        ret = tarn_archive_write(fd, parts.list, parts.count, err);
    if (ret == 0 && archive->content.fd >= 0)
        ret = keep_mode(fd, &archive->content.st, err);
    if (ret == 0 && fsync(fd) < 0)
        ret = tarn_fail_errno(err, -errno, "cannot write");
    parts_release(&parts, archive->content.fd);
    if (ret < 0) {
        unlinkat(archive->temporary_fd, "archive", 0);
        return tarn_wrap(err, ret, "%s", name_of(archive));
    }
    return 0;
}

// Whether the file is still the one that content was read from.
static bool unchanged(const struct archive *archive)
{
    const struct stat *old = &archive->content.st;
    struct stat now;
    if (stat(archive->path, &now) < 0)
        return errno == ENOENT && archive->content.fd < 0;
    return archive->content.fd >= 0 && now.st_dev == old->st_dev && now.st_ino == old->st_ino &&
           now.st_size == old->st_size && now.st_mtim.tv_sec == old->st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == old->st_mtim.tv_nsec;
}

// Puts the new file in its place if nobody else did meanwhile: 0, 1 if somebody did, or -errno. Only
// this short step holds the parent's flock.
static int swap_in(struct archive *archive, struct tarn_err *err)
{
    tarn_autofree char *copy = strdup(archive->path);
    if (!copy)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_autoclose int parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || flock(parent, LOCK_EX) < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot lock its directory", name_of(archive));
    if (!unchanged(archive))
        return 1;
    if (renameat(archive->temporary_fd, "archive", AT_FDCWD, archive->path) < 0 ||
        fsync(parent) < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot replace it", name_of(archive));
    return 0;
}

static int reload(struct archive *archive, struct tarn_err *err)
{
    struct content content;
    const int ret = load(archive, &content, err);
    if (ret < 0)
        return ret;
    pthread_mutex_lock(&archive->lock);
    content_release(&archive->content);
    archive->content = content;
    pthread_mutex_unlock(&archive->lock);
    return 0;
}

// With publishing held.
static int write_pending(struct archive *archive, const json_t *pending, struct tarn_err *err)
{
    int fd;
    int ret = temporary(archive, &fd, err);
    for (int i = 0; ret == 0 && i < TRIES; i++) {
        tarn_autojson json_t *index = NULL;
        ret = load_index(archive, &archive->content, &index, err);
        if (ret == 0)
            ret = apply_pending(archive, index, pending, err);
        if (ret < 0)
            return ret;
        tarn_autofree char *text = tarn_json_dump(index);
        if (!text)
            return tarn_fail(err, -ENOMEM, "out of memory");
        ret = write_archive(archive, text, err);
        if (ret == 0)
            ret = swap_in(archive, err);
        if (ret <= 0)
            return ret;
        ret = reload(archive, err); // somebody else's is the one to add to now
    }
    return ret < 0 ? ret
                   : tarn_fail(err, -EBUSY, "%s: others write it all the time", name_of(archive));
}

static int add_pending(struct archive *archive, const struct tarn_layout_change *change)
{
    json_t *entry = json_pack("{s:s, s:O, s:O}", "tag", change->tag, "original", change->original,
                              "tarn", change->tarn);
    pthread_mutex_lock(&archive->lock);
    const int ret = json_array_append_new(archive->pending, entry);
    pthread_mutex_unlock(&archive->lock);
    return ret < 0 ? -ENOMEM : 0;
}

// What stands in the archive now is no longer needed beside it.
static void drop_blobs(const struct archive *archive)
{
    for (size_t i = 0; i < archive->content.members.count; i++) {
        const char *name = archive->content.members.list[i].name;
        if (strncmp(name, BLOBS, strlen(BLOBS)) == 0)
            unlinkat(archive->temporary_fd, name + strlen(BLOBS), 0);
    }
}

static int archive_publish(struct tarn_disk *disk, const struct tarn_layout_change *change,
                           struct tarn_err *err)
{
    struct archive *archive = archive_of(disk);
    int ret = tarn_disk_check_change(disk, change, err);
    if (ret < 0 || !change->tag)
        return ret;
    pthread_mutex_lock(&archive->publishing);
    ret = add_pending(archive, change);
    tarn_autojson json_t *pending = ret == 0 ? copy_pending(archive) : NULL;
    if (!pending) {
        ret = tarn_fail(err, -ENOMEM, "out of memory");
    } else if (!change->more) {
        ret = write_pending(archive, pending, err);
        if (ret == 0)
            ret = reload(archive, err);
        pthread_mutex_lock(&archive->lock);
        if (ret == 0) {
            json_array_clear(archive->pending);
            drop_blobs(archive);
        } else {
            json_array_remove(archive->pending, json_array_size(archive->pending) - 1);
        }
        pthread_mutex_unlock(&archive->lock);
    }
    pthread_mutex_unlock(&archive->publishing);
    return ret;
}

// --- opening ----------------------------------------------------------------------------------------

static void archive_close(struct tarn_disk *disk)
{
    struct archive *archive = archive_of(disk);
    content_release(&archive->content);
    if (archive->temporary_fd >= 0) {
        (void)!tarn_remove_tree(AT_FDCWD, archive->temporary, NULL);
        close(archive->temporary_fd);
    }
    pthread_mutex_destroy(&archive->publishing);
    pthread_mutex_destroy(&archive->lock);
    json_decref(archive->pending);
    free(archive->temporary);
    free(archive->disk.repository.name);
    free(archive->path);
    free(archive);
}

// Removes directories of writers of this archive that died. Best effort.
static void sweep(const struct archive *archive)
{
    tarn_autofree char *copy = strdup(archive->path);
    tarn_autofree char *prefix = tarn_asprintf("%s.tarn-", strrchr(archive->path, '/') + 1);
    if (!copy || !prefix)
        return;
    DIR *dir = opendir(dirname(copy));
    if (!dir)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        const size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || length < 4 ||
            strcmp(entry->d_name + length - 4, ".tmp") != 0)
            continue;
        tarn_autoclose int fd =
            openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            (void)!tarn_remove_tree(dirfd(dir), entry->d_name, NULL);
    }
    closedir(dir);
}

// The path with symbolic links resolved, absolute; of a file that is not there, its directory's.
static char *resolve(const char *path)
{
    char *real = realpath(path, NULL);
    if (real || errno != ENOENT)
        return real;
    tarn_autofree char *directory = strdup(path);
    tarn_autofree char *base = strdup(path);
    tarn_autofree char *parent = directory && base ? realpath(dirname(directory), NULL) : NULL;
    if (!parent)
        return NULL;
    return tarn_asprintf("%s/%s", strcmp(parent, "/") == 0 ? "" : parent, basename(base));
}

int tarn_archive_open(const char *path, uv_loop_t *loop,
                      const struct tarn_repository_options *options,
                      struct tarn_repository **repository, struct tarn_err *err)
{
    static const struct tarn_disk_operations operations = {
        .find = archive_find,
        .read_index = archive_read_index,
        .create = archive_create,
        .commit = archive_commit,
        .publish = archive_publish,
        .close = archive_close,
    };
    tarn_autofree char *resolved = resolve(path);
    if (!resolved)
        return tarn_fail_errno(err, -errno, "oci-archive:%s: cannot find its directory", path);
    struct archive *archive = calloc(1, sizeof *archive);
    char *name = tarn_asprintf("oci-archive:%s", path);
    json_t *pending = json_array();
    if (!archive || !name || !pending) {
        free(archive);
        free(name);
        json_decref(pending);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    tarn_disk_init(&archive->disk, &operations, loop, name);
    archive->path = tarn_steal(resolved);
    archive->create = options && options->create;
    archive->content.fd = -1;
    archive->temporary_fd = -1;
    archive->pending = pending;
    pthread_mutex_init(&archive->publishing, NULL);
    pthread_mutex_init(&archive->lock, NULL);
    const int ret = load(archive, &archive->content, err);
    if (ret < 0) {
        archive_close(&archive->disk);
        return ret;
    }
    if (archive->create)
        sweep(archive);
    *repository = &archive->disk.repository;
    return 0;
}
