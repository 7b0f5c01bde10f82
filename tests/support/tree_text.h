// SPDX-License-Identifier: Apache-2.0
// Trees for tests, written as text, one entry a line; read and printed in the same form:
//   d PATH            directory, mode 755        f PATH TEXT    file of these bytes, mode 644
//   l PATH TARGET     symbolic link, mode 777    h PATH TARGET  hard link
//   c PATH MAJOR:MINOR  character device, b: block device       p PATH  fifo, mode 644
//   w PATH            whiteout                   o PATH         opaque directory
// then any of m=OCTAL u=UID g=GID t=SECONDS x=NAME:VALUE (several). "/" is the root, "-" an empty TEXT.
#ifndef TARN_TESTS_TREE_TEXT_H
#define TARN_TESTS_TREE_TEXT_H

#include "base/buf.h"
#include "format/tree.h"

// Applies the lines to an own tree, as section 6 says an archive's entries are. A line that the
// format refuses gives its error. Not sorted.
int tarn_test_tree_apply(struct tarn_tree *tree, const char *lines,
                         struct tarn_err *err) tarn_must_check;
// A merged tree in this form, sorted before; a further name of an inode is printed as h. Whiteouts
// and implicit directories ("i PATH") of own trees are shown too. NULL when out of memory; owned.
char *tarn_test_tree_print(struct tarn_tree *tree);

// NULL, or which invariant of tree.h does not hold. Uses the index of the inodes.
const char *tarn_test_tree_check(struct tarn_tree *tree);

// Section 8 word by word: each name's directory is looked up from the root.
int tarn_test_merge_naive(struct tarn_tree *merged, const struct tarn_tree *layer) tarn_must_check;

#endif
