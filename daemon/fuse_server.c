// SPDX-License-Identifier: Apache-2.0
#include "daemon/fuse_internal.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "base/container.h"
#include "base/log.h"

enum { THREADS_MAX = 16, DRAIN_MS = 20 };

struct tarn_server *tarn_server_new(const struct tarn_server_options *options, struct tarn_err *err)
{
    struct tarn_server *server = calloc(1, sizeof *server);
    if (!server) {
        tarn_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    const int ret = pthread_key_create(&server->buffers, free);
    if (ret != 0) {
        free(server);
        tarn_fail_errno(err, -ret, "cannot make a thread key");
        return NULL;
    }
    server->options = *options;
    if (server->options.threads > THREADS_MAX)
        server->options.threads = THREADS_MAX;
    server->epoll = -1;
    server->stop = -1;
    clock_gettime(CLOCK_REALTIME, &server->started);
    uv_timer_init(tarn_loop_queue_loop(options->queue), &server->watch);
    server->watch.data = server;
    return server;
}

void tarn_server_close(struct tarn_server *server)
{
    uv_close((uv_handle_t *)&server->watch, NULL);
}

void tarn_server_free(struct tarn_server *server)
{
    if (!server)
        return;
    if (server->stop >= 0 && eventfd_write(server->stop, 1) == 0)
        for (unsigned i = 0; i < server->thread_count; i++)
            pthread_join(server->threads[i], NULL);
    if (server->epoll >= 0)
        close(server->epoll);
    if (server->stop >= 0)
        close(server->stop);
    pthread_key_delete(server->buffers);
    free(server);
}

struct tarn_thread_buffers *tarn_server_buffers(struct tarn_server *server)
{
    struct tarn_thread_buffers *buffers = pthread_getspecific(server->buffers);
    if (!buffers) {
        buffers = malloc(sizeof *buffers);
        if (buffers && pthread_setspecific(server->buffers, buffers) != 0) {
            free(buffers);
            return NULL;
        }
    }
    return buffers;
}

// --- the end of a connection -----------------------------------------------------------------------

static void destroy(uv_handle_t *handle)
{
    struct tarn_connection *connection = handle->data;
    struct tarn_server *server = connection->server;
    struct tarn_connection **at = &server->first;
    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    if (connection->slot)
        tarn_slots_set_gone(server->options.slots, connection->slot->number);
    server->options.ended(server->options.context, connection);
    fuse_session_destroy(connection->session); // closes fd
    tarn_slot_put(connection->slot);
    free(connection);
}

static void try_destroy(uv_timer_t *timer)
{
    struct tarn_connection *connection = timer->data;
    if (atomic_load(&connection->pending) > 0)
        return;
    uv_timer_stop(timer);
    uv_close((uv_handle_t *)timer, destroy);
}

// On the loop: no thread reads the connection any more; replies may still be under way.
static void connection_over(struct tarn_post *post)
{
    struct tarn_connection *connection = tarn_container_of(post, struct tarn_connection, ended);
    for (unsigned i = 0; i < connection->thread_count; i++)
        pthread_join(connection->threads[i], NULL);
    uv_timer_init(tarn_loop_queue_loop(connection->server->options.queue), &connection->drain);
    connection->drain.data = connection;
    uv_timer_start(&connection->drain, try_destroy, 0, DRAIN_MS);
}

static void stop_serving(struct tarn_connection *connection)
{
    if (atomic_fetch_sub(&connection->serving, 1) > 1)
        return;
    connection->ended.run = connection_over;
    tarn_loop_queue_post(connection->server->options.queue, &connection->ended);
}

// --- serving -----------------------------------------------------------------------------------------

static ssize_t read_device(int fd, void *buffer, size_t length, void *userdata)
{
    (void)userdata;
    return read(fd, buffer, length);
}

static ssize_t write_device(int fd, struct iovec *parts, int count, void *userdata)
{
    (void)userdata;
    return writev(fd, parts, count);
}

static void *serve_all(void *argument)
{
    struct tarn_connection *connection = argument;
    struct fuse_buf buffer = { 0 };
    for (;;) {
        const int ret = fuse_session_receive_buf(connection->session, &buffer);
        if (ret == -EINTR || ret == -EAGAIN)
            continue;
        if (ret <= 0)
            break; // 0: unmounted everywhere
        fuse_session_process_buf(connection->session, &buffer);
    }
    free(buffer.mem);
    stop_serving(connection);
    return NULL;
}

// Takes what one readable connection has, but not for ever: others wait.
static void serve_ready(struct tarn_connection *connection, struct fuse_buf *buffer)
{
    enum { BATCH = 16 };
    for (int i = 0; i < BATCH; i++) {
        const int ret = fuse_session_receive_buf(connection->session, buffer);
        if (ret == -EINTR)
            continue;
        if (ret == -EAGAIN)
            return;
        if (ret <= 0) {
            atomic_store(&connection->over, true);
            return;
        }
        fuse_session_process_buf(connection->session, buffer);
    }
}

// One-shot events: a connection is with one thread at a time, which arms it again.
static void *serve_slots(void *argument)
{
    struct tarn_server *server = argument;
    struct fuse_buf buffer = { 0 };
    for (;;) {
        struct epoll_event event;
        const int n = epoll_wait(server->epoll, &event, 1, -1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || !event.data.ptr)
            break;
        struct tarn_connection *connection = event.data.ptr;
        serve_ready(connection, &buffer);
        if (atomic_load(&connection->over)) {
            epoll_ctl(server->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
            stop_serving(connection);
            continue;
        }
        event.events = EPOLLIN | EPOLLONESHOT;
        epoll_ctl(server->epoll, EPOLL_CTL_MOD, connection->fd, &event);
    }
    free(buffer.mem);
    return NULL;
}

static int start_slot_threads(struct tarn_server *server, struct tarn_err *err)
{
    struct epoll_event event = { .events = EPOLLIN };
    if (server->epoll < 0)
        server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll >= 0 && server->stop < 0) {
        server->stop = eventfd(0, EFD_CLOEXEC);
        if (server->stop >= 0)
            epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->stop, &event);
    }
    if (server->epoll < 0 || server->stop < 0)
        return tarn_fail_errno(err, -errno, "cannot make an epoll set");
    // One will do; those that cannot be started now are with the next mount.
    while (server->thread_count < server->options.threads) {
        const int ret =
            pthread_create(&server->threads[server->thread_count], NULL, serve_slots, server);
        if (ret != 0 && server->thread_count == 0)
            return tarn_fail_errno(err, -ret, "cannot start a thread");
        if (ret != 0)
            break;
        server->thread_count++;
    }
    return 0;
}

static int start_own_threads(struct tarn_connection *connection, struct tarn_err *err)
{
    const unsigned wanted = connection->server->options.threads;
    atomic_store(&connection->serving, wanted);
    while (connection->thread_count < wanted) {
        const int ret = pthread_create(&connection->threads[connection->thread_count], NULL,
                                       serve_all, connection);
        if (ret != 0 && connection->thread_count == 0)
            return tarn_fail_errno(err, -ret, "cannot start a thread");
        if (ret != 0) {
            atomic_fetch_sub(&connection->serving, wanted - connection->thread_count);
            break;
        }
        connection->thread_count++;
    }
    return 0;
}

static int start(struct tarn_connection *connection, struct tarn_err *err)
{
    struct tarn_server *server = connection->server;
    if (!connection->slot)
        return start_own_threads(connection, err);
    atomic_store(&connection->serving, 1);
    const int ret = start_slot_threads(server, err);
    if (ret < 0)
        return ret;
    struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = connection };
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        return tarn_fail_errno(err, -errno, "cannot add to the epoll set");
    return 0;
}

static int open_session(struct tarn_connection *connection, int fd, struct tarn_err *err)
{
    static const struct fuse_custom_io io = { .read = read_device, .writev = write_device };
    char name[] = "tarnd";
    char *argv[] = { name, NULL };
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    connection->session =
        fuse_session_new(&args, &tarn_fuse_operations, sizeof tarn_fuse_operations, connection);
    fuse_opt_free_args(&args);
    if (!connection->session) {
        close(fd);
        return tarn_fail(err, -ENOMEM, "cannot start a FUSE session");
    }
    const int ret = fuse_session_custom_io(connection->session, &io, fd);
    if (ret < 0) {
        close(fd);
        return tarn_fail_errno(err, ret, "cannot start a FUSE session");
    }
    connection->fd = fd;
    return 0;
}

int tarn_server_add(struct tarn_server *server, int fd, struct tarn_slot *slot,
                    struct tarn_connection **connection, struct tarn_err *err)
{
    struct tarn_connection *added = calloc(1, sizeof *added);
    if (!added) {
        close(fd);
        tarn_slot_put(slot);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    added->server = server;
    added->slot = slot;
    int ret = open_session(added, fd, err);
    const int flags = ret < 0 ? 0 : fcntl(fd, F_GETFL);
    if (ret == 0 && fcntl(fd, F_SETFL, slot ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
        ret = tarn_fail_errno(err, -errno, "cannot use the FUSE descriptor");
    if (ret == 0) {
        ret = start(added, err);
    }
    if (ret < 0) {
        if (added->session)
            fuse_session_destroy(added->session);
        tarn_slot_put(slot);
        free(added);
        return ret;
    }
    added->next = server->first;
    server->first = added;
    *connection = added;
    return 0;
}

void tarn_connection_forget_slot(struct tarn_connection *connection, uint32_t number)
{
    char name[16];
    const int length = snprintf(name, sizeof name, "%u", number);
    const int ret = fuse_lowlevel_notify_inval_entry(connection->session, TARN_NODE_IMAGES, name,
                                                     (size_t)length);
    if (ret < 0 && ret != -ENOENT)
        tarn_log(TARN_LOG_WARNING, "the kernel does not forget image %u: %s", number,
                 strerror(-ret));
}

bool tarn_connection_drop_name(struct tarn_connection *connection, uint64_t directory,
                               const char *name, size_t length)
{
    char terminated[TARN_NAME_MAX + 1]; // the library sends the byte behind the name too
    if (length > TARN_NAME_MAX)
        return false;
    memcpy(terminated, name, length);
    terminated[length] = '\0';
    return fuse_lowlevel_notify_inval_entry(connection->session, directory, terminated, length) ==
           0;
}
