// SPDX-License-Identifier: Apache-2.0
// Bootstraps: mapped from unnamed files, and unpacked straight into these, so that none is ever in the
// daemon's own memory but on a disk that cannot be written. What is mapped is never what has a name in the
// store: whoever cuts, changes or removes that harms no mount.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/store_internal.h"

// --- where they are mapped -----------------------------------------------------------------------------

// Not O_TMPFILE, which some file systems lack. A descriptor or -errno.
static int open_unnamed(const struct tarn_store *store, const char *hex)
{
    char name[TARN_DIGEST_HEX + 32];
    snprintf(name, sizeof name, "%s.%d.tmp", hex, (int)gettid());
    const int fd =
        openat(store->bootstraps, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (unlinkat(store->bootstraps, name, 0) == 0)
        return fd;
    const int ret = -errno;
    close(fd);
    return ret;
}

static void give_up_file(const char *hex, int status)
{
    tarn_log(TARN_LOG_WARNING,
             "store: cannot write in bootstraps/: %s; keeping bootstrap %s in memory",
             strerror(-status), hex);
}

// Memory of whole pages, behind a page for what comes before a bootstrap in its archive.
static int reserve(size_t length, struct tarn_store_bytes *bytes, struct tarn_err *err)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t total = page + (size_t)tarn_round_up(length, page);
    uint8_t *map = mmap(NULL, total, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return tarn_fail(err, -ENOMEM, "out of memory for a bootstrap");
    *bytes = (struct tarn_store_bytes){
        .data = map + page, .length = length, .map = map, .map_length = total
    };
    return 0;
}

static uint8_t *writable(const struct tarn_store_bytes *bytes)
{
    return (uint8_t *)bytes->map + sysconf(_SC_PAGESIZE);
}

// Puts a file, which is taken over, in the place of the memory.
static int map_file(struct tarn_store_bytes *bytes, int fd, int protection, struct tarn_err *err)
{
    bytes->file = fd;
    uint8_t *address = writable(bytes);
    const size_t length = bytes->map_length - (size_t)sysconf(_SC_PAGESIZE);
    if (mmap(address, length, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        return tarn_fail_errno(err, -errno, "cannot map a bootstrap");
    bytes->range = tarn_bus_guard_add(address, length, protection);
    return bytes->range ? 0 : tarn_fail(err, -ENOMEM, "out of memory for a bootstrap");
}

void tarn_store_settle(struct tarn_store_bytes *bytes)
{
    if (bytes->file <= 0)
        return;
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(bytes->file, 0, 0, all) < 0 && tarn_is_lost_write(errno))
        tarn_bus_range_spoil(bytes->range);
    close(bytes->file);
    bytes->file = 0;
}

// --- their digests -------------------------------------------------------------------------------------

struct tarn_store_check {
    pthread_t thread;
    bool running;
    struct tarn_store *store;
    struct tarn_digest digest;
    const uint8_t *data;
    size_t length;
    struct tarn_bus_range *range;
    bool loaded; // else it was unpacked
    int status;
    struct tarn_err err;
};

static int drop_stored(const struct tarn_store *store, const char *hex, struct tarn_err *err)
{
    tarn_log(
        TARN_LOG_WARNING,
        "store: bootstraps/%s cannot be read, or has other bytes than its name says; removing it",
        hex);
    unlinkat(store->bootstraps, hex, 0);
    return tarn_fail(err, -ENOENT, "store: bootstraps/%s was damaged", hex);
}

// Not synced: it is hashed whenever it is loaded.
static void save(const struct tarn_store_check *check, const char *hex)
{
    struct tarn_err fault;
    if (tarn_file_replace_unsynced(check->store->bootstraps, hex, check->data, check->length,
                                   &fault) < 0)
        tarn_log(TARN_LOG_WARNING, "store: %s; it will be fetched again", fault.text);
}

// The digest is that of the bytes before any of them could get lost.
static void *run_check(void *context)
{
    struct tarn_store_check *check = context;
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(&check->digest, hex);
    int ret = tarn_bootstrap_compare(check->data, check->length, &check->digest, &check->err);
    const bool damaged = tarn_bus_range_damaged(check->range);
    if (check->loaded && (ret < 0 || damaged))
        ret = drop_stored(check->store, hex, &check->err);
    else if (damaged)
        ret = tarn_fail(&check->err, -EIO, "store: cannot write a copy of bootstraps/%s", hex);
    else if (ret == 0 && !check->loaded)
        save(check, hex);
    check->status = ret;
    return NULL;
}

// Without a thread for it, it is done at once.
static int start_check(struct tarn_store *store, const struct tarn_digest *digest, bool loaded,
                       struct tarn_store_bytes *bytes)
{
    struct tarn_store_check *check = calloc(1, sizeof *check);
    if (!check)
        return -ENOMEM;
    check->store = store;
    check->digest = *digest;
    check->data = bytes->data;
    check->length = bytes->length;
    check->range = bytes->range;
    check->loaded = loaded;
    check->running = pthread_create(&check->thread, NULL, run_check, check) == 0;
    if (!check->running)
        run_check(check);
    bytes->check = check;
    return 0;
}

static void wait_check(struct tarn_store_check *check)
{
    if (check->running)
        pthread_join(check->thread, NULL);
    check->running = false;
}

static void end_check(struct tarn_store_bytes *bytes)
{
    if (bytes->check)
        wait_check(bytes->check);
    free(tarn_steal(bytes->check));
}

int tarn_store_confirm(struct tarn_store_bytes *bytes, struct tarn_err *err)
{
    if (!bytes->check)
        return 0;
    wait_check(bytes->check);
    const int ret = bytes->check->status;
    if (ret < 0 && err)
        *err = bytes->check->err;
    end_check(bytes);
    return ret;
}

void tarn_store_unmap(struct tarn_store_bytes *bytes)
{
    end_check(bytes);
    tarn_bus_guard_remove(bytes->range);
    if (bytes->map)
        munmap(bytes->map, bytes->map_length);
    if (bytes->file > 0)
        close(bytes->file);
    *bytes = (struct tarn_store_bytes){ 0 };
}

// --- loading -------------------------------------------------------------------------------------------

// Sets *unreadable if it was from that failed.
static int copy(int from, int to, size_t length, bool *unreadable)
{
    enum { PIECE = 256 << 10 };
    tarn_autofree uint8_t *piece = malloc(PIECE);
    int ret = piece ? 0 : -ENOMEM;
    *unreadable = false;
    for (size_t at = 0; ret == 0 && at < length;) {
        const size_t n = (size_t)tarn_min_u64(PIECE, length - at);
        ret = tarn_pread_full(from, piece, n, at);
        *unreadable = ret < 0;
        if (ret == 0)
            ret = tarn_pwrite_full(to, piece, n, at);
        at += n;
    }
    return ret;
}

// Copies the file that has the name to one that has none, or to memory, and maps it.
static int load(const struct tarn_store *store, int from, const char *hex,
                struct tarn_store_bytes *bytes, struct tarn_err *err)
{
    bool unreadable = false;
    tarn_autoclose int fd = open_unnamed(store, hex);
    int ret = fd < 0 ? fd : copy(from, fd, bytes->length, &unreadable);
    if (ret == 0)
        return map_file(bytes, tarn_steal_fd(&fd), PROT_READ, err);
    if (!unreadable) {
        give_up_file(hex, ret);
        ret = tarn_pread_full(from, writable(bytes), bytes->length, 0);
    }
    return ret < 0 ? tarn_fail_errno(err, ret, "store: cannot read bootstraps/%s", hex) : 0;
}

int tarn_store_load_bootstrap(struct tarn_store *store, const struct tarn_digest *digest,
                              struct tarn_store_bytes *bytes, struct tarn_err *err)
{
    char hex[TARN_DIGEST_HEX + 1];
    struct stat st;
    tarn_digest_format_hex(digest, hex);
    tarn_autoclose int fd =
        openat(store->bootstraps, hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    // Any other error is the file's, or its disk's.
    if (fd < 0 && (errno == ENOENT || errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        return tarn_fail_errno(err, -errno, "store: cannot open bootstraps/%s", hex);
    *bytes = (struct tarn_store_bytes){ 0 };
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (uint64_t)st.st_size <= TARN_BOOTSTRAP_LIMIT) {
        int ret = reserve((size_t)st.st_size, bytes, err);
        if (ret < 0)
            return ret;
        ret = load(store, fd, hex, bytes, err);
        if (ret == 0 && start_check(store, digest, true, bytes) < 0)
            ret = tarn_fail(err, -ENOMEM, "out of memory for a bootstrap");
        if (ret == 0)
            return 0;
        tarn_store_unmap(bytes);
        if (ret == -ENOMEM)
            return ret;
    }
    return drop_stored(store, hex, err);
}

// --- unpacking -----------------------------------------------------------------------------------------

// A file below the memory, if one can be made. Its blocks are allocated first, so that a full disk is an
// error and no damage.
static int map_new(const struct tarn_store *store, const char *hex, struct tarn_store_bytes *bytes,
                   struct tarn_err *err)
{
    tarn_autoclose int fd = open_unnamed(store, hex);
    const off_t length = (off_t)(bytes->map_length - (size_t)sysconf(_SC_PAGESIZE));
    const int ret = fd < 0 ? fd : -posix_fallocate(fd, 0, length);
    if (ret == 0)
        return map_file(bytes, tarn_steal_fd(&fd), PROT_READ | PROT_WRITE, err);
    give_up_file(hex, ret);
    return 0;
}

int tarn_store_unpack_bootstrap(struct tarn_store *store, const struct tarn_buf *layer,
                                const struct tarn_digest *digest, struct tarn_store_bytes *bytes,
                                struct tarn_err *err)
{
    size_t total;
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(digest, hex);
    *bytes = (struct tarn_store_bytes){ 0 };
    int ret = tarn_bootstrap_layer_size(layer->data, layer->length, &total, err);
    if (ret == 0)
        ret = reserve(total, bytes, err);
    if (ret < 0)
        return ret;
    // The archive's header ends at the end of the first page, so that the bootstrap is what the file has.
    struct tarn_bootstrap_room room = { writable(bytes) - TARN_BOOTSTRAP_LAYER_HEADER, total, 0 };
    ret = map_new(store, hex, bytes, err);
    if (ret == 0)
        ret = tarn_bootstrap_layer_unpack(layer->data, layer->length, NULL, &room, err);
    if (ret == 0 && mprotect(bytes->map, bytes->map_length, PROT_READ) < 0)
        ret = tarn_fail_errno(err, -errno, "cannot map a bootstrap");
    bytes->length = room.size;
    if (ret == 0 && start_check(store, digest, false, bytes) < 0)
        ret = tarn_fail(err, -ENOMEM, "out of memory for a bootstrap");
    if (ret < 0)
        tarn_store_unmap(bytes);
    return ret;
}
