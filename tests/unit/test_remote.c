// SPDX-License-Identifier: Apache-2.0
// Registries that answer what no good one does; what good and broken ones do stands in the integration tests.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>

#include "base/bus_guard.h"
#include "base/file.h"
#include "registry/blocking.h"
#include "tests/support/http_script.h"

#define END "Connection: close\r\n\r\n"
#define EMPTY "Content-Length: 0\r\n" END
#define CREATED "HTTP/1.1 201 Created\r\n" EMPTY
#define UNKNOWN "HTTP/1.1 404 Not Found\r\n" EMPTY
#define BLOB "/v2/r/blobs/sha256:"

enum { PART = 8 << 20 };

struct world {
    struct tarn_http_script server;
    struct tarn_http_script other; // another host
    struct tarn_access access;
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    char *texts[4]; // of rules
};

static int set_up(void **state)
{
    struct tarn_err err;
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    tarn_http_script_start(&world->server);
    tarn_http_script_start(&world->other);
    world->blocking = tarn_blocking_new(&err);
    assert_non_null(world->blocking);
    world->access = (struct tarn_access){ .known = true, .plain_http = true, .timeout = 20 };
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    tarn_repository_close(world->repository);
    tarn_blocking_free(world->blocking);
    tarn_http_script_stop(&world->server);
    tarn_http_script_stop(&world->other);
    tarn_buf_release(&world->server.log);
    tarn_buf_release(&world->other.log);
    tarn_access_release(&world->access);
    for (size_t i = 0; i < sizeof world->texts / sizeof world->texts[0]; i++)
        free(world->texts[i]);
    free(world);
    return 0;
}

// Nothing has been asked yet, so that the servers' threads see the rules.
static void open_repository(struct world *world, const struct tarn_http_rule *rules, size_t count)
{
    struct tarn_err err = { 0 };
    struct tarn_reference reference;
    world->server.rules = rules;
    world->server.rule_count = count;
    tarn_autofree char *name = tarn_asprintf("docker://%s/r:t", world->server.host);
    assert_int_equal(0, tarn_reference_parse(name, &reference, &err));
    const struct tarn_repository_options options = { .create = true, .access = &world->access };
    if (tarn_blocking_open(world->blocking, &reference, &options, &world->repository, &err) < 0)
        fail_msg("%s", err.text);
    tarn_reference_release(&reference);
}

// The servers' work is over: their logs can be read.
static void stop_servers(struct world *world)
{
    tarn_http_script_stop(&world->server);
    tarn_http_script_stop(&world->other);
}

static void expect_count(const struct tarn_http_script *server, unsigned want, const char *text)
{
    const unsigned got = tarn_http_script_count(server, text);
    if (got != want)
        fail_msg("'%s': want %u times, got %u in\n%s", text, want, got, (char *)server->log.data);
}

// --- uploads --------------------------------------------------------------------------------------------

// Uploads so many zeros; commits when the rule of that number was used.
static int upload_after(struct world *world, size_t length, int rule, struct tarn_err *err)
{
    struct tarn_upload *upload;
    tarn_autofree uint8_t *bytes = calloc(1, length);
    struct tarn_blob_id blob = { .size = length };
    assert_non_null(bytes);
    tarn_sha256(bytes, length, &blob.digest);
    assert_int_equal(0, tarn_repository_upload(world->repository, &upload, err));
    const int ret = tarn_blocking_write(world->blocking, upload, bytes, length, err);
    if (ret < 0) {
        tarn_upload_abort(upload);
        return ret;
    }
    const struct tarn_blob_id absent = { .size = 1 };
    while (rule >= 0 && tarn_http_script_used(&world->server, (size_t)rule) == 0)
        assert_int_equal(-ENOENT,
                         tarn_blocking_has_blob(world->blocking, world->repository, &absent, err));
    return tarn_blocking_commit(world->blocking, upload, &blob, err);
}

static int upload(struct world *world, size_t length, struct tarn_err *err)
{
    return upload_after(world, length, -1, err);
}

static void expect_upload(struct world *world, size_t length)
{
    struct tarn_err err = { 0 };
    if (upload(world, length, &err) < 0)
        fail_msg("%s", err.text);
    stop_servers(world);
}

#define ASKS_BASIC "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n" EMPTY
#define UPLOAD_AT_1 "HTTP/1.1 202 Accepted\r\nLocation: /u/1\r\n" EMPTY

// The place for an upload gets what the registry gets only where it is the registry's.
static void test_upload_elsewhere(void **state)
{
    struct world *world = *state;
    world->access.username = strdup("user");
    world->access.password = strdup("password");
    static const struct tarn_http_rule other[] = { { "PUT /u/1?digest=", CREATED, 0 } };
    world->other.rules = other;
    world->other.rule_count = 1;
    world->texts[0] = tarn_asprintf("HTTP/1.1 202 Accepted\r\nLocation: http://%s/u/1\r\n" EMPTY,
                                    world->other.host);
    const struct tarn_http_rule rules[] = {
        { "POST /v2/r/blobs/uploads/", ASKS_BASIC, 1 },
        { "POST /v2/r/blobs/uploads/", world->texts[0], 0 },
    };
    open_repository(world, rules, 2);
    expect_upload(world, 5);
    expect_count(&world->server, 1, "Authorization: Basic");
    expect_count(&world->other, 1, "PUT /u/1?digest=");
    expect_count(&world->other, 0, "Authorization");
}

static void test_upload_elsewhere_refused(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    static const struct tarn_http_rule other[] = { { "PUT ", ASKS_BASIC, 0 } };
    world->other.rules = other;
    world->other.rule_count = 1;
    world->access.username = strdup("user");
    world->access.password = strdup("password");
    world->texts[0] = tarn_asprintf("HTTP/1.1 202 Accepted\r\nLocation: http://%s/u/1\r\n" EMPTY,
                                    world->other.host);
    const struct tarn_http_rule rules[] = { { "POST /v2/r/blobs/uploads/", world->texts[0], 0 } };
    open_repository(world, rules, 1);
    assert_int_equal(-EACCES, upload(world, 5, &err));
    assert_non_null(strstr(err.text, "does not get the credentials for 127.0.0.1"));
    stop_servers(world);
    expect_count(&world->other, 0, "Authorization");
}

// Cuts the unnamed file with so many bytes that this process has open.
static void cut_unnamed(off_t size)
{
    unsigned found = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0 && st.st_size == size) {
            assert_int_equal(0, ftruncate(fd, 0));
            found++;
        }
    }
    assert_int_equal(1, found);
}

// What was gathered cannot be read any more: that is an error, not the end of the process.
static void test_upload_cut(void **state)
{
    enum { LENGTH = 12345 };
    struct world *world = *state;
    const struct tarn_http_rule rules[] = { { "POST /v2/r/blobs/uploads/", UPLOAD_AT_1, 0 } };
    struct tarn_err err = { 0 };
    struct tarn_upload *upload;
    static const uint8_t bytes[LENGTH];
    struct tarn_blob_id blob = { .size = LENGTH };
    open_repository(world, rules, 1);
    assert_int_equal(0, tarn_bus_guard_start(&err));
    assert_int_equal(0, tarn_repository_upload(world->repository, &upload, &err));
    assert_int_equal(0, tarn_blocking_write(world->blocking, upload, bytes, LENGTH, &err));
    cut_unnamed(LENGTH);
    tarn_sha256(bytes, LENGTH, &blob.digest);
    assert_int_equal(-EIO, tarn_blocking_commit(world->blocking, upload, &blob, &err));
    assert_non_null(strstr(err.text, "cannot be read: was it cut"));
}

// A registry that was started again knows its uploads no more.
static void test_upload_forgotten(void **state)
{
    struct world *world = *state;
    static const struct tarn_http_rule rules[] = {
        { "POST /v2/r/blobs/uploads/", UPLOAD_AT_1, 1 },
        { "POST /v2/r/blobs/uploads/", "HTTP/1.1 202 Accepted\r\nLocation: /u/2\r\n" EMPTY, 0 },
        { "PATCH /u/2", "HTTP/1.1 202 Accepted\r\nLocation: /u/2\r\n" EMPTY, 0 },
        { "PUT /u/2", CREATED, 0 },
    };
    open_repository(world, rules, 4);
    expect_upload(world, PART + 5);
    expect_count(&world->server, 1, "PUT /u/2");
}

// The whole blob was sent in parts; the answer to the request that ends it is lost.
static void test_commit_answer_lost(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    static const struct tarn_http_rule rules[] = {
        { "POST /v2/r/blobs/uploads/", UPLOAD_AT_1, 1 },
        { "PATCH /u/1", UPLOAD_AT_1, 1 },
        { "PUT /u/1", NULL, 1 },
        { "HEAD " BLOB "2daeb1f3", "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n" END, 0 },
    };
    open_repository(world, rules, 4);
    if (upload_after(world, PART, 1, &err) < 0)
        fail_msg("%s", err.text);
    stop_servers(world);
    expect_count(&world->server, 1, "PATCH /u/1");
}

// Says that it has nothing, then that it has a part, and so on.
static void test_upload_without_end(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    struct tarn_http_rule rules[32] = {
        { "POST /v2/r/blobs/uploads/", UPLOAD_AT_1, 0 },
        { "PATCH /u/1", NULL, 0 },
        { "PUT /u/1", NULL, 0 },
        { "DELETE /u/1", "HTTP/1.1 204 No Content\r\n" END, 0 },
    };
    for (unsigned i = 4; i < 32; i++)
        rules[i] = (struct tarn_http_rule){
            "GET /u/1",
            i % 2 ? "HTTP/1.1 204 No Content\r\nRange: 0-4095\r\n" END
                  : "HTTP/1.1 204 No Content\r\nRange: 0-0\r\n" END,
            1,
        };
    open_repository(world, rules, 32);
    assert_int_equal(-EIO, upload(world, 5000, &err));
    stop_servers(world);
    assert_in_range(tarn_http_script_count(&world->server, "GET /u/1"), 2, 16);
}

struct one {
    struct tarn_upload *upload;
    struct tarn_transfer *transfer;
    bool written;
    int calls;
    int status;
};

static void abort_when_done(void *context, int status, const struct tarn_err *err)
{
    struct one *one = context;
    (void)err;
    one->calls++;
    one->status = status;
    tarn_upload_abort(one->upload);
}

static void test_abort_in_done(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    struct one one = { 0 };
    static const struct tarn_http_rule rules[] = {
        { "POST /v2/r/blobs/uploads/", UPLOAD_AT_1, 0 },
        { "PUT /u/1", CREATED, 0 },
    };
    open_repository(world, rules, 2);
    struct tarn_blob_id blob = { .size = 2 };
    tarn_sha256("ab", 2, &blob.digest);
    assert_int_equal(0, tarn_repository_upload(world->repository, &one.upload, &err));
    assert_int_equal(0, tarn_blocking_write(world->blocking, one.upload, "ab", 2, &err));
    tarn_upload_commit(one.upload, &blob, abort_when_done, &one);
    tarn_blocking_free(tarn_steal(world->blocking)); // runs the loop to its end
    assert_int_equal(1, one.calls);
    assert_int_equal(0, one.status);
}

// --- reads ------------------------------------------------------------------------------------------------

static int cancel_at_data(void *context, const void *bytes, size_t length)
{
    struct one *one = context;
    (void)bytes;
    (void)length;
    one->calls++;
    tarn_transfer_cancel(one->transfer);
    return 0;
}

static int take_data(void *context, const void *bytes, size_t length)
{
    (void)context;
    (void)bytes;
    (void)length;
    return 0;
}

static void note_done(void *context, int status, const struct tarn_err *err)
{
    struct one *one = context;
    (void)err;
    one->calls++;
    one->status = status;
}

static void cancel_when_done(void *context, int status, const struct tarn_err *err)
{
    struct one *one = context;
    note_done(context, status, err);
    tarn_transfer_cancel(one->transfer);
}

// From within data() and done(), of a document and of a blob.
static void test_cancel_inside(void **state)
{
    struct world *world = *state;
    static const struct tarn_http_rule rules[] = {
        { "GET /v2/r/manifests/", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" END "{}", 0 },
        { "GET " BLOB, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" END "ab", 0 },
    };
    open_repository(world, rules, 2);
    struct one ones[4] = { 0 };
    for (int i = 0; i < 4; i++) {
        struct tarn_err err = { 0 };
        struct tarn_read read = {
            .kind = i < 2 ? TARN_READ_TAG : TARN_READ_BLOB,
            .tag = "t",
            .size = 2,
            .length = UINT64_MAX,
            .context = &ones[i],
            .data = i % 2 ? take_data : cancel_at_data,
            .done = i % 2 ? cancel_when_done : note_done,
        };
        tarn_sha256("ab", 2, &read.digest);
        assert_int_equal(0,
                         tarn_repository_read(world->repository, &read, &ones[i].transfer, &err));
    }
    tarn_blocking_free(tarn_steal(world->blocking));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(1, ones[i].calls);
        assert_int_equal(0, ones[i].status);
    }
}

// One byte, and then nothing again and again: the registry is asked at a decent pace.
static void test_pace(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    static const struct tarn_http_rule rules[] = {
        { "GET " BLOB,
          "HTTP/1.1 206 x\r\nContent-Range: bytes 1-1/9\r\nContent-Length: 1\r\n" END "a", 1 },
        { "GET " BLOB, "HTTP/1.1 206 x\r\nContent-Range: bytes 2-2/9\r\n" EMPTY, 0 },
    };
    world->access.timeout = 1;
    open_repository(world, rules, 2);
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB, .size = 9, .offset = 1, .length = 8, .data = take_data
    };
    assert_int_equal(-ETIMEDOUT,
                     tarn_blocking_read(world->blocking, world->repository, &read, &err));
    stop_servers(world);
    assert_in_range(tarn_http_script_count(&world->server, "GET "), 1, 30);
}

// What a registry speaks is known from its first answer: later on nonsense is only a connection that broke.
static void test_nonsense_later(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    static const struct tarn_http_rule rules[] = {
        { "GET /v2/r/manifests/first", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" END "{}", 0 },
        { "GET /v2/r/manifests/t", "\x15\x03\x01 no HTTP\r\n\r\n", 1 },
        { "GET /v2/r/manifests/t", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" END "{}", 0 },
    };
    open_repository(world, rules, 3);
    for (int i = 0; i < 2; i++) {
        tarn_autobuf struct tarn_buf buf = { 0 };
        const struct tarn_read read = { .kind = TARN_READ_TAG, .tag = i ? "t" : "first" };
        if (tarn_blocking_read_buf(world->blocking, world->repository, &read, &buf, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(2, buf.length);
    }
}

// Registries without the referrers API say so in many ways; the tag that stands for it is asked then.
static void test_no_referrers(void **state)
{
    struct world *world = *state;
    static const char *const answers[] = {
        UNKNOWN,
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n" EMPTY,
        "HTTP/1.1 403 Forbidden\r\n" EMPTY,
        "HTTP/1.1 405 Method Not Allowed\r\n" EMPTY,
        "HTTP/1.1 501 Not Implemented\r\n" EMPTY,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n" END "<html>",
    };
    enum { COUNT = sizeof answers / sizeof answers[0] };
    struct tarn_http_rule rules[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        rules[i] = (struct tarn_http_rule){ "GET /v2/r/referrers/sha256:", answers[i], 1 };
    open_repository(world, rules, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        struct tarn_err err = { 0 };
        tarn_autobuf struct tarn_buf buf = { 0 };
        const struct tarn_read read = { .kind = TARN_READ_REFERRERS };
        if (tarn_blocking_read_buf(world->blocking, world->repository, &read, &buf, &err) < 0)
            fail_msg("%s: %s", answers[i], err.text);
    }
    stop_servers(world);
    expect_count(&world->server, COUNT, "GET /v2/r/manifests/sha256-0000");
}

#define PAGE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n"
#define NO_MANIFESTS "Content-Length: 34\r\n" END "{\"schemaVersion\":2,\"manifests\":[]}"

// Tarn's referrer stands on the third page; pages that never end do.
static void test_pages_of_referrers(void **state)
{
    struct world *world = *state;
    static const char entry[] =
        "{\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":"
        "\"sha256:0000000000000000000000000000000000000000000000000000000000000001\",\"size\":7,"
        "\"artifactType\":\"application/vnd.tarn.image.v1\"}]}";
    world->texts[0] =
        tarn_asprintf(PAGE_HEAD "Content-Length: %zu\r\n" END "%s", sizeof entry - 1, entry);
    const struct tarn_http_rule rules[] = {
        { "GET /p/2?a=b ", PAGE_HEAD "Link: </p/0>; rel=prev, <3>; rel=next\r\n" NO_MANIFESTS, 0 },
        { "GET /p/3 ", world->texts[0], 0 },
        { "GET /v2/r/referrers/sha256:0",
          PAGE_HEAD "Link: </p/2?a=b>; rel=\"next\"\r\n" NO_MANIFESTS, 0 },
        { "GET /v2/r/referrers/sha256:1",
          PAGE_HEAD "Link: </v2/r/referrers/sha256:1>; rel=\"next\"\r\n" NO_MANIFESTS, 0 },
    };
    open_repository(world, rules, 4);
    for (uint8_t i = 0; i < 2; i++) {
        struct tarn_err err = { 0 };
        tarn_autobuf struct tarn_buf buf = { 0 };
        const struct tarn_read read = {
            .kind = TARN_READ_REFERRERS,
            .digest = { { (uint8_t)(i << 4) } },
        };
        if (tarn_blocking_read_buf(world->blocking, world->repository, &read, &buf, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(0, tarn_buf_append_zeros(&buf, 1));
        assert_int_equal(i == 0, strstr((char *)buf.data, "000001\"") != NULL);
    }
    stop_servers(world);
    assert_in_range(tarn_http_script_count(&world->server, "GET /v2/r/referrers/sha256:1"), 2, 100);
    expect_count(&world->server, 0, "GET /v2/r/manifests");
}

// A proxy for the world is none for this machine.
static void test_no_proxy(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    static const struct tarn_http_rule rules[] = { { "HEAD ", "HTTP/1.1 200 OK\r\n" EMPTY, 0 } };
    tarn_autofree char *proxy = tarn_asprintf("http://%s/", world->other.host);
    setenv("http_proxy", proxy, 1);
    setenv("no_proxy", "example.org", 1);
    open_repository(world, rules, 1);
    const struct tarn_blob_id blob = { .size = 0 };
    if (tarn_blocking_has_blob(world->blocking, world->repository, &blob, &err) < 0)
        fail_msg("%s", err.text);
    unsetenv("http_proxy");
    unsetenv("no_proxy");
    stop_servers(world);
    expect_count(&world->other, 0, "HEAD");
}

// Entries of Tarn's are kept until all indexes are read: not without end.
static void test_many_entries_of_tarn(void **state)
{
    struct world *world = *state;
    enum { ENTRIES = 8193 };
    tarn_autobuf struct tarn_buf text = { 0 };
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(
            0, tarn_buf_printf(
                   &text,
                   "%s{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":"
                   "\"sha256:%064u\",\"size\":7,\"annotations\":{\"dev.tarn.subject\":\"x\"}}",
                   i ? "," : "{\"manifests\":[", i));
    assert_int_equal(0, tarn_buf_append(&text, "]}", 3));
    world->texts[0] = tarn_asprintf(PAGE_HEAD "Content-Length: %zu\r\n" END "%s", text.length - 1,
                                    (char *)text.data);
    const struct tarn_http_rule rules[] = { { "GET /v2/r/manifests/t", world->texts[0], 0 } };
    open_repository(world, rules, 1);
    struct tarn_err err = { 0 };
    struct tarn_image_list list;
    const struct tarn_image_query query = { .tag = "t" };
    assert_int_equal(
        -EUCLEAN, tarn_blocking_resolve(world->blocking, world->repository, &query, &list, &err));
    assert_non_null(strstr(err.text, "more than 8192 entries of Tarn's"));
}

// A redirect to what is not HTTP ends it at once, with a word on what was wrong.
static void test_redirect_to_another_protocol(void **state)
{
    struct world *world = *state;
    static const struct tarn_http_rule rules[] = {
        { "HEAD ", "HTTP/1.1 307 x\r\nLocation: file:///etc/passwd\r\n" EMPTY, 0 },
    };
    world->access.plain_http = false; // so that TLS would be tried next
    open_repository(world, rules, 1);
    struct tarn_err err = { 0 };
    const struct tarn_blob_id blob = { .size = 0 };
    assert_int_equal(-ELOOP,
                     tarn_blocking_has_blob(world->blocking, world->repository, &blob, &err));
    if (!strstr(err.text, "file") || strstr(err.text, "passwd"))
        fail_msg("%s", err.text);
    stop_servers(world);
    expect_count(&world->server, 1, "HEAD");
}

// What a registry says behind "201 Created" does not matter, however much it is.
static void test_long_answer_to_a_manifest(void **state)
{
    struct world *world = *state;
    struct tarn_err err = { 0 };
    enum { LENGTH = 200000 };
    world->texts[0] = tarn_asprintf("HTTP/1.1 201 Created\r\nContent-Length: %d\r\n" END "%*s",
                                    LENGTH, LENGTH, "");
    const struct tarn_http_rule rules[] = { { "PUT /v2/r/manifests/", world->texts[0], 0 } };
    open_repository(world, rules, 1);
    const struct tarn_manifest_bytes bytes = { "application/x", "{}", 2 };
    if (tarn_blocking_put_manifest(world->blocking, world->repository, &bytes, &err) < 0)
        fail_msg("%s", err.text);
    stop_servers(world);
    expect_count(&world->server, 1, "PUT ");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_upload_elsewhere),
        TEST(test_upload_elsewhere_refused),
        TEST(test_upload_cut),
        TEST(test_upload_forgotten),
        TEST(test_commit_answer_lost),
        TEST(test_upload_without_end),
        TEST(test_abort_in_done),
        TEST(test_cancel_inside),
        TEST(test_pace),
        TEST(test_nonsense_later),
        TEST(test_no_referrers),
        TEST(test_long_answer_to_a_manifest),
        TEST(test_pages_of_referrers),
        TEST(test_no_proxy),
        TEST(test_many_entries_of_tarn),
        TEST(test_redirect_to_another_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
