// SPDX-License-Identifier: Apache-2.0
#include "daemon/data_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/log.h"

// The file "table": this header, then addresses, locations, digests as in the format's section 7.
// Of a reference only bit 63 of the location is kept.
enum {
    HEADER_SIZE = 80,
    OFFSET_VERSION = 8,
    OFFSET_COUNT = 12,
    OFFSET_DATA_LENGTH = 16,
    OFFSET_BLOB_SIZE = 24,
    OFFSET_BLOB = 32,
    OFFSET_XXH3 = 64, // of all that follows the header: finds accidents
    ROW_SIZE = 8 + 8 + TARN_DIGEST_SIZE,
    VERSION = 1,
};
static const char magic[8] = "TARNROWS";

static uint64_t plain_location(const uint8_t *packed)
{
    const uint64_t location = tarn_get_le64(packed);
    return location >> 63 && location != UINT64_MAX ? UINT64_C(1) << 63 : location;
}

struct tarn_rows tarn_rows_of(const struct tarn_tables *tables,
                              const struct tarn_blob_record *record)
{
    return (struct tarn_rows){
        .blob = record->digest,
        .blob_size = record->size,
        .data_length = record->data_length,
        .count = record->row_count,
        .addresses = tables->addresses + (size_t)record->first_row * 8,
        .locations = tables->locations + (size_t)record->first_row * 8,
        .digests = tables->digests + (size_t)record->first_row * TARN_DIGEST_SIZE,
    };
}

static int build_table(const struct tarn_rows *rows, struct tarn_buf *table)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    memcpy(header, magic, sizeof magic);
    tarn_put_le32(header + OFFSET_VERSION, VERSION);
    tarn_put_le32(header + OFFSET_COUNT, rows->count);
    tarn_put_le64(header + OFFSET_DATA_LENGTH, rows->data_length);
    tarn_put_le64(header + OFFSET_BLOB_SIZE, rows->blob_size);
    memcpy(header + OFFSET_BLOB, rows->blob.bytes, TARN_DIGEST_SIZE);
    int ret = tarn_buf_reserve(table, HEADER_SIZE + (size_t)rows->count * ROW_SIZE);
    if (ret == 0)
        ret = tarn_buf_append(table, header, sizeof header);
    if (ret == 0)
        ret = tarn_buf_append(table, rows->addresses, (size_t)rows->count * 8);
    for (uint32_t i = 0; ret == 0 && i < rows->count; i++)
        ret = tarn_buf_append_le64(table, plain_location(rows->locations + (size_t)i * 8));
    if (ret == 0)
        ret = tarn_buf_append(table, rows->digests, (size_t)rows->count * TARN_DIGEST_SIZE);
    if (ret == 0)
        tarn_put_le64(table->data + OFFSET_XXH3,
                      XXH3_64bits(table->data + HEADER_SIZE, table->length - HEADER_SIZE));
    return ret;
}

int tarn_rows_digest(const struct tarn_rows *rows, struct tarn_digest *digest)
{
    tarn_cleanup(tarn_buf_release) struct tarn_buf table = { 0 };
    const int ret = build_table(rows, &table);
    if (ret == 0)
        tarn_sha256(table.data, table.length, digest);
    return ret;
}

bool tarn_data_file_same(const struct tarn_data_file *file, const struct tarn_rows *rows)
{
    const struct tarn_rows *mine = &file->rows;
    if (mine->count != rows->count || mine->data_length != rows->data_length ||
        mine->blob_size != rows->blob_size || !tarn_digest_equal(&mine->blob, &rows->blob))
        return false;
    if (rows->count == 0)
        return true;
    if (memcmp(mine->addresses, rows->addresses, (size_t)rows->count * 8) != 0 ||
        memcmp(mine->digests, rows->digests, (size_t)rows->count * TARN_DIGEST_SIZE) != 0)
        return false;
    for (uint32_t i = 0; i < rows->count; i++)
        if (tarn_get_le64(mine->locations + (size_t)i * 8) !=
            plain_location(rows->locations + (size_t)i * 8))
            return false;
    return true;
}

// Chunk rows must be usable without further checks: inside the data space, of a chunk's length.
static bool rows_sound(const struct tarn_rows *rows)
{
    if (rows->data_length > TARN_DATA_SPACE_LIMIT)
        return false;
    for (uint32_t i = 0; i < rows->count; i++) {
        const uint64_t address = tarn_rows_address(rows, i);
        const bool gap = tarn_get_le64(rows->locations + (size_t)i * 8) == UINT64_MAX;
        if (address > rows->data_length || (i + 1 == rows->count && !gap))
            return false;
        if (i + 1 == rows->count)
            break;
        const uint64_t next = tarn_rows_address(rows, i + 1);
        if (next <= address || (!gap && next - address > TARN_CHUNK_MAX))
            return false;
    }
    return true;
}

static bool rows_whole(const struct tarn_rows *rows)
{
    if (rows->count == 0)
        return rows->data_length == 0;
    for (uint32_t i = 0; i + 1 < rows->count; i++)
        if (tarn_get_le64(rows->locations + (size_t)i * 8) == UINT64_MAX)
            return false;
    return tarn_rows_address(rows, 0) == 0 &&
           tarn_rows_address(rows, rows->count - 1) == rows->data_length;
}

static int parse_table(struct tarn_data_file *file, struct tarn_err *err)
{
    const uint8_t *p = file->table;
    struct tarn_rows *rows = &file->rows;
    rows->count = tarn_get_le32(p + OFFSET_COUNT);
    rows->data_length = tarn_get_le64(p + OFFSET_DATA_LENGTH);
    rows->blob_size = tarn_get_le64(p + OFFSET_BLOB_SIZE);
    memcpy(rows->blob.bytes, p + OFFSET_BLOB, TARN_DIGEST_SIZE);
    if (memcmp(p, magic, sizeof magic) != 0 || tarn_get_le32(p + OFFSET_VERSION) != VERSION ||
        file->table_length != HEADER_SIZE + (uint64_t)rows->count * ROW_SIZE ||
        tarn_get_le64(p + OFFSET_XXH3) !=
            XXH3_64bits(p + HEADER_SIZE, file->table_length - HEADER_SIZE))
        return tarn_fail(err, -EUCLEAN, "store: blobs/%s/table is no table", file->name);
    rows->addresses = p + HEADER_SIZE;
    rows->locations = rows->addresses + (size_t)rows->count * 8;
    rows->digests = rows->locations + (size_t)rows->count * 8;
    if (!rows_sound(rows))
        return tarn_fail(err, -EUCLEAN, "store: blobs/%s/table is damaged", file->name);
    file->whole = rows_whole(rows);
    return 0;
}

static int map_table(struct tarn_data_file *file, struct tarn_err *err)
{
    tarn_autoclose int fd = openat(file->directory, "table", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return tarn_fail_errno(err, errno == ENOENT ? -EUCLEAN : -errno,
                               "store: cannot open blobs/%s/table", file->name);
    if (st.st_size < HEADER_SIZE ||
        (uint64_t)st.st_size > HEADER_SIZE + (uint64_t)UINT32_MAX * ROW_SIZE)
        return tarn_fail(err, -EUCLEAN, "store: blobs/%s/table has a wrong size", file->name);
    file->table_length = (size_t)st.st_size;
    file->table = mmap(NULL, file->table_length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file->table == MAP_FAILED) {
        file->table = NULL;
        return tarn_fail_errno(err, -errno, "store: cannot map blobs/%s/table", file->name);
    }
    return parse_table(file, err);
}

static int map_bits(struct tarn_data_file *file, int fd, struct tarn_err *err)
{
    void *map = mmap(NULL, file->written_length, PROT_READ | PROT_WRITE,
                     fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", file->name);
    file->written_map = map;
    file->written = map;
    return 0;
}

// The blocks are allocated first, so that a full disk cannot kill the process by SIGBUS.
static int map_written(struct tarn_data_file *file, struct tarn_err *err)
{
    tarn_autoclose int fd =
        openat(file->directory, "written", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && posix_fallocate(fd, 0, (off_t)file->written_length) == 0 &&
        map_bits(file, fd, NULL) == 0)
        return 0;
    return map_bits(file, -1, err);
}

static int make_bits(struct tarn_data_file *file, struct tarn_err *err)
{
    const size_t words = (size_t)file->rows.count / 64 + 1;
    file->written_length = words * sizeof *file->written;
    file->verified_words = calloc(words, sizeof *file->verified);
    file->verified = file->verified_words;
    return file->verified ? 0
                          : tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", file->name);
}

static int open_in(struct tarn_data_file *file, int blobs, const char *name, struct tarn_err *err)
{
    file->fd = -1;
    file->name = strdup(name);
    if (!file->name)
        return tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", name);
    file->directory = openat(blobs, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (file->directory < 0)
        return tarn_fail_errno(err, -errno, "store: cannot open blobs/%s", name);
    int ret = map_table(file, err);
    if (ret == 0)
        ret = make_bits(file, err);
    return ret == 0 ? map_written(file, err) : ret;
}

int tarn_data_file_open(int blobs, const char *name, struct tarn_data_file **file,
                        struct tarn_err *err)
{
    struct tarn_data_file *opened = calloc(1, sizeof *opened);
    if (!opened)
        return tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", name);
    opened->directory = -1;
    const int ret = open_in(opened, blobs, name, err);
    if (ret < 0) {
        tarn_data_file_free(opened);
        return ret;
    }
    *file = opened;
    return 0;
}

// On disk; table is what the file "table" shall hold.
static int make_directory(int blobs, const char *name, const struct tarn_buf *table,
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
    ret = tarn_file_replace_unsynced(directory, "table", table->data, table->length, err);
    return ret < 0 ? tarn_wrap(err, ret, "store: blobs/%s", name) : 0;
}

// Without a directory: no chunk can be written, so each is fetched whenever it is read.
static int open_in_memory(const char *name, const struct tarn_buf *table,
                          struct tarn_data_file *file, struct tarn_err *err)
{
    file->fd = -1;
    file->directory = -1;
    file->unwritable = true;
    file->name = strdup(name);
    void *map =
        mmap(NULL, table->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map != MAP_FAILED) {
        file->table = memcpy(map, table->data, table->length);
        file->table_length = table->length;
    }
    if (!file->table || !file->name)
        return tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", name);
    int ret = parse_table(file, err);
    if (ret == 0)
        ret = make_bits(file, err);
    return ret == 0 ? map_bits(file, -1, err) : ret;
}

int tarn_data_file_create(int blobs, const char *name, const struct tarn_rows *rows,
                          struct tarn_data_file **file, struct tarn_err *err)
{
    if (!rows_sound(rows))
        return tarn_fail(err, -EUCLEAN, "the chunk table of a blob is damaged");
    tarn_cleanup(tarn_buf_release) struct tarn_buf table = { 0 };
    int ret = build_table(rows, &table);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory making blobs/%s", name);
    struct tarn_err fault;
    ret = make_directory(blobs, name, &table, &fault);
    if (ret == 0)
        return tarn_data_file_open(blobs, name, file, err);
    if (!tarn_disk_full(ret)) {
        if (err)
            *err = fault;
        return ret;
    }
    tarn_log(TARN_LOG_WARNING, "%s; reading on without storing", fault.text);
    if (tarn_remove_tree(blobs, name, &fault) < 0)
        tarn_log(TARN_LOG_WARNING, "%s", fault.text);
    struct tarn_data_file *opened = calloc(1, sizeof *opened);
    if (!opened)
        return tarn_fail(err, -ENOMEM, "out of memory opening blobs/%s", name);
    ret = open_in_memory(name, &table, opened, err);
    if (ret < 0)
        tarn_data_file_free(opened);
    else
        *file = opened;
    return ret;
}

void tarn_data_file_free(struct tarn_data_file *file)
{
    if (!file)
        return;
    if (file->table)
        munmap(file->table, file->table_length);
    if (file->written_map)
        munmap(file->written_map, file->written_length);
    if (file->fd >= 0)
        close(file->fd);
    if (file->directory >= 0)
        close(file->directory);
    free(file->verified_words);
    free(file->name);
    free(file);
}

// The descriptor, opened at first use; threads may race for it. -errno.
static int data_fd(struct tarn_data_file *file)
{
    int fd = atomic_load_explicit(&file->fd, memory_order_acquire);
    if (fd >= 0)
        return fd;
    if (file->directory < 0)
        return -ENOSPC;
    fd = openat(file->directory, "data", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    struct stat st;
    int ret = fstat(fd, &st) < 0 ? -errno : 0;
    if (ret == 0 && (uint64_t)st.st_size != file->rows.data_length &&
        ftruncate(fd, (off_t)file->rows.data_length) < 0)
        ret = -errno;
    if (ret < 0) {
        close(fd);
        return ret;
    }
    int none = -1;
    if (!atomic_compare_exchange_strong(&file->fd, &none, fd)) {
        close(fd);
        return none;
    }
    return fd;
}

int tarn_data_file_read(struct tarn_data_file *file, uint64_t address, void *data, size_t length)
{
    const int fd = data_fd(file);
    if (fd < 0)
        return fd;
    const int ret = tarn_pread_full(fd, data, length, address);
    return ret == -ENODATA ? -EIO : ret;
}

static void set_bit(_Atomic uint64_t *words, uint32_t row)
{
    atomic_fetch_or_explicit(&words[row / 64], UINT64_C(1) << (row % 64), memory_order_release);
}

static void clear_bit(_Atomic uint64_t *words, uint32_t row)
{
    atomic_fetch_and_explicit(&words[row / 64], ~(UINT64_C(1) << (row % 64)), memory_order_release);
}

int tarn_data_file_check(struct tarn_data_file *file, uint32_t row, void *scratch)
{
    const size_t length = tarn_rows_length(&file->rows, row);
    int ret = tarn_data_file_read(file, tarn_rows_address(&file->rows, row), scratch, length);
    if (ret == 0) {
        struct tarn_digest digest;
        tarn_sha256(scratch, length, &digest);
        if (!tarn_digest_equal(&digest, tarn_rows_digest_at(&file->rows, row)))
            ret = -EIO;
    }
    if (ret == 0) {
        set_bit(file->verified, row);
        return 0;
    }
    clear_bit(file->verified, row);
    clear_bit(file->written, row);
    return -EIO;
}

int tarn_data_file_put(struct tarn_data_file *file, uint32_t row, const void *bytes)
{
    const int fd = data_fd(file);
    const int ret = fd < 0 ? fd
                           : tarn_pwrite_full(fd, bytes, tarn_rows_length(&file->rows, row),
                                              tarn_rows_address(&file->rows, row));
    if (ret == 0) {
        set_bit(file->verified, row);
        set_bit(file->written, row);
    }
    atomic_store_explicit(&file->unwritable, ret < 0, memory_order_relaxed);
    return ret;
}
