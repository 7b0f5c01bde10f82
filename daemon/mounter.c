// SPDX-License-Identifier: Apache-2.0
#include "daemon/mounter.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "daemon/fd_socket.h"
#include "daemon/mountinfo.h"

struct mounter {
    char *base;
    bool mounted;
};

// --- the mounter's process ------------------------------------------------------------------------

void tarn_mounter_clear(const char *base)
{
    while (umount2(base, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        ;
}

static void clear_base(struct mounter *mounter)
{
    tarn_mounter_clear(mounter->base);
    mounter->mounted = false;
}

static int find_device(const struct mounter *mounter, struct tarn_mounter_reply *reply)
{
    tarn_cleanup(tarn_buf_release) struct tarn_buf text = { 0 };
    int ret = tarn_mountinfo_read(0, &text);
    if (ret < 0)
        return ret;
    char *cursor = (char *)text.data;
    struct tarn_mountinfo info;
    ret = -ENOENT;
    while (tarn_mountinfo_next(&cursor, &info))
        if (strcmp(info.point, mounter->base) == 0) {
            reply->major = info.major; // the last one is on top
            reply->minor = info.minor;
            ret = 0;
        }
    return ret;
}

static int fail(struct tarn_mounter_reply *reply, int status, const char *what)
{
    snprintf(reply->text, sizeof reply->text, "%s: %s", what, strerror(-status));
    return status;
}

// The base lies on a private bind of its own directory, so that no other namespace gets a copy of it by
// propagation, which would keep it alive. ro, but neither nosuid nor nodev: the images' setuid programs
// and devices are what they are.
static int mount_base(struct mounter *mounter, struct tarn_mounter_reply *reply, int *descriptor)
{
    clear_base(mounter);
    tarn_autoclose int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return fail(reply, -errno, "cannot open /dev/fuse");
    if (mount(mounter->base, mounter->base, NULL, MS_BIND, NULL) < 0)
        return fail(reply, -errno, "cannot bind the base to itself");
    mounter->mounted = true;
    char options[160];
    snprintf(
        options, sizeof options,
        "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=%d", fd,
        TARN_READ_MAX);
    if (mount(NULL, mounter->base, NULL, MS_PRIVATE, NULL) < 0 ||
        mount("tarn", mounter->base, "fuse.tarn", MS_RDONLY, options) < 0 ||
        mount(NULL, mounter->base, NULL, MS_PRIVATE, NULL) < 0) {
        const int ret = fail(reply, -errno, "cannot mount the base");
        clear_base(mounter);
        return ret;
    }
    const int ret = find_device(mounter, reply);
    if (ret < 0) {
        clear_base(mounter);
        return fail(reply, ret, "cannot find the base in /proc/self/mountinfo");
    }
    *descriptor = tarn_steal_fd(&fd);
    return 0;
}

static int attach(const struct mounter *mounter, uint32_t slot, struct tarn_mounter_reply *reply,
                  int *descriptor)
{
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/images/%u", mounter->base, slot);
    if (length < 0 || (size_t)length >= sizeof path)
        return fail(reply, -ENAMETOOLONG, "cannot clone the mount");
    tarn_autoclose int fd =
        (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return fail(reply, -errno,
                    errno == ENOENT ? "somebody has unmounted the base, mnt below tarnd's root; "
                                      "unmount all images, then tarnd starts anew"
                                    : "cannot clone the mount");
    struct mount_attr attributes = { .propagation = MS_PRIVATE };
    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
        return fail(reply, -errno, "cannot make the mount private");
    *descriptor = tarn_steal_fd(&fd);
    return 0;
}

static int serve(struct mounter *mounter, const struct tarn_mounter_request *request,
                 struct tarn_mounter_reply *reply, int *descriptor)
{
    switch (request->operation) {
    case TARN_MOUNTER_BASE:
        return mount_base(mounter, reply, descriptor);
    case TARN_MOUNTER_UNBASE:
        clear_base(mounter);
        return 0;
    case TARN_MOUNTER_ATTACH:
        return attach(mounter, request->slot, reply, descriptor);
    default:
        return fail(reply, -ENOTSUP, "unknown request");
    }
}

static void run(struct mounter *mounter, int fd)
{
    struct tarn_mounter_request request;
    int unwanted = -1;
    while (tarn_socket_receive(fd, &request, sizeof request, &unwanted) == sizeof request) {
        struct tarn_mounter_reply reply = { 0 };
        tarn_autoclose int descriptor = -1;
        reply.status = serve(mounter, &request, &reply, &descriptor);
        if (tarn_socket_send(fd, &reply, sizeof reply, descriptor) < 0)
            break;
    }
    if (mounter->mounted)
        clear_base(mounter);
}

// Signals for the daemon's process group are not for the mounter: it lives as long as the daemon.
static void child(struct mounter *mounter, int fd, int lock)
{
    enum { SOCKET = STDERR_FILENO + 1, LOCK, REST };
    prctl(PR_SET_NAME, "tarn-mounter");
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (chdir("/") < 0)
        _exit(1);
    // Nothing else of the daemon's: what it closes must be closed. Duplicates first, out of the way.
    const int high_fd = fcntl(fd, F_DUPFD_CLOEXEC, REST);
    const int high_lock = fcntl(lock, F_DUPFD_CLOEXEC, REST);
    if (high_fd < 0 || high_lock < 0 || dup3(high_fd, SOCKET, O_CLOEXEC) < 0 ||
        dup3(high_lock, LOCK, O_CLOEXEC) < 0)
        _exit(1);
    close_range(REST, ~0U, 0);
    run(mounter, SOCKET);
    _exit(0);
}

// --- the daemon's side --------------------------------------------------------------------------------

int tarn_mounter_start(const char *root, int lock, int *fd, struct tarn_err *err)
{
    tarn_autofree char *base = tarn_path_join(root, "mnt");
    if (!base)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return tarn_fail_errno(err, -errno, "cannot make a socket pair");
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        struct mounter mounter = { .base = base };
        child(&mounter, ends[1], lock);
    }
    close(ends[1]);
    if (pid < 0) {
        const int ret = -errno;
        close(ends[0]);
        return tarn_fail_errno(err, ret, "cannot start the mounter");
    }
    *fd = ends[0];
    return 0;
}

int tarn_mounter_send(int fd, const struct tarn_mounter_request *request, struct tarn_err *err)
{
    const ssize_t n = tarn_socket_send(fd, request, sizeof *request, -1);
    return n < 0 ? tarn_fail_errno(err, (int)n, "cannot reach the mounter") : 0;
}

int tarn_mounter_receive(int fd, struct tarn_mounter_reply *reply, int *descriptor,
                         struct tarn_err *err)
{
    *descriptor = -1;
    const ssize_t n = tarn_socket_receive(fd, reply, sizeof *reply, descriptor);
    if (n != sizeof *reply)
        return tarn_fail(err, n < 0 && n != -ECONNRESET ? (int)n : -EPIPE, "the mounter is gone");
    reply->text[sizeof reply->text - 1] = '\0';
    if (reply->status < 0)
        return tarn_fail(err, reply->status, "%s", reply->text);
    return 0;
}
