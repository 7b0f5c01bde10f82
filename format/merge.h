// SPDX-License-Identifier: Apache-2.0
// One layer's own tree onto the merged tree of the layers below (section 8). Linear in the size of
// the layer, not of the merged tree.
#ifndef TARN_FORMAT_MERGE_H
#define TARN_FORMAT_MERGE_H

#include "format/tree.h"

// A merged tree of no layers: the root directory, 0755, 0:0, time 0. NULL when out of memory.
struct tarn_tree *tarn_merge_new(void);

// Applies the own tree (sorted; contents placed) to merged. Everything that is kept is copied into
// merged's arena, so layer may be freed. -EINVAL, naming the entry: a lower link to nothing or to a
// directory, a loop of symbolic links, a path that becomes too long. merged is then unusable.
int tarn_merge_layer(struct tarn_tree *merged, const struct tarn_tree *layer,
                     struct tarn_err *err) tarn_must_check;

#endif
