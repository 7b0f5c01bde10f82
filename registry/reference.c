// SPDX-License-Identifier: Apache-2.0
#include "registry/reference.h"

#include <ctype.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/file.h"

enum { REPOSITORY_MAX = 255, TAG_MAX = 128 };

#define FORMS                                                                                      \
    "docker://HOST/REPOSITORY[:TAG][@sha256:DIGEST], oci:DIRECTORY[:TAG], "                        \
    "oci-archive:FILE[:TAG], "                                                                     \
    "tar:FILE or dir:PATH"

static int copy(char **field, const char *text, size_t length, struct tarn_err *err)
{
    *field = strndup(text, length);
    return *field ? 0 : tarn_fail(err, -ENOMEM, "out of memory");
}

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

// [a-z0-9]+ joined by '.', '_', '__' or any number of '-', as the distribution specification has it.
static bool component_ok(const char *p, size_t n)
{
    size_t i = 0;
    for (;;) {
        const size_t start = i;
        while (i < n && lower_or_digit(p[i]))
            i++;
        if (i == start)
            return false;
        if (i == n)
            return true;
        if (p[i] == '-') {
            while (i < n && p[i] == '-')
                i++;
        } else if (p[i] == '_') {
            i += i + 1 < n && p[i + 1] == '_' ? 2 : 1;
        } else if (p[i] == '.') {
            i++;
        } else {
            return false;
        }
    }
}

static bool repository_ok(const char *p, size_t n)
{
    if (n > REPOSITORY_MAX)
        return false;
    for (;;) {
        const char *slash = memchr(p, '/', n);
        const size_t length = slash ? (size_t)(slash - p) : n;
        if (!component_ok(p, length))
            return false;
        if (!slash)
            return true;
        p += length + 1;
        n -= length + 1;
    }
}

static bool tag_ok(const char *p, size_t n)
{
    if (n == 0 || n > TAG_MAX || *p == '.' || *p == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && p[i] != '_' && p[i] != '.' && p[i] != '-')
            return false;
    return true;
}

static bool port_ok(const char *p, size_t n)
{
    unsigned value = 0;
    if (n == 0 || n > 5)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(p[i] - '0');
    }
    return value > 0 && value <= 65535;
}

// A name or IPv4 address, or an IPv6 address in brackets, and perhaps a port.
static bool host_ok(const char *p, size_t n)
{
    size_t i = 0;
    if (n > 0 && *p == '[') {
        for (i = 1; i < n && (isxdigit((unsigned char)p[i]) || p[i] == ':' || p[i] == '.'); i++)
            ;
        if (i < 3 || i == n || p[i++] != ']')
            return false;
    } else {
        while (i < n && (isalnum((unsigned char)p[i]) || p[i] == '.' || p[i] == '-'))
            i++;
        if (i == 0 || p[0] == '.' || p[0] == '-')
            return false;
    }
    return i == n || (p[i] == ':' && port_ok(p + i + 1, n - i - 1));
}

// What tells a host from the first part of a repository, as docker has it.
static bool looks_like_host(const char *p, size_t n)
{
    return memchr(p, '.', n) || memchr(p, ':', n) || (n == 9 && memcmp(p, "localhost", 9) == 0);
}

static int parse_host(struct tarn_reference *reference, const char **rest, struct tarn_err *err)
{
    const char *text = *rest;
    const size_t head = strcspn(text, "/");
    if (text[0] == '\0')
        return tarn_fail(err, -EINVAL, "reference '%.300s' is empty: expected " FORMS,
                         reference->text);
    if (text[0] == '/' || text[0] == '.')
        return tarn_fail(err, -EINVAL,
                         "reference '%.300s' names no registry host; for a layout on disk write "
                         "oci:%.300s",
                         reference->text, text);
    if (text[head] == '\0' || !looks_like_host(text, head))
        return tarn_fail(
            err, -EINVAL,
            "reference '%.300s' names no registry host; write docker://docker.io/%s%.300s, "
            "or oci:DIRECTORY[:TAG] for a layout on disk",
            reference->text, text[head] ? "" : "library/", text);
    if (!host_ok(text, head))
        return tarn_fail(err, -EINVAL, "reference '%.300s': '%.*s' is not HOST or HOST:PORT",
                         reference->text, (int)tarn_min_u64(head, 100), text);
    *rest = text + head + 1;
    return copy(&reference->host, text, head, err);
}

static int parse_docker(struct tarn_reference *reference, const char *rest, struct tarn_err *err)
{
    int ret = parse_host(reference, &rest, err);
    if (ret < 0)
        return ret;
    size_t length = strlen(rest);
    const char *at = strchr(rest, '@');
    if (at) {
        ret = tarn_digest_parse(at + 1, &reference->digest, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "reference '%.300s'", reference->text);
        reference->has_digest = true;
        length = (size_t)(at - rest);
    }
    const char *colon = memrchr(rest, ':', length);
    if (colon) {
        const size_t tag = length - (size_t)(colon + 1 - rest);
        if (!tag_ok(colon + 1, tag))
            return tarn_fail(
                err, -EINVAL,
                "reference '%.300s': bad tag '%.*s'; expected 1 to 128 letters, digits, "
                "'_', '.' and '-', not starting with '.' or '-'",
                reference->text, (int)tarn_min_u64(tag, 140), colon + 1);
        ret = copy(&reference->tag, colon + 1, tag, err);
        if (ret < 0)
            return ret;
        length = (size_t)(colon - rest);
    }
    if (!repository_ok(rest, length))
        return tarn_fail(
            err, -EINVAL,
            "reference '%.300s': bad repository '%.*s'; expected lower-case letters and "
            "digits, joined by '.', '_', '__', '-' and '/'",
            reference->text, (int)tarn_min_u64(length, 260), rest);
    ret = copy(&reference->path, rest, length, err);
    // Docker Hub keeps its one-word repositories under "library/".
    if (ret == 0 && strcmp(reference->host, "docker.io") == 0 && !strchr(reference->path, '/')) {
        char *full = tarn_asprintf("library/%s", reference->path);
        if (!full)
            return tarn_fail(err, -ENOMEM, "out of memory");
        free(reference->path);
        reference->path = full;
    }
    return ret;
}

// Where "@ALGORITHM:HEX" at the end of text starts, or NULL. A tag may hold '@' itself, so that only
// what looks like a digest counts as one.
static const char *digest_suffix(const char *text)
{
    const char *at = strrchr(text, '@');
    if (!at || strncmp(at + 1, "sha", 3) != 0)
        return NULL;
    const char *p = at + 4;
    while (isdigit((unsigned char)*p))
        p++;
    return p > at + 4 && *p == ':' && !strchr(p, '/') ? at : NULL;
}

// PATH[:TAG][@DIGEST]: as in skopeo, the first colon ends the path, and a tag is any text.
static int parse_layout(struct tarn_reference *reference, const char *rest, struct tarn_err *err)
{
    size_t length = strlen(rest);
    const char *at = digest_suffix(rest);
    if (at) {
        const int ret = tarn_digest_parse(at + 1, &reference->digest, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "reference '%.300s'", reference->text);
        reference->has_digest = true;
        length = (size_t)(at - rest);
    }
    const char *colon = memchr(rest, ':', length);
    const size_t path = colon ? (size_t)(colon - rest) : length;
    const char *form = reference->kind == TARN_REFERENCE_OCI ? "oci:DIRECTORY" : "oci-archive:FILE";
    if (path == 0)
        return tarn_fail(err, -EINVAL,
                         "reference '%.300s': no path; expected %s[:TAG][@sha256:DIGEST]",
                         reference->text, form);
    if (colon && path + 1 == length)
        return tarn_fail(err, -EINVAL,
                         "reference '%.300s': the tag is empty; expected %s[:TAG][@sha256:DIGEST]",
                         reference->text, form);
    int ret = copy(&reference->path, rest, path, err);
    if (ret == 0 && colon)
        ret = copy(&reference->tag, colon + 1, length - path - 1, err);
    return ret;
}

static int parse_plain(struct tarn_reference *reference, const char *rest, struct tarn_err *err)
{
    if (*rest == '\0')
        return tarn_fail(err, -EINVAL, "reference '%.300s': no path; expected %s", reference->text,
                         reference->kind == TARN_REFERENCE_TAR ? "tar:FILE" : "dir:PATH");
    return copy(&reference->path, rest, strlen(rest), err);
}

// The image tools' other transports, so that they are refused by name.
static int refuse_transport(const char *text, struct tarn_err *err)
{
    static const char *const known[] = { "docker-archive:", "docker-daemon:", "containers-storage:",
                                         "ostree:",         "sif:",           "atomic:",
                                         "docker:" };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(text, known[i], strlen(known[i])) == 0)
            return tarn_fail(err, -EINVAL,
                             "reference '%.300s': '%s' is not supported; expected " FORMS, text,
                             known[i]);
    return 0;
}

static int parse(struct tarn_reference *reference, struct tarn_err *err)
{
    static const struct {
        const char *prefix;
        enum tarn_reference_kind kind;
        int (*parse)(struct tarn_reference *, const char *, struct tarn_err *);
    } transports[] = {
        { "docker://", TARN_REFERENCE_DOCKER, parse_docker },
        { "oci:", TARN_REFERENCE_OCI, parse_layout },
        { "oci-archive:", TARN_REFERENCE_OCI_ARCHIVE, parse_layout },
        { "tar:", TARN_REFERENCE_TAR, parse_plain },
        { "dir:", TARN_REFERENCE_DIR, parse_plain },
    };
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        const size_t length = strlen(transports[i].prefix);
        if (strncmp(reference->text, transports[i].prefix, length) == 0) {
            reference->kind = transports[i].kind;
            return transports[i].parse(reference, reference->text + length, err);
        }
    }
    const int ret = refuse_transport(reference->text, err);
    return ret < 0 ? ret : parse_docker(reference, reference->text, err);
}

int tarn_reference_parse(const char *text, struct tarn_reference *reference, struct tarn_err *err)
{
    *reference = (struct tarn_reference){ .kind = TARN_REFERENCE_DOCKER, .text = strdup(text) };
    if (!reference->text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const int ret = parse(reference, err);
    if (ret < 0)
        tarn_reference_release(reference);
    return ret;
}

void tarn_reference_release(struct tarn_reference *reference)
{
    free(reference->text);
    free(reference->host);
    free(reference->path);
    free(reference->tag);
    *reference = (struct tarn_reference){ .kind = TARN_REFERENCE_DOCKER };
}

const char *tarn_reference_tag(const struct tarn_reference *reference)
{
    return reference->tag ? reference->tag : "latest";
}
