// SPDX-License-Identifier: Apache-2.0
// What the tar reader refuses, and in which words.
#include "converter/tar_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/tar_log.h"
#include "tests/support/tar_tape.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT(literal) (literal), sizeof(literal) - 1

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

// A header after an extended one with one record.
static void with_record(struct tarn_buf *tape, const char *key, const char *value,
                        struct tarn_tape_header header)
{
    struct tarn_buf records tarn_autobuf = { 0 };
    record(&records, key, value);
    tarn_tape_pax(tape, 'x', &records);
    tarn_tape_header(tape, &header);
}

// One header, after an extended one if key is set.
static const struct {
    struct tarn_tape_header header;
    const char *key;
    const char *value;
    int code;
    const char *message;
} refused[] = {
    { { .name = "a/../b" },
      NULL,
      NULL,
      -EINVAL,
      "tar: byte 0: entry 'a/../b': '..' in a name is refused" },
    { { .name = ".." }, NULL, NULL, -EINVAL, "entry '..': '..' in a name" },
    { { .name = "x/.." }, NULL, NULL, -EINVAL, "'..' in a name" },
    { { .name = "x" },
      "path",
      "/../x",
      -EINVAL,
      "tar: byte 1024: entry '/../x': '..' in a name is refused" },
    { { .name = "h", .link = "../etc/passwd", .flag = '1' },
      NULL,
      NULL,
      -EINVAL,
      "entry 'h': hard link to '../etc/passwd': '..' in a name is refused" },
    { { .name = "h", .link = "./", .flag = '1' },
      NULL,
      NULL,
      -EINVAL,
      "entry 'h': hard link to './': it is the root" },
    { { .name = "h", .flag = '1' },
      NULL,
      NULL,
      -EINVAL,
      "entry 'h': hard link to '': an empty name" },
    { { .name = "s", .flag = '2' },
      NULL,
      NULL,
      -EINVAL,
      "entry 's': a symbolic link without a target is refused" },
    { { .name = "" }, NULL, NULL, -EINVAL, "entry '': an empty name" },
    { { .name = "." }, NULL, NULL, -EINVAL, "entry '.': the root can only be a directory" },
    { { .name = "d/", .size = 1, .flag = 'v' },
      NULL,
      NULL,
      -EINVAL,
      "ends with '/', but it has data" },
    { { .name = "f" }, "GNU.sparse.offset", "0", -EUCLEAN, "an offset has no length" },
    { { .name = "f", .flag = 'S' },
      NULL,
      NULL,
      -ENOTSUP,
      "entry 'f': a sparse file that GNU tar did not write is not read" },
    { { .name = "f", .size = TARN_TAR_SIZE_MAX + 1 },
      NULL,
      NULL,
      -ENOTSUP,
      "entry 'f': size of 8796093022209 bytes is over the limit of 8 TiB" },
    { { .name = "f", .size = UINT64_C(1) << 63 },
      NULL,
      NULL,
      -EINVAL,
      "entry 'f': size of -9223372036854775808 bytes is out of range" },
    { { .name = "f" },
      "size",
      "9223372036854775808",
      -EINVAL,
      "entry 'f': size of 9223372036854775808 bytes is out of range" },
    { { .name = "f" }, "size", "-1", -EINVAL, "size of -1 bytes is out of range" },
    { { .name = "f" },
      "size",
      "1k",
      -EUCLEAN,
      "entry 'f': extended header: the record 'size' is no decimal number" },
    { { .name = "f", .uid = UINT32_MAX },
      NULL,
      NULL,
      -EINVAL,
      "uid of 4294967295 is out of range" },
    { { .name = "f" }, "gid", "-1", -EINVAL, "gid of -1 is out of range" },
    { { .name = "f" }, "uid", "1.0", -EUCLEAN, "the record 'uid' is no decimal number" },
    { { .name = "f" }, "mtime", "now", -EUCLEAN, "the record 'mtime' is no decimal number" },
    { { .name = "f" },
      "mtime",
      "9223372036854775808",
      -EINVAL,
      "the record 'mtime' is out of range" },
    { { .name = "c", .flag = '3' },
      "SCHILY.devmajor",
      "4294967296",
      -EINVAL,
      "device major of 4294967296 is out of range" },
    { { .name = "f" }, "SCHILY.xattr.", "v", -EINVAL, "xattr '': an empty name" },
    { { .name = "f" }, "LIBARCHIVE.xattr.user.%00", "YQ", -EINVAL, "xattr 'user.\\x00'" },
    { { .name = "f" },
      "LIBARCHIVE.xattr.user.x",
      "Y",
      -EUCLEAN,
      "xattr 'user.x': its value is no base64" },
    { { .name = "f" }, "LIBARCHIVE.xattr.user.x", "Y Q=", -EUCLEAN, "is no base64" },
    { { .name = "f" }, "LIBARCHIVE.xattr.user.x", "YQ=a", -EUCLEAN, "is no base64" },
    { { .name = "d", .flag = 'D' }, NULL, NULL, -ENOTSUP, "entry 'd': type flag 'D' is unknown" },
    { { .name = "q", .flag = '\xff' }, NULL, NULL, -ENOTSUP, "type flag '\\xff' is unknown" },
    { { .name = "m", .flag = 'M' },
      NULL,
      NULL,
      -ENOTSUP,
      "entry 'm': a tar of several volumes is not read" },
    { { .name = "x", .flag = 'x', .size = TARN_TAR_PAX_MAX + 1 },
      NULL,
      NULL,
      -ENOTSUP,
      "an extended header of 8388609 bytes is over the limit of 8388608" },
    { { .name = "L", .flag = 'L', .size = 65537 },
      NULL,
      NULL,
      -ENOTSUP,
      "a long name of 65537 bytes is over the limit of 65536" },
    { { .name = "x", .flag = 'x' }, NULL, NULL, -EUCLEAN, "an extended header without an entry" },
    { { .name = "L", .flag = 'L' }, NULL, NULL, -EUCLEAN, "without an entry" },
    { { .name = "f" }, "GNU.sparse.map", "0,1", -EUCLEAN, "without GNU.sparse.size" },
    { { .name = "f" }, "GNU.sparse.map", "0", -EUCLEAN, "an offset has no length" },
    { { .name = "f" }, "GNU.sparse.map", "0,1,", -EUCLEAN, "no decimal number" },
    { { .name = "f" },
      "GNU.sparse.map",
      "0,1,0,1",
      -EINVAL,
      "sparse map: entry 1 at 0 begins before the end of the last at 1" },
    { { .name = "f" }, "GNU.sparse.map", "-1,1", -EINVAL, "entry 0 is out of range" },
    { { .name = "f" }, "GNU.sparse.numbytes", "1", -EUCLEAN, "do not take turns" },
    { { .name = "f", .flag = 'S', .dialect = 'g', .size = 1 },
      NULL,
      NULL,
      -EINVAL,
      "it names 0 bytes of data, the tar holds 1" },
};

static void test_refused_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct tarn_buf tape tarn_autobuf = { 0 };
        if (refused[i].key)
            with_record(&tape, refused[i].key, refused[i].value, refused[i].header);
        else
            tarn_tape_header(&tape, &refused[i].header);
        tarn_tape_end(&tape);
        assert_true(tarn_tar_log_gives(&(struct tarn_tar_want){ refused[i].message, refused[i].code,
                                                                refused[i].message, NULL },
                                       &tape));
    }
}

static void test_refused_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t length;
        char flag;
        const char *message;
    } cases[] = {
        { "path", 256, '0', "a name of 256 bytes is over the limit of 255" },
        { "path", 65536, '0', "a path of 65536 bytes is over the limit of 65535" },
        { "linkpath", 4096, '2', "target of 4096 bytes is over the limit of 4095" },
        { "SCHILY.xattr.user.x", 65536, '0',
          "entry 'f': extended header: xattr 'user.x': a value of 65536 bytes is over the limit" },
    };
    char *text tarn_autofree = calloc(1, 65537);
    assert_non_null(text);
    memset(text, 'n', 65536);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_buf tape tarn_autobuf = { 0 };
        struct tarn_buf records tarn_autobuf = { 0 };
        tarn_tape_record(&records, cases[i].key, text, cases[i].length);
        tarn_tape_pax(&tape, 'x', &records);
        header(&tape, (struct tarn_tape_header){ .name = "f", .flag = cases[i].flag });
        const struct tarn_tar_want want = { cases[i].key, -ENOTSUP, cases[i].message, "" };
        assert_true(tarn_tar_log_gives_once(&want, &tape, SIZE_MAX / 2, SIZE_MAX / 2));
    }
}

// A whiteout may be as long as ".wh." and a name.
static void test_refused_whiteouts(void **state)
{
    (void)state;
    static const struct {
        size_t length; // behind ".wh."
        const char *behind;
        const char *message; // NULL: it is read
    } cases[] = {
        { 255, "", NULL },
        { 256, "", "a name of 260 bytes is over the limit of 259" },
        { 252, "/f", "a name of 256 bytes is over the limit of 255" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_buf tape tarn_autobuf = { 0 };
        struct tarn_buf records tarn_autobuf = { 0 };
        char path[300];
        memset(path, 'n', sizeof path);
        memcpy(path, "d/.wh.", 6);
        strcpy(path + 6 + cases[i].length, cases[i].behind);
        record(&records, "path", path);
        tarn_tape_pax(&tape, 'x', &records);
        header(&tape, (struct tarn_tape_header){ .name = "f" });
        const int code = cases[i].message ? -ENOTSUP : 0;
        const struct tarn_tar_want want = { path, code, cases[i].message, NULL };
        assert_true(tarn_tar_log_gives_once(&want, &tape, SIZE_MAX / 2, SIZE_MAX / 2));
    }
}

static void test_refused_records(void **state)
{
    (void)state;
    static const struct {
        const char *records;
        size_t length;
        const char *message;
        int code;
    } cases[] = {
        { TEXT("20 path=x\n"), "a record is longer than its extended header", -EUCLEAN },
        { TEXT("99999999999999999999999 path=x\n"), "a record is longer", -EUCLEAN },
        { TEXT("path=x\n"), "does not begin with its length", -EUCLEAN },
        { TEXT("10path=xy\n"), "does not begin with its length", -EUCLEAN },
        { TEXT("10"), "longer than its extended header", -EUCLEAN },
        { TEXT("2"), "longer than its extended header", -EUCLEAN },
        { TEXT("9 path=xy\n"), "does not end with a newline", -EUCLEAN },
        { TEXT("0 path=xy\n"), "does not end with a newline", -EUCLEAN },
        { TEXT("3 \n"), "is no KEY=VALUE", -EUCLEAN },
        { TEXT("7 path\n"), "is no KEY=VALUE", -EUCLEAN },
        { TEXT("6 =ab\n"), "is no KEY=VALUE", -EUCLEAN },
        { TEXT("8 a\0b=c\n"), "a NUL in a record's key", -EUCLEAN },
        { TEXT("11 path=x\0\n"), "a NUL in a name is refused", -EINVAL },
        { TEXT("11 path=x\n"), "entry 'f': extended header: a record", -EUCLEAN },
        { TEXT("9 path=x\n\0"), "entry 'x': extended header: a record", -EUCLEAN },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (unsigned global = 0; global < 2; global++) {
            struct tarn_buf tape tarn_autobuf = { 0 };
            const struct tarn_tape_header pax = { .name = "p", .flag = global ? 'g' : 'x' };
            tarn_tape_file(&tape, pax, cases[i].records, cases[i].length);
            header(&tape, (struct tarn_tape_header){ .name = "f" });
            const char *message = cases[i].message;
            if (global && strncmp(message, "entry", 5) == 0)
                message = "global extended header: a record";
            assert_true(tarn_tar_log_gives(
                &(struct tarn_tar_want){ message, cases[i].code, message, "" }, &tape));
        }
}

static void test_refused_maps(void **state)
{
    (void)state;
    static const struct {
        const char *major;
        const char *map;
        size_t data;
        int code;
        const char *message;
    } cases[] = {
        { "1", "1\n0\n2\n", 1, -EINVAL, "it names 2 bytes of data, the tar holds 1" },
        { "1", "1\n99\n2\n", 2, -EINVAL, "it ends at 101, behind the file's size of 100" },
        { "1", "2\n0\n2\n1\n1\n", 3, -EINVAL, "begins before the end of the last" },
        { "1", "x\n", 0, -EUCLEAN, "a line is no decimal number" },
        { "1", "1\n\n", 0, -EUCLEAN, "a line is no decimal number" },
        { "1", "-1\n", 0, -EUCLEAN, "a line is no decimal number" },
        { "1", "000000000000000000001\n", 0, -EUCLEAN, "a line is no decimal number" },
        { "1", "1048577\n", 0, -ENOTSUP, "more than 1048576 entries" },
        { "1", "1\n99999999999999999999\n1\n", 1, -EINVAL, "offset of 99999999999999999999" },
        { "2", "0\n", 0, -ENOTSUP, "a sparse format newer than GNU's 1.0 is not read" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_buf tape tarn_autobuf = { 0 };
        struct tarn_buf records tarn_autobuf = { 0 };
        struct tarn_buf body tarn_autobuf = { 0 };
        record(&records, "GNU.sparse.major", cases[i].major);
        record(&records, "GNU.sparse.minor", "0");
        record(&records, "GNU.sparse.realsize", "100");
        tarn_tape_pax(&tape, 'x', &records);
        assert_int_equal(tarn_buf_append(&body, cases[i].map, strlen(cases[i].map)), 0);
        assert_int_equal(tarn_buf_append_zeros(&body, 512 - body.length + cases[i].data), 0);
        tarn_tape_file(&tape, (struct tarn_tape_header){ .name = "f" }, body.data, body.length);
        assert_true(tarn_tar_log_gives(
            &(struct tarn_tar_want){ cases[i].message, cases[i].code, cases[i].message, "" },
            &tape));
    }

    struct tarn_buf tape tarn_autobuf = { 0 };
    struct tarn_buf records tarn_autobuf = { 0 };
    record(&records, "GNU.sparse.major", "1");
    record(&records, "GNU.sparse.realsize", "100");
    tarn_tape_pax(&tape, 'x', &records);
    file(&tape, (struct tarn_tape_header){ .name = "f" }, "1\n0\n2\n");
    assert_true(
        tarn_tar_log_gives(&(struct tarn_tar_want){ "short map", -EUCLEAN,
                                                    "sparse map: it is longer than the data", "" },
                           &tape));
}

static void test_refused_blocks(void **state)
{
    (void)state;
    struct tarn_buf tape tarn_autobuf = { 0 };
    tarn_tape_header(&tape, &(struct tarn_tape_header){ .name = "f" })[5] = 'x';
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){ "sum", -EUCLEAN, "tar: byte 0: no header, its checksum is wrong",
                                 "" },
        &tape));
    tape.length = 0;
    file(&tape, (struct tarn_tape_header){ .name = "f" }, "data");
    tarn_tape_header(&tape, &(struct tarn_tape_header){ .name = "g" })[5] = 'x';
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){
            "second sum", -EUCLEAN,
            "tar: byte 1024: no header behind entry 'f', its checksum is wrong", NULL },
        &tape));
    tape.length = 0;
    tarn_tape_end(&tape);
    tape.length -= 512;
    header(&tape, (struct tarn_tape_header){ .name = "g" });
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){ "lone zero block", -EUCLEAN,
                                 "byte 512: an entry behind a lone zero block", "" },
        &tape));
    tape.length = 0;
    header(&tape, (struct tarn_tape_header){ .name = "x", .flag = 'x' });
    header(&tape, (struct tarn_tape_header){ .name = "g", .flag = 'g' });
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){
            "global behind another", -EINVAL,
            "byte 512: a global extended header between an extended header and its entry", "" },
        &tape));
    tape.length = 0;
    uint8_t *block = tarn_tape_header(&tape, &(struct tarn_tape_header){ .name = "g" });
    memcpy(block + 100, "rw-r--r--", 8);
    tarn_tape_sign(block);
    assert_true(tarn_tar_log_gives(
        &(struct tarn_tar_want){ "mode", -EUCLEAN,
                                 "entry 'g': the header's mode is no octal number", "" },
        &tape));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_headers), cmocka_unit_test(test_refused_lengths),
        cmocka_unit_test(test_refused_records), cmocka_unit_test(test_refused_maps),
        cmocka_unit_test(test_refused_blocks),  cmocka_unit_test(test_refused_whiteouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
