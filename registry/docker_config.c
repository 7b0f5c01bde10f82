// SPDX-License-Identifier: Apache-2.0
#include "registry/docker_config.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/file.h"
#include "registry/credential_helper.h"

enum { FILE_MAX = 1 << 20 };

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_KEY "https://index.docker.io/v1/" // what docker calls it in its files

// What is looked for.
struct target {
    const char *file; // for messages
    const char *host;
    const char *repository;
};

// --- keys -----------------------------------------------------------------------------------------------

// A key's parts: the host, and the path behind it without slashes around it.
struct key {
    const char *host;
    size_t host_length;
    const char *path;
    size_t path_length;
};

static struct key split_key(const char *text)
{
    bool url = true;
    if (strncasecmp(text, "https://", 8) == 0)
        text += 8;
    else if (strncasecmp(text, "http://", 7) == 0)
        text += 7;
    else
        url = false;
    const size_t host = strcspn(text, "/");
    struct key key = { text, host, text + host, 0 };
    while (*key.path == '/')
        key.path++;
    key.path_length = strlen(key.path);
    // "/v1/" names the protocol, not a repository; without the last slash only in a URL.
    if (strcmp(key.path, "v1/") == 0 || strcmp(key.path, "v2/") == 0 ||
        (url && (strcmp(key.path, "v1") == 0 || strcmp(key.path, "v2") == 0)))
        key.path_length = 0;
    while (key.path_length > 0 && key.path[key.path_length - 1] == '/')
        key.path_length--;
    return key;
}

static bool is_host(const char *text, size_t length, const char *host)
{
    return strlen(host) == length && strncasecmp(text, host, length) == 0;
}

static bool is_docker_hub(const char *text, size_t length)
{
    return is_host(text, length, DOCKER_HUB) || is_host(text, length, "index.docker.io") ||
           is_host(text, length, "registry-1.docker.io");
}

// How well a key fits: 0 not at all, else more for a longer path, and a little for the plain spelling.
static size_t fit(const char *text, const struct target *target)
{
    const struct key key = split_key(text);
    if (!is_host(key.host, key.host_length, target->host) &&
        !(is_docker_hub(key.host, key.host_length) &&
          is_docker_hub(target->host, strlen(target->host))))
        return 0;
    if (strncmp(key.path, target->repository, key.path_length) != 0)
        return 0;
    const char end = target->repository[key.path_length];
    if (key.path_length > 0 && end != '\0' && end != '/')
        return 0;
    return 2 + 2 * key.path_length + (key.host == text);
}

// --- entries --------------------------------------------------------------------------------------------

static int damaged(const struct target *target, const char *what, struct tarn_err *err)
{
    return tarn_fail(err, -EINVAL, "%.400s: %s; repair it, or run `skopeo login %.255s`",
                     target->file, what, target->host);
}

// *text: the member, NULL where it is absent or empty.
static int get_string(const json_t *object, const char *name, const char **text)
{
    const json_t *value = json_object_get(object, name);
    *text = NULL;
    if (!value || json_is_null(value))
        return 0;
    const char *string = json_string_value(value);
    if (!string || strlen(string) != json_string_length(value))
        return -EINVAL;
    if (*string)
        *text = string;
    return 0;
}

// "user:password" in base64. Old docker put zeros behind the password.
static int decode_auth(const char *auth, char **username, char **password)
{
    tarn_autobuf struct tarn_buf buf = { 0 };
    int ret = tarn_base64_decode(auth, &buf);
    if (ret == 0)
        ret = tarn_buf_append_zeros(&buf, 1);
    if (ret < 0)
        return ret;
    char *text = (char *)buf.data;
    const size_t length = strlen(text);
    char *colon = strchr(text, ':');
    for (size_t i = length; i < buf.length; i++)
        if (text[i] != '\0')
            colon = NULL;
    if (!colon)
        ret = -EINVAL;
    if (colon) {
        *colon = '\0';
        *username = strdup(text);
        *password = strdup(colon + 1);
        ret = *username && *password ? 0 : -ENOMEM;
    }
    explicit_bzero(buf.data, buf.length);
    return ret;
}

struct credentials {
    char *username;
    char *password;
    char *identity_token;
};

static void credentials_release(struct credentials *credentials)
{
    free(credentials->username);
    free(credentials->password);
    free(credentials->identity_token);
}

static int read_entry(const json_t *entry, struct credentials *credentials)
{
    const char *auth;
    const char *username;
    const char *password;
    const char *token;
    if (!json_is_object(entry) || get_string(entry, "auth", &auth) < 0 ||
        get_string(entry, "username", &username) < 0 ||
        get_string(entry, "password", &password) < 0 ||
        get_string(entry, "identitytoken", &token) < 0)
        return -EINVAL;
    if (auth) {
        const int ret = decode_auth(auth, &credentials->username, &credentials->password);
        if (ret < 0)
            return ret;
    } else if (username) {
        credentials->username = strdup(username);
        credentials->password = strdup(password ? password : "");
        if (!credentials->username || !credentials->password)
            return -ENOMEM;
    }
    if (!token)
        return 0;
    credentials->identity_token = strdup(token);
    return credentials->identity_token ? 0 : -ENOMEM;
}

// Puts them into access. -ENOENT: there are none.
static int take(struct credentials *credentials, struct tarn_access *access)
{
    if (!credentials->identity_token &&
        (!credentials->username || (!*credentials->username && !*credentials->password)))
        return -ENOENT;
    // Beside an identity token stand a user name that means nothing and no password.
    const bool password = credentials->password && *credentials->password;
    const bool pair = password || !credentials->identity_token;
    free(access->username);
    free(access->password);
    free(access->identity_token);
    access->username = pair ? tarn_steal(credentials->username) : NULL;
    access->password = pair ? tarn_steal(credentials->password) : NULL;
    access->identity_token = tarn_steal(credentials->identity_token);
    return 0;
}

static int run_helper(const char *name, const char *server, struct tarn_access *access,
                      const struct target *target, struct tarn_err *err)
{
    const int ret = tarn_credential_helper_get(name, server, access, err);
    if (ret == -EINVAL || ret == -EACCES) {
        const struct tarn_err cause = err ? *err : (struct tarn_err){ 0 };
        return tarn_fail(err, ret,
                         "%.300s names a credential helper for %.255s, but %.300s; repair "
                         "it, or run `skopeo login %.255s`",
                         target->file, target->host, cause.text, target->host);
    }
    return ret;
}

// The entries of "auths" that fit, the best one first, until one holds something; *bare is the best key of
// one that is empty, which says that docker's store has the credentials.
static int search_auths(const json_t *auths, struct tarn_access *access,
                        const struct target *target, const char **bare, struct tarn_err *err)
{
    json_t *object = (json_t *)(uintptr_t)auths;
    *bare = NULL;
    for (size_t below = SIZE_MAX;;) {
        const char *best = NULL;
        size_t best_fit = 0;
        const char *name;
        json_t *value;
        json_object_foreach(object, name, value)
        {
            const size_t own = fit(name, target);
            if (own > best_fit && own < below) {
                best = name;
                best_fit = own;
            }
        }
        if (!best)
            return -ENOENT;
        struct credentials credentials = { 0 };
        int ret = read_entry(json_object_get(object, best), &credentials);
        if (ret == 0)
            ret = take(&credentials, access);
        credentials_release(&credentials);
        if (ret == -EINVAL)
            return damaged(target,
                           "the entry of \"auths\" for this registry is not base64 of "
                           "USER:PASSWORD, nor username and password",
                           err);
        if (ret != -ENOENT)
            return ret < 0 ? tarn_fail(err, ret, "out of memory") : 0;
        if (!*bare)
            *bare = best;
        below = best_fit;
    }
}

static const char *server_name(const struct target *target)
{
    return is_docker_hub(target->host, strlen(target->host)) ? DOCKER_HUB_KEY : target->host;
}

// *name: the helper that the file names for just this registry, "" for none at all, or NULL.
static int find_helper(const json_t *helpers, const struct target *target, const char **name,
                       const char **server)
{
    json_t *object = (json_t *)(uintptr_t)helpers;
    size_t best = 0;
    const char *key;
    json_t *value;
    *name = NULL;
    json_object_foreach(object, key, value)
    {
        const size_t own = fit(key, target);
        if (own <= best)
            continue;
        if (!json_is_string(value))
            return -EINVAL;
        best = own;
        *name = json_string_value(value);
        *server = is_docker_hub(target->host, strlen(target->host)) ? DOCKER_HUB_KEY : key;
    }
    return 0;
}

static int search(const json_t *json, struct tarn_access *access, const struct target *target,
                  struct tarn_err *err)
{
    const json_t *auths = json_object_get(json, "auths");
    const json_t *helpers = json_object_get(json, "credHelpers");
    const char *store;
    if ((auths && !json_is_object(auths)) || (helpers && !json_is_object(helpers)) ||
        get_string(json, "credsStore", &store) < 0)
        return damaged(
            target, "\"auths\", \"credHelpers\" or \"credsStore\" is not what docker writes", err);
    const char *helper;
    const char *server;
    if (find_helper(helpers, target, &helper, &server) < 0)
        return damaged(target, "\"credHelpers\" is not what docker writes", err);
    int ret = -ENOENT;
    if (helper && *helper)
        ret = run_helper(helper, server, access, target, err);
    const char *bare = NULL;
    if (ret == -ENOENT)
        ret = search_auths(auths, access, target, &bare, err);
    if (ret == -ENOENT && store && !helper)
        ret = run_helper(store, bare ? bare : server_name(target), access, target, err);
    return ret;
}

// --- files ----------------------------------------------------------------------------------------------

int tarn_docker_config_read(const char *file, struct tarn_access *access, const char *host,
                            const char *repository, struct tarn_err *err)
{
    const struct target target = { file, host, repository };
    tarn_autobuf struct tarn_buf text = { 0 };
    int ret = tarn_file_read(AT_FDCWD, file, FILE_MAX, &text, err);
    if (ret == -ENOENT || ret == -ENOTDIR)
        return -ENOENT;
    if (ret < 0 && ret != -ENOMEM) {
        // tarn_file_read() names the file and the reason.
        ret = ret == -EACCES || ret == -EPERM ? -EACCES : -EINVAL;
        const struct tarn_err cause = err ? *err : (struct tarn_err){ 0 };
        return tarn_fail(err, ret, "%.600s; repair it, or run `skopeo login %.255s`", cause.text,
                         host);
    }
    if (ret < 0)
        return ret;
    // An empty file is what a login that was undone may leave. The parser's words could quote a secret.
    if (text.length == 0)
        return -ENOENT;
    tarn_autojson json_t *json = tarn_json_parse(text.data, text.length, "", NULL);
    explicit_bzero(text.data, text.length);
    if (!json)
        return damaged(&target, "it is not a JSON object", err);
    tarn_autofree char *name = strdup(file);
    if (!name)
        return tarn_fail(err, -ENOMEM, "out of memory");
    ret = search(json, access, &target, err);
    if (ret == 0) {
        free(access->config_file);
        access->config_file = tarn_steal(name);
    }
    return ret;
}

// The I-th place to look, in *path, absolute, because a daemon with another working directory reads it
// again; *path NULL: the environment does not name it.
static int place(unsigned i, char **path)
{
    static const struct {
        const char *variable;
        const char *below;
    } places[] = {
        { "REGISTRY_AUTH_FILE", NULL },
        { "DOCKER_CONFIG", "config.json" },
        { "XDG_RUNTIME_DIR", "containers/auth.json" },
        { "HOME", ".docker/config.json" },
    };
    *path = NULL;
    if (i >= sizeof places / sizeof places[0])
        return -ERANGE;
    const char *value = getenv(places[i].variable);
    const bool set = value && *value;
    tarn_autofree char *name = NULL;
    // Where skopeo and podman keep it for a user without a session, such as root.
    if (!set && strcmp(places[i].variable, "XDG_RUNTIME_DIR") == 0)
        name = tarn_asprintf("/run/containers/%u/auth.json", (unsigned)getuid());
    else if (!set)
        return 0;
    else
        name = places[i].below ? tarn_path_join(value, places[i].below) : strdup(value);
    if (!name)
        return -ENOMEM;
    if (*name == '/') {
        *path = tarn_steal(name);
        return 0;
    }
    tarn_autofree char *here = getcwd(NULL, 0);
    if (!here)
        return -errno;
    *path = tarn_path_join(here, name);
    return *path ? 0 : -ENOMEM;
}

int tarn_docker_config_search(const char *places, struct tarn_access *access, const char *host,
                              const char *repository, struct tarn_err *err)
{
    for (const char *p = places; *p;) {
        const size_t length = strcspn(p, "\n");
        tarn_autofree char *file = strndup(p, length);
        if (!file)
            return tarn_fail(err, -ENOMEM, "out of memory");
        const int ret = tarn_docker_config_read(file, access, host, repository, err);
        if (ret != -ENOENT)
            return ret;
        p += length + (p[length] == '\n');
    }
    return -ENOENT;
}

// All places, one a line. A path with a newline in it is none.
static int list_places(char **places)
{
    tarn_autobuf struct tarn_buf list = { 0 };
    int ret = 0;
    for (unsigned i = 0; ret == 0; i++) {
        tarn_autofree char *path = NULL;
        ret = place(i, &path);
        if (ret == 0 && path && !strchr(path, '\n'))
            ret = tarn_buf_printf(&list, "%s%s", list.length > 0 ? "\n" : "", path);
    }
    if (ret == -ERANGE)
        ret = tarn_buf_append_zeros(&list, 1);
    if (ret == 0)
        *places = (char *)tarn_steal(list.data);
    return ret;
}

int tarn_docker_config_find(struct tarn_access *access, const char *host, const char *repository,
                            struct tarn_err *err)
{
    char *places = NULL;
    int ret = list_places(&places);
    if (ret < 0 || !places)
        return tarn_fail_errno(err, ret < 0 ? ret : -ENOMEM, "cannot look for credentials");
    free(access->config_places);
    access->config_places = places;
    ret = tarn_docker_config_search(places, access, host, repository, err);
    if (ret < 0 && ret != -ENOENT)
        return ret;
    access->known = true;
    return 0;
}
