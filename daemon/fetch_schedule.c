// SPDX-License-Identifier: Apache-2.0
// Which range read starts next. Ranges wait at their image, in two classes: those that a reader waits
// for, and those that run ahead. Images of one origin (a registry's host, a layout) take turns, readers
// first. An image may always have a few reads under way, whatever others do: one whose source is dead
// fills its own share and nobody else's.
#include "daemon/fetch_internal.h"

#include <assert.h>
#include <stddef.h>

enum { DEMANDED, BACKGROUND };

struct tarn_fetch_origin {
    struct tarn_fetch_origin *next;
    unsigned transfers;
    uint64_t users; // ranges that wait or are under way
    bool registry;
    struct tarn_node_image *first; // images with ranges that wait, in turn
    struct tarn_node_image *last;
    char name[];
};

static const char registry[] = "docker://";

static bool of_registry(const char *name)
{
    return strncmp(name, registry, sizeof registry - 1) == 0;
}

// "docker://HOST" of a repository of a registry, else all of its name.
static size_t origin_length(const char *name)
{
    if (!of_registry(name))
        return strlen(name);
    return sizeof registry - 1 + strcspn(name + sizeof registry - 1, "/");
}

static struct tarn_fetch_origin *get_origin(struct tarn_fetch *fetch, const char *name)
{
    const size_t length = origin_length(name);
    struct tarn_fetch_origin *origin = fetch->origins;
    while (origin && (strlen(origin->name) != length || memcmp(origin->name, name, length) != 0))
        origin = origin->next;
    if (origin)
        return origin;
    origin = calloc(1, sizeof *origin + length + 1);
    if (!origin)
        return NULL;
    memcpy(origin->name, name, length);
    origin->registry = of_registry(name);
    origin->next = fetch->origins;
    fetch->origins = origin;
    return origin;
}

static void put_origin(struct tarn_fetch *fetch, struct tarn_fetch_origin *origin)
{
    if (--origin->users > 0)
        return;
    struct tarn_fetch_origin **at = &fetch->origins;
    while (*at != origin)
        at = &(*at)->next;
    *at = origin->next;
    free(origin);
}

static bool waits(const struct tarn_node_image *image)
{
    return image->queue.first[DEMANDED] || image->queue.first[BACKGROUND];
}

static void add_image(struct tarn_fetch_origin *origin, struct tarn_node_image *image)
{
    image->queue.next = NULL;
    if (origin->last)
        origin->last->queue.next = image;
    else
        origin->first = image;
    origin->last = image;
}

static struct tarn_node_image *take_image(struct tarn_fetch_origin *origin)
{
    struct tarn_node_image *image = origin->first;
    origin->first = image->queue.next;
    if (!origin->first)
        origin->last = NULL;
    return image;
}

static void append(struct tarn_image_queue *queue, struct tarn_fetch_range *range)
{
    const int kind = range->background ? BACKGROUND : DEMANDED;
    range->next = NULL;
    if (queue->last[kind])
        queue->last[kind]->next = range;
    else
        queue->first[kind] = range;
    queue->last[kind] = range;
}

int tarn_range_enqueue(struct tarn_fetch_range *range)
{
    struct tarn_node_image *image = range->image;
    struct tarn_fetch_origin *origin =
        get_origin(range->fetch, tarn_repository_name(image->repository));
    if (!origin)
        return -ENOMEM;
    origin->users++;
    range->origin = origin;
    if (!waits(image))
        add_image(origin, image);
    append(&image->queue, range);
    return 0;
}

void tarn_range_promote(struct tarn_fetch_range *range)
{
    if (!range->background || range->transfer)
        return;
    struct tarn_image_queue *queue = &range->image->queue;
    struct tarn_fetch_range *before = NULL;
    struct tarn_fetch_range *at = queue->first[BACKGROUND];
    for (; at && at != range; at = at->next)
        before = at;
    if (!at)
        return; // it is being started
    if (before)
        before->next = range->next;
    else
        queue->first[BACKGROUND] = range->next;
    if (queue->last[BACKGROUND] == range)
        queue->last[BACKGROUND] = before;
    range->background = false;
    append(queue, range);
}

static bool may_start(const struct tarn_fetch *fetch, const struct tarn_fetch_origin *origin,
                      const struct tarn_image_queue *queue, int kind)
{
    const bool background = kind == BACKGROUND;
    const unsigned sure = background ? 1 : TARN_FETCH_IMAGE_SURE;
    const unsigned spare = background ? TARN_FETCH_SPARE : 0;
    const unsigned most = origin->registry ? TARN_FETCH_IMAGE_TRANSFERS : TARN_FETCH_DISK_TRANSFERS;
    return queue->transfers < sure ||
           (origin->transfers + spare < TARN_FETCH_ORIGIN_TRANSFERS &&
            queue->transfers + spare < most && fetch->memory < TARN_FETCH_MEMORY);
}

static void start_first(struct tarn_node_image *image, int kind)
{
    struct tarn_image_queue *queue = &image->queue;
    struct tarn_fetch_range *range = queue->first[kind];
    queue->first[kind] = range->next;
    if (!queue->first[kind])
        queue->last[kind] = NULL;
    queue->transfers++;
    range->origin->transfers++;
    range->fetch->transfers++;
    tarn_range_start(range);
}

// Each image once; returns whether one was started.
static bool take_turns(struct tarn_fetch *fetch, struct tarn_fetch_origin *origin, int kind)
{
    bool started = false;
    struct tarn_node_image *const last = origin->last;
    for (bool more = last; more;) {
        struct tarn_node_image *image = take_image(origin);
        more = image != last;
        tarn_node_image_ref(image); // the range's may be the last
        const bool start =
            image->queue.first[kind] && may_start(fetch, origin, &image->queue, kind);
        if (start)
            start_first(image, kind);
        started |= start;
        if (waits(image))
            add_image(origin, image);
        tarn_node_image_unref(image);
    }
    return started;
}

void tarn_fetch_start_waiting(struct tarn_fetch *fetch)
{
    struct tarn_fetch_origin *next;
    for (struct tarn_fetch_origin *origin = fetch->origins; origin; origin = next) {
        origin->users++;
        while (take_turns(fetch, origin, DEMANDED) || take_turns(fetch, origin, BACKGROUND))
            ;
        next = origin->next;
        put_origin(fetch, origin);
    }
}

void tarn_range_ended(struct tarn_fetch_range *range)
{
    assert(range->image->queue.transfers > 0 && range->origin->transfers > 0);
    range->image->queue.transfers--;
    range->origin->transfers--;
    range->fetch->transfers--;
    put_origin(range->fetch, range->origin);
    range->origin = NULL;
}
