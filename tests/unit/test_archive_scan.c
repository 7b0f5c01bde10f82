// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "registry/archive_scan.h"
#include "tests/support/tar_tape.h"

static int tape_read(void *context, void *data, size_t length, uint64_t offset)
{
    const struct tarn_buf *tape = context;
    if (!tarn_range_ok(offset, length, tape->length))
        return -ENODATA;
    memcpy(data, tape->data + offset, length);
    return 0;
}

// Scans the tape; gives "name@offset+size" of each member, or the message.
static int scan(struct tarn_buf *tape, char text[400])
{
    const struct tarn_archive_input input = { tape_read, tape, tape->length };
    struct tarn_archive_members members = { 0 };
    struct tarn_err err = { 0 };
    const int ret = tarn_archive_scan(&input, &members, &err);
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < members.count; i++)
        at += (size_t)snprintf(text + at, 400 - at, "%s%s@%llu+%llu", i ? " " : "",
                               members.list[i].name, (unsigned long long)members.list[i].offset,
                               (unsigned long long)members.list[i].size);
    tarn_archive_members_release(&members);
    if (ret < 0)
        snprintf(text, 400, "%.399s", err.text);
    return ret;
}

static void file(struct tarn_buf *tape, const char *name, const char *bytes)
{
    tarn_tape_file(tape, (struct tarn_tape_header){ .name = name }, bytes, strlen(bytes));
}

static void pax(struct tarn_buf *tape, const char *key, const char *value)
{
    tarn_autobuf struct tarn_buf records = { 0 };
    tarn_tape_record(&records, "comment", "x", 1);
    tarn_tape_record(&records, key, value, strlen(value));
    tarn_tape_pax(tape, 'x', &records);
}

static void make_empty(struct tarn_buf *tape)
{
    (void)tape;
}

static void make_plain(struct tarn_buf *tape)
{
    file(tape, "b", "hello");
    file(tape, "./a", "");
    file(tape, "/c/d", "x");
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "c/", .flag = '5', .size = 99 });
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "s", .link = "b", .flag = '2' });
    file(tape, "b", "again!");
    tarn_tape_end(tape);
    file(tape, "behind", "the end");
}

static void make_prefix(struct tarn_buf *tape)
{
    tarn_tape_file(tape, (struct tarn_tape_header){ .name = "n", .prefix = "p/q" }, "1", 1);
    tarn_tape_file(tape, (struct tarn_tape_header){ .name = "m", .dialect = 'v' }, "1", 1);
}

static void make_pax(struct tarn_buf *tape)
{
    pax(tape, "path", "long/name");
    file(tape, "short", "hello");
    file(tape, "next", "x");
}

static void make_pax_size(struct tarn_buf *tape)
{
    pax(tape, "size", "3");
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "a", .size = 0 });
    tarn_tape_body(tape, "abc", 3);
    file(tape, "b", "x");
}

static void make_gnu(struct tarn_buf *tape)
{
    tarn_tape_file(
        tape, (struct tarn_tape_header){ .name = "././@LongLink", .flag = 'L', .dialect = 'g' },
        "long/name", 10);
    tarn_tape_file(tape, (struct tarn_tape_header){ .name = "short", .dialect = 'g' }, "x", 1);
}

static void make_links(struct tarn_buf *tape)
{
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "l", .link = "./t", .flag = '1' });
    file(tape, "t", "hello");
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "m", .link = "none", .flag = '1' });
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "n", .link = "n", .flag = '1' });
}

static void make_base256(struct tarn_buf *tape)
{
    uint8_t *header = tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "a", .size = 5 });
    memset(header + 124, 0, 12);
    header[124] = 0x80;
    header[135] = 5;
    tarn_tape_sign(header);
    tarn_tape_body(tape, "hello", 5);
}

static void make_checksum(struct tarn_buf *tape)
{
    file(tape, "a", "");
    file(tape, "b", "");
    tape->data[512] = 'c';
}

static void make_cut(struct tarn_buf *tape)
{
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "a", .size = 513 });
    tarn_tape_body(tape, "x", 1);
}

static void make_huge(struct tarn_buf *tape)
{
    uint8_t *header = tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "a" });
    memset(header + 124, 0xff, 12);
    header[124] = 0x80;
    tarn_tape_sign(header);
}

static void make_largest(struct tarn_buf *tape)
{
    pax(tape, "size", "18446744073709551615");
    file(tape, "a", "");
}

static void make_beyond(struct tarn_buf *tape)
{
    pax(tape, "size", "18446744073709551616");
    file(tape, "a", "");
}

static void make_bad_record(struct tarn_buf *tape)
{
    tarn_tape_file(tape, (struct tarn_tape_header){ .name = "p", .flag = 'x' }, "99 path=a\n", 10);
}

static void make_sparse(struct tarn_buf *tape)
{
    tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "a", .flag = 'S' });
}

static void make_pax_sparse(struct tarn_buf *tape)
{
    pax(tape, "GNU.sparse.major", "1");
    file(tape, "a", "");
}

// Empty values take back what was said before.
static void make_pax_empty(struct tarn_buf *tape)
{
    tarn_autobuf struct tarn_buf records = { 0 };
    const char *const pairs[] = { "path", "x", "path", "", "size", "0", "size", "" };
    for (size_t i = 0; i < 8; i += 2)
        tarn_tape_record(&records, pairs[i], pairs[i + 1], strlen(pairs[i + 1]));
    tarn_tape_pax(tape, 'x', &records);
    file(tape, "a", "hello");
}

static void make_gzip(struct tarn_buf *tape)
{
    tarn_tape_body(tape, "\x1f\x8b\x08", 3);
}

static void make_half(struct tarn_buf *tape)
{
    file(tape, "a", "");
    file(tape, "b", "");
    tape->length -= 100;
}

static void test_scan(void **state)
{
    static const struct {
        void (*make)(struct tarn_buf *tape);
        int code;
        const char *want;
    } cases[] = {
        { make_empty, 0, "" },
        { make_plain, 0, "a@1536+0 b@4096+6 c/d@2048+1" },
        { make_prefix, 0, "m@1536+1 p/q/n@512+1" },
        { make_pax, 0, "long/name@1536+5 next@2560+1" },
        { make_pax_size, 0, "a@1536+3 b@2560+1" },
        { make_gnu, 0, "long/name@1536+1" },
        { make_links, 0, "l@1024+5 m@2048+0 n@2560+0 t@1024+5" },
        { make_base256, 0, "a@512+5" },
        { make_checksum, -EUCLEAN, "tar header at byte 512: wrong checksum" },
        { make_cut, -EUCLEAN,
          "tar header at byte 0: the member ends behind the end of the file, which is cut off" },
        { make_huge, -EUCLEAN, "tar header at byte 0: the size is no number" },
        { make_largest, -EUCLEAN,
          "tar header at byte 1024: the member ends behind the end of the file, which is cut off" },
        { make_beyond, -EUCLEAN, "tar header at byte 0: a pax size is no number" },
        { make_bad_record, -EUCLEAN, "tar header at byte 0: a pax record has a wrong length" },
        { make_pax_empty, 0, "a@1536+5" },
        { make_sparse, -ENOTSUP,
          "sparse member 'a' is not supported; pack the archive without --sparse" },
        { make_pax_sparse, -ENOTSUP,
          "sparse member 'a' is not supported; pack the archive without --sparse" },
        { make_gzip, -ENOTSUP,
          "the archive is compressed with gzip, which is not supported; decompress it first: gzip "
          "-d" },
        { make_half, -EUCLEAN, "tar header at byte 512: the file is cut off" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autobuf struct tarn_buf tape = { 0 };
        char got[400];
        cases[i].make(&tape);
        const int ret = scan(&tape, got);
        if (ret != cases[i].code || strcmp(got, cases[i].want) != 0)
            fail_msg("case %zu: want %d '%s', got %d '%s'", i, cases[i].code, cases[i].want, ret,
                     got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_scan) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
