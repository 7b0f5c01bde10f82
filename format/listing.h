// SPDX-License-Identifier: Apache-2.0
// The canonical listing of a merged tree and its SHA-256, the tree digest (section 8).
#ifndef TARN_FORMAT_LISTING_H
#define TARN_FORMAT_LISTING_H

#include "format/tree.h"

// Sorts the tree. 0 or -ENOMEM.
int tarn_listing_digest(struct tarn_tree *merged, struct tarn_digest *digest) tarn_must_check;

#endif
