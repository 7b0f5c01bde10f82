// SPDX-License-Identifier: Apache-2.0
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "daemon/library_search.h"
#include "tests/support/sample_tree.h"

static int search(const struct tarn_erofs *erofs, const char *runpath, const char *name,
                  unsigned *names)
{
    struct tarn_elf_needs needs = { .machine = EM_X86_64 };
    struct tarn_erofs_inode inode;
    assert_int_equal(tarn_buf_append(&needs.runpath, runpath, strlen(runpath) + 1), 0);
    const int ret = tarn_library_search(erofs, &needs, name, names, &inode);
    tarn_elf_needs_release(&needs);
    return ret;
}

// Links that each lead through as many names as fit, and then to the next.
static void test_maze(void **state)
{
    (void)state;
    enum { LINKS = 10, LENGTH = 4000 };
    char targets[LINKS][LENGTH + 8];
    char names_of[LINKS][8];
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    struct tarn_node *root = tarn_tree_root(sample->tree);
    struct tarn_node *lib = tarn_sample_add(sample, root, "lib", S_IFDIR | 0755);
    tarn_sample_file(sample, lib, "right.so", (struct tarn_shape){ .size = 0 });
    for (size_t i = 0; i < LINKS; i++) {
        for (size_t k = 0; k < LENGTH; k += 8)
            memcpy(targets[i] + k, "/lib/../", 8);
        snprintf(targets[i] + LENGTH, 8, "m%zu", i + 1);
        snprintf(names_of[i], 8, "m%zu", i);
        tarn_sample_symlink_to(sample, root, names_of[i], targets[i]);
    }
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_image(sample, &image);
    struct tarn_erofs erofs;
    assert_int_equal(tarn_erofs_open(image.data, image.length, &erofs, NULL), 0);
    unsigned names = 100;
    assert_int_equal(search(&erofs, "/opt:$ORIGIN/x:relative", "right.so", &names), 0);
    assert_in_range(names, 80, 99);
    names = 2500;
    assert_int_equal(search(&erofs, "/m0:/m0:/m0:/m0", "right.so", &names), -ENOENT);
    assert_int_equal(names, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_maze) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
