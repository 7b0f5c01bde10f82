// SPDX-License-Identifier: Apache-2.0
// A directory against a merged tree: every name, attribute and byte.
#ifndef TARN_TEST_COMPARE_TREE_H
#define TARN_TEST_COMPARE_TREE_H

#include "base/err.h"
#include "format/tree.h"

enum tarn_compare {
    TARN_COMPARE_XATTRS = 1,
    TARN_COMPARE_TIMES = 2,
    TARN_COMPARE_LINKS = 4,  // link counts, and names of one inode have one inode number
    TARN_COMPARE_SETUID = 8, // and setgid
    TARN_COMPARE_HOLES = 16, // files with holes
    TARN_COMPARE_ALL = 31,
};

// 0, or -1 with the first difference in err. Uses the index of the tree's inodes.
int tarn_compare_tree(const struct tarn_tree *tree, const char *directory, unsigned what,
                      struct tarn_err *err) tarn_must_check;

#endif
