// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "daemon/control_message.h"
#include "daemon/fd_socket.h"
#include "daemon/root_path.h"

enum {
    START_MS = 20000,
    PAUSE_MS = 1,
    RETRY_MS = 10,
    TRIES = 5,
    LOG_MAX = 1 << 20,
    EXEC_FAILED = 127
};

static void pause_ms(long ms)
{
    const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&pause, NULL);
}

// -ENOENT, -ECONNREFUSED: nobody listens.
static int connect_once(const char *root, int *fd)
{
    tarn_autofree char *run = tarn_path_join(root, "run");
    if (!run)
        return -ENOMEM;
    tarn_autoclose int directory = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -errno;
    return tarn_socket_connect(directory, "control.sock", fd);
}

// --- starting -------------------------------------------------------------------------------------------

// tarnd beside this program, or where an installation has it; else PATH is searched.
static char *find_tarnd(void)
{
    const char *named = getenv("TARN_TARND");
    if (named && *named)
        return tarn_asprintf("%s", named);
    char self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = NULL;
    if (n > 0) {
        self[n] = '\0';
        slash = strrchr(self, '/');
    }
    if (slash) {
        static const char *const places[] = { "tarnd", "../sbin/tarnd" };
        slash[1] = '\0';
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            char *path = tarn_asprintf("%s%s", self, places[i]);
            if (path && access(path, X_OK) == 0)
                return path;
            free(path);
        }
    }
    return tarn_asprintf("tarnd");
}

static int open_log(const char *root, struct tarn_err *err)
{
    tarn_autofree char *run = tarn_path_join(root, "run");
    tarn_autofree char *path = tarn_path_join(root, "run/tarnd.log");
    if (!run || !path)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = tarn_root_check(root, err);
    if (ret == 0)
        ret = tarn_mkdirs(run, 0700, err);
    if (ret < 0)
        return ret;
    // O_NONBLOCK: a fifo in its place is an error, not a wait.
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    const int fd = open(path, flags, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return tarn_fail_errno(err, -errno, "cannot open %s", path);
    if (st.st_size > LOG_MAX && ftruncate(fd, 0) < 0) {
        close(fd);
        return tarn_fail_errno(err, -errno, "cannot shorten %s", path);
    }
    return fd;
}

static void exec_tarnd(const char *program, const struct tarn_client_options *options, int log,
                       int ready)
{
    enum { READY = STDERR_FILENO + 1 };
    const int null = open("/dev/null", O_RDONLY);
    const int high = fcntl(log, F_DUPFD, READY + 1); // out of the way
    if (setsid() < 0 || chdir("/") < 0 || null < 0 || high < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(high, STDOUT_FILENO) < 0 || dup2(high, STDERR_FILENO) < 0 ||
        (ready == READY ? fcntl(READY, F_SETFD, 0) : dup2(ready, READY)) < 0)
        _exit(EXEC_FAILED);
    close_range(READY + 1, ~0U, 0);
    char number[16];
    snprintf(number, sizeof number, "%d", READY);
    if (options->idle)
        execlp(program, "tarnd", "--root", options->root, "--ready", number, "--idle",
               options->idle, (char *)NULL);
    else
        execlp(program, "tarnd", "--root", options->root, "--ready", number, (char *)NULL);
    dprintf(STDERR_FILENO, "error: cannot run %s: %s\n", program, strerror(errno));
    _exit(EXEC_FAILED);
}

// Returns when the daemon lets clients in, or has ended.
static int spawn(const struct tarn_client_options *options, pid_t *pid, struct tarn_err *err)
{
    tarn_autofree char *program = find_tarnd();
    if (!program)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_autoclose int log = open_log(options->root, err);
    if (log < 0)
        return log;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return tarn_fail_errno(err, -errno, "cannot start tarnd");
    *pid = fork();
    if (*pid == 0)
        exec_tarnd(program, options, log, ends[1]);
    const int code = *pid < 0 ? -errno : 0;
    close(ends[1]);
    struct pollfd ready = { .fd = ends[0] };
    if (code == 0)
        (void)poll(&ready, 1, START_MS); // what comes of it is seen by connecting
    close(ends[0]);
    return code < 0 ? tarn_fail_errno(err, code, "cannot start tarnd") : 0;
}

// What the daemon said last, which is why it did not start.
static int tell_log(const char *root, struct tarn_err *err)
{
    tarn_autofree char *path = tarn_path_join(root, "run/tarnd.log");
    tarn_cleanup(tarn_buf_release) struct tarn_buf text = { 0 };
    if (!path || tarn_file_read(AT_FDCWD, path, (size_t)2 * LOG_MAX, &text, NULL) < 0 ||
        tarn_buf_append(&text, "", 1) < 0)
        return tarn_fail(err, -EIO, "tarnd did not start; its log is %s", path ? path : "lost");
    char *end = (char *)text.data + text.length - 1;
    while (end > (char *)text.data && end[-1] == '\n')
        *--end = '\0';
    const char *line = strrchr((char *)text.data, '\n');
    line = line ? line + 1 : (const char *)text.data;
    if (strncmp(line, "error: ", 7) == 0)
        line += 7;
    return tarn_fail(err, -EIO, "tarnd did not start: %s (log: %s)", line, path);
}

static bool nobody_listens(int ret)
{
    return ret == -ENOENT || ret == -ECONNREFUSED;
}

// Credentials and a mount point are for root's daemon or the own one.
static int check_peer(const struct tarn_client_options *options, int fd, struct tarn_err *err)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return tarn_fail_errno(err, -errno, "cannot tell whose tarnd serves %s", options->root);
    if (options->start && peer.uid != 0 && peer.uid != geteuid())
        return tarn_fail(err, -EPERM, "the tarnd of %s belongs to another user (%u)", options->root,
                         (unsigned)peer.uid);
    return 0;
}

// Connects, starting a daemon if need be. One that finds another at work leaves the field to it.
static int connect_or_start(const struct tarn_client_options *options, int *fd,
                            struct tarn_err *err)
{
    pid_t pid = -1;
    for (int waited = 0;; waited += PAUSE_MS) {
        const bool started = pid > 0;
        int ret = connect_once(options->root, fd);
        if (ret == 0)
            return check_peer(options, *fd, err);
        if (!nobody_listens(ret))
            return tarn_fail_errno(err, ret, "cannot reach tarnd of %s", options->root);
        if (!options->start)
            return tarn_fail(err, -ENOENT, "no tarnd runs for %s", options->root);
        int status;
        if (pid > 0 && waitpid(pid, &status, WNOHANG) == pid) {
            pid = -1;
            const bool ended_well = WIFEXITED(status) && (WEXITSTATUS(status) == 0 ||
                                                          WEXITSTATUS(status) == TARN_EXIT_ANOTHER);
            if (!ended_well)
                return tell_log(options->root, err);
        }
        if (waited >= START_MS)
            return tarn_fail(err, -ETIMEDOUT, "tarnd does not answer; its log is %s/run/tarnd.log",
                             options->root);
        ret = pid < 0 ? spawn(options, &pid, err) : 0;
        if (ret < 0)
            return ret;
        if (started)
            pause_ms(PAUSE_MS);
    }
}

int tarn_client_ask(const struct tarn_client_options *options, int *fd, json_t **answer,
                    int *descriptor, struct tarn_err *err)
{
    int ret = -EPIPE;
    for (int i = 0; i < TRIES && ret == -EPIPE; i++) {
        tarn_autoclose int connected = -1;
        *descriptor = -1;
        ret = connect_or_start(options, &connected, err);
        if (ret < 0)
            return ret;
        ret = tarn_message_send(connected, options->message, -1, err);
        if (ret == 0)
            ret = tarn_message_receive(connected, answer, descriptor, err);
        if (ret == 0)
            *fd = tarn_steal_fd(&connected);
        if (ret == -EPIPE)
            pause_ms(RETRY_MS);
    }
    return ret == -EPIPE ? tarn_fail(err, ret,
                                     "tarnd ends again and again; its log is "
                                     "%s/run/tarnd.log",
                                     options->root)
                         : ret;
}

int tarn_client_run(char *const argv[], int comm, struct tarn_err *err)
{
    const pid_t pid = fork();
    if (pid < 0)
        return tarn_fail_errno(err, -errno, "cannot run %s", argv[0]);
    if (pid == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", comm);
        if (comm >= 0 && (fcntl(comm, F_SETFD, 0) < 0 || setenv("_FUSE_COMMFD", number, 1) < 0))
            _exit(EXEC_FAILED);
        execvp(argv[0], argv);
        _exit(EXEC_FAILED);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return tarn_fail_errno(err, -errno, "cannot wait for %s", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED)
        return tarn_fail(err, -ENOENT, "cannot run %s; is it installed?", argv[0]);
    return tarn_fail(err, -EIO, "%s failed", argv[0]);
}
