// SPDX-License-Identifier: Apache-2.0
// A merged tree to an EROFS image, byte for byte as section 9 says.
#ifndef TARN_FORMAT_EROFS_WRITER_H
#define TARN_FORMAT_EROFS_WRITER_H

#include "base/buf.h"
#include "format/tree.h"

// One device per pointed-into blob, in slot order.
struct tarn_erofs_device {
    struct tarn_digest digest;
    uint64_t data_length;
};

struct tarn_erofs_plan {
    const struct tarn_erofs_device *devices;
    uint32_t device_count;
    const uint32_t *slots; // for each chain index its slot, 0: none
    uint32_t chain_count;
    struct tarn_digest tree_digest; // for the uuid
};

// Appends the image to out (empty before). tree must be sorted. -EINVAL naming what EROFS cannot
// hold, -ENOMEM. *inode_count: inodes written.
int tarn_erofs_write(struct tarn_tree *tree, const struct tarn_erofs_plan *plan,
                     struct tarn_buf *out, uint64_t *inode_count,
                     struct tarn_err *err) tarn_must_check;

#endif
