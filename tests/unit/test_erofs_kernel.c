// SPDX-License-Identifier: Apache-2.0
// The writer's images under the kernel and under fsck.erofs: the whole tree, every attribute and
// every byte. What cannot be had here (root, file-backed EROFS, the programs) is skipped.
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/file.h"
#include "tests/support/compare_tree.h"
#include "tests/support/sample_tree.h"

#define TOOL TARN_SOURCE_DIR "/tests/tools/erofs_mount.py"

struct place {
    char directory[32];
    char *mount;
};

static void write_file(const struct place *place, const char *name, const struct tarn_buf *bytes)
{
    tarn_autofree char *path = tarn_path_join(place->directory, name);
    tarn_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(tarn_write_full(fd, bytes->data, bytes->length), 0);
}

// Writes image and devices. The options that name the devices, for a shell.
static char *write_all(const struct place *place, struct tarn_sample *sample)
{
    tarn_autobuf struct tarn_buf image = { 0 };
    struct tarn_buf options = { 0 };
    tarn_sample_image(sample, &image);
    write_file(place, "image", &image);
    for (uint32_t i = 0; i < sample->chain; i++) {
        if (sample->slots[i] == 0)
            continue;
        char name[32];
        (void)snprintf(name, sizeof name, "device%u", i);
        write_file(place, name, &sample->spaces[i]);
        assert_int_equal(tarn_buf_printf(&options, "--device=%s/%s ", place->directory, name), 0);
    }
    assert_int_equal(tarn_buf_append(&options, "", 1), 0);
    return (char *)options.data;
}

static int run(const char *command)
{
    const int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool can_mount(void)
{
    return geteuid() == 0 && run("command -v python3 >/dev/null") == 0 &&
           (access("/sys/fs/erofs", F_OK) == 0 || run("modprobe erofs 2>/dev/null") == 0);
}

static void compare(const struct tarn_sample *sample, const char *directory, unsigned what)
{
    struct tarn_err err = { 0 };
    if (tarn_compare_tree(sample->tree, directory, what, &err) != 0)
        fail_msg("%s", err.text);
}

static void check_mount(struct place *place, struct tarn_sample *sample, const char *options)
{
    tarn_autofree char *command =
        tarn_asprintf("%s %s %s/image %s", TOOL, options, place->directory, place->mount);
    assert_int_equal(run(command), 0);
    compare(sample, place->mount, TARN_COMPARE_ALL);
    assert_int_equal(umount(place->mount), 0);
}

static void check_fsck(const struct place *place, const struct tarn_sample *sample,
                       const char *options)
{
    tarn_autofree char *command =
        tarn_asprintf("fsck.erofs --extract=%s/out %s %s/image >/dev/null 2>%s/stderr",
                      place->directory, options, place->directory, place->directory);
    assert_int_equal(run(command), 0);
    tarn_autofree char *path = tarn_path_join(place->directory, "stderr");
    tarn_autofree char *out = tarn_path_join(place->directory, "out");
    tarn_autobuf struct tarn_buf said = { 0 };
    assert_int_equal(tarn_file_read(AT_FDCWD, path, 1 << 20, &said, NULL), 0);
    assert_int_equal(tarn_buf_append(&said, "", 1), 0);
    assert_string_equal((const char *)said.data, "");
    // It sets modes before owners, no xattrs, and cuts off a hole at the end of a file.
    compare(sample, out, 0);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    if (!place)
        return -1;
    strcpy(place->directory, "/var/tmp/test-erofs-XXXXXX");
    if (!mkdtemp(place->directory))
        return -1;
    place->mount = tarn_path_join(place->directory, "mnt");
    *state = place;
    return mkdir(place->mount, 0700);
}

static int tear_down(void **state)
{
    struct place *place = *state;
    (void)umount(place->mount);
    const int ret = tarn_remove_tree(AT_FDCWD, place->directory, NULL);
    free(place->mount);
    free(place);
    return ret;
}

// --- tests ---------------------------------------------------------------------------------

static void test_cases(void **state)
{
    struct place *place = *state;
    if (!can_mount())
        skip();
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(3);
    tarn_sample_fill(sample);
    tarn_autofree char *options = write_all(place, sample);
    check_mount(place, sample, options);
    if (run("command -v fsck.erofs >/dev/null") == 0)
        check_fsck(place, sample, options);
}

static void test_large(void **state)
{
    struct place *place = *state;
    if (!can_mount())
        skip();
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(2);
    tarn_sample_fill_large(sample);
    tarn_autofree char *options = write_all(place, sample);
    check_mount(place, sample, options);
}

static void test_slots(void **state)
{
    struct place *place = *state;
    if (!can_mount())
        skip();
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(150);
    for (uint32_t i = 0; i < sample->chain; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "file%u", i);
        if (i % 10 != 9) // some blobs have no slot
            tarn_sample_file(sample, tarn_tree_root(sample->tree), name,
                             (struct tarn_shape){ 5000 + i, 0, 5000 + i, i });
    }
    tarn_autofree char *options = write_all(place, sample);
    check_mount(place, sample, options);
    if (run("command -v fsck.erofs >/dev/null") == 0)
        check_fsck(place, sample, options);
}

static void test_empty(void **state)
{
    struct place *place = *state;
    if (!can_mount())
        skip();
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_new(0);
    tarn_autofree char *options = write_all(place, sample);
    check_mount(place, sample, options);
    if (run("command -v fsck.erofs >/dev/null") == 0)
        check_fsck(place, sample, options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cases, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
