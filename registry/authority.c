// SPDX-License-Identifier: Apache-2.0
// A token's life: asked for by a question (authority_question.c), handed out until it expires, asked for
// again behind the back of whoever uses it a little before that, dropped when the registry refuses it. Basic
// over plain HTTP cannot come about by accident: the endpoint speaks it only to this machine or when told to.
#include "registry/authority_internal.h"

#include <string.h>

#include "base/file.h"
#include "registry/token_request.h"

enum {
    TOKENS_MAX = 32,  // kept, of different scopes
    EXTRA_MAX = 4096, // bytes of scopes that the registry added
    YOUNG_MS = 1000,  // a new token that is refused within this time was never good
};

// --- credentials ----------------------------------------------------------------------------------------

void tarn_scope_token_drop(struct tarn_scope_token *token)
{
    if (token->header)
        explicit_bzero(token->header, strlen(token->header));
    free(token->header);
    token->header = NULL;
}

static void drop_headers(struct tarn_authority *authority)
{
    for (struct tarn_scope_token *t = authority->tokens; t; t = t->next)
        tarn_scope_token_drop(t);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void swap(char **a, char **b)
{
    char *const text = *a;
    *a = *b;
    *b = text;
}

bool tarn_authority_take(struct tarn_authority *authority, struct tarn_access *fresh)
{
    struct tarn_access *own = &authority->own;
    if (same(own->username, fresh->username) && same(own->password, fresh->password) &&
        same(own->identity_token, fresh->identity_token))
        return false;
    // Not the whole: the settings stay.
    swap(&own->username, &fresh->username);
    swap(&own->password, &fresh->password);
    swap(&own->identity_token, &fresh->identity_token);
    swap(&own->config_file, &fresh->config_file);
    free(authority->basic);
    authority->basic = NULL;
    if (authority->kind == TARN_CHALLENGE_BASIC && tarn_authority_has_password(authority))
        authority->basic = tarn_basic_header(own);
    authority->get_only = false;
    drop_headers(authority);
    return true;
}

int tarn_authority_lacking(const struct tarn_authority *authority, const char *what,
                           struct tarn_err *err)
{
    const char *file = authority->own.config_file;
    if (!tarn_authority_has_credentials(authority))
        return tarn_fail(err, -EACCES,
                         "%s, and there are no credentials for %.255s: run `skopeo login %.255s`",
                         what, authority->host, authority->host);
    return tarn_fail(err, -EACCES,
                     "%s: the credentials for %.255s%s%.300s are wrong or do not suffice for "
                     "%.255s: run `skopeo login %.255s`",
                     what, authority->host, file ? " in " : "", file ? file : "",
                     authority->repository, authority->host);
}

// --- those who wait -------------------------------------------------------------------------------------

void tarn_authority_wait_add(struct tarn_authority_wait **list, struct tarn_authority_wait *wait)
{
    struct tarn_authority_wait **end = list;
    while (*end)
        end = &(*end)->next;
    *end = wait;
    wait->next = NULL;
    wait->list = list;
}

void tarn_authority_wait_remove(struct tarn_authority_wait *wait)
{
    struct tarn_authority_wait **p = wait->list;
    while (p && *p && *p != wait)
        p = &(*p)->next;
    if (p && *p)
        *p = wait->next;
    wait->next = NULL;
    wait->list = NULL;
}

void tarn_authority_wait_tell(struct tarn_authority_wait **list, int status, const char *header,
                              const struct tarn_err *err)
{
    struct tarn_authority_wait *wait = *list;
    tarn_authority_wait_remove(wait);
    wait->done(wait->context, status, header, err);
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

static void token_free(struct tarn_scope_token *token)
{
    tarn_scope_token_drop(token);
    free(token->scopes);
    free(token);
}

// Makes room for one more: drops the oldest ones that nobody asks for just now.
static void limit_tokens(struct tarn_authority *authority)
{
    size_t count = 0;
    for (struct tarn_scope_token **p = &authority->tokens; *p;) {
        struct tarn_scope_token *token = *p;
        if (++count < TOKENS_MAX || token->question) {
            p = &token->next;
            continue;
        }
        *p = token->next;
        token_free(token);
    }
}

static struct tarn_scope_token *find_token(const struct tarn_authority *authority,
                                           const char *scopes)
{
    struct tarn_scope_token *token = authority->tokens;
    while (token && strcmp(token->scopes, scopes) != 0)
        token = token->next;
    return token;
}

// The token of these scopes, new if need be; NULL when out of memory. Takes scopes over.
static struct tarn_scope_token *get_token(struct tarn_authority *authority, char *scopes)
{
    if (!scopes)
        return NULL;
    struct tarn_scope_token *token = find_token(authority, scopes);
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
        struct tarn_scope_token *token = authority->tokens;
        authority->tokens = token->next;
        if (token->question)
            tarn_token_question_cancel(token->question);
        token_free(token);
    }
    if (authority->reading)
        tarn_credentials_reading_leave(authority->reading);
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
    struct tarn_scope_token *token = get_token(authority, scopes_of(authority, scope));
    if (!token) {
        struct tarn_err err;
        const int ret = tarn_fail(&err, -ENOMEM, "out of memory");
        wait->done(wait->context, ret, NULL, &err);
        return;
    }
    const uint64_t time = tarn_authority_now(authority);
    const bool valid = token->header && time < token->expires_at;
    if (valid && time >= token->renew_at && time >= token->retry_at && !token->question)
        tarn_token_question_ask(authority, token, NULL); // nobody waits for it
    if (valid && token->header) {
        wait->done(wait->context, 0, token->header, NULL);
    } else if (!token->question) {
        tarn_token_question_ask(authority, token, wait);
    } else {
        tarn_token_question_add(token->question, wait);
    }
}

void tarn_authority_get(struct tarn_authority *authority, const struct tarn_scope *scope,
                        struct tarn_authority_wait *wait)
{
    wait->next = NULL;
    wait->list = NULL;
    if (authority->kind == TARN_CHALLENGE_BEARER)
        get_bearer(authority, scope, wait);
    else
        wait->done(wait->context, 0,
                   authority->kind == TARN_CHALLENGE_BASIC ? authority->basic : NULL, NULL);
}

// A question goes on: its answer serves the next one.
void tarn_authority_give_up(struct tarn_authority_wait *wait)
{
    tarn_authority_wait_remove(wait);
}

// -EACCES, or -EINPROGRESS while the credentials are read again.
static int lacking_so_far(struct tarn_authority *authority, const char *what, struct tarn_err *err)
{
    const int ret = tarn_authority_lacking(authority, what, err);
    return tarn_authority_read_again(authority) ? -EINPROGRESS : ret;
}

static int refused_basic(struct tarn_authority *authority, const char *header, struct tarn_err *err)
{
    const bool wrong = header && authority->basic && strcmp(header, authority->basic) == 0;
    if (wrong || !tarn_authority_has_password(authority)) {
        const int ret = lacking_so_far(authority, "HTTP status 401", err);
        if (ret == -EINPROGRESS)
            authority->kind = TARN_CHALLENGE_BASIC;
        return ret;
    }
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

static int refused_token(struct tarn_authority *authority, struct tarn_scope_token *token,
                         const char *error, struct tarn_err *err)
{
    const bool never_good =
        token->after_refusal && tarn_authority_now(authority) - token->received < YOUNG_MS;
    tarn_scope_token_drop(token);
    token->refused = !never_good;
    if (!never_good)
        return 0;
    char what[512];
    snprintf(what, sizeof what, "HTTP status 401%s%.40s%s to a new token from %.255s",
             error ? " (" : "", error ? error : "", error ? ")" : "", authority->server);
    return lacking_so_far(authority, what, err);
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
    struct tarn_scope_token *token = find_token(authority, scopes);
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
        return tarn_authority_lacking(authority, "HTTP status 401 without a challenge", err);
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
        ret = tarn_fail(
            err, -ENOTSUP,
            "HTTP status 401 asks for \"%.*s\"; Tarn knows Basic, and Bearer with a realm",
            (int)strspn(challenge, "abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."),
            challenge);
    tarn_challenge_release(&parsed);
    return ret;
}
