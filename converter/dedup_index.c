// SPDX-License-Identifier: Apache-2.0
// Linear probing over 32-bit entry numbers.
#include "converter/dedup_index.h"

enum { FIRST_SLOTS = 1024 };

struct entry {
    struct tarn_digest digest;
    struct tarn_dedup_place place;
};

struct tarn_dedup_index {
    struct entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint32_t *slots; // entry number + 1; 0 free
    uint32_t mask;
};

struct tarn_dedup_index *tarn_dedup_index_new(void)
{
    struct tarn_dedup_index *index = calloc(1, sizeof *index);
    if (!index)
        return NULL;
    index->slots = calloc(FIRST_SLOTS, sizeof *index->slots);
    index->mask = FIRST_SLOTS - 1;
    if (!index->slots) {
        free(index);
        return NULL;
    }
    return index;
}

void tarn_dedup_index_free(struct tarn_dedup_index *index)
{
    if (!index)
        return;
    free(index->entries);
    free(index->slots);
    free(index);
}

// The slot that holds the digest, or the free one where it belongs.
static uint32_t *find_slot(const struct tarn_dedup_index *index, const struct tarn_digest *digest)
{
    uint32_t i = (uint32_t)tarn_digest_hash(digest, index) & index->mask;
    while (index->slots[i] &&
           !tarn_digest_equal(&index->entries[index->slots[i] - 1].digest, digest))
        i = (i + 1) & index->mask;
    return &index->slots[i];
}

static int grow_slots(struct tarn_dedup_index *index)
{
    const uint32_t mask = index->mask * 2 + 1;
    uint32_t *slots = calloc((size_t)mask + 1, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    free(index->slots);
    index->slots = slots;
    index->mask = mask;
    for (uint32_t i = 0; i < index->count; i++)
        *find_slot(index, &index->entries[i].digest) = i + 1;
    return 0;
}

int tarn_dedup_index_add(struct tarn_dedup_index *index, const struct tarn_digest *digest,
                         struct tarn_dedup_place place)
{
    if (*find_slot(index, digest))
        return 0;
    if (index->count >= (index->mask >> 1) && grow_slots(index) < 0)
        return -ENOMEM;
    if (index->count == index->capacity) {
        const uint32_t capacity = index->capacity ? index->capacity + index->capacity / 2 : 1024;
        struct entry *entries = realloc(index->entries, capacity * sizeof *entries);
        if (!entries)
            return -ENOMEM;
        index->entries = entries;
        index->capacity = capacity;
    }
    index->entries[index->count] = (struct entry){ *digest, place };
    *find_slot(index, digest) = ++index->count;
    return 0;
}

bool tarn_dedup_index_find(const struct tarn_dedup_index *index, const struct tarn_digest *digest,
                           struct tarn_dedup_place *place)
{
    const uint32_t slot = *find_slot(index, digest);
    if (slot)
        *place = index->entries[slot - 1].place;
    return slot;
}
