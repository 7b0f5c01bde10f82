// SPDX-License-Identifier: Apache-2.0
#include "registry/challenge.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/json.h"

// A header is at most this long, a token lives at most this long (seconds) before it is asked for again.
enum { HEADER_MAX = 16384, LIFETIME_DEFAULT = 60, LIFETIME_MAX = 86400 };

void tarn_challenge_release(struct tarn_challenge *challenge)
{
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it takes one challenge for the one parsed before it
    free(challenge->realm);
    free(challenge->service);
    free(challenge->scope);
    free(challenge->error);
    *challenge = (struct tarn_challenge){ .kind = TARN_CHALLENGE_NONE };
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

// RFC 9110, 5.6.2.
static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_spaces(const char *p)
{
    while (is_space(*p))
        p++;
    return p;
}

static size_t token_length(const char *p)
{
    size_t n = 0;
    while (is_token_char(p[n]))
        n++;
    return n;
}

// A quoted string, or, as servers also send it, all up to a comma or space. 1 with fresh *value and *end
// behind it; 0: damaged; -ENOMEM.
static int parse_value(const char *p, char **value, const char **end)
{
    const bool quoted = *p == '"';
    char *out = malloc(strlen(p) + 1);
    if (!out)
        return -ENOMEM;
    size_t n = 0;
    for (p += quoted; quoted ? *p != '"' : *p != ',' && !is_space(*p); p++) {
        if (!quoted && *p == '\0')
            break;
        if (quoted && *p == '\\')
            p++;
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            free(out);
            return 0;
        }
        out[n++] = *p;
    }
    out[n] = '\0';
    *value = out;
    *end = p + quoted;
    return 1;
}

// Keeps the value in the member of that name, the first one of several.
static void keep_parameter(struct tarn_challenge *challenge, const char *name, size_t length,
                           char *value)
{
    const struct {
        const char *name;
        char **member;
    } known[] = {
        { "realm", &challenge->realm },
        { "service", &challenge->service },
        { "scope", &challenge->scope },
        { "error", &challenge->error },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == length && strncasecmp(name, known[i].name, length) == 0 &&
            !*known[i].member) {
            *known[i].member = value;
            return;
        }
    }
    free(value);
}

// NAME=VALUE at p. 1 with *end behind it; 0: there is none; -EBADMSG: damaged; -ENOMEM.
static int parse_parameter(const char *p, struct tarn_challenge *challenge, const char **end)
{
    const size_t length = token_length(p);
    const char *q = skip_spaces(p + length);
    if (length == 0 || *q != '=')
        return 0;
    q = skip_spaces(q + 1);
    // "abc=" and "abc==" are what other schemes have in place of parameters.
    if (*q == '\0' || *q == ',' || *q == '=')
        return 0;
    char *value;
    const int ret = parse_value(q, &value, end);
    if (ret <= 0)
        return ret == 0 ? -EBADMSG : ret;
    keep_parameter(challenge, p, length, value);
    return 1;
}

// A scheme and what belongs to it, at p. *end: where the next one starts.
static int parse_one(const char *p, struct tarn_challenge *challenge, const char **end)
{
    const size_t length = token_length(p);
    if (length == 0)
        return -EBADMSG;
    if (length == 6 && strncasecmp(p, "Bearer", 6) == 0)
        challenge->kind = TARN_CHALLENGE_BEARER;
    else if (length == 5 && strncasecmp(p, "Basic", 5) == 0)
        challenge->kind = TARN_CHALLENGE_BASIC;
    p = skip_spaces(p + length);
    for (bool first = true;; first = false) {
        const int ret = parse_parameter(p, challenge, &p);
        if (ret < 0)
            return ret;
        if (ret == 0 && first)
            while (*p && *p != ',') // Negotiate's and NTLM's bytes, or nothing
                p++;
        else if (ret == 0)
            break; // behind a comma stands a scheme again, or nothing
        p = skip_spaces(p);
        if (*p != ',' && *p != '\0')
            return -EBADMSG;
        while (*p == ',' || is_space(*p))
            p++;
    }
    *end = p;
    return 0;
}

int tarn_challenge_parse(const char *header, struct tarn_challenge *challenge)
{
    *challenge = (struct tarn_challenge){ .kind = TARN_CHALLENGE_NONE };
    if (strnlen(header, HEADER_MAX + 1) > HEADER_MAX)
        return 0;
    const char *p = header;
    while (*p == ',' || is_space(*p))
        p++;
    while (*p) {
        struct tarn_challenge one = { .kind = TARN_CHALLENGE_NONE };
        const int ret = parse_one(p, &one, &p);
        const bool usable = ret == 0 && (one.kind != TARN_CHALLENGE_BEARER || one.realm);
        if (usable && one.kind > challenge->kind) {
            const struct tarn_challenge weaker = *challenge;
            *challenge = one;
            one = weaker;
        }
        tarn_challenge_release(&one);
        if (ret == -ENOMEM) {
            tarn_challenge_release(challenge);
            return ret;
        }
        if (ret < 0)
            return 0; // what came before the damage counts
    }
    return 0;
}

static bool token_ok(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return length > 0;
}

int tarn_token_parse(const void *text, size_t length, struct tarn_token *token,
                     struct tarn_err *err)
{
    *token = (struct tarn_token){ 0 };
    // The parser's own words are left out: they quote the text, which may be a token.
    tarn_autojson json_t *json = tarn_json_parse(text, length, "", NULL);
    if (!json)
        return tarn_fail(err, -EUCLEAN, "the answer is not a JSON object");
    const json_t *value = json_object_get(json, "token");
    if (json_string_length(value) == 0)
        value = json_object_get(json, "access_token");
    if (json_string_length(value) == 0)
        return tarn_fail(err, -EUCLEAN, "the answer has no \"token\" and no \"access_token\"");
    if (!token_ok(json_string_value(value), json_string_length(value)))
        return tarn_fail(err, -EUCLEAN, "the token has characters that cannot stand in a header");
    token->expires_in = tarn_json_u64(json, "expires_in", 0);
    if (token->expires_in == 0)
        token->expires_in = LIFETIME_DEFAULT;
    token->expires_in = tarn_min_u64(token->expires_in, LIFETIME_MAX);
    token->text = strdup(json_string_value(value));
    return token->text ? 0 : tarn_fail(err, -ENOMEM, "out of memory");
}
