// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <stdarg.h>

void tarn_log(enum tarn_log_level level, const char *format, ...)
{
    static const char *const names[] = { "error", "warning", "info" };
    static const int priorities[] = { 3, 4, 6 };
    char line[1200];
    int n = getenv("JOURNAL_STREAM") ? snprintf(line, sizeof line, "<%d>", priorities[level])
                                     : snprintf(line, sizeof line, "%s: ", names[level]);
    va_list args;
    va_start(args, format);
    const int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    n = m < 0 ? n : n + m;
    if ((size_t)n > sizeof line - 2)
        n = sizeof line - 2;
    // A name with a line feed would begin a line of its own.
    for (int i = 0; i < n; i++)
        if ((unsigned char)line[i] < ' ')
            line[i] = '?';
    line[n++] = '\n';
    // Nobody could be told of a failure to log.
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return;
}
