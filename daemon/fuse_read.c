// SPDX-License-Identifier: Apache-2.0
// Reads. The thread that took the request answers it when all of its chunks are local: copying beats
// splicing. Else it leaves a small request to the loop (read_wait.c) and goes on.
#include "base/log.h"
#include "daemon/fuse_internal.h"
#include "daemon/library_ahead.h"

void tarn_read_count(struct tarn_server *server, struct tarn_slot *slot, size_t size)
{
    tarn_count(&slot->share->reads, 1);
    tarn_count(&slot->share->read_bytes, size);
    tarn_count(&slot->image->counters.reads, 1);
    tarn_count(&slot->image->counters.read_bytes, size);
    tarn_count(&server->options.total->reads, 1);
    tarn_count(&server->options.total->read_bytes, size);
}

void tarn_read_reply_error(fuse_req_t req, struct tarn_server *server, const struct tarn_slot *slot,
                           int status)
{
    if (tarn_node_image_damaged(slot->image))
        status = -EIO;
    tarn_count(&slot->image->counters.read_errors, 1);
    tarn_count(&server->options.total->read_errors, 1);
    const bool told = status == -EUCLEAN || status == -ENOMEM || status == -EINTR;
    fuse_reply_err(req, told ? -status : EIO);
}

// Whether all chunks of the piece are verified; those that are only written are checked here.
static bool piece_local(const struct tarn_read_source *source, const struct tarn_read_piece *piece,
                        struct tarn_server *server, uint8_t *scratch)
{
    const struct tarn_node_image *opened = source->slot->image;
    const struct tarn_tables *tables = &source->slot->image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, piece->blob);
    const struct tarn_row_range rows =
        tarn_tables_rows(tables, &blob, piece->address, piece->address + piece->length);
    for (uint32_t row = rows.first; row < rows.end; row++) {
        const uint32_t file_row = row - blob.first_row;
        if (tarn_data_file_verified(piece->file, file_row))
            continue;
        if (!tarn_data_file_written(piece->file, file_row))
            return false;
        const struct tarn_row_chunk chunk = tarn_node_image_chunk(opened, piece->blob, row);
        const int ret = tarn_data_file_check(piece->file, &chunk, scratch);
        if (ret < 0 && ret != -EIO)
            return false;
        const bool right = ret == 0;
        struct tarn_counters *image = &source->slot->image->counters;
        struct tarn_counters *total = server->options.total;
        tarn_count(right ? &image->checked_chunks : &image->dropped_chunks, 1);
        tarn_count(right ? &total->checked_chunks : &total->dropped_chunks, 1);
        if (right)
            continue;
        tarn_log(TARN_LOG_WARNING,
                 "store: blobs/%s/data: the chunk at %llu is damaged; making it again",
                 piece->file->name, (unsigned long long)chunk.address);
        return false;
    }
    return rows.whole;
}

// 1 all is local, 0 something is missing, -errno. *distrusts: as for tarn_read_source_fill().
static int all_local(const struct tarn_read_source *source, uint64_t offset, uint64_t end,
                     struct tarn_server *server, uint32_t *distrusts)
{
    struct tarn_thread_buffers *buffers = tarn_server_buffers(server);
    if (!buffers)
        return -ENOMEM;
    while (offset < end) {
        struct tarn_read_piece piece;
        const int ret = tarn_read_source_map(source, offset, end, &piece);
        if (ret < 0)
            return ret;
        *distrusts += tarn_read_piece_distrusts(&piece);
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
    const uint64_t file_size = tarn_read_source_size(source);
    const uint64_t start = tarn_min_u64((uint64_t)offset, file_size);
    const uint64_t end = start + tarn_min_u64(tarn_min_u64(size, TARN_READ_MAX), file_size - start);
    uint32_t before = 0;
    uint32_t after = 0;
    int ret = all_local(source, start, end, server, &before);
    if (ret == 0) {
        tarn_read_wait(req, source, (size_t)(end - start), start);
        return;
    }
    uint8_t *out = ret > 0 ? tarn_server_buffers(server)->data : NULL;
    if (ret > 0)
        ret = tarn_read_source_fill(source, start, end, out, &after);
    if (tarn_node_image_damaged(source->slot->image)) {
        tarn_read_reply_error(req, server, source->slot, -EIO);
        tarn_slot_put(source->slot);
        return;
    }
    if (ret == -EIO || (ret == 0 && after != before)) { // it was not there after all
        tarn_read_wait(req, source, (size_t)(end - start), start);
        return;
    }
    if (ret == 0) {
        tarn_read_count(server, source->slot, (size_t)(end - start));
        fuse_reply_buf(req, (const char *)out, (size_t)(end - start));
        if (start == 0 && source->inode)
            tarn_library_ahead(&server->options, source->slot, source->inode->nid, out,
                               (size_t)end);
    } else {
        tarn_read_reply_error(req, server, source->slot, ret);
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
