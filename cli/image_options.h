// SPDX-License-Identifier: Apache-2.0
// The options that all commands on images share.
#ifndef TARN_CLI_IMAGE_OPTIONS_H
#define TARN_CLI_IMAGE_OPTIONS_H

#include <getopt.h>
#include <signal.h>

#include "registry/access.h"

// Zeroed at first; to be released.
struct tarn_image_options {
    const char *platform; // NULL: this host's
    bool json;
    struct tarn_access access;
    const volatile sig_atomic_t *cancel; // NULL, or ends what waits for a registry once it is not 0
};
void tarn_image_options_release(struct tarn_image_options *options);

enum {
    TARN_OPTION_CA = 512,
    TARN_OPTION_INSECURE,
    TARN_OPTION_PLAIN_HTTP,
    TARN_OPTION_TIMEOUT,
    TARN_OPTION_PLATFORM,
    TARN_OPTION_JSON,
    TARN_OPTION_HELP,
};

// Rows for getopt_long(), and their lines of a usage text.
#define TARN_ACCESS_OPTIONS                                                                        \
    { "ca", required_argument, NULL, TARN_OPTION_CA },                                             \
        { "insecure", no_argument, NULL, TARN_OPTION_INSECURE },                                   \
        { "plain-http", no_argument, NULL, TARN_OPTION_PLAIN_HTTP },                               \
    {                                                                                              \
        "timeout", required_argument, NULL, TARN_OPTION_TIMEOUT                                    \
    }
#define TARN_ACCESS_USAGE                                                                          \
    "Registries (credentials are those of docker login or skopeo login):\n"                        \
    "  --ca FILE           certificates to trust instead of the system's (PEM)\n"                  \
    "  --insecure          do not check the registry's certificate\n"                              \
    "  --plain-http        no TLS (the default for this host: localhost, 127.0.0.1, [::1])\n"      \
    "  --timeout SECONDS   how long a registry may not answer (default 30)\n"
#define TARN_IMAGE_OPTIONS                                                                         \
    TARN_ACCESS_OPTIONS, { "platform", required_argument, NULL, TARN_OPTION_PLATFORM },            \
        { "json", no_argument, NULL, TARN_OPTION_JSON },                                           \
        { "help", no_argument, NULL, TARN_OPTION_HELP },                                           \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

// Takes one of TARN_ACCESS_OPTIONS, with its value in optarg: -1; else the exit status, after it was said
// what is wrong.
int tarn_access_option(struct tarn_access *access, int option, const char *usage) tarn_must_check;

// The same for TARN_IMAGE_OPTIONS.
int tarn_image_option(struct tarn_image_options *options, int option,
                      const char *usage) tarn_must_check;

// For a command with TARN_IMAGE_OPTIONS alone: takes them all. -1, with optind behind them, or the exit
// status.
int tarn_image_options_parse(struct tarn_image_options *options, int argc, char **argv,
                             const char *usage) tarn_must_check;

#endif
