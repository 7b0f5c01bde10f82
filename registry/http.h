// SPDX-License-Identifier: Apache-2.0
// HTTP requests on a libuv loop, over libcurl's multi interface: connections are kept and shared by all
// requests of one client, HTTP/2 where the server offers it, redirects of GET and HEAD followed without
// handing Authorization to another host. One request, one answer: what to do about an answer is call.h's.
// All calls on the loop's thread; no callback comes before the call that starts a request has returned.
#ifndef TARN_REGISTRY_HTTP_H
#define TARN_REGISTRY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "registry/access.h"

struct tarn_http;     // a client
struct tarn_exchange; // a request under way

// The loop must outlive it and run until the end after tarn_http_free(). NULL with err: out of memory, or
// libcurl does not start.
struct tarn_http *tarn_http_new(uv_loop_t *loop, struct tarn_err *err);
// All requests must have ended (or been cancelled).
void tarn_http_free(struct tarn_http *http);
uv_loop_t *tarn_http_loop(const struct tarn_http *http);

// An answer's first part; valid during the callback.
struct tarn_http_head {
    int status;      // for example 206
    uint64_t length; // of the body, UINT64_MAX: not said
    const char *url; // that answered, after redirects
    void *private;
};
// A header's value, the last one of that name; NULL: there is none.
const char *tarn_http_header(const struct tarn_http_head *head, const char *name);
// All values of a header that may come several times, with ", " between them, in fresh memory; NULL: there
// is none.
char *tarn_http_header_list(const struct tarn_http_head *head, const char *name);

// What to ask and whom to tell. Copied, but for access and body, which must live until done() or the
// cancel.
struct tarn_http_request {
    const char *method; // "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"
    const char *url;
    const char *const *headers;       // "Name: value", NULL at the end; or NULL
    const struct tarn_access *access; // TLS settings only
    const void *body;                 // NULL: none
    size_t body_length;
    void *context;
    // Once, for the final answer. A negative return ends the request, and done() gets it.
    int (*head)(void *context, const struct tarn_http_head *head);
    // The body in pieces as it arrives. A negative return as for head().
    int (*data)(void *context, const void *bytes, size_t length);
    // NULL, or told that bytes of the request's body went out.
    void (*sent)(void *context, size_t length);
    // Exactly once, last. 0: the answer came whole, whatever its status. -errno: what head() or data()
    // returned; -EHOSTUNREACH, -ECONNREFUSED, -ECONNRESET (also: it ends early), -EPROTO (not HTTP),
    // -EKEYREJECTED (the certificate is not trusted), -ELOOP (redirects without end, or to another protocol),
    // -EIO. err says it without the URL.
    void (*done)(void *context, int status, const struct tarn_err *err);
};

int tarn_http_start(struct tarn_http *http, const struct tarn_http_request *request,
                    struct tarn_exchange **exchange, struct tarn_err *err) tarn_must_check;
// Ends it early: no callback comes after it. Allowed until done() has returned, from within any callback.
void tarn_exchange_cancel(struct tarn_exchange *exchange);

// The absolute URL that location means as seen from base; fresh memory, NULL if it is none (or is neither
// http nor https). Where base is https and location differs in the scheme only, it stays https: a registry
// behind a proxy that ends TLS does not know better.
char *tarn_http_resolve(const char *base, const char *location);
// Both URLs have the same scheme, host and port.
bool tarn_http_same_origin(const char *a, const char *b);
// Text with all but letters, digits and -._~ written as %XX, in fresh memory.
char *tarn_http_escape(const char *text);

#endif
