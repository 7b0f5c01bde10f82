// SPDX-License-Identifier: Apache-2.0
// From a tag or a digest to images, in layouts.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/repository_fixture.h"

static json_t *child(struct tarn_test_place *place, const char *seed, const char *architecture)
{
    json_t *image = tarn_test_put_image(place, seed);
    json_object_set_new(image, "platform",
                        json_pack("{s:s, s:s}", "os", "linux", "architecture", architecture));
    return image;
}

static int resolve(struct tarn_test_place *place, const struct tarn_image_query *query,
                   struct tarn_image_list *list, struct tarn_err *err)
{
    return tarn_blocking_resolve(place->blocking, place->repository, query, list, err);
}

static void digest_is(const struct tarn_descriptor *got, const json_t *want)
{
    char text[TARN_DIGEST_TEXT] = "(none)";
    if (got->json)
        tarn_digest_format(&got->digest, text);
    assert_string_equal(text, want ? tarn_json_string(want, "digest") : "(none)");
}

// "multi": an index of amd64, an attestation and a nested index of arm64, which has Tarn's entry.
struct multi {
    json_t *amd64;
    json_t *arm64;
    json_t *index;
    json_t *entry;
};

static json_t *put_index(struct tarn_test_place *place, json_t *entries)
{
    tarn_autojson json_t *document = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
                                               TARN_MEDIA_OCI_INDEX, "manifests", entries);
    return tarn_test_put_document(place, TARN_MEDIA_OCI_INDEX, document);
}

static void multi_init(struct tarn_test_place *place, struct multi *multi)
{
    tarn_test_place_open(place, "oci", "layout", true);
    multi->amd64 = child(place, "amd", "amd64");
    multi->arm64 = child(place, "arm", "arm64");
    json_t *attestation = child(place, "att", "unknown");
    json_object_set_new(json_object_get(attestation, "platform"), "os", json_string("unknown"));
    json_t *nested = put_index(place, json_pack("[O]", multi->arm64));
    multi->index = put_index(place, json_pack("[O, o, o]", multi->amd64, attestation, nested));
    multi->entry = tarn_test_put_tarn(place, multi->arm64, "tarn");
    tarn_autojson json_t *tarn = json_pack("[O]", multi->entry);
    assert_int_equal(tarn_test_publish(place, "multi", multi->index, tarn, NULL), 0);
}

static void multi_release(struct multi *multi)
{
    json_decref(multi->amd64);
    json_decref(multi->arm64);
    json_decref(multi->index);
    json_decref(multi->entry);
}

static void both(struct tarn_test_place *place, const struct multi *multi,
                 const struct tarn_image_query *query)
{
    struct tarn_image_list list;
    struct tarn_err err;
    if (resolve(place, query, &list, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(list.count, 2);
    digest_is(&list.index, multi->index);
    digest_is(&list.images[0].original, multi->amd64);
    digest_is(&list.images[0].tarn, NULL);
    digest_is(&list.images[1].original, multi->arm64);
    digest_is(&list.images[1].tarn, multi->entry);
    tarn_image_list_release(&list);
}

static void test_resolve_index(void **state)
{
    struct tarn_test_place *place = *state;
    struct multi multi;
    struct tarn_image_list list;
    struct tarn_err err;
    const struct tarn_platform arm = { .os = "linux", .architecture = "arm64" };
    const struct tarn_platform s390 = { .os = "linux", .architecture = "s390x" };
    multi_init(place, &multi);
    struct tarn_image_query query = { .tag = "multi", .platform = &arm };
    if (resolve(place, &query, &list, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(list.count, 1);
    digest_is(&list.index, multi.index);
    digest_is(&list.images[0].original, multi.arm64);
    digest_is(&list.images[0].tarn, multi.entry);
    tarn_image_list_release(&list);

    query.platform = NULL;
    both(place, &multi, &query);

    query.platform = &s390;
    assert_int_equal(resolve(place, &query, &list, &err), -ENOENT);
    tarn_test_contains(err.text,
                       "layout:multi: no image for platform linux/s390x; there are: linux/amd64, "
                       "linux/arm64");
    multi_release(&multi);
}

// By the digest of the index, and of a manifest in it.
static void test_resolve_digest(void **state)
{
    struct tarn_test_place *place = *state;
    struct multi multi;
    struct tarn_image_list list;
    struct tarn_descriptor descriptor;
    struct tarn_err err;
    const struct tarn_platform s390 = { .os = "linux", .architecture = "s390x" };
    multi_init(place, &multi);
    assert_int_equal(tarn_descriptor_parse(multi.index, "", &descriptor, &err), 0);
    struct tarn_image_query query = { .digest = &descriptor.digest };
    both(place, &multi, &query);

    assert_int_equal(tarn_descriptor_parse(multi.arm64, "", &descriptor, &err), 0);
    query.platform = &s390; // a single manifest serves any platform
    assert_int_equal(resolve(place, &query, &list, &err), 0);
    digest_is(&list.index, NULL);
    digest_is(&list.images[0].original, multi.arm64);
    digest_is(&list.images[0].tarn, multi.entry);
    tarn_image_list_release(&list);

    tarn_sha256("none", 4, &descriptor.digest);
    assert_int_equal(resolve(place, &query, &list, &err), -ENOENT);
    tarn_test_contains(err.text, "copy the image again");
    multi_release(&multi);
}

// Tarn's manifest under a tag of its own.
static void test_resolve_replaced(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_image_list list;
    struct tarn_err err;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *image = tarn_test_put_image(place, "one");
    tarn_autojson json_t *full = tarn_test_put_tarn(place, image, "tarn");
    tarn_autojson json_t *bare = json_deep_copy(full);
    json_object_del(bare, "annotations");
    json_object_del(bare, "artifactType"); // as after a copy by another tool
    json_t *const forms[] = { full, bare };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tarn_test_publish(place, "plain", forms[i], NULL, &err), 0);
        const struct tarn_image_query query = { .tag = "plain" };
        if (resolve(place, &query, &list, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(list.count, 1);
        digest_is(&list.images[0].original, NULL);
        digest_is(&list.images[0].tarn, full);
        tarn_image_list_release(&list);
    }
}

static void test_resolve_deep(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_image_list list;
    struct tarn_err err;
    tarn_test_place_open(place, "oci", "layout", true);
    json_t *top = child(place, "amd", "amd64");
    for (int depth = 1; depth <= 6; depth++) {
        tarn_autojson json_t *document =
            json_pack("{s:i, s:s, s:[o]}", "schemaVersion", 2, "mediaType", TARN_MEDIA_DOCKER_LIST,
                      "manifests", top);
        top = tarn_test_put_document(place, TARN_MEDIA_DOCKER_LIST, document);
        assert_int_equal(tarn_test_publish(place, "deep", top, NULL, &err), 0);
        const struct tarn_image_query query = { .tag = "deep" };
        const int ret = resolve(place, &query, &list, &err);
        const int want = depth <= 4 ? 0 : -EUCLEAN;
        if (ret != want)
            fail_msg("depth %d: want %d, got %d %s", depth, want, ret, err.text);
        tarn_image_list_release(&list);
    }
    json_decref(top);
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, tarn_test_place_set_up, tarn_test_place_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_resolve_index),
        CASE(test_resolve_digest),
        CASE(test_resolve_replaced),
        CASE(test_resolve_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
