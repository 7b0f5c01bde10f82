// SPDX-License-Identifier: Apache-2.0
// What a 401 asks for. Pure functions. Source: RFC 9110, 11.6.1; the distribution project's token
// specification.
#ifndef TARN_REGISTRY_CHALLENGE_H
#define TARN_REGISTRY_CHALLENGE_H

#include <stdint.h>

#include "base/err.h"

enum tarn_challenge_kind {
    TARN_CHALLENGE_NONE, // nothing that Tarn can answer
    TARN_CHALLENGE_BASIC,
    TARN_CHALLENGE_BEARER,
};

// Strings are owned; NULL where not given.
struct tarn_challenge {
    enum tarn_challenge_kind kind;
    char *realm; // bearer: the token server's URL
    char *service;
    char *scope;
    char *error; // "invalid_token", "insufficient_scope"
};

// The strongest challenge in the WWW-Authenticate value: bearer before basic. Unknown schemes and
// parameters are skipped; what is no challenge at all gives TARN_CHALLENGE_NONE. 0 or -ENOMEM.
int tarn_challenge_parse(const char *header, struct tarn_challenge *challenge) tarn_must_check;
void tarn_challenge_release(struct tarn_challenge *challenge);

// A token server's answer: {"token" or "access_token", "expires_in" (default 60, at most a day counts)};
// other members are not looked at.
struct tarn_token {
    char *text;          // owned
    uint64_t expires_in; // seconds, from when it was asked for
};
// -EUCLEAN with what is wrong: no token, or characters that cannot stand in a header.
int tarn_token_parse(const void *text, size_t length, struct tarn_token *token,
                     struct tarn_err *err) tarn_must_check;

#endif
