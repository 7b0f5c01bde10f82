// SPDX-License-Identifier: Apache-2.0
// A server on loopback that answers by a script, one connection and one request after the other. All of
// these fail the test themselves.
#ifndef TARN_TESTS_HTTP_SCRIPT_H
#define TARN_TESTS_HTTP_SCRIPT_H

#include <pthread.h>

#include "base/buf.h"

struct tarn_http_rule {
    const char *request; // what its first line starts with: "GET /v2/a/"
    const char *answer;  // the whole, head and body; NULL: the connection ends without one
    unsigned times;      // 0: for ever; a rule that is used up is passed over
};

struct tarn_http_script {
    const struct tarn_http_rule *rules; // the first one that fits; without any: 404
    size_t rule_count;
    char host[32]; // "127.0.0.1:PORT"
    // Every request's head. For the test after tarn_http_script_stop(); a NUL follows.
    struct tarn_buf log;
    unsigned used[32]; // private, as all below
    int listener;
    pthread_t thread;
};

// The host is set before the first request; rules may be set between this and the first request.
void tarn_http_script_start(struct tarn_http_script *script);
void tarn_http_script_stop(struct tarn_http_script *script);
// How often a rule was used so far.
unsigned tarn_http_script_used(struct tarn_http_script *script, size_t rule);
// How often text stands in the log.
unsigned tarn_http_script_count(const struct tarn_http_script *script, const char *text);

#endif
