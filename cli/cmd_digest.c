// SPDX-License-Identifier: Apache-2.0

#include "cli/cli_image.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "converter/tree_digest.h"

static const char usage[] =
    "usage: tarn digest [OPTION...] IMAGE\n"
    "\n"
    "Prints the tree digest: of an image, converted or not (docker://, oci:, oci-archive:), of a\n"
    "tar file (tar:FILE) or of a directory (dir:PATH). Equal trees have equal digests.\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --json              print it as JSON\n" TARN_ACCESS_USAGE;

static int digest_of(const char *name, const struct tarn_image_options *options,
                     struct tarn_digest *digest, struct tarn_err *err)
{
    struct tarn_reference reference;
    int ret = tarn_reference_parse(name, &reference, err);
    if (ret < 0)
        return ret;
    if (reference.kind == TARN_REFERENCE_TAR || reference.kind == TARN_REFERENCE_DIR) {
        ret = tarn_tree_digest_path(&reference, digest, err);
        tarn_reference_release(&reference);
        return ret;
    }
    tarn_reference_release(&reference);
    struct tarn_cli_image image;
    ret = tarn_cli_image_open(&image, name, options, err);
    if (ret == 0)
        ret = tarn_tree_digest_image(image.blocking, image.repository, &image.list.images[0],
                                     digest, err);
    tarn_cli_image_release(&image);
    return ret;
}

int tarn_cmd_digest(int argc, char **argv)
{
    tarn_cleanup(tarn_image_options_release) struct tarn_image_options options = { 0 };
    const int parsed = tarn_image_options_parse(&options, argc, argv, usage);
    if (parsed >= 0)
        return parsed;
    if (argc - optind != 1)
        return tarn_cli_usage(usage, "tarn digest takes one image");
    struct tarn_err err = { 0 };
    struct tarn_digest digest;
    if (digest_of(argv[optind], &options, &digest, &err) < 0)
        return tarn_cli_fail(&err);
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(&digest, text);
    if (options.json)
        return tarn_cli_print_json(json_pack("{s:s}", "tree_digest", text));
    puts(text);
    return tarn_cli_finish(TARN_EXIT_OK);
}
