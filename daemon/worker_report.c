// SPDX-License-Identifier: Apache-2.0
#include "daemon/worker_internal.h"

// Text that may not be UTF-8.
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char *copy = strdup(text);
    for (char *p = copy; p && *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    json = copy ? json_string(copy) : NULL;
    free(copy);
    return json;
}

static json_t *digest_json(const struct tarn_digest *digest)
{
    char text[TARN_DIGEST_TEXT];
    return json_string(tarn_digest_format(digest, text));
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *slot_json(struct tarn_worker *worker, const struct tarn_slot *slot)
{
    static const char *const states[] = { "attaching", "mounted", "detached" };
    const enum tarn_slot_state state = tarn_slots_state(worker->slots, slot);
    const struct tarn_share *share = slot->share;
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "slot", number(slot->number), "directory", text_json(slot->directory), "image",
                     text_json(slot->image->name), "bootstrap", digest_json(&slot->image->digest),
                     "state", states[state], "since", number((uint64_t)slot->since), "ino32",
                     (int)slot->ino32, "tree", digest_json(&slot->image->bootstrap.tree_digest),
                     "reads", number(atomic_load(&share->reads)), "read_bytes",
                     number(atomic_load(&share->read_bytes)), "ranges",
                     number(atomic_load(&share->ranges)), "fetched_bytes",
                     number(atomic_load(&share->fetched_bytes)), "mount_requests",
                     number(atomic_load(&share->mount_requests)), "mount_bytes",
                     number(atomic_load(&share->mount_bytes)));
}

static json_t *slots_json(struct tarn_worker *worker)
{
    json_t *list = json_array();
    struct tarn_slot *slot;
    uint32_t next = 1;
    while (list && (slot = tarn_slots_next(worker->slots, next))) {
        next = slot->number + 1;
        if (json_array_append_new(list, slot_json(worker, slot)) < 0) {
            json_decref(list);
            list = NULL;
        }
        tarn_slot_put(slot);
    }
    return list;
}

json_t *tarn_worker_ps(struct tarn_worker *worker)
{
    return json_pack("{s:o, s:i, s:o}", "mounts", slots_json(worker), "pid", (int)getpid(), "root",
                     text_json(worker->options.root));
}

static json_t *counters_json(const struct tarn_counters *counters)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "reads", number(atomic_load(&counters->reads)), "read_bytes",
                     number(atomic_load(&counters->read_bytes)), "read_waits",
                     number(atomic_load(&counters->read_waits)), "read_errors",
                     number(atomic_load(&counters->read_errors)), "ranges",
                     number(atomic_load(&counters->ranges)), "fetched_bytes",
                     number(atomic_load(&counters->fetched_bytes)), "mount_requests",
                     number(atomic_load(&counters->mount_requests)), "mount_bytes",
                     number(atomic_load(&counters->mount_bytes)), "decoded_chunks",
                     number(atomic_load(&counters->decoded_chunks)), "copied_chunks",
                     number(atomic_load(&counters->copied_chunks)), "checked_chunks",
                     number(atomic_load(&counters->checked_chunks)), "dropped_chunks",
                     number(atomic_load(&counters->dropped_chunks)), "digest_errors",
                     number(atomic_load(&counters->digest_errors)), "unstored_chunks",
                     number(atomic_load(&counters->unstored_chunks)));
}

// Whether no mount before this one has the same image.
static bool first_of_image(struct tarn_worker *worker, const struct tarn_slot *slot)
{
    uint32_t next = 1;
    while (next < slot->number) {
        struct tarn_slot *other = tarn_slots_next(worker->slots, next);
        if (!other)
            return true;
        const bool same = other->number < slot->number && other->image == slot->image;
        next = other->number + 1;
        tarn_slot_put(other);
        if (same)
            return false;
    }
    return true;
}

// Each open image once, with what was done for it.
static json_t *images_json(struct tarn_worker *worker)
{
    json_t *list = json_array();
    struct tarn_slot *slot;
    uint32_t next = 1;
    while (list && (slot = tarn_slots_next(worker->slots, next))) {
        next = slot->number + 1;
        const struct tarn_node_image *image = slot->image;
        if (first_of_image(worker, slot))
            json_array_append_new(list,
                                  json_pack("{s:o, s:o, s:o}", "image", text_json(image->name),
                                            "bootstrap", digest_json(&image->digest), "counters",
                                            counters_json(&image->counters)));
        tarn_slot_put(slot);
    }
    return list;
}

json_t *tarn_worker_stats(struct tarn_worker *worker)
{
    return json_pack("{s:o, s:o, s:o, s:i}", "total", counters_json(&worker->total), "images",
                     images_json(worker), "mounts", slots_json(worker), "pid", (int)getpid());
}
