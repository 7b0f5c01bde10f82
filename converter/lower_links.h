// SPDX-License-Identifier: Apache-2.0
// Where in an archive a layer's hard links to lower layers must stand.
//
// Whoever reads an archive looks for a link's target in what the layer has brought so far, and only then
// below. So one name of a lower link (struct tarn_inode: all its names have one target) must stand
// before the name that its target is, if the layer itself has that too; the others may be links to
// this one.
#ifndef TARN_CONVERTER_LOWER_LINKS_H
#define TARN_CONVERTER_LOWER_LINKS_H

#include "base/buf.h"
#include "base/err.h"
#include "format/tree.h"

// Appends to out, as struct tarn_node *, all names of lower links and the directories on the way to
// them, in such an order, otherwise in canonical order. Nothing if there are none. tree: an own tree,
// sorted, its index there; the index fields of its inodes must be 0, and are again. -ENOTSUP where no
// order will do.
int tarn_lower_links_order(struct tarn_tree *tree, struct tarn_buf *out,
                           struct tarn_err *err) tarn_must_check;

bool tarn_node_is_lower_link(const struct tarn_node *node);

#endif
