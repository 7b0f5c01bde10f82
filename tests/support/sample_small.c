// SPDX-License-Identifier: Apache-2.0
// A small tree with one of each kind of inode, for damage and for the fuzzer's seed.
#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/sample_tree.h"

static void add_xattrs(struct tarn_sample *sample, struct tarn_node *node, uint8_t own)
{
    static const uint8_t big[1100] = { 9 };
    const struct tarn_xattr items[] = {
        { "user.same", (const uint8_t *)"same", 4 },
        { "user.own", &own, 1 },
        { "user.mine", &own, 1 },
        { "trusted.big", big, sizeof big },
        { "security.x", (const uint8_t *)"xyz", 3 },
    };
    tarn_sample_xattrs(sample, node, items, 5);
}

struct tarn_sample *tarn_sample_small(void)
{
    struct tarn_sample *sample = tarn_sample_new(2);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    const uint64_t unit = TARN_UNIT_MIN;
    struct tarn_node *a = tarn_sample_add(sample, root, "a", S_IFDIR | 0755);
    tarn_sample_add(sample, a, "one", S_IFIFO | 0600);
    tarn_sample_add(sample, a, "two", S_IFDIR | 0700);
    tarn_sample_add(sample, root, "dev", S_IFCHR | 0600)->inode->minor = 3;
    tarn_sample_file(sample, root, "file", (struct tarn_shape){ 5000, 0, 5000, 0 });
    tarn_sample_file(sample, root, "holes", (struct tarn_shape){ 6 * unit, unit, 3 * unit, 1 });
    struct tarn_node *hard =
        tarn_sample_file(sample, root, "h1", (struct tarn_shape){ 9, 0, 9, 0 });
    tarn_sample_link(sample, root, "h2", hard->inode);
    tarn_sample_symlink(sample, root, "link", 10);
    tarn_sample_symlink(sample, root, "long", 4090);
    struct tarn_node *many = tarn_sample_add(sample, root, "many", S_IFDIR | 0755);
    for (int i = 0; i < 400; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "entry-%03d", i);
        tarn_sample_add(sample, many, name, S_IFIFO | 0600);
    }
    tarn_sample_add(sample, root, "own", S_IFIFO | 0600)->inode->uid = 70000;
    add_xattrs(sample, tarn_sample_add(sample, root, "x1", S_IFDIR | 0700), 1);
    add_xattrs(sample, tarn_sample_add(sample, root, "x2", S_IFDIR | 0700), 2);
    tarn_sample_file(sample, root, "zero", (struct tarn_shape){ 0, 0, 0, 0 });
    return sample;
}
