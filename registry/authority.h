// SPDX-License-Identifier: Apache-2.0
// The Authorization that a repository's requests need: none until the registry asks, then basic, or bearer
// tokens, one for each scope, renewed before they expire. A state machine on the client's loop.
#ifndef TARN_REGISTRY_AUTHORITY_H
#define TARN_REGISTRY_AUTHORITY_H

#include "registry/http.h"

struct tarn_authority;

// For a host and repository, as in the reference; access is borrowed and must outlive it, with its
// credentials looked up already. NULL: out of memory.
struct tarn_authority *tarn_authority_new(struct tarn_http *http, const struct tarn_access *access,
                                          const char *host, const char *repository,
                                          struct tarn_err *err);
// No request for a header may be under way. Its loop handles close as the loop runs on.
void tarn_authority_free(struct tarn_authority *authority);

// What a request may do.
struct tarn_scope {
    bool push;        // pull,push and not pull only
    const char *from; // another repository of the registry to be pulled from (a mount), or NULL
};

struct tarn_authority_wait {
    void *context;
    // Once, unless given up. status 0: header is the whole header line "Authorization: ..." to send, NULL
    // for none; valid during the call. -EAGAIN: the token server does not answer or is busy; ask again
    // later. -EACCES: refused; err names the token server and the remedy. -EUCLEAN: its answer is none.
    // -EKEYREJECTED: its certificate is not trusted.
    void (*done)(void *context, int status, const char *header, const struct tarn_err *err);
    struct tarn_authority_wait *next;  // private
    struct tarn_authority_wait **list; // private: the first one of those that wait for the same
};

// Asks for the header for a scope. done() may come from within. Requests for one scope at a time share one
// question to the token server. wait must live until done() or tarn_authority_give_up().
void tarn_authority_get(struct tarn_authority *authority, const struct tarn_scope *scope,
                        struct tarn_authority_wait *wait);
void tarn_authority_give_up(struct tarn_authority_wait *wait);

// The registry answered 401 with this WWW-Authenticate (or NULL) to a request that was sent with header
// (or NULL). 0: ask again with tarn_authority_get(), there is something new to try: the first challenge, or a
// token that had expired. -EACCES: the credentials are wrong or lacking; err says which and names `skopeo
// login HOST`. -EINPROGRESS: so it seems, with err, but access->config_places are read again just now, by
// a thread, because a helper may take long: tarn_authority_await_credentials(). -ENOTSUP: a scheme
// that Tarn does not know.
int tarn_authority_refused(struct tarn_authority *authority, const struct tarn_scope *scope,
                           const char *header, const char *challenge,
                           struct tarn_err *err) tarn_must_check;

// After -EINPROGRESS: done() comes later, with status 0 if there are other credentials now and it is worth
// asking again, else with -ENOENT; header and err are NULL.
void tarn_authority_await_credentials(struct tarn_authority *authority,
                                      struct tarn_authority_wait *wait);

#endif
