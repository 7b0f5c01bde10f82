// SPDX-License-Identifier: Apache-2.0
// An open hash table whose slots are written once each. Its memory comes with the first nid.
#include "daemon/nid_set.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { SLOT_BITS = 10, SLOTS = 1 << SLOT_BITS };
_Static_assert((int)TARN_NID_SET_MAX < (int)SLOTS, "a search must find a free slot");

struct tarn_nid_table {
    _Atomic unsigned count;
    _Atomic uint64_t slots[SLOTS]; // 0: free
};

// The slot that holds the nid, or the free one where it belongs.
static size_t find(const struct tarn_nid_table *table, uint64_t nid)
{
    size_t at = (size_t)(nid * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOT_BITS));
    for (;; at = (at + 1) % SLOTS) {
        const uint64_t there = atomic_load_explicit(&table->slots[at], memory_order_relaxed);
        if (there == 0 || there == nid)
            return at;
    }
}

static bool lacks(const struct tarn_nid_table *table, uint64_t nid)
{
    return atomic_load_explicit(&table->count, memory_order_relaxed) < TARN_NID_SET_MAX &&
           atomic_load_explicit(&table->slots[find(table, nid)], memory_order_relaxed) == 0;
}

void tarn_nid_set_release(struct tarn_nid_set *set)
{
    free(atomic_exchange(&set->table, NULL));
}

bool tarn_nid_set_lacks(const struct tarn_nid_set *set, uint64_t nid)
{
    const struct tarn_nid_table *table = atomic_load_explicit(&set->table, memory_order_acquire);
    return !table || lacks(table, nid);
}

bool tarn_nid_set_add(struct tarn_nid_set *set, uint64_t nid)
{
    struct tarn_nid_table *table = atomic_load_explicit(&set->table, memory_order_relaxed);
    if (!table) {
        table = calloc(1, sizeof *table);
        if (!table)
            return false;
        atomic_store_explicit(&set->table, table, memory_order_release);
    }
    if (!lacks(table, nid))
        return false;
    atomic_store_explicit(&table->slots[find(table, nid)], nid, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->count, 1, memory_order_relaxed);
    return true;
}
