// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <getopt.h>
#include <string.h>

#include "cli/client.h"
#include "cli/usage.h"
#include "daemon/root_path.h"

int tarn_report_ask(int argc, char **argv, const struct tarn_report_query *query, json_t **report,
                    int *json)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "root", required_argument, NULL, 'r' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    const char *named = NULL;
    *json = 0;
    *report = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        if (c == 'h')
            return tarn_cli_usage(query->usage, NULL);
        if (c == 'r')
            named = optarg;
        else if (c == 'j')
            *json = 1;
        else
            return tarn_cli_wrong_option(query->usage);
    }
    if (optind < argc)
        return tarn_cli_usage(query->usage, "'%s': no argument is taken", argv[optind]);
    struct tarn_err err = { 0 };
    tarn_autofree char *root = NULL;
    if (tarn_root_path(named, &root, &err) < 0)
        return tarn_cli_fail(&err);
    tarn_autojson json_t *message = json_pack("{s:s}", "op", query->op);
    const struct tarn_client_options client = { root, false, NULL, message };
    tarn_autoclose int fd = -1;
    tarn_autoclose int descriptor = -1;
    const int ret = tarn_client_ask(&client, &fd, report, &descriptor, &err);
    return ret < 0 && ret != -ENOENT ? tarn_cli_fail(&err) : -1;
}

void tarn_report_print(const json_t *mount, const char *key)
{
    const char *text = tarn_json_string(mount, key);
    if (text)
        tarn_cli_print_name(text, strlen(text));
}
