// SPDX-License-Identifier: Apache-2.0
#include "daemon/data_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"

enum { PATH_SIZE = 300, MAKE_AGAIN_S = 1 };

static int out_of_memory(const char *name, struct tarn_err *err)
{
    return tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", name);
}

// A file of the directory. A descriptor or -errno.
static int open_member(const struct tarn_data_file *file, const char *member, int flags)
{
    char path[PATH_SIZE];
    const int length = snprintf(path, sizeof path, "%s/%s", file->name, member);
    if (length < 0 || (size_t)length >= sizeof path)
        return -ENAMETOOLONG;
    const int fd = openat(file->blobs, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    return fd < 0 ? -errno : fd;
}

static void set_bit(_Atomic uint64_t *words, uint32_t row)
{
    atomic_fetch_or_explicit(&words[row / 64], UINT64_C(1) << (row % 64), memory_order_release);
}

static void clear_bit(_Atomic uint64_t *words, uint32_t row)
{
    atomic_fetch_and_explicit(&words[row / 64], ~(UINT64_C(1) << (row % 64)), memory_order_release);
}

static size_t bit_words(const struct tarn_data_file *file)
{
    return (size_t)file->rows.count / 64 + 1;
}

// --- opening -----------------------------------------------------------------------------------------

static int make_bits(struct tarn_data_file *file, struct tarn_err *err)
{
    file->verified_words = calloc(bit_words(file), sizeof *file->verified);
    file->written_words = calloc(bit_words(file), sizeof *file->written);
    file->verified = file->verified_words;
    file->written = file->written_words;
    return file->verified && file->written ? 0 : out_of_memory(file->name, err);
}

// What cannot be read is not written.
static void read_marks(struct tarn_data_file *file)
{
    uint8_t marks[4096];
    tarn_autoclose int fd = open_member(file, "written", O_RDONLY);
    uint32_t row = 0;
    while (fd >= 0 && row < file->rows.count) {
        const ssize_t n = pread(fd, marks, tarn_min_u64(sizeof marks, file->rows.count - row), row);
        if (n <= 0)
            return;
        for (ssize_t i = 0; i < n; i++, row++)
            if (marks[i] == 1)
                set_bit(file->written, row);
    }
}

static int map_table(struct tarn_data_file *file, struct tarn_err *err)
{
    tarn_autoclose int fd = open_member(file, "table", O_RDONLY);
    if (fd < 0)
        return tarn_fail_errno(err, fd == -ENOENT ? -EUCLEAN : fd,
                               "store: cannot open blobs/%s/table", file->name);
    const int ret = tarn_data_table_map(fd, &file->table, &file->rows);
    if (ret == -EUCLEAN)
        return tarn_fail(err, ret, "store: blobs/%s/table is damaged", file->name);
    return ret < 0 ? tarn_fail_errno(err, ret, "store: cannot map blobs/%s/table", file->name) : 0;
}

// Without a directory the table is in memory.
static int copy_table(struct tarn_data_file *file, const struct tarn_buf *table,
                      struct tarn_err *err)
{
    const int ret = tarn_data_table_copy(table, &file->table, &file->rows);
    if (ret == -EUCLEAN)
        return tarn_fail(err, ret, "the chunk table of a blob is damaged");
    return ret < 0 ? out_of_memory(file->name, err) : 0;
}

static struct tarn_data_file *new_file(int blobs, const char *name)
{
    struct tarn_data_file *file = calloc(1, sizeof *file);
    if (!file)
        return NULL;
    file->blobs = blobs;
    file->fd = -1;
    file->marks = -1;
    pthread_mutex_init(&file->trust, NULL);
    pthread_mutex_init(&file->making, NULL);
    file->name = strdup(name);
    if (file->name)
        return file;
    tarn_data_file_free(file);
    return NULL;
}

// table NULL: the one of the directory.
static int open_file(struct tarn_data_file *file, const struct tarn_buf *table,
                     struct tarn_err *err)
{
    int ret = table ? copy_table(file, table, err) : map_table(file, err);
    if (ret < 0)
        return ret;
    file->whole = tarn_rows_whole(&file->rows);
    ret = make_bits(file, err);
    if (ret == 0 && !table)
        read_marks(file);
    return ret;
}

static int open_new(int blobs, const char *name, const struct tarn_buf *table,
                    struct tarn_data_file **file, struct tarn_err *err)
{
    struct tarn_data_file *opened = new_file(blobs, name);
    const int ret = opened ? open_file(opened, table, err) : out_of_memory(name, err);
    if (ret < 0)
        tarn_data_file_free(opened);
    else
        *file = opened;
    return ret;
}

int tarn_data_file_open(int blobs, const char *name, struct tarn_data_file **file,
                        struct tarn_err *err)
{
    return open_new(blobs, name, NULL, file, err);
}

void tarn_data_file_free(struct tarn_data_file *file)
{
    if (!file)
        return;
    tarn_data_table_release(&file->table);
    if (file->fd >= 0)
        close(file->fd);
    if (file->marks >= 0)
        close(file->marks);
    pthread_mutex_destroy(&file->trust);
    pthread_mutex_destroy(&file->making);
    free(file->verified_words);
    free(file->written_words);
    free(file->name);
    free(file);
}

// --- making ------------------------------------------------------------------------------------------

static int64_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

// On disk; what stood there goes.
static int make_directory(int blobs, const char *name, const void *table, size_t length,
                          struct tarn_err *err)
{
    int ret = tarn_remove_tree(blobs, name, err);
    if (ret < 0)
        return ret;
    if (mkdirat(blobs, name, 0700) < 0)
        return tarn_fail_errno(err, -errno, "store: cannot make blobs/%s", name);
    tarn_autoclose int directory = openat(blobs, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return tarn_fail_errno(err, -errno, "store: cannot open blobs/%s", name);
    // Not synced, which is most of a mount's time: a table that a crash made worse is found by its
    // checksum, and removed with its data.
    ret = tarn_file_replace_unsynced(directory, "table", table, length, err);
    if (ret == 0)
        return 0;
    tarn_wrap(err, ret, "store: blobs/%s", name);
    struct tarn_err fault;
    if (tarn_remove_tree(blobs, name, &fault) < 0)
        tarn_log(TARN_LOG_WARNING, "%s", fault.text);
    return ret;
}

int tarn_data_file_create(int blobs, const char *name, const struct tarn_rows *rows,
                          struct tarn_data_file **file, struct tarn_err *err)
{
    if (!tarn_rows_sound(rows))
        return tarn_fail(err, -EUCLEAN, "the chunk table of a blob is damaged");
    tarn_autobuf struct tarn_buf table = { 0 };
    int ret = tarn_rows_build_table(rows, &table);
    if (ret < 0)
        return out_of_memory(name, err);
    struct tarn_err fault;
    ret = make_directory(blobs, name, table.data, table.length, &fault);
    if (ret == 0 && tarn_data_file_open(blobs, name, file, &fault) == 0)
        return 0;
    tarn_log(TARN_LOG_WARNING, "%s; reading on without storing", fault.text);
    ret = open_new(blobs, name, &table, file, err);
    if (ret == 0) {
        (*file)->unwritable = true;
        (*file)->made_at = now_s();
    }
    return ret;
}

// Makes a directory that could not be made before, or that somebody has removed. One thread tries, and
// not too often.
static int make_again(struct tarn_data_file *file)
{
    if (pthread_mutex_trylock(&file->making) != 0)
        return -ENOSPC;
    const int64_t now = now_s();
    int ret = -ENOSPC;
    if (now - file->made_at >= MAKE_AGAIN_S) {
        file->made_at = now;
        if (tarn_data_table_intact(&file->table))
            ret = make_directory(file->blobs, file->name, file->table.bytes, file->table.length,
                                 NULL);
    }
    pthread_mutex_unlock(&file->making);
    return ret;
}

// --- data --------------------------------------------------------------------------------------------

// Threads may race for a descriptor.
static int keep_fd(_Atomic int *kept, int fd)
{
    int none = -1;
    if (atomic_compare_exchange_strong(kept, &none, fd))
        return fd;
    close(fd);
    return none;
}

// The descriptor of the data, opened at first use. On a store that became read-only what is there can
// still be read. -ENOENT: there is no directory; another -errno.
static int data_fd(struct tarn_data_file *file)
{
    const int open = atomic_load_explicit(&file->fd, memory_order_acquire);
    if (open >= 0)
        return open;
    int fd = open_member(file, "data", O_RDWR | O_CREAT);
    if (fd == -EROFS || fd == -EACCES)
        fd = open_member(file, "data", O_RDONLY);
    if (fd < 0)
        return fd;
    struct stat st;
    int ret = fstat(fd, &st) < 0 ? -errno : 0;
    if (ret == 0 && (uint64_t)st.st_size != file->rows.data_length &&
        ftruncate(fd, (off_t)file->rows.data_length) < 0)
        ret = -errno;
    if (ret < 0) {
        close(fd);
        return ret;
    }
    return keep_fd(&file->fd, fd);
}

// With the lock held. The count comes last: who saw a bit of before has that count too.
static void distrust_locked(struct tarn_data_file *file)
{
    for (size_t i = 0; i < bit_words(file); i++)
        atomic_store_explicit(&file->verified[i], 0, memory_order_release);
    atomic_fetch_add(&file->distrusts, 1);
}

// Somebody has been at the data, or the disk cannot read it: every chunk is looked at again.
static void distrust(struct tarn_data_file *file)
{
    pthread_mutex_lock(&file->trust);
    distrust_locked(file);
    pthread_mutex_unlock(&file->trust);
}

// Of a chunk that was read or written since the bits had become void so often. If they did again meanwhile,
// that was one of those that were lost, perhaps.
static void set_verified(struct tarn_data_file *file, uint32_t row, uint32_t distrusts)
{
    pthread_mutex_lock(&file->trust);
    if (atomic_load(&file->distrusts) == distrusts)
        set_bit(file->verified, row);
    pthread_mutex_unlock(&file->trust);
}

// A mark that is not kept costs a fetch by the next daemon, or a look at wrong bytes.
static void mark(struct tarn_data_file *file, uint32_t row, uint8_t value)
{
    int fd = atomic_load_explicit(&file->marks, memory_order_acquire);
    if (fd < 0) {
        fd = open_member(file, "written", O_WRONLY | O_CREAT);
        if (fd < 0)
            return;
        fd = keep_fd(&file->marks, fd);
    }
    if (pwrite(fd, &value, 1, row) < 0)
        return;
}

// Whether the disk did not take something that was written: a full one below a sparse volume, a failing one.
// The kernel drops such pages, and reads what is on the disk again; zeros, mostly. It reports that once, to
// whoever asks first; so the next one has to wait until the bits are void. The range is behind the end: there
// is nothing to wait for.
static bool lost_writes(struct tarn_data_file *file, int fd)
{
    pthread_mutex_lock(&file->trust);
    const bool lost =
        sync_file_range(fd, (off_t)file->rows.data_length, 1, SYNC_FILE_RANGE_WAIT_BEFORE) < 0 &&
        tarn_is_lost_write(errno);
    if (lost)
        distrust_locked(file);
    pthread_mutex_unlock(&file->trust);
    if (lost)
        tarn_log(TARN_LOG_ERROR,
                 "store: the disk did not take all of blobs/%s/data; what is missing is fetched "
                 "again: see to the disk",
                 file->name);
    return lost;
}

int tarn_data_file_read(struct tarn_data_file *file, uint64_t address, void *data, size_t length)
{
    const int fd = data_fd(file);
    if (fd < 0)
        return fd == -ENOENT ? -EIO : fd;
    const int ret = tarn_pread_full(fd, data, length, address);
    if (ret < 0)
        distrust(file);
    return ret < 0 || lost_writes(file, fd) ? -EIO : 0;
}

// What an image says of a chunk is worth no more than its bootstrap.
static bool inside(const struct tarn_data_file *file, const struct tarn_row_chunk *chunk)
{
    return chunk->row < file->rows.count && chunk->length <= TARN_CHUNK_MAX &&
           tarn_range_ok(chunk->address, chunk->length, file->rows.data_length);
}

static void drop(struct tarn_data_file *file, uint32_t row)
{
    clear_bit(file->verified, row);
    clear_bit(file->written, row);
    mark(file, row, 0);
}

static int read_proven(struct tarn_data_file *file, const struct tarn_row_chunk *chunk, void *bytes)
{
    struct tarn_digest digest;
    const int ret = tarn_data_file_read(file, chunk->address, bytes, chunk->length);
    if (ret < 0)
        return ret;
    tarn_sha256(bytes, chunk->length, &digest);
    return tarn_digest_equal(&digest, &chunk->digest) ? 0 : -EIO;
}

int tarn_data_file_check(struct tarn_data_file *file, const struct tarn_row_chunk *chunk,
                         void *scratch)
{
    if (!inside(file, chunk))
        return -EIO;
    const uint32_t distrusts = atomic_load(&file->distrusts);
    const int ret = read_proven(file, chunk, scratch);
    if (ret == 0)
        set_verified(file, chunk->row, distrusts);
    else if (ret == -EIO)
        drop(file, chunk->row);
    else
        clear_bit(file->verified, chunk->row);
    return ret;
}

int tarn_data_file_lend(struct tarn_data_file *file, const struct tarn_row_chunk *chunk,
                        void *bytes)
{
    if (!inside(file, chunk))
        return -EIO;
    const int ret = read_proven(file, chunk, bytes);
    if (ret == -EIO)
        drop(file, chunk->row);
    return ret;
}

// What is past the end of a file that was cut would be zeros as soon as it is written to again.
static int restore_length(struct tarn_data_file *file, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((uint64_t)st.st_size == file->rows.data_length)
        return 0;
    distrust(file);
    return ftruncate(fd, (off_t)file->rows.data_length) < 0 ? -errno : 0;
}

int tarn_data_file_put(struct tarn_data_file *file, const struct tarn_row_chunk *chunk,
                       const void *bytes)
{
    if (!inside(file, chunk))
        return -EIO;
    int fd = data_fd(file);
    if (fd == -ENOENT && make_again(file) == 0)
        fd = data_fd(file);
    int ret = fd < 0 ? fd : restore_length(file, fd);
    const uint32_t distrusts = atomic_load(&file->distrusts);
    if (ret == 0)
        ret = tarn_pwrite_full(fd, bytes, chunk->length, chunk->address);
    if (ret == 0) {
        set_verified(file, chunk->row, distrusts);
        set_bit(file->written, chunk->row);
        mark(file, chunk->row, 1);
    }
    atomic_store_explicit(&file->unwritable, ret < 0, memory_order_relaxed);
    return ret;
}

// --- the table -----------------------------------------------------------------------------------------

bool tarn_data_file_same(const struct tarn_data_file *file, const struct tarn_rows *rows)
{
    return tarn_rows_same(&file->rows, rows) && tarn_data_table_intact(&file->table);
}

// The file of the table, made of those bytes; -1: it cannot be made.
static int write_table(const struct tarn_data_file *file, const struct tarn_buf *table)
{
    tarn_autoclose int directory =
        openat(file->blobs, file->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (directory < 0 ||
        tarn_file_replace_unsynced(directory, "table", table->data, table->length, NULL) < 0)
        return -1;
    return open_member(file, "table", O_RDONLY);
}

bool tarn_data_file_mend(struct tarn_data_file *file, const struct tarn_rows *rows, bool proven)
{
    tarn_autobuf struct tarn_buf table = { 0 };
    if ((!proven && atomic_load(&file->users) > 0) || rows->data_length != file->rows.data_length ||
        !tarn_digest_equal(&rows->blob, &file->rows.blob) || tarn_data_table_intact(&file->table) ||
        tarn_rows_build_table(rows, &table) < 0)
        return false;
    tarn_autoclose int fd = write_table(file, &table);
    if (!tarn_data_table_replace(&file->table, fd, &table) &&
        !tarn_data_table_replace(&file->table, -1, &table))
        return false;
    distrust(file);
    tarn_log(TARN_LOG_WARNING,
             "store: blobs/%s/table was damaged while it was in use; made it again from an image",
             file->name);
    return tarn_data_file_same(file, rows);
}
