// SPDX-License-Identifier: Apache-2.0
#include "daemon/linger.h"

#include <dirent.h>

enum { DIRECTORIES_MAX = 256 };

// A slot and the directories of it that were found in use and made nameless.
struct entry {
    struct entry *next;
    uint32_t number;
    bool seen; // in this turn
    uint32_t count;
    uint64_t nids[DIRECTORIES_MAX]; // the first is the root
};

struct tarn_linger {
    struct tarn_connection *connection;
    struct entry *first;
};

struct tarn_linger *tarn_linger_new(struct tarn_connection *connection)
{
    struct tarn_linger *linger = calloc(1, sizeof *linger);
    if (linger)
        linger->connection = connection;
    return linger;
}

void tarn_linger_free(struct tarn_linger *linger)
{
    while (linger && linger->first) {
        struct entry *entry = linger->first;
        linger->first = entry->next;
        free(entry);
    }
    free(linger);
}

void tarn_linger_begin(struct tarn_linger *linger)
{
    for (struct entry *entry = linger->first; entry; entry = entry->next)
        entry->seen = false;
}

static struct entry *entry_of(struct tarn_linger *linger, const struct tarn_slot *slot)
{
    struct entry *entry = linger->first;
    while (entry && entry->number != slot->number)
        entry = entry->next;
    if (entry)
        return entry;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->number = slot->number;
    entry->count = 1;
    entry->nids[0] = slot->image->bootstrap.erofs.root_nid;
    entry->next = linger->first;
    linger->first = entry;
    return entry;
}

static void remember(struct entry *entry, uint64_t nid)
{
    for (uint32_t i = 0; i < entry->count; i++)
        if (entry->nids[i] == nid)
            return;
    if (entry->count < DIRECTORIES_MAX)
        entry->nids[entry->count++] = nid;
}

static bool is_dot(const struct tarn_erofs_dirent *dirent)
{
    return dirent->name[0] == '.' &&
           (dirent->length == 1 || (dirent->length == 2 && dirent->name[1] == '.'));
}

static void drop_names(struct tarn_linger *linger, const struct tarn_slot *slot,
                       struct entry *entry, uint64_t nid)
{
    const struct tarn_erofs *erofs = &slot->image->bootstrap.erofs;
    struct tarn_erofs_inode directory;
    if (tarn_erofs_inode(erofs, nid, &directory) < 0)
        return;
    struct tarn_erofs_dirent dirent;
    for (uint64_t cookie = 0; tarn_erofs_readdir(erofs, &directory, cookie, &dirent) > 0;
         cookie = dirent.cookie) {
        const uint64_t id = (uint64_t)slot->number << TARN_NID_BITS | nid;
        if (!is_dot(&dirent) &&
            tarn_connection_drop_name(linger->connection, id, dirent.name, dirent.length) &&
            dirent.type == DT_DIR)
            remember(entry, dirent.nid);
    }
}

void tarn_linger_slot(struct tarn_linger *linger, const struct tarn_slot *slot)
{
    struct entry *entry = entry_of(linger, slot);
    if (!entry)
        return;
    entry->seen = true;
    for (uint32_t i = 0; i < entry->count; i++) // grows meanwhile
        drop_names(linger, slot, entry, entry->nids[i]);
}

void tarn_linger_end(struct tarn_linger *linger)
{
    struct entry **at = &linger->first;
    while (*at) {
        struct entry *entry = *at;
        if (entry->seen) {
            at = &entry->next;
        } else {
            *at = entry->next;
            free(entry);
        }
    }
}
