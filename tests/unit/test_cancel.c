// SPDX-License-Identifier: Apache-2.0
// What a conversion does that takes long ends when it is asked to, and leaves nothing.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka.h wants the four above it
#include <cmocka.h>

#include "converter/blob_copy.h"
#include "converter/layer_reader.h"
#include "registry/oci.h"
#include "tests/support/repository_fixture.h"

static int set_up(void **state)
{
    struct tarn_test_place *places = calloc(2, sizeof *places);
    if (!places)
        return -1;
    tarn_test_place_init(&places[0]);
    tarn_test_place_init(&places[1]);
    *state = places;
    return 0;
}

static int tear_down(void **state)
{
    struct tarn_test_place *places = *state;
    tarn_test_place_close(&places[0]);
    tarn_test_place_close(&places[1]);
    free(places);
    return 0;
}

static void test_directory(void **state)
{
    struct tarn_test_place *place = *state;
    const sig_atomic_t asked[] = { 0, 1 };
    tarn_test_write_file(tarn_test_place_path(place, "file"), "bytes", 5);
    const struct tarn_layer_source source = { .kind = TARN_LAYER_SOURCE_DIRECTORY,
                                              .path = place->directory };
    for (int i = 0; i < 2; i++) {
        const struct tarn_layer_read_options options = { .cancel = &asked[i] };
        struct tarn_layer_input input;
        struct tarn_err err = { 0 };
        assert_int_equal(tarn_layer_read(&source, &options, &input, &err), i == 0 ? 0 : -EINTR);
        assert_true(i == 0 || strstr(err.text, "interrupted"));
        tarn_layer_input_release(&input);
    }
}

static void ask(void *context, uint64_t bytes)
{
    sig_atomic_t *asked = context;
    (void)bytes;
    *asked = 1;
}

// Not only between the pieces of an archive: one may unfold to gigabytes.
static void test_archive(void **state)
{
    struct tarn_test_place *place = *state;
    static const char end[1024];
    const char *path = tarn_test_place_path(place, "tar");
    tarn_test_write_file(path, end, sizeof end);
    const struct tarn_layer_source source = { .kind = TARN_LAYER_SOURCE_FILE, .path = path };
    sig_atomic_t asked = 0;
    const struct tarn_layer_read_options options = { .cancel = &asked,
                                                     .progress = ask,
                                                     .progress_context = &asked };
    struct tarn_layer_input input;
    struct tarn_err err = { 0 };
    assert_int_equal(tarn_layer_read(&source, &options, &input, &err), -EINTR);
    assert_string_equal(err.text, "interrupted");
}

static void test_copy(void **state)
{
    struct tarn_test_place *places = *state;
    const sig_atomic_t asked[] = { 1, 0 };
    tarn_test_place_open(&places[0], "oci", "layout", true);
    tarn_test_place_open(&places[1], "oci", "layout", true);
    tarn_autojson json_t *image = tarn_test_put_image(&places[0], "image");
    struct tarn_descriptor descriptor;
    assert_int_equal(tarn_descriptor_parse(image, "image", &descriptor, NULL), 0);
    for (int i = 0; i < 2; i++) {
        const struct tarn_copy copy = { .from_blocking = places[0].blocking,
                                        .from = places[0].repository,
                                        .to_blocking = places[1].blocking,
                                        .to = places[1].repository,
                                        .cancel = &asked[i] };
        tarn_autobuf struct tarn_buf bytes = { 0 };
        struct tarn_err err = { 0 };
        assert_int_equal(tarn_copy_image(&copy, &descriptor, &bytes, &err), i == 0 ? -EINTR : 0);
        assert_true(i == 1 || strcmp(err.text, "interrupted") == 0);
        const char *digest = tarn_json_string(image, "digest") + strlen("sha256:");
        char name[128];
        snprintf(name, sizeof name, "layout/blobs/sha256/%s", digest);
        assert_int_equal(tarn_test_exists(tarn_test_place_path(&places[1], name)), i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_archive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
