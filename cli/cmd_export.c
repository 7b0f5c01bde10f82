// SPDX-License-Identifier: Apache-2.0

#include "cli/cli_image.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/usage.h"
#include "converter/export.h"

static const char usage[] =
    "usage: tarn export [OPTION...] IMAGE DESTINATION\n"
    "\n"
    "Destinations: docker://HOST/REPOSITORY[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG].\n"
    "Makes plain OCI layers of a converted image again: unpacked they are what the source's "
    "layers\n"
    "were. The bytes of the layers, and so their digests, are others.\n"
    "\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --json              print a summary as JSON\n" TARN_ACCESS_USAGE;

static int print_summary(const struct tarn_export_summary *summary, bool json)
{
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(&summary->manifest.digest, text);
    if (json)
        return tarn_cli_print_json(
            json_pack("{s:I, s:I, s:I, s:s}", "layers", (json_int_t)summary->layers, "tar_bytes",
                      (json_int_t)summary->tar_bytes, "bytes_out", (json_int_t)summary->layer_bytes,
                      "manifest_digest", text));
    printf("%u layers: %.1f MB of tar, %.1f MB out\n", summary->layers,
           (double)summary->tar_bytes / 1e6, (double)summary->layer_bytes / 1e6);
    printf("manifest %s\n", text);
    return tarn_cli_finish(TARN_EXIT_OK);
}

static int export(struct tarn_cli_image *image, const struct tarn_reference *destination,
                  const struct tarn_image_options *options)
{
    struct tarn_err err = { 0 };
    if (tarn_cli_image_load(image, &err) < 0)
        return tarn_cli_fail(&err);
    const struct tarn_export_source source = { image->blocking,
                                               image->repository,
                                               &image->converted.manifest,
                                               &image->converted.bootstrap,
                                               &options->access,
                                               options->cancel };
    struct tarn_export_summary summary;
    if (tarn_export(&source, destination, &summary, &err) < 0)
        return tarn_cli_fail(&err);
    return print_summary(&summary, options->json);
}

static int run(const char *name, const char *destination, const struct tarn_image_options *options)
{
    struct tarn_err err = { 0 };
    struct tarn_reference reference;
    if (tarn_reference_parse(destination, &reference, &err) < 0)
        return tarn_cli_fail(&err);
    struct tarn_cli_image image;
    const int status = tarn_cli_image_open(&image, name, options, &err) < 0
                           ? tarn_cli_fail(&err)
                           : export(&image, &reference, options);
    tarn_cli_image_release(&image);
    tarn_reference_release(&reference);
    return status;
}

int tarn_cmd_export(int argc, char **argv)
{
    tarn_cleanup(tarn_image_options_release) struct tarn_image_options options = { 0 };
    const int parsed = tarn_image_options_parse(&options, argc, argv, usage);
    if (parsed >= 0)
        return parsed;
    if (argc - optind != 2)
        return tarn_cli_usage(usage, "tarn export takes an image and a destination");
    options.cancel = tarn_cli_catch_interrupts();
    return run(argv[optind], argv[optind + 1], &options);
}
