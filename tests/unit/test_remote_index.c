// SPDX-License-Identifier: Apache-2.0
#include "registry/remote_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MANIFEST "'mediaType':'application/vnd.oci.image.manifest.v1+json'"
#define INDEX "'mediaType':'application/vnd.oci.image.index.v1+json'"
#define A "'digest':'sha256:aa'"
#define B "'digest':'sha256:bb'"
#define TARN(digest, subject)                                                                      \
    "{" MANIFEST ",'digest':'sha256:" digest "','artifactType':'application/vnd.tarn.image.v1',"   \
    "'annotations':{'dev.tarn.subject':'sha256:" subject "',"                                      \
    "'dev.tarn.platform':'linux/arm/v7'}}"

struct example {
    const char *name;
    const char *original;
    const char *document;
    const char *current;
    const char *tarn;
    const char *want; // digests in order
};

static const struct example examples[] = {
    { "new tag", "{" MANIFEST "," A "}", "{}", NULL, "[" TARN("t1", "aa") "]",
      "sha256:aa sha256:t1 " },
    { "the same again", "{" MANIFEST "," A "}", "{}",
      "{" INDEX ",'manifests':[{" MANIFEST "," A "}," TARN("t0", "aa") "]}",
      "[" TARN("t1", "aa") "]", "sha256:aa sha256:t1 " },
    { "another image replaces the tag's", "{" MANIFEST "," A "}", "{}",
      "{" INDEX ",'manifests':[{" MANIFEST "," B "}," TARN("t0", "bb") "]}",
      "[" TARN("t1", "aa") "]", "sha256:aa sha256:t1 " },
    { "one of the tag's platforms keeps the others", "{" MANIFEST "," A "}", "{}",
      "{" INDEX ",'manifests':[{" MANIFEST "," B "},{" MANIFEST "," A "}," TARN("t0", "bb") "]}",
      "[" TARN("t1", "aa") "]", "sha256:bb sha256:aa sha256:t1 sha256:t0 " },
    { "an index loses stale entries", "{" INDEX ",'digest':'sha256:ii'}",
      "{" INDEX ",'manifests':[{" MANIFEST "," A "}," TARN("t9", "aa") ",{" MANIFEST "," B "}]}",
      "{" INDEX ",'manifests':[{" MANIFEST ",'digest':'sha256:cc'}," TARN("t0", "cc") "]}",
      "[" TARN("t1", "aa") "]", "sha256:aa sha256:bb sha256:t1 " },
    { "the tag showed a manifest", "{" MANIFEST "," A "}", "{}", "{" MANIFEST ",'layers':[]}",
      "[" TARN("t1", "aa") "]", "sha256:aa sha256:t1 " },
};

static json_t *parse(const char *text)
{
    char copy[2048];
    if (!text)
        return NULL;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    json_t *json = json_loads(copy, 0, NULL);
    assert_non_null(json);
    return json;
}

static void list(const json_t *index, char *text, size_t size)
{
    size_t i;
    const json_t *entry;
    text[0] = '\0';
    json_array_foreach(json_object_get(index, "manifests"), i, entry)
    {
        const size_t length = strlen(text);
        snprintf(text + length, size - length, "%s ", tarn_json_string(entry, "digest"));
    }
}

static void test_index(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const struct example *example = &examples[i];
        tarn_autojson json_t *original = parse(example->original);
        tarn_autojson json_t *document = parse(example->document);
        tarn_autojson json_t *current = parse(example->current);
        tarn_autojson json_t *tarn = parse(example->tarn);
        const struct tarn_remote_index from = { original, document, current, tarn };
        tarn_autojson json_t *index = tarn_remote_index_make(&from);
        char got[512];
        list(index, got, sizeof got);
        if (strcmp(got, example->want) != 0)
            fail_msg("%s: want %s, got %s", example->name, example->want, got);
    }
}

static void test_platform(void **state)
{
    (void)state;
    tarn_autojson json_t *original = parse("{" MANIFEST "," A "}");
    tarn_autojson json_t *tarn = parse("[" TARN("t1", "aa") "]");
    const struct tarn_remote_index from = { original, NULL, NULL, tarn };
    tarn_autojson json_t *index = tarn_remote_index_make(&from);
    tarn_autojson json_t *want = parse("{'os':'linux','architecture':'arm','variant':'v7'}");
    const json_t *first = json_array_get(json_object_get(index, "manifests"), 0);
    assert_true(json_equal(json_object_get(first, "platform"), want));
    assert_null(json_object_get(original, "platform"));
}

static void test_referrers(void **state)
{
    (void)state;
    tarn_autojson json_t *current = parse("{" INDEX ",'manifests':[" TARN(
        "t0", "aa") ",{" MANIFEST ",'digest':'sha256:sig','artifactType':'x/y'}]}");
    tarn_autojson json_t *tarn = parse("[" TARN("t1", "aa") "]");
    tarn_autojson json_t *index = tarn_remote_referrers_make(current, tarn);
    char got[512];
    list(index, got, sizeof got);
    assert_string_equal(got, "sha256:sig sha256:t1 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_platform),
        cmocka_unit_test(test_referrers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
