// SPDX-License-Identifier: Apache-2.0
// The machine reads one document at a time:
//   ROOT       what the tag or digest names
//   INDEX      each index below it, depth first, whose entries take its place in the list
//   REFERRERS  where no listing told: Tarn's entries for each chosen image that has none yet
//   MANIFEST   each chosen image without an entry of Tarn's: it may be Tarn's manifest itself
#include "registry/image_resolve.h"

#include <string.h>

enum { INDEX_DEPTH = 4, INDEX_COUNT = 256, ENTRY_COUNT = 8192 };

enum step { STEP_ROOT, STEP_INDEX, STEP_REFERRERS, STEP_MANIFEST };

struct tarn_resolve {
    struct tarn_repository *repository; // borrowed
    tarn_resolve_done *done;
    void *context;
    char *tag;
    bool by_digest;
    bool is_tarn; // what was named is a manifest of Tarn's itself
    bool has_platform;
    struct tarn_platform platform;
    enum step step;
    struct tarn_buf buf;              // the document being read
    unsigned requests;                // documents asked for
    uint64_t bytes;                   // of these
    struct tarn_descriptor described; // what describes it; no json: nothing does
    json_t *root;                     // the descriptor of what was named, NULL while unknown
    json_t *entries;                  // array: images, and indexes still to be read
    json_t *depths;                   // array: for each of entries how deep it lies
    json_t *tarn;                     // array: Tarn's entries
    size_t indexes;                   // read so far
    json_t *chosen;                   // array of {original, tarn}
    size_t next;                      // of chosen, for STEP_REFERRERS and STEP_MANIFEST
    bool asked;                       // the referrers of next are read
};

static void resolve_free(struct tarn_resolve *resolve)
{
    if (!resolve)
        return;
    json_decref(resolve->root);
    json_decref(resolve->entries);
    json_decref(resolve->depths);
    json_decref(resolve->tarn);
    json_decref(resolve->chosen);
    tarn_buf_release(&resolve->buf);
    free(resolve->tag);
    free(resolve);
}

static const char *name_of(const struct tarn_resolve *resolve)
{
    return tarn_repository_name(resolve->repository);
}

// --- results ----------------------------------------------------------------------------------------

void tarn_image_list_release(struct tarn_image_list *list)
{
    free(list->images);
    json_decref(list->documents);
    *list = (struct tarn_image_list){ 0 };
}

static int fill(const json_t *json, const char *what, struct tarn_descriptor *descriptor,
                struct tarn_err *err)
{
    return json ? tarn_descriptor_parse(json, what, descriptor, err) : 0;
}

static int make_list(const struct tarn_resolve *resolve, struct tarn_image_list *list,
                     struct tarn_err *err)
{
    const size_t count = json_array_size(resolve->chosen);
    *list = (struct tarn_image_list){ .documents = json_array(),
                                      .requests = resolve->requests,
                                      .bytes = resolve->bytes,
                                      .images = calloc(count, sizeof list->images[0]) };
    if (!list->images || json_array_append(list->documents, resolve->chosen) < 0 ||
        (resolve->root && json_array_append(list->documents, resolve->root) < 0))
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = 0;
    if (resolve->root && tarn_media_is_index(tarn_json_string(resolve->root, "mediaType")))
        ret = fill(resolve->root, name_of(resolve), &list->index, err);
    for (; ret == 0 && list->count < count; list->count++) {
        const json_t *image = json_array_get(resolve->chosen, list->count);
        struct tarn_image *out = &list->images[list->count];
        ret = fill(json_object_get(image, "original"), name_of(resolve), &out->original, err);
        if (ret == 0)
            ret = fill(json_object_get(image, "tarn"), name_of(resolve), &out->tarn, err);
    }
    return ret;
}

// Ends the machine and tells.
static void finish(struct tarn_resolve *resolve, int status, const struct tarn_err *err)
{
    struct tarn_image_list list = { 0 };
    struct tarn_err own = { 0 };
    if (status == 0) {
        status = make_list(resolve, &list, &own);
        err = &own;
    }
    if (status < 0)
        tarn_image_list_release(&list);
    resolve->done(resolve->context, status, status == 0 ? &list : NULL, err);
    resolve_free(resolve);
}

// --- the list of entries ------------------------------------------------------------------------------

static int add_entry(struct tarn_resolve *resolve, size_t at, json_t *entry, unsigned depth,
                     struct tarn_err *err)
{
    if (json_array_size(resolve->entries) >= ENTRY_COUNT)
        return tarn_fail(err, -EUCLEAN, "%s: the index has more than %d entries", name_of(resolve),
                         ENTRY_COUNT);
    if (json_array_insert(resolve->entries, at, entry) < 0 ||
        json_array_insert_new(resolve->depths, at, json_integer((json_int_t)depth)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    return 0;
}

static bool listed(const struct tarn_resolve *resolve, const json_t *entry)
{
    const char *digest = tarn_json_string(entry, "digest");
    for (size_t i = 0; digest && i < json_array_size(resolve->entries); i++) {
        const char *other = tarn_json_string(json_array_get(resolve->entries, i), "digest");
        if (other && strcmp(other, digest) == 0)
            return true;
    }
    return false;
}

static int add_tarn(struct tarn_resolve *resolve, json_t *entry, struct tarn_err *err)
{
    if (json_array_size(resolve->tarn) >= ENTRY_COUNT)
        return tarn_fail(err, -EUCLEAN, "%s: the index has more than %d entries of Tarn's",
                         name_of(resolve), ENTRY_COUNT);
    return json_array_append(resolve->tarn, entry) < 0 ? tarn_fail(err, -ENOMEM, "out of memory")
                                                       : 0;
}

// Puts the entries of an index into the list, from place at on.
static int add_index(struct tarn_resolve *resolve, const json_t *index, size_t at, unsigned depth,
                     struct tarn_err *err)
{
    const json_t *manifests = json_object_get(index, "manifests");
    if (!json_is_array(manifests))
        return tarn_fail(err, -EUCLEAN, "%s: the index has no array 'manifests'", name_of(resolve));
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < json_array_size(manifests); i++) {
        json_t *entry = json_array_get(manifests, i);
        switch (tarn_entry_kind(entry)) {
        case TARN_ENTRY_TARN:
            ret = add_tarn(resolve, entry, err);
            break;
        case TARN_ENTRY_INDEX:
        case TARN_ENTRY_IMAGE:
            if (!listed(resolve, entry))
                ret = add_entry(resolve, at++, entry, depth, err);
            break;
        case TARN_ENTRY_OTHER:
            break;
        }
    }
    return ret;
}

// --- reading documents ----------------------------------------------------------------------------

static int document_data(void *context, const void *bytes, size_t length)
{
    struct tarn_resolve *resolve = context;
    if (length > TARN_MANIFEST_LIMIT - resolve->buf.length)
        return -EFBIG;
    resolve->bytes += length;
    return tarn_buf_append(&resolve->buf, bytes, length);
}

static void document_done(void *context, int status, const struct tarn_err *err);

static int read_document(struct tarn_resolve *resolve, enum step step, enum tarn_read_kind kind,
                         const struct tarn_digest *digest, struct tarn_err *err)
{
    struct tarn_read read = {
        .kind = kind,
        .tag = resolve->tag,
        .context = resolve,
        .data = document_data,
        .done = document_done,
    };
    if (digest)
        read.digest = *digest;
    resolve->step = step;
    resolve->buf.length = 0;
    resolve->requests++;
    struct tarn_transfer *transfer;
    return tarn_repository_read(resolve->repository, &read, &transfer, err);
}

static int read_described(struct tarn_resolve *resolve, enum step step, enum tarn_read_kind kind,
                          const json_t *json, struct tarn_err *err)
{
    struct tarn_descriptor descriptor;
    const int ret = tarn_descriptor_parse(json, name_of(resolve), &descriptor, err);
    if (ret < 0)
        return ret;
    resolve->described =
        kind == TARN_READ_MANIFEST ? descriptor : (struct tarn_descriptor){ .json = NULL };
    return read_document(resolve, step, kind, &descriptor.digest, err);
}

// --- the steps: each returns -errno, 0 after it started a read, or 1 when all is done --------------

// What was named came with all of Tarn's entries for it.
static bool has_listing(const struct tarn_resolve *resolve)
{
    return !resolve->by_digest && tarn_repository_lists_tags(resolve->repository);
}

// Looks for chosen images that have nothing of Tarn's yet.
static int next_chosen(struct tarn_resolve *resolve, struct tarn_err *err)
{
    for (; resolve->next < json_array_size(resolve->chosen);
         resolve->next++, resolve->asked = false) {
        const json_t *image = json_array_get(resolve->chosen, resolve->next);
        const json_t *original = json_object_get(image, "original");
        if (json_object_get(image, "tarn"))
            continue;
        if (!resolve->asked && !has_listing(resolve))
            return read_described(resolve, STEP_REFERRERS, TARN_READ_REFERRERS, original, err);
        return read_described(resolve, STEP_MANIFEST, TARN_READ_MANIFEST, original, err);
    }
    return 1;
}

static int add_chosen(struct tarn_resolve *resolve, const json_t *entry, struct tarn_err *err)
{
    const char *digest = tarn_json_string(entry, "digest");
    const json_t *tarn = digest ? tarn_index_find_tarn(resolve->tarn, digest) : NULL;
    tarn_autojson json_t *image = json_object();
    if (resolve->is_tarn)
        tarn = entry;
    if ((!resolve->is_tarn && json_object_set_new(image, "original", json_deep_copy(entry)) < 0) ||
        (tarn && json_object_set_new(image, "tarn", json_deep_copy(tarn)) < 0) ||
        json_array_append(resolve->chosen, image) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    return 0;
}

static int fail_platform(const struct tarn_resolve *resolve, struct tarn_err *err)
{
    char wanted[TARN_PLATFORM_TEXT];
    tarn_autobuf struct tarn_buf text = { 0 };
    if (tarn_index_platforms(resolve->entries, &text) < 0 || tarn_buf_append(&text, "", 1) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    if (text.length == 1)
        return tarn_fail(err, -ENOENT, "%s: the index holds no image", name_of(resolve));
    return tarn_fail(err, -ENOENT, "%s%s%s: no image for platform %s; there are: %.600s",
                     name_of(resolve), resolve->tag ? ":" : "", resolve->tag ? resolve->tag : "",
                     tarn_platform_format(&resolve->platform, wanted), (char *)text.data);
}

// All indexes are read: takes what serves the platform.
static int choose(struct tarn_resolve *resolve, struct tarn_err *err)
{
    const bool single =
        !resolve->root || !tarn_media_is_index(tarn_json_string(resolve->root, "mediaType"));
    int ret = 0;
    if (resolve->has_platform && !single) {
        const json_t *entry = tarn_index_choose(resolve->entries, &resolve->platform);
        ret = entry ? add_chosen(resolve, entry, err) : fail_platform(resolve, err);
    } else {
        for (size_t i = 0; ret == 0 && i < json_array_size(resolve->entries); i++)
            ret = add_chosen(resolve, json_array_get(resolve->entries, i), err);
        if (ret == 0 && json_array_size(resolve->chosen) == 0)
            ret = tarn_fail(err, -ENOENT, "%s: the index holds no image", name_of(resolve));
    }
    return ret < 0 ? ret : next_chosen(resolve, err);
}

// Reads the first index in the list, or chooses when there is none.
static int next_index(struct tarn_resolve *resolve, struct tarn_err *err)
{
    for (size_t i = 0; i < json_array_size(resolve->entries); i++) {
        const json_t *entry = json_array_get(resolve->entries, i);
        if (tarn_entry_kind(entry) != TARN_ENTRY_INDEX)
            continue;
        if (json_integer_value(json_array_get(resolve->depths, i)) >= INDEX_DEPTH)
            return tarn_fail(err, -EUCLEAN, "%s: indexes inside indexes, more than %d deep",
                             name_of(resolve), INDEX_DEPTH);
        if (resolve->indexes++ >= INDEX_COUNT)
            return tarn_fail(err, -EUCLEAN, "%s: more than %d indexes inside the index",
                             name_of(resolve), INDEX_COUNT);
        return read_described(resolve, STEP_INDEX, TARN_READ_MANIFEST, entry, err);
    }
    return choose(resolve, err);
}

// The document in buf replaces the first index of the list.
static int got_index(struct tarn_resolve *resolve, const json_t *document, struct tarn_err *err)
{
    size_t at = 0;
    while (tarn_entry_kind(json_array_get(resolve->entries, at)) != TARN_ENTRY_INDEX)
        at++;
    const unsigned depth = (unsigned)json_integer_value(json_array_get(resolve->depths, at));
    json_array_remove(resolve->entries, at);
    json_array_remove(resolve->depths, at);
    const int ret = add_index(resolve, document, at, depth + 1, err);
    return ret < 0 ? ret : next_index(resolve, err);
}

// A layout's listing: the tag's own descriptor, then Tarn's entries.
static int got_listing(struct tarn_resolve *resolve, const json_t *document, struct tarn_err *err)
{
    const json_t *manifests = json_object_get(document, "manifests");
    json_t *own = json_array_get(manifests, 0);
    if (!own)
        return tarn_fail(err, -EUCLEAN, "%s: the tag names nothing", name_of(resolve));
    const char *media_type = tarn_json_string(own, "mediaType");
    if (!tarn_media_is_index(media_type) && !tarn_media_is_manifest(media_type))
        return tarn_fail(err, -ENOTSUP, "%s: media type '%.200s' is not supported",
                         name_of(resolve), media_type ? media_type : "");
    resolve->root = json_incref(own);
    for (size_t i = 1; i < json_array_size(manifests); i++)
        if (json_array_append(resolve->tarn, json_array_get(manifests, i)) < 0)
            return tarn_fail(err, -ENOMEM, "out of memory");
    const int ret = add_entry(resolve, 0, own, 0, err);
    return ret < 0 ? ret : next_index(resolve, err);
}

static bool is_tarn_manifest(const json_t *document)
{
    const char *artifact = tarn_json_string(document, "artifactType");
    return artifact && strcmp(artifact, TARN_ARTIFACT_TYPE) == 0;
}

// A manifest or index: its descriptor is made from its bytes.
static int got_root(struct tarn_resolve *resolve, const json_t *document, struct tarn_err *err)
{
    const char *media_type;
    struct tarn_digest digest;
    int ret = tarn_document_media_type(document, name_of(resolve), &media_type, err);
    if (ret < 0)
        return ret;
    tarn_sha256(resolve->buf.data, resolve->buf.length, &digest);
    resolve->root = tarn_descriptor_json(media_type, &digest, resolve->buf.length);
    if (!resolve->root)
        return tarn_fail(err, -ENOMEM, "out of memory");
    resolve->is_tarn = tarn_media_is_manifest(media_type) && is_tarn_manifest(document);
    if (tarn_media_is_index(media_type))
        ret = add_index(resolve, document, 0, 1, err);
    else
        ret = add_entry(resolve, 0, resolve->root, 0, err);
    return ret < 0 ? ret : next_index(resolve, err);
}

static int got_referrers(struct tarn_resolve *resolve, const json_t *document, struct tarn_err *err)
{
    json_t *image = json_array_get(resolve->chosen, resolve->next);
    resolve->asked = true;
    const char *digest = tarn_json_string(json_object_get(image, "original"), "digest");
    const json_t *tarn = tarn_index_find_tarn(json_object_get(document, "manifests"), digest);
    if (tarn && json_object_set_new(image, "tarn", json_deep_copy(tarn)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    return next_chosen(resolve, err);
}

static int got_manifest(struct tarn_resolve *resolve, const json_t *document, struct tarn_err *err)
{
    json_t *image = json_array_get(resolve->chosen, resolve->next++);
    resolve->asked = false;
    const char *media_type;
    const int ret = tarn_document_media_type(document, name_of(resolve), &media_type, err);
    if (ret < 0)
        return ret;
    if (is_tarn_manifest(document)) {
        if (json_object_set(image, "tarn", json_object_get(image, "original")) < 0)
            return tarn_fail(err, -ENOMEM, "out of memory");
        json_object_del(image, "original");
    }
    return next_chosen(resolve, err);
}

static int step(struct tarn_resolve *resolve, struct tarn_err *err)
{
    if (resolve->described.json) {
        const int ret = tarn_descriptor_check_size(&resolve->described, resolve->buf.length,
                                                   name_of(resolve), err);
        if (ret < 0)
            return ret;
    }
    tarn_autojson json_t *document =
        tarn_json_parse(resolve->buf.data, resolve->buf.length, name_of(resolve), err);
    if (!document)
        return -EUCLEAN;
    switch (resolve->step) {
    case STEP_ROOT:
        return has_listing(resolve) ? got_listing(resolve, document, err)
                                    : got_root(resolve, document, err);
    case STEP_INDEX:
        return got_index(resolve, document, err);
    case STEP_REFERRERS:
        return got_referrers(resolve, document, err);
    case STEP_MANIFEST:
        return got_manifest(resolve, document, err);
    }
    return -EINVAL;
}

static void document_done(void *context, int status, const struct tarn_err *err)
{
    struct tarn_resolve *resolve = context;
    struct tarn_err own = { 0 };
    if (status < 0) {
        finish(resolve, status, err);
        return;
    }
    const int ret = step(resolve, &own);
    if (ret != 0)
        finish(resolve, ret < 0 ? ret : 0, &own);
}

// --- starting -----------------------------------------------------------------------------------------

struct tarn_image_query tarn_image_query_of(const struct tarn_reference *reference,
                                            const struct tarn_platform *platform)
{
    return (struct tarn_image_query){
        .tag = reference->tag,
        .digest = reference->has_digest ? &reference->digest : NULL,
        .platform = platform,
    };
}

int tarn_image_resolve(struct tarn_repository *repository, const struct tarn_image_query *query,
                       tarn_resolve_done *done, void *context)
{
    struct tarn_resolve *new = calloc(1, sizeof *new);
    if (!new)
        return -ENOMEM;
    *new = (struct tarn_resolve){
        .repository = repository,
        .done = done,
        .context = context,
        .tag = query->tag ? strdup(query->tag) : NULL,
        .by_digest = query->digest != NULL,
        .has_platform = query->platform != NULL,
        .entries = json_array(),
        .depths = json_array(),
        .tarn = json_array(),
        .chosen = json_array(),
    };
    if (query->platform)
        new->platform = *query->platform;
    int ret = -ENOMEM;
    if ((new->tag || !query->tag) && new->entries &&new->depths &&new->tarn &&new->chosen)
        ret = read_document(new, STEP_ROOT, query->digest ? TARN_READ_MANIFEST : TARN_READ_TAG,
                            query->digest, NULL);
    if (ret < 0) {
        resolve_free(new);
        return ret;
    }
    return 0;
}
