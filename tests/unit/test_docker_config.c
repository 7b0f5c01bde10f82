// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "registry/docker_config.h"

// A directory with the files, and with helpers that stand on PATH.
struct place {
    char directory[64];
    char file[80];
};

static void write_file(const char *path, const char *text)
{
    struct tarn_err err;
    if (tarn_file_replace(AT_FDCWD, path, text, strlen(text), &err) < 0)
        fail_msg("%s", err.text);
}

static void write_helper(const struct place *place, const char *name, const char *script)
{
    tarn_autofree char *path = tarn_asprintf("%s/docker-credential-%s", place->directory, name);
    tarn_autofree char *text = tarn_asprintf("#!/bin/sh\n%s\n", script);
    write_file(path, text);
    assert_int_equal(0, chmod(path, 0755));
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->directory, "/tmp/tarn-login-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->file, sizeof place->file, "%s/config.json", place->directory);
    tarn_autofree char *path = tarn_asprintf("%s:/usr/bin:/bin", place->directory);
    setenv("PATH", path, 1);
    write_helper(place, "echo",
                 "read -r server\n[ \"$1\" = get ] || exit 9\n"
                 "echo \"{\\\"ServerURL\\\":\\\"x\\\",\\\"Username\\\":\\\"helped\\\","
                 "\\\"Secret\\\":\\\"$server\\\"}\"");
    write_helper(place, "token", "echo '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'");
    write_helper(place, "none", "echo 'credentials not found in native keychain'; exit 1");
    write_helper(place, "locked", "echo 'the keychain is locked'; echo noise >&2; exit 1");
    write_helper(place, "leaks", "echo '{\"Username\":\"u\",\"Secret\":\"secret\"}'; exit 1");
    write_helper(place, "dies", "kill -9 $$");
    write_helper(place, "empty", "exit 0");
    write_helper(place, "garbage", "echo '{\"Username\":\"u\",\"Secret\":\"secret\"'");
    write_helper(place, "half", "echo '{\"Username\":\"u\"}'");
    write_helper(place, "nul", "echo '{\"Username\":\"u\",\"Secret\":\"secret\\u0000\"}'");
    write_helper(place, "deaf", "exec 0<&-\necho '{\"Username\":\"deaf\",\"Secret\":\"p\"}'");
    write_helper(place, "floods", "exec yes secret");
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    struct tarn_err err;
    const int ret = tarn_remove_tree(AT_FDCWD, place->directory, &err);
    free(place);
    return ret;
}

struct good {
    const char *text; // of the file
    const char *host;
    const char *username;
    const char *password;
    const char *identity_token;
};

#define AUTHS(entries) "{\"auths\":{" entries "}}"
#define AB "{\"auth\":\"YTpi\"}"             // a:b
#define CD "{\"auth\":\"YzpkOmU=\"}"         // c:d:e
#define EMPTY_USER "{\"auth\":\"OnBhc3M=\"}" // :pass

// The repository is always "ns/repo".
static const struct good good[] = {
    { AUTHS("\"h.io\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io:5000\":" CD), "h.io:5000", "c", "d:e", NULL },
    { AUTHS("\"H.IO\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"https://h.io\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"http://h.io/\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"https://h.io/v1/\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"https://h.io/v2\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io/v2/\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io\":" EMPTY_USER), "h.io", "", "pass", NULL },
    { AUTHS("\"h.io\":{\"username\":\"a\",\"password\":\"b\"}"), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io\":{\"username\":\"a\"}"), "h.io", "a", "", NULL },
    // Zeros behind the password, as old docker wrote them.
    { AUTHS("\"h.io\":{\"auth\":\"YTpiAAA=\"}"), "h.io", "a", "b", NULL },
    // An identity token beside a user name that means nothing.
    { AUTHS("\"h.io\":{\"auth\":\"MDA6\",\"identitytoken\":\"t\"}"), "h.io", NULL, NULL, "t" },
    { AUTHS("\"h.io\":{\"identitytoken\":\"t\"}"), "h.io", NULL, NULL, "t" },
    { AUTHS("\"h.io\":{\"auth\":\"YTpi\",\"identitytoken\":\"t\"}"), "h.io", "a", "b", "t" },
    // The longest path, at a border, wherever it stands.
    { AUTHS("\"h.io\":" CD ",\"h.io/ns\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io/ns\":" CD ",\"h.io/ns/repo\":" AB ",\"h.io\":" CD), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io/n\":" CD ",\"h.io/ns/re\":" CD ",\"h.io/ns/repo/x\":" CD ",\"h.io\":" AB),
      "h.io", "a", "b", NULL },
    { AUTHS("\"h.io/ns/\":" AB ",\"h.io\":" CD), "h.io", "a", "b", NULL },
    // The plain spelling before the other; an entry that is empty counts as none.
    { AUTHS("\"https://h.io\":" CD ",\"h.io\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io/ns\":{},\"h.io\":" AB), "h.io", "a", "b", NULL },
    { AUTHS("\"h.io/ns\":{\"auth\":\"\"},\"h.io\":" AB), "h.io", "a", "b", NULL },
    // Docker Hub by its names.
    { AUTHS("\"https://index.docker.io/v1/\":" AB), "docker.io", "a", "b", NULL },
    { AUTHS("\"docker.io\":" AB), "docker.io", "a", "b", NULL },
    { AUTHS("\"docker.io/ns\":" AB ",\"https://index.docker.io/v1/\":" CD), "docker.io", "a", "b",
      NULL },
    // Helpers: what they get on their input is the password here.
    { "{\"credHelpers\":{\"h.io\":\"echo\"}}", "h.io", "helped", "h.io", NULL },
    { "{\"credHelpers\":{\"docker.io\":\"echo\"}}", "docker.io", "helped",
      "https://index.docker.io/v1/", NULL },
    { "{\"credsStore\":\"echo\"}", "h.io:1", "helped", "h.io:1", NULL },
    { "{\"credsStore\":\"echo\",\"auths\":{\"https://h.io\":{}}}", "h.io", "helped", "https://h.io",
      NULL },
    { "{\"credsStore\":\"echo\",\"auths\":{\"https://index.docker.io/v1/\":{}}}", "docker.io",
      "helped", "https://index.docker.io/v1/", NULL },
    { "{\"credsStore\":\"locked\",\"credHelpers\":{\"h.io\":\"token\"}}", "h.io", NULL, NULL,
      "refresh" },
    { "{\"credHelpers\":{\"h.io\":\"none\"},\"auths\":{\"h.io\":" AB "}}", "h.io", "a", "b", NULL },
    { "{\"credHelpers\":{\"h.io\":\"\"},\"credsStore\":\"locked\",\"auths\":{\"h.io\":" AB "}}",
      "h.io", "a", "b", NULL },
    { "{\"credHelpers\":{\"h.io\":\"deaf\"}}", "h.io", "deaf", "p", NULL },
    // A helper for another registry is not run.
    { "{\"credHelpers\":{\"g.io\":\"locked\"},\"auths\":{\"h.io\":" AB "}}", "h.io", "a", "b",
      NULL },
};

static void same(const char *text, const char *field, const char *want, const char *got)
{
    if (!want != !got || (want && strcmp(want, got) != 0))
        fail_msg("%s: %s: want %s, got %s", text, field, want ? want : "(none)",
                 got ? got : "(none)");
}

static void test_good(void **state)
{
    struct place *place = *state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        write_file(place->file, good[i].text);
        // What was there before is replaced as a whole; settings stay.
        struct tarn_access got = { .timeout = 5 };
        got.username = strdup("old");
        got.password = strdup("old");
        got.identity_token = strdup("old");
        got.config_file = strdup("old");
        struct tarn_err err = { 0 };
        if (tarn_docker_config_read(place->file, &got, good[i].host, "ns/repo", &err) < 0)
            fail_msg("%s: %s", good[i].text, err.text);
        same(good[i].text, "username", good[i].username, got.username);
        same(good[i].text, "password", good[i].password, got.password);
        same(good[i].text, "identity token", good[i].identity_token, got.identity_token);
        same(good[i].text, "file", place->file, got.config_file);
        assert_int_equal(5, got.timeout);
        tarn_access_release(&got);
    }
}

struct refused {
    const char *text;
    int code;
    const char *words; // in the message, unless there is none
};

static const struct refused refused[] = {
    // None for this registry.
    { "", -ENOENT, "" },
    { "{}", -ENOENT, "" },
    { "{\"auths\":{}}", -ENOENT, "" },
    { AUTHS("\"g.io\":" AB), -ENOENT, "" },
    { AUTHS("\"h.io.evil\":" AB ",\"xh.io\":" AB ",\"h.io:1\":" AB), -ENOENT, "" },
    { AUTHS("\"h.io/other\":" AB), -ENOENT, "" },
    { AUTHS("\"h.io/v1\":" AB), -ENOENT, "" }, // a repository, without "https://"
    { AUTHS("\"h.io\":{}"), -ENOENT, "" },
    { AUTHS("\"h.io\":{\"auth\":\"Og==\"}"), -ENOENT, "" }, // ":"
    { AUTHS("\"g.io\":7"), -ENOENT, "" },
    { "{\"credHelpers\":{\"h.io\":\"none\"}}", -ENOENT, "" },
    { "{\"credsStore\":\"none\"}", -ENOENT, "" },
    // Damaged; the message never shows what stands in the file.
    { "{\"auths\":{\"h.io\":{\"auth\":\"secret", -EINVAL, "not a JSON object" },
    { "secret", -EINVAL, "not a JSON object" },
    { "[\"secret\"]", -EINVAL, "not a JSON object" },
    { "{\"auths\":[]}", -EINVAL, "\"auths\"" },
    { "{\"credHelpers\":\"echo\"}", -EINVAL, "\"credHelpers\"" },
    { "{\"credHelpers\":{\"h.io\":7}}", -EINVAL, "\"credHelpers\"" },
    { "{\"credsStore\":7}", -EINVAL, "\"credsStore\"" },
    { AUTHS("\"h.io\":7"), -EINVAL, "\"auths\"" },
    { AUTHS("\"h.io\":{\"auth\":\"se cret\"}"), -EINVAL, "base64" },
    { AUTHS("\"h.io\":{\"auth\":\"c2VjcmV0\"}"), -EINVAL, "base64" }, // no colon
    { AUTHS("\"h.io\":{\"auth\":\"YQA6Yg==\"}"), -EINVAL, "base64" }, // a NUL in it
    { AUTHS("\"h.io\":{\"auth\":7}"), -EINVAL, "base64" },
    { AUTHS("\"h.io\":{\"username\":\"a\",\"password\":[\"secret\"]}"), -EINVAL, "base64" },
    { "{\"credHelpers\":{\"h.io\":\"../echo\"}}", -EINVAL, "'../echo'" },
    { "{\"credHelpers\":{\"h.io\":\"/bin/sh\"}}", -EINVAL, "'/bin/sh'" },
    { "{\"credHelpers\":{\"h.io\":\"echo;sh\"}}", -EINVAL, "'echo;sh'" },
    { "{\"credsStore\":\"missing\"}", -EINVAL, "docker-credential-missing is not there" },
    { "{\"credsStore\":\"locked\"}", -EACCES,
      "docker-credential-locked fails for h.io: the keychain "
      "is locked;" },
    { "{\"credsStore\":\"leaks\"}", -EACCES, "docker-credential-leaks fails for h.io;" },
    { "{\"credsStore\":\"dies\"}", -EACCES, "docker-credential-dies fails for h.io;" },
    { "{\"credsStore\":\"empty\"}", -EINVAL, "docker-credential-empty" },
    { "{\"credsStore\":\"garbage\"}", -EINVAL, "docker-credential-garbage" },
    { "{\"credsStore\":\"half\"}", -EINVAL, "docker-credential-half" },
    { "{\"credsStore\":\"nul\"}", -EINVAL, "docker-credential-nul" },
    { "{\"credsStore\":\"floods\"}", -EINVAL, "docker-credential-floods" },
};

static void test_refused(void **state)
{
    struct place *place = *state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct refused *want = &refused[i];
        write_file(place->file, want->text);
        struct tarn_access got = { .username = strdup("old") };
        struct tarn_err err = { 0 };
        const int ret = tarn_docker_config_read(place->file, &got, "h.io", "ns/repo", &err);
        if (ret != want->code || !strstr(err.text, want->words))
            fail_msg("%s: want %d '%s', got %d '%s'", want->text, want->code, want->words, ret,
                     err.text);
        if (ret != -ENOENT && (!strstr(err.text, place->file) || strstr(err.text, "secret") ||
                               !strstr(err.text, "skopeo login h.io")))
            fail_msg("%s: the message is '%s'", want->text, err.text);
        same(want->text, "username", "old", got.username);
        tarn_access_release(&got);
    }
}

// A file that is no file, is not there, or is too large.
static void test_unreadable(void **state)
{
    struct place *place = *state;
    struct tarn_access got = { 0 };
    struct tarn_err err = { 0 };
    assert_int_equal(-EINVAL, tarn_docker_config_read(place->directory, &got, "h.io", "r", &err));
    assert_non_null(strstr(err.text, place->directory));
    assert_int_equal(-ENOENT,
                     tarn_docker_config_read("/none/config.json", &got, "h.io", "r", &err));
    tarn_autofree char *large = malloc((2 << 20) + 1);
    assert_non_null(large);
    memset(large, ' ', 2 << 20);
    large[2 << 20] = '\0';
    write_file(place->file, large);
    assert_int_equal(-EINVAL, tarn_docker_config_read(place->file, &got, "h.io", "r", &err));
    assert_non_null(strstr(err.text, "larger than"));
    assert_null(got.username);
}

static char *make_file(const struct place *place, const char *name, const char *user)
{
    char *path = tarn_path_join(place->directory, name);
    tarn_autofree char *directory = strdup(path);
    *strrchr(directory, '/') = '\0';
    struct tarn_err err;
    assert_int_equal(0, tarn_mkdirs(directory, 0700, &err));
    tarn_autofree char *text =
        tarn_asprintf("{\"auths\":{\"h.io\":{\"username\":\"%s\",\"password\":\"p\"}}}", user);
    write_file(path, text);
    return path;
}

static void expect_user(const char *user, const char *file)
{
    struct tarn_access got = { 0 };
    struct tarn_err err;
    assert_int_equal(0, tarn_docker_config_find(&got, "h.io", "r", &err));
    assert_true(got.known);
    same("find", "username", user, got.username);
    same("find", "file", file, got.config_file);
    tarn_access_release(&got);
}

// Each file counts before those that stand behind it, and a file without an entry does not count.
static void test_find(void **state)
{
    struct place *place = *state;
    tarn_autofree char *first = make_file(place, "auth.json", "first");
    tarn_autofree char *second = make_file(place, "docker/config.json", "second");
    tarn_autofree char *third = make_file(place, "run/containers/auth.json", "third");
    tarn_autofree char *fourth = make_file(place, "home/.docker/config.json", "fourth");
    tarn_autofree char *docker = tarn_path_join(place->directory, "docker");
    tarn_autofree char *run = tarn_path_join(place->directory, "run");
    tarn_autofree char *home = tarn_path_join(place->directory, "home");
    setenv("REGISTRY_AUTH_FILE", first, 1);
    setenv("DOCKER_CONFIG", docker, 1);
    setenv("XDG_RUNTIME_DIR", run, 1);
    setenv("HOME", home, 1);
    expect_user("first", first);
    write_file(first, "{\"auths\":{\"g.io\":{\"username\":\"other\"}}}");
    expect_user("second", second);
    assert_int_equal(0, unlink(second));
    expect_user("third", third);
    setenv("REGISTRY_AUTH_FILE", "", 1);
    unsetenv("DOCKER_CONFIG");
    write_file(third, "");
    expect_user("fourth", fourth);

    // A relative name is kept as an absolute one.
    tarn_autofree char *here = getcwd(NULL, 0);
    assert_int_equal(0, chdir(place->directory));
    setenv("HOME", "home", 1);
    expect_user("fourth", fourth);
    assert_int_equal(0, chdir(here));

    // Damage is an error, not a reason to look further.
    struct tarn_access got = { 0 };
    struct tarn_err err;
    write_file(third, "{");
    assert_int_equal(-EINVAL, tarn_docker_config_find(&got, "h.io", "r", &err));
    assert_false(got.known);

    // Nothing anywhere: anonymous.
    write_file(third, "{}");
    unsetenv("HOME");
    expect_user(NULL, NULL);

    // All that was looked at, for later.
    setenv("REGISTRY_AUTH_FILE", first, 1);
    setenv("HOME", home, 1);
    assert_int_equal(0, tarn_docker_config_find(&got, "h.io", "r", &err));
    tarn_autofree char *places = tarn_asprintf("%s\n%s\n%s", first, third, fourth);
    same("find", "places", places, got.config_places);
    tarn_access_release(&got);
    write_file(first, "{\"auths\":{\"h.io\":{\"username\":\"late\"}}}");
    assert_int_equal(0, tarn_docker_config_search(places, &got, "h.io", "r", &err));
    same("search", "username", "late", got.username);
    tarn_access_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
