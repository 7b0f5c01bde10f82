// SPDX-License-Identifier: Apache-2.0
// Each name waits for its directory, and for the lower links whose target it is; of those that wait for
// nothing the first in canonical order is next. What is written never makes another one wait, so that
// this finds an order if there is one.
#include "converter/lower_links.h"

#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/map.h"
#include "converter/tar_name.h"

// A name that is to be put in order.
struct step {
    struct tarn_node *node;
    size_t place; // in canonical order
    size_t waits; // for so many
    struct step *child;
    struct step *sibling;
};

// One inode of lower links.
struct target {
    struct step *hidden_by; // the step of the name that the target is, or NULL
    bool sought;            // it was looked for: once, the way may be long and the names many
    bool written;           // one of its names is
};

struct order {
    struct tarn_tree *tree;
    struct tarn_arena *arena;
    struct tarn_map *steps; // by node
    size_t step_count;
    struct tarn_buf targets; // of struct target, by the inode's index - 1
    struct tarn_buf ready;   // of struct step *: a heap, the least place on top
};

bool tarn_node_is_lower_link(const struct tarn_node *node)
{
    return node->inode && (node->inode->mode & S_IFMT) == 0;
}

static bool is_of_node(const void *key, const void *value)
{
    return ((const struct step *)value)->node == key;
}

static struct step *find_step(const struct order *order, const struct tarn_node *node)
{
    return tarn_map_get(order->steps, tarn_map_hash_address(node), node, is_of_node);
}

// --- what is to be ordered -----------------------------------------------------------------------

// A step for the node and each directory above it that has none.
static int add_steps(struct order *order, struct tarn_node *node)
{
    for (; node && !find_step(order, node); node = node->parent) {
        struct step *step = tarn_arena_alloc(order->arena, sizeof *step);
        if (!step || tarn_map_add(order->steps, tarn_map_hash_address(node), step) < 0)
            return -ENOMEM;
        step->node = node;
    }
    return 0;
}

static int add_target(struct order *order, struct tarn_inode *inode)
{
    static const struct target none;
    if (inode->index != 0)
        return 0;
    inode->index = (uint32_t)(order->targets.length / sizeof none) + 1;
    return tarn_buf_append(&order->targets, &none, sizeof none);
}

static struct target *target_of(const struct order *order, const struct tarn_node *node)
{
    return (struct target *)(void *)order->targets.data + (node->inode->index - 1);
}

// The own name that the target of a lower link is, or NULL.
static const struct tarn_node *find_own(const struct order *order, const struct tarn_inode *inode)
{
    const char *path = inode->target.bytes;
    const char *end = path + inode->target.length;
    const struct tarn_node *node = tarn_tree_root(order->tree);
    while (node && path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        const char *stop = slash ? slash : end;
        node = tarn_node_is_directory(node)
                   ? tarn_tree_child(order->tree, node, path, (size_t)(stop - path))
                   : NULL;
        path = slash ? slash + 1 : end;
    }
    return node && tarn_node_exists(node) ? node : NULL;
}

static int collect(struct order *order)
{
    for (struct tarn_node *node = tarn_tree_root(order->tree); node; node = tarn_tree_next(node))
        if (tarn_node_is_lower_link(node) &&
            (add_steps(order, node) < 0 || add_target(order, node->inode) < 0))
            return -ENOMEM;
    return 0;
}

// --- what waits for what -------------------------------------------------------------------------

static void hide(const struct order *order, const struct tarn_node *link)
{
    struct target *target = target_of(order, link);
    const struct tarn_node *own = target->sought ? NULL : find_own(order, link->inode);
    target->sought = true;
    struct step *step = own ? find_step(order, own) : NULL;
    if (!step)
        return; // what has no step comes behind all that have
    target->hidden_by = step;
    step->waits++;
}

static void connect(struct order *order)
{
    for (struct tarn_node *node = tarn_tree_root(order->tree); node; node = tarn_tree_next(node)) {
        struct step *step = find_step(order, node);
        if (!step)
            continue;
        step->place = order->step_count++;
        if (node->parent) {
            struct step *parent = find_step(order, node->parent);
            step->sibling = parent->child;
            parent->child = step;
            step->waits++;
        }
        if (tarn_node_is_lower_link(node))
            hide(order, node);
    }
}

// --- the heap ------------------------------------------------------------------------------------

static struct step **heap_of(const struct order *order)
{
    return (struct step **)(void *)order->ready.data;
}

static void swap(struct step **a, struct step **b)
{
    struct step *saved = *a;
    *a = *b;
    *b = saved;
}

static int push(struct order *order, struct step *step)
{
    if (tarn_buf_append(&order->ready, &step, sizeof step) < 0)
        return -ENOMEM;
    struct step **heap = heap_of(order);
    size_t i = order->ready.length / sizeof step - 1;
    for (; i > 0 && heap[i]->place < heap[(i - 1) / 2]->place; i = (i - 1) / 2)
        swap(&heap[i], &heap[(i - 1) / 2]);
    return 0;
}

static struct step *pop(struct order *order)
{
    struct step **heap = heap_of(order);
    struct step *top = heap[0];
    order->ready.length -= sizeof top;
    const size_t count = order->ready.length / sizeof top;
    heap[0] = heap[count];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; child++)
            if (heap[child]->place < heap[least]->place)
                least = child;
        if (least == i)
            return top;
        swap(&heap[i], &heap[least]);
        i = least;
    }
}

// --- the order -----------------------------------------------------------------------------------

static int wake(struct order *order, struct step *step)
{
    return --step->waits == 0 ? push(order, step) : 0;
}

// Lets go what waited for this one.
static int written(struct order *order, const struct step *step)
{
    int ret = 0;
    for (struct step *child = step->child; child && ret == 0; child = child->sibling)
        ret = wake(order, child);
    if (ret < 0 || !tarn_node_is_lower_link(step->node))
        return ret;
    struct target *target = target_of(order, step->node);
    if (target->written || !target->hidden_by)
        return 0;
    target->written = true;
    return wake(order, target->hidden_by);
}

static int fail_circle(const struct order *order, struct tarn_err *err)
{
    const struct tarn_node *node = tarn_tree_root(order->tree);
    while (node && !(tarn_node_is_lower_link(node) && !target_of(order, node)->written &&
                     target_of(order, node)->hidden_by))
        node = tarn_tree_next(node);
    tarn_autobuf struct tarn_buf path = { 0 };
    char quoted[TARN_TAR_QUOTED];
    if (node && tarn_node_path(node, &path) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    return tarn_fail(err, -ENOTSUP,
                     "entry %s: no archive can say this hard link: the layer replaces its target, "
                     "and the link needs what replaces it",
                     tarn_tar_quote(path.data, path.length, quoted));
}

static int run(struct order *order, struct tarn_buf *out, struct tarn_err *err)
{
    if (collect(order) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    struct step *root = find_step(order, tarn_tree_root(order->tree));
    if (!root)
        return 0;
    connect(order);
    size_t count = 0;
    int ret = root->waits == 0 ? push(order, root) : 0;
    while (ret == 0 && order->ready.length > 0) {
        const struct step *step = pop(order);
        ret = tarn_buf_append(out, &step->node, sizeof step->node);
        if (ret == 0)
            ret = written(order, step);
        count++;
    }
    if (ret < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    return count < order->step_count ? fail_circle(order, err) : 0;
}

int tarn_lower_links_order(struct tarn_tree *tree, struct tarn_buf *out, struct tarn_err *err)
{
    struct order order = { .tree = tree, .arena = tarn_arena_new(), .steps = tarn_map_new() };
    const int ret = order.arena && order.steps ? run(&order, out, err)
                                               : tarn_fail(err, -ENOMEM, "out of memory");
    for (struct tarn_node *node = tarn_tree_root(tree); node; node = tarn_tree_next(node))
        if (tarn_node_is_lower_link(node))
            node->inode->index = 0;
    tarn_arena_free(order.arena);
    tarn_map_free(order.steps);
    tarn_buf_release(&order.targets);
    tarn_buf_release(&order.ready);
    return ret;
}
