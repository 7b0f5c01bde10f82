// SPDX-License-Identifier: Apache-2.0
// A set of nids of an image, bounded, which only grows. One thread adds; any thread may ask meanwhile.
#ifndef TARN_DAEMON_NID_SET_H
#define TARN_DAEMON_NID_SET_H

#include <stdbool.h>
#include <stdint.h>

enum { TARN_NID_SET_MAX = 768 };

struct tarn_nid_set;

// Where a set stands; NULL: it is empty. The owner frees it with free().
typedef _Atomic(struct tarn_nid_set *) tarn_nid_set_place;

// Whether the nid, which is not 0, may be added: it is not there, and there is room. Any thread; what it
// says of a nid that is being added meanwhile may be older.
bool tarn_nid_set_lacks(const tarn_nid_set_place *place, uint64_t nid);
// Adds it, by one thread at a time. False if it was there already, or there is no room or memory for it.
bool tarn_nid_set_add(tarn_nid_set_place *place, uint64_t nid);

#endif
