// SPDX-License-Identifier: Apache-2.0
// Reads from a registry: blobs and ranges here, documents by remote_document.c. A listing is made of up to
// two documents, one after the other:
//   REFERRERS  the referrers API, or where the registry has none the tag that stands for it
//   LAYERS     what the tag shows, asked once; then the tag of the layer's key
#include <inttypes.h>
#include <string.h>

#include "registry/image_index.h"
#include "registry/oci.h"
#include "registry/remote_internal.h"

enum { WRONG_RANGES_MAX = 3 };

struct transfer {
    struct tarn_transfer base;
    struct tarn_remote *remote;
    struct tarn_read read;
    char *tag; // owns read.tag
    struct tarn_call *call;
    struct tarn_document *document;
    unsigned step;
    struct tarn_buf buf; // a document
    json_t *entries;     // of a listing
    // A blob:
    struct tarn_read_range *ranges; // at least one
    size_t current;
    uint64_t position;
    uint64_t end;  // of the current one, UINT64_MAX: not known
    uint64_t skip; // bytes of the answer before position
    struct tarn_hasher *hasher;
    unsigned wrong_ranges;
    bool telling; // read.data() or read.done(): freed after it
    bool cancelled;
};

static void transfer_free(struct transfer *transfer)
{
    if (!transfer)
        return;
    free(transfer->tag);
    free(transfer->ranges);
    tarn_buf_release(&transfer->buf);
    json_decref(transfer->entries);
    tarn_hasher_free(transfer->hasher);
    free(transfer);
}
TARN_DEFINE_CLEANUP(struct transfer, transfer_free)

void tarn_remote_cancel(struct tarn_transfer *base)
{
    struct transfer *transfer = (struct transfer *)base;
    if (transfer->call)
        tarn_call_cancel(transfer->call);
    if (transfer->document)
        tarn_document_cancel(transfer->document);
    transfer->call = NULL;
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
    transfer->call = NULL;
    transfer->document = NULL;
    transfer->telling = true;
    if (!transfer->cancelled)
        transfer->read.done(transfer->read.context, status, &told);
    transfer_free(transfer);
}

// --- blobs ------------------------------------------------------------------------------------------

static bool is_whole(const struct tarn_read *read)
{
    return read->range_count == 0 && read->offset == 0 &&
           (read->length == UINT64_MAX || read->length == read->size);
}

static bool blob_range(void *context, uint64_t *first, uint64_t *last)
{
    const struct transfer *transfer = context;
    *first = transfer->position;
    *last = transfer->end == UINT64_MAX ? INT64_MAX : transfer->end - 1;
    return transfer->position > 0 || !is_whole(&transfer->read);
}

// "bytes FIRST-LAST/TOTAL", TOTAL may be "*".
static bool parse_content_range(const char *text, uint64_t *first, uint64_t *last, uint64_t *total)
{
    int end = 0;
    *total = UINT64_MAX;
    if (!text || sscanf(text, "bytes %20" SCNu64 "-%20" SCNu64 "/%n", first, last, &end) != 2 ||
        end == 0 || *first > *last || *last == UINT64_MAX)
        return false;
    return text[end] == '*' || sscanf(text + end, "%20" SCNu64, total) == 1;
}

static int wrong_range(struct transfer *transfer, const char *text, struct tarn_err *err)
{
    const int code = ++transfer->wrong_ranges < WRONG_RANGES_MAX ? -EAGAIN : -EIO;
    return tarn_fail(err, code,
                     "asked for bytes from %" PRIu64
                     ", the answer holds '%.80s'; a proxy that breaks ranges?",
                     transfer->position, text ? text : "");
}

static int check_size(const struct transfer *transfer, uint64_t size, struct tarn_err *err)
{
    if (size == UINT64_MAX || transfer->read.size == 0 || size == transfer->read.size)
        return 0;
    return tarn_fail(err, -EIO, "the blob has %" PRIu64 " bytes and not %" PRIu64, size,
                     transfer->read.size);
}

static int blob_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    struct transfer *transfer = context;
    uint64_t first;
    uint64_t last;
    uint64_t total;
    char text[TARN_DIGEST_TEXT];
    const char *digest = tarn_http_header(head, "Docker-Content-Digest");
    const char *encoding = tarn_http_header(head, "Content-Encoding");
    if (head->status == 416)
        return tarn_fail(err, -EUCLEAN,
                         "HTTP status 416: bytes from %" PRIu64
                         " lie past its end; is it still whole there?",
                         transfer->position);
    if (head->status != 200 && head->status != 206)
        return tarn_call_unexpected(head, "blob", err);
    if (encoding && strcmp(encoding, "identity") != 0)
        return tarn_fail(err, -EIO,
                         "the blob comes with Content-Encoding %.60s, which nobody asked for",
                         encoding);
    if (digest && strcmp(digest, tarn_digest_format(&transfer->read.digest, text)) != 0)
        return tarn_fail(err, -EIO, "its Docker-Content-Digest is %.100s", digest);
    if (head->status == 200) { // the whole blob, whatever was asked for
        transfer->skip = transfer->position;
        return check_size(transfer, head->length, err);
    }
    const char *range = tarn_http_header(head, "Content-Range");
    if (!parse_content_range(range, &first, &last, &total) || first > transfer->position ||
        last < transfer->position)
        return wrong_range(transfer, range, err);
    transfer->skip = transfer->position - first;
    return check_size(transfer, total, err);
}

static void next_range(struct transfer *transfer)
{
    const struct tarn_read_range *range = &transfer->ranges[++transfer->current];
    transfer->skip = range->offset - transfer->position; // if the answer goes on
    transfer->position = range->offset;
    transfer->end = range->offset + range->length;
}

// 1: the transfer was cancelled and is gone.
static int hand_on_piece(struct transfer *transfer, const uint8_t *bytes, size_t length,
                         struct tarn_err *err)
{
    if (transfer->hasher)
        tarn_hasher_update(transfer->hasher, bytes, length);
    transfer->position += length;
    transfer->telling = true;
    const int ret = transfer->read.data(transfer->read.context, bytes, length);
    transfer->telling = false;
    if (transfer->cancelled) {
        transfer_free(transfer);
        return 1;
    }
    return ret < 0 ? tarn_fail_errno(err, ret, "reading was given up") : 0;
}

static int blob_data(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    struct transfer *transfer = context;
    const uint8_t *from = bytes;
    while (length > 0) {
        const uint64_t room = transfer->end - transfer->position;
        const size_t skip = (size_t)tarn_min_u64(transfer->skip, length);
        const size_t piece = (size_t)tarn_min_u64(length - skip, room);
        transfer->skip -= skip;
        if (skip == 0 && room == 0 && transfer->current + 1 < transfer->read.range_count)
            next_range(transfer);
        else if (skip == 0 && room == 0) // an answer without ranges goes on; blob_done() knows
            return tarn_fail(err, -ENODATA, "the blob has more than %" PRIu64 " bytes",
                             transfer->end);
        else if (piece > 0) {
            const int ret = hand_on_piece(transfer, from + skip, piece, err);
            if (ret != 0)
                return ret < 0 ? ret : 0;
        }
        from += skip + piece;
        length -= skip + piece;
    }
    return 0;
}

static int blob_end(void *context, struct tarn_err *err)
{
    struct transfer *transfer = context;
    struct tarn_digest found;
    if (transfer->end != UINT64_MAX && transfer->position < transfer->end)
        return tarn_fail(err, -EAGAIN, "it ends after %" PRIu64 " bytes", transfer->position);
    if (transfer->current + 1 < transfer->read.range_count) {
        next_range(transfer);
        return tarn_fail(err, -EAGAIN, "the next range");
    }
    if (!transfer->hasher)
        return 0;
    tarn_hasher_finish(transfer->hasher, &found);
    if (tarn_digest_equal(&found, &transfer->read.digest))
        return 0;
    char text[TARN_DIGEST_TEXT];
    return tarn_fail(err, -EIO, "the blob came with digest %s", tarn_digest_format(&found, text));
}

static void blob_done(void *context, int status, const struct tarn_err *err)
{
    struct transfer *transfer = context;
    const bool enough = status == -ENODATA && transfer->position == transfer->end;
    if (enough)
        status = transfer->hasher ? -EIO : 0;
    finish(transfer, status, err);
}

static int start_blob(struct transfer *transfer, struct tarn_err *err)
{
    const struct tarn_read *read = &transfer->read;
    char digest[TARN_DIGEST_TEXT];
    char path[TARN_DIGEST_TEXT + 8];
    snprintf(path, sizeof path, "blobs/%s", tarn_digest_format(&read->digest, digest));
    if (!(transfer->ranges = tarn_read_ranges(read)))
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_read_range *first = transfer->ranges;
    const struct tarn_read_range *last = read->range_count ? first + read->range_count - 1 : first;
    if (read->size > 0 &&
        (last->length == UINT64_MAX ? last->offset > read->size
                                    : !tarn_range_ok(last->offset, last->length, read->size)))
        return tarn_fail(err, -EUCLEAN, "blob %s: a range from %" PRIu64 " lies past its end",
                         digest, last->offset);
    transfer->position = first->offset;
    transfer->end = UINT64_MAX;
    if (first->length != UINT64_MAX)
        transfer->end = first->offset + first->length;
    else if (read->size > 0)
        transfer->end = read->size;
    if (is_whole(read) && !(transfer->hasher = tarn_hasher_new()))
        return tarn_fail(err, -ENOMEM, "out of memory");
    const bool nothing = transfer->position == transfer->end; // only whether it is there
    const struct tarn_call_request request = {
        .method = nothing ? "HEAD" : "GET",
        .path = path,
        .scope = tarn_remote_scope(transfer->remote),
        .context = transfer,
        .range = nothing ? NULL : blob_range,
        .head = blob_head,
        .data = blob_data,
        .end = nothing ? NULL : blob_end,
        .done = blob_done,
    };
    return tarn_call_start(transfer->remote->endpoint, &request, &transfer->call, err);
}

// --- documents --------------------------------------------------------------------------------------

static int start_document(struct transfer *transfer, const char *path,
                          const struct tarn_digest *digest, struct tarn_err *err);

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
    const struct tarn_document_read read = {
        .path = path,
        .what = what,
        .digest = digest,
        .buf = &transfer->buf,
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
    case TARN_READ_BLOB:
        return start_blob(transfer, err);
    }
    return -EINVAL;
}

int tarn_remote_read(struct tarn_repository *repository, const struct tarn_read *read,
                     struct tarn_transfer **transfer, struct tarn_err *err)
{
    tarn_cleanup(transfer_free_p) struct transfer *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->base.repository = repository;
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
    *transfer = &tarn_steal(new)->base;
    return 0;
}
