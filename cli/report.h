// SPDX-License-Identifier: Apache-2.0
// What ps and stats have in common.
#ifndef TARN_CLI_REPORT_H
#define TARN_CLI_REPORT_H

#include "base/json.h"

// Parses "[--json] [--root DIR]" and asks the daemon. Returns -1 with *report set (NULL: no daemon runs,
// which is no failure) and *json; else the command's exit status.
struct tarn_report_query {
    const char *op;
    const char *usage;
};
int tarn_report_ask(int argc, char **argv, const struct tarn_report_query *query, json_t **report,
                    int *json);

// Prints a text of a mount's, as tarn_cli_print_name() does; nothing where there is none.
void tarn_report_print(const json_t *mount, const char *key);

#endif
