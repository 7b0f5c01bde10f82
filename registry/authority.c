// SPDX-License-Identifier: Apache-2.0
// A token's life: asked for by a question (POST first where there are credentials, then GET), handed out
// until it expires, asked for again behind the back of whoever uses it a little before that, dropped when
// the registry refuses it. Basic over plain HTTP cannot come about by accident: the endpoint speaks it only
// to this machine or when told to.
#include "registry/authority.h"

#include <assert.h>
#include <string.h>

#include "base/file.h"
#include "registry/challenge.h"
#include "registry/docker_config.h"
#include "registry/token_request.h"

enum {
    ANSWER_MAX = 65536,
    TOKENS_MAX = 32,  // kept, of different scopes
    EXTRA_MAX = 4096, // bytes of scopes that the registry added
    RETRY_MS = 1000,  // between renewals that fail
    YOUNG_MS = 1000,  // a new token that is refused within this time was never good
};

struct question;

// A scope and the token for it. Times are the loop's, in milliseconds.
struct token {
    struct token *next;
    char *scopes;
    char *header; // NULL: none
    uint64_t received;
    uint64_t renew_at;
    uint64_t expires_at;
    uint64_t retry_at;         // no renewal before
    bool refused;              // the last one was
    bool after_refusal;        // this one was asked for because the last one was refused
    struct question *question; // to the token server, under way
};

struct tarn_authority {
    struct tarn_http *http;
    const struct tarn_access *access; // TLS settings
    struct tarn_access own;           // credentials, as they are now
    char *host;
    char *repository;
    enum tarn_challenge_kind kind; // what the registry asked for
    char *basic;                   // the header
    char *realm;
    char *service;
    char *server;  // the realm for messages
    char *extra;   // scopes that the registry wants beside those of the repository, or NULL
    bool get_only; // this token server knows no POST
    struct token *tokens;
};

struct question {
    struct tarn_authority *authority;
    struct token *token;
    struct tarn_authority_wait *waiters; // first come first
    struct tarn_exchange *exchange;
    uv_timer_t timer; // closed last: frees the question
    struct tarn_buf answer;
    char *body;
    bool post;
    bool read_again; // the credentials were
    int http_status;
    uint64_t asked;
};

static uint64_t now(const struct tarn_authority *authority)
{
    return uv_now(tarn_http_loop(authority->http));
}

// --- credentials ----------------------------------------------------------------------------------------

static bool has_password(const struct tarn_authority *authority)
{
    return authority->own.username && authority->own.password;
}

static bool has_credentials(const struct tarn_authority *authority)
{
    return has_password(authority) || authority->own.identity_token;
}

static void drop_header(struct token *token)
{
    if (token->header)
        explicit_bzero(token->header, strlen(token->header));
    free(token->header);
    token->header = NULL;
}

static void drop_headers(struct tarn_authority *authority)
{
    for (struct token *t = authority->tokens; t; t = t->next)
        drop_header(t);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

// True if the file has other credentials now, which are taken.
static bool read_again(struct tarn_authority *authority)
{
    struct tarn_access *own = &authority->own;
    if (!own->config_file)
        return false;
    struct tarn_access fresh = { 0 };
    const bool changed =
        tarn_docker_config_read(own->config_file, &fresh, authority->host, authority->repository,
                                NULL) == 0 &&
        !(same(own->username, fresh.username) && same(own->password, fresh.password) &&
          same(own->identity_token, fresh.identity_token));
    if (changed) {
        const struct tarn_access old = *own;
        *own = fresh;
        fresh = old;
        free(authority->basic);
        authority->basic = NULL;
        authority->get_only = false;
        drop_headers(authority);
    }
    tarn_access_release(&fresh);
    return changed;
}

// The remedy, as the end of a sentence on what is refused.
static int lacking(const struct tarn_authority *authority, struct tarn_err *err, const char *what)
{
    const char *file = authority->own.config_file;
    if (!has_credentials(authority))
        return tarn_fail(err, -EACCES,
                         "%s, and there are no credentials for %.255s: run `skopeo login %.255s`",
                         what, authority->host, authority->host);
    return tarn_fail(err, -EACCES,
                     "%s: the credentials for %.255s%s%.300s are wrong or do not suffice for "
                     "%.255s: run `skopeo login %.255s`",
                     what, authority->host, file ? " in " : "", file ? file : "",
                     authority->repository, authority->host);
}

// --- tokens ---------------------------------------------------------------------------------------------

// The scopes that a request needs, separated by spaces.
static char *scopes_of(const struct tarn_authority *authority, const struct tarn_scope *scope)
{
    const char *from =
        scope->from && strcmp(scope->from, authority->repository) != 0 ? scope->from : NULL;
    return tarn_asprintf("repository:%s:pull%s%s%s%s%s%s", authority->repository,
                         scope->push ? ",push" : "", from ? " repository:" : "", from ? from : "",
                         from ? ":pull" : "", authority->extra ? " " : "",
                         authority->extra ? authority->extra : "");
}

static void token_free(struct token *token)
{
    drop_header(token);
    free(token->scopes);
    free(token);
}

// Makes room for one more: drops the oldest ones that nobody asks for just now.
static void limit_tokens(struct tarn_authority *authority)
{
    size_t count = 0;
    for (struct token **p = &authority->tokens; *p;) {
        struct token *token = *p;
        if (++count < TOKENS_MAX || token->question) {
            p = &token->next;
            continue;
        }
        *p = token->next;
        token_free(token);
    }
}

static struct token *find_token(const struct tarn_authority *authority, const char *scopes)
{
    struct token *token = authority->tokens;
    while (token && strcmp(token->scopes, scopes) != 0)
        token = token->next;
    return token;
}

// The token of these scopes, new if need be; NULL when out of memory. Takes scopes over.
static struct token *get_token(struct tarn_authority *authority, char *scopes)
{
    if (!scopes)
        return NULL;
    struct token *token = find_token(authority, scopes);
    if (token) {
        free(scopes);
        return token;
    }
    token = calloc(1, sizeof *token);
    if (!token) {
        free(scopes);
        return NULL;
    }
    limit_tokens(authority);
    token->scopes = scopes;
    token->next = authority->tokens;
    authority->tokens = token;
    return token;
}

// --- questions to the token server ----------------------------------------------------------------------

static int send_question(struct question *question, struct tarn_err *err);

static void on_closed(uv_handle_t *handle)
{
    struct question *question = handle->data;
    if (question->answer.length > 0)
        explicit_bzero(question->answer.data, question->answer.length);
    tarn_buf_release(&question->answer);
    free(question->body);
    free(question);
}

static void drop_body(struct question *question)
{
    if (question->body)
        explicit_bzero(question->body, strlen(question->body));
    free(question->body);
    question->body = NULL;
}

static void close_question(struct question *question)
{
    question->token->question = NULL;
    question->token = NULL;
    if (question->exchange)
        tarn_exchange_cancel(tarn_steal(question->exchange));
    drop_body(question);
    uv_close((uv_handle_t *)&question->timer, on_closed);
}

// Tells all who wait. Each may ask again, give another one up or, the last one, free the authority.
static void finish(struct question *question, int status, const struct tarn_err *err)
{
    const struct tarn_authority *authority = question->authority;
    struct token *token = question->token;
    // The one that is there still holds: better than none.
    if (status == -EAGAIN && token->header && now(authority) < token->expires_at)
        status = 0;
    tarn_autofree char *header = status == 0 ? strdup(token->header) : NULL;
    struct tarn_err own = { 0 };
    if (err)
        own = *err;
    if (status == 0 && !header)
        status = tarn_fail(&own, -ENOMEM, "out of memory");
    token->retry_at = now(authority) + RETRY_MS;
    close_question(question);
    while (question->waiters) {
        struct tarn_authority_wait *wait = question->waiters;
        question->waiters = wait->next;
        wait->next = NULL;
        wait->request = NULL;
        wait->done(wait->context, status, header, &own);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct question *question = timer->data;
    struct tarn_err err;
    const int ret = tarn_fail(&err, -EAGAIN, "the token server %s does not answer",
                              question->authority->server);
    finish(question, ret, &err);
}

static int on_head(void *context, const struct tarn_http_head *head)
{
    struct question *question = context;
    question->http_status = head->status;
    return 0;
}

static int on_data(void *context, const void *bytes, size_t length)
{
    struct question *question = context;
    if (length > ANSWER_MAX - question->answer.length)
        return -EFBIG;
    return tarn_buf_append(&question->answer, bytes, length);
}

// The answer's token becomes the one to hand out.
static int take_token(struct question *question, struct tarn_err *err)
{
    struct token *token = question->token;
    struct tarn_token answer;
    const int ret = tarn_token_parse(question->answer.data, question->answer.length, &answer, err);
    if (ret < 0)
        return ret;
    drop_header(token);
    token->header = tarn_asprintf("Authorization: Bearer %s", answer.text);
    explicit_bzero(answer.text, strlen(answer.text));
    free(answer.text);
    if (!token->header)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const uint64_t lifetime = answer.expires_in * 1000;
    token->received = now(question->authority);
    token->renew_at = question->asked + tarn_token_renew_after(lifetime);
    token->expires_at = question->asked + lifetime;
    token->after_refusal = token->refused;
    token->refused = false;
    // Only now is it known that it was the form and not the password that POST was refused for.
    if (!question->post && has_password(question->authority))
        question->authority->get_only = true;
    return 0;
}

// The statuses on which the GET form is tried, 501 among them: what a server says that knows no POST.
static bool wants_get(int status)
{
    return status == 400 || status == 401 || status == 404 || status == 405 || status == 501 ||
           (status >= 300 && status < 400);
}

// What an answer with a status means: 0 the token is there, 1 asked once more, or -errno.
static int judge(struct question *question, struct tarn_err *err)
{
    struct tarn_authority *authority = question->authority;
    const int status = question->http_status;
    if (status >= 200 && status < 300)
        return take_token(question, err);
    const bool again = question->post && wants_get(status) && has_password(authority);
    if (!again && (status == 429 || status == 408 || status >= 500))
        return tarn_fail(err, -EAGAIN, "HTTP status %d", status);
    if (again) {
        question->post = false;
    } else if (!question->read_again && read_again(authority)) {
        question->read_again = true;
        question->post = has_credentials(authority);
    } else {
        char what[64];
        snprintf(what, sizeof what, "HTTP status %d", status);
        return lacking(authority, err, what);
    }
    const int ret = send_question(question, err);
    return ret < 0 ? ret : 1;
}

static void on_done(void *context, int status, const struct tarn_err *cause)
{
    struct question *question = context;
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
static int fill_request(struct question *question, struct tarn_http_request *request, char **url,
                        char **basic, struct tarn_err *err)
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
        *basic = has_password(authority) ? tarn_basic_header(&authority->own) : NULL;
        if (!*url || (has_password(authority) && !*basic))
            return tarn_fail(err, -ENOMEM, "out of memory");
        request->method = "GET";
    }
    request->url = *url;
    return 0;
}

static int send_question(struct question *question, struct tarn_err *err)
{
    struct tarn_authority *authority = question->authority;
    if (has_credentials(authority) &&
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
    question->asked = now(authority);
    return tarn_http_start(authority->http, &request, &question->exchange, err);
}

// Asks for the token; wait, if not NULL, is the first to be told, perhaps from within.
static void ask(struct tarn_authority *authority, struct token *token,
                struct tarn_authority_wait *wait)
{
    struct tarn_err err = { 0 };
    struct question *question = calloc(1, sizeof *question);
    if (!question) {
        tarn_fail(&err, -ENOMEM, "out of memory");
        if (wait)
            wait->done(wait->context, err.code, NULL, &err);
        return;
    }
    question->authority = authority;
    question->token = token;
    question->waiters = wait;
    if (wait)
        wait->request = question;
    question->timer.data = question;
    question->post =
        has_credentials(authority) && !(authority->get_only && has_password(authority));
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

// --- the interface --------------------------------------------------------------------------------------

struct tarn_authority *tarn_authority_new(struct tarn_http *http, const struct tarn_access *access,
                                          const char *host, const char *repository,
                                          struct tarn_err *err)
{
    struct tarn_authority *authority = calloc(1, sizeof *authority);
    if (authority && tarn_access_copy(access, &authority->own) == 0) {
        authority->http = http;
        authority->access = access;
        authority->host = strdup(host);
        authority->repository = strdup(repository);
        if (authority->host && authority->repository)
            return authority;
    }
    tarn_authority_free(authority);
    tarn_fail(err, -ENOMEM, "out of memory");
    return NULL;
}

void tarn_authority_free(struct tarn_authority *authority)
{
    if (!authority)
        return;
    while (authority->tokens) {
        struct token *token = authority->tokens;
        authority->tokens = token->next;
        if (token->question) {
            assert(!token->question->waiters);
            close_question(token->question);
        }
        token_free(token);
    }
    tarn_access_release(&authority->own);
    free(authority->host);
    free(authority->repository);
    free(authority->basic);
    free(authority->realm);
    free(authority->service);
    free(authority->server);
    free(authority->extra);
    free(authority);
}

static void get_bearer(struct tarn_authority *authority, const struct tarn_scope *scope,
                       struct tarn_authority_wait *wait)
{
    struct token *token = get_token(authority, scopes_of(authority, scope));
    if (!token) {
        struct tarn_err err;
        const int ret = tarn_fail(&err, -ENOMEM, "out of memory");
        wait->done(wait->context, ret, NULL, &err);
        return;
    }
    const uint64_t time = now(authority);
    const bool valid = token->header && time < token->expires_at;
    if (valid && time >= token->renew_at && time >= token->retry_at && !token->question)
        ask(authority, token, NULL); // nobody waits for it
    if (valid && token->header) {
        wait->done(wait->context, 0, token->header, NULL);
    } else if (!token->question) {
        ask(authority, token, wait);
    } else {
        struct tarn_authority_wait **end = &token->question->waiters;
        while (*end)
            end = &(*end)->next;
        *end = wait;
        wait->request = token->question;
    }
}

void tarn_authority_get(struct tarn_authority *authority, const struct tarn_scope *scope,
                        struct tarn_authority_wait *wait)
{
    wait->next = NULL;
    wait->request = NULL;
    if (authority->kind == TARN_CHALLENGE_BEARER)
        get_bearer(authority, scope, wait);
    else
        wait->done(wait->context, 0,
                   authority->kind == TARN_CHALLENGE_BASIC ? authority->basic : NULL, NULL);
}

void tarn_authority_give_up(struct tarn_authority *authority, struct tarn_authority_wait *wait)
{
    (void)authority;
    struct question *question = wait->request;
    if (!question)
        return;
    // The question goes on: its answer serves the next one.
    for (struct tarn_authority_wait **p = &question->waiters; *p; p = &(*p)->next) {
        if (*p == wait) {
            *p = wait->next;
            break;
        }
    }
    wait->next = NULL;
    wait->request = NULL;
}

static int refused_basic(struct tarn_authority *authority, const char *header, struct tarn_err *err)
{
    const bool wrong = header && authority->basic && strcmp(header, authority->basic) == 0;
    if ((wrong || !has_password(authority)) && !(read_again(authority) && has_password(authority)))
        return lacking(authority, err, "HTTP status 401");
    if (!authority->basic)
        authority->basic = tarn_basic_header(&authority->own);
    if (!authority->basic)
        return tarn_fail(err, -ENOMEM, "out of memory");
    authority->kind = TARN_CHALLENGE_BASIC;
    return 0;
}

// 1: the token server is another one than before, or the first; 0: as before.
static int set_server(struct tarn_authority *authority, const struct tarn_challenge *challenge)
{
    if (authority->kind == TARN_CHALLENGE_BEARER && same(authority->realm, challenge->realm) &&
        same(authority->service, challenge->service))
        return 0;
    char *realm = strdup(challenge->realm);
    char *service = challenge->service ? strdup(challenge->service) : NULL;
    char *server = tarn_token_server_name(challenge->realm);
    if (!realm || !server || (challenge->service && !service)) {
        free(realm);
        free(service);
        free(server);
        return -ENOMEM;
    }
    free(authority->realm);
    free(authority->service);
    free(authority->server);
    authority->realm = realm;
    authority->service = service;
    authority->server = server;
    authority->kind = TARN_CHALLENGE_BEARER;
    authority->get_only = false;
    drop_headers(authority);
    return 1;
}

// True if a scope ("repository:NAME:ACTIONS") is about a repository that the request names itself.
static bool about(const char *word, size_t length, const char *repository)
{
    const size_t name = strlen(repository);
    return length > 12 + name && strncmp(word, "repository:", 11) == 0 &&
           strncmp(word + 11, repository, name) == 0 && word[11 + name] == ':';
}

// Keeps the scopes that the registry asks for beside those of the repository: some have names of their own
// for them ("aws"). 1: others than before.
static int set_extra(struct tarn_authority *authority, const struct tarn_scope *scope,
                     const char *wanted)
{
    tarn_autobuf struct tarn_buf extra = { 0 };
    for (const char *p = wanted ? wanted : ""; *p && strlen(wanted) <= EXTRA_MAX;) {
        const size_t length = strcspn(p, " ");
        if (length > 0 && !about(p, length, authority->repository) &&
            !(scope->from && about(p, length, scope->from)) &&
            tarn_buf_printf(&extra, "%s%.*s", extra.length > 0 ? " " : "", (int)length, p) < 0)
            return -ENOMEM;
        p += length + (p[length] == ' ');
    }
    // One that names none again takes nothing back.
    if (extra.length == 0 || same(authority->extra, (char *)extra.data))
        return 0;
    free(authority->extra);
    authority->extra = (char *)tarn_steal(extra.data);
    return 1;
}

static int refused_token(struct tarn_authority *authority, struct token *token, const char *error,
                         struct tarn_err *err)
{
    const bool never_good = token->after_refusal && now(authority) - token->received < YOUNG_MS;
    drop_header(token);
    token->refused = true;
    if (!never_good || read_again(authority))
        return 0;
    token->refused = false;
    char what[512];
    snprintf(what, sizeof what, "HTTP status 401%s%.40s%s to a new token from %.255s",
             error ? " (" : "", error ? error : "", error ? ")" : "", authority->server);
    return lacking(authority, err, what);
}

// challenge NULL: the registry says nothing, what it said before holds.
static int refused_bearer(struct tarn_authority *authority, const struct tarn_scope *scope,
                          const char *header, const struct tarn_challenge *challenge,
                          struct tarn_err *err)
{
    int ret = challenge ? tarn_token_realm_check(challenge->realm, err) : 0;
    if (ret < 0)
        return ret;
    tarn_autofree char *scopes = scopes_of(authority, scope);
    if (!scopes)
        return tarn_fail(err, -ENOMEM, "out of memory");
    ret = challenge ? set_server(authority, challenge) : 0;
    bool changed = ret > 0;
    if (ret >= 0 && challenge)
        ret = set_extra(authority, scope, challenge->scope);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    changed = changed || ret > 0;
    struct token *token = find_token(authority, scopes);
    // Another one is there by now, or will be.
    if (changed || !header || !token || !token->header || strcmp(token->header, header) != 0)
        return 0;
    return refused_token(authority, token, challenge ? challenge->error : NULL, err);
}

int tarn_authority_refused(struct tarn_authority *authority, const struct tarn_scope *scope,
                           const char *header, const char *challenge, struct tarn_err *err)
{
    if (!challenge) {
        if (header && authority->kind == TARN_CHALLENGE_BEARER)
            return refused_bearer(authority, scope, header, NULL, err);
        return lacking(authority, err, "HTTP status 401 without a challenge");
    }
    struct tarn_challenge parsed;
    int ret = tarn_challenge_parse(challenge, &parsed);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    if (parsed.kind == TARN_CHALLENGE_BEARER)
        ret = refused_bearer(authority, scope, header, &parsed, err);
    else if (parsed.kind == TARN_CHALLENGE_BASIC)
        ret = refused_basic(authority, header, err);
    else
        ret = tarn_fail(err, -ENOTSUP,
                        "HTTP status 401 asks for \"%.*s\"; Tarn knows Basic and Bearer",
                        (int)strspn(challenge, "abcdefghijklmnopqrstuvwxyz"
                                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."),
                        challenge);
    tarn_challenge_release(&parsed);
    return ret;
}
