// SPDX-License-Identifier: Apache-2.0
// Xattr sets: checked, sorted, and each different one once in a tree. Nearly all inodes of an image
// that have xattrs share a handful of sets.
#include "format/tree_internal.h"

#include <string.h>
#include <xxhash.h>

enum { JOINED_LIMIT = 128 << 20 }; // see tree.h

struct list {
    const struct tarn_xattr **items; // sorted
    uint32_t count;
};

static const char *skip_prefix(const char *name, const char *prefix)
{
    const size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

static int check(const struct tarn_xattr *xattr, struct tarn_err *err)
{
    const char *const prefixes[] = { "user.", "trusted.", "security." };
    if (xattr->length > TARN_XATTR_VALUE_MAX)
        return tarn_fail(err, -EINVAL, "xattr '%.300s' has %u bytes, at most %d are possible",
                         xattr->name, xattr->length, TARN_XATTR_VALUE_MAX);
    if (strcmp(xattr->name, "system.posix_acl_access") == 0 ||
        strcmp(xattr->name, "system.posix_acl_default") == 0)
        return 0;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *rest = skip_prefix(xattr->name, prefixes[i]);
        if (!rest)
            continue;
        if (*rest == '\0')
            return tarn_fail(err, -EINVAL, "xattr '%s' has no name behind the prefix", xattr->name);
        const size_t length = strlen(xattr->name);
        if (length > TARN_XATTR_NAME_MAX)
            return tarn_fail(err, -EINVAL,
                             "xattr '%.300s' has a name of %zu bytes, Linux reads at most %d",
                             xattr->name, length, TARN_XATTR_NAME_MAX);
        return 0;
    }
    return tarn_fail(err, -EINVAL,
                     "xattr '%.300s' is none of user.*, trusted.*, security.*, "
                     "system.posix_acl_access, system.posix_acl_default",
                     xattr->name);
}

// By name; equal names in the order in which they were given.
static int compare(const void *a_pointer, const void *b_pointer)
{
    const struct tarn_xattr *a = *(const struct tarn_xattr *const *)a_pointer;
    const struct tarn_xattr *b = *(const struct tarn_xattr *const *)b_pointer;
    const int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a > b) - (a < b);
}

static int make_list(const struct tarn_xattr *items, uint32_t count, struct list *list,
                     struct tarn_err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const int ret = check(&items[i], err);
        if (ret < 0)
            return ret;
        list->items[i] = &items[i];
    }
    qsort(list->items, count, sizeof(const struct tarn_xattr *), compare);
    list->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (list->count > 0 &&
            strcmp(list->items[list->count - 1]->name, list->items[i]->name) == 0)
            list->count--;
        list->items[list->count++] = list->items[i];
    }
    return 0;
}

// The owner's address keeps sets from being made to meet in the table (tarn_digest_hash()).
static uint64_t list_hash(const struct list *list, const void *owner)
{
    uint64_t hash = (uintptr_t)owner + list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct tarn_xattr *xattr = list->items[i];
        hash = XXH3_64bits_withSeed(xattr->name, strlen(xattr->name), hash);
        hash = XXH3_64bits_withSeed(xattr->value, xattr->length, hash);
    }
    return hash;
}

static bool list_equal(const void *key, const void *value)
{
    const struct list *list = key;
    const struct tarn_xattr_set *set = value;
    if (list->count != set->count)
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct tarn_xattr *a = list->items[i];
        const struct tarn_xattr *b = &set->items[i];
        if (a->length != b->length || strcmp(a->name, b->name) != 0 ||
            (a->length > 0 && memcmp(a->value, b->value, a->length) != 0))
            return false;
    }
    return true;
}

static struct tarn_xattr_set *make_set(struct tarn_arena *arena, const struct list *list)
{
    struct tarn_xattr_set *set =
        tarn_arena_alloc(arena, sizeof *set + list->count * sizeof *set->items);
    if (!set)
        return NULL;
    set->count = list->count;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct tarn_xattr *xattr = list->items[i];
        const char *name = tarn_arena_copy(arena, xattr->name, strlen(xattr->name));
        const char *value = tarn_arena_copy(arena, xattr->value, xattr->length);
        if (!name || !value)
            return NULL;
        set->items[i] = (struct tarn_xattr){ name, (const uint8_t *)value, xattr->length };
    }
    return set;
}

int tarn_tree_xattrs(struct tarn_tree *tree, const struct tarn_xattr *items, uint32_t count,
                     const struct tarn_xattr_set **set, struct tarn_err *err)
{
    *set = NULL;
    if (count == 0)
        return 0;
    tarn_autofree const struct tarn_xattr **pointers = calloc(count, sizeof *pointers);
    if (!pointers)
        return tarn_fail_errno(err, -ENOMEM, "cannot keep %u xattrs", count);
    struct list list = { pointers, count };
    const int ret = make_list(items, count, &list, err);
    if (ret < 0)
        return ret;
    const uint64_t hash = list_hash(&list, tree);
    *set = tarn_map_get(tree->sets, hash, &list, list_equal);
    if (*set)
        return 0;
    struct tarn_xattr_set *made = make_set(tree->arena, &list);
    if (!made || tarn_map_add(tree->sets, hash, made) < 0)
        return tarn_fail_errno(err, -ENOMEM, "cannot keep %u xattrs", count);
    *set = made;
    return 0;
}

static int compare_to_name(const void *key, const void *item)
{
    return strcmp(key, ((const struct tarn_xattr *)item)->name);
}

// Whether the set has them all, with these values.
static bool has_all(const struct tarn_xattr_set *set, const struct tarn_xattr *items,
                    uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct tarn_xattr *found =
            bsearch(items[i].name, set->items, set->count, sizeof *set->items, compare_to_name);
        if (!found || found->length != items[i].length ||
            (found->length > 0 && memcmp(found->value, items[i].value, found->length) != 0))
            return false;
    }
    return true;
}

static uint64_t memory_of(const struct tarn_xattr *items, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += sizeof *items + strlen(items[i].name) + items[i].length;
    return sum;
}

int tarn_tree_join_xattrs(struct tarn_tree *tree, const struct tarn_xattr *items, uint32_t count,
                          const struct tarn_xattr_set **set, struct tarn_err *err)
{
    const struct tarn_xattr_set *base = *set;
    if (!base)
        return tarn_tree_xattrs(tree, items, count, set, err);
    if (has_all(base, items, count))
        return 0;
    // Counted whether the set is new or not: it takes its time in any case.
    tree->joined += memory_of(base->items, base->count) + memory_of(items, count);
    if (tree->joined > JOINED_LIMIT)
        return tarn_fail(err, -EINVAL,
                         "hard links change more than %d MiB of xattrs, it is taken for a bomb",
                         JOINED_LIMIT >> 20);
    const uint64_t total = (uint64_t)base->count + count; // below JOINED_LIMIT
    tarn_autofree struct tarn_xattr *all = calloc(total, sizeof *all);
    if (!all)
        return tarn_fail_errno(err, -ENOMEM, "cannot keep %llu xattrs", (unsigned long long)total);
    memcpy(all, base->items, base->count * sizeof *all);
    memcpy(all + base->count, items, count * sizeof *all);
    return tarn_tree_xattrs(tree, all, (uint32_t)total, set, err);
}
