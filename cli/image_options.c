// SPDX-License-Identifier: Apache-2.0
#include "cli/image_options.h"

#include "cli/usage.h"

void tarn_image_options_release(struct tarn_image_options *options)
{
    tarn_access_release(&options->access);
}

static int set_ca(struct tarn_access *access, const char *file, struct tarn_err *err)
{
    free(access->ca_file);
    // Absolute, because the daemon has another working directory.
    access->ca_file = realpath(file, NULL);
    if (!access->ca_file)
        return tarn_fail_errno(err, -errno, "--ca %s", file);
    return 0;
}

static int set_timeout(struct tarn_access *access, const char *text, struct tarn_err *err)
{
    long seconds;
    if (tarn_cli_number(text, 1, TARN_ACCESS_TIMEOUT_MAX, &seconds) < 0)
        return tarn_fail(err, -EINVAL, "--timeout %s: give a number of seconds from 1 to %d", text,
                         TARN_ACCESS_TIMEOUT_MAX);
    access->timeout = (unsigned)seconds;
    return 0;
}

// 0 when it was taken, -EINVAL or what the file of --ca gives; without a word where getopt_long() has told.
static int take(struct tarn_access *access, int option, const char *value, struct tarn_err *err)
{
    switch (option) {
    case TARN_OPTION_CA:
        return set_ca(access, value, err);
    case TARN_OPTION_INSECURE:
        access->insecure = true;
        return 0;
    case TARN_OPTION_PLAIN_HTTP:
        access->plain_http = true;
        return 0;
    case TARN_OPTION_TIMEOUT:
        return set_timeout(access, value, err);
    default:
        return -EINVAL;
    }
}

int tarn_access_option(struct tarn_access *access, int option, const char *usage)
{
    struct tarn_err err = { 0 };
    if (take(access, option, optarg, &err) == 0)
        return -1;
    return err.text[0] ? tarn_cli_usage(usage, "%s", err.text) : tarn_cli_wrong_option(usage);
}

int tarn_image_option(struct tarn_image_options *options, int option, const char *usage)
{
    switch (option) {
    case TARN_OPTION_PLATFORM:
        options->platform = optarg;
        return -1;
    case TARN_OPTION_JSON:
        options->json = true;
        return -1;
    case TARN_OPTION_HELP:
        return tarn_cli_usage(usage, NULL);
    default:
        return tarn_access_option(&options->access, option, usage);
    }
}

int tarn_image_options_parse(struct tarn_image_options *options, int argc, char **argv,
                             const char *usage)
{
    static const struct option rows[] = { TARN_IMAGE_OPTIONS };
    int status = -1;
    int option;
    while (status < 0 && (option = getopt_long(argc, argv, "", rows, NULL)) != -1)
        status = tarn_image_option(options, option, usage);
    return status;
}
