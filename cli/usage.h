// SPDX-License-Identifier: Apache-2.0
// What the commands print in common: errors, usage and JSON.
#ifndef TARN_CLI_USAGE_H
#define TARN_CLI_USAGE_H

#include "base/err.h"
#include "base/json.h"

enum { TARN_EXIT_OK = 0, TARN_EXIT_FAILED = 1, TARN_EXIT_USAGE = 2 };

// "tarn: text" to stderr. Returns TARN_EXIT_FAILED.
int tarn_cli_fail(const struct tarn_err *err);

// For arguments: explains what is wrong (NULL: nothing, help was asked for) and prints the usage text,
// to stderr or, for help, to stdout. Returns TARN_EXIT_USAGE or TARN_EXIT_OK.
int tarn_cli_usage(const char *usage, const char *wrong, ...) tarn_printf(2, 3);

// The same after getopt_long() has told what is wrong.
int tarn_cli_wrong_option(const char *usage);

// For a failed allocation where there is no struct tarn_err. Returns TARN_EXIT_FAILED.
int tarn_cli_no_memory(void);

// Prints the document, which it takes over, with sorted keys and a newline; for people indented.
// Returns the exit status: NULL (out of memory) and write errors fail.
int tarn_cli_print_json(json_t *json);

// Flushes stdout and tells a failed write. Returns status, or TARN_EXIT_FAILED.
int tarn_cli_finish(int status);

// A name as it is, or with all but printable ASCII as \xNN for a terminal. To stdout.
void tarn_cli_print_name(const char *name, size_t length);

// A number between low and high from an option's text. -EINVAL.
int tarn_cli_number(const char *text, long low, long high, long *value) tarn_must_check;

#endif
