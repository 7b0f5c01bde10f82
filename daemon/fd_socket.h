// SPDX-License-Identifier: Apache-2.0
// Bytes with at most one descriptor over a unix socket.
#ifndef TARN_DAEMON_FD_SOCKET_H
#define TARN_DAEMON_FD_SOCKET_H

#include <sys/types.h>

#include "base/cleanup.h"

// sendmsg() with the descriptor (-1: none). Bytes sent or -errno; no SIGPIPE.
ssize_t tarn_socket_send(int fd, const void *data, size_t length, int descriptor) tarn_must_check;

// recvmsg(). *descriptor: the one that came, close-on-exec, owned by the caller; left alone if none came.
// Any that it holds already is closed for a new one. Bytes received, 0 at the end, or -errno.
ssize_t tarn_socket_receive(int fd, void *data, size_t length, int *descriptor) tarn_must_check;

// Connects to a SOCK_STREAM socket by its name in a directory, whose path may be too long for sun_path.
// -ENOENT, -ECONNREFUSED: nobody listens.
int tarn_socket_connect(int directory, const char *name, int *fd) tarn_must_check;

#endif
