// SPDX-License-Identifier: Apache-2.0
#include "daemon/fd_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

ssize_t tarn_socket_send(int fd, const void *data, size_t length, int descriptor)
{
    struct iovec part = { .iov_len = length };
    memcpy(&part.iov_base, &data, sizeof data);
    union control control = { 0 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

// The last one is kept: where one fits, padding makes room for two.
static void take_descriptor(struct msghdr *message, int *descriptor)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof *descriptor) <= header->cmsg_len;
             at += sizeof *descriptor) {
            if (*descriptor >= 0)
                close(*descriptor);
            memcpy(descriptor, CMSG_DATA(header) + at, sizeof *descriptor);
        }
    }
}

ssize_t tarn_socket_receive(int fd, void *data, size_t length, int *descriptor)
{
    struct iovec part = { .iov_base = data, .iov_len = length };
    union control control = { 0 };
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t n;
    do
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    take_descriptor(&message, descriptor);
    return n;
}

int tarn_socket_connect(int directory, const char *name, int *fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int n =
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name);
    if (n < 0 || (size_t)n >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    tarn_autoclose int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0)
        return -errno;
    int ret;
    do
        ret = connect(made, (const struct sockaddr *)&address, sizeof address);
    while (ret < 0 && errno == EINTR);
    if (ret < 0)
        return -errno;
    *fd = tarn_steal_fd(&made);
    return 0;
}
