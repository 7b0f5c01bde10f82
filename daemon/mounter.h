// SPDX-License-Identifier: Apache-2.0
// The process that mounts. It is small, has one thread, knows no network and no image, and answers a
// fixed binary protocol with paths that it made itself. The serving process must never walk into its
// own mounts: it would wait for itself.
//
// It is forked before the daemon has threads. When the daemon dies it detaches the base, and ends. Until
// then it holds the root's lock too, so that it cannot detach the base of the next daemon.
#ifndef TARN_DAEMON_MOUNTER_H
#define TARN_DAEMON_MOUNTER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

// The most that a read of a mount may ask for, to be given as "max_read": a shorter answer than was asked
// for would be the file's end to the kernel, and other kernels and libraries may ask for more.
enum { TARN_READ_MAX = 1 << 20 };

// Starts the process for the base <root>/mnt; root is a real absolute path, lock the daemon's, of which
// it keeps a duplicate. *fd: its end of a socket, to be closed to end it; a SOCK_SEQPACKET that takes
// requests and gives one reply each, in order.
int tarn_mounter_start(const char *root, int lock, int *fd, struct tarn_err *err) tarn_must_check;

enum tarn_mounter_operation {
    TARN_MOUNTER_BASE = 1,   // mounts the base; the reply brings /dev/fuse
    TARN_MOUNTER_UNBASE = 2, // detaches the base
    TARN_MOUNTER_ATTACH = 3, // a new private mount of images/<slot>, attached nowhere
};

struct tarn_mounter_request {
    uint32_t operation;
    uint32_t slot; // ATTACH
};

struct tarn_mounter_reply {
    int32_t status; // 0 or -errno
    uint32_t major; // BASE: of the file system's st_dev
    uint32_t minor;
    char text[244]; // what failed, NUL-terminated
};

// Detaches all that lies on the base, also what an earlier daemon left there.
void tarn_mounter_clear(const char *base);

int tarn_mounter_send(int fd, const struct tarn_mounter_request *request,
                      struct tarn_err *err) tarn_must_check;
// Waits for a reply. *descriptor: what it brings, owned by the caller, or -1. -errno: what the mounter
// said, or -EPIPE when it is gone.
int tarn_mounter_receive(int fd, struct tarn_mounter_reply *reply, int *descriptor,
                         struct tarn_err *err) tarn_must_check;

#endif
