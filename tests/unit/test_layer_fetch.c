// SPDX-License-Identifier: Apache-2.0
// The downloads of layers, from a layout: what counts here is the files and the threads, not the line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "base/file.h"
#include "converter/layer_fetch.h"
#include "tests/support/repository_fixture.h"

enum { LAYERS = 8, SIZE = 600000 };

struct fixture {
    struct tarn_test_place place;
    struct tarn_reference reference;
    struct tarn_blob_id blobs[LAYERS];
};

// Layer i's bytes: SIZE + i letters.
static char *text_of(unsigned i)
{
    char *text = malloc(SIZE + LAYERS + 1);
    assert_non_null(text);
    for (unsigned k = 0; k < SIZE + i; k++)
        text[k] = (char)('a' + (k / 7 + i * k) % 26);
    text[SIZE + i] = '\0';
    return text;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    tarn_test_place_init(&fixture->place);
    tarn_test_place_open(&fixture->place, "oci", "layout", true);
    for (unsigned i = 0; i < LAYERS; i++) {
        tarn_autofree char *text = text_of(i);
        tarn_test_put_blob(&fixture->place, text, &fixture->blobs[i]);
    }
    // A layout that nothing was published in goes away with its repository, which stays open here.
    tarn_autofree char *name = tarn_asprintf("oci:%s/layout", fixture->place.directory);
    assert_int_equal(tarn_reference_parse(name, &fixture->reference, NULL), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    tarn_reference_release(&fixture->reference);
    tarn_test_place_close(&fixture->place);
    free(fixture);
    return 0;
}

static struct tarn_layer_fetch *new_fetch(const struct fixture *fixture, bool keep)
{
    const struct tarn_layer_fetch_options options = {
        .source = &fixture->reference,
        .layers = fixture->blobs,
        .layer_count = LAYERS,
        .keep = keep,
    };
    struct tarn_layer_fetch *fetch = tarn_layer_fetch_new(&options);
    assert_non_null(fetch);
    return fetch;
}

static int append(void *context, const void *bytes, size_t length)
{
    return tarn_buf_append(context, bytes, length);
}

static int read_layer(struct tarn_layer_fetch *fetch, unsigned i, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf buf = { 0 };
    const int ret = tarn_layer_fetch_read(fetch, i, append, &buf, err);
    if (ret < 0)
        return ret;
    tarn_autofree char *want = text_of(i);
    assert_int_equal(buf.length, SIZE + i);
    assert_memory_equal(buf.data, want, buf.length);
    return 0;
}

static void test_all(void **state)
{
    const struct fixture *fixture = *state;
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(fixture, true);
    for (unsigned i = 0; i < LAYERS; i++)
        assert_int_equal(read_layer(fetch, i, NULL), 0);
    tarn_layer_fetch_stop(fetch);
    for (unsigned i = 0; i < LAYERS; i++) {
        const int fd = tarn_layer_fetch_file(fetch, &fixture->blobs[i].digest);
        tarn_autofree char *want = text_of(i);
        tarn_autofree char *got = calloc(1, SIZE + LAYERS + 1);
        assert_true(fd >= 0);
        assert_int_equal(tarn_pread_full(fd, got, SIZE + i, 0), 0);
        assert_string_equal(got, want);
    }
    const struct tarn_digest other = { { 1 } };
    assert_int_equal(tarn_layer_fetch_file(fetch, &other), -1);
    tarn_layer_fetch_drop(fetch, 1);
    tarn_layer_fetch_drop(fetch, 1);
    for (unsigned i = 0; i < LAYERS; i++)
        assert_int_equal(tarn_layer_fetch_file(fetch, &fixture->blobs[i].digest) >= 0, i != 1);
}

// A size of 0 is a size, too.
static void test_larger_than_stated(void **state)
{
    struct fixture lying = *(const struct fixture *)*state;
    for (unsigned i = 0; i < LAYERS; i++)
        lying.blobs[i].size = 0;
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(&lying, false);
    struct tarn_err err = { 0 };
    assert_int_equal(read_layer(fetch, 0, &err), -EIO);
    assert_non_null(strstr(err.text, "more than 0 bytes"));
}

// The lower layers are not read: they were found converted.
static void test_upper(void **state)
{
    const struct fixture *fixture = *state;
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(fixture, true);
    for (unsigned i = LAYERS - 2; i < LAYERS; i++)
        assert_int_equal(read_layer(fetch, i, NULL), 0);
    tarn_layer_fetch_stop(fetch);
    for (unsigned i = 0; i < LAYERS; i++)
        assert_int_equal(tarn_layer_fetch_file(fetch, &fixture->blobs[i].digest) >= 0,
                         i >= LAYERS - 2);
}

static void test_not_kept(void **state)
{
    const struct fixture *fixture = *state;
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch =
        new_fetch(fixture, false);
    for (unsigned i = 0; i < LAYERS; i++)
        assert_int_equal(read_layer(fetch, i, NULL), 0);
    assert_int_equal(tarn_layer_fetch_file(fetch, &fixture->blobs[0].digest), -1);
}

// What is not there is told by the layer that lacks it, not by those before it.
static void test_missing(void **state)
{
    struct fixture *fixture = *state;
    struct tarn_err err = { 0 };
    fixture->blobs[2].digest.bytes[0] ^= 1;
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(fixture, true);
    assert_int_equal(read_layer(fetch, 0, &err), 0);
    assert_int_equal(read_layer(fetch, 1, &err), 0);
    assert_int_equal(read_layer(fetch, 2, &err), -ENOENT);
    assert_non_null(strstr(err.text, "layout"));
    assert_int_equal(tarn_layer_fetch_file(fetch, &fixture->blobs[2].digest), -1);
}

// A blob whose bytes are others: they are handed out, and then refused.
static void test_damaged(void **state)
{
    struct fixture *fixture = *state;
    struct tarn_err err = { 0 };
    char digest[TARN_DIGEST_HEX + 1];
    tarn_autofree char *name = tarn_asprintf(
        "layout/blobs/sha256/%s", tarn_digest_format_hex(&fixture->blobs[1].digest, digest));
    tarn_autofree char *text = text_of(1);
    text[77] ^= 1;
    tarn_test_write_file(tarn_test_place_path(&fixture->place, name), text, SIZE + 1);
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(fixture, true);
    assert_int_equal(read_layer(fetch, 0, &err), 0);
    tarn_autobuf struct tarn_buf buf = { 0 };
    assert_int_equal(tarn_layer_fetch_read(fetch, 1, append, &buf, &err), -EIO);
    assert_non_null(strstr(err.text, digest));
    assert_int_equal(tarn_layer_fetch_file(fetch, &fixture->blobs[1].digest), -1);
}

static int refuse(void *context, const void *bytes, size_t length)
{
    (void)context;
    (void)bytes;
    (void)length;
    return -EUCLEAN;
}

// The reader has had enough: the downloads end with it.
static void test_given_up(void **state)
{
    const struct fixture *fixture = *state;
    struct tarn_err err = { .text = "untouched" };
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(fixture, true);
    assert_int_equal(tarn_layer_fetch_read(fetch, 0, refuse, NULL, &err), -EUCLEAN);
    assert_string_equal(err.text, "untouched");
}

static void test_no_source(void **state)
{
    struct fixture *fixture = *state;
    struct tarn_err err = { 0 };
    tarn_reference_release(&fixture->reference);
    assert_int_equal(tarn_reference_parse("oci:/nowhere/at/all", &fixture->reference, NULL), 0);
    tarn_cleanup(tarn_layer_fetch_free_p) struct tarn_layer_fetch *fetch = new_fetch(fixture, true);
    assert_int_equal(read_layer(fetch, 0, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_upper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_source, setup, teardown),
        cmocka_unit_test_setup_teardown(test_larger_than_stated, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
