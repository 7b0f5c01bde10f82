// SPDX-License-Identifier: Apache-2.0
// For the tests of the authority: an HTTP client of their own, which takes each request down and answers it
// when the test says so, a clock of their own, and who asks. Each program includes it once.
#ifndef TARN_TESTS_AUTHORITY_WORLD_H
#define TARN_TESTS_AUTHORITY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "registry/authority.h"
#include "registry/token_request.h"

#define REALM "https://auth.example/token"
#define BEARER "Bearer realm=\"" REALM "\",service=\"s v\",scope=\"repository:ns/repo:pull\""
#define PULL_QUERY "service=s%20v&scope=repository%3Ans%2Frepo%3Apull"

// --- the fake client ------------------------------------------------------------------------------------

struct tarn_exchange {
    struct tarn_http_request request;
    char *text; // "METHOD URL[ Authorization][ BODY]"
    struct tarn_exchange **slot;
};

struct tarn_http {
    uv_loop_t loop;
    uint64_t now;                   // ms
    struct tarn_exchange *exchange; // the one under way
    unsigned started;
    unsigned cancelled;
    int refuse; // what the next start returns
};

int tarn_http_start(struct tarn_http *http, const struct tarn_http_request *request,
                    struct tarn_exchange **exchange, struct tarn_err *err)
{
    if (http->refuse < 0)
        return tarn_fail(err, http->refuse, "no client");
    assert_null(http->exchange);
    struct tarn_exchange *made = calloc(1, sizeof *made);
    assert_non_null(made);
    made->request = *request;
    const char *authorization = "";
    for (const char *const *h = request->headers; *h; h++)
        if (strncmp(*h, "Authorization: ", 15) == 0)
            authorization = *h + 15;
    made->text =
        tarn_asprintf("%s %s%s%s%s%.*s", request->method, request->url, *authorization ? " " : "",
                      authorization, request->body ? " " : "", (int)request->body_length,
                      request->body ? (const char *)request->body : "");
    made->slot = &http->exchange;
    http->exchange = made;
    http->started++;
    *exchange = made;
    return 0;
}

void tarn_exchange_cancel(struct tarn_exchange *exchange)
{
    struct tarn_http *http =
        (struct tarn_http *)((char *)exchange->slot - offsetof(struct tarn_http, exchange));
    http->cancelled++;
    *exchange->slot = NULL;
    free(exchange->text);
    free(exchange);
}

uv_loop_t *tarn_http_loop(const struct tarn_http *http)
{
    return (uv_loop_t *)(uintptr_t)&http->loop;
}

uint64_t uv_now(const uv_loop_t *loop)
{
    return ((const struct tarn_http *)((const char *)loop - offsetof(struct tarn_http, loop)))->now;
}

char *tarn_http_escape(const char *text)
{
    tarn_autobuf struct tarn_buf out = { 0 };
    for (const char *p = text; *p; p++) {
        const bool plain = isalnum((unsigned char)*p) || strchr("-._~", *p);
        assert_int_equal(0, tarn_buf_printf(&out, plain ? "%c" : "%%%02X", (unsigned char)*p));
    }
    assert_int_equal(0, tarn_buf_append_zeros(&out, 1));
    return (char *)tarn_steal(out.data);
}

// Answers what is under way, which is gone then.
static inline void answer(struct tarn_http *http, int status, const char *body, size_t length,
                          int code)
{
    struct tarn_exchange *exchange = http->exchange;
    assert_non_null(exchange);
    const struct tarn_http_request request = exchange->request;
    const struct tarn_http_head head = { .status = status, .length = length, .url = request.url };
    int ret = status ? request.head(request.context, &head) : 0;
    // In two pieces.
    for (size_t i = 0; ret == 0 && i < length; i += (length + 1) / 2)
        ret = request.data(request.context, body + i,
                           length - i < (length + 1) / 2 ? length - i : (length + 1) / 2);
    http->exchange = NULL;
    free(exchange->text);
    free(exchange);
    struct tarn_err err = { 0 };
    if (ret == 0 && code < 0)
        ret = tarn_fail(&err, code, "the line is cut");
    request.done(request.context, ret, &err);
}

static inline void answer_status(struct tarn_http *http, int status)
{
    answer(http, status, "secret", 6, 0);
}

static inline void answer_token(struct tarn_http *http, const char *token, int seconds)
{
    tarn_autofree char *text =
        tarn_asprintf("{\"token\":\"%s\",\"expires_in\":%d}", token, seconds);
    answer(http, 200, text, strlen(text), 0);
}

static inline void expect_request(const struct tarn_http *http, const char *want)
{
    assert_non_null(http->exchange);
    assert_string_equal(want, http->exchange->text);
}

// --- who asks -------------------------------------------------------------------------------------------

struct asker {
    struct tarn_authority_wait wait;
    int calls;
    int status;
    char header[200]; // "" for none
    char text[TARN_ERR_TEXT];
};

static inline void on_header(void *context, int status, const char *header,
                             const struct tarn_err *err)
{
    struct asker *asker = context;
    asker->calls++;
    asker->status = status;
    snprintf(asker->header, sizeof asker->header, "%s", header ? header : "");
    snprintf(asker->text, sizeof asker->text, "%s", err ? err->text : "");
}

struct world {
    struct tarn_http http;
    struct tarn_access access;
    struct tarn_authority *authority;
    struct asker askers[4];
};

static const struct tarn_scope pull = { 0 };
static const struct tarn_scope push = { .push = true };

static inline int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    assert_int_equal(0, uv_loop_init(&world->http.loop));
    world->http.now = 1000000;
    *state = world;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *world = *state;
    tarn_authority_free(world->authority);
    assert_null(world->http.exchange);
    uv_run(&world->http.loop, UV_RUN_DEFAULT);
    assert_int_equal(0, uv_loop_close(&world->http.loop));
    tarn_access_release(&world->access);
    free(world);
    return 0;
}

static inline void open_authority(struct world *world, const char *host)
{
    struct tarn_err err;
    world->authority = tarn_authority_new(&world->http, &world->access, host, "ns/repo", &err);
    assert_non_null(world->authority);
}

static inline void log_in(struct world *world, const char *user, const char *password)
{
    world->access.username = strdup(user);
    world->access.password = strdup(password);
    open_authority(world, "h.io");
}

// The I-th asker asks; true if it was answered at once.
static inline struct asker *get(struct world *world, unsigned i, const struct tarn_scope *scope)
{
    struct asker *asker = &world->askers[i];
    *asker = (struct asker){ .wait = { .context = asker, .done = on_header } };
    tarn_authority_get(world->authority, scope, &asker->wait);
    return asker;
}

static inline void expect_header(const struct asker *asker, const char *want)
{
    if (asker->calls != 1 || asker->status != 0 || strcmp(asker->header, want) != 0)
        fail_msg("want '%s', got %d calls, status %d, '%s', %s", want, asker->calls, asker->status,
                 asker->header, asker->text);
}

static inline void expect_failure(const struct asker *asker, int status, const char *words)
{
    if (asker->calls != 1 || asker->status != status || !strstr(asker->text, words) ||
        strstr(asker->text, "secret") || asker->header[0])
        fail_msg("want %d '%s', got %d calls, status %d, '%s', '%s'", status, words, asker->calls,
                 asker->status, asker->text, asker->header);
}

static inline void refused(struct world *world, const struct tarn_scope *scope, const char *header,
                           const char *challenge, int want, const char *words)
{
    struct tarn_err err = { 0 };
    const int ret = tarn_authority_refused(world->authority, scope, header, challenge, &err);
    if (ret != want || (want < 0 && !strstr(err.text, words)) || strstr(err.text, "secret"))
        fail_msg("%s: want %d '%s', got %d '%s'", challenge ? challenge : "(no challenge)", want,
                 words, ret, err.text);
}

// Waits until the credentials are read again: true if they are others.
static inline bool read_again(struct world *world)
{
    struct asker asker = { .wait = { .context = &asker, .done = on_header } };
    tarn_authority_await_credentials(world->authority, &asker.wait);
    assert_int_equal(0, asker.calls);
    while (asker.calls == 0)
        uv_run(&world->http.loop, UV_RUN_ONCE);
    return asker.status == 0;
}

// Up to the first token, which is "t1" and lives so long.
static inline void first_token(struct world *world, int seconds)
{
    expect_header(get(world, 0, &pull), "");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    answer_token(&world->http, "t1", seconds);
    expect_header(asker, "Authorization: Bearer t1");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
