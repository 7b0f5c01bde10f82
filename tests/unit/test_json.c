// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

// {"a":[ITEM,ITEM,...]}
static void make(struct tarn_buf *text, const char *item, size_t count)
{
    text->length = 0;
    assert_int_equal(tarn_buf_printf(text, "{\"a\":["), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(tarn_buf_printf(text, i > 0 ? ",%s" : "%s", item), 0);
    assert_int_equal(tarn_buf_printf(text, "]}"), 0);
}

static void test_density(void **state)
{
    (void)state;
    static const struct {
        const char *item;
        size_t count;
        bool taken;
    } cases[] = {
        { "1", 65000, true },
        { "1", 80000, false },
        { "{}", 32000, true },
        { "{}", 40000, false },
        { "[]", 40000, false },
        { "\"{[,{[,{[,{[,{[,{[,\"", 80000, true }, // in strings nothing counts
        { "\"\\\"{[,{[,{[,{[,{[,\"", 80000, true },
        { "\"\\\\\",{},{},{},{},{}", 20000, false },
        { "\"a string of some length\"", 200000, true },
    };
    tarn_autobuf struct tarn_buf text = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(&text, cases[i].item, cases[i].count);
        struct tarn_err err = { 0 };
        tarn_autojson json_t *json = tarn_json_parse(text.data, text.length, "it", &err);
        if (cases[i].taken != (json != NULL))
            fail_msg("case %zu: want %d, got %s", i, cases[i].taken, err.text);
        if (!json)
            assert_string_equal(err.text, "it: more than 65536 values and one for each 16 bytes");
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        { "", "it: not JSON" },      { "[]", "it: not a JSON object" },
        { "{", "it: not JSON" },     { "{\"a\":1,\"a\":2}", "it: not JSON: duplicate object key" },
        { "{} {}", "it: not JSON" }, { "{\"a\":\"\\", "it: not JSON" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tarn_err err = { 0 };
        assert_null(tarn_json_parse(cases[i].text, strlen(cases[i].text), "it", &err));
        assert_int_equal(err.code, -EUCLEAN);
        if (strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("case %zu: want %s, got %s", i, cases[i].want, err.text);
    }
}

static void test_members(void **state)
{
    (void)state;
    static const char text[] = "{\"s\":\"x\",\"n\":7,\"m\":-1,\"f\":1.5}";
    tarn_autojson json_t *json = tarn_json_parse(text, sizeof text - 1, "it", NULL);
    assert_non_null(json);
    assert_string_equal(tarn_json_string(json, "s"), "x");
    assert_null(tarn_json_string(json, "n"));
    assert_null(tarn_json_string(json, "absent"));
    assert_int_equal(tarn_json_u64(json, "n", 3), 7);
    assert_int_equal(tarn_json_u64(json, "m", 3), 3);
    assert_int_equal(tarn_json_u64(json, "f", 3), 3);
    assert_int_equal(tarn_json_u64(json, "absent", 3), 3);
    tarn_autofree char *dumped = tarn_json_dump(json);
    assert_string_equal(dumped, "{\"f\":1.5,\"m\":-1,\"n\":7,\"s\":\"x\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_density),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
