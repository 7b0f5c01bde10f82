// SPDX-License-Identifier: Apache-2.0
// Each case is a tar and the log of what comes out of it, whatever the pieces in which it goes in.
#include "converter/tar_reader.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/tar_log.h"
#include "tests/support/tar_tape.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT(literal) (literal), sizeof(literal) - 1

typedef void build(struct tarn_buf *tape);

static void record(struct tarn_buf *records, const char *key, const char *value)
{
    tarn_tape_record(records, key, value, strlen(value));
}

static void file(struct tarn_buf *tape, struct tarn_tape_header header, const char *text)
{
    tarn_tape_file(tape, header, text, strlen(text));
}

static void header(struct tarn_buf *tape, struct tarn_tape_header header)
{
    tarn_tape_header(tape, &header);
}

static void build_v7(struct tarn_buf *tape)
{
    const struct tarn_tape_header dir = {
        .name = "d/", .mode = 040755, .flag = 'v', .dialect = 'v'
    };
    header(tape, dir);
    file(tape,
         (struct tarn_tape_header){ .name = "d/f",
                                    .prefix = "ignored",
                                    .mode = 0100644,
                                    .uid = 7,
                                    .gid = 8,
                                    .mtime = 9,
                                    .flag = 'v',
                                    .dialect = 'v' },
         "hello");
    // Some old writers give a link the size of its file.
    header(tape, (struct tarn_tape_header){
                     .name = "h", .link = "d/f", .size = 5, .flag = '1', .dialect = 'v' });
    header(tape, (struct tarn_tape_header){
                     .name = "s", .link = "/../x", .mode = 0777, .flag = '2', .dialect = 'v' });
    header(tape, (struct tarn_tape_header){
                     .name = "c", .major = 1, .minor = 3, .flag = '3', .dialect = 'v' });
    tarn_tape_end(tape);
}

static void build_ustar(struct tarn_buf *tape)
{
    header(tape, (struct tarn_tape_header){ .name = "./", .mode = 01777, .flag = '5' });
    file(tape, (struct tarn_tape_header){ .name = "/abs", .mode = 06755 }, "");
    file(tape, (struct tarn_tape_header){ .name = ".//a/././b//", .prefix = "p/q", .flag = '5' },
         "");
    header(tape, (struct tarn_tape_header){ .name = "c", .major = 1, .minor = 3, .flag = '3' });
    header(tape,
           (struct tarn_tape_header){ .name = "b", .major = 259, .minor = 70000, .flag = '4' });
    header(tape, (struct tarn_tape_header){ .name = "p", .flag = '6' });
    file(tape, (struct tarn_tape_header){ .name = "7", .flag = '7' }, "contiguous");
    file(tape, (struct tarn_tape_header){ .name = "file/" }, "");
    header(tape, (struct tarn_tape_header){ .name = "h", .link = "./p//7/.", .flag = '1' });
    header(tape, (struct tarn_tape_header){
                     .name = "\xff\xfe e\xcc\x81 ", .link = "\xff//", .flag = '2' });
}

static void build_limits(struct tarn_buf *tape)
{
    char name[101];
    memset(name, 'n', sizeof name);
    char prefix[156];
    memset(prefix, 'p', sizeof prefix);
    header(tape, (struct tarn_tape_header){ .name = name, .prefix = prefix, .flag = '5' });
    // star: what follows 131 bytes of prefix are times
    uint8_t *block =
        tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "s", .prefix = prefix });
    memcpy(block + 345 + 131, "00000000001 00000000002 ", 24);
    memcpy(block + 508, "tar", 4);
    tarn_tape_sign(block);
    header(tape, (struct tarn_tape_header){ .name = "id", .uid = 4294967294, .gid = 4294967294 });
}

static void build_pax(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    record(&records, "path", "./dir\xff/");
    record(&records, "path", "/dir\xff/long name\n=");
    record(&records, "hdrcharset", "BINARY");
    record(&records, "comment", "nothing");
    record(&records, "atime", "junk");
    record(&records, "size", "3");
    record(&records, "uid", "3000000000");
    record(&records, "gid", "4294967294");
    record(&records, "mtime", "-1.5");
    record(&records, "uname", "");
    tarn_tape_pax(tape, 'x', &records);
    uint8_t *block =
        tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "short", .mode = 0644 });
    memcpy(block + 108, "garbage", 8); // what an extended header overrides does not matter
    tarn_tape_sign(block);
    tarn_tape_body(tape, "abc", 3);

    // Nothing is left of it for the next entry.
    file(tape, (struct tarn_tape_header){ .name = "plain", .uid = 1, .gid = 2, .mtime = 3 }, "x");

    record(&records, "linkpath", "over/there");
    record(&records, "SCHILY.devmajor", "4000000000");
    record(&records, "SCHILY.devminor", "5");
    record(&records, "path", "gone");
    record(&records, "path", ""); // takes the first back
    tarn_tape_pax(tape, 'x', &records);
    header(tape, (struct tarn_tape_header){ .name = "c", .flag = '3', .major = 1, .minor = 1 });
    record(&records, "linkpath", "./over//there");
    tarn_tape_pax(tape, 'x', &records);
    header(tape, (struct tarn_tape_header){ .name = "h", .link = "short", .flag = '1' });
}

static void build_global(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    record(&records, "path", "x");
    record(&records, "mtime", "77");
    tarn_tape_pax(tape, 'g', &records);
    file(tape, (struct tarn_tape_header){ .name = "a" }, "1");
    file(tape, (struct tarn_tape_header){ .name = "label", .flag = 'V' }, "skipped data");
    file(tape, (struct tarn_tape_header){ .name = "b" }, "2");
}

static void build_xattrs(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    tarn_tape_record(&records, "SCHILY.xattr.user.b", TEXT("\0a=\nb\0"));
    record(&records, "SCHILY.xattr.user.empty", "");
    record(&records, "LIBARCHIVE.xattr.user.a%3db%25", "AP8K");
    record(&records, "LIBARCHIVE.xattr.user.b", "AGE9CmIA");
    record(&records, "SCHILY.xattr.user.twice", "first");
    record(&records, "SCHILY.xattr.user.twice", "last");
    record(&records, "LIBARCHIVE.xattr.user.one", "YQ==");
    record(&records, "LIBARCHIVE.xattr.user.two", "YWI");
    record(&records, "LIBARCHIVE.xattr.user.none", "");
    record(&records, "LIBARCHIVE.xattr.user.%zz", "YWI=");
    record(&records, "SCHILY.acl.access", "user::rw-");
    tarn_tape_pax(tape, 'x', &records);
    header(tape, (struct tarn_tape_header){ .name = "f" });
    header(tape, (struct tarn_tape_header){ .name = "g" });
}

static void build_gnu(struct tarn_buf *tape)
{
    file(tape, (struct tarn_tape_header){ .name = "././@LongLink", .flag = 'K', .dialect = 'g' },
         "the/link/target");
    tarn_tape_file(
        tape, (struct tarn_tape_header){ .name = "././@LongLink", .flag = 'L', .dialect = 'g' },
        TEXT("the//long name\0junk"));
    header(tape, (struct tarn_tape_header){ .name = "short",
                                            .link = "short",
                                            .prefix = "00000000001",
                                            .uid = 0xfffffffe,
                                            .gid = 2097152,
                                            .mtime = -2,
                                            .flag = '2',
                                            .dialect = 'g' });
    header(tape, (struct tarn_tape_header){ .name = "next", .mtime = 5000000000, .dialect = 'g' });
    // As Go did before 1.8.
    const char *const prefixes[] = { "usr/share", "12345670123/usr", "\xff/times?" };
    for (size_t i = 0; i < COUNT(prefixes); i++)
        header(tape, (struct tarn_tape_header){
                         .name = "f", .prefix = prefixes[i], .uid = 1 << 21, .dialect = 'g' });
}

static void put_octal(uint8_t *field, uint64_t value)
{
    snprintf((char *)field, 12, "%011" PRIo64, value);
}

static void build_old_sparse(struct tarn_buf *tape)
{
    const struct tarn_tape_header head = { .name = "s", .size = 18, .flag = 'S', .dialect = 'g' };
    uint8_t *block = tarn_tape_header(tape, &head);
    for (size_t i = 0; i < 4; i++) {
        put_octal(block + 386 + i * 24, i * 1000);
        put_octal(block + 398 + i * 24, 3);
    }
    block[482] = 1;
    put_octal(block + 483, 10000);
    tarn_tape_sign(block);
    uint8_t extension[512] = { 0 };
    put_octal(extension, 5000);
    put_octal(extension + 12, 3);
    extension[504] = 1;
    tarn_tape_body(tape, extension, 512);
    memset(extension, 0, 512);
    put_octal(extension, 6000);
    put_octal(extension + 12, 3);
    put_octal(extension + 24, 10000);
    put_octal(extension + 36, 0);
    tarn_tape_body(tape, extension, 512);
    tarn_tape_body(tape, TEXT("aaabbbcccdddeeefff"));
    file(tape, (struct tarn_tape_header){ .name = "after" }, "x");
}

static void sparse_records(struct tarn_buf *records, const char *const pairs[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        record(records, pairs[2 * i], pairs[2 * i + 1]);
}

static void build_sparse_00(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    static const char *const pairs[] = {
        "GNU.sparse.size",     "100", "GNU.sparse.numblocks", "3",  "GNU.sparse.offset",   "10",
        "GNU.sparse.numbytes", "2",   "GNU.sparse.offset",    "12", "GNU.sparse.numbytes", "1",
        "GNU.sparse.offset",   "100", "GNU.sparse.numbytes",  "0",
    };
    sparse_records(&records, pairs, COUNT(pairs) / 2);
    tarn_tape_pax(tape, 'x', &records);
    file(tape, (struct tarn_tape_header){ .name = "s00" }, "abc");
}

static void build_sparse_01(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    static const char *const pairs[] = {
        "GNU.sparse.size", "64",     "GNU.sparse.numblocks", "2",
        "GNU.sparse.name", "./real", "GNU.sparse.map",       "0,1,50,2",
    };
    sparse_records(&records, pairs, COUNT(pairs) / 2);
    tarn_tape_pax(tape, 'x', &records);
    file(tape, (struct tarn_tape_header){ .name = "long", .flag = 'L', .dialect = 'g' }, "other");
    file(tape, (struct tarn_tape_header){ .name = "GNUSparseFile.0/real" }, "abc");
    static const char *const hole[] = { "GNU.sparse.size", "64", "GNU.sparse.map", "" };
    sparse_records(&records, hole, COUNT(hole) / 2);
    tarn_tape_pax(tape, 'x', &records);
    file(tape, (struct tarn_tape_header){ .name = "hole" }, "");
}

static void build_sparse_10(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    static const char *const pairs[] = {
        "GNU.sparse.major", "1",   "GNU.sparse.minor",    "0",
        "GNU.sparse.name",  "big", "GNU.sparse.realsize", "1000000",
    };
    sparse_records(&records, pairs, COUNT(pairs) / 2);
    tarn_tape_pax(tape, 'x', &records);
    struct tarn_buf body tarn_autobuf = { 0 };
    assert_int_equal(tarn_buf_printf(&body, "152\n"), 0);
    for (unsigned i = 0; i < 150; i++) // a map of more than one block
        assert_int_equal(tarn_buf_printf(&body, "%u\n0\n", i), 0);
    assert_int_equal(tarn_buf_printf(&body, "500000\n3\n999999\n1\n"), 0);
    assert_int_equal(tarn_buf_append_zeros(&body, 1024 - body.length), 0);
    assert_int_equal(tarn_buf_append(&body, "abcd", 4), 0);
    tarn_tape_file(tape, (struct tarn_tape_header){ .name = "GNUSparseFile.0/big" }, body.data,
                   body.length);
    tarn_tape_end(tape);
}

// What follows an empty entry does not continue the data before it.
static void build_sparse_empty(struct tarn_buf *tape)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    static const char *const pairs[] = {
        "GNU.sparse.size",
        "200",
        "GNU.sparse.map",
        "0,2,2,0,2,1,100,0,100,2,102,0,102,1,200,0",
    };
    sparse_records(&records, pairs, COUNT(pairs) / 2);
    tarn_tape_pax(tape, 'x', &records);
    file(tape, (struct tarn_tape_header){ .name = "s" }, "abcdef");
}

static void build_end(struct tarn_buf *tape)
{
    file(tape, (struct tarn_tape_header){ .name = "a" }, "1");
    tarn_tape_end(tape);
    assert_int_equal(tarn_buf_append(tape, "garbage", 7), 0);
}

static void build_one_zero_block(struct tarn_buf *tape)
{
    file(tape, (struct tarn_tape_header){ .name = "a" }, "1");
    assert_int_equal(tarn_buf_append_zeros(tape, 512), 0);
}

static void build_no_padding(struct tarn_buf *tape)
{
    file(tape, (struct tarn_tape_header){ .name = "a" }, "1");
    tape->length -= 300;
}

static void build_signed_sum(struct tarn_buf *tape)
{
    uint8_t *block = tarn_tape_header(tape, &(struct tarn_tape_header){ .name = "\xe9\xe9" });
    int sum = 8 * ' ';
    for (size_t i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? 0 : (int8_t)block[i];
    snprintf((char *)block + 148, 8, "%06o", (unsigned)sum);
}

static void build_nothing(struct tarn_buf *tape)
{
    (void)tape;
}

static const struct {
    const char *name;
    build *build;
    const char *log;
} good[] = {
    { "nothing", build_nothing, "" },
    { "only an end", tarn_tape_end, "" },
    { "v7", build_v7,
      "dir d 755 0:0 0.000000000 0\n.\n"
      "reg d/f 644 7:8 9.000000000 5\n  0:hello\n.\n"
      "hard h 0 0:0 0.000000000 0 > d/f\n.\n"
      "lnk s 777 0:0 0.000000000 0 > /../x\n.\n"
      "chr c 0 0:0 0.000000000 0\n.\n" },
    { "ustar", build_ustar,
      "dir  1777 0:0 0.000000000 0\n.\n"
      "reg abs 6755 0:0 0.000000000 0\n.\n"
      "dir p/q/a/b 0 0:0 0.000000000 0\n.\n"
      "chr c 0 0:0 0.000000000 0 dev 1,3\n.\n"
      "blk b 0 0:0 0.000000000 0 dev 259,70000\n.\n"
      "fifo p 0 0:0 0.000000000 0\n.\n"
      "reg 7 0 0:0 0.000000000 10\n  0:contiguous\n.\n"
      "reg file 0 0:0 0.000000000 0\n.\n"
      "hard h 0 0:0 0.000000000 0 > p/7\n.\n"
      "lnk \\ff\\fe e\\cc\\81  0 0:0 0.000000000 0 > \\ff//\n.\n" },
    { "pax", build_pax,
      "reg dir\\ff/long name\\0a= 644 3000000000:4294967294 -2.500000000 3\n  0:abc\n.\n"
      "reg plain 0 1:2 3.000000000 1\n  0:x\n.\n"
      "chr c 0 0:0 0.000000000 0 dev 4000000000,5\n.\n"
      "hard h 0 0:0 0.000000000 0 > over/there\n.\n" },
    { "global", build_global,
      "reg a 0 0:0 0.000000000 1\n  0:1\n.\n"
      "reg b 0 0:0 0.000000000 1\n  0:2\n.\n" },
    { "xattrs", build_xattrs,
      "reg f 0 0:0 0.000000000 0 user.%zz=ab user.a=b%=\\00\\ff\\0a user.b=\\00a=\\0ab\\00"
      " user.empty= user.none= user.one=a user.twice=last user.two=ab\n.\n"
      "reg g 0 0:0 0.000000000 0\n.\n" },
    { "gnu", build_gnu,
      "lnk the/long name 0 4294967294:2097152 -2.000000000 0 > the/link/target\n.\n"
      "reg next 0 0:0 5000000000.000000000 0\n.\n"
      "reg usr/share/f 0 2097152:0 0.000000000 0\n.\n"
      "reg 12345670123/usr/f 0 2097152:0 0.000000000 0\n.\n"
      "reg f 0 2097152:0 0.000000000 0\n.\n" },
    { "old sparse", build_old_sparse,
      "reg s 0 0:0 0.000000000 10000 sparse 0+3 1000+3 2000+3 3000+3 5000+3 6000+3\n"
      "  0:aaa\n  1000:bbb\n  2000:ccc\n  3000:ddd\n  5000:eee\n  6000:fff\n.\n"
      "reg after 0 0:0 0.000000000 1\n  0:x\n.\n" },
    { "sparse 0.0", build_sparse_00, "reg s00 0 0:0 0.000000000 100 sparse 10+3\n  10:abc\n.\n" },
    { "sparse 0.1", build_sparse_01,
      "reg real 0 0:0 0.000000000 64 sparse 0+1 50+2\n  0:a\n  50:bc\n.\n"
      "reg hole 0 0:0 0.000000000 64 sparse\n.\n" },
    { "sparse 1.0", build_sparse_10,
      "reg big 0 0:0 0.000000000 1000000 sparse 500000+3 999999+1\n"
      "  500000:abc\n  999999:d\n.\n" },
    { "sparse, empty entries", build_sparse_empty,
      "reg s 0 0:0 0.000000000 200 sparse 0+3 100+3\n  0:abc\n  100:def\n.\n" },
    { "end", build_end, "reg a 0 0:0 0.000000000 1\n  0:1\n.\n" },
    { "one zero block", build_one_zero_block, "reg a 0 0:0 0.000000000 1\n  0:1\n.\n" },
    { "no padding", build_no_padding, "reg a 0 0:0 0.000000000 1\n  0:1\n.\n" },
    { "signed sum", build_signed_sum, "reg \\e9\\e9 0 0:0 0.000000000 0\n.\n" },
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct tarn_buf tape tarn_autobuf = { 0 };
        good[i].build(&tape);
        assert_true(tarn_tar_log_gives(
            &(struct tarn_tar_want){ good[i].name, 0, NULL, good[i].log }, &tape));
    }
}

static void test_header_limits(void **state)
{
    (void)state;
    struct tarn_buf tape tarn_autobuf = { 0 };
    struct tarn_buf want tarn_autobuf = { 0 };
    build_limits(&tape);
    const struct {
        const char *before;
        int prefix;
        int name;
        const char *behind;
    } lines[] = {
        { "dir ", 155, 100, " 0 0:0 0.000000000 0\n.\n" },
        { "reg ", 131, 0, "s 0 0:0 0.000000000 0\n.\n" },
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        assert_int_equal(tarn_buf_printf(&want, "%s", lines[i].before), 0);
        for (int k = 0; k < lines[i].prefix; k++)
            assert_int_equal(tarn_buf_append(&want, "p", 1), 0);
        assert_int_equal(tarn_buf_append(&want, "/", 1), 0);
        for (int k = 0; k < lines[i].name; k++)
            assert_int_equal(tarn_buf_append(&want, "n", 1), 0);
        assert_int_equal(tarn_buf_printf(&want, "%s", lines[i].behind), 0);
    }
    assert_int_equal(
        tarn_buf_printf(&want, "reg id 0 4294967294:4294967294 0.000000000 0\n.\n%c", 0), 0);
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){ "limits", 0, NULL, (const char *)want.data }, &tape));
}

// 100 levels of 255 bytes, a target of 4,095, twenty xattrs of 65,535 bytes.
static void test_large(void **state)
{
    (void)state;
    struct tarn_buf tape tarn_autobuf = { 0 };
    struct tarn_buf records tarn_autobuf = { 0 };
    struct tarn_buf want tarn_autobuf = { 0 };
    char *text tarn_autofree = calloc(1, TARN_TAR_XATTR_MAX + 1);
    assert_non_null(text);
    memset(text, 'n', TARN_TAR_XATTR_MAX);
    for (unsigned i = 1; i < 100; i++)
        text[i * 256 - 1] = '/';
    tarn_tape_record(&records, "path", text, 100 * 256 - 1);
    tarn_tape_record(&records, "linkpath", text, TARN_TAR_SYMLINK_MAX);
    assert_int_equal(tarn_buf_printf(&want, "lnk <25599> 0 0:0 0.000000000 0 > <4095>"), 0);
    for (unsigned i = 0; i < 20; i++) {
        char key[64];
        snprintf(key, sizeof key, "SCHILY.xattr.user.%02u", i);
        tarn_tape_record(&records, key, text, TARN_TAR_XATTR_MAX);
        assert_int_equal(tarn_buf_printf(&want, " user.%02u=<65535>", i), 0);
    }
    assert_int_equal(tarn_buf_printf(&want, "\n.\n%c", 0), 0);
    tarn_tape_pax(&tape, 'x', &records);
    header(&tape, (struct tarn_tape_header){ .name = "s", .flag = '2' });
    const struct tarn_tar_want outcome = { "large", 0, NULL, (const char *)want.data };
    assert_true(tarn_tar_log_gives_once(&outcome, &tape, SIZE_MAX / 2, SIZE_MAX / 2));
    assert_true(tarn_tar_log_gives_once(&outcome, &tape, 1000, 1000));
}

// Whatever is cut off, what is left is refused, or ends between two entries.
static void test_truncated(void **state)
{
    (void)state;
    static build *const builds[] = { build_pax,       build_gnu,       build_old_sparse,
                                     build_sparse_01, build_sparse_10, build_global };
    for (size_t i = 0; i < COUNT(builds); i++) {
        struct tarn_buf tape tarn_autobuf = { 0 };
        builds[i](&tape);
        const size_t whole = tape.length;
        unsigned fine = 0;
        for (tape.length = 0; tape.length < whole; tape.length++) {
            struct tarn_tar_log log = { 0 };
            struct tarn_err err = { 0 };
            const int ret = tarn_tar_log_run(&tape, 1000, 1000, &log, &err);
            fine += ret == 0;
            if (ret != 0 && (ret != -EUCLEAN || (!strstr(err.text, "truncated: the tar ends at") &&
                                                 !strstr(err.text, "without an entry"))))
                fail_msg("tar %zu cut to %zu: got %d '%s'", i, tape.length, ret, err.text);
            tarn_tar_log_release(&log);
        }
        // Only where there is no entry, or in the padding of one's data.
        assert_true(fine < 4 * 512);
    }
    struct tarn_buf tape tarn_autobuf = { 0 };
    file(&tape, (struct tarn_tape_header){ .name = "f" }, "data");
    tape.length = 514;
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){
            "data", -EUCLEAN,
            "tar: byte 0: entry 'f': truncated: the tar ends at byte 514, inside the data", NULL },
        &tape));
    tape.length = 511;
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){
            "header", -EUCLEAN, "tar: byte 0: truncated: the tar ends at byte 511, inside a header",
            "" },
        &tape));
}

// What a callback returns comes back, and err is left to it.
static void test_stop(void **state)
{
    (void)state;
    struct tarn_buf tape tarn_autobuf = { 0 };
    build_sparse_01(&tape);
    for (unsigned calls = 1; calls <= 6; calls++) {
        struct tarn_tar_log log = { .stop_after = calls };
        struct tarn_err err = { .text = "mine" };
        assert_int_equal(tarn_tar_log_run(&tape, SIZE_MAX / 2, 1, &log, &err), TARN_TAR_LOG_STOP);
        assert_string_equal(err.text, "mine");
        assert_int_equal(log.calls, calls);
        tarn_tar_log_release(&log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),  cmocka_unit_test(test_header_limits),
        cmocka_unit_test(test_large), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
