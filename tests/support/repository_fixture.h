// SPDX-License-Identifier: Apache-2.0
// Repositories in a temporary directory, for tests. All of these fail the test themselves.
#ifndef TARN_TESTS_REPOSITORY_FIXTURE_H
#define TARN_TESTS_REPOSITORY_FIXTURE_H

#include "registry/blocking.h"

struct tarn_test_place {
    char directory[64]; // a fresh one, removed by tarn_test_place_close()
    struct tarn_blocking *blocking;
    struct tarn_repository *first_way;  // for what is opened next, or NULL; borrowed
    struct tarn_repository *repository; // NULL until tarn_test_place_open()
};

// For tests of one place, which is their state.
int tarn_test_place_set_up(void **state);
int tarn_test_place_tear_down(void **state);

void tarn_test_place_init(struct tarn_test_place *place);
void tarn_test_place_close(struct tarn_test_place *place);
// Opens "<kind>:<directory>/<name>", after closing what was open.
void tarn_test_place_open(struct tarn_test_place *place, const char *kind, const char *name,
                          bool create);
// The same, expecting failure: its code, with err set.
int tarn_test_place_refused(struct tarn_test_place *place, const char *kind, const char *name,
                            bool create, struct tarn_err *err);
// "<directory>/<name>" in a buffer of its own for each of the last 4 calls.
const char *tarn_test_place_path(struct tarn_test_place *place, const char *name);

void tarn_test_contains(const char *text, const char *words);
void tarn_test_write_file(const char *path, const void *bytes, size_t length);
char *tarn_test_read_file(const char *path, size_t *length); // to be freed; a NUL follows
bool tarn_test_exists(const char *path);

void tarn_test_put_blob(struct tarn_test_place *place, const char *text, struct tarn_blob_id *blob);
// Stores the document; gives its descriptor.
json_t *tarn_test_put_document(struct tarn_test_place *place, const char *media_type,
                               const json_t *json);
// A manifest whose one layer's digest depends on seed; its config and layer are stored too.
json_t *tarn_test_put_image(struct tarn_test_place *place, const char *seed);
// Tarn's manifest for the image with this descriptor, as an entry for an index.
json_t *tarn_test_put_tarn(struct tarn_test_place *place, const json_t *original, const char *seed);
int tarn_test_publish(struct tarn_test_place *place, const char *tag, json_t *original,
                      json_t *tarn, struct tarn_err *err);
// The document under a tag, or NULL with err set.
json_t *tarn_test_read_tag(struct tarn_test_place *place, const char *tag, struct tarn_err *err);
// The digests of an index's manifests, joined by spaces, each as its first 4 hex digits.
void tarn_test_digests(const json_t *index, char text[256]);

#endif
