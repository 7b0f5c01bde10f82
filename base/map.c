// SPDX-License-Identifier: Apache-2.0
// Linear probing at most 3/4 full; removal closes the gap, so there are no tombstones.
#include "base/map.h"

#include <errno.h>

struct slot {
    uint64_t hash;
    void *value; // NULL: free
};

struct tarn_map {
    struct slot *slots;
    size_t mask; // number of slots - 1
    size_t count;
};

enum { FIRST_SIZE = 64 };

struct tarn_map *tarn_map_new(void)
{
    struct tarn_map *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    map->slots = calloc(FIRST_SIZE, sizeof *map->slots);
    if (!map->slots) {
        free(map);
        return NULL;
    }
    map->mask = FIRST_SIZE - 1;
    return map;
}

void tarn_map_free(struct tarn_map *map)
{
    if (!map)
        return;
    free(map->slots);
    free(map);
}

void *tarn_map_get(const struct tarn_map *map, uint64_t hash, const void *key,
                   tarn_map_equal *equal)
{
    for (size_t i = hash & map->mask; map->slots[i].value; i = (i + 1) & map->mask)
        if (map->slots[i].hash == hash && equal(key, map->slots[i].value))
            return map->slots[i].value;
    return NULL;
}

static void place(struct tarn_map *map, struct slot slot)
{
    size_t i = slot.hash & map->mask;
    while (map->slots[i].value)
        i = (i + 1) & map->mask;
    map->slots[i] = slot;
}

static int grow(struct tarn_map *map)
{
    const size_t old_size = map->mask + 1;
    struct slot *old = map->slots;
    struct slot *slots = calloc(old_size * 2, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    map->slots = slots;
    map->mask = old_size * 2 - 1;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].value)
            place(map, old[i]);
    free(old);
    return 0;
}

int tarn_map_add(struct tarn_map *map, uint64_t hash, void *value)
{
    if ((map->count + 1) * 4 > (map->mask + 1) * 3) {
        const int ret = grow(map);
        if (ret < 0)
            return ret;
    }
    place(map, (struct slot){ hash, value });
    map->count++;
    return 0;
}

bool tarn_map_remove(struct tarn_map *map, uint64_t hash, const void *value)
{
    size_t i = hash & map->mask;
    while (map->slots[i].value && map->slots[i].value != value)
        i = (i + 1) & map->mask;
    if (!map->slots[i].value)
        return false;
    size_t hole = i;
    for (size_t j = (hole + 1) & map->mask; map->slots[j].value; j = (j + 1) & map->mask) {
        const size_t home = map->slots[j].hash & map->mask;
        if (((j - home) & map->mask) >= ((j - hole) & map->mask)) {
            map->slots[hole] = map->slots[j];
            hole = j;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return true;
}

size_t tarn_map_count(const struct tarn_map *map)
{
    return map->count;
}

size_t tarn_map_memory(const struct tarn_map *map)
{
    return (map->mask + 1) * sizeof *map->slots;
}

void *tarn_map_next(const struct tarn_map *map, size_t *position)
{
    while (*position <= map->mask) {
        void *value = map->slots[(*position)++].value;
        if (value)
            return value;
    }
    return NULL;
}
