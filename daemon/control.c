// SPDX-License-Identifier: Apache-2.0
#include "daemon/control.h"

#include <fcntl.h>
#include <stdbool.h>
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
    int fd;
    bool stopped;
    bool closing;
    unsigned handles; // open uv handles: the own one and one for each client
    struct tarn_client *clients;
};

enum { BACKLOG = 128, READ_SIZE = 65536 };

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
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        client->dead = true;
        return;
    }
    client->input.length += (size_t)n;
    struct tarn_control *control = client->control;
    while (!client->dead) {
        tarn_autojson json_t *message = NULL;
        struct tarn_err err;
        const int ret = tarn_message_take(&client->input, &message, &err);
        if (ret == 0)
            return;
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
}

static void client_ready(uv_poll_t *poll, int status, int events);

static void rearm(struct tarn_client *client)
{
    if (client->dead) {
        close_client(client);
        return;
    }
    uv_poll_start(&client->poll, UV_READABLE | (client->first ? UV_WRITABLE : 0), client_ready);
}

static void client_ready(uv_poll_t *poll, int status, int events)
{
    struct tarn_client *client = poll->data;
    if (status < 0)
        client->dead = true;
    if (!client->dead && events & UV_READABLE)
        receive(client);
    flush(client);
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
    // A dead client is closed from the loop, not under the caller's feet: the write event comes at once.
    if (!client->closing && (client->dead || client->first))
        uv_poll_start(&client->poll, UV_READABLE | UV_WRITABLE, client_ready);
}

void tarn_client_drop(struct tarn_client *client)
{
    client->dead = true;
    if (!client->closing)
        uv_poll_start(&client->poll, UV_READABLE | UV_WRITABLE, client_ready);
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

static void accept_ready(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct tarn_control *control = poll->data;
    const int fd = status < 0 ? -1 : accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
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
    made->poll.data = made;
    made->handles = 1;
    uv_poll_start(&made->poll, UV_READABLE, accept_ready);
    *control = made;
    return 0;
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
