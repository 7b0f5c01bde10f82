// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "registry/multipart.h"

#define HEAD "Content-Range: bytes "
#define CRLF "\r\n"
#define LONGEST "0123456789012345678901234567890123456789012345678901234567890123456789"
#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X1024 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64
#define X8192                                                                                      \
    X1024 "\n" X1024 "\n" X1024 "\n" X1024 "\n" X1024 "\n" X1024 "\n" X1024 "\n" X1024 "\n"

static const struct {
    const char *text;
    bool ok;
    struct tarn_content_range want;
} content_ranges[] = {
    { "bytes 0-0/1", true, { 0, 0, 1 } },
    { "Bytes  5-99/100 ", true, { 5, 99, 100 } },
    { "bytes 5-99/*", true, { 5, 99, UINT64_MAX } },
    { "bytes 0-18446744073709551614/*", true, { 0, UINT64_MAX - 1, UINT64_MAX } },
    { "bytes 0-18446744073709551615/*", false, { 0 } },
    { "bytes 0-18446744073709551616/*", false, { 0 } },
    { "bytes 0-99/99", false, { 0 } },
    { "bytes 9-8/99", false, { 0 } },
    { "bytes -8/99", false, { 0 } },
    { "bytes 0--8/99", false, { 0 } },
    { "bytes +1-8/99", false, { 0 } },
    { "bytes 1- 8/99", false, { 0 } },
    { "bytes 1-8", false, { 0 } },
    { "bytes 1-8/", false, { 0 } },
    { "bytes 1-8/9x", false, { 0 } },
    { "bytes 1-8/**", false, { 0 } },
    { "bytes */99", false, { 0 } },
    { "bytes=1-8/99", false, { 0 } },
    { "bytes", false, { 0 } },
    { "octets 1-8/99", false, { 0 } },
    { "", false, { 0 } },
    { NULL, false, { 0 } },
};

static void test_content_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof content_ranges / sizeof content_ranges[0]; i++) {
        const struct tarn_content_range *want = &content_ranges[i].want;
        struct tarn_content_range got;
        const bool ok = tarn_content_range_parse(content_ranges[i].text, &got);
        if (ok != content_ranges[i].ok ||
            (ok &&
             (got.first != want->first || got.last != want->last || got.total != want->total)))
            fail_msg("'%s': want %d, got %d", content_ranges[i].text, content_ranges[i].ok, ok);
    }
}

// What a body comes to: "FIRST-LAST/TOTAL:bytes;" for each part, "." at the end.
struct log {
    struct tarn_buf buf;
    uint64_t next; // byte of the part
};

static void note(struct log *log, enum tarn_multipart_event event,
                 const struct tarn_multipart_piece *piece)
{
    char text[100];
    if (event == TARN_MULTIPART_PART) {
        snprintf(text, sizeof text, "%s%" PRIu64 "-%" PRIu64 "/%" PRId64 ":",
                 log->buf.length ? ";" : "", piece->range.first, piece->range.last,
                 (int64_t)piece->range.total);
        assert_int_equal(tarn_buf_append(&log->buf, text, strlen(text)), 0);
        log->next = piece->range.first;
        return;
    }
    assert_true(piece->length > 0);
    assert_int_equal(piece->offset, log->next);
    assert_true(piece->offset + piece->length - 1 <= piece->range.last);
    log->next += piece->length;
    assert_int_equal(tarn_buf_append(&log->buf, piece->bytes, piece->length), 0);
}

// Gives the body in pieces of at most step bytes, the first one of first bytes.
static int run(const char *type, const char *body, const size_t steps[2], struct log *log)
{
    struct tarn_multipart multipart;
    struct tarn_err err = { 0 };
    int ret = tarn_multipart_start(&multipart, type, &err);
    size_t left = strlen(body);
    size_t step = steps[0];
    while (ret == 0 && left > 0) {
        const size_t length = step < left ? step : left;
        // Memory of its own, so that nothing is read past the end.
        uint8_t *copy = malloc(length);
        memcpy(copy, body, length);
        struct tarn_multipart_input input = { copy, length };
        struct tarn_multipart_piece piece;
        while ((ret = tarn_multipart_next(&multipart, &input, &piece, &err)) > 0)
            note(log, (enum tarn_multipart_event)ret, &piece);
        assert_true(ret < 0 || input.length == 0);
        free(copy);
        body += length;
        left -= length;
        step = steps[1];
    }
    if (ret < 0)
        assert_true(err.text[0] != '\0' && err.code == ret);
    else if (tarn_multipart_ended(&multipart))
        assert_int_equal(tarn_buf_append(&log->buf, ".", 1), 0);
    assert_int_equal(tarn_buf_append(&log->buf, "", 1), 0);
    return ret;
}

#define BYTERANGES "multipart/byteranges; boundary=B"

// code < 0: want begins with what was handed on.
static const struct {
    const char *name;
    const char *type;
    const char *body;
    int code;
    const char *want;
} bodies[] = {
    { "as Go sends it", BYTERANGES,
      "--B\r\n" HEAD "0-4/20\r\nContent-Type: application/octet-stream\r\n\r\nabcde"
      "\r\n--B\r\n" HEAD "7-8/20\r\nContent-Type: application/octet-stream\r\n\r\nhi\r\n--B--\r\n",
      0, "0-4/20:abcde;7-8/20:hi." },
    { "as nginx sends it", "multipart/byteranges; boundary=00000000000000000012",
      "\r\n--00000000000000000012\r\nContent-Type: application/octet-stream\r\n" HEAD
      "0-4/20\r\n\r\nabcde\r\n--00000000000000000012\r\nContent-Type: "
      "application/octet-stream\r\n" HEAD "7-8/20\r\n\r\nhi\r\n--00000000000000000012--\r\n",
      0, "0-4/20:abcde;7-8/20:hi." },
    { "line feeds, a preamble, an epilogue", "MULTIPART/X-ByteRanges ; a=\"x;y\" ;BOUNDARY=\"B\"",
      "hello\n--Bx\n--B \t\nCONTENT-RANGE :\tBYTES 0-4/*\nX: y\n\nabcde\n--B\ncontent-range: bytes "
      "5-5/9\n\nf\n--B--\nbye\n",
      0, "0-4/-1:abcde;5-5/9:f." },
    { "no end of line at the end", BYTERANGES, "--B\r\n" HEAD "0-0/1\r\n\r\na\r\n--B--", 0,
      "0-0/1:a." },
    { "a folded header", BYTERANGES,
      "--B\r\nX: y\r\n Content-Range: bytes 5-6/9\r\n" HEAD "0-0/1\r\n\r\na\r\n--B--", 0,
      "0-0/1:a." },
    { "contents like delimiters", BYTERANGES,
      "--B\r\n" HEAD "0-16/99\r\n\r\n\r\n--\r\n--A\r\r\n--\r\n-\r\n--B\r\n" HEAD
      "19-22/99\r\n\r\n--B\n\r\n--B--",
      0, "0-16/99:\r\n--\r\n--A\r\r\n--\r\n-;19-22/99:--B\n." },
    { "contents like the end of line", BYTERANGES,
      "--B\r\n" HEAD "0-1/9\r\n\r\n\r\n\r\n--B\r\n" HEAD "2-2/9\r\n\r\n\r\r\n--B--", 0,
      "0-1/9:\r\n;2-2/9:\r." },
    { "a long boundary", "multipart/byteranges;boundary=" LONGEST,
      "--" LONGEST "\r\n" HEAD "0-1/9\r\n\r\n\r\n\r\n--" LONGEST "--\r\n", 0, "0-1/9:\r\n." },
    { "a quoted boundary", "multipart/byteranges; boundary=\"a\\\" (b\"",
      "--a\" (b\n" HEAD "0-1/9\n\nxy\n--a\" (b--\n", 0, "0-1/9:xy." },
    // It ends early, as a connection does.
    { "nothing", BYTERANGES, "", 0, "" },
    { "an end in the headers", BYTERANGES, "--B\r\n" HEAD "0-1/9\r\n", 0, "" },
    { "an end in the contents", BYTERANGES, "--B\r\n" HEAD "0-4/9\r\n\r\nab\r\n", 0, "0-4/9:ab" },
    { "no final boundary", BYTERANGES, "--B\r\n" HEAD "0-1/9\r\n\r\nab\r\n", 0, "0-1/9:ab" },
    { "an end where it is not clear", BYTERANGES, "--B\r\n" HEAD "0-3/9\r\n\r\nab\r\n", 0,
      "0-3/9:ab" },
    // Types.
    { "another type", "application/octet-stream", "", -ENOENT, "" },
    { "a longer type", "multipart/byteranges2; boundary=B", "", -ENOENT, "" },
    { "no type", NULL, "", -ENOENT, "" },
    { "no boundary", "multipart/byteranges; charset=x", "", -EBADMSG, "" },
    { "an empty boundary", "multipart/byteranges; boundary=\"\"", "", -EBADMSG, "" },
    { "too long a boundary", "multipart/byteranges; boundary=" LONGEST "0", "", -EBADMSG, "" },
    { "an open boundary", "multipart/byteranges; boundary=\"B", "", -EBADMSG, "" },
    { "an end of line in it", "multipart/byteranges; boundary=\"B\nC\"", "", -EBADMSG, "" },
    // Lies.
    { "a part that is longer", BYTERANGES, "--B\r\n" HEAD "0-4/9\r\n\r\nabcdef\r\n--B--", -EBADMSG,
      "0-4/9:abcde" },
    { "a part that is shorter", BYTERANGES,
      "--B\r\n" HEAD "0-40/99\r\n\r\nabcd\r\n--B\r\n" HEAD "41-42/99\r\n\r\nfg\r\n--B--", -EBADMSG,
      "0-40/99:abcd" },
    { "shorter by one", BYTERANGES, "--B\r\n" HEAD "0-4/9\r\n\r\nabcd\r\n--B--", -EBADMSG,
      "0-4/9:abcd" },
    { "shorter by three", BYTERANGES, "--B\r\n" HEAD "0-6/9\r\n\r\nabcd\r\n--B--", -EBADMSG,
      "0-6/9:abcd" },
    { "shorter by all of the delimiter", BYTERANGES, "--B\r\n" HEAD "0-8/9\r\n\r\nabcd\r\n--B--",
      -EBADMSG, "0-8/9:abcd" },
    { "shorter by one, line feeds", BYTERANGES, "--B\n" HEAD "0-4/9\n\nabcd\n--B--", -EBADMSG,
      "0-4/9:abcd" },
    { "other ends of line", BYTERANGES, "--B\r\n" HEAD "0-3/9\r\n\r\nabcd\n--B--", -EBADMSG,
      "0-3/9:abcd" },
    { "other ends of line later", BYTERANGES,
      "--B\r\n" HEAD "0-3/9\r\n\r\nabcd\r\n--B\n" HEAD "5-5/9\r\n\r\nf\r\n--B--", -EBADMSG,
      "0-3/9:abcd" },
    { "a boundary that goes on", BYTERANGES, "--B\r\n" HEAD "0-3/9\r\n\r\nabcd\r\n--Bx\r\n",
      -EBADMSG, "0-3/9:abcd" },
    { "no range", BYTERANGES, "--B\r\nX: y\r\n\r\nabcd\r\n--B--", -EBADMSG, "" },
    { "two ranges", BYTERANGES, "--B\r\n" HEAD "0-3/9\r\n" HEAD "0-3/9\r\n\r\nabcd\r\n--B--",
      -EBADMSG, "" },
    { "a range that is none", BYTERANGES, "--B\r\n" HEAD "3-0/9\r\n\r\nabcd\r\n--B--", -EBADMSG,
      "" },
    { "another encoding", BYTERANGES,
      "--B\r\nContent-Encoding: gzip\r\n" HEAD "0-3/9\r\n\r\nabcd\r\n--B--", -EBADMSG, "" },
    { "no colon", BYTERANGES, "--B\r\nabcd\r\n--B--", -EBADMSG, "" },
    { "no part", BYTERANGES, "--B--\r\n", -EBADMSG, "" },
    { "a long line", BYTERANGES, "--B\r\nX: " X1024 "\r\n", -EBADMSG, "" },
    { "a preamble without end", BYTERANGES, X8192, -EBADMSG, "" },
    { "headers without end", BYTERANGES, "--B\n:" X64 "\n " X8192, -EBADMSG, "" },
    { "blanks behind a boundary", BYTERANGES, "--B\n" HEAD "0-0/9\n\na\n--B " X1024, -EBADMSG,
      "0-0/9:a" },
    { "an epilogue without end", BYTERANGES, "--B\n" HEAD "0-0/9\n\na\n--B--" X8192, -EBADMSG,
      "0-0/9:a" },
};

static void check(size_t i, const size_t steps[2])
{
    struct log log = { 0 };
    const int ret = run(bodies[i].type, bodies[i].body, steps, &log);
    const char *got = (const char *)log.buf.data;
    const char *want = bodies[i].want;
    const bool same =
        bodies[i].code < 0 ? strncmp(got, want, strlen(got)) == 0 : strcmp(got, want) == 0;
    if (ret != bodies[i].code || !same)
        fail_msg("%s in steps of %zu and %zu: want %d '%s', got %d '%s'", bodies[i].name, steps[0],
                 steps[1], bodies[i].code, want, ret, got);
    tarn_buf_release(&log.buf);
}

// Wherever the network cuts it into pieces.
static void test_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const size_t length = strlen(bodies[i].body);
        for (size_t first = 1; first <= length + 1 && first < 1000; first++)
            check(i, (size_t[]){ first, SIZE_MAX });
        for (size_t step = 1; step < 9; step++)
            check(i, (size_t[]){ step, step });
    }
}

static void test_zero_byte(void **state)
{
    (void)state;
    static const uint8_t body[] = "--B\nX: \0\n";
    struct tarn_multipart multipart;
    struct tarn_multipart_piece piece;
    struct tarn_multipart_input input = { body, sizeof body - 1 };
    assert_int_equal(tarn_multipart_start(&multipart, BYTERANGES, NULL), 0);
    assert_int_equal(tarn_multipart_next(&multipart, &input, &piece, NULL), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_ranges),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_zero_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
