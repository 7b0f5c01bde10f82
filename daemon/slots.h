// SPDX-License-Identifier: Apache-2.0
// The mounts that the daemon serves. Each has a slot: a number that is not used again while the FUSE
// connection lives. Slots are found by any thread, added and freed on the loop's thread.
//
// Life: ATTACHING (made, its tree is being attached) -> LIVE (attached somewhere) -> GONE (attached
// nowhere any more: `images` does not show it) -> freed, when the kernel has also forgotten its root and
// no request uses it. A slot that is GONE still answers whoever has it open.
#ifndef TARN_DAEMON_SLOTS_H
#define TARN_DAEMON_SLOTS_H

#include <time.h>

#include "daemon/loop_queue.h"
#include "daemon/node_image.h"

enum { TARN_SLOT_BITS = 24, TARN_NID_BITS = 40 };
#define TARN_SLOT_LIMIT (UINT32_C(1) << TARN_SLOT_BITS)
#define TARN_NID_MASK ((UINT64_C(1) << TARN_NID_BITS) - 1)

enum tarn_slot_state { TARN_SLOT_ATTACHING, TARN_SLOT_LIVE, TARN_SLOT_GONE };

struct tarn_slot {
    uint32_t number;
    struct tarn_node_image *image; // a reference is held
    char *directory;               // as the client named it
    bool ino32;
    time_t since;
    struct tarn_share *share; // a reference is held

    // private
    struct tarn_slots *slots;
    _Atomic uint32_t references; // the table's own, and one for each request that uses it
    enum tarn_slot_state state;  // guarded by the table's lock
    uint64_t lookups;            // as above: the kernel's count for its root
    struct tarn_post ended;
};

struct tarn_slots;

// ended(context) is called on the loop after a slot has been freed.
struct tarn_slots *tarn_slots_new(struct tarn_loop_queue *queue, void (*ended)(void *context),
                                  void *context, struct tarn_err *err);
void tarn_slots_free(struct tarn_slots *slots); // there are none any more

// A new slot in state ATTACHING for the image, which gets a reference. Borrowed. NULL: no memory, or all
// numbers are used up.
struct tarn_slot *tarn_slots_add(struct tarn_slots *slots, struct tarn_node_image *image,
                                 const char *directory, bool ino32);

// A slot by its number, with a reference, or NULL.
struct tarn_slot *tarn_slots_get(struct tarn_slots *slots, uint32_t number);
void tarn_slot_put(struct tarn_slot *slot);

// ATTACHING to LIVE; no change in other states.
void tarn_slots_set_live(struct tarn_slots *slots, uint32_t number);
// To GONE. Returns whether the slot was there and not GONE yet.
bool tarn_slots_set_gone(struct tarn_slots *slots, uint32_t number);

// The kernel looked the slot's root up: as get, but only if the slot is not GONE, and counted.
struct tarn_slot *tarn_slots_lookup(struct tarn_slots *slots, uint32_t number);
void tarn_slots_forget(struct tarn_slots *slots, uint32_t number, uint64_t count);

// The connection has ended, and with it all that the kernel knew: every slot is GONE and forgotten.
void tarn_slots_end_all(struct tarn_slots *slots);

// The next slot from number on, with a reference; NULL at the end.
struct tarn_slot *tarn_slots_next(struct tarn_slots *slots, uint32_t number);
enum tarn_slot_state tarn_slots_state(struct tarn_slots *slots, const struct tarn_slot *slot);
size_t tarn_slots_count(struct tarn_slots *slots); // all that are not freed

// Time of the last change of what is shown; strictly increasing.
struct timespec tarn_slots_changed(struct tarn_slots *slots);

#endif
