// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "cli/cli_image.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "converter/check.h"

static const char usage[] =
    "usage: tarn check [OPTION...] IMAGE\n"
    "\n"
    "Verifies a converted image: structure, order, bounds, link counts, the digest of every chunk\n"
    "and of every file. Names the first broken rule and its place; the exit status is then 1.\n"
    "\n"
    "  --quick             everything that needs no file data\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --json              print the outcome as JSON\n" TARN_ACCESS_USAGE;

struct arguments {
    const char *name;
    struct tarn_image_options image;
    bool quick;
};

static int fail(const struct arguments *arguments, const struct tarn_err *err)
{
    if (arguments->image.json)
        tarn_cli_print_json(json_pack("{s:b, s:s}", "ok", 0, "error", err->text));
    return tarn_cli_fail(err);
}

static json_t *totals_json(const struct arguments *arguments,
                           const struct tarn_check_totals *totals)
{
    json_t *json = json_pack(
        "{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "ok", 1, "quick", (int)arguments->quick,
        "layers", (json_int_t)totals->layers, "blobs", (json_int_t)totals->blobs, "names",
        (json_int_t)totals->names, "inodes", (json_int_t)totals->inodes, "chunks",
        (json_int_t)totals->chunks, "references", (json_int_t)totals->references);
    if (!json || arguments->quick)
        return json;
    json_object_set_new(json, "contents", json_integer((json_int_t)totals->contents));
    json_object_set_new(json, "data_bytes", json_integer((json_int_t)totals->data_bytes));
    json_object_set_new(json, "blob_bytes", json_integer((json_int_t)totals->blob_bytes));
    return json;
}

static int print_totals(const struct arguments *arguments, const struct tarn_check_totals *totals)
{
    if (arguments->image.json)
        return tarn_cli_print_json(totals_json(arguments, totals));
    printf("ok: %" PRIu32 " layers, %" PRIu64 " names, %" PRIu64 " inodes, %" PRIu64
           " chunks (%" PRIu64 " references)",
           totals->layers, totals->names, totals->inodes, totals->chunks, totals->references);
    if (arguments->quick)
        printf("; data not read\n");
    else
        printf(", %" PRIu64 " contents, %.1f MB of data in %.1f MB of blobs\n", totals->contents,
               (double)totals->data_bytes / 1e6, (double)totals->blob_bytes / 1e6);
    return tarn_cli_finish(TARN_EXIT_OK);
}

static int check_image(const struct arguments *arguments, struct tarn_cli_image *image)
{
    struct tarn_err err = { 0 };
    int ret = tarn_cli_image_open(image, arguments->name, &arguments->image, &err);
    if (ret == 0)
        ret = tarn_cli_image_load(image, &err);
    if (ret < 0)
        return fail(arguments, &err);
    const struct tarn_check_image checked = { image->blocking, image->repository,
                                              &image->converted.manifest,
                                              &image->converted.bootstrap_bytes,
                                              &image->converted.bootstrap };
    struct tarn_check_totals totals;
    ret = tarn_check(&checked, arguments->quick, &totals, &err);
    if (ret < 0) {
        tarn_err_prepend(&err, "%s", arguments->name);
        return fail(arguments, &err);
    }
    return print_totals(arguments, &totals);
}

// -1, or the exit status.
static int parse(struct arguments *arguments, int argc, char **argv)
{
    static const struct option rows[] = { { "quick", no_argument, NULL, 'q' }, TARN_IMAGE_OPTIONS };
    for (int option; (option = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        int status = -1;
        if (option == 'q')
            arguments->quick = true;
        else
            status = tarn_image_option(&arguments->image, option, usage);
        if (status >= 0)
            return status;
    }
    if (argc - optind != 1)
        return tarn_cli_usage(usage, "tarn check takes one image");
    arguments->name = argv[optind];
    return -1;
}

int tarn_cmd_check(int argc, char **argv)
{
    struct arguments arguments = { 0 };
    int status = parse(&arguments, argc, argv);
    if (status < 0) {
        struct tarn_cli_image image;
        status = check_image(&arguments, &image);
        tarn_cli_image_release(&image);
    }
    tarn_image_options_release(&arguments.image);
    return status;
}
