// SPDX-License-Identifier: Apache-2.0
#include "daemon/worker_internal.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "base/container.h"
#include "base/file.h"
#include "base/log.h"

enum { TICK_MS = 50, FIRST_MS = 5000 };

static unsigned clamp_processors(unsigned low, unsigned high)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < (long)low ? low : n > (long)high ? high : (unsigned)n;
}

// --- the mounter ---------------------------------------------------------------------------------------

// Not -EPIPE, which would tell a client that the daemon has gone.
static int fail_without_mounter(struct tarn_err *err)
{
    return tarn_fail(err, -EIO,
                     "tarnd's process that mounts has gone; unmount all, then tarnd starts anew");
}

int tarn_worker_ask_mounter(struct tarn_worker *worker, const struct tarn_mounter_request *request,
                            struct tarn_mounter_wait *wait, struct tarn_err *err)
{
    if (tarn_mounter_send(worker->options.mounter, request, NULL) < 0)
        return fail_without_mounter(err);
    wait->next = NULL;
    if (worker->mounter_last)
        worker->mounter_last->next = wait;
    else
        worker->mounter_first = wait;
    worker->mounter_last = wait;
    return 0;
}

static struct tarn_mounter_wait *take_wait(struct tarn_worker *worker)
{
    struct tarn_mounter_wait *wait = worker->mounter_first;
    if (wait)
        worker->mounter_first = wait->next;
    if (!worker->mounter_first)
        worker->mounter_last = NULL;
    return wait;
}

static void mounter_gone(struct tarn_worker *worker)
{
    struct tarn_err err;
    const int ret = fail_without_mounter(&err);
    tarn_log(TARN_LOG_ERROR, "%s", err.text);
    uv_poll_stop(&worker->mounter_poll);
    struct tarn_mounter_wait *wait;
    while ((wait = take_wait(worker)))
        wait->answered(wait, ret, -1, &err);
}

static void mounter_answered(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct tarn_worker *worker = poll->data;
    struct tarn_mounter_reply reply;
    struct tarn_err err = { 0 };
    int descriptor = -1;
    const int ret = status < 0
                        ? -EPIPE
                        : tarn_mounter_receive(worker->options.mounter, &reply, &descriptor, &err);
    if (ret == -EPIPE) {
        mounter_gone(worker);
        return;
    }
    struct tarn_mounter_wait *wait = take_wait(worker);
    if (wait) {
        wait->answered(wait, ret, descriptor, &err);
        return;
    }
    tarn_log(TARN_LOG_WARNING, "the mounter answered what nobody asked");
    if (descriptor >= 0)
        close(descriptor);
}

// Before the loop runs: the base is there when the first client is let in.
static int mount_base(struct tarn_worker *worker, struct tarn_err *err)
{
    const struct tarn_mounter_request request = { .operation = TARN_MOUNTER_BASE };
    struct tarn_mounter_reply reply = { 0 };
    int fd = -1;
    int ret = tarn_mounter_send(worker->options.mounter, &request, err);
    if (ret == 0)
        ret = tarn_mounter_receive(worker->options.mounter, &reply, &fd, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "%s/mnt", worker->options.root);
    worker->major = reply.major;
    worker->minor = reply.minor;
    ret = tarn_server_add(worker->server, fd, NULL, &worker->connection, err);
    if (ret < 0)
        return ret;
    const struct tarn_watch_options options = { worker->slots, worker->connection, worker->major,
                                                worker->minor };
    ret = tarn_watch_start(&options, &worker->watch, err);
    if (ret < 0)
        return ret;
    ret = uv_poll_init(&worker->loop, &worker->mounter_poll, worker->options.mounter);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "cannot watch the mounter");
    worker->mounter_poll.data = worker;
    uv_poll_start(&worker->mounter_poll, UV_READABLE, mounter_answered);
    return 0;
}

// --- the end -----------------------------------------------------------------------------------------------

struct detaching {
    struct tarn_mounter_wait wait;
    struct tarn_worker *worker;
};

static void close_all(struct tarn_worker *worker)
{
    uv_timer_stop(&worker->tick);
    uv_close((uv_handle_t *)&worker->tick, NULL);
    uv_close((uv_handle_t *)&worker->idle, NULL);
    uv_close((uv_handle_t *)&worker->terminate, NULL);
    uv_close((uv_handle_t *)&worker->interrupt, NULL);
    tarn_opener_free(worker->opener);
    worker->opener = NULL;
    tarn_server_close(worker->server);
    tarn_control_close(worker->control);
    worker->control = NULL;
    tarn_loop_queue_close(worker->queue);
}

// Without the mounter the worker does it: the threads that serve answer if this walks into the base.
static void detach_alone(const struct tarn_worker *worker)
{
    tarn_autofree char *base = tarn_path_join(worker->options.root, "mnt");
    if (base)
        tarn_mounter_clear(base);
}

static void base_detached(struct tarn_mounter_wait *wait, int status, int descriptor,
                          const struct tarn_err *err)
{
    struct detaching *detaching = tarn_container_of(wait, struct detaching, wait);
    if (descriptor >= 0)
        close(descriptor);
    if (status < 0) {
        tarn_log(TARN_LOG_WARNING, "cannot have the base unmounted: %s", err->text);
        detach_alone(detaching->worker);
    }
    free(detaching);
}

// Who has it open keeps it until they close it; nobody can mount from it any more.
static void detach_base(struct tarn_worker *worker)
{
    if (worker->options.mounter < 0)
        return;
    const struct tarn_mounter_request request = { .operation = TARN_MOUNTER_UNBASE };
    struct detaching *detaching = calloc(1, sizeof *detaching);
    if (detaching) {
        detaching->worker = worker;
        detaching->wait.answered = base_detached;
    }
    if (!detaching || tarn_worker_ask_mounter(worker, &request, &detaching->wait, NULL) < 0) {
        free(detaching);
        detach_alone(worker);
    }
}

static bool over(const struct tarn_worker *worker)
{
    return !worker->connection && worker->options.lock < 0 && !worker->sessions &&
           !tarn_opener_busy(worker->opener) && !tarn_fetch_busy(worker->fetch) &&
           tarn_slots_count(worker->slots) == 0;
}

// A new daemon may start from here on: this one serves only who still has the base open.
static void begin_end(struct tarn_worker *worker)
{
    if (worker->state == TARN_WORKER_ENDING)
        return;
    if (worker->state == TARN_WORKER_SERVING)
        detach_base(worker);
    worker->state = TARN_WORKER_ENDING;
    uv_timer_stop(&worker->idle);
    tarn_control_stop(worker->control);
    tarn_watch_stop(worker->watch);
    worker->watch = NULL;
    tarn_worker_start_tick(worker);
}

static void close_mounter(uv_handle_t *handle)
{
    struct tarn_worker *worker = handle->data;
    close(worker->options.mounter);
    worker->options.mounter = -1;
}

// The base is off its directory: the mounter can go, and with both locks closed a new daemon can come.
static void release_root(struct tarn_worker *worker)
{
    if (worker->options.lock < 0)
        return;
    if (worker->options.mounter >= 0)
        uv_close((uv_handle_t *)&worker->mounter_poll, close_mounter);
    close(worker->options.lock);
    worker->options.lock = -1;
}

static void ticked(uv_timer_t *timer)
{
    struct tarn_worker *worker = timer->data;
    const bool waiting = tarn_worker_check_umounts(worker);
    if (worker->state == TARN_WORKER_ENDING) {
        if (!worker->mounter_first)
            release_root(worker);
        if (over(worker))
            close_all(worker);
    } else if (!waiting) {
        uv_timer_stop(timer);
    }
}

void tarn_worker_start_tick(struct tarn_worker *worker)
{
    if (!uv_is_active((uv_handle_t *)&worker->tick))
        uv_timer_start(&worker->tick, ticked, TICK_MS, TICK_MS);
}

static void idle_over(uv_timer_t *timer)
{
    begin_end(timer->data);
}

// Who started the daemon has some time to come with a first request.
static uint64_t idle_ms(const struct tarn_worker *worker)
{
    const uint64_t wanted = (uint64_t)worker->options.idle_seconds * 1000;
    return worker->used || wanted > FIRST_MS ? wanted : FIRST_MS;
}

void tarn_worker_settle(struct tarn_worker *worker)
{
    if (worker->state == TARN_WORKER_ENDING)
        return;
    const bool idle = tarn_slots_count(worker->slots) == 0 && !worker->sessions;
    if (!idle)
        uv_timer_stop(&worker->idle);
    else if (worker->state == TARN_WORKER_STOPPING)
        begin_end(worker);
    else if (!uv_is_active((uv_handle_t *)&worker->idle))
        uv_timer_start(&worker->idle, idle_over, idle_ms(worker), 0);
}

static void slot_ended(void *context)
{
    tarn_worker_check_umounts(context);
    tarn_worker_settle(context);
}

static void connection_ended(void *context, struct tarn_connection *connection)
{
    struct tarn_worker *worker = context;
    if (worker->connection != connection)
        return;
    worker->connection = NULL;
    tarn_slots_end_all(worker->slots);
    if (worker->state != TARN_WORKER_ENDING)
        tarn_log(TARN_LOG_WARNING, "%s/mnt was unmounted; ending", worker->options.root);
    begin_end(worker);
}

// The first signal lets the mounts live on; the second ends the daemon, and reads fail then.
static void told_to_end(uv_signal_t *signal, int number)
{
    struct tarn_worker *worker = signal->data;
    if (worker->state != TARN_WORKER_SERVING) {
        tarn_log(TARN_LOG_WARNING, "ending at once (signal %d)", number);
        _exit(1);
    }
    const size_t mounts = tarn_slots_count(worker->slots);
    if (mounts > 0) {
        tarn_log(TARN_LOG_INFO, "told to end: waiting for %zu mounts to go", mounts);
        detach_base(worker);
        worker->state = TARN_WORKER_STOPPING;
    } else {
        begin_end(worker);
    }
}

// --- the start -------------------------------------------------------------------------------------------------

static void fetch_batch(void *context)
{
    tarn_fetch_flush(((struct tarn_worker *)context)->fetch);
}

static int start_parts(struct tarn_worker *worker, struct tarn_err *err)
{
    const int ret = tarn_store_open(worker->options.root, &worker->store, err);
    if (ret < 0)
        return ret;
    worker->pool = tarn_pool_new(clamp_processors(2, 8), err);
    worker->queue = tarn_loop_queue_new(&worker->loop, fetch_batch, worker, err);
    if (!worker->pool || !worker->queue)
        return err->code;
    const struct tarn_fetch_options fetch = { worker->store, worker->pool, worker->queue,
                                              &worker->total };
    worker->fetch = tarn_fetch_new(&fetch, err);
    worker->slots = tarn_slots_new(worker->queue, slot_ended, worker, err);
    if (!worker->fetch || !worker->slots)
        return err->code;
    const struct tarn_opener_options opener = { &worker->loop, worker->store, worker->slots };
    worker->opener = tarn_opener_new(&opener, err);
    const struct tarn_server_options server = {
        .store = worker->store,
        .slots = worker->slots,
        .fetch = worker->fetch,
        .pool = worker->pool,
        .queue = worker->queue,
        .total = &worker->total,
        .threads = clamp_processors(2, 4),
        .ended = connection_ended,
        .context = worker,
    };
    worker->server = tarn_server_new(&server, err);
    return worker->opener && worker->server ? 0 : err->code;
}

static int start_serving(struct tarn_worker *worker, struct tarn_err *err)
{
    uv_timer_init(&worker->loop, &worker->idle);
    uv_timer_init(&worker->loop, &worker->tick);
    uv_signal_init(&worker->loop, &worker->terminate);
    uv_signal_init(&worker->loop, &worker->interrupt);
    worker->idle.data = worker;
    worker->tick.data = worker;
    worker->terminate.data = worker;
    worker->interrupt.data = worker;
    uv_signal_start(&worker->terminate, told_to_end, SIGTERM);
    uv_signal_start(&worker->interrupt, told_to_end, SIGINT);
    if (worker->options.mounter >= 0) {
        const int ret = mount_base(worker, err);
        if (ret < 0)
            return ret;
    }
    const struct tarn_control_options control = {
        .loop = &worker->loop,
        .directory = worker->options.run_directory,
        .message = tarn_worker_message,
        .closed = tarn_worker_client_closed,
        .context = worker,
    };
    return tarn_control_new(&control, &worker->control, err);
}

static void free_parts(struct tarn_worker *worker)
{
    tarn_server_free(worker->server);
    tarn_pool_free(worker->pool);
    tarn_fetch_free(worker->fetch);
    tarn_slots_free(worker->slots);
    tarn_store_free(worker->store);
}

// Many files may be open: two for each blob, one for each layout.
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            tarn_log(TARN_LOG_WARNING, "cannot raise the number of open files");
    }
}

int tarn_worker_run(const struct tarn_worker_options *options, struct tarn_err *err)
{
    raise_limits();
    signal(SIGPIPE, SIG_IGN);
    int ret = tarn_bus_guard_start(err);
    if (ret < 0)
        return ret;
    struct tarn_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return tarn_fail(err, -ENOMEM, "out of memory");
    worker->options = *options;
    ret = uv_loop_init(&worker->loop);
    if (ret < 0) {
        free(worker);
        return tarn_fail_errno(err, ret, "cannot start the loop");
    }
    ret = start_parts(worker, err);
    if (ret == 0)
        ret = start_serving(worker, err);
    if (ret < 0)
        return ret; // the process ends: threads and handles are left to it
    if (worker->options.ready >= 0)
        close(worker->options.ready);
    tarn_worker_settle(worker);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    free_parts(worker);
    uv_loop_close(&worker->loop);
    free(worker);
    return 0;
}
