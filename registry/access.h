// SPDX-License-Identifier: Apache-2.0
// How to reach a registry: credentials, TLS, patience. Plain data, which travels from the command line
// to the daemon as JSON.
#ifndef TARN_REGISTRY_ACCESS_H
#define TARN_REGISTRY_ACCESS_H

#include <stdbool.h>

#include "base/json.h"

enum { TARN_ACCESS_TIMEOUT = 30, TARN_ACCESS_TIMEOUT_MAX = 86400 }; // seconds

// A zeroed struct is anonymous access with the defaults. All strings are owned, or NULL.
struct tarn_access {
    bool known; // credentials were looked up (docker_config.h); false: opening a repository does it
    char *username;
    char *password;
    char *identity_token; // a refresh token for the token server, instead of a password
    char *config_file;    // where the credentials were found
    // The files that they are looked for in, one a line, the best first: read again when the registry
    // wants others, or some where there were none.
    char *config_places;
    char *ca_file;   // PEM: authorities to trust instead of the system's
    bool insecure;   // TLS without checking the certificate
    bool plain_http; // no TLS
    // Seconds that a request may go without an answer or progress, over all its repetitions; 0:
    // TARN_ACCESS_TIMEOUT.
    unsigned timeout;
};

void tarn_access_release(struct tarn_access *access);
// Copies into an uninitialised struct. 0 or -ENOMEM, with nothing to be released.
int tarn_access_copy(const struct tarn_access *from, struct tarn_access *to) tarn_must_check;
// The same credentials and settings.
bool tarn_access_equal(const struct tarn_access *a, const struct tarn_access *b);

// As an object, without the members that are not set; NULL when out of memory, or a string is not UTF-8
// (config_places is left out then).
json_t *tarn_access_to_json(const struct tarn_access *access);
// Reads that into an uninitialised struct. -EINVAL names the member that is wrong.
int tarn_access_from_json(const json_t *json, struct tarn_access *access,
                          struct tarn_err *err) tarn_must_check;

// The host ("localhost:5000", with or without a port) is this machine: localhost, 127.0.0.0/8, [::1].
bool tarn_access_loopback(const char *host);

#endif
