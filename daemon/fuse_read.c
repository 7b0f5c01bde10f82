// SPDX-License-Identifier: Apache-2.0
// Reads. The thread that took the request answers it when all of its chunks are local: copying beats
// splicing. Else it leaves a small request to the loop and goes on; the loop wants the chunks, the
// request queues on the first that is missing, and when none is, a thread of the pool answers.
#include <stddef.h>

#include "base/log.h"
#include "daemon/fuse_internal.h"

// Files up to this size are fetched by whole runs.
enum { SMALL_FILE = 256 << 10 };

// A read that waits: at most 256 bytes with libfuse's request.
struct pending_read {
    union {
        struct tarn_post post;
        struct tarn_job job;
        struct tarn_fetch_waiter waiter;
    };
    fuse_req_t req;
    struct tarn_slot *slot; // a reference is held
    uint64_t node;          // nid, or the blob's index
    uint64_t offset;
    uint32_t size;
    // When the store is full: the answer so far, the first `assembled` bytes of it.
    uint32_t assembled;
    uint8_t *assembly; // owned
    bool blob;
    bool started;
};
_Static_assert(sizeof(struct pending_read) <= 104, "a read that waits must stay small");

// A piece of a read: a hole, or bytes of one data space.
struct piece {
    bool hole;
    uint32_t blob;
    struct tarn_data_file *file;
    uint64_t address;
    uint64_t length;
};

static int map_piece(const struct tarn_read_source *source, uint64_t offset, uint64_t end,
                     struct piece *piece)
{
    const struct tarn_node_image *image = source->slot->image;
    const struct tarn_bootstrap *bootstrap = &image->bootstrap;
    *piece = (struct piece){ .blob = source->blob, .address = offset, .length = end - offset };
    if (source->inode) {
        struct tarn_erofs_extent extent;
        const int ret = tarn_erofs_map(&bootstrap->erofs, source->inode, offset, &extent);
        if (ret < 0)
            return ret;
        if (extent.slot > bootstrap->slot_count || extent.length == 0)
            return -EUCLEAN;
        piece->length = tarn_min_u64(extent.length, end - offset);
        piece->hole = extent.slot == 0;
        if (piece->hole)
            return 0;
        piece->blob = bootstrap->slot_blobs[extent.slot];
        piece->address = extent.address;
    }
    piece->file = image->files[piece->blob];
    return tarn_range_ok(piece->address, piece->length, piece->file->rows.data_length) ? 0
                                                                                       : -EUCLEAN;
}

static uint64_t source_size(const struct tarn_read_source *source)
{
    return source->inode ? source->inode->size
                         : source->slot->image->files[source->blob]->rows.data_length;
}

// --- answering what is local -----------------------------------------------------------------------

// Whether all chunks of the piece are verified; those that are only written are checked here.
static bool piece_local(const struct tarn_read_source *source, const struct piece *piece,
                        struct tarn_server *server, uint8_t *scratch)
{
    const struct tarn_tables *tables = &source->slot->image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, piece->blob);
    uint32_t row = tarn_tables_find(tables, &blob, piece->address);
    for (; row != TARN_NONE && tarn_tables_address(tables, row) < piece->address + piece->length;
         row++) {
        const uint32_t file_row = row - blob.first_row;
        if (tarn_data_file_verified(piece->file, file_row))
            continue;
        if (!tarn_data_file_written(piece->file, file_row))
            return false;
        const bool right = tarn_data_file_check(piece->file, file_row, scratch) == 0;
        struct tarn_counters *image = &source->slot->image->counters;
        struct tarn_counters *total = server->options.total;
        tarn_count(right ? &image->checked_chunks : &image->dropped_chunks, 1);
        tarn_count(right ? &total->checked_chunks : &total->dropped_chunks, 1);
        if (right)
            continue;
        tarn_log(TARN_LOG_WARNING,
                 "store: blobs/%s/data: the chunk at %llu is damaged; making it again",
                 piece->file->name, (unsigned long long)tarn_tables_address(tables, row));
        return false;
    }
    return row != TARN_NONE;
}

// Fills in [from, to) of the read from data files whose chunks are verified. 0 or -errno.
static int fill(const struct tarn_read_source *source, uint64_t from, uint64_t to, uint8_t *out)
{
    while (from < to) {
        struct piece piece;
        int ret = map_piece(source, from, to, &piece);
        if (ret == 0 && piece.hole)
            memset(out, 0, (size_t)piece.length);
        else if (ret == 0)
            ret = tarn_data_file_read(piece.file, piece.address, out, (size_t)piece.length);
        if (ret < 0)
            return ret;
        out += piece.length;
        from += piece.length;
    }
    return 0;
}

static void count_read(struct tarn_server *server, struct tarn_slot *slot, size_t size)
{
    tarn_count(&slot->reads, 1);
    tarn_count(&slot->read_bytes, size);
    tarn_count(&slot->image->counters.reads, 1);
    tarn_count(&slot->image->counters.read_bytes, size);
    tarn_count(&server->options.total->reads, 1);
    tarn_count(&server->options.total->read_bytes, size);
}

static void reply_error(fuse_req_t req, struct tarn_server *server, const struct tarn_slot *slot,
                        int status)
{
    tarn_count(&slot->image->counters.read_errors, 1);
    tarn_count(&server->options.total->read_errors, 1);
    fuse_reply_err(req, status == -EUCLEAN || status == -ENOMEM ? -status : EIO);
}

// --- reads that wait ---------------------------------------------------------------------------------

static struct tarn_connection *connection_of(const struct pending_read *read)
{
    return fuse_req_userdata(read->req);
}

static void end_read(struct pending_read *read, struct tarn_connection *connection)
{
    tarn_slot_put(read->slot);
    free(read->assembly);
    free(read);
    atomic_fetch_sub(&connection->pending, 1);
}

static void fail_read(struct pending_read *read, int status)
{
    struct tarn_connection *connection = connection_of(read);
    reply_error(read->req, connection->server, read->slot, status);
    end_read(read, connection);
}

// The read's source; inode is the caller's room.
static int source_of(const struct pending_read *read, struct tarn_erofs_inode *inode,
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

// On the pool.
static void answer(struct tarn_job *job)
{
    struct pending_read *read =
        (struct pending_read *)((char *)job - offsetof(struct pending_read, job));
    struct tarn_connection *connection = connection_of(read);
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    uint8_t *out = read->assembly ? read->assembly : malloc(read->size);
    int ret = out ? source_of(read, &inode, &source) : -ENOMEM;
    if (ret == 0)
        ret = fill(&source, read->offset + read->assembled, read->offset + read->size,
                   out + read->assembled);
    if (ret == 0) {
        count_read(connection->server, read->slot, read->size);
        fuse_reply_buf(read->req, (const char *)out, read->size);
        if (!read->assembly)
            free(out);
        end_read(read, connection);
    } else {
        if (!read->assembly)
            free(out);
        fail_read(read, ret);
    }
}

static void advance(struct pending_read *read);

// The store is full: what is local before the chunk, and the chunk, go to the assembly.
static int assemble(struct pending_read *read, const struct tarn_chunk_bytes *bytes)
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
    while (at < end) {
        struct piece piece;
        ret = map_piece(&source, at, end, &piece);
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
            read->assembled += (uint32_t)n;
            return 0;
        }
        if (inside)
            n = bytes->address - piece.address;
        ret = fill(&source, at, at + n, out);
        if (ret < 0)
            return ret;
        read->assembled += (uint32_t)n;
        at += n;
    }
    return 0;
}

static void woken(struct tarn_fetch_waiter *waiter, int status,
                  const struct tarn_chunk_bytes *bytes)
{
    struct pending_read *read =
        (struct pending_read *)((char *)waiter - offsetof(struct pending_read, waiter));
    if (status == 0 && bytes)
        status = assemble(read, bytes);
    if (status < 0)
        fail_read(read, status);
    else
        advance(read);
}

// Wants all chunks of the piece, with what a sequential reader will want next. Queues the read on the
// first that is missing, unless it is queued already; returns whether it is, or -EUCLEAN.
static int want_piece(struct pending_read *read, const struct tarn_read_source *source,
                      const struct piece *piece, bool queued)
{
    struct tarn_node_image *image = read->slot->image;
    struct tarn_fetch *fetch = connection_of(read)->server->options.fetch;
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, piece->blob);
    uint64_t ahead = 0;
    if (!read->started)
        ahead = tarn_cursors_note(&image->cursors, (uint64_t)piece->blob << 44 | piece->address,
                                  piece->length);
    const bool small = source_size(source) <= SMALL_FILE;
    const enum tarn_fetch_extent extent = small || ahead > 0 ? TARN_FETCH_RUN : TARN_FETCH_CHUNK;
    uint32_t row = tarn_tables_find(tables, &blob, piece->address);
    const uint64_t end = piece->address + piece->length;
    const uint32_t limit = blob.first_row + blob.row_count - 1;
    for (; row < limit && tarn_tables_address(tables, row) < end; row++) {
        if (!queued)
            read->waiter = (struct tarn_fetch_waiter){ .wake = woken };
        const struct tarn_fetch_target target = { image, piece->blob, row, extent };
        if (!tarn_fetch_want(fetch, &target, queued ? NULL : &read->waiter))
            queued = true;
    }
    if (row == TARN_NONE || tarn_tables_address(tables, row) < end)
        return queued ? 1 : -EUCLEAN; // no chunk has these bytes
    for (; ahead > 0 && row < limit && tarn_tables_address(tables, row) < end + ahead; row++) {
        const struct tarn_fetch_target target = { image, piece->blob, row, TARN_FETCH_RUN };
        (void)tarn_fetch_want(fetch, &target, NULL);
    }
    return queued;
}

// Queues the read on the first chunk that is missing, or has it answered. On the loop.
static void advance(struct pending_read *read)
{
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    int ret = source_of(read, &inode, &source);
    const uint64_t end = read->offset + read->size;
    bool queued = false;
    for (uint64_t at = read->offset + read->assembled; ret == 0 && at < end;) {
        struct piece piece;
        ret = map_piece(&source, at, end, &piece);
        if (ret < 0)
            break;
        if (!piece.hole)
            ret = want_piece(read, &source, &piece, queued);
        queued |= ret > 0;
        ret = ret > 0 ? 0 : ret;
        at += piece.length;
    }
    read->started = true;
    if (queued)
        return;
    if (ret < 0) {
        fail_read(read, ret);
        return;
    }
    read->job.run = answer;
    tarn_pool_submit(connection_of(read)->server->options.pool, &read->job);
}

static void arrived(struct tarn_post *post)
{
    advance((struct pending_read *)((char *)post - offsetof(struct pending_read, post)));
}

static void wait_for_chunks(fuse_req_t req, const struct tarn_read_source *source, size_t size,
                            uint64_t offset)
{
    struct tarn_connection *connection = fuse_req_userdata(req);
    struct tarn_server *server = connection->server;
    struct pending_read *read = calloc(1, sizeof *read);
    if (!read) {
        reply_error(req, server, source->slot, -ENOMEM);
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
    tarn_count(&source->slot->image->counters.read_waits, 1);
    tarn_count(&server->options.total->read_waits, 1);
    tarn_loop_queue_post(server->options.queue, &read->post);
}

// --- entry ---------------------------------------------------------------------------------------------

// 1 all is local, 0 something is missing, -errno.
static int all_local(const struct tarn_read_source *source, uint64_t offset, uint64_t end,
                     struct tarn_server *server)
{
    struct tarn_thread_buffers *buffers = tarn_server_buffers(server);
    if (!buffers)
        return -ENOMEM;
    while (offset < end) {
        struct piece piece;
        const int ret = map_piece(source, offset, end, &piece);
        if (ret < 0)
            return ret;
        if (!piece.hole && !piece_local(source, &piece, server, buffers->scratch))
            return 0;
        offset += piece.length;
    }
    return 1;
}

void tarn_read_serve(fuse_req_t req, const struct tarn_read_source *source, size_t size,
                     off_t offset)
{
    struct tarn_connection *connection = fuse_req_userdata(req);
    struct tarn_server *server = connection->server;
    const uint64_t file_size = source_size(source);
    const uint64_t start = tarn_min_u64((uint64_t)offset, file_size);
    const uint64_t end = start + tarn_min_u64(tarn_min_u64(size, TARN_READ_MAX), file_size - start);
    int ret = all_local(source, start, end, server);
    if (ret == 0) {
        wait_for_chunks(req, source, (size_t)(end - start), start);
        return;
    }
    uint8_t *out = ret > 0 ? tarn_server_buffers(server)->data : NULL;
    if (ret > 0)
        ret = fill(source, start, end, out);
    if (ret == 0) {
        count_read(server, source->slot, (size_t)(end - start));
        fuse_reply_buf(req, (const char *)out, (size_t)(end - start));
    } else {
        reply_error(req, server, source->slot, ret);
    }
    tarn_slot_put(source->slot);
}

// Any image that uses the data file will do as the source of what is missing.
void tarn_read_blob(fuse_req_t req, uint32_t number, size_t size, off_t offset)
{
    struct tarn_connection *connection = fuse_req_userdata(req);
    struct tarn_slots *slots = connection->server->options.slots;
    const struct tarn_data_file *file = tarn_store_file(connection->server->options.store, number);
    struct tarn_slot *slot;
    uint32_t next = 1;
    while (file && (slot = tarn_slots_next(slots, next))) {
        next = slot->number + 1;
        for (uint32_t b = 0; b < slot->image->bootstrap.tables.blob_count; b++) {
            if (slot->image->files[b] != file)
                continue;
            const struct tarn_read_source source = { .slot = slot, .blob = b };
            tarn_read_serve(req, &source, size, offset);
            return;
        }
        tarn_slot_put(slot);
    }
    fuse_reply_err(req, ESTALE);
}
