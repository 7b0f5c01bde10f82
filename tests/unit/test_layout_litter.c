// SPDX-License-Identifier: Apache-2.0
// What stays in a layout of what was put there and is not referred to.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
// cmocka.h wants the four above it
#include <cmocka.h>

#include "base/file.h"
#include "registry/layer_note.h"
#include "registry/oci.h"
#include "tests/support/repository_fixture.h"

static bool is_there(struct tarn_test_place *place, const json_t *descriptor)
{
    const char *digest = tarn_json_string(descriptor, "digest");
    assert_non_null(digest);
    tarn_autofree char *name = tarn_asprintf("layout/blobs/sha256/%s", digest + strlen("sha256:"));
    assert_non_null(name);
    return tarn_test_exists(tarn_test_place_path(place, name));
}

// The config and the layer of a manifest.
static bool parts_are_there(struct tarn_test_place *place, const json_t *descriptor)
{
    const char *digest = tarn_json_string(descriptor, "digest");
    tarn_autofree char *name = tarn_asprintf("layout/blobs/sha256/%s", digest + strlen("sha256:"));
    tarn_autofree char *text = tarn_test_read_file(tarn_test_place_path(place, name), NULL);
    tarn_autojson json_t *manifest = tarn_json_parse(text, strlen(text), "manifest", NULL);
    assert_non_null(manifest);
    return is_there(place, json_object_get(manifest, "config")) &&
           is_there(place, json_array_get(json_object_get(manifest, "layers"), 0));
}

static json_t *blob(struct tarn_test_place *place, const char *text)
{
    struct tarn_blob_id id;
    tarn_test_put_blob(place, text, &id);
    json_t *json = tarn_descriptor_json("application/octet-stream", &id.digest, id.size);
    assert_non_null(json);
    return json;
}

static void close_it(struct tarn_test_place *place)
{
    tarn_repository_close(tarn_steal(place->repository));
}

// Closes it while another writer lives, who may rely on what it found.
static void close_beside_another(struct tarn_test_place *place)
{
    const int other = open(tarn_test_place_path(place, "layout/blobs/sha256"),
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(other >= 0);
    assert_int_equal(flock(other, LOCK_SH), 0);
    close_it(place);
    close(other);
}

static void test_failed_run(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *old = tarn_test_put_image(place, "old");
    tarn_autojson json_t *orphan = blob(place, "unreferenced, but an earlier run's");
    assert_int_equal(tarn_test_publish(place, "old", old, NULL, NULL), 0);
    close_beside_another(place);
    assert_true(is_there(place, orphan));

    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *again = blob(place, "unreferenced, but an earlier run's");
    tarn_autojson json_t *lost = blob(place, "new");
    tarn_autojson json_t *image = tarn_test_put_image(place, "image without a tag");
    tarn_autojson json_t *notes = json_pack("[o]", tarn_test_put_tarn(place, old, "a layer"));
    json_t *note = json_array_get(notes, 0);
    json_object_set_new(json_object_get(note, "annotations"), TARN_ANNOTATION_KEY,
                        json_string("k"));
    assert_int_equal(tarn_test_publish(place, NULL, NULL, notes, NULL), 0);
    close_it(place);
    assert_true(is_there(place, old) && parts_are_there(place, old));
    assert_true(is_there(place, note) && parts_are_there(place, note));
    assert_true(is_there(place, again));
    assert_false(is_there(place, lost));
    assert_false(is_there(place, image));
}

// Another run that was only opened may have found that it need not bring a blob of this one's.
static void test_run_beside_another(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *lost = blob(place, "new");
    struct tarn_repository *first = tarn_steal(place->repository);
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_repository_close(first);
    assert_true(is_there(place, lost));
    // The layout stays one, although the first run's beginning failed.
    tarn_autojson json_t *image = tarn_test_put_image(place, "image");
    assert_int_equal(tarn_test_publish(place, "t", image, NULL, NULL), 0);
}

// What a run that succeeded does not refer to goes too: notes that its image made superfluous.
static void test_successful_run(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *image = tarn_test_put_image(place, "image");
    tarn_autojson json_t *lost = blob(place, "before the publication");
    assert_int_equal(tarn_test_publish(place, "t", image, NULL, NULL), 0);
    close_it(place);
    assert_true(is_there(place, image) && parts_are_there(place, image));
    assert_false(is_there(place, lost));
}

// A run that was killed just after it had published left its notes; the next one takes them away.
static void test_killed_run(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *image = tarn_test_put_image(place, "image");
    tarn_autojson json_t *layer = blob(place, "a layer");
    json_object_set_new(layer, "annotations", json_pack("{s:s}", TARN_ANNOTATION_KEY, "k"));
    tarn_autojson json_t *note = tarn_layer_note(layer);
    tarn_autojson json_t *entry = tarn_test_put_document(place, TARN_MEDIA_OCI_MANIFEST, note);
    tarn_autojson json_t *config = blob(place, "{}");
    tarn_autojson json_t *parts = json_pack("[O]", layer);
    tarn_autojson json_t *document = json_deep_copy(note);
    json_object_set(document, "layers", parts);
    json_object_set(document, "config", layer);
    tarn_autojson json_t *tarn = tarn_test_put_document(place, TARN_MEDIA_OCI_MANIFEST, document);
    json_object_set_new(
        tarn, "annotations",
        json_pack("{s:s}", TARN_ANNOTATION_SUBJECT, tarn_json_string(image, "digest")));
    tarn_autojson json_t *entries = json_pack("[O]", tarn);
    close_beside_another(place); // as if it had been killed
    for (int i = 0; i < 2; i++) {
        assert_int_equal(is_there(place, entry) && is_there(place, config), i == 0);
        tarn_test_place_open(place, "oci", "layout", true);
        assert_int_equal(tarn_test_publish(place, "t", image, entries, NULL), 0);
        close_it(place);
    }
    assert_true(is_there(place, tarn) && is_there(place, layer) && is_there(place, image));
    assert_false(is_there(place, entry) || is_there(place, config));
}

// An index below the tag refers to its images, and they to theirs; what it lists is a document, of any type.
static void test_index(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *one = tarn_test_put_image(place, "one");
    tarn_autojson json_t *odd = tarn_test_put_image(place, "odd");
    json_object_set_new(odd, "mediaType", json_string("application/x-odd"));
    tarn_autojson json_t *document =
        json_pack("{s:i, s:s, s:[O, O]}", "schemaVersion", 2, "mediaType", TARN_MEDIA_OCI_INDEX,
                  "manifests", one, odd);
    tarn_autojson json_t *index = tarn_test_put_document(place, TARN_MEDIA_OCI_INDEX, document);
    assert_int_equal(tarn_test_publish(place, "t", index, NULL, NULL), 0);
    tarn_autojson json_t *lost = blob(place, "lost");
    // All of it once more: it is there, so it is not new.
    tarn_autojson json_t *again = tarn_test_put_image(place, "one");
    assert_true(json_equal(again, one));
    close_it(place);
    assert_true(is_there(place, index) && is_there(place, one) && parts_are_there(place, one));
    assert_true(is_there(place, odd) && parts_are_there(place, odd));
    assert_false(is_there(place, lost));
}

static void test_other_writer(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *found = blob(place, "found");
    close_beside_another(place);
    assert_true(is_there(place, found));
}

// The first way only opened a layout that was there, and failed before it wrote anything.
static void test_second_way_alone(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *image = tarn_test_put_image(place, "image");
    assert_int_equal(tarn_test_publish(place, "t", image, NULL, NULL), 0);
    close_it(place);
    tarn_test_place_open(place, "oci", "layout", true);
    place->first_way = tarn_steal(place->repository);
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *lost = blob(place, "of the second way");
    close_it(place);
    place->repository = tarn_steal(place->first_way);
    close_it(place);
    assert_false(is_there(place, lost));
    assert_true(is_there(place, image) && parts_are_there(place, image));
}

// Two ways of one run: the second leaves what it put there to the first, whose flock is in its way.
static void test_second_way(void **state)
{
    struct tarn_test_place *place = *state;
    for (int published = 0; published < 2; published++) {
        tarn_test_place_open(place, "oci", "layout", true);
        tarn_autojson json_t *image = tarn_test_put_image(place, "image");
        place->first_way = tarn_steal(place->repository);
        tarn_test_place_open(place, "oci", "layout", true);
        tarn_autojson json_t *lost = blob(place, "of the second way");
        close_it(place);
        assert_true(is_there(place, lost));
        place->repository = tarn_steal(place->first_way);
        if (published)
            assert_int_equal(tarn_test_publish(place, "t", image, NULL, NULL), 0);
        close_it(place);
        assert_int_equal(tarn_test_exists(tarn_test_place_path(place, "layout")), published);
        assert_false(is_there(place, lost));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failed_run, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_run_beside_another, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_successful_run, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_killed_run, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_index, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_other_writer, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_second_way, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_second_way_alone, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
