// SPDX-License-Identifier: Apache-2.0
#include "registry/access.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t offset;
} strings[] = {
    { "username", offsetof(struct tarn_access, username) },
    { "password", offsetof(struct tarn_access, password) },
    { "identity_token", offsetof(struct tarn_access, identity_token) },
    { "config_file", offsetof(struct tarn_access, config_file) },
    { "config_places", offsetof(struct tarn_access, config_places) },
    { "ca_file", offsetof(struct tarn_access, ca_file) },
}, flags[] = {
    { "known", offsetof(struct tarn_access, known) },
    { "insecure", offsetof(struct tarn_access, insecure) },
    { "plain_http", offsetof(struct tarn_access, plain_http) },
};

enum {
    STRINGS = sizeof strings / sizeof strings[0],
    FLAGS = sizeof flags / sizeof flags[0],
};

static char **string_at(struct tarn_access *access, size_t i)
{
    return (char **)((char *)access + strings[i].offset);
}

static const char *get_string(const struct tarn_access *access, size_t i)
{
    return *(char *const *)((const char *)access + strings[i].offset);
}

static bool get_flag(const struct tarn_access *access, size_t i)
{
    return *(const bool *)((const char *)access + flags[i].offset);
}

void tarn_access_release(struct tarn_access *access)
{
    for (size_t i = 0; i < STRINGS; i++) {
        char *text = *string_at(access, i);
        if (text)
            explicit_bzero(text, strlen(text));
        free(text);
    }
    *access = (struct tarn_access){ 0 };
}

int tarn_access_copy(const struct tarn_access *from, struct tarn_access *to)
{
    *to = *from;
    for (size_t i = 0; i < STRINGS; i++)
        *string_at(to, i) = NULL;
    for (size_t i = 0; i < STRINGS; i++) {
        const char *text = get_string(from, i);
        if (text && !(*string_at(to, i) = strdup(text))) {
            tarn_access_release(to);
            return -ENOMEM;
        }
    }
    return 0;
}

static unsigned timeout_of(const struct tarn_access *access)
{
    return access->timeout ? access->timeout : TARN_ACCESS_TIMEOUT;
}

bool tarn_access_equal(const struct tarn_access *a, const struct tarn_access *b)
{
    for (size_t i = 0; i < STRINGS; i++) {
        const char *x = get_string(a, i);
        const char *y = get_string(b, i);
        if (!x != !y || (x && strcmp(x, y) != 0))
            return false;
    }
    return a->insecure == b->insecure && a->plain_http == b->plain_http &&
           timeout_of(a) == timeout_of(b);
}

json_t *tarn_access_to_json(const struct tarn_access *access)
{
    tarn_autojson json_t *json = json_object();
    int ret = json ? 0 : -1;
    for (size_t i = 0; ret == 0 && i < STRINGS; i++) {
        const char *text = get_string(access, i);
        // Passwords and file names are bytes: what is not UTF-8 cannot stand in JSON, and is refused here
        // as NULL, never cut.
        json_t *value = text ? json_string(text) : NULL;
        const bool optional = strings[i].offset == offsetof(struct tarn_access, config_places);
        if (text && (value || !optional))
            ret = json_object_set_new(json, strings[i].name, value);
    }
    for (size_t i = 0; ret == 0 && i < FLAGS; i++)
        if (get_flag(access, i))
            ret = json_object_set_new(json, flags[i].name, json_true());
    if (ret == 0 && access->timeout)
        ret = json_object_set_new(json, "timeout", json_integer(access->timeout));
    return ret == 0 ? tarn_steal(json) : NULL;
}

// One member into access; -ENOENT: the name is unknown.
static int set_member(struct tarn_access *access, const char *name, const json_t *value)
{
    for (size_t i = 0; i < STRINGS; i++) {
        if (strcmp(name, strings[i].name) != 0)
            continue;
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value))
            return -EINVAL;
        *string_at(access, i) = strdup(text);
        return *string_at(access, i) ? 0 : -ENOMEM;
    }
    for (size_t i = 0; i < FLAGS; i++) {
        if (strcmp(name, flags[i].name) != 0)
            continue;
        if (!json_is_boolean(value))
            return -EINVAL;
        *(bool *)((char *)access + flags[i].offset) = json_is_true(value);
        return 0;
    }
    if (strcmp(name, "timeout") != 0)
        return -ENOENT;
    const json_int_t seconds = json_integer_value(value);
    if (!json_is_integer(value) || seconds < 0 || seconds > TARN_ACCESS_TIMEOUT_MAX)
        return -EINVAL;
    access->timeout = (unsigned)seconds;
    return 0;
}

int tarn_access_from_json(const json_t *json, struct tarn_access *access, struct tarn_err *err)
{
    *access = (struct tarn_access){ 0 };
    if (!json_is_object(json))
        return tarn_fail(err, -EINVAL, "access is not an object");
    // jansson's iteration wants an object that may be changed, and does not change it.
    json_t *object = json_incref((json_t *)(uintptr_t)json);
    const char *name;
    json_t *value;
    int ret = 0;
    json_object_foreach(object, name, value)
    {
        ret = set_member(access, name, value);
        if (ret < 0)
            break;
    }
    // A setting that is not understood is refused: it might have been the one that protects.
    if (ret == -ENOENT)
        ret = tarn_fail(err, -EINVAL, "access has a member \"%.100s\" that is not known", name);
    else if (ret == -EINVAL)
        tarn_fail(err, ret, "access: the value of \"%s\" is wrong", name);
    else if (ret < 0)
        tarn_fail(err, ret, "out of memory");
    json_decref(object);
    if (ret < 0)
        tarn_access_release(access);
    return ret;
}

bool tarn_access_loopback(const char *host)
{
    if (*host == '[')
        return strncmp(host, "[::1]", 5) == 0 && (host[5] == '\0' || host[5] == ':');
    char name[64];
    const size_t length = strcspn(host, ":");
    if (length >= sizeof name)
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    if (strcasecmp(name, "localhost") == 0)
        return true;
    // By its numbers, because 127.example.org is a name like any other.
    struct in_addr address;
    return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}
