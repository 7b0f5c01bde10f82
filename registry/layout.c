// SPDX-License-Identifier: Apache-2.0
#include "registry/layout.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "registry/disk.h"
#include "registry/layout_litter.h"
#include "registry/oci.h"

#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"

enum { LAYOUT_FILE_LIMIT = 4096, OPEN_TRIES = 100 };

struct layout {
    struct tarn_disk disk;
    char *path;
    struct layout *first_way; // NULL, or whom it leaves its litter to
    pthread_mutex_t lock;     // guards the members below
    int directory;            // -1 while it is not there
    int blobs;                // blobs/sha256, -1 while it is not there
    bool writing;             // blobs carries a shared flock: a writer lives
    bool made_directory;
    bool made_layout;
    bool published;
    struct tarn_litter litter; // blobs that are new
};

static struct layout *layout_of(struct tarn_disk *disk)
{
    return (struct layout *)disk;
}

static const char *name_of(const struct layout *layout)
{
    return layout->disk.repository.name;
}

// --- opening for writing ------------------------------------------------------------------------

// Writes a small file complete or not at all; one that is there already stays. Returns 1 if it was
// written, 0 if not.
static int write_new(int directory, const char *name, const char *text, struct tarn_err *err)
{
    if (faccessat(directory, name, F_OK, 0) == 0)
        return 0;
    struct tarn_blob_file file;
    int ret = tarn_blob_file_create(directory, TARN_BLOB_FILE_ANY, &file, err);
    if (ret < 0)
        return ret;
    ret = tarn_write_full(file.fd, text, strlen(text));
    if (ret < 0) {
        tarn_blob_file_discard(&file);
        return tarn_fail_errno(err, ret, "cannot write %s", name);
    }
    ret = tarn_blob_file_commit(&file, name, true, err);
    return ret < 0 ? ret : 1;
}

static int make_directory(int at, const char *name, struct tarn_err *err)
{
    if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
        return tarn_fail_errno(err, -errno, "cannot make directory %s", name);
    return 0;
}

// With the lock held. Makes what is missing of the layout and gives the two descriptors.
static int make_layout(struct layout *layout, int *directory, int *blobs, struct tarn_err *err)
{
    struct stat st;
    const bool there = stat(layout->path, &st) == 0;
    int ret = tarn_mkdirs(layout->path, 0755, err);
    if (ret < 0)
        return ret;
    layout->made_directory |= !there;
    tarn_autoclose int top = open(layout->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return tarn_fail_errno(err, -errno, "cannot open the directory");
    // The file that makes it a layout comes first, so that a run that died half-way left either an
    // empty directory or a layout.
    ret = write_new(top, "oci-layout", LAYOUT_FILE, err);
    if (ret < 0)
        return ret;
    layout->made_layout |= ret == 1;
    ret = make_directory(top, "blobs", err);
    if (ret == 0)
        ret = make_directory(top, "blobs/sha256", err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *empty = tarn_layout_index_new();
    tarn_autofree char *text = empty ? tarn_json_dump(empty) : NULL;
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    ret = write_new(top, "index.json", text, err);
    if (ret < 0)
        return ret;
    *blobs = openat(top, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*blobs < 0)
        return tarn_fail_errno(err, -errno, "cannot open blobs/sha256");
    *directory = tarn_steal_fd(&top);
    return 0;
}

// With the lock held. The shared flock on blobs/sha256 keeps another process from removing an empty
// layout as its own failed beginning; one that it removed just before is made again.
static int open_for_writing(struct layout *layout, struct tarn_err *err)
{
    int ret = -ENOENT;
    for (int i = 0; i < OPEN_TRIES && ret == -ENOENT; i++) {
        tarn_autoclose int directory = -1;
        tarn_autoclose int blobs = -1;
        ret = make_layout(layout, &directory, &blobs, err);
        if (ret == -ENOENT)
            continue; // removed between two steps
        if (ret < 0)
            return ret;
        struct stat st;
        if (flock(blobs, LOCK_SH) < 0 || fstat(blobs, &st) < 0)
            return tarn_fail_errno(err, -errno, "cannot lock blobs/sha256");
        if (st.st_nlink == 0) {
            ret = tarn_fail(err, -ENOENT, "the directory was removed");
            continue;
        }
        tarn_blob_file_sweep(blobs);
        if (layout->directory >= 0)
            close(layout->directory);
        if (layout->blobs >= 0)
            close(layout->blobs);
        layout->directory = tarn_steal_fd(&directory);
        layout->blobs = tarn_steal_fd(&blobs);
        layout->writing = true;
        return 0;
    }
    return ret;
}

// Gives the descriptors, which live as long as layout: once it writes they do not change.
static int writable(struct layout *layout, int *directory, int *blobs, struct tarn_err *err)
{
    pthread_mutex_lock(&layout->lock);
    const int ret = layout->writing ? 0 : open_for_writing(layout, err);
    if (ret == 0) {
        if (directory)
            *directory = layout->directory;
        *blobs = layout->blobs;
    }
    pthread_mutex_unlock(&layout->lock);
    return ret < 0 ? tarn_wrap(err, ret, "%s", name_of(layout)) : 0;
}

// --- the operations -----------------------------------------------------------------------------

// With the lock held the descriptor cannot be closed under the openat().
static int open_in(struct layout *layout, const int *directory, const char *name)
{
    pthread_mutex_lock(&layout->lock);
    int fd = *directory < 0 ? -1 : openat(*directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    const int ret = fd >= 0 ? fd : *directory < 0 ? -ENOENT : -errno;
    pthread_mutex_unlock(&layout->lock);
    return ret;
}

static int layout_find(struct tarn_disk *disk, const struct tarn_digest *digest,
                       struct tarn_disk_place *place, struct tarn_err *err)
{
    struct layout *layout = layout_of(disk);
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(digest, text);
    tarn_autoclose int fd = open_in(layout, &layout->blobs, text + strlen("sha256:"));
    if (fd == -ENOENT)
        return tarn_fail(err, -ENOENT, "blob %s is not in %s; copy the image again", text,
                         name_of(layout));
    if (fd < 0)
        return tarn_fail_errno(err, fd, "blob %s of %s: cannot open", text, name_of(layout));
    struct stat st;
    if (fstat(fd, &st) < 0)
        return tarn_fail_errno(err, -errno, "blob %s of %s: cannot read", text, name_of(layout));
    if (!S_ISREG(st.st_mode))
        return tarn_fail(err, -EIO, "blob %s of %s: not a regular file; copy the image again", text,
                         name_of(layout));
    *place = (struct tarn_disk_place){ .size = (uint64_t)st.st_size, .fd = tarn_steal_fd(&fd) };
    return 0;
}

static int layout_read_index(struct tarn_disk *disk, struct tarn_buf *buf, struct tarn_err *err)
{
    struct layout *layout = layout_of(disk);
    tarn_autoclose int fd = open_in(layout, &layout->directory, ".");
    if (fd == -ENOENT)
        return tarn_fail(err, -ENOENT, "%s: no such directory", name_of(layout));
    if (fd < 0)
        return tarn_fail_errno(err, fd, "%s: cannot open", name_of(layout));
    const int ret = tarn_file_read(fd, "index.json", TARN_LAYOUT_INDEX_LIMIT, buf, err);
    return ret < 0 ? tarn_wrap(err, ret == -EFBIG ? -EUCLEAN : ret, "%s", name_of(layout)) : 0;
}

static int layout_create(struct tarn_disk *disk, struct tarn_blob_file *file, struct tarn_err *err)
{
    struct layout *layout = layout_of(disk);
    int blobs = -1;
    int ret = writable(layout, NULL, &blobs, err);
    if (ret < 0)
        return ret;
    ret = tarn_blob_file_create(blobs, TARN_BLOB_FILE_ANY, file, err);
    return ret < 0 ? tarn_wrap(err, ret, "%s", name_of(layout)) : 0;
}

static int layout_commit(struct tarn_disk *disk, struct tarn_blob_file *file,
                         const struct tarn_blob_id *blob, struct tarn_err *err)
{
    struct layout *layout = layout_of(disk);
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(&blob->digest, hex);
    const bool there = faccessat(file->directory, hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    int ret = tarn_blob_file_commit(file, hex, false, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "%s", name_of(layout));
    if (there)
        return 0;
    pthread_mutex_lock(&layout->lock);
    ret = tarn_litter_add(&layout->litter, &blob->digest);
    pthread_mutex_unlock(&layout->lock);
    return ret < 0 ? tarn_fail(err, ret, "out of memory") : 0;
}

static bool lists(const json_t *manifests, const json_t *entry)
{
    size_t i;
    const json_t *other;
    json_array_foreach(manifests, i, other)
    {
        if (json_equal(other, entry))
            return true;
    }
    return false;
}

// A note that the index has no more, of a run that was killed perhaps: its manifest, and the config that
// this names, go unless something else leads there. Best effort.
static void drop_note(struct layout *layout, const json_t *entry)
{
    const struct tarn_document_source source = tarn_disk_source(&layout->disk);
    struct tarn_descriptor note;
    struct tarn_descriptor config;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    if (tarn_descriptor_parse(entry, "entry", &note, NULL) < 0 ||
        source.read(source.context, &note.digest, &bytes, NULL) < 0)
        return;
    tarn_autojson json_t *manifest = tarn_json_parse(bytes.data, bytes.length, "note", NULL);
    pthread_mutex_lock(&layout->lock);
    int ret = tarn_litter_add(&layout->litter, &note.digest);
    if (ret == 0 &&
        tarn_descriptor_parse(json_object_get(manifest, "config"), "config", &config, NULL) == 0)
        ret = tarn_litter_add(&layout->litter, &config.digest);
    pthread_mutex_unlock(&layout->lock);
    (void)ret;
}

static void drop_notes(struct layout *layout, const json_t *before, const json_t *after)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(before, "manifests"), i, entry)
    {
        if (tarn_oci_annotation(entry, TARN_ANNOTATION_KEY) &&
            !lists(json_object_get(after, "manifests"), entry))
            drop_note(layout, entry);
    }
}

// The notes of the image that is published now.
static void drop_own_notes(struct layout *layout, const struct tarn_layout_change *change)
{
    for (size_t i = 0; i <= json_array_size(change->tarn); i++) {
        const json_t *entry =
            i < json_array_size(change->tarn) ? json_array_get(change->tarn, i) : change->original;
        struct tarn_descriptor descriptor;
        tarn_autobuf struct tarn_buf bytes = { 0 };
        if (!entry || tarn_descriptor_parse(entry, "entry", &descriptor, NULL) < 0 ||
            change->source.read(change->source.context, &descriptor.digest, &bytes, NULL) < 0)
            continue;
        tarn_autojson json_t *manifest =
            tarn_json_parse(bytes.data, bytes.length, "manifest", NULL);
        pthread_mutex_lock(&layout->lock);
        const int ret = tarn_litter_add_notes(&layout->litter, manifest);
        pthread_mutex_unlock(&layout->lock);
        (void)ret;
    }
}

// With the flock held.
static int change_index(struct layout *layout, int directory,
                        const struct tarn_layout_change *change, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_autojson json_t *index = NULL;
    int ret = layout_read_index(&layout->disk, &bytes, err);
    if (ret == 0)
        ret = tarn_layout_index_parse(bytes.data, bytes.length, name_of(layout), &index, err);
    if (ret < 0)
        return ret;
    // Adding a note takes none away: what that would cost grows with the square of their number.
    tarn_autojson json_t *before = change->tag ? json_deep_copy(index) : NULL;
    ret = tarn_layout_index_publish(index, change, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "%s", name_of(layout));
    tarn_autofree char *text = tarn_json_dump(index);
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_file_sweep(directory, "index.json."); // the flock is held
    ret = tarn_file_replace(directory, "index.json", text, strlen(text), err);
    if (ret == 0 && fsync(directory) < 0)
        ret = tarn_fail_errno(err, -errno, "cannot write the directory");
    if (ret == 0 && change->tag) {
        drop_notes(layout, before, index);
        drop_own_notes(layout, change);
    }
    return ret < 0 ? tarn_wrap(err, ret, "%s", name_of(layout)) : 0;
}

static int layout_publish(struct tarn_disk *disk, const struct tarn_layout_change *change,
                          struct tarn_err *err)
{
    struct layout *layout = layout_of(disk);
    int directory = -1;
    int blobs = -1;
    int ret = writable(layout, &directory, &blobs, err);
    if (ret == 0)
        ret = tarn_disk_check_change(disk, change, err);
    if (ret < 0)
        return ret;
    // A description of its own, because an flock belongs to the description: two threads with one
    // would not exclude each other.
    tarn_autoclose int lock = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot open", name_of(layout));
    while (flock(lock, LOCK_EX) < 0)
        if (errno != EINTR)
            return tarn_fail_errno(err, -errno, "%s: cannot lock", name_of(layout));
    // The names of the blobs must be durable before a tag leads to them.
    if (fsync(blobs) < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot write blobs/sha256", name_of(layout));
    ret = change_index(layout, directory, change, err);
    if (ret < 0)
        return ret;
    pthread_mutex_lock(&layout->lock);
    layout->published = true;
    pthread_mutex_unlock(&layout->lock);
    return 0;
}

// What is new, and not published, goes again: a run that fails leaves no more than what its notes of
// layers refer to, one that succeeds not even these. Not while another writer lives, who may rely on it.
static void remove_litter(struct layout *layout)
{
    if (layout->litter.count == 0 || flock(layout->blobs, LOCK_EX | LOCK_NB) < 0)
        return;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    tarn_autojson json_t *index = NULL;
    if (layout_read_index(&layout->disk, &bytes, NULL) < 0 ||
        tarn_layout_index_parse(bytes.data, bytes.length, name_of(layout), &index, NULL) < 0)
        return;
    const struct tarn_document_source source = tarn_disk_source(&layout->disk);
    tarn_litter_remove(&layout->litter, layout->blobs, index, &source);
}

// Takes a layout away again that this one made and nothing was put into. Best effort: each step fails
// where others put something there meanwhile.
static void remove_unused(const struct layout *layout)
{
    if (!layout->made_layout || layout->published || flock(layout->blobs, LOCK_EX | LOCK_NB) < 0)
        return;
    if (unlinkat(layout->directory, "blobs/sha256", AT_REMOVEDIR) < 0 ||
        unlinkat(layout->directory, "blobs", AT_REMOVEDIR) < 0)
        return;
    unlinkat(layout->directory, "index.json", 0);
    unlinkat(layout->directory, "oci-layout", 0);
    if (layout->made_directory)
        rmdir(layout->path);
}

// The first way's flock keeps this one from taking anything away; it has one since it was opened, if the
// layout was there, even if it writes nothing itself.
static bool leaves_to_first_way(const struct layout *layout)
{
    return layout->writing && layout->first_way && layout->first_way->blobs >= 0;
}

static void leave_to_first_way(const struct layout *layout)
{
    struct layout *first = layout->first_way;
    pthread_mutex_lock(&first->lock);
    first->writing = true;
    for (size_t i = 0; i < layout->litter.count; i++)
        if (tarn_litter_add(&first->litter, &layout->litter.digests[i]) < 0)
            break;
    first->made_directory |= layout->made_directory;
    first->made_layout |= layout->made_layout;
    pthread_mutex_unlock(&first->lock);
}

static void layout_close(struct tarn_disk *disk)
{
    struct layout *layout = layout_of(disk);
    if (leaves_to_first_way(layout)) {
        leave_to_first_way(layout);
    } else if (layout->writing) {
        remove_litter(layout);
        remove_unused(layout);
    }
    if (layout->directory >= 0)
        close(layout->directory);
    if (layout->blobs >= 0)
        close(layout->blobs);
    pthread_mutex_destroy(&layout->lock);
    tarn_litter_release(&layout->litter);
    free(layout->disk.repository.name);
    free(layout->path);
    free(layout);
}

// --- opening ----------------------------------------------------------------------------------------

// The name of something in the directory, in fresh memory, or NULL if it is empty.
static char *first_entry(int directory)
{
    tarn_autodir DIR *dir = NULL;
    if (tarn_directory_open(directory, &dir) < 0)
        return NULL;
    char *name = NULL;
    const struct dirent *entry;
    while (!name && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            name = strdup(entry->d_name);
    return name;
}

static int check_version(const struct layout *layout, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    int ret = tarn_file_read(layout->directory, "oci-layout", LAYOUT_FILE_LIMIT, &bytes, err);
    if (ret < 0)
        return tarn_wrap(err, ret == -EFBIG ? -EUCLEAN : ret, "%s", name_of(layout));
    tarn_autojson json_t *json = tarn_json_parse(bytes.data, bytes.length, "oci-layout", err);
    if (!json)
        return tarn_wrap(err, -EUCLEAN, "%s", name_of(layout));
    const char *version = tarn_json_string(json, "imageLayoutVersion");
    if (!version || strncmp(version, "1.", 2) != 0)
        return tarn_fail(err, -ENOTSUP,
                         "%s: imageLayoutVersion '%.40s' is not supported; expected 1.0.0",
                         name_of(layout), version ? version : "");
    return 0;
}

// The same flock as open_for_writing()'s: whoever will write relies from now on on the blobs that are
// there, which another writer that ends must not take for its own litter.
static int lock_existing(struct layout *layout, struct tarn_err *err)
{
    struct stat st;
    if (flock(layout->blobs, LOCK_SH) < 0 || fstat(layout->blobs, &st) < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot lock blobs/sha256", name_of(layout));
    if (st.st_nlink == 0) { // removed just now
        close(tarn_steal_fd(&layout->blobs));
        return 0;
    }
    tarn_blob_file_sweep(layout->blobs);
    return 0;
}

static int open_existing(struct layout *layout, bool create, struct tarn_err *err)
{
    layout->directory = open(layout->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->directory < 0 && errno == ENOENT && create)
        return 0;
    if (layout->directory < 0 && errno == ENOENT)
        return tarn_fail(err, -ENOENT,
                         "%s: no such directory (a path in an image name ends at its "
                         "first ':')",
                         name_of(layout));
    if (layout->directory < 0)
        return tarn_fail_errno(err, -errno, "%s: cannot open", name_of(layout));
    if (faccessat(layout->directory, "oci-layout", F_OK, 0) < 0) {
        tarn_autofree char *entry = first_entry(layout->directory);
        if (create && entry)
            return tarn_fail(
                err, -ENOTEMPTY,
                "%s: the directory is neither empty (it holds '%s') nor an OCI layout; "
                "name another one",
                name_of(layout), entry);
        if (create)
            return 0;
        return tarn_fail(err, -EINVAL, "%s: not an OCI layout: it has no file 'oci-layout'",
                         name_of(layout));
    }
    const int ret = check_version(layout, err);
    if (ret < 0)
        return ret;
    layout->blobs = openat(layout->directory, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->blobs < 0 && errno != ENOENT)
        return tarn_fail_errno(err, -errno, "%s: cannot open blobs/sha256", name_of(layout));
    return create && layout->blobs >= 0 ? lock_existing(layout, err) : 0;
}

int tarn_layout_open(const char *path, uv_loop_t *loop,
                     const struct tarn_repository_options *options,
                     struct tarn_repository **repository, struct tarn_err *err)
{
    static const struct tarn_disk_operations operations = {
        .find = layout_find,
        .read_index = layout_read_index,
        .create = layout_create,
        .commit = layout_commit,
        .publish = layout_publish,
        .close = layout_close,
    };
    struct layout *layout = calloc(1, sizeof *layout);
    char *name = tarn_asprintf("oci:%s", path);
    char *copy = strdup(path);
    if (!layout || !name || !copy) {
        free(layout);
        free(name);
        free(copy);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    tarn_disk_init(&layout->disk, &operations, loop, name);
    layout->path = copy;
    layout->first_way = options ? (struct layout *)options->first_way : NULL;
    layout->directory = -1;
    layout->blobs = -1;
    pthread_mutex_init(&layout->lock, NULL);
    const int ret = open_existing(layout, options && options->create, err);
    if (ret < 0) {
        layout_close(&layout->disk);
        return ret;
    }
    *repository = &layout->disk.repository;
    return 0;
}
