// SPDX-License-Identifier: Apache-2.0
// The authority over an HTTP client of the test's own, which takes each request down and answers it when
// the test says so, on a clock of the test's own.
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
static void answer(struct tarn_http *http, int status, const char *body, size_t length, int code)
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

static void answer_status(struct tarn_http *http, int status)
{
    answer(http, status, "secret", 6, 0);
}

static void answer_token(struct tarn_http *http, const char *token, int seconds)
{
    tarn_autofree char *text =
        tarn_asprintf("{\"token\":\"%s\",\"expires_in\":%d}", token, seconds);
    answer(http, 200, text, strlen(text), 0);
}

static void expect_request(const struct tarn_http *http, const char *want)
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

static void on_header(void *context, int status, const char *header, const struct tarn_err *err)
{
    struct asker *asker = context;
    asker->calls++;
    asker->status = status;
    snprintf(asker->header, sizeof asker->header, "%s", header ? header : "");
    snprintf(asker->text, sizeof asker->text, "%s", status < 0 ? err->text : "");
}

struct world {
    struct tarn_http http;
    struct tarn_access access;
    struct tarn_authority *authority;
    struct asker askers[4];
};

static const struct tarn_scope pull = { 0 };
static const struct tarn_scope push = { .push = true };

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    assert_int_equal(0, uv_loop_init(&world->http.loop));
    world->http.now = 1000000;
    *state = world;
    return 0;
}

static int tear_down(void **state)
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

static void open_authority(struct world *world, const char *host)
{
    struct tarn_err err;
    world->authority = tarn_authority_new(&world->http, &world->access, host, "ns/repo", &err);
    assert_non_null(world->authority);
}

static void log_in(struct world *world, const char *user, const char *password)
{
    world->access.username = strdup(user);
    world->access.password = strdup(password);
    open_authority(world, "h.io");
}

// The I-th asker asks; true if it was answered at once.
static struct asker *get(struct world *world, unsigned i, const struct tarn_scope *scope)
{
    struct asker *asker = &world->askers[i];
    *asker = (struct asker){ .wait = { .context = asker, .done = on_header } };
    tarn_authority_get(world->authority, scope, &asker->wait);
    return asker;
}

static void expect_header(const struct asker *asker, const char *want)
{
    if (asker->calls != 1 || asker->status != 0 || strcmp(asker->header, want) != 0)
        fail_msg("want '%s', got %d calls, status %d, '%s', %s", want, asker->calls, asker->status,
                 asker->header, asker->text);
}

static void expect_failure(const struct asker *asker, int status, const char *words)
{
    if (asker->calls != 1 || asker->status != status || !strstr(asker->text, words) ||
        strstr(asker->text, "secret") || asker->header[0])
        fail_msg("want %d '%s', got %d calls, status %d, '%s', '%s'", status, words, asker->calls,
                 asker->status, asker->text, asker->header);
}

static void refused(struct world *world, const struct tarn_scope *scope, const char *header,
                    const char *challenge, int want, const char *words)
{
    struct tarn_err err = { 0 };
    const int ret = tarn_authority_refused(world->authority, scope, header, challenge, &err);
    if (ret != want || (want < 0 && !strstr(err.text, words)) || strstr(err.text, "secret"))
        fail_msg("%s: want %d '%s', got %d '%s'", challenge ? challenge : "(no challenge)", want,
                 words, ret, err.text);
}

// Up to the first token, which is "t1" and lives so long.
static void first_token(struct world *world, int seconds)
{
    expect_header(get(world, 0, &pull), "");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    answer_token(&world->http, "t1", seconds);
    expect_header(asker, "Authorization: Bearer t1");
}

// --- tests ----------------------------------------------------------------------------------------------

static void test_anonymous(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    expect_header(get(world, 0, &pull), "");
    assert_int_equal(0, world->http.started);
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http, "GET " REALM "?" PULL_QUERY);
    assert_int_equal(0, asker->calls);
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(1, world->http.started);
}

static void test_scopes(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, "Bearer realm=\"" REALM "?a=b#c\"", 0, "");
    static const struct {
        struct tarn_scope scope;
        const char *query;
    } cases[] = {
        { { false, NULL }, "scope=repository%3Ans%2Frepo%3Apull" },
        { { true, NULL }, "scope=repository%3Ans%2Frepo%3Apull%2Cpush" },
        { { true, "other" },
          "scope=repository%3Ans%2Frepo%3Apull%2Cpush&scope=repository%3Aother%3Apull" },
        { { false, "other" },
          "scope=repository%3Ans%2Frepo%3Apull&scope=repository%3Aother%3Apull" },
    };
    for (unsigned i = 0; i < 4; i++) {
        const struct asker *asker = get(world, i, &cases[i].scope);
        tarn_autofree char *want = tarn_asprintf("GET " REALM "?a=b&%s", cases[i].query);
        expect_request(&world->http, want);
        tarn_autofree char *token = tarn_asprintf("t%u", i);
        answer_token(&world->http, token, 300);
        assert_int_equal(1, asker->calls);
    }
    for (unsigned i = 0; i < 4; i++) {
        tarn_autofree char *want = tarn_asprintf("Authorization: Bearer t%u", i);
        expect_header(get(world, i, &cases[i].scope), want);
    }
    // From the repository itself nothing more is needed.
    expect_header(get(world, 0, &(struct tarn_scope){ true, "ns/repo" }),
                  "Authorization: Bearer t1");
    assert_int_equal(4, world->http.started);
}

// Some registries have a scope of their own; those of the repository are ours to say.
static void test_extra_scope(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL,
            "Bearer realm=\"" REALM "\",scope=\"aws repository:ns/repo:push,pull registry:x:*\"", 0,
            "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http,
                   "GET " REALM "?scope=repository%3Ans%2Frepo%3Apull&scope=aws&scope="
                   "registry%3Ax%3A%2A");
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");
}

static void test_post_form(void **state)
{
    struct world *world = *state;
    log_in(world, "us er", "p&=secret");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &push);
    expect_request(&world->http,
                   "POST " REALM
                   " grant_type=password&client_id=tarn&service=s%20v&scope=repository"
                   "%3Ans%2Frepo%3Apull%2Cpush&username=us%20er&password=p%26%3Dsecret");
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");
}

// The statuses that mean that POST is unknown; once GET did it, POST is not tried again.
static void test_get_form(void **state)
{
    static const int statuses[] = { 400, 401, 404, 405, 501, 307 };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (i > 0) {
            assert_int_equal(0, tear_down(state));
            assert_int_equal(0, set_up(state));
        }
        struct world *world = *state;
        log_in(world, "a", "b");
        refused(world, &pull, NULL, BEARER, 0, "");
        const struct asker *asker = get(world, 0, &pull);
        answer_status(&world->http, statuses[i]);
        expect_request(&world->http, "GET " REALM "?" PULL_QUERY "&account=a Basic YTpi");
        assert_int_equal(0, asker->calls);
        answer(&world->http, 200, "{\"access_token\":\"t1\"}", 21, 0);
        expect_header(asker, "Authorization: Bearer t1");
        get(world, 1, &push);
        assert_memory_equal("GET ", world->http.exchange->text, 4);
        answer_token(&world->http, "t2", 300);
    }
}

static void test_identity_token(void **state)
{
    struct world *world = *state;
    world->access.identity_token = strdup("secret");
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http,
                   "POST " REALM " grant_type=refresh_token&client_id=tarn&service=s%20v&scope="
                   "repository%3Ans%2Frepo%3Apull&refresh_token=secret");
    // There is no password for the GET form.
    answer_status(&world->http, 401);
    expect_failure(asker, -EACCES, "token server " REALM ": HTTP status 401");
    // Nor for Basic.
    refused(world, &pull, NULL, "Basic realm=\"x\"", -EACCES, "skopeo login h.io");
}

struct failure {
    int status;
    int code; // of the exchange
    int want;
    const char *words;
    const char *body;
};

// With credentials, that is: POST, and where that is answered so, GET.
static const struct failure failures[] = {
    { 403, 0, -EACCES, "token server " REALM ": HTTP status 403: the credentials for h.io",
      "secret" },
    { 401, 0, -EACCES, "skopeo login h.io", "secret" },
    { 404, 0, -EACCES, "HTTP status 404", "secret" },
    { 418, 0, -EACCES, "HTTP status 418", "secret" },
    { 408, 0, -EAGAIN, "HTTP status 408", "secret" },
    { 429, 0, -EAGAIN, "token server " REALM ": HTTP status 429", "secret" },
    { 500, 0, -EAGAIN, "HTTP status 500", "secret" },
    { 501, 0, -EAGAIN, "HTTP status 501", "secret" },
    { 503, 0, -EAGAIN, "HTTP status 503", "secret" },
    { 0, -ECONNREFUSED, -EAGAIN, "token server " REALM ": the line is cut", "" },
    { 0, -EHOSTUNREACH, -EAGAIN, "the line is cut", "" },
    { 0, -EPROTO, -EAGAIN, "the line is cut", "" },
    { 200, -ECONNRESET, -EAGAIN, "the line is cut", "{\"token\":\"secret" },
    { 0, -EKEYREJECTED, -EKEYREJECTED, "--ca", "" },
    { 200, 0, -EUCLEAN, "token server " REALM ": the answer", "secret" },
    { 200, 0, -EUCLEAN, "no \"token\"", "{}" },
    { 204, 0, -EUCLEAN, "not a JSON object", "" },
    { 200, 0, -EUCLEAN, "cannot stand in a header", "{\"token\":\"secret\\r\\n\"}" },
};

static void test_failures(void **state)
{
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        if (i > 0) {
            assert_int_equal(0, tear_down(state));
            assert_int_equal(0, set_up(state));
        }
        struct world *world = *state;
        const struct failure *f = &failures[i];
        log_in(world, "secretary", "secret");
        refused(world, &pull, NULL, BEARER, 0, "");
        const struct asker *first = get(world, 0, &pull);
        const struct asker *second = get(world, 1, &pull);
        while (world->http.exchange)
            answer(&world->http, f->status, f->body, strlen(f->body), f->code);
        expect_failure(first, f->want, f->words);
        expect_failure(second, f->want, f->words);
        // Nothing is remembered: the next one asks again.
        const struct asker *third = get(world, 2, &pull);
        answer_token(&world->http, "t1", 300);
        expect_header(third, "Authorization: Bearer t1");
    }
}

static void test_large_answer(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    tarn_autofree char *body = malloc(65537);
    assert_non_null(body);
    memset(body, ' ', 65537);
    memcpy(body, "{\"token\":\"t1\"}", 14);
    const struct asker *asker = get(world, 0, &pull);
    answer(&world->http, 200, body, 65537, 0);
    expect_failure(asker, -EUCLEAN, "larger than 65536 bytes");
    asker = get(world, 0, &pull);
    answer(&world->http, 200, body, 65536, 0);
    expect_header(asker, "Authorization: Bearer t1");
}

static void test_no_client(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    world->http.refuse = -ENOMEM;
    expect_failure(get(world, 0, &pull), -ENOMEM, "no client");
    world->http.refuse = 0;
    get(world, 0, &pull);
    answer_token(&world->http, "t1", 300);
}

// One question for all who ask for a scope; each is told once, and nobody who has given up.
static void test_sharing(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    struct asker *asker[3];
    for (unsigned i = 0; i < 3; i++)
        asker[i] = get(world, i, &pull);
    assert_int_equal(1, world->http.started);
    tarn_authority_give_up(world->authority, &asker[1]->wait);
    answer_token(&world->http, "t1", 300);
    expect_header(asker[0], "Authorization: Bearer t1");
    assert_int_equal(0, asker[1]->calls);
    expect_header(asker[2], "Authorization: Bearer t1");

    // All give up: the answer serves the next one.
    struct asker *last = get(world, 0, &push);
    tarn_authority_give_up(world->authority, &last->wait);
    tarn_authority_give_up(world->authority, &last->wait);
    answer_token(&world->http, "t2", 300);
    assert_int_equal(0, last->calls);
    expect_header(get(world, 0, &push), "Authorization: Bearer t2");
    assert_int_equal(2, world->http.started);

    // Or nobody, and the authority goes: the question goes too.
    last = get(world, 0, &(struct tarn_scope){ false, "third" });
    tarn_authority_give_up(world->authority, &last->wait);
    tarn_authority_free(tarn_steal(world->authority));
    assert_int_equal(1, world->http.cancelled);
    assert_int_equal(0, last->calls);
}

// Told, an asker may ask at once again, and give up others, and free the authority.
struct nested {
    struct asker asker;
    struct world *world;
};

static void ask_again(void *context, int status, const char *header, const struct tarn_err *err)
{
    struct nested *nested = context;
    nested->asker.wait.context = &nested->asker;
    nested->asker.wait.done = on_header;
    assert_int_equal(-EAGAIN, status);
    assert_null(header);
    assert_non_null(strstr(err->text, "HTTP status 503"));
    tarn_authority_give_up(nested->world->authority, &nested->world->askers[1].wait);
    tarn_authority_get(nested->world->authority, &pull, &nested->asker.wait);
}

static void free_authority(void *context, int status, const char *header,
                           const struct tarn_err *err)
{
    struct nested *nested = context;
    on_header(&nested->asker, status, header, err);
    tarn_authority_free(tarn_steal(nested->world->authority));
}

static void test_nested(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    struct nested first = { .world = world };
    first.asker.wait = (struct tarn_authority_wait){ .context = &first, .done = ask_again };
    tarn_authority_get(world->authority, &pull, &first.asker.wait);
    const struct asker *given_up = get(world, 1, &pull);
    const struct asker *third = get(world, 2, &pull);
    answer_status(&world->http, 503);
    assert_int_equal(0, given_up->calls);
    expect_failure(third, -EAGAIN, "HTTP status 503");
    assert_int_equal(2, world->http.started);
    answer_token(&world->http, "t1", 300);
    expect_header(&first.asker, "Authorization: Bearer t1");

    struct nested last = { .world = world };
    last.asker.wait = (struct tarn_authority_wait){ .context = &last, .done = free_authority };
    tarn_authority_get(world->authority, &push, &last.asker.wait);
    answer_status(&world->http, 403);
    expect_failure(&last.asker, -EACCES, "there are no credentials for h.io");
}

static void test_renewal_time(void **state)
{
    (void)state;
    static const uint64_t times[][2] = {
        { 0, 0 },
        { 1000, 500 },
        { 5000, 2500 },
        { 19999, 9999 },
        { 20000, 18000 },
        { 60000, 54000 },
        { 100000, 90000 },
        { 300000, 290000 },
        { 3600000, 3590000 },
        { 86400000, 86390000 },
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (tarn_token_renew_after(times[i][0]) != times[i][1])
            fail_msg("%lu ms: got %lu", (unsigned long)times[i][0],
                     (unsigned long)tarn_token_renew_after(times[i][0]));
}

// Before it expires a token is asked for in the background; nobody waits.
static void test_renewal(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    first_token(world, 60);
    world->http.now += 53999;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(1, world->http.started);
    world->http.now += 1;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(2, world->http.started);
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(2, world->http.started);
    answer_token(&world->http, "t2", 60);
    expect_header(get(world, 0, &pull), "Authorization: Bearer t2");
    assert_int_equal(2, world->http.started);

    // It was not used for long: it has expired, and one must wait.
    world->http.now += 60000;
    const struct asker *asker = get(world, 0, &pull);
    assert_int_equal(0, asker->calls);
    answer_token(&world->http, "t3", 60);
    expect_header(asker, "Authorization: Bearer t3");
}

// The token server is away: what still holds is used to its end, and it is asked once a second.
static void test_renewal_fails(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    first_token(world, 60);
    world->http.now += 54000;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    answer_status(&world->http, 503);
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(2, world->http.started);
    world->http.now += 1000;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(3, world->http.started);
    answer(&world->http, 0, "", 0, -ECONNREFUSED);
    world->http.now += 5000;
    const struct asker *asker = get(world, 0, &pull);
    answer_status(&world->http, 503);
    expect_failure(asker, -EAGAIN, "HTTP status 503");
}

// The registry refuses a token: a new one, once, and the second 401 at once is the end.
static void test_refused_token(void **state)
{
    struct world *world = *state;
    log_in(world, "a", "secret");
    first_token(world, 300);
    world->http.now += 100000;
    static const char t1[] = "Authorization: Bearer t1";
    static const char t2[] = "Authorization: Bearer t2";
    refused(world, &pull, t1, BEARER ",error=\"invalid_token\"", 0, "");
    // A second request that carried it.
    refused(world, &pull, t1, BEARER ",error=\"invalid_token\"", 0, "");
    const struct asker *asker = get(world, 0, &pull);
    assert_int_equal(2, world->http.started);
    answer_token(&world->http, "t2", 300);
    expect_header(asker, t2);
    // A third one, late.
    refused(world, &pull, t1, BEARER, 0, "");
    expect_header(get(world, 0, &pull), t2);
    assert_int_equal(2, world->http.started);
    refused(world, &pull, t2, BEARER ",error=\"insufficient_scope\"", -EACCES,
            "HTTP status 401 (insufficient_scope) to a new token from " REALM
            ": the credentials for h.io");
    // Without a word what was known holds.
    get(world, 0, &pull);
    answer_token(&world->http, "t3", 300);
    world->http.now += 5000;
    refused(world, &pull, "Authorization: Bearer t3", NULL, 0, "");
    get(world, 0, &pull);
    assert_int_equal(4, world->http.started);
    answer_token(&world->http, "t4", 300);
}

static void test_other_server(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    first_token(world, 300);
    refused(world, &pull, "Authorization: Bearer t1", "Bearer realm=\"https://b/\",service=\"s v\"",
            0, "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http, "GET https://b/?" PULL_QUERY);
    answer_token(&world->http, "t2", 300);
    expect_header(asker, "Authorization: Bearer t2");
}

static void test_basic(void **state)
{
    struct world *world = *state;
    log_in(world, "tester", "correct horse");
    static const char header[] = "Authorization: Basic dGVzdGVyOmNvcnJlY3QgaG9yc2U=";
    expect_header(get(world, 0, &pull), "");
    refused(world, &pull, NULL, "Basic realm=\"x\"", 0, "");
    expect_header(get(world, 0, &pull), header);
    expect_header(get(world, 0, &push), header);
    assert_int_equal(0, world->http.started);
    refused(world, &pull, NULL, "Basic realm=\"x\"", 0, "");
    refused(world, &pull, header, "Basic realm=\"x\"", -EACCES,
            "the credentials for h.io are wrong or do not suffice for ns/repo: run `skopeo login "
            "h.io`");
}

static void test_lacking(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, "Basic realm=\"x\"", -EACCES,
            "there are no credentials for h.io: run `skopeo login h.io`");
    refused(world, &pull, NULL, NULL, -EACCES, "without a challenge");
    refused(world, &pull, NULL, "Negotiate", -ENOTSUP, "\"Negotiate\"");
    refused(world, &pull, NULL, "AWS4-HMAC-SHA256 secret", -ENOTSUP, "\"AWS4-HMAC-SHA256\"");
    refused(world, &pull, NULL, "\x1b[2J", -ENOTSUP, "\"\"");
}

// A realm is asked only if it is a URL like any other.
static void test_realms(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    static const char *const bad[] = {
        "",
        "/token",
        "auth.example/token",
        "file:///etc/passwd",
        "ftp://a/",
        "https://",
        "https:///token",
        "https://?x",
        "https://user:secret@a/token",
        "https://a\\\\@b/token",
        "https://a/to ken",
        "https://a/\xc3\xa9",
        "gopher://127.0.0.1:6379/_x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tarn_autofree char *challenge = tarn_asprintf("Bearer realm=\"%s\"", bad[i]);
        refused(world, &pull, NULL, challenge, -EACCES, "no http or https URL");
    }
    expect_header(get(world, 0, &pull), "");
}

// Who may get a password over plain HTTP.
static void test_plain_realm(void **state)
{
    static const struct {
        const char *host;
        const char *realm;
        bool plain_http;
        bool ca;
        bool sent;
    } cases[] = {
        { "h.io", "https://a/", false, false, true },
        { "h.io", "http://a/", false, false, false },
        { "h.io", "HTTP://a/", false, false, false },
        { "h.io", "http://127.0.0.1:1/", false, false, false },
        { "h.io", "http://a/", true, false, true },
        { "localhost:5000", "http://127.0.0.1:1/t", false, false, true },
        { "127.0.0.1:5000", "http://[::1]:1?x", false, false, true },
        { "localhost:5000", "http://127.0.0.1:1/t", false, true, false },
        { "localhost:5000", "http://a/", false, false, false },
        { "localhost:5000", "http://127.0.0.1.a/", false, false, false },
        { "localhost:5000", "http://a/?http://127.0.0.1/", false, false, false },
        { "localhost:5000", "https://a/", false, false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (i > 0) {
            assert_int_equal(0, tear_down(state));
            assert_int_equal(0, set_up(state));
        }
        struct world *world = *state;
        world->access.plain_http = cases[i].plain_http;
        world->access.ca_file = cases[i].ca ? strdup("/ca.pem") : NULL;
        world->access.username = strdup("a");
        world->access.password = strdup("b");
        open_authority(world, cases[i].host);
        tarn_autofree char *challenge = tarn_asprintf("Bearer realm=\"%s\"", cases[i].realm);
        refused(world, &pull, NULL, challenge, 0, "");
        const struct asker *asker = get(world, 0, &pull);
        if ((world->http.started == 1) != cases[i].sent)
            fail_msg("%s at %s: %u sent", cases[i].realm, cases[i].host, world->http.started);
        if (cases[i].sent)
            answer_token(&world->http, "t", 60);
        else
            expect_failure(asker, -EACCES, "over plain HTTP; --plain-http");
    }
}

// --- credentials that change ----------------------------------------------------------------------------

static void write_login(const char *path, const char *user, const char *password)
{
    tarn_autofree char *text = tarn_asprintf(
        "{\"auths\":{\"h.io\":{\"username\":\"%s\",\"password\":\"%s\"}}}", user, password);
    struct tarn_err err;
    assert_int_equal(0, tarn_file_replace(AT_FDCWD, path, text, strlen(text), &err));
}

static void test_new_login(void **state)
{
    struct world *world = *state;
    char directory[] = "/tmp/tarn-authority-XXXXXX";
    assert_non_null(mkdtemp(directory));
    tarn_autofree char *path = tarn_path_join(directory, "config.json");
    write_login(path, "a", "b");
    world->access.config_file = strdup(path);
    world->access.plain_http = true;
    log_in(world, "a", "b");

    // Basic.
    refused(world, &pull, NULL, "Basic", 0, "");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", -EACCES, path);
    write_login(path, "c", "d");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", 0, "");
    expect_header(get(world, 0, &pull), "Authorization: Basic Yzpk");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", 0, ""); // one that was on its way

    // A token server that refuses the old ones; the settings stay as they are.
    refused(world, &pull, NULL, "Bearer realm=\"http://a/t\"", 0, "");
    const struct asker *asker = get(world, 0, &pull);
    write_login(path, "e", "f");
    answer_status(&world->http, 403);
    expect_request(&world->http,
                   "POST http://a/t grant_type=password&client_id=tarn&scope=repository"
                   "%3Ans%2Frepo%3Apull&username=e&password=f");
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");

    // Once for a question, even if they change again.
    asker = get(world, 0, &push);
    write_login(path, "g", "h");
    answer_status(&world->http, 403);
    write_login(path, "i", "j");
    answer_status(&world->http, 403);
    expect_failure(asker, -EACCES, "run `skopeo login h.io`");

    // Damage to the file is no reason to fail otherwise.
    asker = get(world, 0, &push);
    struct tarn_err err;
    assert_int_equal(0, tarn_file_replace(AT_FDCWD, path, "{", 1, &err));
    answer_status(&world->http, 403);
    expect_failure(asker, -EACCES, path);
    assert_int_equal(0, tarn_remove_tree(AT_FDCWD, directory, &err));
}

// A token server that says nothing is given up in half of the time that the askers have.
static void test_timeout(void **state)
{
    struct world *world = *state;
    world->access.timeout = 1;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    while (asker->calls == 0)
        uv_run(&world->http.loop, UV_RUN_ONCE);
    expect_failure(asker, -EAGAIN, "token server " REALM " does not answer");
    assert_int_equal(1, world->http.cancelled);
}

// As many scopes as one likes: what is kept of them is bounded, and each is right.
static void test_many_scopes(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    for (unsigned i = 0; i < 200; i++) {
        tarn_autofree char *from = tarn_asprintf("r%u", i);
        tarn_autofree char *token = tarn_asprintf("t%u", i);
        const struct asker *asker = get(world, 0, &(struct tarn_scope){ true, from });
        answer_token(&world->http, token, 300);
        tarn_autofree char *want = tarn_asprintf("Authorization: Bearer %s", token);
        expect_header(asker, want);
    }
    expect_header(get(world, 0, &(struct tarn_scope){ true, "r199" }),
                  "Authorization: Bearer t199");
    assert_int_equal(200, world->http.started);
    get(world, 0, &(struct tarn_scope){ true, "r0" });
    assert_int_equal(201, world->http.started);
    answer_token(&world->http, "t", 300);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_anonymous),    TEST(test_scopes),        TEST(test_extra_scope),
        TEST(test_post_form),    TEST(test_get_form),      TEST(test_identity_token),
        TEST(test_failures),     TEST(test_large_answer),  TEST(test_no_client),
        TEST(test_sharing),      TEST(test_nested),        cmocka_unit_test(test_renewal_time),
        TEST(test_renewal),      TEST(test_renewal_fails), TEST(test_refused_token),
        TEST(test_other_server), TEST(test_basic),         TEST(test_lacking),
        TEST(test_realms),       TEST(test_plain_realm),   TEST(test_new_login),
        TEST(test_timeout),      TEST(test_many_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
