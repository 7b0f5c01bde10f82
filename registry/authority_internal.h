// SPDX-License-Identifier: Apache-2.0
// What authority.c, authority_question.c and authority_reading.c share. All on the loop's thread.
#ifndef TARN_REGISTRY_AUTHORITY_INTERNAL_H
#define TARN_REGISTRY_AUTHORITY_INTERNAL_H

#include "registry/authority.h"
#include "registry/challenge.h"

struct tarn_token_question;
struct tarn_credentials_reading;

// A scope and the token for it. Times are the loop's, in milliseconds.
struct tarn_scope_token {
    struct tarn_scope_token *next;
    char *scopes;
    char *header; // NULL: none
    uint64_t received;
    uint64_t renew_at;
    uint64_t expires_at;
    uint64_t retry_at;                    // no renewal before
    bool refused;                         // the last one was
    bool after_refusal;                   // this one was asked for because the last one was refused
    struct tarn_token_question *question; // to the token server, under way
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
    struct tarn_scope_token *tokens;
    struct tarn_credentials_reading *reading; // under way, or NULL
};

static inline uint64_t tarn_authority_now(const struct tarn_authority *authority)
{
    return uv_now(tarn_http_loop(authority->http));
}

static inline bool tarn_authority_has_password(const struct tarn_authority *authority)
{
    return authority->own.username && authority->own.password;
}

static inline bool tarn_authority_has_credentials(const struct tarn_authority *authority)
{
    return tarn_authority_has_password(authority) || authority->own.identity_token;
}

// Forgets the token itself.
void tarn_scope_token_drop(struct tarn_scope_token *token);

// Puts wait behind those in the list; takes it out again, wherever it is.
void tarn_authority_wait_add(struct tarn_authority_wait **list, struct tarn_authority_wait *wait);
void tarn_authority_wait_remove(struct tarn_authority_wait *wait);
// Takes the first one out and tells it.
void tarn_authority_wait_tell(struct tarn_authority_wait **list, int status, const char *header,
                              const struct tarn_err *err);

// Has the files of the credentials read again, unless that is under way. False: there are none to read.
bool tarn_authority_read_again(struct tarn_authority *authority) tarn_must_check;
// The authority goes, with nobody waiting.
void tarn_credentials_reading_leave(struct tarn_credentials_reading *reading);
// What was read becomes the authority's. True if it is another one: no token is left then.
bool tarn_authority_take(struct tarn_authority *authority, struct tarn_access *fresh);

// -EACCES: what is refused, whose credentials are lacking or wrong, and the remedy.
int tarn_authority_lacking(const struct tarn_authority *authority, const char *what,
                           struct tarn_err *err) tarn_must_check;

// Asks for the token, of which no question is under way; wait, if not NULL, is the first to be told, perhaps
// from within. Others are put behind it with add().
void tarn_token_question_ask(struct tarn_authority *authority, struct tarn_scope_token *token,
                             struct tarn_authority_wait *wait);
void tarn_token_question_add(struct tarn_token_question *question,
                             struct tarn_authority_wait *wait);
// Ends it, with nobody waiting.
void tarn_token_question_cancel(struct tarn_token_question *question);

#endif
