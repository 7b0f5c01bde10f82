// SPDX-License-Identifier: Apache-2.0
// Requests to one repository of a registry, as often repeated as need be: authorised, with back-off when the
// registry is away or busy, until the access's timeout has passed without progress. All calls on the loop's
// thread.
#ifndef TARN_REGISTRY_CALL_H
#define TARN_REGISTRY_CALL_H

#include "registry/authority.h"
#include "registry/http.h"
#include "registry/reference.h"

struct tarn_endpoint; // a repository of a registry

// access (NULL: the defaults) is copied; credentials are looked up if they are not known. Blocks for that.
struct tarn_endpoint *tarn_endpoint_new(struct tarn_http *http,
                                        const struct tarn_reference *reference,
                                        const struct tarn_access *access, struct tarn_err *err);
// Its calls must have ended or been cancelled.
void tarn_endpoint_free(struct tarn_endpoint *endpoint);
TARN_DEFINE_CLEANUP(struct tarn_endpoint, tarn_endpoint_free)
// NULL, or what tarn_repository_options says of it.
void tarn_endpoint_set_interrupted(struct tarn_endpoint *endpoint,
                                   bool (*interrupted)(const void *context), const void *context);
const char *tarn_endpoint_host(const struct tarn_endpoint *endpoint);
const char *tarn_endpoint_repository(const struct tarn_endpoint *endpoint);
// Whether several ranges may be asked for in one request: until it has turned out that they may not.
bool tarn_endpoint_multipart(const struct tarn_endpoint *endpoint);
enum tarn_endpoint_finding {
    TARN_ENDPOINT_WORKS,
    TARN_ENDPOINT_FAILS,
    // Perhaps: it counts only where none has worked yet.
    TARN_ENDPOINT_SEEMS_TO_FAIL,
};
void tarn_endpoint_note_multipart(struct tarn_endpoint *endpoint, enum tarn_endpoint_finding found);

struct tarn_call;

enum { TARN_CALL_RANGE = 2048 }; // bytes of a header Range at most

struct tarn_call_request {
    const char *method; // a literal
    const char *path;   // behind /v2/REPOSITORY/; copied
    // Or instead of it a whole URL, of an upload; copied. One on another host gets no Authorization.
    const char *url;
    const char *headers[3];  // "Name: value", NULL where there is none; copied
    struct tarn_scope scope; // from is copied
    const void *body;        // borrowed until done() or the cancel
    size_t body_length;
    // When it is not known whether the registry carried the request out, done() gets -EAGAIN instead of a
    // repetition.
    bool once;
    unsigned timeout; // seconds, and an interrupt does not end it; 0: the access's, and it does
    void *context;
    // NULL, or asked before each attempt for the value of the header Range: 1 with text; 0: all; -errno:
    // the call ends.
    int (*range)(void *context, char text[TARN_CALL_RANGE]);
    // For each answer but 401, 408, 429 and 5xx (not 501 and 505). 0: go on to its body; -EAGAIN with err:
    // this attempt failed, repeat; -ERESTART: repeat at once, and range() asks for something else; else how
    // the call ends, with err.
    int (*head)(void *context, const struct tarn_http_head *head, struct tarn_err *err);
    // NULL: the body does not matter. How many of the bytes no further attempt will bring again (the rest is
    // progress only as far as no attempt before brought as much); a negative return but -ERESTART ends the
    // call.
    int (*data)(void *context, const void *bytes, size_t length, struct tarn_err *err);
    // NULL, or the answer came whole: 0 or as head(); -EAGAIN without delay if the attempt brought much.
    int (*end)(void *context, struct tarn_err *err);
    // Exactly once, last. 0, what head(), data() or end() said, -EACCES, -ETIMEDOUT, -EINTR, -EKEYREJECTED,
    // -EPROTO, -ENOMEM. err names method, URL, status and remedy.
    void (*done)(void *context, int status, const struct tarn_err *err);
};

int tarn_call_start(struct tarn_endpoint *endpoint, const struct tarn_call_request *request,
                    struct tarn_call **call, struct tarn_err *err) tarn_must_check;
// No callback comes after it. Allowed until done() has returned, from within any callback.
void tarn_call_cancel(struct tarn_call *call);

// For head(): err says that the status is not what was expected; -ENOENT for 404, -EACCES for 403, else
// -EIO. what: "manifest redis:7".
int tarn_call_unexpected(const struct tarn_http_head *head, const char *what,
                         struct tarn_err *err) tarn_must_check;

#endif
