// SPDX-License-Identifier: Apache-2.0
// An open-addressing hash table from a caller's 64-bit hash to a caller's pointer. The caller
// compares keys, so that the key may live inside the value. Not
// thread-safe.
#ifndef TARN_BASE_MAP_H
#define TARN_BASE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct tarn_map;

// A hash of an address, for keys that are objects in memory.
static inline uint64_t tarn_map_hash_address(const void *address)
{
    return (uint64_t)(uintptr_t)address * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

// True if value is the one that key names.
typedef bool tarn_map_equal(const void *key, const void *value);

struct tarn_map *tarn_map_new(void);      // NULL when out of memory
void tarn_map_free(struct tarn_map *map); // values are borrowed: they are not freed
TARN_DEFINE_CLEANUP(struct tarn_map, tarn_map_free)

void *tarn_map_get(const struct tarn_map *map, uint64_t hash, const void *key,
                   tarn_map_equal *equal);

// Adds value without looking for an equal one. 0 or -ENOMEM.
int tarn_map_add(struct tarn_map *map, uint64_t hash, void *value) tarn_must_check;

// Removes exactly this value. Returns whether it was there.
bool tarn_map_remove(struct tarn_map *map, uint64_t hash, const void *value);

size_t tarn_map_count(const struct tarn_map *map);

// Bytes that the table itself takes.
size_t tarn_map_memory(const struct tarn_map *map);

// Walks all values in no order: start with *position = 0; NULL at the end. No changes meanwhile.
void *tarn_map_next(const struct tarn_map *map, size_t *position);

#endif
