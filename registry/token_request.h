// SPDX-License-Identifier: Apache-2.0
// What is sent to a token server, for authority.c. Pure functions.
// Source: the distribution project's token specification, its plain and its OAuth2 form.
#ifndef TARN_REGISTRY_TOKEN_REQUEST_H
#define TARN_REGISTRY_TOKEN_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "registry/access.h"

// All borrowed.
struct tarn_token_request {
    const char *realm;
    const char *service; // or NULL
    const char *scopes;  // separated by spaces
    const struct tarn_access *access;
};

// The URL without what stands behind its path, for messages: neither a user nor a query. Fresh, or NULL.
char *tarn_token_server_name(const char *realm);

// The realm is a URL that can be asked: http or https with a host, of plain characters. err says what else.
int tarn_token_realm_check(const char *realm, struct tarn_err *err) tarn_must_check;

// Credentials for host may be sent to the realm: over TLS anywhere; over plain HTTP if the user said so, or
// when both are this machine and the registry was not asked for over TLS.
bool tarn_token_realm_trusted(const char *realm, const char *host,
                              const struct tarn_access *access);

// The URL of the GET form, the body of the POST form, "Authorization: Basic ..."; all fresh, or NULL.
char *tarn_token_get_url(const struct tarn_token_request *request);
char *tarn_token_post_body(const struct tarn_token_request *request);
char *tarn_basic_header(const struct tarn_access *access);

// When a token that lives so long is asked for again, after it was asked for; both in milliseconds.
uint64_t tarn_token_renew_after(uint64_t lifetime);

#endif
