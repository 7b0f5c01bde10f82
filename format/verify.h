// SPDX-License-Identifier: Apache-2.0
// Proves that a bootstrap's tree is sound: for `tarn check`, and as the gate that fsck.erofs is
// not.
#ifndef TARN_FORMAT_VERIFY_H
#define TARN_FORMAT_VERIFY_H

#include "format/bootstrap.h"

// Walks the whole tree without recursion: order of names in and across blocks, `.` and `..`, entry
// types, every nid an inode of the tree, each directory reached once, link counts, inode count,
// reserved fields, layouts, chunk formats, extents inside their devices, xattr headers, filters and
// order, inline tails inside a block, symlink lengths, and the totals of the image section.
// -EUCLEAN with the first broken rule and its offset
// in the bootstrap.
int tarn_verify_tree(const struct tarn_bootstrap *bootstrap, struct tarn_err *err) tarn_must_check;

#endif
