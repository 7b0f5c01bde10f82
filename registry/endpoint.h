// SPDX-License-Identifier: Apache-2.0
// What call.c knows of a repository: where it is, and what its requests need. For call.c alone.
#ifndef TARN_REGISTRY_ENDPOINT_H
#define TARN_REGISTRY_ENDPOINT_H

#include "registry/call.h"

struct tarn_endpoint {
    struct tarn_http *http;
    struct tarn_access access;
    struct tarn_authority *authority;
    char *host; // of the reference
    char *repository;
    bool tls;
    // Loopback, nothing said about TLS: what the server speaks shows at the first answer.
    bool may_switch;
    bool (*interrupted)(const void *context); // or NULL
    const void *interrupted_context;
    bool answered; // so what it speaks is known
    enum { MULTIPART_UNKNOWN, MULTIPART_WORKS, MULTIPART_FAILS } multipart;
};

// The URL of a path behind /v2/REPOSITORY/, in fresh memory; NULL when out of memory.
char *tarn_endpoint_url(const struct tarn_endpoint *endpoint, const char *path);
// The server does not speak the protocol that was tried: the other one from now on, if that is still open.
void tarn_endpoint_switch(struct tarn_endpoint *endpoint);
// It answered: what is known now holds.
static inline void tarn_endpoint_settle(struct tarn_endpoint *endpoint)
{
    endpoint->may_switch = false;
    endpoint->answered = true;
}

#endif
