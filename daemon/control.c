// SPDX-License-Identifier: Apache-2.0
#include "daemon/control.h"

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/log.h"
#include "daemon/control_message.h"
#include "daemon/fd_socket.h"

struct outgoing {
    struct outgoing *next;
    struct tarn_buf bytes;
    size_t sent;
    int descriptor; // owned; goes with the first byte
};

struct tarn_client {
    struct tarn_control *control;
    struct tarn_client *next;
    uv_poll_t poll;
    int fd;
    int descriptor; // what came with the message that is being received
    bool dead;      // to be closed when the callback has returned
    bool closing;
    struct tarn_buf input;
    struct outgoing *first;
    struct outgoing *last;
    void *data;
};

struct tarn_control {
    struct tarn_control_options options;
    uv_poll_t poll;
    uv_timer_t pause; // until the next try after accept() has failed
    int fd;
    bool stopped;
    bool closing;
    unsigned handles;    // open uv handles: the own two and one for each client
    unsigned client_max; // more wait in the socket's queue
    unsigned client_count;
    struct tarn_client *clients;
};

enum { BACKLOG = 128, READ_SIZE = 65536, CLIENT_MAX = 256, CLIENT_SHARE = 4, PAUSE_MS = 100 };

static void accept_ready(uv_poll_t *poll, int status, int events);

static void resume(struct tarn_control *control)
{
    if (!control->stopped && control->client_count < control->client_max)
        uv_poll_start(&control->poll, UV_READABLE, accept_ready);
}

static void handle_closed(struct tarn_control *control)
{
    if (--control->handles == 0 && control->closing)
        free(control);
}

// --- clients ---------------------------------------------------------------------------------------

static void client_closed(uv_handle_t *handle)
{
    struct tarn_client *client = handle->data;
    close(client->fd);
    if (client->descriptor >= 0)
        close(client->descriptor);
    tarn_buf_release(&client->input);
    while (client->first) {
        struct outgoing *out = client->first;
        client->first = out->next;
        if (out->descriptor >= 0)
            close(out->descriptor);
        tarn_buf_release(&out->bytes);
        free(out);
    }
    struct tarn_control *control = client->control;
    free(client);
    control->client_count--;
    resume(control);
    handle_closed(control);
}

static void close_client(struct tarn_client *client)
{
    if (client->closing)
        return;
    client->closing = true;
    struct tarn_control *control = client->control;
    struct tarn_client **at = &control->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    control->options.closed(control->options.context, client);
    uv_poll_stop(&client->poll);
    uv_close((uv_handle_t *)&client->poll, client_closed);
}

static void flush(struct tarn_client *client)
{
    while (client->first && !client->dead) {
        struct outgoing *out = client->first;
        const ssize_t n = tarn_socket_send(client->fd, out->bytes.data + out->sent,
                                           out->bytes.length - out->sent, out->descriptor);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            client->dead = true;
            return;
        }
        if (out->descriptor >= 0)
            close(out->descriptor);
        out->descriptor = -1;
        out->sent += (size_t)n;
        if (out->sent < out->bytes.length)
            continue;
        client->first = out->next;
        if (!client->first)
            client->last = NULL;
        tarn_buf_release(&out->bytes);
        free(out);
    }
}

static void receive(struct tarn_client *client)
{
    if (tarn_buf_reserve(&client->input, READ_SIZE) < 0) {
        client->dead = true;
        return;
    }
    const ssize_t n = tarn_socket_receive(client->fd, client->input.data + client->input.length,
                                          READ_SIZE, &client->descriptor);
    if (n > 0)
        client->input.length += (size_t)n;
    else if (n != -EAGAIN)
        client->dead = true;
}

// Takes what has come, but only while the client reads the answers.
static void take_messages(struct tarn_client *client)
{
    struct tarn_control *control = client->control;
    while (!client->dead && !client->first) {
        tarn_autojson json_t *message = NULL;
        struct tarn_err err;
        const int ret = tarn_message_take(&client->input, &message, &err);
        if (ret == 0)
            break;
        if (ret < 0) {
            tarn_log(TARN_LOG_WARNING, "a client is dropped: %s", err.text);
            client->dead = true;
            return;
        }
        control->options.message(control->options.context, client, message, &client->descriptor);
        if (client->descriptor >= 0)
            close(client->descriptor);
        client->descriptor = -1;
    }
    if (client->input.length == 0)
        tarn_buf_release(&client->input);
}

static void client_ready(uv_poll_t *poll, int status, int events);

static void rearm(struct tarn_client *client)
{
    uv_poll_start(&client->poll, client->first ? UV_WRITABLE : UV_READABLE, client_ready);
}

static void client_ready(uv_poll_t *poll, int status, int events)
{
    struct tarn_client *client = poll->data;
    if (status < 0)
        client->dead = true;
    if (!client->dead && events & UV_READABLE)
        receive(client);
    flush(client);
    take_messages(client);
    if (client->dead)
        close_client(client);
    else
        rearm(client);
}

void tarn_client_send(struct tarn_client *client, json_t *message, int descriptor)
{
    struct outgoing *out = calloc(1, sizeof *out);
    if (!message || !out || tarn_message_encode(message, &out->bytes) < 0) {
        client->dead = true;
        if (out)
            tarn_buf_release(&out->bytes);
        free(out);
        if (descriptor >= 0)
            close(descriptor);
    } else {
        out->descriptor = descriptor;
        if (client->last)
            client->last->next = out;
        else
            client->first = out;
        client->last = out;
        flush(client);
    }
    json_decref(message);
    if (client->dead)
        tarn_client_drop(client);
    else if (!client->closing)
        rearm(client);
}

// It is closed from the loop, not under the caller's feet: a socket that is shut down is ready at once.
void tarn_client_drop(struct tarn_client *client)
{
    client->dead = true;
    shutdown(client->fd, SHUT_RDWR);
    if (!client->closing)
        rearm(client);
}

void *tarn_client_data(const struct tarn_client *client)
{
    return client->data;
}

void tarn_client_set_data(struct tarn_client *client, void *data)
{
    client->data = data;
}

// --- the socket --------------------------------------------------------------------------------------

static bool may_enter(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void pause_over(uv_timer_t *timer)
{
    resume(timer->data);
}

// Whoever cannot be let in now (no descriptors, no memory) stays in the queue, which would make the
// socket readable again at once.
static void pause_accepting(struct tarn_control *control)
{
    uv_poll_stop(&control->poll);
    uv_timer_start(&control->pause, pause_over, PAUSE_MS, 0);
}

static void accept_ready(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct tarn_control *control = poll->data;
    const int fd = status < 0 ? -1 : accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        pause_accepting(control);
        return;
    }
    struct tarn_client *client = may_enter(fd) ? calloc(1, sizeof *client) : NULL;
    if (!client || uv_poll_init(control->options.loop, &client->poll, fd) < 0) {
        free(client);
        close(fd);
        return;
    }
    client->control = control;
    client->fd = fd;
    client->descriptor = -1;
    client->poll.data = client;
    client->next = control->clients;
    control->clients = client;
    control->handles++;
    rearm(client);
    if (++control->client_count == control->client_max)
        uv_poll_stop(&control->poll);
}

// Clients leave most descriptors to the data.
static unsigned client_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / CLIENT_SHARE >= CLIENT_MAX)
        return CLIENT_MAX;
    return (unsigned)limit.rlim_cur / CLIENT_SHARE + 1;
}

// The name is reached by the directory's descriptor: sun_path is short, roots may be long.
static int listen_in(int directory, int *fd, struct tarn_err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock", directory);
    if (unlinkat(directory, "control.sock", 0) < 0 && errno != ENOENT)
        return tarn_fail_errno(err, -errno, "cannot remove the old control socket");
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return tarn_fail_errno(err, -errno, "cannot make the control socket");
    if (bind(*fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(*fd, BACKLOG) < 0) {
        const int ret = -errno;
        close(*fd);
        return tarn_fail_errno(err, ret, "cannot make the control socket");
    }
    return 0;
}

int tarn_control_new(const struct tarn_control_options *options, struct tarn_control **control,
                     struct tarn_err *err)
{
    struct tarn_control *made = calloc(1, sizeof *made);
    if (!made)
        return tarn_fail(err, -ENOMEM, "out of memory");
    made->options = *options;
    int ret = listen_in(options->directory, &made->fd, err);
    if (ret < 0) {
        free(made);
        return ret;
    }
    ret = uv_poll_init(options->loop, &made->poll, made->fd);
    if (ret < 0) {
        close(made->fd);
        free(made);
        return tarn_fail_errno(err, ret, "cannot watch the control socket");
    }
    uv_timer_init(options->loop, &made->pause);
    made->poll.data = made;
    made->pause.data = made;
    made->handles = 2;
    made->client_max = client_max();
    uv_poll_start(&made->poll, UV_READABLE, accept_ready);
    *control = made;
    return 0;
}

static void pause_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void control_closed(uv_handle_t *handle)
{
    struct tarn_control *control = handle->data;
    close(control->fd);
    handle_closed(control);
}

void tarn_control_stop(struct tarn_control *control)
{
    if (control->stopped)
        return;
    control->stopped = true;
    if (unlinkat(control->options.directory, "control.sock", 0) < 0)
        tarn_log(TARN_LOG_WARNING, "cannot remove the control socket");
    uv_poll_stop(&control->poll);
    uv_close((uv_handle_t *)&control->poll, control_closed);
    uv_close((uv_handle_t *)&control->pause, pause_closed);
}

void tarn_control_close(struct tarn_control *control)
{
    if (!control)
        return;
    control->closing = true;
    control->handles++; // this call's
    tarn_control_stop(control);
    while (control->clients)
        close_client(control->clients);
    handle_closed(control);
}
