// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "registry/oci.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_descriptor(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *words;
    } cases[] = {
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\",\"size\":7}", 0, "" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\",\"size\":0}", 0, "" },
        { "[]", -EUCLEAN, "not an object" },
        { "{\"digest\":\"sha256:" HEX "\",\"size\":7}", -EUCLEAN, "no mediaType" },
        { "{\"mediaType\":1,\"digest\":\"sha256:" HEX "\",\"size\":7}", -EUCLEAN, "no mediaType" },
        { "{\"mediaType\":\"a/b\",\"size\":7}", -EUCLEAN, "no digest" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:12\",\"size\":7}", -EUCLEAN,
          "64 lower-case" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha512:" HEX HEX "\",\"size\":7}", -ENOTSUP,
          "only sha256" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\"}", -EUCLEAN, "no valid size" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\",\"size\":-1}", -EUCLEAN,
          "no valid size" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\",\"size\":\"7\"}", -EUCLEAN,
          "no valid size" },
        { "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\",\"size\":1.5}", -EUCLEAN,
          "no valid size" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autojson json_t *json = json_loads(cases[i].json, 0, NULL);
        struct tarn_descriptor got;
        struct tarn_err err = { 0 };
        const int ret = tarn_descriptor_parse(json, "here", &got, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].words))
            fail_msg("%s: want %d '%s', got %d '%s'", cases[i].json, cases[i].code, cases[i].words,
                     ret, err.text);
        if (ret == 0)
            assert_string_equal(got.media_type, "a/b");
    }
}

static void test_round_trip(void **state)
{
    struct tarn_digest digest;
    struct tarn_descriptor got;
    (void)state;
    tarn_sha256("abc", 3, &digest);
    tarn_autojson json_t *json = tarn_descriptor_json("a/b", &digest, 3);
    tarn_autofree char *text = tarn_json_dump(json);
    assert_string_equal(text, "{\"digest\":\"sha256:"
                              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\","
                              "\"mediaType\":\"a/b\",\"size\":3}");
    assert_int_equal(tarn_descriptor_parse(json, "", &got, NULL), 0);
    assert_true(tarn_digest_equal(&got.digest, &digest));
    assert_int_equal(got.size, 3);
    assert_null(tarn_oci_annotation(json, "k"));
    json_object_set_new(json, "annotations", json_pack("{s:s}", "k", "v"));
    assert_string_equal(tarn_oci_annotation(json, "k"), "v");
}

static void test_layer_kind(void **state)
{
    static const struct {
        const char *type;
        int code;
        enum tarn_layer_kind kind;
        const char *words;
    } cases[] = {
        { TARN_MEDIA_OCI_LAYER_TAR, 0, TARN_LAYER_TAR, "" },
        { TARN_MEDIA_OCI_LAYER_GZIP, 0, TARN_LAYER_TAR, "" },
        { TARN_MEDIA_OCI_LAYER_ZSTD, 0, TARN_LAYER_TAR, "" },
        { "application/vnd.docker.image.rootfs.diff.tar.gzip", 0, TARN_LAYER_TAR, "" },
        { "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", 0, TARN_LAYER_TAR, "" },
        { TARN_MEDIA_TARN_BLOB, 0, TARN_LAYER_TARN_BLOB, "" },
        { "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", -ENOTSUP, 0, "encrypted" },
        { "application/x-thing", -ENOTSUP, 0, "'application/x-thing'" },
        { NULL, -EUCLEAN, 0, "no media type" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum tarn_layer_kind kind = TARN_LAYER_TAR;
        struct tarn_err err = { 0 };
        const int ret = tarn_layer_kind(cases[i].type, &kind, &err);
        if (ret != cases[i].code || (ret == 0 && kind != cases[i].kind) ||
            !strstr(err.text, cases[i].words))
            fail_msg("%s: want %d %d '%s', got %d %d '%s'", cases[i].type ? cases[i].type : "NULL",
                     cases[i].code, cases[i].kind, cases[i].words, ret, kind, err.text);
    }
}

static void test_media(void **state)
{
    (void)state;
    assert_true(tarn_media_is_manifest(TARN_MEDIA_OCI_MANIFEST));
    assert_true(tarn_media_is_manifest(TARN_MEDIA_DOCKER_MANIFEST));
    assert_false(tarn_media_is_manifest(TARN_MEDIA_OCI_INDEX));
    assert_false(tarn_media_is_manifest(NULL));
    assert_true(tarn_media_is_index(TARN_MEDIA_OCI_INDEX));
    assert_true(tarn_media_is_index(TARN_MEDIA_DOCKER_LIST));
    assert_false(tarn_media_is_index(TARN_MEDIA_OCI_MANIFEST));
    assert_false(tarn_media_is_index(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layer_kind),
        cmocka_unit_test(test_media),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
