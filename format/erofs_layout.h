// SPDX-License-Identifier: Apache-2.0
// Where everything of an image that is being written lies (section 9): computed before the first
// byte is written.
#ifndef TARN_FORMAT_EROFS_LAYOUT_H
#define TARN_FORMAT_EROFS_LAYOUT_H

#include "format/erofs_writer.h"
#include "format/erofs_xattr_plan.h"

// One inode. tarn_inode.index is its number, from 1.
struct tarn_erofs_place {
    const struct tarn_node *node; // its first name
    uint64_t offset;              // in the image
    uint64_t size;
    uint64_t data_block; // counted from the data area's start
    uint32_t nlink;
    uint32_t xattrs; // set of the xattr plan, 0: none
    uint8_t layout;
    bool extended;
};

struct tarn_erofs_layout {
    struct tarn_erofs_place *places; // owned; in inode order
    uint32_t count;
    struct tarn_erofs_xattr_plan *xattrs; // owned
    int64_t epoch;
    uint32_t epoch_ns;
    uint64_t xattr_block; // 0: no shared xattrs
    uint64_t data_start;  // first block of the data area
    uint64_t blocks;      // of the image
};

// Plans the image of a sorted tree. Errors as tarn_erofs_write().
int tarn_erofs_layout_make(struct tarn_tree *tree, const struct tarn_erofs_plan *plan,
                           struct tarn_erofs_layout *layout, struct tarn_err *err) tarn_must_check;
void tarn_erofs_layout_release(struct tarn_erofs_layout *layout);

// Bytes of an inode with its xattrs; what it has behind that.
uint64_t tarn_erofs_place_head(const struct tarn_erofs_layout *layout,
                               const struct tarn_erofs_place *place);
// Blocks in the data area; bytes in an inline tail.
uint64_t tarn_erofs_place_blocks(const struct tarn_erofs_place *place);
uint64_t tarn_erofs_place_tail(const struct tarn_erofs_place *place);

// A file's chunk: log2 of its blocks, and how many indexes there are.
unsigned tarn_erofs_chunk_bits(const struct tarn_content *content);
uint64_t tarn_erofs_chunk_count(const struct tarn_content *content);

#endif
