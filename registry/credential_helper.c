// SPDX-License-Identifier: Apache-2.0
#include "registry/credential_helper.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"

enum { ANSWER_MAX = 65536, TIMEOUT_MS = 10000, NAME_MAX_LENGTH = 64 };

#define NOT_FOUND "credentials not found"

struct helper {
    char program[NAME_MAX_LENGTH + 32];
    pid_t pid;
    int64_t deadline; // ms
    int status;       // of waitpid()
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// True when fd can be read before the deadline.
static bool wait_for(const struct helper *helper, int fd)
{
    struct pollfd item = { .fd = fd, .events = POLLIN };
    for (;;) {
        const int64_t left = helper->deadline - now_ms();
        if (left <= 0)
            return false;
        const int n = poll(&item, 1, (int)left);
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

// What posix_spawn() needs: input and output in place, nothing else of ours, a process group of its own, so
// that it can be killed with its children, and no signal that we block or ignore.
static int spawn(struct helper *helper, int in, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    if (posix_spawn_file_actions_init(&files) != 0)
        return -ENOMEM;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return -ENOMEM;
    }
    int ret = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    if (ret == 0)
        ret = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    if (ret == 0)
        ret = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (ret == 0)
        ret = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                        POSIX_SPAWN_SETSIGDEF);
    if (ret == 0)
        ret = posix_spawnattr_setsigmask(&attributes, &none);
    if (ret == 0)
        ret = posix_spawnattr_setsigdefault(&attributes, &defaults);
    char get[] = "get";
    char *const argv[] = { helper->program, get, NULL };
    if (ret == 0)
        ret = posix_spawnp(&helper->pid, helper->program, &files, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return -ret;
}

// Starts the helper with the server on its input; *output is where its answer is to be read.
static int start(struct helper *helper, const char *server, int *output)
{
    int input_pipe[2];
    int output_pipe[2];
    if (pipe2(input_pipe, O_CLOEXEC) < 0)
        return -errno;
    tarn_autoclose int in = input_pipe[0];
    tarn_autoclose int to = input_pipe[1];
    if (pipe2(output_pipe, O_CLOEXEC) < 0)
        return -errno;
    *output = output_pipe[0];
    tarn_autoclose int out = output_pipe[1];
    // Before it runs: the line fits into the pipe, and nobody can have closed the other end.
    const size_t length = strlen(server);
    if (length > PIPE_BUF - 1)
        return -EINVAL;
    int ret = tarn_write_full(to, server, length);
    if (ret == 0)
        ret = tarn_write_full(to, "\n", 1);
    return ret < 0 ? ret : spawn(helper, in, out);
}

static int read_answer(const struct helper *helper, int fd, struct tarn_buf *answer)
{
    for (;;) {
        if (!wait_for(helper, fd))
            return -ETIMEDOUT;
        if (tarn_buf_reserve(answer, 4096) < 0)
            return -ENOMEM;
        const ssize_t n = read(fd, answer->data + answer->length, 4096);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return 0;
        if (n > 0)
            answer->length += (size_t)n;
        if (answer->length > ANSWER_MAX)
            return -EFBIG;
    }
}

// Sees the helper's end; what does not end is killed.
static void finish(struct helper *helper, bool kill_now)
{
    tarn_autoclose int fd = kill_now ? -1 : pidfd_open(helper->pid, 0);
    if (fd < 0 || !wait_for(helper, fd))
        kill(-helper->pid, SIGKILL);
    while (waitpid(helper->pid, &helper->status, 0) < 0)
        if (errno != EINTR) {
            helper->status = 0; // somebody else took it: the answer decides
            return;
        }
}

// Why it failed, in its words, which are one line of text by the protocol. What looks like an answer is
// not shown, because it may be a secret.
static int failed(const struct helper *helper, const struct tarn_buf *answer, const char *server,
                  struct tarn_err *err)
{
    const char *text = (const char *)answer->data;
    const size_t length = answer->length;
    if (length > 0 && memmem(text, length, NOT_FOUND, sizeof NOT_FOUND - 1))
        return -ENOENT;
    size_t shown = 0;
    while (shown < length && shown < 200 && text[shown] >= ' ' && text[shown] < 0x7f)
        shown++;
    if (length > 0 && memchr(text, '{', length))
        shown = 0;
    return tarn_fail(err, -EACCES, "%s fails for %.200s%s%.*s", helper->program, server,
                     shown ? ": " : "", (int)shown, shown ? text : "");
}

static const char *member(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static int take_answer(const struct helper *helper, const struct tarn_buf *answer,
                       struct tarn_access *access, struct tarn_err *err)
{
    tarn_autojson json_t *json = tarn_json_parse(answer->data, answer->length, "", NULL);
    const char *username = member(json, "Username");
    const char *secret = member(json, "Secret");
    if (!username || !secret)
        return tarn_fail(err, -EINVAL, "the answer of %s is no {\"Username\", \"Secret\"}",
                         helper->program);
    const bool token = strcmp(username, "<token>") == 0;
    char *const new_secret = strdup(secret);
    char *const new_username = token ? NULL : strdup(username);
    if (!new_secret || (!token && !new_username)) {
        free(new_secret);
        free(new_username);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    free(access->username);
    free(access->password);
    free(access->identity_token);
    access->username = new_username;
    access->password = token ? NULL : new_secret;
    access->identity_token = token ? new_secret : NULL;
    return 0;
}

static bool name_ok(const char *name)
{
    const size_t length = strlen(name);
    return length > 0 && length <= NAME_MAX_LENGTH &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               length;
}

int tarn_credential_helper_get(const char *name, const char *server, struct tarn_access *access,
                               struct tarn_err *err)
{
    if (!name_ok(name))
        return tarn_fail(err, -EINVAL, "the credential helper's name '%.100s' is none", name);
    struct helper helper = { .deadline = now_ms() + TIMEOUT_MS };
    snprintf(helper.program, sizeof helper.program, "docker-credential-%s", name);
    tarn_autoclose int output = -1;
    int ret = start(&helper, server, &output);
    if (ret == -ENOENT)
        return tarn_fail(err, -EINVAL, "the program %s is not there", helper.program);
    if (ret < 0)
        return tarn_fail_errno(err, -EACCES, "cannot run %s: error %d", helper.program, -ret);
    tarn_autobuf struct tarn_buf answer = { 0 };
    ret = read_answer(&helper, output, &answer);
    finish(&helper, ret < 0);
    if (ret == -ETIMEDOUT)
        ret = tarn_fail(err, -EACCES, "%s does not answer within %d s", helper.program,
                        TIMEOUT_MS / 1000);
    else if (ret < 0)
        ret = tarn_fail_errno(err, -EINVAL, "cannot read the answer of %s", helper.program);
    else if (helper.status != 0)
        ret = failed(&helper, &answer, server, err);
    else
        ret = take_answer(&helper, &answer, access, err);
    if (answer.length > 0)
        explicit_bzero(answer.data, answer.length);
    return ret;
}
