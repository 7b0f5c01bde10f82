// SPDX-License-Identifier: Apache-2.0
// The xattrs of an image that is being written: which ones are shared, and the bytes of both kinds
// (section 9). First every inode's set is added, in inode order, then the plan is closed, then
// lengths are known and bytes are written.
#ifndef TARN_FORMAT_EROFS_XATTR_PLAN_H
#define TARN_FORMAT_EROFS_XATTR_PLAN_H

#include "format/erofs.h"
#include "format/tree.h"

struct tarn_erofs_xattr_plan;

struct tarn_erofs_xattr_plan *tarn_erofs_xattr_plan_new(void); // NULL when out of memory
void tarn_erofs_xattr_plan_free(struct tarn_erofs_xattr_plan *plan);
TARN_DEFINE_CLEANUP(struct tarn_erofs_xattr_plan, tarn_erofs_xattr_plan_free)

// Notes that one more inode has this set (borrowed). *number: from 1, equal for equal pointers.
// -EINVAL for an xattr that EROFS cannot hold.
int tarn_erofs_xattr_plan_add(struct tarn_erofs_xattr_plan *plan, const struct tarn_xattr_set *set,
                              uint32_t *number, struct tarn_err *err) tarn_must_check;

// Decides what is shared and where it lies. -ENOTSUP if the shared area would pass 16 GiB.
int tarn_erofs_xattr_plan_close(struct tarn_erofs_xattr_plan *plan,
                                struct tarn_err *err) tarn_must_check;

// Bytes behind an inode with this set; the caller checks TARN_EROFS_XATTR_INLINE_MAX.
uint64_t tarn_erofs_xattr_plan_inline(const struct tarn_erofs_xattr_plan *plan, uint32_t number);
// Bytes of the shared area.
uint64_t tarn_erofs_xattr_plan_shared(const struct tarn_erofs_xattr_plan *plan);

// Write exactly the bytes that the two functions above count, to memory that holds zeros.
void tarn_erofs_xattr_plan_write_inline(const struct tarn_erofs_xattr_plan *plan, uint32_t number,
                                        uint8_t *out);
void tarn_erofs_xattr_plan_write_shared(const struct tarn_erofs_xattr_plan *plan, uint8_t *out);

#endif
