// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "registry/image_index.h"
#include "registry/oci.h"

static void test_platform_parse(void **state)
{
    static const struct {
        const char *text;
        const char *want; // NULL: refused
    } cases[] = {
        { "linux/amd64", "linux/amd64" },
        { "linux/x86_64", "linux/amd64" },
        { "linux/amd64/v1", "linux/amd64" },
        { "linux/amd64/v3", "linux/amd64/v3" },
        { "linux/arm64/v8", "linux/arm64" },
        { "linux/aarch64", "linux/arm64" },
        { "linux/arm", "linux/arm/v7" },
        { "linux/arm/6", "linux/arm/v6" },
        { "linux/armhf", "linux/arm/v7" },
        { "windows/386", "windows/386" },
        { "linux", NULL },
        { "", NULL },
        { "/amd64", NULL },
        { "linux/", NULL },
        { "linux//v8", NULL },
        { "linux/arm/", NULL },
        { "linux/arm/v7/x", NULL },
        { "linux/a b", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tarn_platform platform;
        char text[TARN_PLATFORM_TEXT];
        const int ret = tarn_platform_parse(cases[i].text, &platform, NULL);
        const char *got = ret == 0 ? tarn_platform_format(&platform, text) : "(refused)";
        const char *want = cases[i].want ? cases[i].want : "(refused)";
        if (strcmp(got, want) != 0)
            fail_msg("%s: want %s, got %s", cases[i].text, want, got);
    }
}

static void test_machine(void **state)
{
    static const struct {
        const char *machine;
        const char *want;
    } cases[] = {
        { "x86_64", "linux/amd64" },    { "aarch64", "linux/arm64" },
        { "i686", "linux/386" },        { "armv7l", "linux/arm/v7" },
        { "armv6l", "linux/arm/v6" },   { "riscv64", "linux/riscv64" },
        { "ppc64le", "linux/ppc64le" }, { "vax", "(refused)" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tarn_platform platform;
        char text[TARN_PLATFORM_TEXT];
        const int ret = tarn_platform_from_machine(cases[i].machine, &platform, NULL);
        const char *got = ret == 0 ? tarn_platform_format(&platform, text) : "(refused)";
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: want %s, got %s", cases[i].machine, cases[i].want, got);
    }
    struct tarn_platform host;
    assert_int_equal(tarn_platform_host(&host, NULL), 0);
}

// An entry for each platform in the list; "-" makes one without.
static json_t *entries_of(const char *list)
{
    json_t *entries = json_array();
    char copy[400];
    char *save = NULL;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        json_t *entry =
            json_pack("{s:s, s:s}", "mediaType", TARN_MEDIA_OCI_MANIFEST, "digest", word);
        char os[40] = "";
        char architecture[40] = "";
        char variant[40] = "";
        if (sscanf(word, "%39[^/]/%39[^/]/%39[^/]", os, architecture, variant) >= 2)
            json_object_set_new(entry, "platform",
                                json_pack("{s:s, s:s, s:s}", "os", os, "architecture", architecture,
                                          "variant", variant));
        json_array_append_new(entries, entry);
    }
    return entries;
}

static void test_choose(void **state)
{
    static const struct {
        const char *list;
        const char *platform;
        const char *want;
    } cases[] = {
        { "linux/amd64 linux/arm64/v8", "linux/amd64", "linux/amd64" },
        { "linux/amd64 linux/arm64/v8", "linux/arm64", "linux/arm64/v8" },
        { "linux/amd64 linux/arm64", "linux/arm64/v8", "linux/arm64" },
        { "linux/amd64", "linux/s390x", NULL },
        { "linux/amd64 windows/amd64", "windows/amd64", "windows/amd64" },
        { "linux/arm/v5 linux/arm/v6 linux/arm/v7", "linux/arm/v7", "linux/arm/v7" },
        { "linux/arm/v5 linux/arm/v6", "linux/arm/v7", "linux/arm/v6" },
        { "linux/arm/v7", "linux/arm/v6", NULL },
        { "linux/arm/v6 linux/arm/v7", "linux/arm", "linux/arm/v7" },
        { "linux/amd64/v3 linux/amd64", "linux/amd64", "linux/amd64" },
        { "linux/amd64/v3 linux/amd64/v2", "linux/amd64", "linux/amd64/v2" },
        { "linux/amd64 linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3" },
        { "linux/amd64", "linux/amd64/v3", NULL },
        { "linux/x86_64", "linux/amd64", "linux/x86_64" },
        { "-", "linux/amd64", "-" },
        { "- linux/amd64", "linux/amd64", "linux/amd64" },
        { "", "linux/amd64", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autojson json_t *entries = entries_of(cases[i].list);
        struct tarn_platform platform;
        assert_int_equal(tarn_platform_parse(cases[i].platform, &platform, NULL), 0);
        const json_t *entry = tarn_index_choose(entries, &platform);
        const char *got = entry ? tarn_json_string(entry, "digest") : "(none)";
        const char *want = cases[i].want ? cases[i].want : "(none)";
        if (strcmp(got, want) != 0)
            fail_msg("%s of [%s]: want %s, got %s", cases[i].platform, cases[i].list, want, got);
    }
}

static void test_kind(void **state)
{
    static const struct {
        const char *json;
        enum tarn_entry_kind want;
    } cases[] = {
        { "{'mediaType':'" TARN_MEDIA_OCI_MANIFEST "'}", TARN_ENTRY_IMAGE },
        { "{'mediaType':'" TARN_MEDIA_DOCKER_MANIFEST "'}", TARN_ENTRY_IMAGE },
        { "{'mediaType':'" TARN_MEDIA_DOCKER_LIST "'}", TARN_ENTRY_INDEX },
        { "{'mediaType':'" TARN_MEDIA_OCI_MANIFEST "','platform':{'os':'unknown','architecture':"
          "'unknown'}}",
          TARN_ENTRY_OTHER },
        { "{'mediaType':'" TARN_MEDIA_OCI_MANIFEST "','artifactType':'" TARN_ARTIFACT_TYPE
          "','platform':{'os':'unknown','architecture':'unknown'},'annotations':{"
          "'" TARN_ANNOTATION_SUBJECT "':'x'}}",
          TARN_ENTRY_TARN },
        { "{'mediaType':'" TARN_MEDIA_OCI_MANIFEST "','artifactType':'" TARN_ARTIFACT_TYPE "'}",
          TARN_ENTRY_IMAGE },
        { "{'mediaType':'" TARN_MEDIA_OCI_MANIFEST "','artifactType':'a/b'}", TARN_ENTRY_OTHER },
        { "{'mediaType':'" TARN_MEDIA_OCI_MANIFEST "','platform':{'os':'unknown','architecture':"
          "'unknown'},'annotations':{'" TARN_ANNOTATION_SUBJECT "':'x'}}",
          TARN_ENTRY_TARN },
        { "{'mediaType':'" TARN_MEDIA_OCI_INDEX "','annotations':{'" TARN_ANNOTATION_SUBJECT
          "':'x'}}",
          TARN_ENTRY_INDEX },
        { "{'mediaType':'a/b'}", TARN_ENTRY_OTHER },
        { "{}", TARN_ENTRY_OTHER },
        { "[]", TARN_ENTRY_OTHER },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[600];
        snprintf(text, sizeof text, "%s", cases[i].json);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        tarn_autojson json_t *json = json_loads(text, 0, NULL);
        assert_non_null(json);
        if (tarn_entry_kind(json) != cases[i].want)
            fail_msg("%s: want %d, got %d", text, cases[i].want, tarn_entry_kind(json));
    }
}

static void test_find_tarn(void **state)
{
    (void)state;
    tarn_autojson json_t *entries = json_pack(
        "[{s:s, s:s, s:s, s:{s:s}}, {s:s, s:s, s:s, s:{s:s}}]", "mediaType",
        TARN_MEDIA_OCI_MANIFEST, "digest", "plain", "artifactType", "a/b", "annotations",
        TARN_ANNOTATION_SUBJECT, "a", "mediaType", TARN_MEDIA_OCI_MANIFEST, "digest", "tarn",
        "artifactType", TARN_ARTIFACT_TYPE, "annotations", TARN_ANNOTATION_SUBJECT, "a");
    assert_non_null(entries);
    assert_string_equal(tarn_json_string(tarn_index_find_tarn(entries, "a"), "digest"), "tarn");
    assert_null(tarn_index_find_tarn(entries, "b"));
}

static void test_document(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *want;
    } cases[] = {
        { "{\"manifests\":[]}", 0, TARN_MEDIA_OCI_INDEX },
        { "{\"config\":{},\"layers\":[]}", 0, TARN_MEDIA_OCI_MANIFEST },
        { "{\"mediaType\":\"" TARN_MEDIA_DOCKER_LIST "\",\"manifests\":[]}", 0,
          TARN_MEDIA_DOCKER_LIST },
        { "{\"mediaType\":\"" TARN_MEDIA_DOCKER_MANIFEST "\",\"config\":{}}", 0,
          TARN_MEDIA_DOCKER_MANIFEST },
        { "{\"manifests\":[],\"config\":{}}", -EUCLEAN, NULL },
        { "{\"mediaType\":\"" TARN_MEDIA_OCI_INDEX "\",\"config\":{}}", -ENOTSUP, NULL },
        { "{\"mediaType\":\"a/b\",\"manifests\":[]}", -ENOTSUP, NULL },
        { "{\"fsLayers\":[]}", -ENOTSUP, NULL },
        { "{}", -EUCLEAN, NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autojson json_t *json = json_loads(cases[i].json, 0, NULL);
        const char *got = NULL;
        const int ret = tarn_document_media_type(json, "x", &got, NULL);
        if (ret != cases[i].code || (ret == 0 && strcmp(got, cases[i].want) != 0))
            fail_msg("%s: want %d %s, got %d %s", cases[i].json, cases[i].code,
                     cases[i].want ? cases[i].want : "", ret, got ? got : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_platform_parse), cmocka_unit_test(test_machine),
        cmocka_unit_test(test_choose),         cmocka_unit_test(test_kind),
        cmocka_unit_test(test_find_tarn),      cmocka_unit_test(test_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
