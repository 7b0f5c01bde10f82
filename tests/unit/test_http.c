// SPDX-License-Identifier: Apache-2.0
#include "registry/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <netdb.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

// --- a name server that does not answer ---------------------------------------------------------------

static sem_t asked;   // somebody waits for it
static sem_t answers; // may go on
static sem_t left;    // went on

// In place of libc's, for libcurl's thread.
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)name;
    (void)service;
    (void)hints;
    *found = NULL;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    sem_post(&asked);
    sem_timedwait(&answers, &end);
    sem_post(&left);
    return EAI_AGAIN;
}

static void never_done(void *context, int status, const struct tarn_err *err)
{
    (void)context;
    (void)status;
    (void)err;
    fail();
}

static void test_cancel_waits_for_no_name(void **state)
{
    (void)state;
    struct tarn_err err = { 0 };
    struct tarn_exchange *exchange;
    uv_loop_t loop;
    assert_int_equal(0, sem_init(&asked, 0, 0));
    assert_int_equal(0, sem_init(&answers, 0, 0));
    assert_int_equal(0, sem_init(&left, 0, 0));
    assert_int_equal(0, uv_loop_init(&loop));
    struct tarn_http *http = tarn_http_new(&loop, &err);
    assert_non_null(http);
    const struct tarn_http_request request = {
        .method = "GET",
        .url = "http://registry.invalid/",
        .done = never_done,
    };
    assert_int_equal(0, tarn_http_start(http, &request, &exchange, &err));
    while (sem_trywait(&asked) < 0)
        uv_run(&loop, UV_RUN_ONCE);
    tarn_exchange_cancel(exchange);
    tarn_http_free(http);
    uv_run(&loop, UV_RUN_DEFAULT);
    const int waited = sem_trywait(&left);
    sem_post(&answers);
    if (waited < 0)
        assert_int_equal(0, sem_wait(&left));
    assert_int_equal(-1, waited);
    assert_int_equal(0, uv_loop_close(&loop));
}

// --- URLs -----------------------------------------------------------------------------------------------

static void test_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *base;
        const char *location;
        const char *want; // NULL: none
    } cases[] = {
        { "http://h:5000/v2/r/blobs/uploads/", "/u/1?a=b", "http://h:5000/u/1?a=b" },
        { "http://h:5000/v2/r/blobs/uploads/", "1", "http://h:5000/v2/r/blobs/uploads/1" },
        { "http://h:5000/v2/", "https://other/u", "https://other/u" },
        { "http://h:5000/v2/", "//other/u", "http://other/u" },
        { "http://h:5000/v2/", "ftp://h/u", NULL },
        { "http://h:5000/v2/", "file:///etc/passwd", NULL },
        // What ends TLS stands before the registry.
        { "https://h/v2/", "http://h/u/1", "https://h/u/1" },
        { "https://h:5000/v2/", "http://H:5000/u/1", "https://H:5000/u/1" },
        { "https://h/v2/", "http://h:8080/u/1", "http://h:8080/u/1" },
        { "https://h/v2/", "http://other/u/1", "http://other/u/1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autofree char *got = tarn_http_resolve(cases[i].base, cases[i].location);
        if (!cases[i].want ? got != NULL : !got || strcmp(got, cases[i].want) != 0)
            fail_msg("%s at %s: want %s, got %s", cases[i].location, cases[i].base, cases[i].want,
                     got);
    }
}

static void test_same_origin(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool want;
    } cases[] = {
        { "https://h/a", "https://H:443/b?c", true },  { "http://h", "http://h:80/b", true },
        { "http://h:5000/", "http://h:5001/", false }, { "https://h/", "http://h/", false },
        { "https://h/", "https://h.example/", false }, { "https://h/", "https://h@other/", false },
        { "https://h/", "https://other/h/", false },   { "https://h/", "h", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (tarn_http_same_origin(cases[i].a, cases[i].b) != cases[i].want)
            fail_msg("%s and %s: want %d", cases[i].a, cases[i].b, cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_waits_for_no_name),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_same_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
