// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "converter/placement.h"

enum {
    LIBRARY = TARN_PLACEMENT_LIBRARY,
    BYTECODE = TARN_PLACEMENT_BYTECODE,
    JAVASCRIPT = TARN_PLACEMENT_JAVASCRIPT,
    PYTHON = TARN_PLACEMENT_PYTHON,
    OTHER = TARN_PLACEMENT_OTHER,
    RARE = TARN_PLACEMENT_RARE,
};

static const struct {
    const char *path;
    int rank;
    const char *extension; // of a rare one
} cases[] = {
    { "usr/lib/libc.so", LIBRARY, "" },
    { "usr/lib/libc.so.6", LIBRARY, "" },
    { "usr/lib/libstdc++.so.6.0.30", LIBRARY, "" },
    { "lib/x.cpython-311-x86_64-linux-gnu.so", LIBRARY, "" },
    { "build/Release/sqlite3.node", LIBRARY, "" },
    { "usr/lib/libc.so.6.bak", OTHER, "" },
    { "usr/lib/libc.so.6-gdb.py", PYTHON, "" },
    { "usr/lib/libcso.6", OTHER, "" },
    { "so.6", OTHER, "" },
    { "6", OTHER, "" },
    { ".so.6", LIBRARY, "" },
    { ".so", OTHER, "" }, // a name, no extension
    { "lib/__pycache__/os.cpython-311.pyc", BYTECODE, "" },
    { "app/index.js", JAVASCRIPT, "" },
    { "app/index.cjs", JAVASCRIPT, "" },
    { "app/index.mjs", JAVASCRIPT, "" },
    { "app/package.json", JAVASCRIPT, "" },
    { "app/.package-lock.json", JAVASCRIPT, "" },
    { "lib/os.py", PYTHON, "" },
    { "lib/OS.PY", PYTHON, "" },
    { "bin/ls", OTHER, "" },
    { "etc/passwd", OTHER, "" },
    { "a.b/c", OTHER, "" },
    { "py", OTHER, "" },
    { "x.", OTHER, "" },
    { "", OTHER, "" },
    { "usr/include/node/node.h", RARE, "h" },
    { "x/index.d.ts", RARE, "ts" },
    { "x/index.js.map", RARE, "map" },
    { "x/guide.MD", RARE, "MD" },
    { "var/lib/dpkg/x.postinst", RARE, "postinst" },
    { "usr/share/doc/bash/copyright", RARE, "" },
    { "usr/share/doc/x/run.py", RARE, "py" },
    { "numpy/tests/x.so.1", RARE, "1" },
    { "Docs/.hidden", RARE, "" },
    { "usr/share/common-licenses/GPL-3", RARE, "" },
    { "usr/share/common-licenses2/GPL-3", OTHER, "" },
    { "__tests__/a.js", RARE, "js" },
    { "a/__tests__/b/c.js", RARE, "js" },
    { "__tests__", OTHER, "" }, // no directory
    { "x__tests__/a.js", JAVASCRIPT, "" },
    { "x/LICENSE", RARE, "" },
    { "x/license-mit.json", RARE, "json" },
    { "x/ReadMe.first", RARE, "first" },
    { "CHANGELOG-2.0", RARE, "0" },
    { "x/NOTICE", RARE, "" },
    { "x/copyright", RARE, "" },
    { "x/unlicense", OTHER, "" },
    { "x/licens", OTHER, "" },
    { "x/a.h\xc3\xa4", OTHER, "" },
    { "x/a.a-very-long-extension-indeed", OTHER, "" },
    { "a-very-long-directory-name/tests/b", RARE, "" },
};

static void test_paths(void **state)
{
    (void)state;
    size_t failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = cases[i].path;
        const struct tarn_placement got = tarn_placement_of(path, strlen(path));
        const char *extension = path + strlen(path) - got.extension_length;
        if ((int)got.rank == cases[i].rank && strcmp(extension, cases[i].extension) == 0)
            continue;
        print_error("%s: want %d \"%s\", got %d \"%s\"\n", path, cases[i].rank, cases[i].extension,
                    (int)got.rank, extension);
        failed++;
    }
    assert_int_equal(failed, 0);
}

// What stands behind the path in memory does not count.
static void test_not_terminated(void **state)
{
    (void)state;
    assert_int_equal(tarn_placement_of("lib/os.pyc", 9).rank, TARN_PLACEMENT_PYTHON);
    assert_int_equal(tarn_placement_of("lib/os.pyc", 7).rank, TARN_PLACEMENT_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_not_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
