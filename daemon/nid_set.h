// SPDX-License-Identifier: Apache-2.0
// A set of nids of an image, bounded, which only grows. One thread adds; any thread may ask meanwhile.
#ifndef TARN_DAEMON_NID_SET_H
#define TARN_DAEMON_NID_SET_H

#include <stdbool.h>
#include <stdint.h>

enum { TARN_NID_SET_MAX = 768 };

// A zeroed struct is an empty set; it is released like one that was used.
struct tarn_nid_set {
    _Atomic(struct tarn_nid_table *) table; // private
};
void tarn_nid_set_release(struct tarn_nid_set *set); // nobody asks any more

// Whether the nid, which is not 0, may be added: it is not there, and there is room. Any thread; what it
// says of a nid that is being added meanwhile may be older.
bool tarn_nid_set_lacks(const struct tarn_nid_set *set, uint64_t nid);
// Adds it, by one thread at a time. False if it was there already, or there is no room or memory for it.
bool tarn_nid_set_add(struct tarn_nid_set *set, uint64_t nid);

#endif
