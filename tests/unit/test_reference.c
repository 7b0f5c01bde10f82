// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "registry/reference.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct good {
    const char *text;
    enum tarn_reference_kind kind;
    const char *host;
    const char *path;
    const char *tag;
    bool digest;
};

static const struct good good[] = {
    { "docker://ghcr.io/a/b:1", TARN_REFERENCE_DOCKER, "ghcr.io", "a/b", "1", false },
    { "ghcr.io/a/b", TARN_REFERENCE_DOCKER, "ghcr.io", "a/b", NULL, false },
    { "localhost:5000/x:y", TARN_REFERENCE_DOCKER, "localhost:5000", "x", "y", false },
    { "localhost/x", TARN_REFERENCE_DOCKER, "localhost", "x", NULL, false },
    { "127.0.0.1:5000/x", TARN_REFERENCE_DOCKER, "127.0.0.1:5000", "x", NULL, false },
    { "[::1]:5000/x:1", TARN_REFERENCE_DOCKER, "[::1]:5000", "x", "1", false },
    { "docker.io/ubuntu:22.04", TARN_REFERENCE_DOCKER, "docker.io", "library/ubuntu", "22.04",
      false },
    { "docker.io/a/b", TARN_REFERENCE_DOCKER, "docker.io", "a/b", NULL, false },
    { "docker://h.io/a@sha256:" HEX, TARN_REFERENCE_DOCKER, "h.io", "a", NULL, true },
    { "docker://h.io/a:t@sha256:" HEX, TARN_REFERENCE_DOCKER, "h.io", "a", "t", true },
    { "h.io/a--b__c_d.e/f", TARN_REFERENCE_DOCKER, "h.io", "a--b__c_d.e/f", NULL, false },
    { "oci:dir", TARN_REFERENCE_OCI, NULL, "dir", NULL, false },
    { "oci:/a b/c:latest", TARN_REFERENCE_OCI, NULL, "/a b/c", "latest", false },
    { "oci:dir:docker.io/library/x:1@y", TARN_REFERENCE_OCI, NULL, "dir", "docker.io/library/x:1@y",
      false },
    { "oci:dir@sha256:" HEX, TARN_REFERENCE_OCI, NULL, "dir", NULL, true },
    { "oci:dir:t@sha256:" HEX, TARN_REFERENCE_OCI, NULL, "dir", "t", true },
    { "oci:user@host:tag", TARN_REFERENCE_OCI, NULL, "user@host", "tag", false },
    { "oci:x@shade:tag", TARN_REFERENCE_OCI, NULL, "x@shade", "tag", false },
    { "oci-archive:x.tar:t", TARN_REFERENCE_OCI_ARCHIVE, NULL, "x.tar", "t", false },
    { "oci-archive:x.tar", TARN_REFERENCE_OCI_ARCHIVE, NULL, "x.tar", NULL, false },
    { "tar:a:b.tar", TARN_REFERENCE_TAR, NULL, "a:b.tar", NULL, false },
    { "dir:/a:b", TARN_REFERENCE_DIR, NULL, "/a:b", NULL, false },
};

static void same(const char *text, const char *field, const char *want, const char *got)
{
    if (!want != !got || (want && strcmp(want, got) != 0))
        fail_msg("%s: %s: want %s, got %s", text, field, want ? want : "(none)",
                 got ? got : "(none)");
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct tarn_reference got;
        struct tarn_err err;
        if (tarn_reference_parse(good[i].text, &got, &err) < 0)
            fail_msg("%s: %s", good[i].text, err.text);
        if (got.kind != good[i].kind || got.has_digest != good[i].digest)
            fail_msg("%s: want kind %d digest %d, got %d %d", good[i].text, good[i].kind,
                     good[i].digest, got.kind, got.has_digest);
        same(good[i].text, "text", good[i].text, got.text);
        same(good[i].text, "host", good[i].host, got.host);
        same(good[i].text, "path", good[i].path, got.path);
        same(good[i].text, "tag", good[i].tag, got.tag);
        same(good[i].text, "tag or latest", good[i].tag ? good[i].tag : "latest",
             tarn_reference_tag(&got));
        if (got.has_digest) {
            char text[TARN_DIGEST_TEXT];
            same(good[i].text, "digest", "sha256:" HEX, tarn_digest_format(&got.digest, text));
        }
        tarn_reference_release(&got);
    }
}

static const struct {
    const char *text;
    int code;
    const char *words; // in the message
} bad[] = {
    { "", -EINVAL, "expected docker://HOST" },
    { "docker://", -EINVAL, "expected docker://HOST" },
    { "ubuntu:22.04", -EINVAL, "write docker://docker.io/library/ubuntu:22.04" },
    { "library/ubuntu", -EINVAL, "write docker://docker.io/library/ubuntu" },
    { "./layout", -EINVAL, "write oci:./layout" },
    { "/layout", -EINVAL, "write oci:/layout" },
    { "docker-archive:x", -EINVAL, "'docker-archive:' is not supported" },
    { "docker:x", -EINVAL, "'docker:' is not supported" },
    { "h.io/Upper", -EINVAL, "lower-case" },
    { "h.io/a//b", -EINVAL, "bad repository" },
    { "h.io/", -EINVAL, "bad repository" },
    { "h.io/a:", -EINVAL, "bad tag" },
    { "h.io/a:-x", -EINVAL, "bad tag" },
    { "h.io:0/a", -EINVAL, "HOST:PORT" },
    { "h.io:65536/a", -EINVAL, "HOST:PORT" },
    { "h_.io/a", -EINVAL, "HOST:PORT" },
    { "[::1/a", -EINVAL, "HOST:PORT" },
    { "h.io/a@sha256:12", -EINVAL, "64 lower-case hex" },
    { "h.io/a@sha512:12", -ENOTSUP, "only sha256" },
    { "oci:", -EINVAL, "no path" },
    { "oci::tag", -EINVAL, "no path" },
    { "oci:dir:", -EINVAL, "the tag is empty" },
    { "oci:dir@sha256:12", -EINVAL, "64 lower-case hex" },
    { "oci:dir@sha512:12", -ENOTSUP, "only sha256" },
    { "oci-archive:", -EINVAL, "expected oci-archive:FILE" },
    { "tar:", -EINVAL, "expected tar:FILE" },
    { "dir:", -EINVAL, "expected dir:PATH" },
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tarn_reference got;
        struct tarn_err err = { 0 };
        const int ret = tarn_reference_parse(bad[i].text, &got, &err);
        if (ret != bad[i].code || !strstr(err.text, bad[i].words))
            fail_msg("'%s': want %d '%s', got %d '%s'", bad[i].text, bad[i].code, bad[i].words, ret,
                     err.text);
        if (tarn_reference_parse(bad[i].text, &got, NULL) != bad[i].code)
            fail_msg("'%s': another code without err", bad[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_good), cmocka_unit_test(test_bad) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
