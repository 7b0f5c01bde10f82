// SPDX-License-Identifier: Apache-2.0
// Directories; the rest of base/file.h is tested through what uses it.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"

static const char *const names[] = {
    "index.json",     "index.json.1.tmp", "index.json.22.tmp", "index.json..tmp", "index.json.3",
    "index.json.tmp", "index.jsontmp",    "other.4.tmp",       "index.json.5.",   ".tmp",
};
enum { NAMES = sizeof names / sizeof names[0] };

static char *make_place(int *directory)
{
    char *path = strdup("/tmp/tarn-file-XXXXXX");
    assert_non_null(mkdtemp(path));
    *directory = open(path, O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < NAMES; i++)
        assert_int_equal(tarn_file_replace_unsynced(*directory, names[i], "x", 1, NULL), 0);
    return path;
}

static void remove_place(char *path, int directory)
{
    close(directory);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, path, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    free(path);
}

static void test_sweep(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        const char *left[NAMES];
    } cases[] = {
        { "index.json.",
          { "index.json", "index.json..tmp", "index.json.3", "index.json.tmp", "index.jsontmp",
            "other.4.tmp", "index.json.5.", ".tmp" } },
        { "", { "index.json", "index.json.3", "index.jsontmp", "index.json.5.", ".tmp" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int directory;
        char *path = make_place(&directory);
        tarn_file_sweep(directory, cases[i].prefix);
        for (size_t k = 0; k < NAMES; k++) {
            bool want = false;
            for (const char *const *left = cases[i].left; *left; left++)
                want |= strcmp(*left, names[k]) == 0;
            if ((faccessat(directory, names[k], F_OK, 0) == 0) != want)
                fail_msg("prefix '%s': want %s %s", cases[i].prefix, names[k],
                         want ? "kept" : "removed");
        }
        remove_place(path, directory);
    }
}

// The caller's descriptor stays as it was.
static void test_directory_open(void **state)
{
    (void)state;
    int directory;
    char *path = make_place(&directory);
    for (int round = 0; round < 2; round++) {
        tarn_autodir DIR *entries = NULL;
        assert_int_equal(tarn_directory_open(directory, &entries), 0);
        size_t count = 0;
        while (readdir(entries))
            count++;
        assert_int_equal(count, NAMES + 2);
    }
    DIR *none = NULL;
    tarn_autoclose int file = openat(directory, names[0], O_RDONLY);
    assert_int_equal(tarn_directory_open(file, &none), -ENOTDIR);
    assert_null(none);
    assert_int_equal(tarn_directory_open(-1, &none), -EBADF);
    remove_place(path, directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_directory_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
