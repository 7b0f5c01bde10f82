// SPDX-License-Identifier: Apache-2.0
#include "daemon/library_ahead.h"

#include <elf.h>
#include <string.h>

#include "base/container.h"
#include "daemon/elf_needs.h"
#include "daemon/fetch_plan.h"
#include "daemon/library_search.h"
#include "daemon/read_ahead.h"

enum {
    TRIES_MAX = 8,   // a head, its segments, the dynamic section, its strings
    FOUND_MAX = 128, // libraries of one file
    // looked up for one file: a hundred libraries take a few thousand, a maze of links any number
    NAMES_MAX = 16384,
};

// A file that is looked at. It goes back and forth: the pool examines what is there; the loop wants what
// is missing, waits, and has it examined again, or wants the libraries that were found.
struct library {
    union {
        struct tarn_job job;
        struct tarn_post post;
        struct tarn_fetch_waiter waiter;
    };
    const struct tarn_server_options *options;
    struct tarn_slot *slot; // a reference is held
    uint64_t nid;
    bool started; // a reader opened it: it was not wanted whole yet
    unsigned tries;
    int status; // of the examination
    uint64_t data_offset;
    uint64_t missing;
    size_t missing_length;
    size_t found_count;
    uint64_t found[FOUND_MAX]; // nids
};

static void library_free(struct library *library)
{
    tarn_slot_put(library->slot);
    free(library);
}

// --- on the pool -----------------------------------------------------------------------------------

static bool is_verified(const struct tarn_node_image *image, const struct tarn_read_piece *piece)
{
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, piece->blob);
    const struct tarn_row_range rows =
        tarn_tables_rows(tables, &blob, piece->address, piece->address + piece->length);
    for (uint32_t row = rows.first; row < rows.end; row++)
        if (!tarn_data_file_verified(piece->file, row - blob.first_row))
            return false;
    return rows.whole;
}

static int read_file(void *context, uint64_t offset, void *bytes, size_t length)
{
    const struct tarn_read_source *source = context;
    for (uint64_t at = offset; at < offset + length;) {
        struct tarn_read_piece piece;
        const int ret = tarn_read_source_map(source, at, offset + length, &piece);
        if (ret < 0)
            return ret;
        if (!piece.hole && !is_verified(source->slot->image, &piece))
            return -EAGAIN;
        at += piece.length;
    }
    return tarn_read_source_fill(source, offset, offset + length, bytes, NULL);
}

static void find_libraries(struct library *library, const struct tarn_erofs *erofs,
                           const struct tarn_elf_needs *needs)
{
    if (needs->names.length == 0) // there is no pointer then to count from
        return;
    const char *name = (const char *)needs->names.data;
    const char *end = name + needs->names.length;
    unsigned names = NAMES_MAX;
    for (; name < end && library->found_count < FOUND_MAX; name += strlen(name) + 1) {
        struct tarn_erofs_inode inode;
        if (tarn_library_search(erofs, needs, name, &names, &inode) == 0)
            library->found[library->found_count++] = inode.nid;
    }
}

static void examined(struct tarn_post *post);

static void examine(struct tarn_job *job)
{
    struct library *library = tarn_container_of(job, struct library, job);
    const struct tarn_erofs *erofs = &library->slot->image->bootstrap.erofs;
    struct tarn_erofs_inode inode;
    struct tarn_elf_needs needs = { 0 };
    library->status = tarn_erofs_inode(erofs, library->nid, &inode);
    if (library->status == 0) {
        struct tarn_read_source file = { .slot = library->slot, .inode = &inode };
        const struct tarn_elf_source source = { inode.size, read_file, &file };
        library->status = tarn_elf_needs_read(&source, &needs);
    }
    if (library->status == 0)
        find_libraries(library, erofs, &needs);
    library->data_offset = needs.data_offset;
    library->missing = needs.missing;
    library->missing_length = needs.missing_length;
    tarn_elf_needs_release(&needs);
    library->post.run = examined;
    tarn_loop_queue_post(library->options->queue, &library->post);
}

// --- on the loop -----------------------------------------------------------------------------------

static void start_examining(struct library *library)
{
    library->job.run = examine;
    tarn_pool_submit(library->options->pool, &library->job);
}

static void came(struct tarn_fetch_waiter *waiter, int status, const struct tarn_chunk_bytes *bytes)
{
    struct library *library = tarn_container_of(waiter, struct library, waiter);
    if (status < 0 || bytes) // not to be had, or not kept
        library_free(library);
    else
        start_examining(library);
}

// Wants a part of the file in the background.
static void want_part(const struct library *library, const struct tarn_read_source *source,
                      uint64_t from, uint64_t to)
{
    while (from < to) {
        struct tarn_read_piece piece;
        if (tarn_read_source_map(source, from, to, &piece) < 0)
            return;
        const struct tarn_span span = { .from = piece.address, .to = piece.address + piece.length };
        if (!piece.hole)
            tarn_read_ahead_want(library->options->fetch, source, piece.blob, &span);
        from += piece.length;
    }
}

// Has it examined when its first missing chunk of the part has come.
static void wait_for(struct library *library, const struct tarn_read_source *source, uint64_t from,
                     uint64_t to)
{
    struct tarn_node_image *image = library->slot->image;
    const struct tarn_tables *tables = &image->bootstrap.tables;
    struct tarn_read_piece piece;
    for (; from < to; from += piece.length) {
        if (tarn_read_source_map(source, from, to, &piece) < 0)
            break;
        if (piece.hole)
            continue;
        if (tarn_data_file_unwritable(piece.file)) { // it would not be kept
            library_free(library);
            return;
        }
        const struct tarn_blob_record blob = tarn_tables_blob(tables, piece.blob);
        const struct tarn_row_range rows =
            tarn_tables_rows(tables, &blob, piece.address, piece.address + piece.length);
        for (uint32_t row = rows.first; row < rows.end; row++) {
            const struct tarn_fetch_target target = { image, library->slot->share, piece.blob, row,
                                                      true };
            library->waiter = (struct tarn_fetch_waiter){ .wake = came };
            if (!tarn_fetch_want(library->options->fetch, &target, &library->waiter))
                return;
        }
    }
    start_examining(library);
}

static int source_of(const struct library *library, struct tarn_erofs_inode *inode,
                     struct tarn_read_source *source)
{
    *source = (struct tarn_read_source){ .slot = library->slot, .inode = inode };
    return tarn_erofs_inode(&library->slot->image->bootstrap.erofs, library->nid, inode);
}

// What a loader writes to, which stands at the end: it reads all of it to relocate it.
static void want_data(const struct library *library, const struct tarn_read_source *source)
{
    const uint64_t size = source->inode->size;
    if (size > TARN_AHEAD_LIBRARY && size - library->data_offset <= TARN_AHEAD_LIBRARY_DATA)
        want_part(library, source, library->data_offset, size);
}

static void want_file(const struct library *library, const struct tarn_read_source *source)
{
    const uint64_t size = source->inode->size;
    if (size <= TARN_AHEAD_LIBRARY) {
        want_part(library, source, 0, size);
    } else {
        want_part(library, source, 0, TARN_AHEAD_LIBRARY_HEAD);
        want_part(library, source, size - TARN_AHEAD_LIBRARY_TAIL, size);
    }
}

static struct library *library_new(const struct tarn_server_options *options,
                                   const struct tarn_slot *slot, uint64_t nid)
{
    struct library *library = calloc(1, sizeof *library);
    if (!library)
        return NULL;
    library->options = options;
    library->nid = nid;
    library->slot = tarn_slots_get(options->slots, slot->number);
    if (library->slot)
        return library;
    free(library);
    return NULL;
}

static void want_library(const struct library *parent, uint64_t nid)
{
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    if (!tarn_nid_set_add(&parent->slot->image->libraries, nid))
        return;
    struct library *library = library_new(parent->options, parent->slot, nid);
    if (!library)
        return;
    if (source_of(library, &inode, &source) < 0) {
        library_free(library);
        return;
    }
    want_file(library, &source);
    wait_for(library, &source, 0, tarn_min_u64(inode.size, TARN_BLOCK));
}

static void examined(struct tarn_post *post)
{
    struct library *library = tarn_container_of(post, struct library, post);
    struct tarn_erofs_inode inode;
    struct tarn_read_source source;
    if (source_of(library, &inode, &source) < 0) {
        library_free(library);
        return;
    }
    if (library->status == 0 || library->status == -EAGAIN)
        want_data(library, &source);
    if (library->status == -EAGAIN && ++library->tries < TRIES_MAX) {
        wait_for(library, &source, library->missing, library->missing + library->missing_length);
        return;
    }
    if (library->status == 0 && library->started)
        want_file(library, &source);
    if (library->status == 0)
        for (size_t i = 0; i < library->found_count; i++)
            want_library(library, library->found[i]);
    library_free(library);
}

static void begun(struct tarn_post *post)
{
    struct library *library = tarn_container_of(post, struct library, post);
    if (tarn_nid_set_add(&library->slot->image->libraries, library->nid))
        start_examining(library);
    else
        library_free(library);
}

void tarn_library_ahead(const struct tarn_server_options *options, const struct tarn_slot *slot,
                        uint64_t nid, const void *bytes, size_t length)
{
    if (length < SELFMAG || memcmp(bytes, ELFMAG, SELFMAG) != 0 ||
        !tarn_nid_set_lacks(&slot->image->libraries, nid))
        return;
    struct library *library = library_new(options, slot, nid);
    if (!library)
        return;
    library->started = true;
    library->post.run = begun;
    tarn_loop_queue_post(options->queue, &library->post);
}
