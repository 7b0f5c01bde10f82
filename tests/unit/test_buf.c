// SPDX-License-Identifier: Apache-2.0
// Buffers, arenas, and the sentences of errors.
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"

static void test_append(void **state)
{
    (void)state;
    static const uint8_t want[] = { 'a', 'b', 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1 };
    tarn_autobuf struct tarn_buf buf = { 0 };
    assert_int_equal(tarn_buf_append(&buf, NULL, 0), 0);
    assert_null(buf.data);
    assert_int_equal(tarn_buf_append(&buf, "ab", 2), 0);
    assert_int_equal(tarn_buf_append_zeros(&buf, 3), 0);
    assert_int_equal(tarn_buf_append_le32(&buf, 0x01020304), 0);
    assert_int_equal(tarn_buf_append_le64(&buf, UINT64_C(0x0102030405060708)), 0);
    assert_int_equal(buf.length, sizeof want);
    assert_memory_equal(buf.data, want, sizeof want);
    assert_int_equal(tarn_buf_printf(&buf, "%s-%d", "text", 7), 0);
    assert_int_equal(buf.length, sizeof want + 6);
    assert_memory_equal(buf.data + sizeof want, "text-7", 6);
    tarn_buf_release(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.length + buf.capacity, 0);
}

// What cannot be had leaves the buffer as it is.
static void test_too_much(void **state)
{
    (void)state;
    tarn_autobuf struct tarn_buf buf = { 0 };
    assert_int_equal(tarn_buf_append(&buf, "x", 1), 0);
    const struct tarn_buf before = buf;
    static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(tarn_buf_reserve(&buf, sizes[i]), -ENOMEM);
        assert_int_equal(tarn_buf_append_zeros(&buf, sizes[i]), -ENOMEM);
    }
    assert_ptr_equal(buf.data, before.data);
    assert_int_equal(buf.length, 1);
    assert_int_equal(buf.capacity, before.capacity);
}

static void test_arena(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 8, 3, 100000, 300000, 0, 65536, 7 };
    enum { COUNT = 400 };
    static uint8_t *pieces[COUNT];
    struct tarn_arena *arena = tarn_arena_new();
    assert_non_null(arena);
    assert_int_equal(tarn_arena_memory(arena), 0);
    size_t total = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const size_t size = sizes[i % (sizeof sizes / sizeof *sizes)];
        pieces[i] = tarn_arena_alloc(arena, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 8, 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)(i % 255 + 1), size);
        total += size;
        const char *copy = tarn_arena_copy(arena, "name", 4);
        assert_string_equal(copy, "name");
    }
    for (size_t i = 0; i < COUNT; i++) {
        const size_t size = sizes[i % (sizeof sizes / sizeof *sizes)];
        for (size_t k = 0; k < size; k++)
            assert_int_equal(pieces[i][k], i % 255 + 1);
    }
    assert_in_range(tarn_arena_memory(arena), total, 2 * total);
    assert_null(tarn_arena_alloc(arena, SIZE_MAX));
    assert_null(tarn_arena_copy(arena, "", SIZE_MAX));
    tarn_arena_free(arena);
    tarn_arena_free(NULL);
}

static void test_errors(void **state)
{
    (void)state;
    struct tarn_err err = { 0 };
    assert_int_equal(tarn_fail(&err, -EIO, "block %d", 3), -EIO);
    assert_int_equal(tarn_wrap(&err, -EUCLEAN, "layer %d", 1), -EUCLEAN);
    assert_int_equal(err.code, -EUCLEAN);
    assert_string_equal(err.text, "layer 1: block 3");
    tarn_err_prepend(&err, "it");
    assert_string_equal(err.text, "it: layer 1: block 3");
    assert_int_equal(tarn_fail_errno(&err, -ENOENT, "no %s", "file"), -ENOENT);
    assert_string_equal(err.text, "no file: No such file or directory");
    assert_int_equal(tarn_fail(NULL, -EIO, "unheard"), -EIO);
    assert_int_equal(tarn_wrap(NULL, -EIO, "unheard"), -EIO);
    // Too long ones are cut off behind; the context stays.
    char filler[2 * TARN_ERR_TEXT];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    tarn_fail(&err, -EIO, "%s", filler);
    assert_int_equal(strlen(err.text), TARN_ERR_TEXT - 1);
    tarn_err_prepend(&err, "here");
    assert_int_equal(strlen(err.text), TARN_ERR_TEXT - 1);
    assert_memory_equal(err.text, "here: xxx", 9);
    tarn_err_prepend(&err, "%s", filler);
    assert_in_range(strlen(err.text), TARN_ERR_TEXT - 4, TARN_ERR_TEXT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
