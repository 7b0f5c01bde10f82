// SPDX-License-Identifier: Apache-2.0
// A call's life: AUTHORISE -> ATTEMPT -> over, or PAUSE -> AUTHORISE again.
//
// The deadline moves with progress, but only as fast as a line of SLOWEST bytes a second would bring it, and
// never further than the timeout ahead: a registry that trickles is as dead as one that is away, and so is one
// whose every answer breaks off at the same place.
#include "registry/call.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "registry/endpoint.h"

enum {
    SLOWEST = 1024, // bytes a second
    LEAST = 1024,   // bytes that an attempt must bring to be followed by another one at once
    PAUSE_FIRST_MS = 100,
    PAUSE_MAX_MS = 5000,
    LOOK_MS = 100, // between looks whether it is interrupted
    REFUSALS_MAX = 3,
    STALE_MAX = 2,
    IGNORED_BODY_MAX = 64 << 10,
};

struct tarn_call {
    struct tarn_endpoint *endpoint;
    struct tarn_call_request request;
    char *path;
    char *url; // of this attempt
    char *headers[3];
    char *from;
    uv_timer_t timer;
    uint64_t deadline; // ms of uv_now()
    bool pausing;
    uint64_t resume_at; // the pause's end
    bool authorising;
    bool foreign; // url is the request's and not on the registry's host: no Authorization
    struct tarn_authority_wait wait;
    struct tarn_exchange *exchange;
    char *authorization; // as sent
    char *challenge;     // of a 401
    int http_status;     // of the answer, 0: none yet
    uint64_t retry_after_ms;
    bool wrong_protocol; // perhaps: plain HTTP sent to a TLS port
    bool ignore_body;
    bool stale; // the place that the registry led to takes no more of the signature in its URL
    unsigned stale_count;
    uint64_t ignored;
    bool sent; // some of the request's body went out
    // Bytes, sent or received, that the next attempt would move again: so far in this one, and at most in one.
    uint64_t repeated;
    uint64_t repeated_most;
    uint64_t progress; // bytes, since the last pause
    unsigned pauses;
    unsigned refusals;
    bool cancelled;
    bool decided; // head(), data() or end() ended it
    int status;
    struct tarn_err err; // the last failure
};

static void attempt(struct tarn_call *call);

// --- the end -----------------------------------------------------------------------------------------

static void timer_closed(uv_handle_t *handle)
{
    struct tarn_call *call = handle->data;
    for (size_t i = 0; i < sizeof call->headers / sizeof call->headers[0]; i++)
        free(call->headers[i]);
    free(call->path);
    free(call->url);
    free(call->from);
    free(call->authorization);
    free(call->challenge);
    free(call);
}

static void stop(struct tarn_call *call)
{
    call->cancelled = true;
    if (call->exchange)
        tarn_exchange_cancel(call->exchange);
    call->exchange = NULL;
    if (call->authorising)
        tarn_authority_give_up(&call->wait);
    call->authorising = false;
    uv_close((uv_handle_t *)&call->timer, timer_closed);
}

void tarn_call_cancel(struct tarn_call *call)
{
    if (!call->cancelled)
        stop(call);
}

// Without the query, which may hold a signature.
static int url_length(const char *url)
{
    return (int)tarn_min_u64(strcspn(url, "?"), 300);
}

static void finish(struct tarn_call *call, int status, const struct tarn_err *err)
{
    void (*done)(void *, int, const struct tarn_err *) = call->request.done;
    struct tarn_err told = { 0 };
    if (status < 0) {
        told = *err;
        if (!told.text[0])
            tarn_fail_errno(&told, status, "failed");
        const char *url = call->url ? call->url : call->endpoint->host;
        tarn_err_prepend(&told, "%s %.*s", call->request.method, url_length(url), url);
    }
    stop(call); // freed by the loop, later
    done(call->request.context, status, &told);
}

static int timeout_of(const struct tarn_call *call)
{
    const unsigned timeout =
        call->request.timeout ? call->request.timeout : call->endpoint->access.timeout;
    return (int)(timeout ? timeout : TARN_ACCESS_TIMEOUT);
}

static void finish_late(struct tarn_call *call)
{
    struct tarn_err err = { 0 };
    tarn_fail(&err, -ETIMEDOUT,
              "no answer or progress for %d s (%.500s); is the registry up? --timeout waits longer",
              timeout_of(call), call->err.text[0] ? call->err.text : "it does not answer");
    finish(call, -ETIMEDOUT, &err);
}

// --- time -----------------------------------------------------------------------------------------------

// True: it has ended.
static bool end_if_interrupted(struct tarn_call *call)
{
    const struct tarn_endpoint *endpoint = call->endpoint;
    if (call->request.timeout > 0 || !endpoint->interrupted ||
        !endpoint->interrupted(endpoint->interrupted_context))
        return false;
    struct tarn_err err = { 0 };
    tarn_fail(&err, -EINTR, "interrupted");
    finish(call, -EINTR, &err);
    return true;
}

static void on_timer(uv_timer_t *timer);

// To the next moment at which there is something to do or to look at.
static void set_timer(struct tarn_call *call)
{
    const uint64_t now = uv_now(call->timer.loop);
    uint64_t next = call->deadline;
    if (call->pausing)
        next = tarn_min_u64(next, call->resume_at);
    if (call->endpoint->interrupted)
        next = tarn_min_u64(next, now + LOOK_MS);
    uv_timer_start(&call->timer, on_timer, next > now ? next - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct tarn_call *call = timer->data;
    const uint64_t now = uv_now(timer->loop);
    if (end_if_interrupted(call))
        return;
    if (now >= call->deadline) {
        finish_late(call);
        return;
    }
    const bool resume = call->pausing && now >= call->resume_at;
    if (resume)
        call->pausing = false;
    set_timer(call);
    if (resume)
        attempt(call);
}

// Bytes were moved, of which so many will not be again.
static void note_progress(struct tarn_call *call, size_t bytes, size_t lasting)
{
    uint64_t progress = lasting;
    call->repeated += bytes - lasting;
    if (call->repeated > call->repeated_most) {
        progress += call->repeated - call->repeated_most;
        call->repeated_most = call->repeated;
    }
    const uint64_t limit = uv_now(call->timer.loop) + (uint64_t)timeout_of(call) * 1000;
    call->deadline = tarn_min_u64(limit, call->deadline + progress * 1000 / SLOWEST);
    call->progress += progress;
}

// Spreads what many clients would do at the same moment.
static uint64_t jitter(const struct tarn_call *call, uint64_t milliseconds)
{
    uint64_t x = uv_hrtime() ^ (uintptr_t)call;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return milliseconds / 2 + (x >> 32) % (milliseconds / 2 + 1);
}

// The attempt failed, and err says how: another one after a while.
static void pause_call(struct tarn_call *call)
{
    if (call->progress > 0)
        call->pauses = 0;
    call->progress = 0;
    const unsigned shift = call->pauses < 8 ? call->pauses : 8;
    call->pauses++;
    uint64_t wait = tarn_min_u64((uint64_t)PAUSE_FIRST_MS << shift, PAUSE_MAX_MS);
    wait = tarn_max_u64(jitter(call, wait), call->retry_after_ms);
    call->retry_after_ms = 0;
    call->resume_at = uv_now(call->timer.loop) + wait;
    call->pausing = true;
    set_timer(call);
}

// --- an answer ----------------------------------------------------------------------------------------

static bool is_transient(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

static uint64_t parse_seconds(const char *text)
{
    uint64_t seconds = 0;
    for (; text && *text >= '0' && *text <= '9' && seconds < TARN_ACCESS_TIMEOUT_MAX; text++)
        seconds = seconds * 10 + (uint64_t)(*text - '0');
    return seconds;
}

// The other protocol can be tried, or another call has found out about it meanwhile.
static bool is_unsettled(const struct tarn_call *call)
{
    const bool tls = strncmp(call->url, "https:", 6) == 0;
    return call->endpoint->may_switch || (!call->request.url && tls != call->endpoint->tls);
}

static bool switch_protocol(struct tarn_call *call)
{
    if (!is_unsettled(call))
        return false;
    tarn_endpoint_switch(call->endpoint);
    return true;
}

static int on_head(void *context, const struct tarn_http_head *head)
{
    struct tarn_call *call = context;
    call->http_status = head->status;
    const char *type = tarn_http_header(head, "Content-Type");
    call->wrong_protocol = head->status == 400 && !(type && strstr(type, "json"));
    if (call->wrong_protocol && is_unsettled(call)) {
        call->ignore_body = true;
        return 0;
    }
    tarn_endpoint_settle(call->endpoint);
    // A redirect led there: to another host, or, where that refuses the signature, to any other place.
    const bool elsewhere = head->status == 401   ? !tarn_http_same_origin(head->url, call->url)
                           : head->status == 403 ? strcmp(head->url, call->url) != 0
                                                 : false;
    call->stale = elsewhere && call->stale_count++ < STALE_MAX;
    if (call->stale) {
        call->ignore_body = true;
        return 0;
    }
    if (head->status == 401 && call->foreign) {
        call->decided = true;
        call->status = tarn_fail(&call->err, -EACCES,
                                 "HTTP status 401 from a host that the registry named, and that "
                                 "does not get the credentials for %.255s",
                                 call->endpoint->host);
        return call->status;
    }
    if (head->status == 401 && !elsewhere) {
        free(call->challenge);
        call->challenge = tarn_http_header_list(head, "WWW-Authenticate");
        call->ignore_body = true;
        return 0;
    }
    if (is_transient(head->status)) {
        call->retry_after_ms = 1000 * parse_seconds(tarn_http_header(head, "Retry-After"));
        call->ignore_body = true;
        return 0;
    }
    call->err = (struct tarn_err){ 0 };
    call->status = call->request.head(call->request.context, head, &call->err);
    call->decided = call->status < 0;
    return call->status;
}

static int on_data(void *context, const void *bytes, size_t length)
{
    struct tarn_call *call = context;
    if (call->ignore_body || !call->request.data) {
        call->ignored += length;
        return call->ignored > IGNORED_BODY_MAX ? -EFBIG : 0;
    }
    const uint64_t start = uv_hrtime();
    const int ret = call->request.data(call->request.context, bytes, length, &call->err);
    if (call->cancelled)
        return 0;
    note_progress(call, length, ret > 0 ? (size_t)ret : 0);
    call->deadline += (uv_hrtime() - start) / 1000000; // the callee's time, not the registry's
    call->status = ret < 0 ? ret : 0;
    call->decided = ret < 0;
    return call->status;
}

static void on_sent(void *context, size_t length)
{
    struct tarn_call *call = context;
    call->sent = true;
    note_progress(call, length, 0);
}

static void credentials_read(void *context, int status, const char *header,
                             const struct tarn_err *err)
{
    struct tarn_call *call = context;
    (void)header;
    (void)err;
    call->authorising = false;
    if (status == 0)
        attempt(call);
    else
        finish(call, call->err.code, &call->err);
}

static void refused(struct tarn_call *call)
{
    struct tarn_err err = { 0 };
    int ret = -EACCES;
    if (call->refusals++ < REFUSALS_MAX)
        ret = tarn_authority_refused(call->endpoint->authority, &call->request.scope,
                                     call->authorization, call->challenge, &err);
    else
        tarn_fail(&err, ret, "HTTP status 401 again and again; `skopeo login %s` may help",
                  call->endpoint->host);
    if (ret == -EINPROGRESS) {
        call->err = err;
        call->authorising = true;
        call->wait = (struct tarn_authority_wait){ .context = call, .done = credentials_read };
        tarn_authority_await_credentials(call->endpoint->authority, &call->wait);
    } else if (ret < 0) {
        finish(call, ret, &err);
    } else {
        attempt(call);
    }
}

// One more try, unless that could do a thing twice.
static void failed(struct tarn_call *call)
{
    if (call->request.once && call->sent && call->http_status != 429) {
        call->err.code = -EAGAIN;
        finish(call, -EAGAIN, &call->err);
    } else if (uv_now(call->timer.loop) >= call->deadline) {
        finish_late(call);
    } else {
        pause_call(call);
    }
}

static void ended(struct tarn_call *call)
{
    if (call->stale) {
        attempt(call);
        return;
    }
    if (call->http_status == 401) {
        refused(call);
        return;
    }
    if (call->wrong_protocol && switch_protocol(call)) {
        attempt(call);
        return;
    }
    if (is_transient(call->http_status)) {
        tarn_fail(&call->err, -EAGAIN, "HTTP status %d", call->http_status);
        failed(call);
        return;
    }
    call->err = (struct tarn_err){ 0 };
    const int ret = call->request.end ? call->request.end(call->request.context, &call->err) : 0;
    if (ret == -ERESTART) {
        attempt(call);
    } else if (ret != -EAGAIN) {
        finish(call, ret, &call->err);
    } else if (call->progress >= LEAST) {
        call->progress = 0; // this attempt's: one that brings nothing is followed by a pause
        call->pauses = 0;
        attempt(call);
    } else {
        failed(call);
    }
}

static void on_done(void *context, int status, const struct tarn_err *err)
{
    struct tarn_call *call = context;
    call->exchange = NULL;
    if (call->decided && call->status == -ERESTART) {
        attempt(call);
        return;
    }
    if (call->decided && call->status != -EAGAIN) {
        finish(call, call->status, &call->err);
        return;
    }
    if (call->decided) {
        failed(call);
        return;
    }
    const bool ignored = call->ignore_body || !call->request.data;
    if (status == 0 || (ignored && call->http_status)) { // what became of its body does not matter
        ended(call);
        return;
    }
    call->err = *err;
    // Later on a handshake that fails is only a connection that breaks.
    const bool strange = status == -EPROTO && call->http_status == 0 && !call->endpoint->answered;
    if (status == -ENOMEM || status == -ELOOP) {
        finish(call, status, err);
    } else if (status == -EKEYREJECTED) {
        tarn_fail(
            &call->err, status,
            "the certificate is not trusted (%.300s); --ca FILE names its authority, --insecure "
            "takes any",
            err->text);
        finish(call, status, &call->err);
    } else if (strange && switch_protocol(call)) {
        attempt(call);
    } else if (strange) {
        tarn_fail(&call->err, status, "%.300s; does it speak plain HTTP? then --plain-http",
                  err->text);
        finish(call, status, &call->err);
    } else {
        failed(call);
    }
}

// --- an attempt ---------------------------------------------------------------------------------------

static int make_url(struct tarn_call *call)
{
    if (call->request.url)
        return 0;
    free(call->url);
    call->url = tarn_endpoint_url(call->endpoint, call->path);
    return call->url ? 0 : -ENOMEM;
}

static int send_request(struct tarn_call *call, struct tarn_err *err)
{
    char range[sizeof "Range: " + TARN_CALL_RANGE] = "Range: ";
    const char *headers[6];
    size_t n = 0;
    for (size_t i = 0; i < sizeof call->headers / sizeof call->headers[0]; i++)
        if (call->headers[i])
            headers[n++] = call->headers[i];
    if (call->authorization)
        headers[n++] = call->authorization;
    const int ranged =
        call->request.range ? call->request.range(call->request.context, range + strlen(range)) : 0;
    if (ranged < 0)
        return tarn_fail_errno(err, ranged, "nothing more to ask for");
    if (ranged > 0)
        headers[n++] = range;
    headers[n] = NULL;
    const struct tarn_http_request request = {
        .method = call->request.method,
        .url = call->url,
        .headers = headers,
        .access = &call->endpoint->access,
        .body = call->request.body,
        .body_length = call->request.body_length,
        .context = call,
        .head = on_head,
        .data = on_data,
        .sent = on_sent,
        .done = on_done,
    };
    call->http_status = 0;
    call->ignore_body = false;
    call->stale = false;
    call->ignored = 0;
    call->sent = false;
    call->repeated = 0;
    call->decided = false;
    return tarn_http_start(call->endpoint->http, &request, &call->exchange, err);
}

static void authorised(void *context, int status, const char *header, const struct tarn_err *err)
{
    struct tarn_call *call = context;
    call->authorising = false;
    if (status == -EAGAIN) {
        call->err = *err;
        call->refusals = 0; // the next 401 only names the token server again
        failed(call);
        return;
    }
    struct tarn_err own = { 0 };
    free(call->authorization);
    call->authorization = header ? strdup(header) : NULL;
    if (status == 0 && ((header && !call->authorization) || make_url(call) < 0))
        status = tarn_fail(&own, -ENOMEM, "out of memory");
    else if (status < 0)
        own = *err;
    if (status == 0)
        status = send_request(call, &own);
    if (status < 0)
        finish(call, status, &own);
}

static void attempt(struct tarn_call *call)
{
    call->authorising = true;
    if (call->foreign) {
        authorised(call, 0, NULL, NULL);
        return;
    }
    call->wait = (struct tarn_authority_wait){ .context = call, .done = authorised };
    tarn_authority_get(call->endpoint->authority, &call->request.scope, &call->wait);
}

// --- the start ------------------------------------------------------------------------------------------

// Not from within tarn_call_start(), so that done() never comes before it has returned.
static void on_start(uv_timer_t *timer)
{
    struct tarn_call *call = timer->data;
    if (end_if_interrupted(call))
        return;
    set_timer(call);
    attempt(call);
}

static int copy_strings(struct tarn_call *call, const struct tarn_call_request *request)
{
    for (size_t i = 0; i < sizeof call->headers / sizeof call->headers[0]; i++)
        if (request->headers[i] && !(call->headers[i] = strdup(request->headers[i])))
            return -ENOMEM;
    if (request->path && !(call->path = strdup(request->path)))
        return -ENOMEM;
    if (request->url && !(call->url = strdup(request->url)))
        return -ENOMEM;
    if (request->scope.from && !(call->from = strdup(request->scope.from)))
        return -ENOMEM;
    call->request.scope.from = call->from;
    return 0;
}

// A registry may send uploads anywhere, but not what it was told in confidence.
static int set_foreign(struct tarn_call *call)
{
    if (!call->url)
        return 0;
    tarn_autofree char *own = tarn_endpoint_url(call->endpoint, "");
    call->foreign = !own || !tarn_http_same_origin(own, call->url);
    return own ? 0 : -ENOMEM;
}

int tarn_call_start(struct tarn_endpoint *endpoint, const struct tarn_call_request *request,
                    struct tarn_call **call, struct tarn_err *err)
{
    assert(request->head && request->done && !request->path != !request->url);
    struct tarn_call *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    uv_loop_t *loop = tarn_http_loop(endpoint->http);
    new->endpoint = endpoint;
    new->request = *request;
    new->timer.data = new;
    uv_timer_init(loop, &new->timer);
    if (copy_strings(new, request) < 0 || set_foreign(new) < 0) {
        stop(new);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    uv_update_time(loop);
    new->deadline = uv_now(loop) + (uint64_t)timeout_of(new) * 1000;
    uv_timer_start(&new->timer, on_start, 0, 0);
    *call = new;
    return 0;
}

int tarn_call_unexpected(const struct tarn_http_head *head, const char *what, struct tarn_err *err)
{
    if (head->status == 404)
        return tarn_fail(err, -ENOENT,
                         "HTTP status 404: there is no %s; is the name right, was it deleted?",
                         what);
    if (head->status == 403)
        return tarn_fail(err, -EACCES,
                         "HTTP status 403: no access to %s; log in as somebody who has", what);
    return tarn_fail(err, -EIO, "HTTP status %d for %s", head->status, what);
}
