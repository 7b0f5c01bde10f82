// SPDX-License-Identifier: Apache-2.0
// A layer's own tree as a plain tar again. What is made of that archive (docs/format.md, section 6) is
// the tree that was given: its names in canonical order, each with its whiteout before it and its
// opaque mark behind it; hard links behind the first name of their inode. Hard links to lower layers come
// first of all (lower_links.h).
#ifndef TARN_CONVERTER_LAYER_TAR_H
#define TARN_CONVERTER_LAYER_TAR_H

#include "converter/data_reader.h"
#include "converter/tar_writer.h"
#include "format/tree.h"

// tree: sorted, contents placed; the index fields of its inodes are overwritten. Equal trees give equal
// bytes. -ENOTSUP for a name that a layer cannot hold (".wh.*"), or for hard links to lower layers that
// no archive can say; else what the reader or the output says. All with the entry named.
int tarn_layer_tar_write(struct tarn_tree *tree, struct tarn_data_reader *data,
                         const struct tarn_tar_output *output,
                         struct tarn_err *err) tarn_must_check;

#endif
