// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "tests/support/repository_fixture.h"

#define SHA_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define LAYOUT_FILE "{\"imageLayoutVersion\":\"1.0.0\"}"

static void mode_is(const char *path, mode_t want)
{
    struct stat st;
    if (stat(path, &st) < 0)
        fail_msg("%s is not there", path);
    if ((st.st_mode & 07777) != want)
        fail_msg("%s: want mode %o, got %o", path, want, st.st_mode & 07777);
}

static void test_new_layout(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_blob_id blob;
    const mode_t before = umask(022);
    tarn_test_place_open(place, "oci", "new/layout", true);
    assert_false(tarn_test_exists(tarn_test_place_path(place, "new")));
    tarn_test_put_blob(place, "abc", &blob);
    tarn_autofree char *marker =
        tarn_test_read_file(tarn_test_place_path(place, "new/layout/oci-layout"), NULL);
    tarn_autofree char *index =
        tarn_test_read_file(tarn_test_place_path(place, "new/layout/index.json"), NULL);
    tarn_autofree char *bytes =
        tarn_test_read_file(tarn_test_place_path(place, "new/layout/blobs/sha256/" SHA_ABC), NULL);
    assert_string_equal(marker, LAYOUT_FILE);
    assert_string_equal(index, "{\"manifests\":[],\"mediaType\":\"" TARN_MEDIA_OCI_INDEX
                               "\",\"schemaVersion\":2}");
    assert_string_equal(bytes, "abc");
    mode_is(tarn_test_place_path(place, "new/layout"), 0755);
    mode_is(tarn_test_place_path(place, "new/layout/blobs/sha256"), 0755);
    mode_is(tarn_test_place_path(place, "new/layout/index.json"), 0644);
    mode_is(tarn_test_place_path(place, "new/layout/blobs/sha256/" SHA_ABC), 0644);
    tarn_repository_close(tarn_steal(place->repository));
    assert_false(tarn_test_exists(tarn_test_place_path(place, "new/layout"))); // nothing published
    umask(before);
}

// A layout that nothing was put into goes away again, but for a directory that was there before.
static void test_unused_layout(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_upload *upload;
    struct tarn_err err;
    assert_int_equal(mkdir(tarn_test_place_path(place, "there"), 0755), 0);
    static const char *const names[] = { "there", "new" };
    for (int i = 0; i < 2; i++) {
        tarn_test_place_open(place, "oci", names[i], true);
        assert_int_equal(tarn_repository_upload(place->repository, &upload, &err), 0);
        assert_int_equal(tarn_blocking_write(place->blocking, upload, "abc", 3, &err), 0);
        assert_true(tarn_test_exists(
            tarn_test_place_path(place, i ? "new/oci-layout" : "there/oci-layout")));
        tarn_upload_abort(upload);
        tarn_repository_close(tarn_steal(place->repository));
        // The abort is under way still; freeing the loop waits for it.
        tarn_blocking_free(place->blocking);
        place->blocking = tarn_blocking_new(NULL);
        assert_false(tarn_test_exists(tarn_test_place_path(place, i ? "new" : "there/oci-layout")));
    }
    assert_true(tarn_test_exists(tarn_test_place_path(place, "there")));
    assert_int_equal(rmdir(tarn_test_place_path(place, "there")), 0); // and is empty
}

static void test_refused(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_err err;
    assert_int_equal(tarn_test_place_refused(place, "oci", "none", false, &err), -ENOENT);
    tarn_test_contains(err.text, "/none: no such directory");

    assert_int_equal(mkdir(tarn_test_place_path(place, "full"), 0755), 0);
    assert_int_equal(tarn_test_place_refused(place, "oci", "full", false, &err), -EINVAL);
    tarn_test_contains(err.text, "no file 'oci-layout'");
    tarn_test_write_file(tarn_test_place_path(place, "full/letter"), "x", 1);
    assert_int_equal(tarn_test_place_refused(place, "oci", "full", true, &err), -ENOTEMPTY);
    tarn_test_contains(err.text, "it holds 'letter'");

    assert_int_equal(tarn_test_place_refused(place, "oci", "full/letter", false, &err), -ENOTDIR);
    tarn_test_contains(err.text, "full/letter");

    tarn_test_write_file(tarn_test_place_path(place, "full/oci-layout"), "{}", 2);
    assert_int_equal(tarn_test_place_refused(place, "oci", "full", false, &err), -ENOTSUP);
    tarn_test_contains(err.text, "imageLayoutVersion");
    tarn_test_write_file(tarn_test_place_path(place, "full/oci-layout"), "x", 1);
    assert_int_equal(tarn_test_place_refused(place, "oci", "full", false, &err), -EUCLEAN);
    tarn_test_contains(err.text, "oci-layout");

    assert_int_equal(tarn_test_place_refused(place, "tar", "x", false, &err), -EINVAL);
    tarn_test_contains(err.text, "holds no images");
}

// --- reading ------------------------------------------------------------------------------------------

enum { BIG = 3 * 256 * 1024 + 777 };

static char *pattern(size_t length)
{
    char *bytes = malloc(length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    return bytes;
}

static struct tarn_blob_id put_big(struct tarn_test_place *place)
{
    struct tarn_blob_id blob;
    struct tarn_err err;
    struct tarn_buf buf = { .data = (uint8_t *)pattern(BIG), .length = BIG, .capacity = BIG };
    if (tarn_blocking_put_blob(place->blocking, place->repository, &buf, &blob, &err) < 0)
        fail_msg("%s", err.text);
    tarn_buf_release(&buf);
    return blob;
}

static void test_ranges(void **state)
{
    static const struct {
        uint64_t offset;
        uint64_t length;
        int code;
    } cases[] = {
        { 0, UINT64_MAX, 0 },
        { 0, BIG, 0 },
        { 0, 0, 0 },
        { 0, 1, 0 },
        { 1, BIG - 1, 0 },
        { BIG - 1, 1, 0 },
        { BIG, 0, 0 },
        { BIG, UINT64_MAX, 0 },
        { 1000, UINT64_MAX, 0 },
        { 262143, 262146, 0 },
        { BIG, 1, -EUCLEAN },
        { 0, BIG + 1, -EUCLEAN },
        { BIG + 1, 0, -EUCLEAN },
        { BIG + 1, UINT64_MAX, -EUCLEAN },
        { UINT64_MAX, 5, -EUCLEAN },
        { 5, UINT64_MAX - 1, -EUCLEAN },
    };
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci", "layout", true);
    const struct tarn_blob_id blob = put_big(place);
    tarn_autofree char *bytes = pattern(BIG);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tarn_read read = {
            .kind = TARN_READ_BLOB,
            .digest = blob.digest,
            .size = BIG,
            .offset = cases[i].offset,
            .length = cases[i].length,
        };
        struct tarn_err err = { 0 };
        tarn_autobuf struct tarn_buf buf = { 0 };
        const int ret =
            tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err);
        if (ret != cases[i].code)
            fail_msg("case %zu: want %d, got %d %s", i, cases[i].code, ret, err.text);
        if (ret < 0) {
            tarn_test_contains(err.text, "past its end, it has 787209 bytes");
            continue;
        }
        const uint64_t want =
            cases[i].length == UINT64_MAX ? BIG - cases[i].offset : cases[i].length;
        if (buf.length != want || (want && memcmp(buf.data, bytes + cases[i].offset, want) != 0))
            fail_msg("case %zu: want %llu right bytes, got %zu", i, (unsigned long long)want,
                     buf.length);
    }
}

// Damages the blob's file and reads it whole and in part.
static void test_damaged(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_err err = { 0 };
    char name[128] = "layout/blobs/sha256/";
    tarn_autobuf struct tarn_buf buf = { 0 };
    tarn_test_place_open(place, "oci", "layout", true);
    const struct tarn_blob_id blob = put_big(place);
    tarn_digest_format_hex(&blob.digest, name + strlen(name));
    tarn_autofree char *bytes = tarn_test_read_file(tarn_test_place_path(place, name), NULL);
    bytes[BIG - 5] ^= 1;
    tarn_test_write_file(tarn_test_place_path(place, name), bytes, BIG);

    struct tarn_read read = {
        .kind = TARN_READ_BLOB, .digest = blob.digest, .size = BIG, .length = UINT64_MAX
    };
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     -EIO);
    tarn_test_contains(err.text, "content has digest sha256:");
    tarn_test_contains(err.text, "the file is damaged; copy the image again");
    tarn_test_contains(err.text, place->directory);
    assert_int_equal(buf.length, 0);
    read.length = BIG - 1;
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     0);
    read.kind = TARN_READ_MANIFEST;
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     -EIO);
    tarn_test_contains(err.text, "manifest sha256:");

    tarn_test_write_file(tarn_test_place_path(place, name), bytes, BIG - 1);
    read.kind = TARN_READ_BLOB;
    read.length = UINT64_MAX;
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     -EIO);
    tarn_test_contains(err.text, "it has 787208 bytes and not 787209");

    assert_int_equal(unlink(tarn_test_place_path(place, name)), 0);
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     -ENOENT);
    tarn_test_contains(err.text, "copy the image again");
    assert_int_equal(tarn_blocking_has_blob(place->blocking, place->repository, &blob, &err),
                     -ENOENT);
}

static void test_empty_blob(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_blob_id blob;
    struct tarn_err err;
    tarn_autobuf struct tarn_buf buf = { 0 };
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_test_put_blob(place, "", &blob);
    const struct tarn_read read = { .kind = TARN_READ_BLOB,
                                    .digest = blob.digest,
                                    .length = UINT64_MAX };
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     0);
    assert_int_equal(buf.length, 0);
    assert_int_equal(tarn_blocking_has_blob(place->blocking, place->repository, &blob, &err), 0);
}

// --- callbacks ----------------------------------------------------------------------------------------

struct watch {
    struct tarn_transfer *transfer;
    size_t pieces;
    size_t largest;
    size_t cancel_at; // the piece to cancel within; 0: never
    int give_up;      // what data() returns
    unsigned done;
    int status;
};

static int watch_data(void *context, const void *bytes, size_t length)
{
    struct watch *watch = context;
    (void)bytes;
    watch->pieces++;
    if (length > watch->largest)
        watch->largest = length;
    if (watch->pieces == watch->cancel_at)
        tarn_transfer_cancel(watch->transfer);
    return watch->give_up;
}

static void watch_done(void *context, int status, const struct tarn_err *err)
{
    struct watch *watch = context;
    (void)err;
    watch->done++;
    watch->status = status;
}

static void start(struct tarn_test_place *place, const struct tarn_blob_id *blob,
                  struct watch *watch)
{
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = blob->digest,
        .length = UINT64_MAX,
        .context = watch,
        .data = watch_data,
        .done = watch_done,
    };
    assert_int_equal(tarn_repository_read(place->repository, &read, &watch->transfer, NULL), 0);
    assert_int_equal(watch->pieces + watch->done, 0); // nothing before the call has returned
}

static void test_callbacks(void **state)
{
    struct tarn_test_place *place = *state;
    uv_loop_t loop;
    struct tarn_reference reference;
    tarn_test_place_open(place, "oci", "layout", true);
    const struct tarn_blob_id blob = put_big(place);
    struct tarn_repository *writer = tarn_steal(place->repository);
    tarn_autofree char *text = tarn_asprintf("oci:%s/layout", place->directory);
    assert_int_equal(tarn_reference_parse(text, &reference, NULL), 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(tarn_repository_open(&reference, &loop, NULL, &place->repository, NULL), 0);
    tarn_reference_release(&reference);

    struct watch whole = { 0 };
    struct watch given_up = { .give_up = -EPIPE };
    struct watch inside = { .cancel_at = 2 };
    struct watch at_once = { 0 };
    start(place, &blob, &whole);
    start(place, &blob, &given_up);
    start(place, &blob, &inside);
    start(place, &blob, &at_once);
    tarn_transfer_cancel(at_once.transfer);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(whole.pieces, 4);
    assert_int_equal(whole.largest, 256 * 1024);
    assert_int_equal(whole.done, 1);
    assert_int_equal(whole.status, 0);
    assert_int_equal(given_up.pieces, 1);
    assert_int_equal(given_up.done, 1);
    assert_int_equal(given_up.status, -EPIPE);
    assert_int_equal(inside.pieces, 2);
    assert_int_equal(inside.done, 0);
    assert_int_equal(at_once.pieces + at_once.done, 0);

    // Cancelled at every moment of the loop's life, and closed while work is under way.
    for (int turns = 0; turns < 8; turns++) {
        struct watch watch = { 0 };
        start(place, &blob, &watch);
        for (int i = 0; i < turns && watch.done == 0; i++)
            uv_run(&loop, UV_RUN_ONCE);
        if (watch.done)
            break;
        tarn_transfer_cancel(watch.transfer);
    }
    tarn_repository_close(tarn_steal(place->repository));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    tarn_repository_close(writer);
}

// --- uploads ------------------------------------------------------------------------------------------

static void test_upload_mismatch(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_upload *upload;
    struct tarn_err err;
    struct tarn_blob_id blob = { .size = 3 };
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_sha256("abc", 3, &blob.digest);
    assert_int_equal(tarn_repository_upload(place->repository, &upload, &err), 0);
    assert_int_equal(tarn_blocking_write(place->blocking, upload, "abd", 3, &err), 0);
    assert_int_equal(tarn_blocking_commit(place->blocking, upload, &blob, &err), -EIO);
    tarn_test_contains(err.text, "were written as blob sha256:" SHA_ABC);
    assert_int_equal(tarn_blocking_has_blob(place->blocking, place->repository, &blob, &err),
                     -ENOENT);
    assert_false(tarn_test_exists(tarn_test_place_path(place, "layout/blobs/sha256/" SHA_ABC)));
}

static void test_upload_vouched(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_upload *upload;
    struct tarn_err err;
    struct tarn_blob_id blob = { .size = 3 };
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_sha256("abc", 3, &blob.digest);
    assert_int_equal(tarn_repository_upload(place->repository, &upload, &err), 0);
    tarn_upload_vouch(upload);
    assert_int_equal(tarn_blocking_write(place->blocking, upload, "ab", 2, &err), 0);
    assert_int_equal(tarn_blocking_commit(place->blocking, upload, &blob, &err), -EIO);
    tarn_test_contains(err.text, "2 bytes");
    assert_int_equal(tarn_repository_upload(place->repository, &upload, &err), 0);
    tarn_upload_vouch(upload);
    assert_int_equal(tarn_blocking_write(place->blocking, upload, "abd", 3, &err), 0);
    assert_int_equal(tarn_blocking_commit(place->blocking, upload, &blob, &err), 0);
}

static void upload_abc(struct tarn_test_place *place)
{
    struct tarn_upload *upload;
    struct tarn_err err;
    struct tarn_blob_id blob = { .size = 3 };
    tarn_sha256("abc", 3, &blob.digest);
    assert_int_equal(tarn_repository_upload(place->repository, &upload, &err), 0);
    assert_int_equal(tarn_blocking_write(place->blocking, upload, "a", 1, &err), 0);
    assert_int_equal(tarn_blocking_write(place->blocking, upload, "", 0, &err), 0);
    assert_int_equal(tarn_blocking_write(place->blocking, upload, "bc", 2, &err), 0);
    if (tarn_blocking_commit(place->blocking, upload, &blob, &err) < 0)
        fail_msg("%s", err.text);
}

// What stands there already is replaced, also with the right size: it may be damaged.
static void test_upload_again(void **state)
{
    struct tarn_test_place *place = *state;
    static const char *const damaged[] = { "abd", "ab", "" };
    tarn_test_place_open(place, "oci", "layout", true);
    upload_abc(place);
    const char *path = tarn_test_place_path(place, "layout/blobs/sha256/" SHA_ABC);
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        tarn_test_write_file(path, damaged[i], strlen(damaged[i]));
        upload_abc(place);
        tarn_autofree char *bytes = tarn_test_read_file(path, NULL);
        assert_string_equal(bytes, "abc");
    }
}

// A full disk is told by name and leaves nothing. RLIMIT_FSIZE would send a signal; a tmpfs needs root.
static void test_disk_full(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_upload *upload;
    struct tarn_err err = { 0 };
    tarn_autofree char *command =
        tarn_asprintf("mkdir %s/small && mount -t tmpfs -o size=512k tmpfs %s/small 2>/dev/null",
                      place->directory, place->directory);
    if (system(command) != 0)
        skip();
    tarn_test_place_open(place, "oci", "small/layout", true);
    tarn_autofree char *bytes = pattern(BIG);
    assert_int_equal(tarn_repository_upload(place->repository, &upload, &err), 0);
    const int ret = tarn_blocking_write(place->blocking, upload, bytes, BIG, &err);
    const int again = tarn_blocking_write(place->blocking, upload, bytes, 1, NULL);
    tarn_upload_abort(upload);
    tarn_repository_close(tarn_steal(place->repository));
    tarn_blocking_free(place->blocking);
    place->blocking = tarn_blocking_new(NULL);
    const bool exists = tarn_test_exists(tarn_test_place_path(place, "small/layout"));
    tarn_autofree char *undo = tarn_asprintf("umount %s/small", place->directory);
    assert_int_equal(system(undo), 0);
    assert_int_equal(ret, -ENOSPC);
    assert_int_equal(again, -ENOSPC);
    tarn_test_contains(err.text, "small/layout: cannot write a blob: No space left on device");
    assert_false(exists);
}

// --- publishing -----------------------------------------------------------------------------------

static void index_is(struct tarn_test_place *place, const char *want)
{
    tarn_autofree char *text =
        tarn_test_read_file(tarn_test_place_path(place, "layout/index.json"), NULL);
    if (strcmp(text, want) != 0)
        fail_msg("index.json:\nwant %s\ngot  %s", want, text);
}

static void test_publish_bytes(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_err err;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *original = tarn_test_put_image(place, "one");
    json_object_set_new(original, "annotations", json_pack("{s:s}", "kept", "yes"));
    json_object_set_new(original, "x", json_integer(7));
    tarn_autojson json_t *tarn = json_pack("[o]", tarn_test_put_tarn(place, original, "t1"));
    if (tarn_test_publish(place, "v 1/ä@+", original, tarn, &err) < 0)
        fail_msg("%s", err.text);
    const char *own = tarn_json_string(original, "digest");
    const char *entry = tarn_json_string(json_array_get(tarn, 0), "digest");
    tarn_autofree char *want = tarn_asprintf(
        "{\"manifests\":[{\"annotations\":{\"kept\":\"yes\",\"" TARN_ANNOTATION_REF_NAME
        "\":\"v 1/ä@+\"},\"digest\":\"%s\",\"mediaType\":\"" TARN_MEDIA_OCI_MANIFEST
        "\",\"size\":%d,\"x\":7},{\"annotations\":{\"dev.tarn.platform\":\"linux/amd64\","
        "\"dev.tarn.subject\":\"%s\"},\"artifactType\":\"" TARN_ARTIFACT_TYPE
        "\",\"digest\":\"%s\",\"mediaType\":\"" TARN_MEDIA_OCI_MANIFEST
        "\",\"platform\":{\"architecture\":\"unknown\",\"os\":\"unknown\"},\"size\":%d}],"
        "\"mediaType\":\"" TARN_MEDIA_OCI_INDEX "\",\"schemaVersion\":2}",
        own, (int)tarn_json_u64(original, "size", 0), own, entry,
        (int)tarn_json_u64(json_array_get(tarn, 0), "size", 0));
    index_is(place, want);
    // The caller's own were not changed.
    assert_null(tarn_oci_annotation(original, TARN_ANNOTATION_REF_NAME));
    // The same again changes nothing.
    assert_int_equal(tarn_test_publish(place, "v 1/ä@+", original, tarn, &err), 0);
    index_is(place, want);

    tarn_autojson json_t *listing = tarn_test_read_tag(place, "v 1/ä@+", &err);
    assert_non_null(listing);
    tarn_autofree char *got = tarn_json_dump(listing);
    tarn_autofree char *expected =
        tarn_asprintf("{\"manifests\":[{\"annotations\":{\"kept\":\"yes\"},\"digest\":\"%s\","
                      "\"mediaType\":\"" TARN_MEDIA_OCI_MANIFEST "\",\"size\":%d,\"x\":7},%s",
                      own, (int)tarn_json_u64(original, "size", 0),
                      strstr(want, "{\"annotations\":{\"dev.tarn.platform"));
    assert_string_equal(got, expected);
}

static void test_publish_missing(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_err err;
    struct tarn_digest digest;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_sha256("abc", 3, &digest);
    tarn_autojson json_t *original = tarn_descriptor_json(TARN_MEDIA_OCI_MANIFEST, &digest, 3);
    assert_int_equal(tarn_test_publish(place, "x", original, NULL, &err), -ENOENT);
    tarn_test_contains(err.text, "cannot publish: blob sha256:" SHA_ABC);
    tarn_autojson json_t *there = tarn_test_put_image(place, "one");
    assert_int_equal(tarn_test_publish(place, "", there, NULL, &err), -EINVAL);
    tarn_test_contains(err.text, "tag");
    assert_int_equal(tarn_test_publish(place, "\xff", there, NULL, &err), -EINVAL);
    tarn_autojson json_t *listing = tarn_test_read_tag(place, "x", &err);
    assert_null(listing);
    tarn_test_contains(err.text, "no tag 'x'; it has no tags");
}

static void test_untagged(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_err err;
    tarn_test_place_open(place, "oci", "layout", true);
    tarn_autojson json_t *none = tarn_test_read_tag(place, NULL, &err);
    assert_null(none); // the layout is not there yet
    tarn_autojson json_t *one = tarn_test_put_image(place, "one");
    tarn_autojson json_t *tarn = json_pack("[o]", tarn_test_put_tarn(place, one, "t1"));
    assert_int_equal(tarn_test_publish(place, "a", one, tarn, &err), 0);
    tarn_autojson json_t *only = tarn_test_read_tag(place, NULL, &err);
    assert_int_equal(json_array_size(json_object_get(only, "manifests")), 2);
    tarn_autojson json_t *two = tarn_test_put_image(place, "two");
    assert_int_equal(tarn_test_publish(place, "b", two, NULL, &err), 0);
    tarn_autojson json_t *refused = tarn_test_read_tag(place, NULL, &err);
    assert_null(refused);
    tarn_test_contains(err.text, "2 images and no tag 'latest': name one; its tags are a, b");
    assert_int_equal(tarn_test_publish(place, "latest", two, NULL, &err), 0);
    tarn_autojson json_t *latest = tarn_test_read_tag(place, NULL, &err);
    assert_string_equal(
        tarn_json_string(json_array_get(json_object_get(latest, "manifests"), 0), "digest"),
        tarn_json_string(two, "digest"));
}

// Several processes publish into one new layout; no tag may be lost.
static void test_concurrent(void **state)
{
    enum { WRITERS = 6, TAGS = 8 };
    struct tarn_test_place *place = *state;
    pid_t pids[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] > 0)
            continue;
        // libuv's threads do not survive a fork: the child starts with a loop of its own.
        place->blocking = tarn_blocking_new(NULL);
        tarn_test_place_open(place, "oci", "layout", true);
        int ret = 0;
        for (int j = 0; ret == 0 && j < TAGS; j++) {
            char tag[32];
            snprintf(tag, sizeof tag, "t%d-%d", i, j);
            tarn_autojson json_t *image = tarn_test_put_image(place, tag);
            tarn_autojson json_t *tarn = json_pack("[o]", tarn_test_put_tarn(place, image, "t"));
            ret = tarn_test_publish(place, tag, image, tarn, NULL);
        }
        tarn_repository_close(place->repository);
        _exit(ret < 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    tarn_test_place_open(place, "oci", "layout", false);
    for (int i = 0; i < WRITERS * TAGS; i++) {
        char tag[32];
        struct tarn_err err;
        snprintf(tag, sizeof tag, "t%d-%d", i / TAGS, i % TAGS);
        tarn_autojson json_t *listing = tarn_test_read_tag(place, tag, &err);
        if (!listing)
            fail_msg("%s", err.text);
        assert_int_equal(json_array_size(json_object_get(listing, "manifests")), 2);
    }
}

#define CASE(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, tarn_test_place_set_up, tarn_test_place_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        // First, because it forks, and libuv's threads do not survive that.
        CASE(test_concurrent),     CASE(test_new_layout),      CASE(test_unused_layout),
        CASE(test_refused),        CASE(test_ranges),          CASE(test_damaged),
        CASE(test_empty_blob),     CASE(test_callbacks),       CASE(test_upload_mismatch),
        CASE(test_upload_vouched), CASE(test_upload_again),    CASE(test_disk_full),
        CASE(test_publish_bytes),  CASE(test_publish_missing), CASE(test_untagged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
