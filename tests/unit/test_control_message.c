// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "daemon/control_message.h"

// Each prefix of two messages gives as many as are complete.
static void test_take(void **state)
{
    (void)state;
    json_t *message = json_pack("{s:s, s:i}", "op", "mount", "slot", 7);
    struct tarn_buf whole = { 0 };
    assert_int_equal(tarn_message_encode(message, &whole), 0);
    const size_t first = whole.length;
    assert_int_equal(tarn_message_encode(message, &whole), 0);
    for (size_t length = 0; length <= whole.length; length++) {
        struct tarn_buf input = { 0 };
        assert_int_equal(tarn_buf_append(&input, whole.data, length), 0);
        size_t count = 0;
        json_t *got;
        int ret;
        while ((ret = tarn_message_take(&input, &got, NULL)) == 1) {
            assert_true(json_equal(got, message));
            json_decref(got);
            count++;
        }
        assert_int_equal(ret, 0);
        assert_int_equal(count, (length >= first) + (length >= whole.length));
        assert_int_equal(input.length, length - count * first);
        tarn_buf_release(&input);
    }
    tarn_buf_release(&whole);
    json_decref(message);
}

static void test_refused(void **state)
{
    (void)state;
    const struct {
        uint32_t length;
        const char *body;
        const char *message;
    } cases[] = {
        { UINT32_MAX, "", "too many" }, { TARN_MESSAGE_LIMIT + 1, "", "too many" },
        { 5, "hello", "not JSON" },     { 2, "[]", "not a JSON object" },
        { 0, "", "not JSON" },          { 13, "{\"a\":1,\"a\":2}", "not JSON" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tarn_buf input = { 0 };
        assert_int_equal(tarn_buf_append_le32(&input, cases[i].length), 0);
        assert_int_equal(tarn_buf_append(&input, cases[i].body, strlen(cases[i].body)), 0);
        struct tarn_err err;
        json_t *got = NULL;
        const int ret = tarn_message_take(&input, &got, &err);
        if (ret != -EUCLEAN || !strstr(err.text, cases[i].message))
            fail_msg("case %zu: want %d with '%s', got %d with '%s'", i, -EUCLEAN, cases[i].message,
                     ret, err.text);
        tarn_buf_release(&input);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    char all[256];
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    const char *cases[] = { "", "plain", "\xc3\xa9", "\xff\xfe", all };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *message = json_pack("{s:o}", "x", tarn_message_bytes(cases[i]));
        assert_non_null(message);
        char *back = tarn_message_get_bytes(message, "x");
        assert_non_null(back);
        assert_string_equal(back, cases[i]);
        free(back);
        assert_null(tarn_message_get_bytes(message, "y"));
        json_decref(message);
    }
    json_t *wide = json_pack("{s:s}", "x", "\xc4\x80");
    assert_null(tarn_message_get_bytes(wide, "x"));
    json_decref(wide);
}

static void test_socket(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const int passed = open("/dev/null", O_RDONLY);
    json_t *message = json_pack("{s:s}", "state", "attach");
    assert_int_equal(tarn_message_send(ends[0], message, passed, NULL), 0);
    assert_int_equal(tarn_message_send(ends[0], message, -1, NULL), 0);
    json_t *error = tarn_message_error(-ENOENT, "no such \xff image");
    assert_int_equal(tarn_message_send(ends[0], error, -1, NULL), 0);
    close(ends[0]);

    json_t *got = NULL;
    struct tarn_err err;
    int fd = -1;
    assert_int_equal(tarn_message_receive(ends[1], &got, &fd, &err), 0);
    assert_true(json_equal(got, message));
    json_decref(got);
    assert_true(fd >= 0 && fd != passed);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    fd = -1;
    assert_int_equal(tarn_message_receive(ends[1], &got, &fd, &err), 0);
    json_decref(got);
    assert_int_equal(fd, -1);
    assert_int_equal(tarn_message_receive(ends[1], &got, &fd, &err), -ENOENT);
    assert_string_equal(err.text, "no such ? image");
    assert_int_equal(tarn_message_receive(ends[1], &got, &fd, &err), -EPIPE);
    assert_int_equal(tarn_message_send(ends[1], message, -1, &err), -EPIPE);
    json_decref(message);
    json_decref(error);
    close(passed);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
