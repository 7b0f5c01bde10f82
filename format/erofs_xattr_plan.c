// SPDX-License-Identifier: Apache-2.0
#include "format/erofs_xattr_plan.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/map.h"

// One (name, value), however many inodes have it.
struct entry {
    const struct tarn_xattr *xattr;
    const char *rest; // of the name, behind the prefix
    uint8_t rest_length;
    uint8_t index; // of the prefix
    uint64_t uses; // inodes
    uint32_t id;   // in the shared area; TARN_NONE: not there
    struct entry *next_shared;
};

struct set {
    const struct tarn_xattr_set *source;
    uint32_t number;
    uint64_t uses; // inodes
    uint64_t length;
    struct entry *entries[]; // by (index, name)
};

struct tarn_erofs_xattr_plan {
    struct tarn_arena *arena;
    struct tarn_map *sets;    // by pointer
    struct tarn_map *entries; // by name and value
    struct tarn_buf numbered; // struct set *, by number - 1
    struct entry *shared;     // by id
    uint64_t shared_length;
};

struct tarn_erofs_xattr_plan *tarn_erofs_xattr_plan_new(void)
{
    struct tarn_erofs_xattr_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return NULL;
    plan->arena = tarn_arena_new();
    plan->sets = tarn_map_new();
    plan->entries = tarn_map_new();
    if (plan->arena && plan->sets && plan->entries)
        return plan;
    tarn_erofs_xattr_plan_free(plan);
    return NULL;
}

void tarn_erofs_xattr_plan_free(struct tarn_erofs_xattr_plan *plan)
{
    if (!plan)
        return;
    tarn_buf_release(&plan->numbered);
    tarn_map_free(plan->entries);
    tarn_map_free(plan->sets);
    tarn_arena_free(plan->arena);
    free(plan);
}

static size_t set_count(const struct tarn_erofs_xattr_plan *plan)
{
    return plan->numbered.length / sizeof(struct set *);
}

static struct set *get_set(const struct tarn_erofs_xattr_plan *plan, size_t i)
{
    struct set *set;
    memcpy(&set, plan->numbered.data + i * sizeof set, sizeof set);
    return set;
}

static uint32_t entry_size(const struct entry *entry)
{
    return TARN_EROFS_XATTR_ENTRY + entry->rest_length + entry->xattr->length;
}

static uint64_t entry_room(const struct entry *entry)
{
    return tarn_round_up(entry_size(entry), TARN_EROFS_XATTR_UNIT);
}

static bool set_is(const void *key, const void *value)
{
    return ((const struct set *)value)->source == key;
}

static bool entry_is(const void *key, const void *value)
{
    const struct tarn_xattr *a = key;
    const struct tarn_xattr *b = ((const struct entry *)value)->xattr;
    return a->length == b->length && strcmp(a->name, b->name) == 0 &&
           (a->length == 0 || memcmp(a->value, b->value, a->length) == 0);
}

static int get_entry(struct tarn_erofs_xattr_plan *plan, const struct tarn_xattr *xattr,
                     struct entry **out, struct tarn_err *err)
{
    const uint64_t hash = XXH3_64bits_withSeed(
        xattr->length > 0 ? xattr->value : NULL, xattr->length,
        XXH3_64bits_withSeed(xattr->name, strlen(xattr->name), (uintptr_t)plan));
    *out = tarn_map_get(plan->entries, hash, xattr, entry_is);
    if (*out)
        return 0;
    const char *rest;
    const unsigned index = tarn_erofs_xattr_index(xattr->name, &rest);
    if (index == 0 || strlen(xattr->name) > TARN_XATTR_NAME_MAX ||
        xattr->length > TARN_XATTR_VALUE_MAX)
        return tarn_fail(err, -EINVAL, "xattr %s: an image cannot hold this name or value",
                         xattr->name);
    struct entry *entry = tarn_arena_alloc(plan->arena, sizeof *entry);
    if (!entry || tarn_map_add(plan->entries, hash, entry) != 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    *entry = (struct entry){ .xattr = xattr,
                             .rest = rest,
                             .rest_length = (uint8_t)strlen(rest),
                             .index = (uint8_t)index,
                             .id = TARN_NONE };
    *out = entry;
    return 0;
}

// The set's xattrs ascend by full name; those of one prefix stay in that order.
static int fill_set(struct tarn_erofs_xattr_plan *plan, struct set *set, struct tarn_err *err)
{
    uint32_t filled = 0;
    for (unsigned index = 1; index <= TARN_EROFS_XATTR_INDEX_MAX; index++)
        for (uint32_t i = 0; i < set->source->count; i++) {
            const char *rest;
            const unsigned own = tarn_erofs_xattr_index(set->source->items[i].name, &rest);
            if (own != index && !(own == 0 && index == 1))
                continue;
            int ret = get_entry(plan, &set->source->items[i], &set->entries[filled], err);
            if (ret < 0)
                return ret;
            filled++;
        }
    assert(filled == set->source->count);
    return 0;
}

int tarn_erofs_xattr_plan_add(struct tarn_erofs_xattr_plan *plan, const struct tarn_xattr_set *set,
                              uint32_t *number, struct tarn_err *err)
{
    const uint64_t hash = XXH3_64bits(&set, sizeof set);
    struct set *known = tarn_map_get(plan->sets, hash, set, set_is);
    if (!known) {
        known = tarn_arena_alloc(plan->arena, sizeof *known + set->count * sizeof(struct entry *));
        if (!known || tarn_map_add(plan->sets, hash, known) != 0 ||
            tarn_buf_append(&plan->numbered, &known, sizeof known) != 0)
            return tarn_fail(err, -ENOMEM, "out of memory");
        known->source = set;
        known->number = (uint32_t)set_count(plan);
        int ret = fill_set(plan, known, err);
        if (ret < 0)
            return ret;
    }
    known->uses++;
    *number = known->number;
    return 0;
}

static bool is_shared(const struct entry *entry)
{
    return entry->uses >= 2 || entry_size(entry) > TARN_EROFS_SHARED_SIZE;
}

// Gives the set's shared entries their ids, and counts its bytes.
static int place_set(struct tarn_erofs_xattr_plan *plan, struct set *set, struct entry ***tail)
{
    uint32_t shared = 0;
    set->length = TARN_EROFS_XATTR_HEADER;
    for (uint32_t i = 0; i < set->source->count; i++) {
        struct entry *entry = set->entries[i];
        if (!is_shared(entry) || shared == TARN_EROFS_SHARED_MAX) {
            set->length += entry_room(entry);
            continue;
        }
        shared++;
        set->length += TARN_EROFS_XATTR_UNIT;
        if (entry->id != TARN_NONE)
            continue;
        if (plan->shared_length / TARN_EROFS_XATTR_UNIT >= TARN_NONE)
            return -ENOTSUP;
        entry->id = (uint32_t)(plan->shared_length / TARN_EROFS_XATTR_UNIT);
        plan->shared_length += entry_room(entry);
        **tail = entry;
        *tail = &entry->next_shared;
    }
    return 0;
}

int tarn_erofs_xattr_plan_close(struct tarn_erofs_xattr_plan *plan, struct tarn_err *err)
{
    const size_t sets = set_count(plan);
    for (size_t i = 0; i < sets; i++) {
        struct set *set = get_set(plan, i);
        for (uint32_t k = 0; k < set->source->count; k++)
            set->entries[k]->uses += set->uses;
    }
    struct entry **tail = &plan->shared;
    for (size_t i = 0; i < sets; i++)
        if (place_set(plan, get_set(plan, i), &tail) < 0)
            return tarn_fail(err, -ENOTSUP, "the xattrs of the image take more than 16 GiB");
    return 0;
}

uint64_t tarn_erofs_xattr_plan_inline(const struct tarn_erofs_xattr_plan *plan, uint32_t number)
{
    return get_set(plan, number - 1)->length;
}

uint64_t tarn_erofs_xattr_plan_shared(const struct tarn_erofs_xattr_plan *plan)
{
    return plan->shared_length;
}

static uint8_t *write_entry(const struct entry *entry, uint8_t *out)
{
    out[0] = entry->rest_length;
    out[1] = entry->index;
    tarn_put_le16(out + 2, (uint16_t)entry->xattr->length);
    memcpy(out + TARN_EROFS_XATTR_ENTRY, entry->rest, entry->rest_length);
    if (entry->xattr->length > 0)
        memcpy(out + TARN_EROFS_XATTR_ENTRY + entry->rest_length, entry->xattr->value,
               entry->xattr->length);
    return out + entry_room(entry);
}

void tarn_erofs_xattr_plan_write_inline(const struct tarn_erofs_xattr_plan *plan, uint32_t number,
                                        uint8_t *out)
{
    const struct set *set = get_set(plan, number - 1);
    uint32_t filter = ~UINT32_C(0);
    uint32_t shared = 0;
    for (uint32_t i = 0; i < set->source->count; i++) {
        const struct entry *entry = set->entries[i];
        filter &= ~(UINT32_C(1) << tarn_erofs_xattr_filter_bit(entry->index, entry->rest,
                                                               entry->rest_length));
        if (!is_shared(entry) || shared == TARN_EROFS_SHARED_MAX)
            continue;
        tarn_put_le32(out + TARN_EROFS_XATTR_HEADER + (size_t)shared * TARN_EROFS_XATTR_UNIT,
                      entry->id);
        shared++;
    }
    tarn_put_le32(out, filter);
    out[4] = (uint8_t)shared;
    uint8_t *p = out + TARN_EROFS_XATTR_HEADER + (size_t)shared * TARN_EROFS_XATTR_UNIT;
    uint32_t skip = shared; // the first ones that may be shared are
    for (uint32_t i = 0; i < set->source->count; i++) {
        if (skip > 0 && is_shared(set->entries[i]))
            skip--;
        else
            p = write_entry(set->entries[i], p);
    }
    assert(p == out + set->length);
}

void tarn_erofs_xattr_plan_write_shared(const struct tarn_erofs_xattr_plan *plan, uint8_t *out)
{
    uint8_t *p = out;
    for (const struct entry *entry = plan->shared; entry; entry = entry->next_shared)
        p = write_entry(entry, p);
    assert(p == out + plan->shared_length);
}
