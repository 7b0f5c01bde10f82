// SPDX-License-Identifier: Apache-2.0
// Reads from a registry: blobs by remote_blob.c, documents by remote_document.c. A listing is made here, of
// up to two documents, one after the other:
//   REFERRERS  the referrers API, page by page until one has something of Tarn's; or where the registry
//              has none the tag that stands for it
//   LAYERS     what the tag shows, asked once; then the tag of the layer's key
#include <string.h>

#include "registry/oci.h"
#include "registry/remote_internal.h"

enum { PAGES_MAX = 100 }; // of referrers

struct transfer {
    struct tarn_remote_transfer base;
    struct tarn_remote *remote;
    struct tarn_read read;
    char *tag; // owns read.tag
    struct tarn_document *document;
    unsigned step;
    struct tarn_buf buf; // a document
    json_t *entries;     // of a listing
    char *next_page;     // of referrers: its URL, or NULL
    unsigned pages;      // of these, read
    bool telling;        // read.data() or read.done(): freed after it
    bool cancelled;
};

static void transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return;
    free(transfer->tag);
    free(transfer->next_page);
    tarn_buf_release(&transfer->buf);
    json_decref(transfer->entries);
    free(transfer);
}
TARN_DEFINE_CLEANUP(struct transfer, transfer_free)

static void cancel(struct tarn_remote_transfer *base)
{
    struct transfer *transfer = (struct transfer *)base;
    if (transfer->document)
        tarn_document_cancel(transfer->document);
    transfer->document = NULL;
    transfer->cancelled = true;
    if (!transfer->telling)
        transfer_free(transfer);
}

static void finish(struct transfer *transfer, int status, const struct tarn_err *err)
{
    struct tarn_err told = { 0 };
    if (status < 0)
        told = *err;
    transfer->document = NULL;
    transfer->telling = true;
    if (!transfer->cancelled)
        transfer->read.done(transfer->read.context, status, &told);
    transfer_free(transfer);
}

// --- documents --------------------------------------------------------------------------------------

static int start_document(struct transfer *transfer, const char *path,
                          const struct tarn_digest *digest, struct tarn_err *err);

// The next page of referrers.
static int start_page(struct transfer *transfer, struct tarn_err *err);

static int make_path(char *path, size_t size, const char *name)
{
    return snprintf(path, size, "manifests/%s", name) < (int)size ? 0 : -ENAMETOOLONG;
}

static bool is_tarn(const json_t *entry)
{
    const char *artifact = tarn_json_string(entry, "artifactType");
    return artifact && strcmp(artifact, TARN_ARTIFACT_TYPE) == 0;
}

static int append_tarn(json_t *entries, const json_t *document)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(document, "manifests"), i, entry)
    {
        if (is_tarn(entry) && json_array_append(entries, entry) < 0)
            return -ENOMEM;
    }
    return 0;
}

// The descriptor of a document that is a Tarn manifest itself.
static int append_self(json_t *entries, const struct tarn_buf *buf)
{
    struct tarn_digest digest;
    tarn_sha256(buf->data, buf->length, &digest);
    json_t *entry = tarn_descriptor_json(TARN_MEDIA_OCI_MANIFEST, &digest, buf->length);
    return json_array_append_new(entries, entry) < 0 ? -ENOMEM : 0;
}

// What a tag shows, for LAYERS.
static int add_candidates(struct transfer *transfer)
{
    tarn_autojson json_t *document =
        tarn_json_parse(transfer->buf.data, transfer->buf.length, "tag", NULL);
    if (!document)
        return 0;
    if (is_tarn(document))
        return append_self(transfer->entries, &transfer->buf);
    return append_tarn(transfer->entries, document);
}

// Entries of a referrers listing need not have the annotation that image_index.h looks for.
static int add_referrers(struct transfer *transfer)
{
    tarn_autojson json_t *document =
        tarn_json_parse(transfer->buf.data, transfer->buf.length, "referrers", NULL);
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(&transfer->read.digest, text);
    if (append_tarn(transfer->entries, document) < 0)
        return -ENOMEM;
    size_t i;
    json_t *entry;
    json_array_foreach(transfer->entries, i, entry)
    {
        json_t *annotations = json_object_get(entry, "annotations");
        if (!json_is_object(annotations)) {
            annotations = json_object();
            if (json_object_set_new(entry, "annotations", annotations) < 0)
                return -ENOMEM;
        }
        if (json_object_set_new(annotations, TARN_ANNOTATION_SUBJECT, json_string(text)) < 0)
            return -ENOMEM;
    }
    return 0;
}

static void hand_on(struct transfer *transfer, const void *bytes, size_t length)
{
    struct tarn_err err = { 0 };
    transfer->document = NULL;
    transfer->telling = true;
    const int ret = length > 0 ? transfer->read.data(transfer->read.context, bytes, length) : 0;
    if (ret < 0)
        tarn_fail_errno(&err, ret, "%s: reading was given up", transfer->remote->repository.name);
    finish(transfer, ret < 0 ? ret : 0, &err);
}

static void hand_on_listing(struct transfer *transfer)
{
    struct tarn_err err = { 0 };
    tarn_autojson json_t *index = json_pack("{s:i,s:s,s:O}", "schemaVersion", 2, "mediaType",
                                            TARN_MEDIA_OCI_INDEX, "manifests", transfer->entries);
    tarn_autofree char *text = index ? tarn_json_dump(index) : NULL;
    if (text) {
        hand_on(transfer, text, strlen(text));
        return;
    }
    tarn_fail(&err, -ENOMEM, "out of memory");
    finish(transfer, -ENOMEM, &err);
}

// The next document of a listing, or its end.
static int next_step(struct transfer *transfer, bool found, struct tarn_err *err)
{
    struct tarn_remote *remote = transfer->remote;
    char tag[TARN_REMOTE_TAG];
    char path[TARN_REMOTE_TAG + 16];
    const unsigned step = ++transfer->step;
    if (transfer->read.kind == TARN_READ_REFERRERS) {
        if (found && add_referrers(transfer) < 0)
            return tarn_fail(err, -ENOMEM, "out of memory");
        const bool more = found && transfer->next_page && json_array_size(transfer->entries) == 0;
        if (more && ++transfer->pages < PAGES_MAX) {
            transfer->step = 0;
            return start_page(transfer, err);
        }
        if (found || step == 2)
            return 0;
        tarn_remote_referrers_tag(&transfer->read.digest, tag);
    } else {
        if (found && add_candidates(transfer) < 0)
            return tarn_fail(err, -ENOMEM, "out of memory");
        if (step == 2)
            return 0;
        json_decref(remote->listed);
        remote->listed = json_copy(transfer->entries);
        free(remote->listed_tag);
        remote->listed_tag = strdup(transfer->tag);
        tarn_remote_layer_tag(&transfer->read.digest, tag);
    }
    const int ret = make_path(path, sizeof path, tag);
    return ret < 0 ? ret : start_document(transfer, path, NULL, err);
}

static void document_done(void *context, int status, const struct tarn_err *err)
{
    struct transfer *transfer = context;
    transfer->document = NULL;
    const enum tarn_read_kind kind = transfer->read.kind;
    const bool listing = kind == TARN_READ_REFERRERS || kind == TARN_READ_LAYERS;
    // Where they know no referrers, registries answer with many a status, or with a page for people.
    const bool unknown =
        kind == TARN_READ_REFERRERS &&
        (status == -EIO || (transfer->step == 0 && (status == -EACCES || status == -EUCLEAN)));
    const bool none = status == -ENOENT || unknown;
    if (status < 0 && !(listing && none)) {
        finish(transfer, status, err);
        return;
    }
    if (!listing) {
        hand_on(transfer, transfer->buf.data, transfer->buf.length);
        return;
    }
    struct tarn_err own = { 0 };
    const int ret = next_step(transfer, status == 0, &own);
    if (ret < 0)
        finish(transfer, ret, &own);
    else if (!transfer->document)
        hand_on_listing(transfer);
}

static int start_document(struct transfer *transfer, const char *path,
                          const struct tarn_digest *digest, struct tarn_err *err)
{
    char what[400];
    const char *name = strrchr(path, '/');
    snprintf(what, sizeof what, "manifest %s", name ? name + 1 : path);
    const bool pages = transfer->read.kind == TARN_READ_REFERRERS && transfer->step == 0;
    const struct tarn_document_read read = {
        .path = path,
        .what = what,
        .digest = digest,
        .buf = &transfer->buf,
        .next = pages ? &transfer->next_page : NULL,
        .done = document_done,
        .context = transfer,
    };
    return tarn_document_start(transfer->remote, &read, &transfer->document, err);
}

static int start_page(struct transfer *transfer, struct tarn_err *err)
{
    tarn_autofree char *url = tarn_steal(transfer->next_page);
    const struct tarn_document_read read = {
        .url = url,
        .what = "a page of referrers",
        .buf = &transfer->buf,
        .next = &transfer->next_page,
        .done = document_done,
        .context = transfer,
    };
    return tarn_document_start(transfer->remote, &read, &transfer->document, err);
}

static int start_layers(struct transfer *transfer, struct tarn_err *err)
{
    const struct tarn_remote *remote = transfer->remote;
    char path[512];
    if (remote->listed && remote->listed_tag && strcmp(remote->listed_tag, transfer->tag) == 0) {
        char tag[TARN_REMOTE_TAG];
        transfer->step = 1;
        json_decref(transfer->entries);
        transfer->entries = json_copy(remote->listed);
        tarn_remote_layer_tag(&transfer->read.digest, tag);
        const int ret = transfer->entries ? make_path(path, sizeof path, tag) : -ENOMEM;
        return ret < 0 ? ret : start_document(transfer, path, NULL, err);
    }
    const int ret = make_path(path, sizeof path, transfer->tag);
    return ret < 0 ? tarn_fail(err, ret, "the tag is too long")
                   : start_document(transfer, path, NULL, err);
}

static int start(struct transfer *transfer, struct tarn_err *err)
{
    char digest[TARN_DIGEST_TEXT];
    char path[512];
    tarn_digest_format(&transfer->read.digest, digest);
    switch (transfer->read.kind) {
    case TARN_READ_TAG:
        if (make_path(path, sizeof path, transfer->tag) < 0)
            return tarn_fail(err, -EINVAL, "the tag is too long");
        return start_document(transfer, path, NULL, err);
    case TARN_READ_LAYERS:
        return start_layers(transfer, err);
    case TARN_READ_REFERRERS: {
        tarn_autofree char *type = tarn_http_escape(TARN_ARTIFACT_TYPE);
        if (!type)
            return tarn_fail(err, -ENOMEM, "out of memory");
        snprintf(path, sizeof path, "referrers/%s?artifactType=%s", digest, type);
        return start_document(transfer, path, NULL, err);
    }
    case TARN_READ_MANIFEST:
        snprintf(path, sizeof path, "manifests/%s", digest);
        return start_document(transfer, path, &transfer->read.digest, err);
    case TARN_READ_BLOB: // remote_blob.c's
        break;
    }
    return -EINVAL;
}

int tarn_remote_read(struct tarn_repository *repository, const struct tarn_read *read,
                     struct tarn_transfer **transfer, struct tarn_err *err)
{
    if (read->kind == TARN_READ_BLOB)
        return tarn_remote_read_blob(repository, read, transfer, err);
    tarn_cleanup(transfer_free_p) struct transfer *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->base = (struct tarn_remote_transfer){ { repository }, cancel };
    new->remote = (struct tarn_remote *)repository;
    new->read = *read;
    new->entries = json_array();
    new->tag = strdup(read->tag ? read->tag : "latest");
    if (!new->entries || !new->tag)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->read.tag = new->tag;
    const int ret = start(new, err);
    if (ret < 0)
        return ret;
    *transfer = &tarn_steal(new)->base.transfer;
    return 0;
}

void tarn_remote_cancel(struct tarn_transfer *transfer)
{
    struct tarn_remote_transfer *base = (struct tarn_remote_transfer *)transfer;
    base->cancel(base);
}
