// SPDX-License-Identifier: Apache-2.0
#include "daemon/store_internal.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/log.h"

// A digest in hex, "-" and half of the table's digest in hex.
enum { NAME_SIZE = TARN_DIGEST_HEX + 1 + 32 + 1 };

static int open_directory(const char *root, const char *name, int *fd, struct tarn_err *err)
{
    tarn_autofree char *path = tarn_path_join(root, name);
    if (!path)
        return tarn_fail(err, -ENOMEM, "out of memory opening the store");
    const int ret = tarn_mkdirs(path, 0700, err);
    if (ret < 0)
        return ret;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? tarn_fail_errno(err, -errno, "cannot open %s", path) : 0;
}

// With the lock held.
static int add_file_locked(struct tarn_store *store, struct tarn_data_file *file)
{
    if (store->count == store->capacity) {
        const uint32_t capacity = store->capacity ? store->capacity * 2 : 64;
        struct tarn_data_file **files = reallocarray(store->files, capacity, sizeof *files);
        if (!files)
            return -ENOMEM;
        store->files = files;
        store->capacity = capacity;
    }
    file->number = store->count;
    store->files[store->count++] = file;
    // An index that misses some rows costs fetches, not correctness.
    if (tarn_chunk_index_add(store->index, file) < 0)
        tarn_log(TARN_LOG_WARNING, "store: out of memory for the index of blobs/%s", file->name);
    return 0;
}

static int add_file(struct tarn_store *store, struct tarn_data_file *file)
{
    pthread_mutex_lock(&store->lock);
    const int ret = add_file_locked(store, file);
    pthread_mutex_unlock(&store->lock);
    return ret;
}

// A digest in hex, or that and "-" and half of the table's.
static bool is_our_name(const char *name)
{
    const size_t hex = strspn(name, "0123456789abcdef");
    if (hex == TARN_DIGEST_HEX && name[hex] == '\0')
        return true;
    return hex == TARN_DIGEST_HEX && name[hex] == '-' && strlen(name) + 1 == NAME_SIZE;
}

static void scan_entry(struct tarn_store *store, const char *name)
{
    struct tarn_err err;
    struct tarn_data_file *file;
    int ret = tarn_data_file_open(store->blobs, name, &file, &err);
    if (ret == 0) {
        ret = add_file(store, file);
        if (ret < 0)
            tarn_data_file_free(file);
        return;
    }
    tarn_log(TARN_LOG_WARNING, "%s%s", err.text, ret == -EUCLEAN ? "; removing it" : "");
    if (ret == -EUCLEAN && tarn_remove_tree(store->blobs, name, &err) < 0)
        tarn_log(TARN_LOG_WARNING, "%s", err.text);
}

static int scan(struct tarn_store *store, struct tarn_err *err)
{
    tarn_autodir DIR *directory = NULL;
    const int ret = tarn_directory_open(store->blobs, &directory);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "store: cannot list blobs");
    const struct dirent *entry;
    while ((entry = readdir(directory)))
        if (is_our_name(entry->d_name))
            scan_entry(store, entry->d_name);
    return 0;
}

int tarn_store_open(const char *root, struct tarn_store **store, struct tarn_err *err)
{
    struct tarn_store *opened = calloc(1, sizeof *opened);
    if (!opened)
        return tarn_fail(err, -ENOMEM, "out of memory opening the store");
    opened->blobs = -1;
    opened->bootstraps = -1;
    pthread_mutex_init(&opened->attaching, NULL);
    pthread_mutex_init(&opened->lock, NULL);
    opened->index = tarn_chunk_index_new();
    int ret = opened->index ? 0 : tarn_fail(err, -ENOMEM, "out of memory opening the store");
    if (ret == 0)
        ret = open_directory(root, "blobs", &opened->blobs, err);
    if (ret == 0)
        ret = open_directory(root, "bootstraps", &opened->bootstraps, err);
    if (ret == 0)
        ret = scan(opened, err);
    if (ret == 0)
        tarn_file_sweep(opened->bootstraps, ""); // of writers that were killed
    if (ret < 0) {
        tarn_store_free(opened);
        return ret;
    }
    *store = opened;
    return 0;
}

void tarn_store_free(struct tarn_store *store)
{
    if (!store)
        return;
    for (uint32_t i = 0; i < store->count; i++)
        tarn_data_file_free(store->files[i]);
    free(store->files);
    tarn_chunk_index_free(store->index);
    if (store->blobs >= 0)
        close(store->blobs);
    if (store->bootstraps >= 0)
        close(store->bootstraps);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->attaching);
    free(store);
}

static struct tarn_data_file *find_name(struct tarn_store *store, const char *name)
{
    struct tarn_data_file *found = NULL;
    pthread_mutex_lock(&store->lock);
    for (uint32_t i = 0; i < store->count && !found; i++)
        if (strcmp(store->files[i]->name, name) == 0)
            found = store->files[i];
    pthread_mutex_unlock(&store->lock);
    return found;
}

// With the other lock held: whether the file is that of these rows. proven: that is what its name says.
static bool is_of(struct tarn_data_file *file, const struct tarn_rows *rows, bool proven)
{
    return tarn_data_file_same(file, rows) || tarn_data_file_mend(file, rows, proven);
}

// A table that describes all of the blob takes its plain name if that is free or the same; any other
// has the table's digest in its name. With the other lock held.
static int choose_name(struct tarn_store *store, const struct tarn_rows *rows, char name[NAME_SIZE])
{
    tarn_digest_format_hex(&rows->blob, name);
    struct tarn_data_file *plain = find_name(store, name);
    const bool whole =
        rows->count > 0 && tarn_rows_address(rows, rows->count - 1) == rows->data_length;
    if (plain ? is_of(plain, rows, false) : whole)
        return 0;
    struct tarn_digest digest;
    const int ret = tarn_rows_digest(rows, &digest);
    if (ret < 0)
        return ret;
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(&digest, hex);
    snprintf(name + TARN_DIGEST_HEX, NAME_SIZE - TARN_DIGEST_HEX, "-%.32s", hex);
    return 0;
}

// With the other lock held.
static int attach(struct tarn_store *store, const struct tarn_rows *rows,
                  struct tarn_data_file **file, struct tarn_err *err)
{
    char name[NAME_SIZE];
    int ret = choose_name(store, rows, name);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory opening the store");
    *file = find_name(store, name);
    if (*file && is_of(*file, rows, name[TARN_DIGEST_HEX] == '-'))
        return 0;
    if (*file)
        return tarn_fail(err, -EUCLEAN,
                         "store: blobs/%s/table is not the one of its name; "
                         "stop tarnd and remove that directory",
                         name);
    ret = tarn_data_file_create(store->blobs, name, rows, file, err);
    if (ret < 0)
        return ret;
    ret = add_file(store, *file);
    if (ret < 0) {
        tarn_data_file_free(*file);
        return tarn_fail(err, ret, "out of memory opening the store");
    }
    return 0;
}

int tarn_store_attach(struct tarn_store *store, const struct tarn_rows *rows,
                      struct tarn_data_file **file, struct tarn_err *err)
{
    pthread_mutex_lock(&store->attaching);
    const int ret = attach(store, rows, file, err);
    if (ret == 0)
        atomic_fetch_add(&(*file)->users, 1); // before another one may mend it
    pthread_mutex_unlock(&store->attaching);
    return ret;
}

struct tarn_data_file *tarn_store_file(struct tarn_store *store, uint32_t number)
{
    pthread_mutex_lock(&store->lock);
    struct tarn_data_file *file = number < store->count ? store->files[number] : NULL;
    pthread_mutex_unlock(&store->lock);
    return file;
}

bool tarn_store_find(struct tarn_store *store, const struct tarn_digest *digest, size_t length,
                     const struct tarn_data_file *except, struct tarn_chunk_place *place)
{
    pthread_mutex_lock(&store->lock);
    const bool found = tarn_chunk_index_find(store->index, digest, length, except, place);
    pthread_mutex_unlock(&store->lock);
    return found;
}
