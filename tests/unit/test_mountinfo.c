// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/mountinfo.h"

static void test_lines(void **state)
{
    (void)state;
    static const char text[] =
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
        "37 35 0:45 /images/7 /a\\040b\\134c ro - fuse.tarn tarn ro\n"
        "nonsense\n"
        "38 35 0:45\n"
        "39 35 x:y / / rw - a b c\n"
        "40 35 0:46 / / rw shared:1 master:2 propagate_from:3 unbindable - tmpfs none\n"
        "41 35 0:46 / / rw no dash at all\n"
        "42 35 0:47 / /last rw - proc proc rw";
    static const struct {
        unsigned major;
        unsigned minor;
        const char *root;
        const char *point;
        const char *type;
        const char *source;
    } want[] = {
        { 98, 0, "/mnt1", "/mnt2", "ext3", "/dev/root" },
        { 0, 45, "/images/7", "/a b\\c", "fuse.tarn", "tarn" },
        { 0, 46, "/", "/", "tmpfs", "none" },
        { 0, 47, "/", "/last", "proc", "proc" },
    };
    char copy[sizeof text];
    memcpy(copy, text, sizeof text);
    char *cursor = copy;
    struct tarn_mountinfo got;
    size_t n = 0;
    for (; tarn_mountinfo_next(&cursor, &got); n++) {
        assert_true(n < sizeof want / sizeof want[0]);
        assert_int_equal(got.major, want[n].major);
        assert_int_equal(got.minor, want[n].minor);
        assert_string_equal(got.root, want[n].root);
        assert_string_equal(got.point, want[n].point);
        assert_string_equal(got.type, want[n].type);
        assert_string_equal(got.source, want[n].source);
    }
    assert_int_equal(n, sizeof want / sizeof want[0]);
}

static void test_slots(void **state)
{
    (void)state;
    const struct {
        const char *root;
        uint32_t slot;
    } cases[] = {
        { "/images/1", 1 },
        { "/images/4294967295", UINT32_MAX },
        { "/images/4294967296", 0 },
        { "/images/99999999999999999999999", 0 },
        { "/images/12/usr/bin", 12 },
        { "/images/12//deleted", 12 },
        { "/images/12x", 0 },
        { "/images/", 0 },
        { "/images", 0 },
        { "/images/-1", 0 },
        { "/images/+1", 0 },
        { "/images/ 1", 0 },
        { "/images/0", 0 },
        { "/images/01", 0 },
        { "/blobs/1", 0 },
        { "/", 0 },
        { "", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint32_t got = tarn_mountinfo_slot(cases[i].root);
        if (got != cases[i].slot)
            fail_msg("%s: want %u, got %u", cases[i].root, cases[i].slot, got);
    }
}

// Our own: the root is in it.
static void test_self(void **state)
{
    (void)state;
    struct tarn_buf text = { 0 };
    assert_int_equal(tarn_mountinfo_read(0, &text), 0);
    char *cursor = (char *)text.data;
    struct tarn_mountinfo info;
    bool found = false;
    while (tarn_mountinfo_next(&cursor, &info))
        found |= strcmp(info.point, "/") == 0;
    assert_true(found);
    tarn_buf_release(&text);
    assert_int_equal(tarn_mountinfo_read(999999999, &text), -ENOENT);
    tarn_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_self),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
