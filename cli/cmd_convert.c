// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/image_options.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/usage.h"
#include "converter/convert.h"
#include "format/limits.h"

static const char usage[] =
    "usage: tarn convert [OPTION...] SOURCE DESTINATION\n"
    "       tarn convert [OPTION...] --layer tar:FILE [--layer ...] DESTINATION\n"
    "\n"
    "Sources: docker://HOST/REPOSITORY[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG], tar:FILE,\n"
    "dir:PATH. Destinations: the first three.\n"
    "\n"
    "  --layer REF         a layer, bottom first: tar:FILE or dir:PATH\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --all-platforms     every image of an index\n"
    "  --replace           the tag shows Tarn's manifest alone\n"
    "  --referrer          for a registry: no tag is touched, the original's digest leads to\n"
    "                      Tarn's manifest (the referrers API)\n"
    "  --dict IMAGE        chunks may refer to those of this converted image\n"
    "  --level N           zstd level, -5 to 19 (default 3)\n"
    "  --threads N         (default: as many as there are processors)\n"
    "  --no-reuse          convert every layer, trust nothing found at the destination\n"
    "  --no-layer-tags     leave no one-layer manifests for a later run to find\n"
    "  --quiet             print errors only\n"
    "  --json              print a summary as JSON\n" TARN_ACCESS_USAGE;

enum { LEVEL_LOW = -5, LEVEL_HIGH = 19, THREADS_MAX = 1024 };

struct arguments {
    struct tarn_convert_options options;
    struct tarn_access access;
    const char **layers; // owned
    bool quiet;
    bool json;
};

enum {
    OPTION_LAYER = 256,
    OPTION_PLATFORM,
    OPTION_ALL_PLATFORMS,
    OPTION_REPLACE,
    OPTION_REFERRER,
    OPTION_DICT,
    OPTION_LEVEL,
    OPTION_THREADS,
    OPTION_NO_REUSE,
    OPTION_NO_LAYER_TAGS,
    OPTION_QUIET,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option options[] = {
    { "layer", required_argument, NULL, OPTION_LAYER },
    { "platform", required_argument, NULL, OPTION_PLATFORM },
    { "all-platforms", no_argument, NULL, OPTION_ALL_PLATFORMS },
    { "replace", no_argument, NULL, OPTION_REPLACE },
    { "referrer", no_argument, NULL, OPTION_REFERRER },
    { "dict", required_argument, NULL, OPTION_DICT },
    { "level", required_argument, NULL, OPTION_LEVEL },
    { "threads", required_argument, NULL, OPTION_THREADS },
    { "no-reuse", no_argument, NULL, OPTION_NO_REUSE },
    { "no-layer-tags", no_argument, NULL, OPTION_NO_LAYER_TAGS },
    { "quiet", no_argument, NULL, OPTION_QUIET },
    { "json", no_argument, NULL, OPTION_JSON },
    { "help", no_argument, NULL, OPTION_HELP },
    TARN_ACCESS_OPTIONS,
    { NULL, 0, NULL, 0 },
};

// One option. -1: all is well; else the exit status.
static int take_option(struct arguments *arguments, int option)
{
    struct tarn_convert_options *result = &arguments->options;
    long number;
    switch (option) {
    case OPTION_LAYER:
        arguments->layers[result->layer_count++] = optarg;
        return -1;
    case OPTION_PLATFORM:
        result->platform = optarg;
        return -1;
    case OPTION_ALL_PLATFORMS:
        result->all_platforms = true;
        return -1;
    case OPTION_REPLACE:
        result->replace = true;
        return -1;
    case OPTION_REFERRER:
        result->referrer = true;
        return -1;
    case OPTION_DICT:
        result->dict = optarg;
        return -1;
    case OPTION_LEVEL:
        if (tarn_cli_number(optarg, LEVEL_LOW, LEVEL_HIGH, &number) < 0)
            return tarn_cli_usage(usage, "--level %s: give a number from %d to %d", optarg,
                                  LEVEL_LOW, LEVEL_HIGH);
        result->level = (int)number;
        return -1;
    case OPTION_THREADS:
        if (tarn_cli_number(optarg, 1, THREADS_MAX, &number) < 0)
            return tarn_cli_usage(usage, "--threads %s: give a number from 1 to %d", optarg,
                                  THREADS_MAX);
        result->threads = (unsigned)number;
        return -1;
    case OPTION_NO_REUSE:
        result->no_reuse = true;
        return -1;
    case OPTION_NO_LAYER_TAGS:
        result->no_layer_tags = true;
        return -1;
    case OPTION_QUIET:
        arguments->quiet = true;
        return -1;
    case OPTION_JSON:
        arguments->json = true;
        return -1;
    case OPTION_HELP:
        return tarn_cli_usage(usage, NULL);
    default:
        return tarn_access_option(&arguments->access, option, usage);
    }
}

// -1, or the exit status.
static int parse(struct arguments *arguments, int argc, char **argv)
{
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        const int status = take_option(arguments, option);
        if (status >= 0)
            return status;
    }
    struct tarn_convert_options *result = &arguments->options;
    const int wanted = result->layer_count > 0 ? 1 : 2;
    if (argc - optind != wanted)
        return tarn_cli_usage(usage, "tarn convert takes %s",
                              wanted == 1 ? "one destination beside --layer"
                                          : "a source and a destination");
    if (result->all_platforms && result->platform)
        return tarn_cli_usage(usage, "--platform and --all-platforms exclude each other");
    if (result->replace && result->referrer)
        return tarn_cli_usage(usage, "--replace and --referrer exclude each other");
    result->source = wanted == 2 ? argv[optind] : NULL;
    result->layers = arguments->layers;
    result->destination = argv[argc - 1];
    return -1;
}

static json_t *summary_json(const struct tarn_convert_summary *summary, double seconds)
{
    char tree[TARN_DIGEST_TEXT];
    char manifest[TARN_DIGEST_TEXT];
    const uint64_t bytes_out = summary->blob_bytes + summary->bootstrap_bytes;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:s}",
        "images", (json_int_t)summary->images, "layers", (json_int_t)summary->layers,
        "layers_reused", (json_int_t)summary->layers_reused, "bytes_in",
        (json_int_t)summary->source_bytes, "tar_bytes", (json_int_t)summary->tar_bytes, "bytes_out",
        (json_int_t)bytes_out, "blob_bytes", (json_int_t)summary->blob_bytes, "bootstrap_bytes",
        (json_int_t)summary->bootstrap_bytes, "data_bytes", (json_int_t)summary->data_bytes,
        "unique_bytes", (json_int_t)summary->unique_bytes, "chunks", (json_int_t)summary->chunks,
        "runs", (json_int_t)summary->runs, "references", (json_int_t)summary->references, "seconds",
        seconds, "tree_digest", tarn_digest_format(&summary->tree_digest, tree), "manifest_digest",
        tarn_digest_format(&summary->manifest_digest, manifest));
}

static void print_summary(const struct tarn_convert_summary *summary, double seconds)
{
    char text[TARN_DIGEST_TEXT];
    printf("%u layers (%u reused): %.1f MB in, %.1f MB out + %.2f MB bootstrap, %.1f s\n",
           summary->layers, summary->layers_reused, (double)summary->source_bytes / 1e6,
           (double)summary->blob_bytes / 1e6, (double)summary->bootstrap_bytes / 1e6, seconds);
    printf("%" PRIu64 " chunks in %" PRIu64 " runs, %" PRIu64
           " references; %.1f MB of data, %.1f MB unique\n",
           summary->chunks, summary->runs, summary->references, (double)summary->data_bytes / 1e6,
           (double)summary->unique_bytes / 1e6);
    printf("tree     %s\n", tarn_digest_format(&summary->tree_digest, text));
    printf("manifest %s\n", tarn_digest_format(&summary->manifest_digest, text));
}

static void note_dropped(struct tarn_progress *progress, uint64_t count, const char *what)
{
    char text[200];
    if (count == 0)
        return;
    snprintf(text, sizeof text, "left out %" PRIu64 " %s", count, what);
    tarn_progress_note(progress, text);
}

static int run(struct arguments *arguments)
{
    struct tarn_err err = { 0 };
    struct tarn_convert_summary summary;
    tarn_cleanup(tarn_progress_free_p) struct tarn_progress *progress =
        tarn_progress_new(arguments->quiet);
    if (!progress)
        return tarn_cli_no_memory();
    arguments->options.access = &arguments->access;
    arguments->options.cancel = tarn_cli_catch_interrupts();
    arguments->options.progress = tarn_progress_tell;
    arguments->options.note = tarn_progress_note;
    arguments->options.context = progress;
    const int ret = tarn_convert(&arguments->options, &summary, &err);
    const double seconds = tarn_progress_seconds(progress);
    note_dropped(progress, summary.dropped_xattrs, "xattrs of namespaces that Linux does not know");
    note_dropped(progress, summary.dropped_sockets, "sockets");
    tarn_progress_free(tarn_steal(progress));
    if (ret < 0)
        return tarn_cli_fail(&err);
    if (arguments->json)
        return tarn_cli_print_json(summary_json(&summary, seconds));
    if (!arguments->quiet)
        print_summary(&summary, seconds);
    return tarn_cli_finish(TARN_EXIT_OK);
}

int tarn_cmd_convert(int argc, char **argv)
{
    struct arguments arguments = { .options = { .level = TARN_LEVEL_DEFAULT },
                                   .layers = calloc((size_t)argc, sizeof *arguments.layers) };
    if (!arguments.layers)
        return tarn_cli_no_memory();
    int status = parse(&arguments, argc, argv);
    if (status < 0)
        status = run(&arguments);
    free((void *)arguments.layers);
    tarn_access_release(&arguments.access);
    return status;
}
