// SPDX-License-Identifier: Apache-2.0
// Publishing: a list of tags to set, one after the other. For each, what stands there (or the manifest that a
// note is to be made of) is read, the new document made, and put.
#include <string.h>

#include "registry/oci.h"
#include "registry/remote_index.h"
#include "registry/remote_internal.h"

struct publish {
    struct tarn_remote *remote; // referenced
    char *tag;
    json_t *original;
    struct tarn_buf original_bytes;
    json_t *tarn;
    bool referrer;
    size_t next;                // of tarn, for notes and referrers
    char name[TARN_REMOTE_TAG]; // of those: the tag being set
    struct tarn_buf buf;
    struct tarn_document *document;
    uv_timer_t timer;
    tarn_done *done;
    void *context;
    int status;
    struct tarn_err err;
};

static void publish_freed(uv_handle_t *handle)
{
    struct publish *publish = handle->data;
    tarn_remote_unref(publish->remote);
    json_decref(publish->original);
    json_decref(publish->tarn);
    tarn_buf_release(&publish->original_bytes);
    tarn_buf_release(&publish->buf);
    free(publish->tag);
    free(publish);
}

static void end(struct publish *publish)
{
    uv_close((uv_handle_t *)&publish->timer, publish_freed);
}

static void finish(struct publish *publish, int status, const struct tarn_err *err)
{
    tarn_done *done = publish->done;
    void *context = publish->context;
    struct tarn_err told = { 0 };
    if (status < 0) {
        told = *err;
        tarn_err_prepend(&told, "%s", publish->remote->repository.name);
    }
    end(publish);
    done(context, status, &told);
}

static void next(struct publish *publish);

static void put_done(void *context, int status, const struct tarn_err *err)
{
    struct publish *publish = context;
    if (status < 0) {
        finish(publish, status, err);
    } else if (publish->tag && !publish->referrer) {
        finish(publish, 0, err);
    } else {
        publish->next++;
        next(publish);
    }
}

static int put(struct publish *publish, const char *name, const struct tarn_manifest_bytes *bytes,
               struct tarn_err *err)
{
    const struct tarn_manifest_put put = {
        .name = name,
        .manifest = bytes,
        .done = put_done,
        .context = publish,
    };
    return tarn_remote_put(publish->remote, &put, err);
}

static int put_index(struct publish *publish, const char *name, json_t *index, struct tarn_err *err)
{
    tarn_autofree char *text = index ? tarn_json_dump(index) : NULL;
    json_decref(index);
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_manifest_bytes bytes = { TARN_MEDIA_OCI_INDEX, text, strlen(text) };
    if (bytes.length > TARN_MANIFEST_LIMIT)
        return tarn_fail(err, -EFBIG, "the index would have %zu bytes", bytes.length);
    return put(publish, name, &bytes, err);
}

static int put_original(struct publish *publish, struct tarn_err *err)
{
    const char *type = tarn_json_string(publish->original, "mediaType");
    const struct tarn_manifest_bytes bytes = {
        .media_type = type ? type : TARN_MEDIA_OCI_MANIFEST,
        .bytes = publish->original_bytes.data,
        .length = publish->original_bytes.length,
    };
    return put(publish, publish->tag, &bytes, err);
}

static json_t *parse_buf(const struct tarn_buf *buf)
{
    return buf->length > 0 ? tarn_json_parse(buf->data, buf->length, "document", NULL) : NULL;
}

// The document is read, or there is none.
static int step(struct publish *publish, struct tarn_err *err)
{
    tarn_autojson json_t *current = parse_buf(&publish->buf);
    const json_t *entry = json_array_get(publish->tarn, publish->next);
    if (!publish->tag) {
        if (!current)
            return tarn_fail(err, -ENOENT, "the manifest to be noted is not there");
        const struct tarn_manifest_bytes bytes = { TARN_MEDIA_OCI_MANIFEST, publish->buf.data,
                                                   publish->buf.length };
        return put(publish, publish->name, &bytes, err);
    }
    if (publish->referrer) {
        tarn_autojson json_t *entries = json_pack("[O]", entry);
        return put_index(publish, publish->name, tarn_remote_referrers_make(current, entries), err);
    }
    tarn_autojson json_t *document = parse_buf(&publish->original_bytes);
    const struct tarn_remote_index from = { publish->original, document, current, publish->tarn };
    return put_index(publish, publish->tag, tarn_remote_index_make(&from), err);
}

static void read_done(void *context, int status, const struct tarn_err *err)
{
    struct publish *publish = context;
    publish->document = NULL;
    if (status < 0 && status != -ENOENT) {
        finish(publish, status, err);
        return;
    }
    struct tarn_err own = { 0 };
    const int ret = step(publish, &own);
    if (ret < 0)
        finish(publish, ret, &own);
}

static int start_read(struct publish *publish, const char *name, const struct tarn_digest *digest,
                      struct tarn_err *err)
{
    char path[400];
    snprintf(path, sizeof path, "manifests/%s", name);
    publish->buf.length = 0;
    const struct tarn_document_read read = {
        .path = path,
        .what = path,
        .digest = digest,
        .buf = &publish->buf,
        .done = read_done,
        .context = publish,
    };
    return tarn_document_start(publish->remote, &read, &publish->document, err);
}

// A note: the layer's manifest gets the tag of its key.
static int start_note(struct publish *publish, const json_t *entry, struct tarn_err *err)
{
    struct tarn_digest key;
    struct tarn_descriptor descriptor;
    char text[TARN_DIGEST_TEXT];
    const char *annotation = tarn_oci_annotation(entry, TARN_ANNOTATION_KEY);
    int ret = tarn_digest_parse(annotation ? annotation : "", &key, err);
    if (ret == 0)
        ret = tarn_descriptor_parse(entry, "note", &descriptor, err);
    if (ret < 0)
        return ret;
    tarn_remote_layer_tag(&key, publish->name);
    return start_read(publish, tarn_digest_format(&descriptor.digest, text), &descriptor.digest,
                      err);
}

static int start_referrer(struct publish *publish, const json_t *entry, struct tarn_err *err)
{
    struct tarn_digest subject;
    const char *annotation = tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT);
    const int ret = tarn_digest_parse(annotation ? annotation : "", &subject, err);
    if (ret < 0)
        return ret;
    tarn_remote_referrers_tag(&subject, publish->name);
    return start_read(publish, publish->name, NULL, err);
}

static void next(struct publish *publish)
{
    struct tarn_err err = { 0 };
    int ret;
    const json_t *entry = json_array_get(publish->tarn, publish->next);
    if (publish->tag && !publish->referrer) {
        ret = json_array_size(publish->tarn) == 0 ? put_original(publish, &err)
                                                  : start_read(publish, publish->tag, NULL, &err);
    } else if (!entry || (publish->referrer && !publish->remote->no_referrers)) {
        finish(publish, 0, &err);
        return;
    } else {
        ret =
            publish->tag ? start_referrer(publish, entry, &err) : start_note(publish, entry, &err);
    }
    if (ret < 0)
        finish(publish, ret, &err);
}

static void on_start(uv_timer_t *timer)
{
    next(timer->data);
}

int tarn_remote_publish(struct tarn_repository *repository,
                        const struct tarn_publication *publication, tarn_done *done, void *context,
                        struct tarn_err *err)
{
    struct publish *publish = calloc(1, sizeof *publish);
    if (!publish)
        return tarn_fail(err, -ENOMEM, "out of memory");
    publish->remote = (struct tarn_remote *)repository;
    publish->remote->references++;
    publish->done = done;
    publish->context = context;
    publish->referrer = publication->referrer;
    publish->tag = publication->tag ? strdup(publication->tag) : NULL;
    publish->original = json_deep_copy(publication->original);
    publish->tarn = publication->tarn ? json_deep_copy(publication->tarn) : json_array();
    publish->timer.data = publish;
    uv_timer_init(repository->loop, &publish->timer);
    json_decref(publish->remote->listed);
    publish->remote->listed = NULL;
    if (!publish->tarn || (publication->tag && !publish->tag) ||
        tarn_buf_append(&publish->original_bytes, publication->original_bytes,
                        publication->original_length) < 0) {
        end(publish);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    uv_timer_start(&publish->timer, on_start, 0, 0);
    return 0;
}
