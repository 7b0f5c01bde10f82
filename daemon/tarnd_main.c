// SPDX-License-Identifier: Apache-2.0
// tarnd, the node daemon. `tarn mount` starts it; see tarnd(8).
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/fd_socket.h"
#include "daemon/mounter.h"
#include "daemon/root_path.h"
#include "daemon/worker.h"

static const char usage[] =
    "usage: tarnd [--root DIR] [--idle SECONDS] [--ready FD]\n"
    "\n"
    "Serves the images that `tarn mount` mounts. One daemon for each root.\n"
    "  --root DIR       where everything is kept (default: $TARN_ROOT, else /var/lib/tarn,\n"
    "                   without root $XDG_DATA_HOME/tarn or ~/.local/share/tarn)\n"
    "  --idle SECONDS   how long it stays after its last mount (default: 10)\n"
    "  --ready FD       an open descriptor, which is closed when clients can come\n";

enum { IDLE_DEFAULT = 10, IDLE_MAX = 1000000, LOCK_WAIT_MS = 10000, LOCK_PAUSE_MS = 10 };

struct arguments {
    const char *root;
    unsigned idle;
    int ready;
};

// No process that is started from here on may keep it open.
static bool take_ready(const char *text, int *fd)
{
    char *end;
    const unsigned long number = strtoul(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && number > STDERR_FILENO &&
        number <= INT_MAX && fcntl((int)number, F_SETFD, FD_CLOEXEC) == 0) {
        *fd = (int)number;
        return true;
    }
    fprintf(stderr, "tarnd: '%s' is no open descriptor\n", text);
    return false;
}

// 0 go on, else the exit status + 1.
static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        { "root", required_argument, NULL, 'r' },  { "idle", required_argument, NULL, 'i' },
        { "ready", required_argument, NULL, 'f' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },     { 0 },
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        char *end;
        unsigned long seconds;
        switch (c) {
        case 'r':
            arguments->root = optarg;
            break;
        case 'i':
            seconds = strtoul(optarg, &end, 10);
            if (*optarg < '0' || *optarg > '9' || *end != '\0' || seconds > IDLE_MAX) {
                fprintf(stderr, "tarnd: '%s' is no number of seconds\n", optarg);
                return 3;
            }
            arguments->idle = (unsigned)seconds;
            break;
        case 'f':
            if (!take_ready(optarg, &arguments->ready))
                return 3;
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        case 'V':
            printf("tarnd %s\n", TARN_VERSION);
            return 1;
        default:
            fputs(usage, stderr);
            return 3;
        }
    }
    if (optind < argc) {
        fputs(usage, stderr);
        return 3;
    }
    return 0;
}

static int open_run(const char *root, int *run, struct tarn_err *err)
{
    tarn_autofree char *path = tarn_path_join(root, "run");
    tarn_autofree char *base = tarn_path_join(root, "mnt");
    if (!path || !base)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = tarn_mkdirs(path, 0700, err);
    // The base may be a dead mount of an earlier daemon, which mkdir sees as existing.
    if (ret == 0 && mkdir(base, 0700) < 0 && errno != EEXIST)
        ret = tarn_fail_errno(err, -errno, "cannot make %s", base);
    if (ret < 0)
        return ret;
    *run = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *run < 0 ? tarn_fail_errno(err, -errno, "cannot open %s", path) : 0;
}

// Waits for a daemon that is just ending; one that listens stays the only one. 0, -EBUSY.
static int lock_root(int run, int *lock, struct tarn_err *err)
{
    *lock = openat(run, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0)
        return tarn_fail_errno(err, -errno, "cannot open run/lock");
    for (int waited = 0;; waited += LOCK_PAUSE_MS) {
        if (flock(*lock, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return tarn_fail_errno(err, -errno, "cannot lock run/lock");
        tarn_autoclose int other = -1;
        if (tarn_socket_connect(run, "control.sock", &other) == 0 || waited >= LOCK_WAIT_MS)
            return tarn_fail(err, -EBUSY, "another tarnd serves this root");
        const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
        nanosleep(&pause, NULL);
    }
}

static int serve(const struct arguments *arguments, struct tarn_err *err)
{
    tarn_autofree char *named = NULL;
    int ret = tarn_root_path(arguments->root, &named, err);
    if (ret == 0)
        ret = tarn_mkdirs(named, 0700, err);
    if (ret < 0)
        return ret;
    tarn_autofree char *root = realpath(named, NULL);
    if (!root)
        return tarn_fail_errno(err, -errno, "%s", named);
    ret = tarn_root_check(root, err);
    if (ret < 0)
        return ret;
    tarn_autoclose int run = -1;
    struct tarn_worker_options options = { .root = root,
                                           .lock = -1,
                                           .mounter = -1,
                                           .ready = arguments->ready,
                                           .idle_seconds = arguments->idle };
    ret = open_run(root, &run, err);
    if (ret == 0)
        ret = lock_root(run, &options.lock, err);
    options.run_directory = run;
    // First of all: no thread may exist yet.
    if (ret == 0 && geteuid() == 0)
        ret = tarn_mounter_start(root, options.lock, &options.mounter, err);
    return ret < 0 ? ret : tarn_worker_run(&options, err);
}

// Memory goes back to the system when it is free: the buffers of runs, of 256 KiB and more, come and go
// with fetches, and an arena for each thread would keep what each once needed. A threshold that is set
// does not grow.
static void keep_memory_small(void)
{
    enum { ARENAS = 2, THRESHOLD = 128 << 10 };
    mallopt(M_ARENA_MAX, ARENAS);
    mallopt(M_MMAP_THRESHOLD, THRESHOLD);
    mallopt(M_TRIM_THRESHOLD, THRESHOLD);
}

// libuv's threads read layouts and open images. A few layouts on dead file systems must leave some.
static void have_threads_to_spare(void)
{
    setenv("UV_THREADPOOL_SIZE", "8", 0);
}

int main(int argc, char **argv)
{
    keep_memory_small();
    have_threads_to_spare();
    if (tarn_open_standard_files() < 0)
        return 1;
    signal(SIGXFSZ, SIG_IGN); // a limit of file sizes is as a full disk
    struct arguments arguments = { .idle = IDLE_DEFAULT, .ready = -1 };
    const int done = parse_arguments(argc, argv, &arguments);
    if (done > 0)
        return done - 1;
    struct tarn_err err = { 0 };
    const int ret = serve(&arguments, &err);
    if (ret == -EBUSY) {
        tarn_log(TARN_LOG_INFO, "%s", err.text);
        return TARN_EXIT_ANOTHER;
    }
    if (ret < 0)
        tarn_log(TARN_LOG_ERROR, "%s", err.text);
    return ret < 0 ? 1 : 0;
}
