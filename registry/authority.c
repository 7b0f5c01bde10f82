// SPDX-License-Identifier: Apache-2.0
// Provisional: anonymous.
#include "registry/authority.h"

struct tarn_authority {
    struct tarn_http *http;
};

struct tarn_authority *tarn_authority_new(struct tarn_http *http, const struct tarn_access *access,
                                          const char *host, const char *repository,
                                          struct tarn_err *err)
{
    (void)access;
    (void)host;
    (void)repository;
    struct tarn_authority *authority = calloc(1, sizeof *authority);
    if (authority)
        authority->http = http;
    else
        tarn_fail(err, -ENOMEM, "out of memory");
    return authority;
}

void tarn_authority_free(struct tarn_authority *authority)
{
    free(authority);
}

void tarn_authority_get(struct tarn_authority *authority, const struct tarn_scope *scope,
                        struct tarn_authority_wait *wait)
{
    (void)authority;
    (void)scope;
    wait->done(wait->context, 0, NULL, NULL);
}

void tarn_authority_give_up(struct tarn_authority *authority, struct tarn_authority_wait *wait)
{
    (void)authority;
    (void)wait;
}

int tarn_authority_refused(struct tarn_authority *authority, const struct tarn_scope *scope,
                           const char *header, const char *challenge, struct tarn_err *err)
{
    (void)authority;
    (void)scope;
    (void)header;
    (void)challenge;
    return tarn_fail(err, -EACCES, "HTTP status 401: credentials are not supported yet");
}
