// SPDX-License-Identifier: Apache-2.0
// An image that a command works on, opened by its name.
#ifndef TARN_CLI_CLI_IMAGE_H
#define TARN_CLI_CLI_IMAGE_H

#include "cli/image_options.h"
#include "registry/image_reader.h"

struct tarn_cli_image {
    struct tarn_reference reference;
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    struct tarn_image_list list;        // its first image is the one
    struct tarn_loaded_image converted; // once loaded
};

// Resolves a name. options must outlive the image. The release is right after a failure too.
int tarn_cli_image_open(struct tarn_cli_image *image, const char *name,
                        const struct tarn_image_options *options,
                        struct tarn_err *err) tarn_must_check;
// Reads manifest and bootstrap of a converted image and verifies the tree, so that a walk over it ends
// and shows what a mount would. -EINVAL for an image that is not converted.
int tarn_cli_image_load(struct tarn_cli_image *image, struct tarn_err *err) tarn_must_check;
void tarn_cli_image_release(struct tarn_cli_image *image);

#endif
