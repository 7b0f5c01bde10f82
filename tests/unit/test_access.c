// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "registry/access.h"

static char name[] = "user";
static char password[] = "pass\"word\\\xc3\xa9";
static char identity[] = "refresh";
static char config[] = "/c/config.json";
static char places[] = "/c/config.json\n/d/config.json";
static char ca[] = "/ca.pem";

static const struct tarn_access full = {
    .known = true,
    .username = name,
    .password = password,
    .identity_token = identity,
    .config_file = config,
    .config_places = places,
    .ca_file = ca,
    .insecure = true,
    .plain_http = true,
    .timeout = 7,
};

static void same(const struct tarn_access *want, const struct tarn_access *got)
{
    assert_true(tarn_access_equal(want, got));
    assert_int_equal(want->known, got->known);
    assert_int_equal(want->timeout, got->timeout);
}

static void test_json(void **state)
{
    (void)state;
    tarn_autojson json_t *json = tarn_access_to_json(&full);
    tarn_autofree char *text = tarn_json_dump(json);
    assert_string_equal("{\"ca_file\":\"/ca.pem\",\"config_file\":\"/c/config.json\","
                        "\"config_places\":\"/c/config.json\\n/d/config.json\","
                        "\"identity_token\":\"refresh\",\"insecure\":true,\"known\":true,"
                        "\"password\":\"pass\\\"word\\\\\xc3\xa9\",\"plain_http\":true,"
                        "\"timeout\":7,\"username\":\"user\"}",
                        text);
    struct tarn_access got;
    struct tarn_err err;
    assert_int_equal(0, tarn_access_from_json(json, &got, &err));
    same(&full, &got);
    assert_string_equal(password, got.password);
    tarn_access_release(&got);
    assert_null(got.password);

    const struct tarn_access none = { 0 };
    tarn_autojson json_t *empty = tarn_access_to_json(&none);
    assert_int_equal(0, json_object_size(empty));
    assert_int_equal(0, tarn_access_from_json(empty, &got, &err));
    same(&none, &got);
    tarn_access_release(&got);

    char latin[] = "\xe9";
    const struct tarn_access bytes = { .password = latin };
    assert_null(tarn_access_to_json(&bytes));
}

static const struct {
    const char *text;
    const char *member; // in the message
} bad[] = {
    { "[]", "object" },
    { "{\"username\":7}", "username" },
    { "{\"username\":\"a\",\"password\":null}", "password" },
    { "{\"username\":\"a\",\"password\":\"secret\\u0000\"}", "password" },
    { "{\"username\":\"a\",\"ca_file\":{}}", "ca_file" },
    { "{\"known\":1}", "known" },
    { "{\"insecure\":\"false\"}", "insecure" },
    { "{\"plain_http\":null}", "plain_http" },
    { "{\"timeout\":-1}", "timeout" },
    { "{\"timeout\":86401}", "timeout" },
    { "{\"timeout\":4294967296}", "timeout" },
    { "{\"timeout\":1.5}", "timeout" },
    { "{\"timeout\":\"5\"}", "timeout" },
    { "{\"verify\":true}", "verify" },
    { "{\"Username\":\"a\"}", "Username" },
    { "{\"\":\"a\"}", "\"\"" },
};

static void test_bad_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tarn_autojson json_t *json = json_loads(bad[i].text, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        struct tarn_access got;
        struct tarn_err err = { 0 };
        const int ret = tarn_access_from_json(json, &got, &err);
        if (ret != -EINVAL || !strstr(err.text, bad[i].member) || strstr(err.text, "secret"))
            fail_msg("%s: want -EINVAL about %s, got %d '%s'", bad[i].text, bad[i].member, ret,
                     err.text);
        assert_null(got.username);
    }
    struct tarn_access got;
    assert_int_equal(-EINVAL, tarn_access_from_json(NULL, &got, NULL));
}

static void test_copy_and_equal(void **state)
{
    (void)state;
    struct tarn_access copy;
    assert_int_equal(0, tarn_access_copy(&full, &copy));
    same(&full, &copy);
    assert_ptr_not_equal(full.username, copy.username);
    tarn_access_release(&copy);

    char other[] = "other";
    for (unsigned i = 0; i < 9; i++) {
        struct tarn_access changed = full;
        if (i == 0)
            changed.username = other;
        else if (i == 1)
            changed.password = other;
        else if (i == 2)
            changed.identity_token = NULL;
        else if (i == 3)
            changed.config_file = other;
        else if (i == 8)
            changed.config_places = other;
        else if (i == 4)
            changed.ca_file = NULL;
        else if (i == 5)
            changed.insecure = false;
        else if (i == 6)
            changed.plain_http = false;
        else
            changed.timeout = 8;
        if (tarn_access_equal(&full, &changed) || tarn_access_equal(&changed, &full))
            fail_msg("difference %u is not seen", i);
    }
    // The default in words is the default.
    const struct tarn_access none = { 0 };
    const struct tarn_access thirty = { .timeout = TARN_ACCESS_TIMEOUT };
    assert_true(tarn_access_equal(&none, &thirty));
}

static const struct {
    const char *host;
    bool loopback;
} hosts[] = {
    { "localhost", true },
    { "localhost:5000", true },
    { "LocalHost", true },
    { "127.0.0.1", true },
    { "127.0.0.1:5000", true },
    { "127.255.0.9", true },
    { "[::1]", true },
    { "[::1]:5000", true },
    { "", false },
    { "localhost.", false },
    { "localhost.example", false },
    { "notlocalhost", false },
    { "127.example.org", false },
    { "127.0.0.1.evil", false },
    { "127.0.0.256", false },
    { "127.1", false },
    { "128.0.0.1", false },
    { "[::1]x", false },
    { "[::11]", false },
    { "[::2]", false },
    { "10.0.0.1:5000", false },
    { "ghcr.io", false },
};

static void test_loopback(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (tarn_access_loopback(hosts[i].host) != hosts[i].loopback)
            fail_msg("'%s': want %d", hosts[i].host, hosts[i].loopback);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_copy_and_equal),
        cmocka_unit_test(test_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
