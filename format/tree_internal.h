// SPDX-License-Identifier: Apache-2.0
// What the files of the tree module share. Nobody else includes this.
#ifndef TARN_FORMAT_TREE_INTERNAL_H
#define TARN_FORMAT_TREE_INTERNAL_H

#include "base/map.h"
#include "format/tree.h"

struct tarn_tree {
    struct tarn_arena *arena;
    // NULL after tarn_tree_drop_index():
    struct tarn_map *nodes;    // by parent and name, the root excluded
    struct tarn_map *sets;     // xattr sets by all that is in them
    struct tarn_map *contents; // by identity
    struct tarn_node *root;    // in the arena
    uint64_t count;            // nodes, the root included
    uint64_t joined;           // bytes of the sets that tarn_tree_join_xattrs() made
    bool sorted;               // nothing was added since the last sort
};

#endif
