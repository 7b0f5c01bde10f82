// SPDX-License-Identifier: Apache-2.0
// The base of root's connection: `images` with a directory for each mount, `blobs` with a file for each
// data space in use. All of it may change, so nothing is kept by the kernel; and since it asks OPENDIR
// only once, `images` and `blobs` show each change by their mtime, or old listings would stay.
#include "daemon/fuse_internal.h"

static const struct tarn_connection *connection_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static void fill_directory(const struct tarn_server *server, fuse_ino_t ino, struct stat *st)
{
    const struct timespec changed =
        ino == TARN_NODE_ROOT ? server->started : tarn_slots_changed(server->options.slots);
    *st = (struct stat){
        .st_ino = ino,
        .st_mode = S_IFDIR | 0700,
        .st_nlink = ino == TARN_NODE_BLOBS ? 2 : 3,
        .st_blksize = TARN_BLOCK,
        .st_atim = changed,
        .st_mtim = changed,
        .st_ctim = changed,
    };
}

static void fill_blob(const struct tarn_server *server, const struct tarn_data_file *file,
                      struct stat *st)
{
    *st = (struct stat){
        .st_ino = TARN_NODE_BLOB_FIRST + file->number,
        .st_mode = S_IFREG | 0400,
        .st_nlink = 1,
        .st_size = (off_t)file->rows.data_length,
        .st_blksize = TARN_BLOCK,
        .st_blocks = (blkcnt_t)(file->rows.data_length / 512),
        .st_atim = server->started,
        .st_mtim = server->started,
        .st_ctim = server->started,
    };
}

static bool shown(const struct tarn_data_file *file)
{
    return file->whole && atomic_load(&file->users) > 0;
}

static int base_stat(const struct tarn_server *server, fuse_ino_t ino, struct stat *st)
{
    if (ino >= TARN_NODE_ROOT && ino <= TARN_NODE_BLOBS) {
        fill_directory(server, ino, st);
        return 0;
    }
    if (ino < TARN_NODE_BLOB_FIRST || ino - TARN_NODE_BLOB_FIRST > UINT32_MAX)
        return -ESTALE;
    const struct tarn_data_file *file =
        tarn_store_file(server->options.store, (uint32_t)(ino - TARN_NODE_BLOB_FIRST));
    if (!file)
        return -ESTALE;
    fill_blob(server, file, st);
    return 0;
}

// A decimal number without leading zeros or sign; 0 for anything else.
static uint32_t slot_number(const char *name)
{
    uint64_t number = 0;
    if (name[0] == '0')
        return 0;
    for (; *name; name++) {
        if (*name < '0' || *name > '9' || number >= TARN_SLOT_LIMIT)
            return 0;
        number = number * 10 + (uint64_t)(*name - '0');
    }
    return number < TARN_SLOT_LIMIT ? (uint32_t)number : 0;
}

static void lookup_image(fuse_req_t req, const char *name)
{
    const struct tarn_connection *connection = connection_of(req);
    struct tarn_slots *slots = connection->server->options.slots;
    const uint32_t number = slot_number(name);
    struct tarn_slot *slot = tarn_slots_lookup(slots, number);
    struct fuse_entry_param entry;
    int ret = -ENOENT;
    if (slot)
        ret = tarn_fuse_node_entry(connection, slot, slot->image->bootstrap.erofs.root_nid, &entry);
    if (slot && tarn_node_image_damaged(slot->image))
        ret = -EIO;
    if (ret < 0) {
        fuse_reply_err(req, -ret);
        if (slot)
            tarn_slots_forget(slots, number, 1);
    } else {
        entry.entry_timeout = 0;
        // A reply that the kernel does not take counts no lookup there.
        if (fuse_reply_entry(req, &entry) < 0)
            tarn_slots_forget(slots, number, 1);
    }
    tarn_slot_put(slot);
}

static const struct tarn_data_file *find_blob(struct tarn_store *store, const char *name)
{
    const struct tarn_data_file *file;
    for (uint32_t i = 0; (file = tarn_store_file(store, i)); i++)
        if (strcmp(file->name, name) == 0)
            return shown(file) ? file : NULL;
    return NULL;
}

void tarn_base_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct tarn_server *server = connection_of(req)->server;
    struct fuse_entry_param entry = { 0 };
    if (parent == TARN_NODE_IMAGES) {
        lookup_image(req, name);
        return;
    }
    if (parent == TARN_NODE_ROOT && strcmp(name, "images") == 0) {
        entry.ino = TARN_NODE_IMAGES;
    } else if (parent == TARN_NODE_ROOT && strcmp(name, "blobs") == 0) {
        entry.ino = TARN_NODE_BLOBS;
    } else if (parent == TARN_NODE_BLOBS) {
        const struct tarn_data_file *file = find_blob(server->options.store, name);
        if (file)
            entry.ino = TARN_NODE_BLOB_FIRST + file->number;
    }
    if (entry.ino == 0 || base_stat(server, entry.ino, &entry.attr) < 0)
        fuse_reply_err(req, ENOENT);
    else
        fuse_reply_entry(req, &entry);
}

void tarn_base_getattr(fuse_req_t req, fuse_ino_t ino)
{
    struct stat st;
    const int ret = base_stat(connection_of(req)->server, ino, &st);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        fuse_reply_attr(req, &st, 0);
}

void tarn_base_statfs(fuse_req_t req)
{
    const struct statvfs st = {
        .f_bsize = TARN_BLOCK,
        .f_frsize = TARN_BLOCK,
        .f_namemax = TARN_NAME_MAX,
    };
    fuse_reply_statfs(req, &st);
}

// The entry at offset, from 0; *next is where the one behind it starts. False at the end.
struct base_entry {
    char name[160];
    ino_t ino;
    mode_t type;
    off_t next;
};

static bool entry_at(const struct tarn_connection *connection, fuse_ino_t directory, off_t offset,
                     struct base_entry *entry)
{
    const struct tarn_server *server = connection->server;
    entry->type = S_IFDIR;
    entry->next = offset + 1;
    if (offset < 2) {
        snprintf(entry->name, sizeof entry->name, "%s", offset == 0 ? "." : "..");
        entry->ino = offset == 0 ? directory : TARN_NODE_ROOT;
        return true;
    }
    if (directory == TARN_NODE_ROOT) {
        snprintf(entry->name, sizeof entry->name, "%s", offset == 2 ? "images" : "blobs");
        entry->ino = offset == 2 ? TARN_NODE_IMAGES : TARN_NODE_BLOBS;
        return offset <= 3;
    }
    if (directory == TARN_NODE_BLOBS) {
        const struct tarn_data_file *file;
        uint64_t i = (uint64_t)offset - 2;
        while (i <= UINT32_MAX && (file = tarn_store_file(server->options.store, (uint32_t)i)) &&
               !shown(file))
            i++;
        if (i > UINT32_MAX || !file)
            return false;
        snprintf(entry->name, sizeof entry->name, "%s", file->name);
        entry->ino = TARN_NODE_BLOB_FIRST + i;
        entry->type = S_IFREG;
        entry->next = (off_t)i + 3;
        return true;
    }
    uint64_t number = (uint64_t)offset - 1; // slots count from 1
    struct tarn_slot *slot = NULL;
    while (number < TARN_SLOT_LIMIT &&
           (slot = tarn_slots_next(server->options.slots, (uint32_t)number)) &&
           tarn_slots_state(server->options.slots, slot) == TARN_SLOT_GONE) {
        number = (uint64_t)slot->number + 1;
        tarn_slot_put(slot);
        slot = NULL;
    }
    if (!slot)
        return false;
    snprintf(entry->name, sizeof entry->name, "%u", slot->number);
    entry->ino = tarn_fuse_node_ino(connection, slot, slot->image->bootstrap.erofs.root_nid);
    entry->next = (off_t)slot->number + 2;
    tarn_slot_put(slot);
    return true;
}

// Entries without a node: the kernel takes names and types only, and counts no lookups.
void tarn_base_readdir(fuse_req_t req, fuse_ino_t ino, const struct tarn_base_listing *listing)
{
    const struct tarn_connection *connection = connection_of(req);
    if (ino < TARN_NODE_ROOT || ino > TARN_NODE_BLOBS) {
        fuse_reply_err(req, ENOTDIR);
        return;
    }
    char *buffer = (char *)tarn_server_buffers(connection->server)->data;
    struct base_entry entry;
    off_t offset = listing->offset;
    size_t used = 0;
    while (entry_at(connection, ino, offset, &entry)) {
        const struct fuse_entry_param none = {
            .attr = { .st_ino = entry.ino, .st_mode = entry.type },
        };
        const size_t left = listing->size - used;
        const size_t size =
            listing->plus
                ? fuse_add_direntry_plus(req, buffer + used, left, entry.name, &none, entry.next)
                : fuse_add_direntry(req, buffer + used, left, entry.name, &none.attr, entry.next);
        if (size > left)
            break;
        used += size;
        offset = entry.next;
    }
    fuse_reply_buf(req, buffer, used);
}
