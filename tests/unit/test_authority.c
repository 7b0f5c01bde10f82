// SPDX-License-Identifier: Apache-2.0
// What is asked of whom, and when; what goes wrong stands in test_authority_refused.c.
#include "tests/unit/authority_world.h"

static void test_anonymous(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    expect_header(get(world, 0, &pull), "");
    assert_int_equal(0, world->http.started);
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http, "GET " REALM "?" PULL_QUERY);
    assert_int_equal(0, asker->calls);
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(1, world->http.started);
}

static void test_scopes(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, "Bearer realm=\"" REALM "?a=b#c\"", 0, "");
    static const struct {
        struct tarn_scope scope;
        const char *query;
    } cases[] = {
        { { false, NULL }, "scope=repository%3Ans%2Frepo%3Apull" },
        { { true, NULL }, "scope=repository%3Ans%2Frepo%3Apull%2Cpush" },
        { { true, "other" },
          "scope=repository%3Ans%2Frepo%3Apull%2Cpush&scope=repository%3Aother%3Apull" },
        { { false, "other" },
          "scope=repository%3Ans%2Frepo%3Apull&scope=repository%3Aother%3Apull" },
    };
    for (unsigned i = 0; i < 4; i++) {
        const struct asker *asker = get(world, i, &cases[i].scope);
        tarn_autofree char *want = tarn_asprintf("GET " REALM "?a=b&%s", cases[i].query);
        expect_request(&world->http, want);
        tarn_autofree char *token = tarn_asprintf("t%u", i);
        answer_token(&world->http, token, 300);
        assert_int_equal(1, asker->calls);
    }
    for (unsigned i = 0; i < 4; i++) {
        tarn_autofree char *want = tarn_asprintf("Authorization: Bearer t%u", i);
        expect_header(get(world, i, &cases[i].scope), want);
    }
    // From the repository itself nothing more is needed.
    expect_header(get(world, 0, &(struct tarn_scope){ true, "ns/repo" }),
                  "Authorization: Bearer t1");
    assert_int_equal(4, world->http.started);
}

// Some registries have a scope of their own; those of the repository are ours to say.
static void test_extra_scope(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL,
            "Bearer realm=\"" REALM "\",scope=\"aws repository:ns/repo:push,pull registry:x:*\"", 0,
            "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http,
                   "GET " REALM "?scope=repository%3Ans%2Frepo%3Apull&scope=aws&scope="
                   "registry%3Ax%3A%2A");
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");
}

static void test_post_form(void **state)
{
    struct world *world = *state;
    log_in(world, "us er", "p&=secret");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &push);
    expect_request(&world->http,
                   "POST " REALM
                   " grant_type=password&client_id=tarn&service=s%20v&scope=repository"
                   "%3Ans%2Frepo%3Apull%2Cpush&username=us%20er&password=p%26%3Dsecret");
    answer_token(&world->http, "t1", 300);
    expect_header(asker, "Authorization: Bearer t1");
}

// The statuses that mean that POST is unknown; once GET did it, POST is not tried again.
static void test_get_form(void **state)
{
    static const int statuses[] = { 400, 401, 404, 405, 501, 307 };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (i > 0) {
            assert_int_equal(0, tear_down(state));
            assert_int_equal(0, set_up(state));
        }
        struct world *world = *state;
        log_in(world, "a", "b");
        refused(world, &pull, NULL, BEARER, 0, "");
        const struct asker *asker = get(world, 0, &pull);
        answer_status(&world->http, statuses[i]);
        expect_request(&world->http, "GET " REALM "?" PULL_QUERY "&account=a Basic YTpi");
        assert_int_equal(0, asker->calls);
        answer(&world->http, 200, "{\"access_token\":\"t1\"}", 21, 0);
        expect_header(asker, "Authorization: Bearer t1");
        get(world, 1, &push);
        assert_memory_equal("GET ", world->http.exchange->text, 4);
        answer_token(&world->http, "t2", 300);
    }
}

static void test_identity_token(void **state)
{
    struct world *world = *state;
    world->access.identity_token = strdup("secret");
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    expect_request(&world->http,
                   "POST " REALM " grant_type=refresh_token&client_id=tarn&service=s%20v&scope="
                   "repository%3Ans%2Frepo%3Apull&refresh_token=secret");
    // There is no password for the GET form.
    answer_status(&world->http, 401);
    expect_failure(asker, -EACCES, "token server " REALM ": HTTP status 401");
    // Nor for Basic.
    refused(world, &pull, NULL, "Basic realm=\"x\"", -EACCES, "skopeo login h.io");
}

// One question for all who ask for a scope; each is told once, and nobody who has given up.
static void test_sharing(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    struct asker *asker[3];
    for (unsigned i = 0; i < 3; i++)
        asker[i] = get(world, i, &pull);
    assert_int_equal(1, world->http.started);
    tarn_authority_give_up(&asker[1]->wait);
    answer_token(&world->http, "t1", 300);
    expect_header(asker[0], "Authorization: Bearer t1");
    assert_int_equal(0, asker[1]->calls);
    expect_header(asker[2], "Authorization: Bearer t1");

    // All give up: the answer serves the next one.
    struct asker *last = get(world, 0, &push);
    tarn_authority_give_up(&last->wait);
    tarn_authority_give_up(&last->wait);
    answer_token(&world->http, "t2", 300);
    assert_int_equal(0, last->calls);
    expect_header(get(world, 0, &push), "Authorization: Bearer t2");
    assert_int_equal(2, world->http.started);

    // Or nobody, and the authority goes: the question goes too.
    last = get(world, 0, &(struct tarn_scope){ false, "third" });
    tarn_authority_give_up(&last->wait);
    tarn_authority_free(tarn_steal(world->authority));
    assert_int_equal(1, world->http.cancelled);
    assert_int_equal(0, last->calls);
}

// Told, an asker may ask at once again, and give up others, and free the authority.
struct nested {
    struct asker asker;
    struct world *world;
};

static void ask_again(void *context, int status, const char *header, const struct tarn_err *err)
{
    struct nested *nested = context;
    nested->asker.wait.context = &nested->asker;
    nested->asker.wait.done = on_header;
    assert_int_equal(-EAGAIN, status);
    assert_null(header);
    assert_non_null(strstr(err->text, "HTTP status 503"));
    tarn_authority_give_up(&nested->world->askers[1].wait);
    refused(nested->world, &pull, NULL, BEARER, 0, "");
    tarn_authority_get(nested->world->authority, &pull, &nested->asker.wait);
}

static void free_authority(void *context, int status, const char *header,
                           const struct tarn_err *err)
{
    struct nested *nested = context;
    on_header(&nested->asker, status, header, err);
    tarn_authority_free(tarn_steal(nested->world->authority));
}

static void test_nested(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    struct nested first = { .world = world };
    first.asker.wait = (struct tarn_authority_wait){ .context = &first, .done = ask_again };
    tarn_authority_get(world->authority, &pull, &first.asker.wait);
    const struct asker *given_up = get(world, 1, &pull);
    const struct asker *third = get(world, 2, &pull);
    answer_status(&world->http, 503);
    assert_int_equal(0, given_up->calls);
    expect_failure(third, -EAGAIN, "HTTP status 503");
    assert_int_equal(2, world->http.started);
    answer_token(&world->http, "t1", 300);
    expect_header(&first.asker, "Authorization: Bearer t1");

    struct nested last = { .world = world };
    last.asker.wait = (struct tarn_authority_wait){ .context = &last, .done = free_authority };
    tarn_authority_get(world->authority, &push, &last.asker.wait);
    answer_status(&world->http, 403);
    expect_failure(&last.asker, -EACCES, "there are no credentials for h.io");
}

static void test_renewal_time(void **state)
{
    (void)state;
    static const uint64_t times[][2] = {
        { 0, 0 },
        { 1000, 500 },
        { 5000, 2500 },
        { 19999, 9999 },
        { 20000, 18000 },
        { 60000, 54000 },
        { 100000, 90000 },
        { 300000, 290000 },
        { 3600000, 3590000 },
        { 86400000, 86390000 },
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (tarn_token_renew_after(times[i][0]) != times[i][1])
            fail_msg("%lu ms: got %lu", (unsigned long)times[i][0],
                     (unsigned long)tarn_token_renew_after(times[i][0]));
}

// Before it expires a token is asked for in the background; nobody waits.
static void test_renewal(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    first_token(world, 60);
    world->http.now += 53999;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(1, world->http.started);
    world->http.now += 1;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(2, world->http.started);
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(2, world->http.started);
    answer_token(&world->http, "t2", 60);
    expect_header(get(world, 0, &pull), "Authorization: Bearer t2");
    assert_int_equal(2, world->http.started);

    // It was not used for long: it has expired, and one must wait.
    world->http.now += 60000;
    const struct asker *asker = get(world, 0, &pull);
    assert_int_equal(0, asker->calls);
    answer_token(&world->http, "t3", 60);
    expect_header(asker, "Authorization: Bearer t3");
}

// The token server is away: what still holds is used to its end, and it is asked once a second.
static void test_renewal_fails(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    first_token(world, 60);
    world->http.now += 54000;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    answer_status(&world->http, 503);
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(2, world->http.started);
    world->http.now += 1000;
    expect_header(get(world, 0, &pull), "Authorization: Bearer t1");
    assert_int_equal(3, world->http.started);
    answer(&world->http, 0, "", 0, -ECONNREFUSED);
    world->http.now += 5000;
    const struct asker *asker = get(world, 0, &pull);
    answer_status(&world->http, 503);
    expect_failure(asker, -EAGAIN, "HTTP status 503");
}

// A token server that says nothing is given up in half of the time that the askers have.
static void test_timeout(void **state)
{
    struct world *world = *state;
    world->access.timeout = 1;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    const struct asker *asker = get(world, 0, &pull);
    while (asker->calls == 0)
        uv_run(&world->http.loop, UV_RUN_ONCE);
    expect_failure(asker, -EAGAIN, "token server " REALM " does not answer");
    assert_int_equal(1, world->http.cancelled);
}

// As many scopes as one likes: what is kept of them is bounded, and each is right.
static void test_many_scopes(void **state)
{
    struct world *world = *state;
    open_authority(world, "h.io");
    refused(world, &pull, NULL, BEARER, 0, "");
    for (unsigned i = 0; i < 200; i++) {
        tarn_autofree char *from = tarn_asprintf("r%u", i);
        tarn_autofree char *token = tarn_asprintf("t%u", i);
        const struct asker *asker = get(world, 0, &(struct tarn_scope){ true, from });
        answer_token(&world->http, token, 300);
        tarn_autofree char *want = tarn_asprintf("Authorization: Bearer %s", token);
        expect_header(asker, want);
    }
    expect_header(get(world, 0, &(struct tarn_scope){ true, "r199" }),
                  "Authorization: Bearer t199");
    assert_int_equal(200, world->http.started);
    get(world, 0, &(struct tarn_scope){ true, "r0" });
    assert_int_equal(201, world->http.started);
    answer_token(&world->http, "t", 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_anonymous),   TEST(test_scopes),        TEST(test_extra_scope),
        TEST(test_post_form),   TEST(test_get_form),      TEST(test_identity_token),
        TEST(test_sharing),     TEST(test_nested),        cmocka_unit_test(test_renewal_time),
        TEST(test_renewal),     TEST(test_renewal_fails), TEST(test_timeout),
        TEST(test_many_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
