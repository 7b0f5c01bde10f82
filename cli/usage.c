// SPDX-License-Identifier: Apache-2.0
#include "cli/usage.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

// Control characters, those of two bytes in UTF-8 too: the words may come from an image or a registry, and
// are not to reach the terminal as commands.
static void print_safely(FILE *file, const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)text[0];
        const unsigned char next = (unsigned char)text[1];
        const bool control = c < ' ' || c == 0x7f;
        const bool control_in_utf8 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        fputc(control || control_in_utf8 ? '?' : c, file);
        text += control_in_utf8;
    }
}

int tarn_cli_fail(const struct tarn_err *err)
{
    fflush(stdout);
    fputs("tarn: ", stderr);
    print_safely(stderr, err->text[0] ? err->text : "failed without a reason");
    fputc('\n', stderr);
    return TARN_EXIT_FAILED;
}

int tarn_cli_usage(const char *usage, const char *wrong, ...)
{
    if (!wrong) {
        fputs(usage, stdout);
        return tarn_cli_finish(TARN_EXIT_OK);
    }
    char *text = NULL;
    va_list args;
    va_start(args, wrong);
    const int length = vasprintf(&text, wrong, args);
    va_end(args);
    fputs("tarn: ", stderr);
    print_safely(stderr, length < 0 ? wrong : text);
    fprintf(stderr, "\n%s", usage);
    if (length >= 0)
        free(text);
    return TARN_EXIT_USAGE;
}

int tarn_cli_wrong_option(const char *usage)
{
    fputs(usage, stderr);
    return TARN_EXIT_USAGE;
}

int tarn_cli_no_memory(void)
{
    fputs("tarn: out of memory\n", stderr);
    return TARN_EXIT_FAILED;
}

int tarn_cli_print_json(json_t *json)
{
    tarn_autofree char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(json);
    if (!text) {
        fputs("tarn: cannot print JSON: out of memory, or a name that is not UTF-8\n", stderr);
        return TARN_EXIT_FAILED;
    }
    puts(text);
    return tarn_cli_finish(TARN_EXIT_OK);
}

int tarn_cli_finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "tarn: cannot write to stdout: %s\n", strerror(errno));
    return TARN_EXIT_FAILED;
}

void tarn_cli_print_name(const char *name, size_t length)
{
    if (!isatty(STDOUT_FILENO)) {
        fwrite(name, 1, length, stdout);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)name[i];
        if (c >= ' ' && c < 127)
            putchar(c);
        else
            printf("\\x%02x", c);
    }
}

int tarn_cli_number(const char *text, long low, long high, long *value)
{
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < low || number > high)
        return -EINVAL;
    *value = number;
    return 0;
}
