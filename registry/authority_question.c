// SPDX-License-Identifier: Apache-2.0
// A question to a token server: POST where there are credentials, then GET, once more when the credentials
// changed meanwhile, bounded in time and size.
#include "registry/authority_internal.h"

#include <assert.h>
#include <string.h>

#include "base/file.h"
#include "registry/token_request.h"

enum {
    ANSWER_MAX = 65536,
    RETRY_MS = 1000, // between renewals that fail
};

struct tarn_token_question {
    struct tarn_authority *authority;
    struct tarn_scope_token *token;
    struct tarn_authority_wait *waiters; // first come first
    struct tarn_authority_wait reading;  // for the credentials
    struct tarn_exchange *exchange;
    uv_timer_t timer; // closed last: frees the question
    struct tarn_buf answer;
    char *body;
    bool post;
    bool read_again; // the credentials were
    int http_status;
    uint64_t asked;
};

static int send_question(struct tarn_token_question *question, struct tarn_err *err);

static void on_closed(uv_handle_t *handle)
{
    struct tarn_token_question *question = handle->data;
    if (question->answer.length > 0)
        explicit_bzero(question->answer.data, question->answer.length);
    tarn_buf_release(&question->answer);
    free(question->body);
    free(question);
}

static void drop_body(struct tarn_token_question *question)
{
    if (question->body)
        explicit_bzero(question->body, strlen(question->body));
    free(question->body);
    question->body = NULL;
}

static void close_question(struct tarn_token_question *question)
{
    question->token->question = NULL;
    question->token = NULL;
    if (question->exchange)
        tarn_exchange_cancel(tarn_steal(question->exchange));
    tarn_authority_wait_remove(&question->reading);
    drop_body(question);
    uv_close((uv_handle_t *)&question->timer, on_closed);
}

static bool any_valid(const struct tarn_authority *authority)
{
    const uint64_t now = tarn_authority_now(authority);
    for (const struct tarn_scope_token *t = authority->tokens; t; t = t->next)
        if (t->header && now < t->expires_at)
            return true;
    return false;
}

// A token server that gives no token may not have been the registry's at all: something between here and there
// answered for it. So the registry is asked once more what it wants.
static void doubt_server(struct tarn_authority *authority, int status)
{
    if (status < 0 && status != -ENOMEM && authority->kind == TARN_CHALLENGE_BEARER &&
        !any_valid(authority))
        authority->kind = TARN_CHALLENGE_NONE;
}

// Tells all who wait. Each may ask again, give another one up or, the last one, free the authority.
static void finish(struct tarn_token_question *question, int status, const struct tarn_err *err)
{
    struct tarn_authority *authority = question->authority;
    struct tarn_scope_token *token = question->token;
    tarn_autofree char *header = status == 0 ? strdup(token->header) : NULL;
    struct tarn_err own = { 0 };
    if (err)
        own = *err;
    if (status == 0 && !header)
        status = tarn_fail(&own, -ENOMEM, "out of memory");
    token->retry_at = tarn_authority_now(authority) + RETRY_MS;
    doubt_server(authority, status);
    close_question(question);
    while (question->waiters)
        tarn_authority_wait_tell(&question->waiters, status, header, &own);
}

static void on_timeout(uv_timer_t *timer)
{
    struct tarn_token_question *question = timer->data;
    struct tarn_err err;
    const int ret = tarn_fail(&err, -EAGAIN, "the token server %s does not answer",
                              question->authority->server);
    finish(question, ret, &err);
}

static int on_head(void *context, const struct tarn_http_head *head)
{
    struct tarn_token_question *question = context;
    question->http_status = head->status;
    return 0;
}

static int on_data(void *context, const void *bytes, size_t length)
{
    struct tarn_token_question *question = context;
    if (length > ANSWER_MAX - question->answer.length)
        return -EFBIG;
    return tarn_buf_append(&question->answer, bytes, length);
}

// The answer's token becomes the one to hand out.
static int take_token(struct tarn_token_question *question, struct tarn_err *err)
{
    struct tarn_scope_token *token = question->token;
    struct tarn_token answer;
    const int ret = tarn_token_parse(question->answer.data, question->answer.length, &answer, err);
    if (ret < 0)
        return ret;
    tarn_scope_token_drop(token);
    token->header = tarn_asprintf("Authorization: Bearer %s", answer.text);
    explicit_bzero(answer.text, strlen(answer.text));
    free(answer.text);
    if (!token->header)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const uint64_t lifetime = answer.expires_in * 1000;
    token->received = tarn_authority_now(question->authority);
    token->renew_at = question->asked + tarn_token_renew_after(lifetime);
    token->expires_at = question->asked + lifetime;
    token->after_refusal = token->refused;
    token->refused = false;
    // Only now is it known that it was the form and not the password that POST was refused for.
    if (!question->post && tarn_authority_has_password(question->authority))
        question->authority->get_only = true;
    return 0;
}

// The statuses on which the GET form is tried, 501 among them: what a server says that knows no POST.
static bool wants_get(int status)
{
    return status == 400 || status == 401 || status == 404 || status == 405 || status == 501 ||
           (status >= 300 && status < 400);
}

// The credentials were read again, after an answer that refused them.
static void credentials_read(void *context, int status, const char *header,
                             const struct tarn_err *unused)
{
    struct tarn_token_question *question = context;
    struct tarn_err err = { 0 };
    char what[64];
    (void)header;
    (void)unused;
    snprintf(what, sizeof what, "HTTP status %d", question->http_status);
    if (status == 0) {
        question->post = tarn_authority_has_credentials(question->authority);
        status = send_question(question, &err);
    } else {
        status = tarn_authority_lacking(question->authority, what, &err);
    }
    if (status == 0)
        return;
    tarn_err_prepend(&err, "token server %s", question->authority->server);
    finish(question, status, &err);
}

// What an answer with a status means: 0 the token is there, 1 more is to come, or -errno.
static int judge(struct tarn_token_question *question, struct tarn_err *err)
{
    struct tarn_authority *authority = question->authority;
    const int status = question->http_status;
    if (status >= 200 && status < 300)
        return take_token(question, err);
    const bool again =
        question->post && wants_get(status) && tarn_authority_has_password(authority);
    if (!again && (status == 429 || status == 408 || status >= 500))
        return tarn_fail(err, -EAGAIN, "HTTP status %d", status);
    if (again) {
        question->post = false;
        const int ret = send_question(question, err);
        return ret < 0 ? ret : 1;
    }
    if (!question->read_again && tarn_authority_read_again(authority)) {
        question->read_again = true;
        question->reading =
            (struct tarn_authority_wait){ .context = question, .done = credentials_read };
        tarn_authority_await_credentials(authority, &question->reading);
        return 1;
    }
    char what[64];
    snprintf(what, sizeof what, "HTTP status %d", status);
    return tarn_authority_lacking(authority, what, err);
}

static void on_done(void *context, int status, const struct tarn_err *cause)
{
    struct tarn_token_question *question = context;
    struct tarn_err err = { 0 };
    question->exchange = NULL;
    if (status == 0) {
        status = judge(question, &err);
        if (status > 0)
            return;
    } else if (status == -EFBIG) {
        status = tarn_fail(&err, -EUCLEAN, "the answer is larger than %d bytes", ANSWER_MAX);
    } else {
        err = *cause;
        if (status == -EKEYREJECTED)
            tarn_fail(&err, status, "%.600s; name its authority with --ca", cause->text);
        else if (status != -ENOMEM)
            status = -EAGAIN;
    }
    if (status < 0) {
        err.code = status;
        tarn_err_prepend(&err, "token server %s", question->authority->server);
    }
    finish(question, status, &err);
}

// The request's strings; NULL at the end of headers.
static int fill_request(struct tarn_token_question *question, struct tarn_http_request *request,
                        char **url, char **basic, struct tarn_err *err)
{
    const struct tarn_authority *authority = question->authority;
    const struct tarn_token_request ask = {
        .realm = authority->realm,
        .service = authority->service,
        .scopes = question->token->scopes,
        .access = &authority->own,
    };
    drop_body(question);
    if (question->post) {
        question->body = tarn_token_post_body(&ask);
        *url = strdup(authority->realm);
        if (!question->body || !*url)
            return tarn_fail(err, -ENOMEM, "out of memory");
        request->method = "POST";
        request->body = question->body;
        request->body_length = strlen(question->body);
    } else {
        *url = tarn_token_get_url(&ask);
        *basic = tarn_authority_has_password(authority) ? tarn_basic_header(&authority->own) : NULL;
        if (!*url || (tarn_authority_has_password(authority) && !*basic))
            return tarn_fail(err, -ENOMEM, "out of memory");
        request->method = "GET";
    }
    request->url = *url;
    return 0;
}

static int send_question(struct tarn_token_question *question, struct tarn_err *err)
{
    struct tarn_authority *authority = question->authority;
    if (tarn_authority_has_credentials(authority) &&
        !tarn_token_realm_trusted(authority->realm, authority->host, &authority->own))
        return tarn_fail(err, -EACCES,
                         "it would get the credentials for %.255s over plain HTTP; --plain-http "
                         "allows that",
                         authority->host);
    struct tarn_http_request request = {
        .access = authority->access,
        .context = question,
        .head = on_head,
        .data = on_data,
        .done = on_done,
    };
    tarn_autofree char *url = NULL;
    tarn_autofree char *basic = NULL;
    int ret = fill_request(question, &request, &url, &basic, err);
    if (ret < 0)
        return ret;
    const char *const headers[] = {
        "Accept: application/json",
        question->post ? "Content-Type: application/x-www-form-urlencoded" : basic,
        NULL,
    };
    request.headers = headers;
    question->answer.length = 0;
    question->http_status = 0;
    question->asked = tarn_authority_now(authority);
    return tarn_http_start(authority->http, &request, &question->exchange, err);
}

// Asks for the token; wait, if not NULL, is the first to be told, perhaps from within.
void tarn_token_question_ask(struct tarn_authority *authority, struct tarn_scope_token *token,
                             struct tarn_authority_wait *wait)
{
    struct tarn_err err = { 0 };
    struct tarn_token_question *question = calloc(1, sizeof *question);
    if (!question) {
        tarn_fail(&err, -ENOMEM, "out of memory");
        if (wait)
            wait->done(wait->context, err.code, NULL, &err);
        return;
    }
    question->authority = authority;
    question->token = token;
    if (wait)
        tarn_authority_wait_add(&question->waiters, wait);
    question->timer.data = question;
    question->post = tarn_authority_has_credentials(authority) &&
                     !(authority->get_only && tarn_authority_has_password(authority));
    token->question = question;
    // Half of what the callers have, so that they can tell why, and ask once more.
    const unsigned timeout = authority->own.timeout ? authority->own.timeout : TARN_ACCESS_TIMEOUT;
    uv_timer_init(tarn_http_loop(authority->http), &question->timer);
    uv_timer_start(&question->timer, on_timeout, (uint64_t)timeout * 500, 0);
    const int ret = send_question(question, &err);
    if (ret < 0) {
        tarn_err_prepend(&err, "token server %s", authority->server);
        finish(question, ret, &err);
    }
}

void tarn_token_question_add(struct tarn_token_question *question, struct tarn_authority_wait *wait)
{
    tarn_authority_wait_add(&question->waiters, wait);
}

void tarn_token_question_cancel(struct tarn_token_question *question)
{
    assert(!question->waiters);
    close_question(question);
}
