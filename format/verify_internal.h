// SPDX-License-Identifier: Apache-2.0
// What the parts of the verifier share. The layout of an image is a function of its tree, so the
// verifier walks the tree in inode order and knows where each next thing must lie: whatever lies
// elsewhere, overlaps, or is used by nobody, is found.
#ifndef TARN_FORMAT_VERIFY_INTERNAL_H
#define TARN_FORMAT_VERIFY_INTERNAL_H

#include "format/verify.h"

struct tarn_verify {
    const struct tarn_bootstrap *bootstrap;
    const struct tarn_erofs *erofs;
    struct tarn_err *err;
    uint32_t *links;       // by nid: names so far; 0: not reached yet
    uint8_t *shared;       // by id, a bit: a shared xattr begins here
    uint8_t *slots;        // by slot: some file lies in it
    uint64_t inodes;       // so far
    uint64_t inodes_end;   // of the last inode and what hangs on it, in the image
    uint64_t data_start;   // first block of the data area; 0: not known yet
    uint64_t data_next;    // the next inode's first block
    uint64_t shared_bytes; // of shared xattrs so far
    uint64_t names;
    uint64_t file_bytes;
};

// "bootstrap offset OFFSET: ..." with -EUCLEAN.
int tarn_verify_broken(const struct tarn_verify *verify, uint64_t offset, const char *format, ...)
    tarn_printf(3, 4);

// An inode that is reached for the first time: its place, number, fields, xattrs and contents; but
// not the names of a directory.
int tarn_verify_inode(struct tarn_verify *verify, uint64_t nid,
                      struct tarn_erofs_inode *inode) tarn_must_check;
int tarn_verify_xattrs(struct tarn_verify *verify,
                       const struct tarn_erofs_inode *inode) tarn_must_check;

// The names of a directory below parent_nid; reaches the inodes that are new.
int tarn_verify_directory(struct tarn_verify *verify, const struct tarn_erofs_inode *directory,
                          uint64_t parent_nid) tarn_must_check;

#endif
