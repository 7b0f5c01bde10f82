// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/support/repository_fixture.h"

#define SHA_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void shell(struct tarn_test_place *place, const char *command)
{
    tarn_autofree char *line =
        tarn_asprintf("cd %s && (%s) >/dev/null 2>&1", place->directory, command);
    if (system(line) != 0)
        fail_msg("failed: %s", command);
}

// The names in the directory must be these, whatever their order.
static void only(struct tarn_test_place *place, unsigned want)
{
    unsigned count = 0;
    DIR *dir = opendir(place->directory);
    const struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    closedir(dir);
    if (count != want)
        fail_msg("want %u names in %s, got %u", want, place->directory, count);
}

// Publishes an image made from the seed, with an entry of Tarn's.
static void add_image(struct tarn_test_place *place, const char *seed, const char *tag, bool more)
{
    struct tarn_err err;
    tarn_autojson json_t *original = tarn_test_put_image(place, seed);
    tarn_autojson json_t *tarn = json_pack("[o]", tarn_test_put_tarn(place, original, "tarn"));
    const struct tarn_publication publication = {
        .tag = tag, .original = original, .tarn = tarn, .more = more
    };
    if (tarn_blocking_publish(place->blocking, place->repository, &publication, &err) < 0)
        fail_msg("publish %s: %s", tag, err.text);
}

static void tag_is(struct tarn_test_place *place, const char *tag, size_t want)
{
    struct tarn_err err = { 0 };
    tarn_autojson json_t *listing = tarn_test_read_tag(place, tag, &err);
    const size_t got = json_array_size(json_object_get(listing, "manifests"));
    if (got != want)
        fail_msg("tag %s: want %zu entries, got %zu %s", tag, want, got, err.text);
}

static void test_write_and_read(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    only(place, 0);
    add_image(place, "abc", "one", false);
    only(place, 2); // the archive and the temporary directory
    tag_is(place, "one", 2);
    add_image(place, "def", "two", false);
    tag_is(place, "one", 2);
    tarn_repository_close(tarn_steal(place->repository));
    only(place, 1);
    tarn_test_place_open(place, "oci-archive", "a.tar", false);
    tag_is(place, "one", 2);
    tag_is(place, "two", 2);

    struct tarn_read read = { .kind = TARN_READ_BLOB, .length = UINT64_MAX, .size = 3 };
    tarn_autobuf struct tarn_buf buf = { 0 };
    struct tarn_err err;
    tarn_sha256("abc", 3, &read.digest);
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     0);
    assert_memory_equal(buf.data, "abc", 3);
    read.offset = 2;
    read.length = 2;
    assert_int_equal(tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err),
                     -EUCLEAN);
    tarn_test_contains(err.text, "of oci-archive:");
}

// The bytes are a function of what is in it: the same from one publication as from several.
static void test_deterministic(void **state)
{
    struct tarn_test_place *place = *state;
    size_t length[2];
    tarn_autofree char *bytes[2] = { NULL, NULL };
    static const char *const names[] = { "a.tar", "b.tar" };
    for (int i = 0; i < 2; i++) {
        tarn_test_place_open(place, "oci-archive", names[i], true);
        add_image(place, "abc", "one", i == 0);
        if (i == 0) {
            assert_false(tarn_test_exists(tarn_test_place_path(place, "a.tar")));
            tag_is(place, "one", 2);
        }
        add_image(place, "def", "two", false);
        tarn_repository_close(tarn_steal(place->repository));
        bytes[i] = tarn_test_read_file(tarn_test_place_path(place, names[i]), &length[i]);
    }
    assert_int_equal(length[0], length[1]);
    assert_memory_equal(bytes[0], bytes[1], length[0]);
    free(bytes[1]);
    bytes[1] = NULL;
    // The header of the first member, a directory: name, mode, owner, size, time, checksum, type.
    static const char header[] = "0000755\0"
                                 "0000000\0"
                                 "0000000\0"
                                 "00000000000\0"
                                 "00000000000\0"
                                 "007046\0 "
                                 "5";
    assert_memory_equal(bytes[0], "blobs/\0", 7);
    assert_memory_equal(bytes[0] + 100, header, sizeof header - 1);
    shell(place, "mkdir x && tar -C x -xf a.tar && test $(cat x/blobs/sha256/" SHA_ABC ") = abc && "
                 "test $(find x/blobs -type f -perm 644 | wc -l) = 7 && "
                 "test -z \"$(find x -mindepth 1 -newermt 1970-01-02)\"");
}

// What is published but not written (more) is lost when nothing follows, and leaves nothing.
static void test_unfinished(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    add_image(place, "abc", "one", true);
    tarn_repository_close(tarn_steal(place->repository));
    only(place, 0);
}

static void test_leftovers(void **state)
{
    struct tarn_test_place *place = *state;
    shell(place, "mkdir a.tar.tarn-1-0.tmp a.tar.tarn-1-0.tmp/d b.tar.tarn-1-0.tmp && "
                 "touch a.tar.tarn-1-0.tmp/d/f");
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    only(place, 1);
    assert_true(tarn_test_exists(tarn_test_place_path(place, "b.tar.tarn-1-0.tmp")));
    // The directory of a writer that lives stays.
    struct tarn_blob_id blob;
    tarn_test_put_blob(place, "abc", &blob);
    only(place, 2);
    struct tarn_test_place other = *place;
    other.repository = NULL;
    tarn_test_place_open(&other, "oci-archive", "a.tar", true);
    only(place, 2);
    tarn_repository_close(other.repository);
}

// Two writers of one archive: the second adds to what the first has put there meanwhile.
static void test_two_writers(void **state)
{
    struct tarn_test_place *place = *state;
    struct tarn_test_place other = *place;
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    tarn_test_place_open(&other, "oci-archive", "a.tar", true);
    add_image(place, "abc", "one", false);
    add_image(&other, "def", "two", false);
    add_image(place, "ghi", "three", false);
    tarn_repository_close(other.repository);
    tag_is(place, "one", 2);
    tag_is(place, "two", 2);
    tag_is(place, "three", 2);
}

// Archives as tar(1) makes them: other member orders, "./" in front, pax headers, hard links.
static void test_foreign(void **state)
{
    static const struct {
        const char *name;
        const char *command;
    } cases[] = {
        { "dots", "tar -C x -cf b.tar ." },
        { "pax", "tar -C x --format=pax -cf b.tar oci-layout index.json blobs" },
        { "gnu", "tar -C x --format=gnu -cf b.tar index.json oci-layout blobs" },
        { "v7", "tar -C x --format=v7 -cf b.tar blobs index.json oci-layout" },
        { "long", "tar -C x --format=gnu --transform='s,^extra,"
                  "$(printf %0200d 7),' -cf b.tar extra blobs index.json oci-layout" },
        { "twice", "echo {} >index.json; tar -cf b.tar index.json; tar -C x -rf b.tar ." },
        { "link", "mkdir -p y && cp -r x/. y && ln y/index.json y/aaa && tar -C y -cf b.tar aaa "
                  "index.json oci-layout blobs" },
        { "no end", "tar -C x -b1 -cf c.tar . && head -c -1024 c.tar >b.tar" },
    };
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    add_image(place, "abc", "one", false);
    shell(place, "mkdir x && tar -C x -xf a.tar && touch x/extra");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shell(place, cases[i].command);
        tarn_test_place_open(place, "oci-archive", "b.tar", false);
        struct tarn_read read = { .kind = TARN_READ_BLOB, .length = UINT64_MAX, .size = 3 };
        tarn_autobuf struct tarn_buf buf = { 0 };
        struct tarn_err err;
        tarn_sha256("abc", 3, &read.digest);
        tag_is(place, "one", 2);
        if (tarn_blocking_read_buf(place->blocking, place->repository, &read, &buf, &err) < 0)
            fail_msg("%s: %s", cases[i].name, err.text);
    }
}

// Adding to an archive keeps what others put there.
static void test_keeps(void **state)
{
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    add_image(place, "abc", "one", false);
    tarn_repository_close(tarn_steal(place->repository));
    shell(place, "mkdir y && tar -C y -xf a.tar && echo hello >y/$(printf %0150d 7) && "
                 "tar -C y --format=gnu -cf a.tar . && chown 12:34 a.tar && chmod 640 a.tar");
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    add_image(place, "def", "one", false);
    shell(place, "mkdir x && tar -C x -xf a.tar && test $(cat x/0*) = hello");
    shell(place, "test $(stat -c %u:%g:%a a.tar) = 12:34:640");
    tag_is(place, "one", 2);
}

static void test_refused(void **state)
{
    static const struct {
        const char *command;
        int code;
        const char *words;
    } cases[] = {
        { "true", -ENOENT, "no such file" },
        { "mkdir b.tar", -EINVAL, "not a regular file" },
        { "rmdir b.tar; : >b.tar", -EINVAL, "no member 'index.json'" },
        { "echo hello >b.tar", -EUCLEAN, "no tar archive" },
        { "seq 1000 >b.tar", -EUCLEAN, "no tar archive" },
        { "tar -cf b.tar a.tar", -EINVAL, "no member 'index.json'" },
        { "echo >manifest.json; tar -cf b.tar manifest.json", -ENOTSUP, "docker-archive:FILE" },
        { "gzip -c a.tar >b.tar", -ENOTSUP, "compressed with gzip" },
        { "head -c 1537 a.tar >b.tar", -EUCLEAN, "cut off" },
    };
    struct tarn_test_place *place = *state;
    tarn_test_place_open(place, "oci-archive", "a.tar", true);
    add_image(place, "abc", "one", false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tarn_err err;
        shell(place, cases[i].command);
        const int ret = tarn_test_place_refused(place, "oci-archive", "b.tar", false, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].words) || !strstr(err.text, "b.tar"))
            fail_msg("%s: want %d '%s', got %d '%s'", cases[i].command, cases[i].code,
                     cases[i].words, ret, err.text);
    }
    // What is no archive is no destination either; an empty file is.
    struct tarn_err err;
    shell(place, "tar -cf b.tar a.tar");
    assert_int_equal(tarn_test_place_refused(place, "oci-archive", "b.tar", true, &err), -EINVAL);
    shell(place, ": >b.tar");
    tarn_test_place_open(place, "oci-archive", "b.tar", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_deterministic, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_unfinished, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_leftovers, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_two_writers, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_foreign, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_keeps, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
        cmocka_unit_test_setup_teardown(test_refused, tarn_test_place_set_up,
                                        tarn_test_place_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
