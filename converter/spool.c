// SPDX-License-Identifier: Apache-2.0
// Bytes are written as they come, through a buffer, and taken back (the write position returns) when
// the finished file turns out to be one that is there already.
#include "converter/spool.h"

#include <assert.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/bytes.h"
#include "base/file.h"

enum { BUFFER_SIZE = 512 << 10 };

struct tarn_spool {
    int fd;
    bool keep;
    uint64_t end;     // write position, buffered bytes included
    uint64_t flushed; // what of it is in the file; the buffer holds the rest
    uint8_t *buffer;
    struct tarn_content_hasher *hasher;

    // The file being written.
    uint64_t start; // its position in the spool
    struct tarn_spool_piece *pieces;
    uint32_t piece_count;
    uint32_t piece_capacity;

    struct tarn_spooled *contents;
    size_t count;
    size_t capacity;
};

int tarn_spool_check_room(uint64_t bytes, struct tarn_err *err)
{
    struct statvfs fs;
    const char *directory = tarn_temporary_directory();
    if (statvfs(directory, &fs) < 0)
        return tarn_fail_errno(err, -errno, "spool directory %s", directory);
    const uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room < bytes)
        return tarn_fail(err, -ENOSPC,
                         "spool directory %s has %llu MB free, the layer needs %llu MB; "
                         "set TMPDIR to a larger one",
                         directory, (unsigned long long)room >> 20,
                         (unsigned long long)bytes >> 20);
    return 0;
}

// The hasher asks for bytes of the current file again.
static int reread(void *context, uint64_t offset, void *data, size_t length)
{
    const struct tarn_spool *spool = context;
    const struct tarn_spooled current = { .piece_count = spool->piece_count,
                                          .pieces = spool->pieces };
    return tarn_spool_read(spool, &current, offset, data, length);
}

struct tarn_spool *tarn_spool_new(bool keep, struct tarn_err *err)
{
    tarn_cleanup(tarn_spool_free_p) struct tarn_spool *spool = calloc(1, sizeof *spool);
    if (!spool) {
        tarn_fail(err, -ENOMEM, "out of memory for a spool");
        return NULL;
    }
    spool->fd = -1;
    spool->buffer = malloc(BUFFER_SIZE);
    spool->hasher = tarn_content_hasher_new(reread, spool);
    if (!spool->buffer || !spool->hasher) {
        tarn_fail(err, -ENOMEM, "out of memory for a spool");
        return NULL;
    }
    // Without keeping, the file still serves the hasher's reread.
    spool->keep = keep;
    spool->fd = tarn_temporary_open(err);
    return spool->fd < 0 ? NULL : tarn_steal(spool);
}

void tarn_spool_free(struct tarn_spool *spool)
{
    if (!spool)
        return;
    if (spool->fd >= 0)
        close(spool->fd);
    tarn_content_hasher_free(spool->hasher);
    free(spool->buffer);
    free(spool->pieces);
    free(spool->contents);
    free(spool);
}

int tarn_spool_start(struct tarn_spool *spool, uint64_t size, struct tarn_err *err)
{
    if (size > TARN_FILE_LIMIT)
        return tarn_fail(err, -EFBIG, "%llu bytes are more than the format's 8 TiB for a file",
                         (unsigned long long)size);
    tarn_content_hasher_start(spool->hasher, size);
    spool->start = spool->end;
    spool->piece_count = 0;
    return 0;
}

static int flush(struct tarn_spool *spool)
{
    const int ret =
        tarn_pwrite_full(spool->fd, spool->buffer, spool->end - spool->flushed, spool->flushed);
    if (ret == 0)
        spool->flushed = spool->end;
    return ret;
}

static int append(struct tarn_spool *spool, const uint8_t *data, size_t length)
{
    while (length > 0) {
        const size_t used = spool->end - spool->flushed;
        const size_t n = length < BUFFER_SIZE - used ? length : BUFFER_SIZE - used;
        memcpy(spool->buffer + used, data, n);
        spool->end += n;
        data += n;
        length -= n;
        if (spool->end - spool->flushed == BUFFER_SIZE) {
            const int ret = flush(spool);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}

// Joins the last piece where it can.
static int add_piece(struct tarn_spool *spool, uint64_t logical, size_t length)
{
    struct tarn_spool_piece *last =
        spool->piece_count ? &spool->pieces[spool->piece_count - 1] : NULL;
    if (last && last->logical + last->length == logical) {
        last->length += length;
        return 0;
    }
    if (spool->piece_count == spool->piece_capacity) {
        const uint32_t capacity = spool->piece_capacity ? spool->piece_capacity * 2 : 16;
        struct tarn_spool_piece *pieces = realloc(spool->pieces, capacity * sizeof *pieces);
        if (!pieces)
            return -ENOMEM;
        spool->pieces = pieces;
        spool->piece_capacity = capacity;
    }
    assert(spool->pieces);
    spool->pieces[spool->piece_count++] = (struct tarn_spool_piece){ logical, spool->end, length };
    return 0;
}

int tarn_spool_write(struct tarn_spool *spool, uint64_t logical, const void *data, size_t length,
                     struct tarn_err *err)
{
    if (length == 0)
        return 0;
    int ret = add_piece(spool, logical, length);
    if (ret == 0)
        ret = append(spool, data, length);
    if (ret == 0)
        ret = tarn_content_hasher_update(spool->hasher, logical, data, length);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "spool file in %s (set TMPDIR to choose another)",
                               tarn_temporary_directory());
    return 0;
}

static int keep_content(struct tarn_spool *spool, struct tarn_tree *tree,
                        struct tarn_content *content)
{
    if (spool->count == spool->capacity) {
        const size_t capacity = spool->capacity ? spool->capacity * 2 : 256;
        struct tarn_spooled *contents = realloc(spool->contents, capacity * sizeof *contents);
        if (!contents)
            return -ENOMEM;
        spool->contents = contents;
        spool->capacity = capacity;
    }
    const size_t bytes = spool->piece_count * sizeof *spool->pieces;
    struct tarn_spool_piece *pieces = tarn_arena_alloc(tarn_tree_arena(tree), bytes);
    if (!pieces)
        return -ENOMEM;
    memcpy(pieces, spool->pieces, bytes);
    spool->contents[spool->count++] = (struct tarn_spooled){ content, spool->piece_count, pieces };
    return 0;
}

// Takes back what the current file wrote.
static void rewind_file(struct tarn_spool *spool)
{
    spool->end = spool->start;
    if (spool->flushed > spool->end)
        spool->flushed = spool->end;
}

int tarn_spool_finish(struct tarn_spool *spool, const struct tarn_spool_finish *finish,
                      struct tarn_content **content, struct tarn_err *err)
{
    struct tarn_content found;
    const int ret = tarn_content_hasher_finish(spool->hasher, &found);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "spool file in %s", tarn_temporary_directory());
    const uint64_t before = tarn_tree_content_count(finish->tree);
    *content = tarn_tree_content(finish->tree, &found);
    if (!*content)
        return tarn_fail(err, -ENOMEM, "out of memory for a file's content");
    const bool is_new = tarn_tree_content_count(finish->tree) > before;
    const bool known = finish->known && finish->known(finish->context, *content);
    if (!is_new || known || !spool->keep || tarn_content_stored(*content) == 0)
        rewind_file(spool);
    else if (keep_content(spool, finish->tree, *content) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory for a file's content");
    return 0;
}

struct tarn_spooled *tarn_spool_contents(struct tarn_spool *spool, size_t *count)
{
    *count = spool->count;
    return spool->contents;
}

static int read_bytes(const struct tarn_spool *spool, uint64_t offset, uint8_t *data, size_t length)
{
    if (offset < spool->flushed) {
        const size_t n = tarn_min_u64(length, spool->flushed - offset);
        const int ret = tarn_pread_full(spool->fd, data, n, offset);
        if (ret < 0)
            return ret;
        offset += n;
        data += n;
        length -= n;
    }
    if (length > 0) {
        assert(offset + length <= spool->end);
        memcpy(data, spool->buffer + (offset - spool->flushed), length);
    }
    return 0;
}

// The first piece that ends behind logical.
static uint32_t find_piece(const struct tarn_spooled *spooled, uint64_t logical)
{
    uint32_t low = 0;
    uint32_t high = spooled->piece_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (spooled->pieces[middle].logical + spooled->pieces[middle].length > logical)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int tarn_spool_read(const struct tarn_spool *spool, const struct tarn_spooled *spooled,
                    uint64_t logical, void *data, size_t length)
{
    uint8_t *p = data;
    uint32_t i = find_piece(spooled, logical);
    while (length > 0) {
        const struct tarn_spool_piece *piece =
            i < spooled->piece_count ? &spooled->pieces[i] : NULL;
        const uint64_t gap = !piece                     ? length
                             : piece->logical > logical ? piece->logical - logical
                                                        : 0;
        size_t n = tarn_min_u64(length, gap);
        if (n > 0) {
            memset(p, 0, n);
        } else {
            const uint64_t inside = logical - piece->logical;
            n = tarn_min_u64(length, piece->length - inside);
            const int ret = read_bytes(spool, piece->offset + inside, p, n);
            if (ret < 0)
                return ret;
            i++;
        }
        p += n;
        logical += n;
        length -= n;
    }
    return 0;
}
