// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// What tarn_log() writes to stderr.
static void logged(const char *text, char *line, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const int kept = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    tarn_log(TARN_LOG_WARNING, "%s", text);
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    close(ends[1]);
    const ssize_t n = read(ends[0], line, size - 1);
    assert_true(n >= 0);
    line[n] = '\0';
    close(ends[0]);
}

static void test_one_line(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    char line[4096];
    logged("a\nerror: b\tc\x1b[m \xc3\xa9", line, sizeof line);
    assert_string_equal(line, "warning: a?error: b?c?[m \xc3\xa9\n");
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    logged(text, line, sizeof line);
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_true(strlen(line) > 1000 && strlen(line) < sizeof text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
