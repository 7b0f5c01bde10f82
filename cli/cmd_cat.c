// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "cli/cli_image.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "converter/data_reader.h"

static const char usage[] =
    "usage: tarn cat [OPTION...] IMAGE PATH\n"
    "\n"
    "Writes a file of a converted image to stdout; every byte was checked.\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --json              print its size and SHA-256 as JSON instead\n" TARN_ACCESS_USAGE;

enum { PIECE = 256 << 10 };

struct cat {
    struct tarn_cli_image image;
    struct tarn_erofs_inode inode;
    struct tarn_data_reader *reader;
    struct tarn_hasher *hasher; // NULL: the bytes go to stdout
    uint8_t buffer[PIECE];
};

// Fills the buffer from offset on; yields how many bytes.
static int read_piece(struct cat *cat, uint64_t offset, size_t *length, struct tarn_err *err)
{
    struct tarn_erofs_extent extent;
    int ret = tarn_erofs_map(&cat->image.converted.bootstrap.erofs, &cat->inode, offset, &extent);
    if (ret < 0)
        return tarn_fail(err, ret, "the bootstrap is damaged");
    *length = tarn_min_u64(extent.length, PIECE);
    if (extent.slot == 0) {
        memset(cat->buffer, 0, *length);
        return 0;
    }
    const struct tarn_data_range range = { cat->image.converted.bootstrap.slot_blobs[extent.slot],
                                           extent.address, *length };
    return tarn_data_reader_read(cat->reader, &range, cat->buffer, err);
}

static int copy_file(struct cat *cat, struct tarn_err *err)
{
    for (uint64_t offset = 0; offset < cat->inode.size;) {
        size_t length = 0;
        int ret = read_piece(cat, offset, &length, err);
        if (ret < 0)
            return ret;
        if (cat->hasher)
            tarn_hasher_update(cat->hasher, cat->buffer, length);
        else
            ret = tarn_write_full(STDOUT_FILENO, cat->buffer, length);
        if (ret < 0)
            return tarn_fail_errno(err, ret, "cannot write to stdout");
        offset += length;
    }
    return 0;
}

static int find_file(struct cat *cat, const char *path, struct tarn_err *err)
{
    const int ret = tarn_erofs_walk(&cat->image.converted.bootstrap.erofs, path, &cat->inode);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "'%s'", path);
    const char *target;
    if (S_ISLNK(cat->inode.mode) &&
        tarn_erofs_symlink(&cat->image.converted.bootstrap.erofs, &cat->inode, &target) == 0)
        return tarn_fail(err, -EINVAL, "'%s' is a symbolic link to '%.*s'; name what it leads to",
                         path, (int)cat->inode.size, target);
    if (!S_ISREG(cat->inode.mode))
        return tarn_fail(err, -EINVAL, "'%s' is no regular file", path);
    cat->reader = tarn_data_reader_new(cat->image.blocking, cat->image.repository,
                                       &cat->image.converted.bootstrap.tables);
    return cat->reader ? 0 : tarn_fail(err, -ENOMEM, "out of memory");
}

static int run(struct cat *cat, char **arguments, const struct tarn_image_options *options,
               struct tarn_err *err)
{
    int ret = tarn_cli_image_open(&cat->image, arguments[0], options, err);
    if (ret == 0)
        ret = tarn_cli_image_load(&cat->image, err);
    if (ret < 0)
        return ret;
    ret = find_file(cat, arguments[1], err);
    if (ret == 0)
        ret = copy_file(cat, err);
    return ret < 0 ? tarn_wrap(err, ret, "%s", arguments[0]) : 0;
}

static int print_facts(struct cat *cat)
{
    struct tarn_digest digest;
    char text[TARN_DIGEST_TEXT];
    tarn_hasher_finish(cat->hasher, &digest);
    return tarn_cli_print_json(json_pack("{s:s, s:I}", "digest", tarn_digest_format(&digest, text),
                                         "size", (json_int_t)cat->inode.size));
}

int tarn_cmd_cat(int argc, char **argv)
{
    tarn_cleanup(tarn_image_options_release) struct tarn_image_options options = { 0 };
    const int parsed = tarn_image_options_parse(&options, argc, argv, usage);
    if (parsed >= 0)
        return parsed;
    if (argc - optind != 2)
        return tarn_cli_usage(usage, "tarn cat takes an image and a path");
    struct tarn_err err = { 0 };
    struct cat *cat = calloc(1, sizeof *cat);
    if (cat && options.json)
        cat->hasher = tarn_hasher_new();
    if (!cat || (options.json && !cat->hasher)) {
        free(cat);
        return tarn_cli_no_memory();
    }
    int status = TARN_EXIT_FAILED;
    if (run(cat, argv + optind, &options, &err) < 0)
        tarn_cli_fail(&err);
    else
        status = cat->hasher ? print_facts(cat) : TARN_EXIT_OK;
    tarn_hasher_free(cat->hasher);
    tarn_data_reader_free(cat->reader);
    tarn_cli_image_release(&cat->image);
    free(cat);
    return status;
}
