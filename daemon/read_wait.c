// SPDX-License-Identifier: Apache-2.0
// Reads that wait for the line. The loop wants their chunks; a read queues on the first that is
// missing, and when none is, a thread of the pool answers it.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>

#include "base/container.h"
#include "base/log.h"
#include "daemon/fuse_internal.h"
#include "daemon/library_ahead.h"
#include "daemon/read_ahead.h"

// WATCH_MS: how often the reads that wait are looked at. While chunks of its image come, a read may
// wait: its turn will come too, and what fetches its own chunk has a deadline itself. A read that fails
// because nothing came within the image's timeout is often asked again at once, by the kernel for single
// pages: within AGAIN_MS such a read has SHORT_MS, so that its reader has not to wait twice. GRACE_MS: the
// transport, which knows why, speaks first. HURRY_MS: after that a chunk that another image's source shall
// bring, and does not, is asked of its own.
enum { WATCH_MS = 100, AGAIN_MS = 1000, SHORT_MS = 3000, GRACE_MS = 2000, HURRY_MS = 2000 };

enum { VOIDS_MAX = 7 }; // reads of a file that others cut again and again

// A read that waits: at most 256 bytes with libfuse's request. While it waits for a chunk it is in the
// server's list, the loop's thread only.
struct tarn_pending_read {
    union {
        struct tarn_post post;
        struct tarn_job job;
        struct tarn_fetch_waiter waiter;
    };
    struct tarn_pending_read *before;
    struct tarn_pending_read *after;
    fuse_req_t req;         // NULL: it was answered while it waited
    struct tarn_slot *slot; // a reference is held
    uint64_t start;         // the loop's time when it came
    uint64_t node;          // nid, or the blob's index
    uint64_t offset;
    uint32_t size;
    // When the store is full: the answer so far, the first `assembled` bytes of it.
    uint32_t assembled;
    uint8_t *assembly;  // owned
    uint32_t distrusts; // of what is local and not in the assembly, before it was found verified
    _Atomic bool interrupted;
    bool blob : 1;
    bool started : 1;
    bool reread : 1; // what was local could not be read, once
    bool listed : 1;
    bool again : 1;     // comes right after one that failed
    unsigned voids : 3; // how often what was local became void while it was read
};
_Static_assert(sizeof(struct tarn_pending_read) <= 128, "a read that waits must stay small");

static void advance(struct tarn_pending_read *read);
static void watch_reads(uv_timer_t *timer);

static struct tarn_connection *connection_of(const struct tarn_pending_read *read)
{
    return fuse_req_userdata(read->req);
}

static uint64_t now_of(const struct tarn_connection *connection)
{
    return uv_now(tarn_loop_queue_loop(connection->server->options.queue));
}

// The read's source; inode is the caller's room.
static int source_of(const struct tarn_pending_read *read, struct tarn_erofs_inode *inode,
                     struct tarn_read_source *source)
{
    *source = (struct tarn_read_source){ .slot = read->slot };
    if (read->blob) {
        source->blob = (uint32_t)read->node;
        return 0;
    }
    source->inode = inode;
    return tarn_erofs_inode(&read->slot->image->bootstrap.erofs, read->node, inode);
}

// --- the list of those that wait for a chunk ---------------------------------------------------------

static void list(struct tarn_pending_read *read)
{
    struct tarn_server *server = connection_of(read)->server;
    if (read->listed)
        return;
    read->listed = true;
    read->before = NULL;
    read->after = server->reads;
    if (server->reads)
        server->reads->before = read;
    else
        uv_timer_start(&server->watch, watch_reads, WATCH_MS, WATCH_MS);
    server->reads = read;
}

static void unlist(struct tarn_pending_read *read)
{
    if (!read->listed)
        return;
    read->listed = false;
    struct tarn_server *server = connection_of(read)->server;
    if (read->before)
        read->before->after = read->after;
    else
        server->reads = read->after;
    if (read->after)
        read->after->before = read->before;
}

// --- answering -----------------------------------------------------------------------------------------

static void free_read(struct tarn_pending_read *read)
{
    tarn_slot_put(read->slot);
    free(read->assembly);
    free(read);
}

static void end_read(struct tarn_pending_read *read, struct tarn_connection *connection)
{
    free_read(read);
    atomic_fetch_sub(&connection->pending, 1);
}

// Answers it with an error while it may still wait for a chunk, which does not matter to its reader then.
static void give_up(struct tarn_pending_read *read, int status)
{
    struct tarn_connection *connection = connection_of(read);
    unlist(read);
    fuse_req_interrupt_func(read->req, NULL, NULL);
    tarn_read_reply_error(read->req, connection->server, read->slot, status);
    read->req = NULL;
    atomic_fetch_sub(&connection->pending, 1);
}

static void fail_read(struct tarn_pending_read *read, int status)
{
    struct tarn_node_image *image = read->slot->image;
    const uint64_t now = now_of(connection_of(read));
    if (now - read->start >= (uint64_t)image->timeout * 500)
        image->timed_out = now;
    give_up(read, status);
    free_read(read);
}

static void reread(struct tarn_post *post)
{
    advance(tarn_container_of(post, struct tarn_pending_read, post));
}

// What was local may have been lost meanwhile, and can be made again: whether that is to be tried.
static bool try_again(struct tarn_pending_read *read, int status)
{
    const bool first = status == -EIO && !read->reread;
    if ((!first && (status != -EAGAIN || read->voids == VOIDS_MAX)) ||
        tarn_node_image_damaged(read->slot->image))
        return false;
    read->reread |= first;
    read->voids += !first;
    return true;
}

// On the pool.
static void not_answered(struct tarn_pending_read *read, int status)
{
    struct tarn_connection *connection = connection_of(read);
    if (try_again(read, status)) {
        read->assembled = 0;
        read->post.run = reread;
        tarn_loop_queue_post(connection->server->options.queue, &read->post);
        return;
    }
    fuse_req_interrupt_func(read->req, NULL, NULL);
    tarn_read_reply_error(read->req, connection->server, read->slot, status);
    end_read(read, connection);
}

// On the pool.
static void answer(struct tarn_job *job)
{
    struct tarn_pending_read *read = tarn_container_of(job, struct tarn_pending_read, job);
    struct tarn_connection *connection = connection_of(read);
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    uint8_t *out = read->assembly ? read->assembly : malloc(read->size);
    uint32_t distrusts = 0;
    int ret = out ? source_of(read, &inode, &source) : -ENOMEM;
    if (ret == 0)
        ret = tarn_read_source_fill(&source, read->offset + read->assembled,
                                    read->offset + read->size, out + read->assembled, &distrusts);
    if (ret == 0 && tarn_node_image_damaged(read->slot->image))
        ret = -EIO;
    else if (ret == 0 && distrusts != read->distrusts)
        ret = -EAGAIN;
    if (ret == 0) {
        fuse_req_interrupt_func(read->req, NULL, NULL);
        tarn_read_count(connection->server, read->slot, read->size);
        fuse_reply_buf(read->req, (const char *)out, read->size);
        if (read->offset == 0 && source.inode)
            tarn_library_ahead(&connection->server->options, read->slot, read->node, out,
                               read->size);
    }
    if (!read->assembly)
        free(out);
    if (ret == 0)
        end_read(read, connection);
    else
        not_answered(read, ret);
}

// --- waiting for chunks ----------------------------------------------------------------------------------

// How often the files of what is not in the assembly were distrusted.
static uint32_t distrusts_of(const struct tarn_pending_read *read,
                             const struct tarn_read_source *source)
{
    const uint64_t end = read->offset + read->size;
    struct tarn_read_piece piece;
    uint32_t sum = 0;
    for (uint64_t at = read->offset + read->assembled;
         at < end && tarn_read_source_map(source, at, end, &piece) == 0; at += piece.length)
        sum += tarn_read_piece_distrusts(&piece);
    return sum;
}

// The store is full: what is local before the chunk, and the chunk, go to the assembly. -EAGAIN: what is local
// became void since it was found verified.
static int assemble(struct tarn_pending_read *read, const struct tarn_chunk_bytes *bytes)
{
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    int ret = source_of(read, &inode, &source);
    if (!read->assembly)
        read->assembly = malloc(read->size);
    if (ret < 0 || !read->assembly)
        return ret < 0 ? ret : -ENOMEM;
    const uint64_t end = read->offset + read->size;
    uint64_t at = read->offset + read->assembled;
    bool local = false;
    while (at < end) {
        struct tarn_read_piece piece;
        ret = tarn_read_source_map(&source, at, end, &piece);
        if (ret < 0)
            return ret;
        uint8_t *out = read->assembly + (at - read->offset);
        const uint64_t chunk_end = bytes->address + bytes->length;
        const bool inside = !piece.hole && piece.address < chunk_end &&
                            piece.address + piece.length > bytes->address;
        uint64_t n = piece.length;
        if (inside && piece.address >= bytes->address) {
            n = tarn_min_u64(piece.length, chunk_end - piece.address);
            memcpy(out, bytes->data + (piece.address - bytes->address), (size_t)n);
            at += n;
            break;
        }
        if (inside)
            n = bytes->address - piece.address;
        ret = tarn_read_source_fill(&source, at, at + n, out, NULL);
        if (ret < 0)
            return ret;
        local |= !piece.hole;
        at += n;
    }
    if (local && distrusts_of(read, &source) != read->distrusts)
        return -EAGAIN;
    read->assembled = (uint32_t)(at - read->offset);
    return 0;
}

// A fetch that another read began, or nobody, has given up. A read that came later has time left, and the
// registry may be back.
static bool has_time(const struct tarn_pending_read *read, int status)
{
    return status == -ETIMEDOUT &&
           now_of(connection_of(read)) - read->start < (uint64_t)read->slot->image->timeout * 1000;
}

static void woken(struct tarn_fetch_waiter *waiter, int status,
                  const struct tarn_chunk_bytes *bytes)
{
    struct tarn_pending_read *read = tarn_container_of(waiter, struct tarn_pending_read, waiter);
    if (!read->req) {
        free_read(read);
        return;
    }
    unlist(read);
    if (status == 0 && bytes)
        status = assemble(read, bytes);
    if (bytes && status < 0 && try_again(read, status))
        status = 0;
    if (status < 0 && !has_time(read, status))
        fail_read(read, status);
    else
        advance(read);
}

// Wants all chunks of the piece, which starts at the offset in its file, and what may be read next.
// Queues the read on the first that is missing, unless it is queued already; returns whether it is,
// or -EUCLEAN.
static int want_piece(struct tarn_pending_read *read, const struct tarn_read_source *source,
                      const struct tarn_read_piece *piece, uint64_t offset)
{
    struct tarn_node_image *image = read->slot->image;
    struct tarn_fetch *fetch = connection_of(read)->server->options.fetch;
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, piece->blob);
    struct tarn_span ahead = { 0 };
    if (!read->started)
        ahead = tarn_read_ahead_plan(fetch, source, piece, offset);
    const struct tarn_row_range rows =
        tarn_tables_rows(tables, &blob, piece->address, piece->address + piece->length);
    for (uint32_t row = rows.first; row < rows.end; row++) {
        if (!read->listed)
            read->waiter = (struct tarn_fetch_waiter){ .wake = woken };
        const struct tarn_fetch_target target = { image, read->slot->share, piece->blob, row,
                                                  false };
        if (!tarn_fetch_want(fetch, &target, read->listed ? NULL : &read->waiter))
            list(read);
    }
    if (!rows.whole)
        return read->listed ? 1 : -EUCLEAN; // no chunk has these bytes
    tarn_read_ahead_want(fetch, source, piece->blob, &ahead);
    return read->listed;
}

// Queues the read on the first chunk that is missing, or has it answered. On the loop.
static void advance(struct tarn_pending_read *read)
{
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    int ret = source_of(read, &inode, &source);
    const uint64_t end = read->offset + read->size;
    read->distrusts = 0;
    for (uint64_t at = read->offset + read->assembled; ret == 0 && at < end;) {
        struct tarn_read_piece piece;
        ret = tarn_read_source_map(&source, at, end, &piece);
        if (ret < 0)
            break;
        read->distrusts += tarn_read_piece_distrusts(&piece);
        if (!piece.hole)
            ret = want_piece(read, &source, &piece, at);
        ret = ret > 0 ? 0 : ret;
        at += piece.length;
    }
    read->started = true;
    if (read->listed)
        return;
    if (ret == 0 && tarn_node_image_damaged(read->slot->image))
        ret = -EIO;
    if (ret < 0) {
        fail_read(read, ret);
        return;
    }
    read->job.run = answer;
    tarn_pool_submit(connection_of(read)->server->options.pool, &read->job);
}

// --- reads that wait for too long ------------------------------------------------------------------

// Whether the process that reads was told to die. Only then an interrupted read may fail: to a page
// fault an error means SIGBUS, and signals that a program handles are no reason for that.
static bool reader_dies(fuse_req_t req)
{
    char path[32];
    char text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", fuse_req_ctx(req)->pid);
    tarn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *pending = strstr(text, "\nSigPnd:");
    return pending && strtoull(pending + 8, NULL, 16) >> (SIGKILL - 1) & 1;
}

static void time_out(struct tarn_pending_read *read, uint64_t now)
{
    struct tarn_node_image *image = read->slot->image;
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    struct tarn_read_piece piece = { 0 };
    char digest[TARN_DIGEST_TEXT] = "?";
    if (source_of(read, &inode, &source) == 0 &&
        tarn_read_source_map(&source, read->offset, read->offset + read->size, &piece) == 0 &&
        piece.file)
        tarn_digest_format(&piece.file->rows.blob, digest);
    tarn_log(TARN_LOG_ERROR,
             "%s: blob %s: what a read of data space %llu needs did not come within %llu s; "
             "its reader gets EIO",
             image->name, digest, (unsigned long long)piece.address,
             (unsigned long long)(now - read->start) / 1000);
    image->timed_out = now;
    give_up(read, -EIO);
}

// Answers reads that have waited for too long, or whose reader was killed. When none has waited for a
// while, what malloc keeps in pieces between chunks goes back to the system: up to 10 MB after much work.
static void watch_reads(uv_timer_t *timer)
{
    const struct tarn_server *server = timer->data;
    if (!server->reads) {
        uv_timer_stop(timer);
        malloc_trim(0);
        return;
    }
    const uint64_t now = uv_now(timer->loop);
    struct tarn_pending_read *next;
    for (struct tarn_pending_read *read = server->reads; read; read = next) {
        next = read->after;
        const struct tarn_node_image *image = read->slot->image;
        const uint64_t since = tarn_max_u64(read->start, image->progressed);
        const uint64_t limit = read->again ? SHORT_MS : (uint64_t)image->timeout * 1000 + GRACE_MS;
        if (now - since >= limit)
            time_out(read, now);
        else if (atomic_load(&read->interrupted) && reader_dies(read->req))
            give_up(read, -EINTR);
        else if (now - read->start >= HURRY_MS)
            tarn_fetch_hurry(server->options.fetch, &read->waiter, now - HURRY_MS);
    }
    tarn_fetch_flush(server->options.fetch);
}

// --- entry ---------------------------------------------------------------------------------------------

// On a thread that serves. Until the function is taken away, which waits for this, the read lives.
static void interrupted(fuse_req_t req, void *data)
{
    (void)req;
    struct tarn_pending_read *read = data;
    atomic_store(&read->interrupted, true);
}

static void arrived(struct tarn_post *post)
{
    struct tarn_pending_read *read = tarn_container_of(post, struct tarn_pending_read, post);
    const struct tarn_node_image *image = read->slot->image;
    read->start = now_of(connection_of(read));
    read->again = image->timed_out > 0 && read->start - image->timed_out < AGAIN_MS;
    advance(read);
}

void tarn_read_wait(fuse_req_t req, const struct tarn_read_source *source, size_t size,
                    uint64_t offset)
{
    struct tarn_connection *connection = fuse_req_userdata(req);
    struct tarn_server *server = connection->server;
    struct tarn_pending_read *read = calloc(1, sizeof *read);
    if (!read) {
        tarn_read_reply_error(req, server, source->slot, -ENOMEM);
        tarn_slot_put(source->slot);
        return;
    }
    read->req = req;
    read->slot = source->slot;
    read->blob = !source->inode;
    read->node = source->inode ? source->inode->nid : source->blob;
    read->offset = offset;
    read->size = (uint32_t)size;
    read->post.run = arrived;
    atomic_fetch_add(&connection->pending, 1);
    fuse_req_interrupt_func(req, interrupted, read);
    tarn_count(&source->slot->image->counters.read_waits, 1);
    tarn_count(&server->options.total->read_waits, 1);
    tarn_loop_queue_post(server->options.queue, &read->post);
}
