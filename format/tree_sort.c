// SPDX-License-Identifier: Apache-2.0
// Merge sort of the sibling lists, from the runs that are there already: a list that is in order,
// or in the reverse of it as reading a sorted listing leaves it, takes one pass.
#include "format/tree_internal.h"

#include <string.h>

// Place i holds a sorted list of about 2^i runs; a directory has at most 2^31 names.
enum { PLACES = 32 };

static bool before(const struct tarn_node *a, const struct tarn_node *b)
{
    const int order = memcmp(a->name, b->name, a->length < b->length ? a->length : b->length);
    return order != 0 ? order < 0 : a->length < b->length;
}

static struct tarn_node *merge(struct tarn_node *a, struct tarn_node *b)
{
    struct tarn_node *first = NULL;
    struct tarn_node **end = &first;
    while (a && b) {
        struct tarn_node **lower = before(b, a) ? &b : &a;
        *end = *lower;
        end = &(*lower)->next;
        *lower = *end;
    }
    *end = a ? a : b;
    return first;
}

// Cuts the first run off, ascending; *rest gets what follows.
static struct tarn_node *take_run(struct tarn_node *list, struct tarn_node **rest)
{
    struct tarn_node *last = list;
    if (last->next && before(last->next, last)) {
        struct tarn_node *run = NULL;
        struct tarn_node *next = list;
        do {
            struct tarn_node *node = next;
            next = node->next;
            node->next = run;
            run = node;
        } while (next && before(next, run));
        *rest = next;
        return run;
    }
    while (last->next && before(last, last->next))
        last = last->next;
    *rest = last->next;
    last->next = NULL;
    return list;
}

static void sort_children(struct tarn_node *directory)
{
    struct tarn_node *places[PLACES] = { NULL };
    for (struct tarn_node *rest = directory->child; rest;) {
        struct tarn_node *run = take_run(rest, &rest);
        int i = 0;
        for (; i < PLACES - 1 && places[i]; i++) {
            run = merge(places[i], run);
            places[i] = NULL;
        }
        places[i] = merge(places[i], run);
    }
    struct tarn_node *sorted = NULL;
    for (int i = 0; i < PLACES; i++)
        sorted = merge(places[i], sorted);
    directory->child = sorted;
    struct tarn_node *previous = NULL;
    for (struct tarn_node *node = sorted; node; node = node->next) {
        node->previous = previous;
        previous = node;
    }
}

void tarn_tree_sort(struct tarn_tree *tree)
{
    if (tree->sorted)
        return;
    for (struct tarn_node *node = tree->root; node; node = tarn_tree_next(node))
        if (node->child && node->child->next)
            sort_children(node);
    tree->sorted = true;
}

struct tarn_node *tarn_tree_next(const struct tarn_node *node)
{
    if (node->child)
        return node->child;
    while (node && !node->next)
        node = node->parent;
    return node ? node->next : NULL;
}
