// SPDX-License-Identifier: Apache-2.0
#include "registry/token_request.h"

#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/bytes.h"
#include "base/file.h"
#include "registry/http.h"

enum { REALM_MAX = 4096 };

static bool is_plain_http(const char *realm)
{
    return strncasecmp(realm, "http://", 7) == 0;
}

// Where the host starts, behind "http://" or "https://"; NULL for another URL.
static const char *behind_scheme(const char *realm)
{
    if (is_plain_http(realm))
        return realm + 7;
    return strncasecmp(realm, "https://", 8) == 0 ? realm + 8 : NULL;
}

// The host and port, without a user before them.
static const char *find_host(const char *realm, size_t *length)
{
    const char *start = behind_scheme(realm);
    if (!start)
        return NULL;
    // As curl reads it: a backslash is no end, and what is odd is refused by tarn_token_realm_check().
    const size_t all = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', all);
    const char *host = at ? at + 1 : start;
    *length = all - (size_t)(host - start);
    return host;
}

char *tarn_token_server_name(const char *realm)
{
    size_t length;
    const char *host = find_host(realm, &length);
    if (!host)
        return strdup("?");
    const size_t path = strcspn(host, "?#");
    return tarn_asprintf("%s://%.*s", is_plain_http(realm) ? "http" : "https",
                         (int)tarn_min_u64(path, 200), host);
}

int tarn_token_realm_check(const char *realm, struct tarn_err *err)
{
    size_t length = 0;
    const char *host = strlen(realm) <= REALM_MAX ? find_host(realm, &length) : NULL;
    // Only what stands in a URL, so that no other reader of it sees another host.
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._~:/?#[]@!$&'()*+,;=%";
    if (!host || length == 0 || realm[strspn(realm, allowed)] != '\0' ||
        memchr(behind_scheme(realm), '@', strcspn(behind_scheme(realm), "/?#")))
        return tarn_fail(err, -EACCES, "it names a token server that is no http or https URL");
    return 0;
}

bool tarn_token_realm_trusted(const char *realm, const char *host, const struct tarn_access *access)
{
    if (!is_plain_http(realm) || access->plain_http)
        return true;
    size_t length;
    const char *server = find_host(realm, &length);
    char name[256];
    if (!server || length >= sizeof name)
        return false;
    memcpy(name, server, length);
    name[length] = '\0';
    return !access->ca_file && tarn_access_loopback(host) && tarn_access_loopback(name);
}

// "&NAME=VALUE", escaped; nothing for NULL.
static int add(struct tarn_buf *buf, const char *name, const char *value)
{
    if (!value)
        return 0;
    tarn_autofree char *escaped = tarn_http_escape(value);
    if (!escaped)
        return -ENOMEM;
    const int ret = tarn_buf_printf(buf, "%s%s=%s", buf->length > 0 ? "&" : "", name, escaped);
    explicit_bzero(escaped, strlen(escaped));
    return ret;
}

static char *to_string(struct tarn_buf *buf)
{
    if (tarn_buf_append_zeros(buf, 1) < 0)
        return NULL;
    return (char *)tarn_steal(buf->data);
}

char *tarn_token_get_url(const struct tarn_token_request *request)
{
    tarn_autobuf struct tarn_buf query = { 0 };
    if (add(&query, "service", request->service) < 0)
        return NULL;
    for (const char *p = request->scopes; *p;) {
        const size_t length = strcspn(p, " ");
        tarn_autofree char *scope = strndup(p, length);
        if (!scope || (length > 0 && add(&query, "scope", scope) < 0))
            return NULL;
        p += length + (p[length] == ' ');
    }
    if (add(&query, "account", request->access->password ? request->access->username : NULL) < 0)
        return NULL;
    tarn_autofree char *parameters = to_string(&query);
    const size_t length = strcspn(request->realm, "#");
    const char *mark = memchr(request->realm, '?', length);
    const char *between = !mark ? "?" : mark + 1 == request->realm + length ? "" : "&";
    return parameters ? tarn_asprintf("%.*s%s%s", (int)length, request->realm, between, parameters)
                      : NULL;
}

char *tarn_token_post_body(const struct tarn_token_request *request)
{
    const struct tarn_access *access = request->access;
    const bool token = access->identity_token != NULL;
    tarn_autobuf struct tarn_buf body = { 0 };
    if (add(&body, "grant_type", token ? "refresh_token" : "password") < 0 ||
        add(&body, "client_id", "tarn") < 0 || add(&body, "service", request->service) < 0 ||
        add(&body, "scope", request->scopes) < 0 ||
        add(&body, "refresh_token", access->identity_token) < 0 ||
        add(&body, "username", token ? NULL : access->username) < 0 ||
        add(&body, "password", token ? NULL : access->password) < 0)
        return NULL;
    return to_string(&body);
}

char *tarn_basic_header(const struct tarn_access *access)
{
    tarn_autofree char *pair = tarn_asprintf("%s:%s", access->username, access->password);
    tarn_autofree char *text = pair ? tarn_base64_encode(pair, strlen(pair)) : NULL;
    if (pair)
        explicit_bzero(pair, strlen(pair));
    return text ? tarn_asprintf("Authorization: Basic %s", text) : NULL;
}

uint64_t tarn_token_renew_after(uint64_t lifetime)
{
    if (lifetime < 20000)
        return lifetime / 2;
    return tarn_max_u64(lifetime / 10 * 9, lifetime - 10000);
}
