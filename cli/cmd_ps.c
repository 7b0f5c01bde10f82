// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/report.h"
#include "cli/usage.h"

static const char usage[] = "usage: tarn ps [--json] [--root DIR]\n"
                            "\n"
                            "Lists what the daemon of a root has mounted.\n";

int tarn_cmd_ps(int argc, char **argv)
{
    static const struct tarn_report_query query = { "ps", usage };
    json_t *report;
    int json;
    const int status = tarn_report_ask(argc, argv, &query, &report, &json);
    if (status >= 0)
        return status;
    if (json)
        return tarn_cli_print_json(report ? report : json_pack("{s:[]}", "mounts"));
    printf("%-6s %-10s %-14s %s\n", "SLOT", "STATE", "BOOTSTRAP", "DIRECTORY  IMAGE");
    size_t i;
    const json_t *mount;
    json_array_foreach(json_object_get(report, "mounts"), i, mount)
    {
        const char *bootstrap = tarn_json_string(mount, "bootstrap");
        const char *state = tarn_json_string(mount, "state");
        printf("%-6" PRIu64 " %-10s %-14.12s ", tarn_json_u64(mount, "slot", 0), state ? state : "",
               bootstrap ? bootstrap + sizeof "sha256:" - 1 : "");
        tarn_report_print(mount, "directory");
        fputs("  ", stdout);
        tarn_report_print(mount, "image");
        putchar('\n');
    }
    json_decref(report);
    return tarn_cli_finish(TARN_EXIT_OK);
}
