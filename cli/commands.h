// SPDX-License-Identifier: Apache-2.0
// The commands of tarn. Each parses its own arguments (argv[0] is its name), prints its facts or its
// error, and returns the exit status: 0, 1 failed, 2 used wrongly.
#ifndef TARN_CLI_COMMANDS_H
#define TARN_CLI_COMMANDS_H

int tarn_cmd_convert(int argc, char **argv);
int tarn_cmd_export(int argc, char **argv);
int tarn_cmd_inspect(int argc, char **argv);
int tarn_cmd_ls(int argc, char **argv);
int tarn_cmd_cat(int argc, char **argv);
int tarn_cmd_check(int argc, char **argv);
int tarn_cmd_digest(int argc, char **argv);
int tarn_cmd_mount(int argc, char **argv);
int tarn_cmd_umount(int argc, char **argv);
int tarn_cmd_ps(int argc, char **argv);
int tarn_cmd_stats(int argc, char **argv);

#endif
