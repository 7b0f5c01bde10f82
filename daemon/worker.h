// SPDX-License-Identifier: Apache-2.0
// The daemon's serving process: one loop for control and fetching, a few threads that answer FUSE, a
// fixed pool that decodes. It never walks into its own mounts.
#ifndef TARN_DAEMON_WORKER_H
#define TARN_DAEMON_WORKER_H

#include "base/err.h"

struct tarn_worker_options {
    const char *root;  // real absolute path of the daemon's root, which exists; borrowed
    int run_directory; // <root>/run; borrowed
    int lock;          // on <root>/run/lock; taken over, closed when another daemon may start
    int mounter;       // the mounter's socket, taken over; -1 without root: a connection a mount
    int ready;         // taken over; closed when clients can come; -1: nobody waits for that
    unsigned idle_seconds; // without mounts, then it ends
};

// Serves until it is idle or told to end (SIGTERM, SIGINT). 0 or -errno.
int tarn_worker_run(const struct tarn_worker_options *options,
                    struct tarn_err *err) tarn_must_check;

#endif
