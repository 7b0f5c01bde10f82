// SPDX-License-Identifier: Apache-2.0
#include "tests/support/repository_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>

#include "base/file.h"

void tarn_test_place_init(struct tarn_test_place *place)
{
    struct tarn_err err;
    *place = (struct tarn_test_place){ .directory = "/tmp/tarn-test-XXXXXX" };
    assert_non_null(mkdtemp(place->directory));
    place->blocking = tarn_blocking_new(&err);
    assert_non_null(place->blocking);
}

void tarn_test_place_close(struct tarn_test_place *place)
{
    tarn_repository_close(place->repository);
    tarn_blocking_free(place->blocking);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, place->directory, NULL), 0);
}

static int open_place(struct tarn_test_place *place, const char *kind, const char *name,
                      bool create, struct tarn_err *err)
{
    struct tarn_reference reference;
    const struct tarn_repository_options options = { .create = create,
                                                     .first_way = place->first_way };
    tarn_autofree char *text = tarn_asprintf("%s:%s/%s", kind, place->directory, name);
    tarn_repository_close(tarn_steal(place->repository));
    int ret = tarn_reference_parse(text, &reference, err);
    if (ret == 0)
        ret = tarn_blocking_open(place->blocking, &reference, &options, &place->repository, err);
    tarn_reference_release(&reference);
    return ret;
}

void tarn_test_place_open(struct tarn_test_place *place, const char *kind, const char *name,
                          bool create)
{
    struct tarn_err err;
    if (open_place(place, kind, name, create, &err) < 0)
        fail_msg("open %s:%s: %s", kind, name, err.text);
}

int tarn_test_place_refused(struct tarn_test_place *place, const char *kind, const char *name,
                            bool create, struct tarn_err *err)
{
    *err = (struct tarn_err){ 0 };
    const int ret = open_place(place, kind, name, create, err);
    if (ret == 0)
        fail_msg("open %s:%s: want a refusal, got success", kind, name);
    return ret;
}

const char *tarn_test_place_path(struct tarn_test_place *place, const char *name)
{
    static char paths[4][256]; // a test program has one thread
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", place->directory, name);
    return path;
}

void tarn_test_write_file(const char *path, const void *bytes, size_t length)
{
    tarn_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || (length && tarn_write_full(fd, bytes, length) < 0))
        fail_msg("cannot write %s", path);
}

char *tarn_test_read_file(const char *path, size_t *length)
{
    struct tarn_buf buf = { 0 };
    struct tarn_err err;
    if (tarn_file_read(AT_FDCWD, path, SIZE_MAX, &buf, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(tarn_buf_append(&buf, "", 1), 0);
    if (length)
        *length = buf.length - 1;
    return (char *)buf.data;
}

bool tarn_test_exists(const char *path)
{
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void tarn_test_put_blob(struct tarn_test_place *place, const char *text, struct tarn_blob_id *blob)
{
    struct tarn_err err;
    tarn_autobuf struct tarn_buf buf = { 0 };
    assert_int_equal(tarn_buf_append(&buf, text, strlen(text)), 0);
    if (tarn_blocking_put_blob(place->blocking, place->repository, &buf, blob, &err) < 0)
        fail_msg("put blob: %s", err.text);
}

json_t *tarn_test_put_document(struct tarn_test_place *place, const char *media_type,
                               const json_t *json)
{
    struct tarn_err err;
    struct tarn_digest digest;
    tarn_autofree char *text = tarn_json_dump(json);
    assert_non_null(text);
    const struct tarn_manifest_bytes manifest = { media_type, text, strlen(text) };
    if (tarn_blocking_put_manifest(place->blocking, place->repository, &manifest, &err) < 0)
        fail_msg("put manifest: %s", err.text);
    tarn_sha256(text, strlen(text), &digest);
    return tarn_descriptor_json(media_type, &digest, strlen(text));
}

static json_t *image_of(struct tarn_test_place *place, const char *seed)
{
    struct tarn_blob_id config;
    struct tarn_blob_id layer;
    tarn_test_put_blob(place,
                       "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":"
                       "{\"diff_ids\":[],\"type\":\"layers\"}}",
                       &config);
    tarn_test_put_blob(place, seed, &layer);
    json_t *json = json_pack(
        "{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType", TARN_MEDIA_OCI_MANIFEST,
        "config", tarn_descriptor_json(TARN_MEDIA_OCI_CONFIG, &config.digest, config.size),
        "layers", tarn_descriptor_json(TARN_MEDIA_OCI_LAYER_TAR, &layer.digest, layer.size));
    assert_non_null(json);
    return json;
}

json_t *tarn_test_put_image(struct tarn_test_place *place, const char *seed)
{
    tarn_autojson json_t *json = image_of(place, seed);
    return tarn_test_put_document(place, TARN_MEDIA_OCI_MANIFEST, json);
}

json_t *tarn_test_put_tarn(struct tarn_test_place *place, const json_t *original, const char *seed)
{
    tarn_autojson json_t *json = image_of(place, seed);
    json_object_set_new(json, "artifactType", json_string(TARN_ARTIFACT_TYPE));
    json_t *entry = tarn_test_put_document(place, TARN_MEDIA_OCI_MANIFEST, json);
    json_object_set_new(entry, "artifactType", json_string(TARN_ARTIFACT_TYPE));
    json_object_set_new(entry, "platform",
                        json_pack("{s:s, s:s}", "os", "unknown", "architecture", "unknown"));
    json_object_set_new(entry, "annotations",
                        json_pack("{s:s, s:s}", TARN_ANNOTATION_SUBJECT,
                                  tarn_json_string(original, "digest"), TARN_ANNOTATION_PLATFORM,
                                  "linux/amd64"));
    return entry;
}

int tarn_test_publish(struct tarn_test_place *place, const char *tag, json_t *original,
                      json_t *tarn, struct tarn_err *err)
{
    const struct tarn_publication publication = { .tag = tag, .original = original, .tarn = tarn };
    return tarn_blocking_publish(place->blocking, place->repository, &publication, err);
}

json_t *tarn_test_read_tag(struct tarn_test_place *place, const char *tag, struct tarn_err *err)
{
    const struct tarn_read read = { .kind = TARN_READ_TAG, .tag = tag };
    tarn_autobuf struct tarn_buf buf = { 0 };
    if (tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, err) < 0)
        return NULL;
    return tarn_json_parse(buf.data, buf.length, "the tag's document", err);
}

void tarn_test_digests(const json_t *index, char text[256])
{
    const json_t *manifests = json_object_get(index, "manifests");
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(manifests); i++)
        at += (size_t)snprintf(text + at, 256 - at, "%s%.4s", i ? " " : "",
                               tarn_json_string(json_array_get(manifests, i), "digest") + 7);
}

int tarn_test_place_set_up(void **state)
{
    struct tarn_test_place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    tarn_test_place_init(place);
    *state = place;
    return 0;
}

int tarn_test_place_tear_down(void **state)
{
    tarn_test_place_close(*state);
    free(*state);
    return 0;
}

void tarn_test_contains(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("want '%s' in '%s'", words, text);
}
