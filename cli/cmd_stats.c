// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/report.h"
#include "cli/usage.h"

static const char usage[] = "usage: tarn stats [--json] [--root DIR]\n"
                            "\n"
                            "Shows what the daemon of a root did since it started.\n";

struct line {
    const char *key;
    const char *what;
};

static const struct line lines[] = {
    { "reads", "read requests" },
    { "read_bytes", "bytes given to readers" },
    { "read_waits", "read requests that waited for chunks" },
    { "read_errors", "read requests that failed" },
    { "ranges", "range reads from repositories" },
    { "fetched_bytes", "bytes that these brought" },
    { "mount_requests", "requests for manifests and bootstraps" },
    { "mount_bytes", "bytes that these brought" },
    { "decoded_chunks", "chunks decoded" },
    { "copied_chunks", "chunks copied from elsewhere in the store" },
    { "checked_chunks", "stored chunks found right at first use" },
    { "dropped_chunks", "stored chunks found damaged, and dropped" },
    { "digest_errors", "chunks that came with a wrong digest" },
    { "unstored_chunks", "chunks that could not be stored" },
};

int tarn_cmd_stats(int argc, char **argv)
{
    static const struct tarn_report_query query = { "stats", usage };
    json_t *report;
    int json;
    const int status = tarn_report_ask(argc, argv, &query, &report, &json);
    if (status >= 0)
        return status;
    if (json)
        return tarn_cli_print_json(
            report ? report : json_pack("{s:[], s:[], s:{}}", "mounts", "images", "total"));
    const json_t *total = json_object_get(report, "total");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        printf("%14" PRIu64 "  %s\n", tarn_json_u64(total, lines[i].key, 0), lines[i].what);
    size_t i;
    const json_t *mount;
    json_array_foreach(json_object_get(report, "mounts"), i, mount)
    {
        printf("%14" PRIu64 "  bytes in %" PRIu64 " reads of ",
               tarn_json_u64(mount, "read_bytes", 0), tarn_json_u64(mount, "reads", 0));
        tarn_report_print(mount, "directory");
        printf(" (%" PRIu64 " fetched by %" PRIu64 " requests)\n",
               tarn_json_u64(mount, "fetched_bytes", 0) + tarn_json_u64(mount, "mount_bytes", 0),
               tarn_json_u64(mount, "ranges", 0) + tarn_json_u64(mount, "mount_requests", 0));
    }
    json_decref(report);
    return tarn_cli_finish(TARN_EXIT_OK);
}
