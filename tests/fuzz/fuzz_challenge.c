// SPDX-License-Identifier: Apache-2.0
// What decides where a password goes, by the first byte: 0 a challenge and the token server that it names, 1
// a token server's answer, 2 docker's config.json, 3 the access that travels to the daemon. What is accepted
// must be fit to stand in a request; messages never show what was in a file or an answer. No program is run.
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "base/file.h"
#include "registry/challenge.h"
#include "registry/docker_config.h"
#include "registry/token_request.h"

static void fuzz_challenge(const char *text)
{
    struct tarn_challenge challenge;
    const int ret = tarn_challenge_parse(text, &challenge);
    assert(ret == 0);
    (void)ret;
    assert(challenge.kind != TARN_CHALLENGE_BEARER || challenge.realm);
    struct tarn_err err;
    if (challenge.kind == TARN_CHALLENGE_BEARER &&
        tarn_token_realm_check(challenge.realm, &err) == 0) {
        char user[] = "user";
        char password[] = "pass word&";
        const struct tarn_access access = { .username = user, .password = password };
        const struct tarn_token_request request = {
            .realm = challenge.realm,
            .service = challenge.service,
            .scopes = challenge.scope ? challenge.scope : "",
            .access = &access,
        };
        tarn_autofree char *url = tarn_token_get_url(&request);
        tarn_autofree char *body = tarn_token_post_body(&request);
        tarn_autofree char *name = tarn_token_server_name(challenge.realm);
        for (const char *p = url; *p; p++)
            assert(*p > ' ' && *p < 0x7f && *p != '#');
        for (const char *p = body; *p; p++)
            assert(*p > ' ' && *p < 0x7f);
        assert(!strchr(name, '@') || strchr(strchr(name, ':') + 3, '/'));
        const bool trusted = tarn_token_realm_trusted(challenge.realm, "h.io", &access);
        assert(trusted == (strncasecmp(challenge.realm, "https:", 6) == 0));
        (void)trusted;
    }
    tarn_challenge_release(&challenge);
}

static void fuzz_answer(const uint8_t *data, size_t size)
{
    struct tarn_token token;
    struct tarn_err err;
    if (tarn_token_parse(data, size, &token, &err) < 0) {
        assert(err.text[0] != '\0' && !token.text);
        return;
    }
    assert(token.expires_in > 0 && token.expires_in <= 86400 && token.text[0] != '\0');
    for (const char *p = token.text; *p; p++)
        assert(*p > ' ' && *p < 0x7f);
    free(token.text);
}

static void fuzz_config(const uint8_t *data, size_t size)
{
    tarn_autoclose int fd = memfd_create("config", MFD_CLOEXEC);
    assert(fd >= 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (tarn_write_full(fd, data, size) < 0)
        return;
    setenv("PATH", "/nonexistent", 1);
    static const char *const hosts[] = { "h.io", "localhost:5000", "docker.io" };
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct tarn_access access = { 0 };
        struct tarn_err err = { 0 };
        const int ret = tarn_docker_config_read(path, &access, hosts[i], "ns/repo", &err);
        assert(ret == 0 || ret == -ENOENT || ret == -EINVAL || ret == -EACCES);
        assert((ret == 0) == (access.identity_token || (access.username && access.password)));
        assert(ret == 0 || ret == -ENOENT || strstr(err.text, path));
        tarn_access_release(&access);
    }
}

static void fuzz_access(const uint8_t *data, size_t size)
{
    tarn_autojson json_t *json = tarn_json_parse(data, size, "access", NULL);
    struct tarn_access access;
    struct tarn_access copy;
    struct tarn_err err;
    if (!json || tarn_access_from_json(json, &access, &err) < 0)
        return;
    tarn_autojson json_t *again = tarn_access_to_json(&access);
    int ret = tarn_access_from_json(again, &copy, &err);
    assert(ret == 0 && tarn_access_equal(&access, &copy));
    tarn_access_release(&copy);
    ret = tarn_access_copy(&access, &copy);
    assert(ret == 0 && tarn_access_equal(&access, &copy));
    (void)ret;
    tarn_access_release(&copy);
    tarn_access_release(&access);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint8_t kind = data[0];
    tarn_autofree char *text = strndup((const char *)data + 1, size - 1);
    if (kind == 0)
        fuzz_challenge(text);
    else if (kind == 1)
        fuzz_answer(data + 1, size - 1);
    else if (kind == 2)
        fuzz_config(data + 1, size - 1);
    else
        fuzz_access(data + 1, size - 1);
    return 0;
}
