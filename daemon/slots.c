// SPDX-License-Identifier: Apache-2.0
#include "daemon/slots.h"

#include <pthread.h>

#include "base/container.h"

struct tarn_slots {
    struct tarn_loop_queue *queue;
    void (*ended)(void *context);
    void *context;
    pthread_rwlock_t lock;    // guards the rest, and state and lookups of the slots
    struct tarn_slot **items; // by number; NULL: never used or freed
    uint32_t length;
    uint32_t capacity;
    size_t count;
    struct timespec changed;
};

struct tarn_slots *tarn_slots_new(struct tarn_loop_queue *queue, void (*ended)(void *context),
                                  void *context, struct tarn_err *err)
{
    struct tarn_slots *slots = calloc(1, sizeof *slots);
    if (!slots) {
        tarn_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    slots->queue = queue;
    slots->ended = ended;
    slots->context = context;
    slots->length = 1; // slot 0 is the base
    clock_gettime(CLOCK_REALTIME, &slots->changed);
    pthread_rwlock_init(&slots->lock, NULL);
    return slots;
}

void tarn_slots_free(struct tarn_slots *slots)
{
    if (!slots)
        return;
    pthread_rwlock_destroy(&slots->lock);
    free(slots->items);
    free(slots);
}

static void change(struct tarn_slots *slots)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct timespec last = slots->changed;
    if (now.tv_sec > last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec > last.tv_nsec)) {
        slots->changed = now;
    } else if (++slots->changed.tv_nsec == 1000000000) {
        slots->changed.tv_sec++;
        slots->changed.tv_nsec = 0;
    }
}

static int make_room(struct tarn_slots *slots)
{
    if (slots->length < slots->capacity)
        return 0;
    const uint32_t capacity = slots->capacity ? slots->capacity * 2 : 64;
    if (slots->length >= TARN_SLOT_LIMIT)
        return -ENOSPC;
    struct tarn_slot **items = reallocarray(slots->items, capacity, sizeof(struct tarn_slot *));
    if (!items)
        return -ENOMEM;
    slots->items = items;
    slots->capacity = capacity;
    items[0] = NULL;
    return 0;
}

struct tarn_slot *tarn_slots_add(struct tarn_slots *slots, struct tarn_node_image *image,
                                 const char *directory, bool ino32)
{
    struct tarn_slot *slot = calloc(1, sizeof *slot);
    char *copy = strdup(directory);
    struct tarn_share *share = calloc(1, sizeof *share);
    if (!slot || !copy || !share) {
        free(slot);
        free(copy);
        free(share);
        return NULL;
    }
    share->references = 1;
    slot->share = share;
    slot->slots = slots;
    slot->directory = copy;
    slot->ino32 = ino32;
    slot->since = time(NULL);
    slot->references = 1;
    slot->image = image;
    pthread_rwlock_wrlock(&slots->lock);
    const int ret = make_room(slots);
    if (ret == 0) {
        slot->number = slots->length;
        slots->items[slots->length++] = slot;
        slots->count++;
        change(slots);
    }
    pthread_rwlock_unlock(&slots->lock);
    if (ret < 0) {
        free(copy);
        free(share);
        free(slot);
        return NULL;
    }
    tarn_node_image_ref(image);
    return slot;
}

struct tarn_slot *tarn_slots_get(struct tarn_slots *slots, uint32_t number)
{
    pthread_rwlock_rdlock(&slots->lock);
    struct tarn_slot *slot = number > 0 && number < slots->length ? slots->items[number] : NULL;
    if (slot)
        atomic_fetch_add(&slot->references, 1);
    pthread_rwlock_unlock(&slots->lock);
    return slot;
}

// On the loop: nobody can find the slot any more.
static void free_slot(struct tarn_post *post)
{
    struct tarn_slot *slot = tarn_container_of(post, struct tarn_slot, ended);
    struct tarn_slots *slots = slot->slots;
    tarn_node_image_unref(slot->image);
    tarn_share_unref(slot->share);
    free(slot->directory);
    free(slot);
    pthread_rwlock_wrlock(&slots->lock);
    slots->count--;
    pthread_rwlock_unlock(&slots->lock);
    slots->ended(slots->context);
}

void tarn_slot_put(struct tarn_slot *slot)
{
    if (!slot || atomic_fetch_sub(&slot->references, 1) > 1)
        return;
    slot->ended.run = free_slot;
    tarn_loop_queue_post(slot->slots->queue, &slot->ended);
}

// With the lock held for writing. Returns the slot if the table's own reference is to be put.
static struct tarn_slot *take_if_over(struct tarn_slots *slots, uint32_t number)
{
    struct tarn_slot *slot = slots->items[number];
    if (slot->state != TARN_SLOT_GONE || slot->lookups > 0)
        return NULL;
    slots->items[number] = NULL;
    return slot;
}

void tarn_slots_set_live(struct tarn_slots *slots, uint32_t number)
{
    pthread_rwlock_wrlock(&slots->lock);
    if (number < slots->length && slots->items[number] &&
        slots->items[number]->state == TARN_SLOT_ATTACHING)
        slots->items[number]->state = TARN_SLOT_LIVE;
    pthread_rwlock_unlock(&slots->lock);
}

bool tarn_slots_set_gone(struct tarn_slots *slots, uint32_t number)
{
    struct tarn_slot *over = NULL;
    pthread_rwlock_wrlock(&slots->lock);
    struct tarn_slot *slot = number < slots->length ? slots->items[number] : NULL;
    const bool changed = slot && slot->state != TARN_SLOT_GONE;
    if (changed) {
        slot->state = TARN_SLOT_GONE;
        change(slots);
        over = take_if_over(slots, number);
    }
    pthread_rwlock_unlock(&slots->lock);
    tarn_slot_put(over);
    return changed;
}

struct tarn_slot *tarn_slots_lookup(struct tarn_slots *slots, uint32_t number)
{
    pthread_rwlock_wrlock(&slots->lock);
    struct tarn_slot *slot = number < slots->length ? slots->items[number] : NULL;
    if (slot && slot->state == TARN_SLOT_GONE)
        slot = NULL;
    if (slot) {
        slot->lookups++;
        atomic_fetch_add(&slot->references, 1);
    }
    pthread_rwlock_unlock(&slots->lock);
    return slot;
}

void tarn_slots_forget(struct tarn_slots *slots, uint32_t number, uint64_t count)
{
    struct tarn_slot *over = NULL;
    pthread_rwlock_wrlock(&slots->lock);
    struct tarn_slot *slot = number < slots->length ? slots->items[number] : NULL;
    if (slot) {
        slot->lookups -= tarn_min_u64(slot->lookups, count);
        over = take_if_over(slots, number);
    }
    pthread_rwlock_unlock(&slots->lock);
    tarn_slot_put(over);
}

void tarn_slots_end_all(struct tarn_slots *slots)
{
    struct tarn_slot *slot;
    uint32_t next = 1;
    while ((slot = tarn_slots_next(slots, next))) {
        next = slot->number + 1;
        tarn_slots_set_gone(slots, slot->number);
        tarn_slots_forget(slots, slot->number, UINT64_MAX);
        tarn_slot_put(slot);
    }
}

struct tarn_slot *tarn_slots_next(struct tarn_slots *slots, uint32_t number)
{
    struct tarn_slot *slot = NULL;
    pthread_rwlock_rdlock(&slots->lock);
    for (; !slot && number < slots->length; number++)
        slot = number > 0 ? slots->items[number] : NULL;
    if (slot)
        atomic_fetch_add(&slot->references, 1);
    pthread_rwlock_unlock(&slots->lock);
    return slot;
}

enum tarn_slot_state tarn_slots_state(struct tarn_slots *slots, const struct tarn_slot *slot)
{
    pthread_rwlock_rdlock(&slots->lock);
    const enum tarn_slot_state state = slot->state;
    pthread_rwlock_unlock(&slots->lock);
    return state;
}

size_t tarn_slots_count(struct tarn_slots *slots)
{
    pthread_rwlock_rdlock(&slots->lock);
    const size_t count = slots->count;
    pthread_rwlock_unlock(&slots->lock);
    return count;
}

struct timespec tarn_slots_changed(struct tarn_slots *slots)
{
    pthread_rwlock_rdlock(&slots->lock);
    const struct timespec changed = slots->changed;
    pthread_rwlock_unlock(&slots->lock);
    return changed;
}
