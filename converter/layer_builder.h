// SPDX-License-Identifier: Apache-2.0
// A layer's entries, in archive order, to its own tree (docs/format.md, section 6). What archives and
// directories have in common: both deliver struct tarn_tar_entry.
#ifndef TARN_CONVERTER_LAYER_BUILDER_H
#define TARN_CONVERTER_LAYER_BUILDER_H

#include "converter/data_space.h"
#include "converter/tar_entry.h"

struct tarn_layer_builder;

// tree: a new one; spool: takes the contents; lower: the merged tree of the layers below, or NULL. All are
// borrowed. whiteouts: names with .wh. are whiteouts (archives), or names like others (directories).
// memory_limit: bytes that the tree may take before the last entry.
struct tarn_layer_builder_setup {
    struct tarn_tree *tree;
    struct tarn_spool *spool;
    const struct tarn_tree *lower;
    bool whiteouts;
    uint64_t memory_limit;
};
struct tarn_layer_builder *tarn_layer_builder_new(const struct tarn_layer_builder_setup *setup);
void tarn_layer_builder_free(struct tarn_layer_builder *builder);
TARN_DEFINE_CLEANUP(struct tarn_layer_builder, tarn_layer_builder_free)

// One entry: begin, for regular files data in ascending order, then end. Errors name the entry:
// -EINVAL for hostile ones, -ENOTSUP for what the format cannot hold, and those of the spool.
int tarn_layer_builder_begin(struct tarn_layer_builder *builder, const struct tarn_tar_entry *entry,
                             struct tarn_err *err) tarn_must_check;
int tarn_layer_builder_data(struct tarn_layer_builder *builder, uint64_t offset, const void *bytes,
                            size_t length, struct tarn_err *err) tarn_must_check;
int tarn_layer_builder_end(struct tarn_layer_builder *builder,
                           struct tarn_err *err) tarn_must_check;

// After the last entry, once: takes aufs' own files out.
void tarn_layer_builder_finish(struct tarn_layer_builder *builder);

// Xattrs of namespaces that Linux does not know were left out: how many.
uint64_t tarn_layer_builder_dropped_xattrs(const struct tarn_layer_builder *builder);

#endif
