// SPDX-License-Identifier: Apache-2.0
// A manifest or index from a registry, whole, and right before anyone sees it.
#include <string.h>

#include "registry/oci.h"
#include "registry/remote_internal.h"

enum { TRIES = 2 }; // with a wrong digest

struct tarn_document {
    struct tarn_call *call;
    struct tarn_buf *buf;
    char **next; // or NULL
    tarn_done *done;
    void *context;
    char *what;
    bool has_digest;
    struct tarn_digest digest;
    bool has_told; // by the registry
    struct tarn_digest told;
    char media_type[160]; // of the answer, "" if unknown
    unsigned wrong;
};

static void document_free(struct tarn_document *document)
{
    free(document->what);
    free(document);
}

// The target of a Link header's rel="next" (RFC 8288), as an absolute URL, fresh; NULL: there is none.
static char *next_page(const struct tarn_http_head *head)
{
    tarn_autofree char *links = tarn_http_header_list(head, "Link");
    for (const char *p = links; p && (p = strchr(p, '<'));) {
        const char *end = strchr(p, '>');
        if (!end)
            break;
        const char *next_link = strchr(end, '<');
        const size_t length = next_link ? (size_t)(next_link - end) : strlen(end);
        tarn_autofree char *parameters = strndup(end, length);
        if (parameters &&
            (strcasestr(parameters, "rel=\"next\"") || strcasestr(parameters, "rel=next"))) {
            tarn_autofree char *target = strndup(p + 1, (size_t)(end - p - 1));
            return target ? tarn_http_resolve(head->url, target) : NULL;
        }
        p = end;
    }
    return NULL;
}

static int on_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    struct tarn_document *document = context;
    document->buf->length = 0;
    if (head->status != 200)
        return tarn_call_unexpected(head, document->what, err);
    const char *encoding = tarn_http_header(head, "Content-Encoding");
    if (encoding && strcmp(encoding, "identity") != 0)
        return tarn_fail(err, -EIO, "%s comes with Content-Encoding %.60s, which nobody asked for",
                         document->what, encoding);
    if (head->length != UINT64_MAX && head->length > TARN_MANIFEST_LIMIT)
        return tarn_fail(err, -EFBIG, "%s has more than %d bytes", document->what,
                         TARN_MANIFEST_LIMIT);
    if (document->next) {
        free(*document->next);
        *document->next = next_page(head);
    }
    const char *told = tarn_http_header(head, "Docker-Content-Digest");
    document->has_told = told && tarn_digest_parse(told, &document->told, NULL) == 0;
    const char *type = tarn_http_header(head, "Content-Type");
    snprintf(document->media_type, sizeof document->media_type, "%.*s",
             type ? (int)strcspn(type, "; ") : 0, type ? type : "");
    return 0;
}

static int on_data(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    struct tarn_document *document = context;
    if (length > TARN_MANIFEST_LIMIT - document->buf->length)
        return tarn_fail(err, -EFBIG, "%s has more than %d bytes", document->what,
                         TARN_MANIFEST_LIMIT);
    return tarn_buf_append(document->buf, bytes, length) < 0
               ? tarn_fail(err, -ENOMEM, "out of memory")
               : 0;
}

static int wrong(struct tarn_document *document, const struct tarn_digest *found,
                 const char *against, struct tarn_err *err)
{
    char text[TARN_DIGEST_TEXT];
    const int code = ++document->wrong < TRIES ? -EAGAIN : -EIO;
    return tarn_fail(err, code, "%s came with digest %s, which is not %s", document->what,
                     tarn_digest_format(found, text), against);
}

// The document's own mediaType against the answer's, where both are types of manifests.
static int check_type(const struct tarn_document *document, struct tarn_err *err)
{
    tarn_autojson json_t *json =
        tarn_json_parse(document->buf->data, document->buf->length, document->what, err);
    if (!json)
        return -EUCLEAN;
    const char *own = tarn_json_string(json, "mediaType");
    const char *type = document->media_type;
    if (own && (tarn_media_is_manifest(type) || tarn_media_is_index(type)) &&
        strcmp(own, type) != 0)
        return tarn_fail(err, -EIO, "%s calls itself %.100s, the registry calls it %s",
                         document->what, own, type);
    return 0;
}

static int on_end(void *context, struct tarn_err *err)
{
    struct tarn_document *document = context;
    struct tarn_digest found;
    tarn_sha256(document->buf->data, document->buf->length, &found);
    if (document->has_digest && !tarn_digest_equal(&found, &document->digest))
        return wrong(document, &found, "the one that was asked for", err);
    if (document->has_told && !tarn_digest_equal(&found, &document->told))
        return wrong(document, &found, "what its Docker-Content-Digest says", err);
    return check_type(document, err);
}

static void on_done(void *context, int status, const struct tarn_err *err)
{
    struct tarn_document *document = context;
    tarn_done *done = document->done;
    void *user = document->context;
    if (status < 0)
        document->buf->length = 0;
    document_free(document);
    done(user, status, err);
}

int tarn_document_start(struct tarn_remote *remote, const struct tarn_document_read *read,
                        struct tarn_document **document, struct tarn_err *err)
{
    struct tarn_document *new = calloc(1, sizeof *new);
    char *what = strdup(read->what);
    if (!new || !what) {
        free(new);
        free(what);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    *new = (struct tarn_document){
        .buf = read->buf,
        .next = read->next,
        .done = read->done,
        .context = read->context,
        .what = what,
        .has_digest = read->digest != NULL,
    };
    if (read->digest)
        new->digest = *read->digest;
    const struct tarn_call_request request = {
        .method = "GET",
        .path = read->path,
        .url = read->url,
        .headers = { tarn_remote_accept },
        .scope = tarn_remote_scope(remote),
        .context = new,
        .head = on_head,
        .data = on_data,
        .end = on_end,
        .done = on_done,
    };
    const int ret = tarn_call_start(remote->endpoint, &request, &new->call, err);
    if (ret < 0) {
        document_free(new);
        return ret;
    }
    *document = new;
    return 0;
}

void tarn_document_cancel(struct tarn_document *document)
{
    tarn_call_cancel(document->call);
    document_free(document);
}
