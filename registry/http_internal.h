// SPDX-License-Identifier: Apache-2.0
// What http.c (the client on its loop) and http_exchange.c (one request) share.
#ifndef TARN_REGISTRY_HTTP_INTERNAL_H
#define TARN_REGISTRY_HTTP_INTERNAL_H

#include "registry/http.h"
#include "registry/libcurl.h"

struct tarn_exchange {
    struct tarn_http *http;
    struct tarn_exchange *next;
    CURL *easy;
    struct curl_slist *headers;
    struct tarn_http_request request; // headers are in the list
    char *url;
    char *method;
    size_t body_sent;
    bool added;     // to the multi handle
    bool headed;    // head() was called
    bool failed;    // head() or data() said no
    bool cancelled; // no callback any more; freed when libcurl is left
    int status;     // what they said
    char text[CURL_ERROR_SIZE];
};

struct tarn_http {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    // libcurl calls us: nothing may be added to or removed from the multi handle until it has returned.
    bool inside;
    struct tarn_exchange *later; // to be added or freed then
    unsigned handles;            // of libuv, still open
    char *no_proxy;              // for libcurl
    bool freed;
};

// http.c
// False: libcurl did not take it; it is the caller's.
bool tarn_http_add(struct tarn_exchange *exchange) tarn_must_check;
// Takes it from libcurl, now or when libcurl is left, and frees it.
void tarn_http_remove(struct tarn_exchange *exchange);

// http_exchange.c
void tarn_exchange_free(struct tarn_exchange *exchange);
// libcurl has ended it: tells done(), frees it.
void tarn_exchange_finish(struct tarn_exchange *exchange, CURLcode code);

#endif
