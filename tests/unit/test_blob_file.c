// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "registry/blob_file.h"

struct place {
    char path[64];
    int fd;
};

static int setup(void **state)
{
    struct place *place = malloc(sizeof *place);
    *place = (struct place){ .path = "/tmp/tarn-test-XXXXXX" };
    assert_non_null(mkdtemp(place->path));
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(place->fd >= 0);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    close(place->fd);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, place->path, NULL), 0);
    free(place);
    return 0;
}

static unsigned names(const struct place *place)
{
    unsigned count = 0;
    DIR *dir = opendir(place->path);
    const struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir)))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

static void content_is(const struct place *place, const char *name, const char *want)
{
    tarn_autobuf struct tarn_buf buf = { 0 };
    assert_int_equal(tarn_file_read(place->fd, name, 100, &buf, NULL), 0);
    if (buf.length != strlen(want) || memcmp(buf.data, want, buf.length) != 0)
        fail_msg("%s: want '%s', got '%.*s'", name, want, (int)buf.length, (char *)buf.data);
}

static void write_as(const struct place *place, enum tarn_blob_file_kind kind, const char *text,
                     bool keep)
{
    struct tarn_blob_file file;
    struct tarn_err err;
    if (tarn_blob_file_create(place->fd, kind, &file, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(names(place),
                     (kind == TARN_BLOB_FILE_NAMED) + (faccessat(place->fd, "name", F_OK, 0) == 0));
    assert_int_equal(tarn_write_full(file.fd, text, strlen(text)), 0);
    if (tarn_blob_file_commit(&file, "name", keep, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(names(place), 1);
}

static void test_commit(void **state)
{
    static const enum tarn_blob_file_kind kinds[] = { TARN_BLOB_FILE_ANY, TARN_BLOB_FILE_NAMED };
    const struct place *place = *state;
    for (int i = 0; i < 2; i++) {
        write_as(place, kinds[i], "abc", true);
        content_is(place, "name", "abc");
        write_as(place, kinds[i], "def", false); // what is there may be damaged
        content_is(place, "name", "def");
        write_as(place, kinds[i], "x", true);
        content_is(place, "name", "def");
        assert_int_equal(unlinkat(place->fd, "name", 0), 0);
    }
}

static void test_discard(void **state)
{
    const struct place *place = *state;
    struct tarn_blob_file file;
    assert_int_equal(tarn_blob_file_create(place->fd, TARN_BLOB_FILE_NAMED, &file, NULL), 0);
    assert_int_equal(names(place), 1);
    tarn_blob_file_discard(&file);
    tarn_blob_file_discard(&file);
    assert_int_equal(names(place), 0);
}

// A name that cannot be taken is an error, and leaves nothing.
static void test_refused(void **state)
{
    static const enum tarn_blob_file_kind kinds[] = { TARN_BLOB_FILE_ANY, TARN_BLOB_FILE_NAMED };
    const struct place *place = *state;
    assert_int_equal(mkdirat(place->fd, "name", 0755), 0);
    for (int i = 0; i < 2; i++) {
        struct tarn_blob_file file;
        struct tarn_err err = { 0 };
        assert_int_equal(tarn_blob_file_create(place->fd, kinds[i], &file, NULL), 0);
        assert_int_equal(tarn_blob_file_commit(&file, "name", false, &err), -EISDIR);
        assert_string_equal(err.text, "cannot write name: Is a directory");
        assert_int_equal(names(place), 1);
    }
}

// Files of the dead go, those of the living and of others stay.
static void test_sweep(void **state)
{
    const struct place *place = *state;
    struct tarn_blob_file living;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        struct tarn_blob_file file;
        const int ret = tarn_blob_file_create(place->fd, TARN_BLOB_FILE_NAMED, &file, NULL);
        (void)!write(ready[1], ret == 0 ? "y" : "n", 1);
        alarm(60); // so that it does not outlive a test that fails
        pause();
        _exit(0);
    }
    char answer;
    assert_int_equal(read(ready[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    assert_int_equal(tarn_blob_file_create(place->fd, TARN_BLOB_FILE_NAMED, &living, NULL), 0);
    close(openat(place->fd, ".tarn-other", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    close(openat(place->fd, "x.tmp", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    tarn_blob_file_sweep(place->fd);
    assert_int_equal(names(place), 4);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    tarn_blob_file_sweep(place->fd);
    assert_int_equal(names(place), 3);
    assert_int_equal(tarn_blob_file_commit(&living, "name", false, NULL), 0);
    close(ready[0]);
    close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discard, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
