// SPDX-License-Identifier: Apache-2.0
// Bootstraps: mapped from their files, and unpacked straight into these, so that none is ever in the
// daemon's own memory but on a disk that cannot be written.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/log.h"
#include "daemon/store_internal.h"

// The bytes are copied by the mapping's being private only where they are written to, so a later
// change of the file would show. The directory is 0700: whoever can change it can change the daemon.
int tarn_store_load_bootstrap(struct tarn_store *store, const struct tarn_digest *digest,
                              struct tarn_store_bytes *bytes, struct tarn_err *err)
{
    char hex[TARN_DIGEST_HEX + 1];
    tarn_digest_format_hex(digest, hex);
    tarn_autoclose int fd = openat(store->bootstraps, hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return tarn_fail_errno(err, -errno, "store: cannot open bootstraps/%s", hex);
    void *map =
        st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (map != MAP_FAILED) {
        struct tarn_digest found;
        tarn_sha256(map, (size_t)st.st_size, &found);
        if (tarn_digest_equal(&found, digest)) {
            *bytes = (struct tarn_store_bytes){
                .data = map,
                .length = (size_t)st.st_size,
                .map = map,
                .map_length = (size_t)st.st_size,
            };
            return 0;
        }
        munmap(map, (size_t)st.st_size);
    }
    tarn_log(TARN_LOG_WARNING,
             "store: bootstraps/%s has other bytes than its name says; "
             "removing it",
             hex);
    unlinkat(store->bootstraps, hex, 0);
    return tarn_fail(err, -ENOENT, "store: bootstraps/%s was damaged", hex);
}

// --- unpacking -----------------------------------------------------------------------------------------

// A file that is written under a name of its own first: threads may unpack the same bootstrap.
struct staged {
    int fd; // -1: there is none
    char name[TARN_DIGEST_HEX + 32];
};

static void drop_file(struct tarn_store *store, struct staged *staged)
{
    if (staged->fd < 0)
        return;
    close(staged->fd);
    staged->fd = -1;
    unlinkat(store->bootstraps, staged->name, 0);
}

static void give_up_file(struct tarn_store *store, struct staged *staged, int status)
{
    tarn_log(TARN_LOG_WARNING, "store: cannot write bootstraps/%s: %s; mounting without storing",
             staged->name, strerror(-status));
    drop_file(store, staged);
}

// Puts a file below the address, if one can be made. Its blocks are allocated first, so that a full disk is
// an error and no SIGBUS. -errno: the address cannot be used any more.
static int map_file(struct tarn_store *store, struct staged *staged, uint8_t *address,
                    size_t length)
{
    staged->fd = openat(store->bootstraps, staged->name,
                        O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    const int ret = staged->fd < 0 ? -errno : -posix_fallocate(staged->fd, 0, (off_t)length);
    if (ret < 0) {
        give_up_file(store, staged, ret);
        return 0;
    }
    if (mmap(address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, staged->fd, 0) !=
        MAP_FAILED)
        return 0;
    const int code = -errno;
    give_up_file(store, staged, code);
    return code;
}

// Not synced: it is hashed whenever it is loaded. What cannot get its name stays mapped.
static void keep_file(struct tarn_store *store, struct staged *staged, const char *hex, size_t size)
{
    if (ftruncate(staged->fd, (off_t)size) < 0 ||
        renameat(store->bootstraps, staged->name, store->bootstraps, hex) < 0)
        give_up_file(store, staged, -errno);
    else
        close(staged->fd);
}

int tarn_store_unpack_bootstrap(struct tarn_store *store, const struct tarn_buf *layer,
                                const struct tarn_digest *digest, struct tarn_store_bytes *bytes,
                                struct tarn_err *err)
{
    size_t total;
    int ret = tarn_bootstrap_layer_size(layer->data, layer->length, &total, err);
    if (ret < 0)
        return ret;
    // The archive's header ends at the end of the first page, so that the bootstrap is what the file has.
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t length = (size_t)tarn_round_up(total, page);
    uint8_t *map = mmap(NULL, page + length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return tarn_fail(err, -ENOMEM, "out of memory for a bootstrap");
    struct staged staged;
    char hex[TARN_DIGEST_HEX + 1];
    snprintf(staged.name, sizeof staged.name, "%s.%d.tmp", tarn_digest_format_hex(digest, hex),
             (int)gettid());
    struct tarn_bootstrap_room room = { map + page - TARN_BOOTSTRAP_LAYER_HEADER, total, 0 };
    ret = map_file(store, &staged, map + page, length);
    if (ret < 0)
        tarn_fail(err, ret, "out of memory for a bootstrap");
    else
        ret = tarn_bootstrap_layer_unpack(layer->data, layer->length, digest, &room, err);
    if (ret == 0 && mprotect(map, page + length, PROT_READ) < 0)
        ret = tarn_fail_errno(err, -errno, "cannot map a bootstrap");
    if (ret < 0) {
        munmap(map, page + length);
        drop_file(store, &staged);
        return ret;
    }
    if (staged.fd >= 0)
        keep_file(store, &staged, hex, room.size);
    *bytes = (struct tarn_store_bytes){ map + page, room.size, map, page + length };
    return 0;
}

void tarn_store_unmap(struct tarn_store_bytes *bytes)
{
    if (bytes->map)
        munmap(bytes->map, bytes->map_length);
    *bytes = (struct tarn_store_bytes){ 0 };
}

void tarn_store_sweep_bootstraps(struct tarn_store *store)
{
    const int fd = openat(store->bootstraps, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix && strcmp(suffix, ".tmp") == 0)
            unlinkat(store->bootstraps, entry->d_name, 0);
    }
    closedir(directory);
}
