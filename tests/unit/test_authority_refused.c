// SPDX-License-Identifier: Apache-2.0
// Token servers that fail, registries that refuse, credentials that are wrong or not to be sent.
#include "tests/unit/authority_world.h"

#include <sys/stat.h>

struct failure {
    int status;
    int code; // of the exchange
    int want;
    const char *words;
    const char *body;
};

// With credentials, that is: POST, and where that is answered so, GET.
static const struct failure failures[] = {
    { 403, 0, -EACCES, "token server " REALM ": HTTP status 403: the credentials for h.io",
      "secret" },
    { 401, 0, -EACCES, "skopeo login h.io", "secret" },
    { 404, 0, -EACCES, "HTTP status 404", "secret" },
    { 418, 0, -EACCES, "HTTP status 418", "secret" },
    { 408, 0, -EAGAIN, "HTTP status 408", "secret" },
    { 429, 0, -EAGAIN, "token server " REALM ": HTTP status 429", "secret" },
    { 500, 0, -EAGAIN, "HTTP status 500", "secret" },
    { 501, 0, -EAGAIN, "HTTP status 501", "secret" },
    { 503, 0, -EAGAIN, "HTTP status 503", "secret" },
    { 0, -ECONNREFUSED, -EAGAIN, "token server " REALM ": the line is cut", "" },
    { 0, -EHOSTUNREACH, -EAGAIN, "the line is cut", "" },
    { 0, -EPROTO, -EAGAIN, "the line is cut", "" },
    { 200, -ECONNRESET, -EAGAIN, "the line is cut", "{\"token\":\"secret" },
    { 0, -EKEYREJECTED, -EKEYREJECTED, "--ca", "" },
    { 200, 0, -EUCLEAN, "token server " REALM ": the answer", "secret" },
    { 200, 0, -EUCLEAN, "no \"token\"", "{}" },
    { 204, 0, -EUCLEAN, "not a JSON object", "" },
    { 200, 0, -EUCLEAN, "cannot stand in a header", "{\"token\":\"secret\\r\\n\"}" },
};

static void test_failures(void **state)
{
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        if (i > 0) {
            assert_int_equal(0, tear_down(state));
            assert_int_equal(0, set_up(state));
        }
        struct world *world = *state;
        const struct failure *f = &failures[i];
        log_in(world, "secretary", "secret");
        refused(world, &pull, NULL, BEARER, 0, "");
        const struct asker *first = get(world, 0, &pull);
        const struct asker *second = get(world, 1, &pull);
        while (world->http.exchange)
            answer(&world->http, f->status, f->body, strlen(f->body), f->code);
        expect_failure(first, f->want, f->words);
        expect_failure(second, f->want, f->words);
        // Nothing is remembered, not even the server: the registry says again what it wants, or wants nothing.
        expect_header(get(world, 2, &pull), "");
        refused(world, &pull, NULL, BEARER, 0, "");
        const struct asker *third = get(world, 2, &pull);
        answer_token(&world->http, "t1", 300);
        expect_header(third, "Authorization: Bearer t1");
    }
}

static void test_large_answer(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    tarn_autofree char *body = malloc(65537);
    assert_non_null(body);
    memset(body, ' ', 65537);
    memcpy(body, "{\"token\":\"t1\"}", 14);
    const struct asker *asker = get(world, 0, &pull);
    answer(&world->http, 200, body, 65537, 0);
    expect_failure(asker, -EUCLEAN, "larger than 65536 bytes");
    refused(world, &pull, NULL, BEARER, 0, "");
    asker = get(world, 0, &pull);
    answer(&world->http, 200, body, 65536, 0);
    expect_header(asker, "Authorization: Bearer t1");
}

static void test_no_client(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    world->http.refuse = -ENOMEM;
    expect_failure(get(world, 0, &pull), -ENOMEM, "no client");
    world->http.refuse = 0;
    get(world, 0, &pull);
    answer_token(&world->http, "t1", 300);
}

// The registry refuses a token: a new one, once, and the second 401 at once is the end.
static void test_refused_token(void **state)
{
    struct world *world = *state;
    log_in(world, "a", "secret");
    first_token(world, 300);
    world->http.now += 100000;
    static const char t1[] = "Authorization: Bearer t1";
    static const char t2[] = "Authorization: Bearer t2";
    refused(world, &pull, t1, BEARER ",error=\"invalid_token\"", 0, "");
    // A second request that carried it.
    refused(world, &pull, t1, BEARER ",error=\"invalid_token\"", 0, "");
    const struct asker *asker = get(world, 0, &pull);
    assert_int_equal(2, world->http.started);
    answer_token(&world->http, "t2", 300);
    expect_header(asker, t2);
    // A third one, late.
    refused(world, &pull, t1, BEARER, 0, "");
    expect_header(get(world, 0, &pull), t2);
    assert_int_equal(2, world->http.started);
    refused(world, &pull, t2, BEARER ",error=\"insufficient_scope\"", -EACCES,
            "HTTP status 401 (insufficient_scope) to a new token from " REALM
            ": the credentials for h.io");
    // Without a word what was known holds.
    get(world, 0, &pull);
    answer_token(&world->http, "t3", 300);
    world->http.now += 5000;
    refused(world, &pull, "Authorization: Bearer t3", NULL, 0, "");
    get(world, 0, &pull);
    assert_int_equal(4, world->http.started);
    answer_token(&world->http, "t4", 300);
}

static void test_other_server(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    first_token(world, 300);
    refused(world, &pull, "Authorization: Bearer t1", "Bearer realm=\"https://b/\",service=\"s v\"",
            0, "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http, "GET https://b/?" PULL_QUERY);
    answer_token(&world->http, "t2", 300);
    expect_header(asker, "Authorization: Bearer t2");
}

static void test_basic(void **state)
{
    struct world *world = *state;
    log_in(world, "tester", "correct horse");
    static const char header[] = "Authorization: Basic dGVzdGVyOmNvcnJlY3QgaG9yc2U=";
    expect_header(get(world, 0, &pull), "");
    refused(world, &pull, NULL, "Basic realm=\"x\"", 0, "");
    expect_header(get(world, 0, &pull), header);
    expect_header(get(world, 0, &push), header);
    assert_int_equal(0, world->http.started);
    refused(world, &pull, NULL, "Basic realm=\"x\"", 0, "");
    refused(world, &pull, header, "Basic realm=\"x\"", -EACCES,
            "the credentials for h.io are wrong or do not suffice for ns/repo: run `skopeo login "
            "h.io`");
}

static void test_lacking(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, "Basic realm=\"x\"", -EACCES,
            "there are no credentials for h.io: run `skopeo login h.io`");
    refused(world, &pull, NULL, NULL, -EACCES, "without a challenge");
    refused(world, &pull, NULL, "Negotiate", -ENOTSUP, "\"Negotiate\"");
    refused(world, &pull, NULL, "AWS4-HMAC-SHA256 secret", -ENOTSUP, "\"AWS4-HMAC-SHA256\"");
    refused(world, &pull, NULL, "\x1b[2J", -ENOTSUP, "\"\"");
}

// A realm is asked only if it is a URL like any other.
static void test_realms(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    static const char *const bad[] = {
        "",
        "/token",
        "auth.example/token",
        "file:///etc/passwd",
        "ftp://a/",
        "https://",
        "https:///token",
        "https://?x",
        "https://user:secret@a/token",
        "https://a\\\\@b/token",
        "https://a/to ken",
        "https://a/\xc3\xa9",
        "gopher://127.0.0.1:6379/_x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tarn_autofree char *challenge = tarn_asprintf("Bearer realm=\"%s\"", bad[i]);
        refused(world, &pull, NULL, challenge, -EACCES, "no http or https URL");
    }
    expect_header(get(world, 0, &pull), "");
}

// Who may get a password over plain HTTP.
static void test_plain_realm(void **state)
{
    static const struct {
        const char *host;
        const char *realm;
        bool plain_http;
        bool ca;
        bool sent;
    } cases[] = {
        { "h.io", "https://a/", false, false, true },
        { "h.io", "http://a/", false, false, false },
        { "h.io", "HTTP://a/", false, false, false },
        { "h.io", "http://127.0.0.1:1/", false, false, false },
        { "h.io", "http://a/", true, false, true },
        { "localhost:5000", "http://127.0.0.1:1/t", false, false, true },
        { "127.0.0.1:5000", "http://[::1]:1?x", false, false, true },
        { "localhost:5000", "http://127.0.0.1:1/t", false, true, false },
        { "localhost:5000", "http://a/", false, false, false },
        { "localhost:5000", "http://127.0.0.1.a/", false, false, false },
        { "localhost:5000", "http://a/?http://127.0.0.1/", false, false, false },
        { "localhost:5000", "https://a/", false, false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (i > 0) {
            assert_int_equal(0, tear_down(state));
            assert_int_equal(0, set_up(state));
        }
        struct world *world = *state;
        world->access.plain_http = cases[i].plain_http;
        world->access.ca_file = cases[i].ca ? strdup("/ca.pem") : NULL;
        world->access.username = strdup("a");
        world->access.password = strdup("b");
        open_authority(world, cases[i].host);
        tarn_autofree char *challenge = tarn_asprintf("Bearer realm=\"%s\"", cases[i].realm);
        refused(world, &pull, NULL, challenge, 0, "");
        const struct asker *asker = get(world, 0, &pull);
        if ((world->http.started == 1) != cases[i].sent)
            fail_msg("%s at %s: %u sent", cases[i].realm, cases[i].host, world->http.started);
        if (cases[i].sent)
            answer_token(&world->http, "t", 60);
        else
            expect_failure(asker, -EACCES, "over plain HTTP; --plain-http");
    }
}

// --- credentials that change ----------------------------------------------------------------------------

static void write_login(const char *path, const char *user, const char *password)
{
    tarn_autofree char *text = tarn_asprintf(
        "{\"auths\":{\"h.io\":{\"username\":\"%s\",\"password\":\"%s\"}}}", user, password);
    struct tarn_err err;
    assert_int_equal(0, tarn_file_replace(AT_FDCWD, path, text, strlen(text), &err));
}

// Until the question goes on or is answered.
static void wait_for_reading(struct world *world, const struct asker *asker)
{
    while (!world->http.exchange && asker->calls == 0)
        uv_run(&world->http.loop, UV_RUN_ONCE);
}

static void test_new_login(void **state)
{
    struct world *world = *state;
    char directory[] = "/tmp/tarn-authority-XXXXXX";
    assert_non_null(mkdtemp(directory));
    tarn_autofree char *path = tarn_path_join(directory, "config.json");
    write_login(path, "a", "b");
    world->access.config_places = tarn_asprintf("%s/none\n%s", directory, path);
    world->access.config_file = strdup(path);
    world->access.plain_http = true;
    log_in(world, "a", "b");

    // Basic.
    refused(world, &pull, NULL, "Basic", 0, "");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", -EINPROGRESS, path);
    assert_false(read_again(world));
    write_login(path, "c", "d");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", -EINPROGRESS, "");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", -EINPROGRESS, "");
    assert_true(read_again(world));
    expect_header(get(world, 0, &pull), "Authorization: Basic Yzpk");
    refused(world, &pull, "Authorization: Basic YTpi", "Basic", 0, ""); // one that was on its way

    // A token server that refuses the old ones; the settings stay as they are.
    refused(world, &pull, NULL, "Bearer realm=\"http://a/t\"", 0, "");
    const struct asker *asker = get(world, 0, &pull);
    write_login(path, "e", "f");
    answer_status(&world->http, 403);
    wait_for_reading(world, asker);
    expect_request(&world->http,
                   "POST http://a/t grant_type=password&client_id=tarn&scope=repository"
                   "%3Ans%2Frepo%3Apull&username=e&password=f");
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");

    // Once for a question, even if they change again.
    asker = get(world, 0, &push);
    write_login(path, "g", "h");
    answer_status(&world->http, 403);
    wait_for_reading(world, asker);
    write_login(path, "i", "j");
    answer_status(&world->http, 403);
    expect_failure(asker, -EACCES, "run `skopeo login h.io`");

    // Damage to the file is no reason to fail otherwise.
    world->http.now += 300000; // no token is left, and with it nothing that speaks for the server
    refused(world, &pull, NULL, "Bearer realm=\"http://a/t\"", 0, "");
    asker = get(world, 0, &push);
    struct tarn_err err;
    assert_int_equal(0, tarn_file_replace(AT_FDCWD, path, "{", 1, &err));
    answer_status(&world->http, 403);
    wait_for_reading(world, asker);
    expect_failure(asker, -EACCES, path);
    assert_int_equal(0, tarn_remove_tree(AT_FDCWD, directory, &err));
}

// Where there were no credentials, a login makes some.
static void test_first_login(void **state)
{
    struct world *world = *state;
    char directory[] = "/tmp/tarn-authority-XXXXXX";
    assert_non_null(mkdtemp(directory));
    tarn_autofree char *path = tarn_path_join(directory, "config.json");
    struct tarn_err err;
    world->access.config_places = strdup(path);
    open_authority(world, "h.io");
    refused(world, &pull, NULL, "Basic", -EINPROGRESS, "there are no credentials for h.io");
    assert_false(read_again(world));
    write_login(path, "a", "b");
    refused(world, &pull, NULL, "Basic", -EINPROGRESS, "");
    assert_true(read_again(world));
    expect_header(get(world, 0, &pull), "Authorization: Basic YTpi");
    assert_int_equal(0, tarn_remove_tree(AT_FDCWD, directory, &err));
}

// A helper that takes its time keeps nobody waiting but those who need it, and goes on when they gave up.
static void test_slow_helper(void **state)
{
    struct world *world = *state;
    char directory[] = "/tmp/tarn-authority-XXXXXX";
    assert_non_null(mkdtemp(directory));
    tarn_autofree char *path = tarn_path_join(directory, "config.json");
    tarn_autofree char *program = tarn_path_join(directory, "docker-credential-slow");
    tarn_autofree char *fifo = tarn_path_join(directory, "fifo");
    tarn_autofree char *script = tarn_asprintf("#!/bin/sh\nread go <%s\n", fifo);
    tarn_autofree char *search = tarn_asprintf("%s:%s", directory, getenv("PATH"));
    static const char config[] = "{\"credsStore\":\"slow\"}";
    struct tarn_err err;
    assert_int_equal(0, mkfifo(fifo, 0600));
    assert_int_equal(0, tarn_file_replace(AT_FDCWD, path, config, sizeof config - 1, &err));
    assert_int_equal(0, tarn_file_replace(AT_FDCWD, program, script, strlen(script), &err));
    assert_int_equal(0, chmod(program, 0700));
    setenv("PATH", search, 1);
    world->access.config_places = strdup(path);
    open_authority(world, "h.io");
    refused(world, &pull, NULL, "Basic", -EINPROGRESS, "");
    struct asker asker = { .wait = { .context = &asker, .done = on_header } };
    tarn_authority_await_credentials(world->authority, &asker.wait);
    // The loop turns, and others get their headers.
    for (int i = 0; i < 10; i++)
        uv_run(&world->http.loop, UV_RUN_NOWAIT);
    expect_header(get(world, 0, &pull), "");
    assert_int_equal(0, asker.calls);
    tarn_authority_give_up(&asker.wait);
    tarn_authority_free(tarn_steal(world->authority));
    tarn_autoclose int fd = open(fifo, O_RDWR | O_CLOEXEC); // does not wait for the helper
    assert_int_equal(3, write(fd, "go\n", 3));
    while (uv_run(&world->http.loop, UV_RUN_DEFAULT))
        ;
    assert_int_equal(0, asker.calls);
    assert_int_equal(0, tarn_remove_tree(AT_FDCWD, directory, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_failures),      TEST(test_large_answer), TEST(test_no_client),
        TEST(test_refused_token), TEST(test_other_server), TEST(test_basic),
        TEST(test_lacking),       TEST(test_realms),       TEST(test_plain_realm),
        TEST(test_new_login),     TEST(test_first_login),  TEST(test_slow_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
