// SPDX-License-Identifier: Apache-2.0
// How the commands reach tarnd: finding the one of a root, starting one, asking it. Blocks.
#ifndef TARN_CLI_CLIENT_H
#define TARN_CLI_CLIENT_H

#include <stdbool.h>

#include "base/json.h"

struct tarn_client_options {
    const char *root;      // absolute; tarn_root_path()
    bool start;            // start a daemon if none runs
    const char *idle;      // seconds for a daemon that is started, or NULL
    const json_t *message; // the first one; borrowed
};

// Connects, sends the message and takes its answer; again with another daemon if the first one was
// just ending. *descriptor: what the answer brought, or -1. -ENOENT: none runs, and none was to be
// started; else what the daemon answered.
int tarn_client_ask(const struct tarn_client_options *options, int *fd, json_t **answer,
                    int *descriptor, struct tarn_err *err) tarn_must_check;

// Runs a program (argv[0], looked up in PATH, or by /bin and /sbin directories) and waits for it.
// comm: its end of a socket, named to it in _FUSE_COMMFD; -1 for none. -EIO when it failed, after it has
// told why; -ENOENT.
int tarn_client_run(char *const argv[], int comm, struct tarn_err *err) tarn_must_check;

#endif
