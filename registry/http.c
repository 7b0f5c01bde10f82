// SPDX-License-Identifier: Apache-2.0
// libcurl's multi interface on a libuv loop: a poll handle for each socket, one timer.
#include "registry/http_internal.h"

#include <string.h>

#include "base/file.h"

enum {
    CONNECTIONS_PER_HOST = 16,
    CONNECTIONS_KEPT = 64,
};

struct tarn_poll {
    uv_poll_t handle;
    struct tarn_http *http;
    curl_socket_t socket;
};

// --- what libcurl asks for -------------------------------------------------------------------------

// Work that came up while libcurl was inside.
static void do_later(struct tarn_http *http)
{
    while (http->later) {
        struct tarn_exchange *exchange = http->later;
        http->later = exchange->next;
        exchange->next = NULL;
        if (exchange->cancelled)
            tarn_http_remove(exchange);
        else if (!exchange->added && !tarn_http_add(exchange))
            tarn_exchange_finish(exchange, CURLE_OUT_OF_MEMORY);
    }
}

static void finish_ended(struct tarn_http *http)
{
    int left;
    const CURLMsg *message;
    while ((message = tarn_libcurl()->multi_info_read(http->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct tarn_exchange *exchange;
        const CURLcode code = message->data.result;
        tarn_libcurl()->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
        tarn_exchange_finish(exchange, code);
    }
}

static void act(struct tarn_http *http, curl_socket_t socket, int events)
{
    int running;
    http->inside = true;
    tarn_libcurl()->multi_socket_action(http->multi, socket, events, &running);
    http->inside = false;
    do_later(http);
    finish_ended(http);
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long milliseconds, void *context)
{
    struct tarn_http *http = context;
    (void)multi;
    if (http->freed)
        return 0;
    if (milliseconds < 0)
        uv_timer_stop(&http->timer);
    else
        uv_timer_start(&http->timer, on_timer, (uint64_t)milliseconds, 0);
    return 0;
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    const struct tarn_poll *poll = handle->data;
    int flags = 0;
    if (status < 0) // let libcurl find out what it is
        events = UV_READABLE | UV_WRITABLE;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(poll->http, poll->socket, flags);
}

static void free_client(struct tarn_http *http)
{
    free(http->no_proxy);
    free(http);
}

static void unref(struct tarn_http *http)
{
    if (--http->handles == 0 && http->freed)
        free_client(http);
}

static void poll_closed(uv_handle_t *handle)
{
    struct tarn_poll *poll = handle->data;
    unref(poll->http);
    free(poll);
}

static struct tarn_poll *new_poll(struct tarn_http *http, curl_socket_t socket)
{
    struct tarn_poll *poll = calloc(1, sizeof *poll);
    if (!poll || uv_poll_init_socket(http->loop, &poll->handle, socket) < 0) {
        free(poll);
        return NULL;
    }
    poll->handle.data = poll;
    poll->http = http;
    poll->socket = socket;
    http->handles++;
    tarn_libcurl()->multi_assign(http->multi, socket, poll);
    return poll;
}

static int watch_socket(CURL *easy, curl_socket_t socket, int what, void *context,
                        void *socket_context)
{
    struct tarn_http *http = context;
    struct tarn_poll *poll = socket_context;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (poll) {
            uv_poll_stop(&poll->handle);
            uv_close((uv_handle_t *)&poll->handle, poll_closed);
            tarn_libcurl()->multi_assign(http->multi, socket, NULL);
        }
        return 0;
    }
    if (!poll)
        poll = new_poll(http, socket);
    if (!poll)
        return -1; // libcurl ends the transfers on it
    int events = 0;
    if (what != CURL_POLL_IN)
        events |= UV_WRITABLE;
    if (what != CURL_POLL_OUT)
        events |= UV_READABLE;
    return uv_poll_start(&poll->handle, events, on_ready) < 0 ? -1 : 0;
}

// --- the client --------------------------------------------------------------------------------------

// This machine needs no proxy, whatever the environment says: other clients of registries take it so too.
static char *list_no_proxy(void)
{
    const char *list = getenv("no_proxy");
    if (!list)
        list = getenv("NO_PROXY");
    // "*" counts only where it stands alone.
    if (list && strcmp(list, "*") == 0)
        return strdup(list);
    return tarn_asprintf("%s%slocalhost,127.0.0.0/8,::1", list ? list : "", list ? "," : "");
}

struct tarn_http *tarn_http_new(uv_loop_t *loop, struct tarn_err *err)
{
    if (tarn_libcurl_load(err) < 0)
        return NULL;
    struct tarn_http *http = calloc(1, sizeof *http);
    CURLM *multi = tarn_libcurl()->multi_init();
    if (http)
        http->no_proxy = list_no_proxy();
    if (!http || !multi || !http->no_proxy) {
        if (http)
            free_client(http);
        tarn_libcurl()->multi_cleanup(multi);
        tarn_fail(err, -ENOMEM, "out of memory starting libcurl");
        return NULL;
    }
    http->loop = loop;
    http->multi = multi;
    http->handles = 1;
    uv_timer_init(loop, &http->timer);
    http->timer.data = http;
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_SOCKETDATA, http);
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timer);
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_TIMERDATA, http);
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)CONNECTIONS_PER_HOST);
    tarn_libcurl()->multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    return http;
}

static void timer_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

void tarn_http_free(struct tarn_http *http)
{
    if (!http)
        return;
    tarn_libcurl()->multi_cleanup(
        http->multi); // closes the kept connections, and with them their polls
    http->freed = true;
    uv_close((uv_handle_t *)&http->timer, timer_closed);
}

uv_loop_t *tarn_http_loop(const struct tarn_http *http)
{
    return http->loop;
}

static void take_back(struct tarn_exchange *exchange)
{
    struct tarn_exchange **at = &exchange->http->later;
    while (*at && *at != exchange)
        at = &(*at)->next;
    if (*at)
        *at = exchange->next;
}

static void put_off(struct tarn_exchange *exchange)
{
    take_back(exchange);
    exchange->next = exchange->http->later;
    exchange->http->later = exchange;
}

bool tarn_http_add(struct tarn_exchange *exchange)
{
    struct tarn_http *http = exchange->http;
    if (http->inside) {
        put_off(exchange);
        return true;
    }
    // This asks for the timer, no more, so that no callback comes from within.
    exchange->added = tarn_libcurl()->multi_add_handle(http->multi, exchange->easy) == CURLM_OK;
    return exchange->added;
}

void tarn_http_remove(struct tarn_exchange *exchange)
{
    struct tarn_http *http = exchange->http;
    if (http->inside) {
        put_off(exchange);
        return;
    }
    take_back(exchange);
    if (exchange->added)
        tarn_libcurl()->multi_remove_handle(http->multi, exchange->easy);
    exchange->added = false;
    tarn_exchange_free(exchange);
}
