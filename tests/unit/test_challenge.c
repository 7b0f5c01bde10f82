// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "registry/challenge.h"

#define NONE TARN_CHALLENGE_NONE
#define BASIC TARN_CHALLENGE_BASIC
#define BEARER TARN_CHALLENGE_BEARER

static const struct {
    const char *header;
    enum tarn_challenge_kind kind;
    const char *realm;
    const char *service;
    const char *scope;
    const char *error;
} headers[] = {
    { "Bearer realm=\"https://a/token\",service=\"s\",scope=\"repository:x:pull,push\"", BEARER,
      "https://a/token", "s", "repository:x:pull,push", NULL },
    { "Bearer realm=\"https://a\", error=\"invalid_token\", error_description=\"no, \\\"no\\\"\"",
      BEARER, "https://a", NULL, NULL, "invalid_token" },
    { "Basic realm=\"lab\"", BASIC, "lab", NULL, NULL, NULL },
    { "Basic", BASIC, NULL, NULL, NULL, NULL },
    { "bASIC ReAlM = \"x y\"", BASIC, "x y", NULL, NULL, NULL },
    { "BEARER  REALM=\"https://a\" , Service = \"s\"", BEARER, "https://a", "s", NULL, NULL },
    // Several: the strongest, then the first.
    { "Basic realm=\"b\", Bearer realm=\"https://a\",service=\"s\"", BEARER, "https://a", "s", NULL,
      NULL },
    { "Bearer realm=\"https://a\",service=\"s\", Basic realm=\"b\"", BEARER, "https://a", "s", NULL,
      NULL },
    { "Bearer realm=\"https://a\", Bearer realm=\"https://b\"", BEARER, "https://a", NULL, NULL,
      NULL },
    { "Basic, Bearer realm=\"https://a\"", BEARER, "https://a", NULL, NULL, NULL },
    { "Negotiate, Basic realm=\"b\"", BASIC, "b", NULL, NULL, NULL },
    { "Negotiate YII+/a==, Basic realm=\"b\"", BASIC, "b", NULL, NULL, NULL },
    { "NTLM TlRM=, Digest nonce=\"a,b\", qop=auth, Basic realm=\"b\"", BASIC, "b", NULL, NULL,
      NULL },
    { " , ,Basic realm=\"b\", ", BASIC, "b", NULL, NULL, NULL },
    // Not as the RFC has it, but sent.
    { "Bearer realm=https://a/token,service=s:1", BEARER, "https://a/token", "s:1", NULL, NULL },
    { "Bearer realm=\"https://a\",realm=\"https://b\"", BEARER, "https://a", NULL, NULL, NULL },
    { "Bearer realm=\"a\\\\b\\\"c\"", BEARER, "a\\b\"c", NULL, NULL, NULL },
    { "Bearer realm=\"\"", BEARER, "", NULL, NULL, NULL },
    // A bearer challenge that cannot be answered.
    { "Bearer", NONE, NULL, NULL, NULL, NULL },
    { "Bearer service=\"s\"", NONE, NULL, NULL, NULL, NULL },
    { "Bearer service=\"s\", Basic realm=\"b\"", BASIC, "b", NULL, NULL, NULL },
    // Others, and what is no challenge.
    { "", NONE, NULL, NULL, NULL, NULL },
    { " ,\t,", NONE, NULL, NULL, NULL, NULL },
    { "Digest realm=\"d\"", NONE, NULL, NULL, NULL, NULL },
    { "Bearer2 realm=\"https://a\"", NONE, NULL, NULL, NULL, NULL },
    { "realm=\"https://a\"", NONE, NULL, NULL, NULL, NULL },
    { "=", NONE, NULL, NULL, NULL, NULL },
    { "\"Bearer\" realm=\"https://a\"", NONE, NULL, NULL, NULL, NULL },
    // Damage: what came before counts.
    { "Bearer realm=\"https://a", NONE, NULL, NULL, NULL, NULL },
    { "Bearer realm=\"https://a\\", NONE, NULL, NULL, NULL, NULL },
    { "Bearer realm=\"https://a\"x", NONE, NULL, NULL, NULL, NULL },
    { "Bearer realm=\"https://a\r\nX: y\"", NONE, NULL, NULL, NULL, NULL },
    { "Bearer realm=\"https://\x7f\"", NONE, NULL, NULL, NULL, NULL },
    { "Basic realm=\"b\", Bearer realm=\"https://a", BASIC, "b", NULL, NULL, NULL },
};

static void same(const char *text, const char *field, const char *want, const char *got)
{
    if (!want != !got || (want && strcmp(want, got) != 0))
        fail_msg("%s: %s: want %s, got %s", text, field, want ? want : "(none)",
                 got ? got : "(none)");
}

static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct tarn_challenge got;
        assert_int_equal(0, tarn_challenge_parse(headers[i].header, &got));
        if (got.kind != headers[i].kind)
            fail_msg("%s: want kind %d, got %d", headers[i].header, headers[i].kind, got.kind);
        same(headers[i].header, "realm", headers[i].realm, got.realm);
        same(headers[i].header, "service", headers[i].service, got.service);
        same(headers[i].header, "scope", headers[i].scope, got.scope);
        same(headers[i].header, "error", headers[i].error, got.error);
        tarn_challenge_release(&got);
    }
}

// A header of any length ends soon, and one that no server sends is none.
static void test_long_header(void **state)
{
    (void)state;
    enum { COUNT = 1 << 20 };
    char *header = malloc(COUNT + 64);
    assert_non_null(header);
    memset(header, ',', COUNT);
    memcpy(header + COUNT, "Basic realm=\"x\"", 16);
    struct tarn_challenge got;
    assert_int_equal(0, tarn_challenge_parse(header, &got));
    assert_int_equal(NONE, got.kind);
    tarn_challenge_release(&got);
    assert_int_equal(0, tarn_challenge_parse(header + COUNT - 1000, &got));
    assert_int_equal(BASIC, got.kind);
    tarn_challenge_release(&got);
    free(header);
}

static const struct {
    const char *text;
    const char *token; // NULL: refused
    uint64_t expires_in;
} answers[] = {
    { "{\"token\":\"a.b-c_d~e+f/g=\"}", "a.b-c_d~e+f/g=", 60 },
    { "{\"access_token\":\"x\",\"expires_in\":300}", "x", 300 },
    { "{\"token\":\"x\",\"access_token\":\"y\",\"expires_in\":1}", "x", 1 },
    { "{\"token\":\"\",\"access_token\":\"y\"}", "y", 60 },
    { "{\"token\":null,\"access_token\":\"y\"}", "y", 60 },
    { "{\"token\":\"x\",\"expires_in\":0}", "x", 60 },
    { "{\"token\":\"x\",\"expires_in\":-5}", "x", 60 },
    { "{\"token\":\"x\",\"expires_in\":\"300\"}", "x", 60 },
    { "{\"token\":\"x\",\"expires_in\":9223372036854775807}", "x", 86400 },
    { "{\"token\":\"x\",\"expires_in\":9223372036854775808}", NULL, 0 },
    { "{}", NULL, 0 },
    { "", NULL, 0 },
    { "[\"token\"]", NULL, 0 },
    { "<html>secret</html>", NULL, 0 },
    { "{\"token\":\"secret", NULL, 0 },
    { "{\"token\":7}", NULL, 0 },
    { "{\"token\":{\"token\":\"x\"}}", NULL, 0 },
    { "{\"token\":\"a secret\"}", NULL, 0 },
    { "{\"token\":\"secret\\r\\nX: y\"}", NULL, 0 },
    { "{\"token\":\"secret\\u0000\"}", NULL, 0 },
    { "{\"token\":\"secret\xc3\xa9\"}", NULL, 0 },
    { "{\"token\":\"x\",\"token\":\"secret\"}", NULL, 0 },
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const char *text = answers[i].text;
        struct tarn_token got;
        struct tarn_err err = { 0 };
        const int ret = tarn_token_parse(text, strlen(text), &got, &err);
        if (ret != (answers[i].token ? 0 : -EUCLEAN))
            fail_msg("%s: got %d %s", text, ret, err.text);
        same(text, "token", answers[i].token, got.text);
        if (got.expires_in != answers[i].expires_in)
            fail_msg("%s: want %lu s, got %lu", text, (unsigned long)answers[i].expires_in,
                     (unsigned long)got.expires_in);
        if (ret < 0 && (err.text[0] == '\0' || strstr(err.text, "secret")))
            fail_msg("%s: the message is '%s'", text, err.text);
        free(got.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_long_header),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
