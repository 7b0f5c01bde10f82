// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bus_guard.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/usage.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
};

static const struct command commands[] = {
    { "convert", tarn_cmd_convert, "make a Tarn image of an image, tar files or a directory" },
    { "mount", tarn_cmd_mount, "mount an image on a directory" },
    { "umount", tarn_cmd_umount, "unmount it" },
    { "ps", tarn_cmd_ps, "list mounts" },
    { "stats", tarn_cmd_stats, "show what the daemon did" },
    { "ls", tarn_cmd_ls, "list files of an image" },
    { "cat", tarn_cmd_cat, "print a file of an image" },
    { "inspect", tarn_cmd_inspect, "show what an image is made of" },
    { "check", tarn_cmd_check, "verify every byte of an image" },
    { "digest", tarn_cmd_digest, "print the digest of a file tree" },
    { "export", tarn_cmd_export, "give plain OCI layers back" },
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *out)
{
    fputs("usage: tarn COMMAND [OPTION...] [ARGUMENT...]\n\ncommands:\n", out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].what);
    fputs("\n`tarn COMMAND --help` explains one. Images: docker://HOST/REPOSITORY[:TAG],\n"
          "oci:DIR[:TAG], oci-archive:FILE[:TAG]; sources also tar:FILE and dir:PATH.\n",
          out);
}

// A directory to be converted takes one open file for each level. Where it cannot be raised it stays.
static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

// getopt_long() tells who complains by argv[0].
static int run(const struct command *command, int argc, char **argv)
{
    char name[32];
    snprintf(name, sizeof name, "tarn %s", command->name);
    argv[1] = name;
    raise_open_files();
    return command->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    if (tarn_open_standard_files() < 0 || tarn_bus_guard_start(NULL) < 0)
        return TARN_EXIT_FAILED;
    signal(SIGXFSZ,
           SIG_IGN); // a limit of file sizes is an error, which is told and leaves nothing behind
    if (argc < 2) {
        print_usage(stderr);
        return TARN_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("tarn %s\n", TARN_VERSION);
        return tarn_cli_finish(TARN_EXIT_OK);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return tarn_cli_finish(TARN_EXIT_OK);
    }
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return run(&commands[i], argc, argv);
    fprintf(stderr, "tarn: no command '%s'\n", argv[1]);
    print_usage(stderr);
    return TARN_EXIT_USAGE;
}
