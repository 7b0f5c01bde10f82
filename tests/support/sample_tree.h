// SPDX-License-Identifier: Apache-2.0
// A merged tree made by hand, with the data spaces that its files point into, for tests. What
// fails here aborts the test.
#ifndef TARN_TEST_SAMPLE_TREE_H
#define TARN_TEST_SAMPLE_TREE_H

#include "base/buf.h"
#include "format/erofs_writer.h"
#include "format/tree.h"

enum { TARN_SAMPLE_CHAIN = 160 };

struct tarn_sample {
    struct tarn_tree *tree;
    uint32_t chain;                            // blobs
    struct tarn_buf spaces[TARN_SAMPLE_CHAIN]; // data space of each
    struct tarn_digest digests[TARN_SAMPLE_CHAIN];
    // Filled by tarn_sample_plan().
    uint32_t slots[TARN_SAMPLE_CHAIN];
    struct tarn_erofs_device devices[TARN_SAMPLE_CHAIN];
    struct tarn_erofs_plan plan;
};

// A root directory of mode 0755 and chain blobs without data.
struct tarn_sample *tarn_sample_new(uint32_t chain);
void tarn_sample_free(struct tarn_sample *sample);
TARN_DEFINE_CLEANUP(struct tarn_sample, tarn_sample_free)

// The node `name` below parent, with a new inode of this mode. The name is a C string.
struct tarn_node *tarn_sample_add(struct tarn_sample *sample, struct tarn_node *parent,
                                  const char *name, uint32_t mode);
// A symbolic link; target is borrowed.
void tarn_sample_symlink_to(struct tarn_sample *sample, struct tarn_node *parent, const char *name,
                            const char *target);
// A further name of an inode.
void tarn_sample_link(struct tarn_sample *sample, struct tarn_node *parent, const char *name,
                      struct tarn_inode *inode);
// A symbolic link with a made-up target of this length.
void tarn_sample_symlink(struct tarn_sample *sample, struct tarn_node *parent, const char *name,
                         size_t length);

// A regular file of this size, all zeros but for length bytes at offset; its data goes to the
// space of the blob holder.
struct tarn_shape {
    uint64_t size;
    uint64_t offset;
    uint64_t length;
    uint32_t holder;
};
struct tarn_node *tarn_sample_file(struct tarn_sample *sample, struct tarn_node *parent,
                                   const char *name, struct tarn_shape shape);

void tarn_sample_xattrs(struct tarn_sample *sample, struct tarn_node *node,
                        const struct tarn_xattr *items, uint32_t count);

// Every case that is known to be delicate.
void tarn_sample_fill(struct tarn_sample *sample);
// A file of 17 GiB that is nearly all hole, one of 150 MiB, a directory of 300,000 entries.
void tarn_sample_fill_large(struct tarn_sample *sample);

// A sample of two blobs with about one inode of each kind, a directory of 400 entries among them.
struct tarn_sample *tarn_sample_small(void);

// Sorts the tree and fills plan: slots for the blobs that are pointed into.
void tarn_sample_plan(struct tarn_sample *sample);
// The image of it all.
void tarn_sample_image(struct tarn_sample *sample, struct tarn_buf *out);

#endif
