// SPDX-License-Identifier: Apache-2.0
#include "registry/layout_index.h"

#include <string.h>

#include "base/file.h"
#include "registry/oci.h"

enum { INDEX_DEPTH = 4, TAGS_NAMED = 10 };

json_t *tarn_layout_index_new(void)
{
    return json_pack("{s:[], s:s, s:i}", "manifests", "mediaType", TARN_MEDIA_OCI_INDEX,
                     "schemaVersion", 2);
}

int tarn_layout_index_parse(const void *bytes, size_t length, const char *name, json_t **index,
                            struct tarn_err *err)
{
    tarn_autofree char *what = tarn_asprintf("%s: index.json", name);
    if (!what)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_autojson json_t *json = tarn_json_parse(bytes, length, what, err);
    if (!json)
        return -EUCLEAN;
    if (tarn_json_u64(json, "schemaVersion", 2) != 2)
        return tarn_fail(err, -EUCLEAN, "%s: schemaVersion is not 2", what);
    const json_t *manifests = json_object_get(json, "manifests");
    if (!json_is_array(manifests))
        return tarn_fail(err, -EUCLEAN, "%s: no array 'manifests'", what);
    for (size_t i = 0; i < json_array_size(manifests); i++)
        if (!json_is_object(json_array_get(manifests, i)))
            return tarn_fail(err, -EUCLEAN, "%s: manifests[%zu] is not an object", what, i);
    *index = tarn_steal(json);
    return 0;
}

static const char *ref_name(const json_t *entry)
{
    return tarn_oci_annotation(entry, TARN_ANNOTATION_REF_NAME);
}

// What an entry of Tarn's belongs to; NULL for all others. With --replace Tarn's manifest carries the
// tag itself and is an entry like any other.
static const char *subject_of(const json_t *entry)
{
    return ref_name(entry) ? NULL : tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT);
}

// An entry of a one-layer manifest that a conversion left as it went: no image.
static bool is_note(const json_t *entry)
{
    return !ref_name(entry) && tarn_oci_annotation(entry, TARN_ANNOTATION_KEY);
}

static int set_add(json_t *set, const char *text)
{
    return json_object_set_new(set, text, json_true());
}

static bool set_has(const json_t *set, const char *text)
{
    return json_object_get(set, text) != NULL;
}

// Adds to set the digests of all manifests below the index that entry describes. False if one of
// the indexes could not be read, so that the set may lack some.
static bool add_children(json_t *set, const json_t *entry,
                         const struct tarn_document_source *source, unsigned depth)
{
    if (!tarn_media_is_index(tarn_json_string(entry, "mediaType")))
        return true;
    struct tarn_descriptor descriptor;
    tarn_autobuf struct tarn_buf buf = { 0 };
    if (depth == INDEX_DEPTH || !source->read ||
        tarn_descriptor_parse(entry, "", &descriptor, NULL) < 0 ||
        source->read(source->context, &descriptor.digest, &buf, NULL) < 0)
        return false;
    tarn_autojson json_t *index = tarn_json_parse(buf.data, buf.length, "", NULL);
    const json_t *manifests = json_object_get(index, "manifests");
    bool complete = json_is_array(manifests);
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *child = json_array_get(manifests, i);
        const char *digest = tarn_json_string(child, "digest");
        if (!digest || set_has(set, digest))
            continue;
        complete = set_add(set, digest) == 0 && complete;
        complete = add_children(set, child, source, depth + 1) && complete;
    }
    return complete;
}

// ": its tags are a, b", for messages.
static int append_tags(struct tarn_buf *text, const json_t *manifests)
{
    size_t count = 0;
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < json_array_size(manifests); i++) {
        const char *name = ref_name(json_array_get(manifests, i));
        if (!name)
            continue;
        if (count < TAGS_NAMED)
            ret = tarn_buf_printf(text, "%s%.100s", count ? ", " : "; its tags are ", name);
        count++;
    }
    if (ret == 0 && count > TAGS_NAMED)
        ret = tarn_buf_printf(text, " and %zu more", count - TAGS_NAMED);
    if (ret == 0 && count == 0)
        ret = tarn_buf_printf(text, "; it has no tags");
    return ret == 0 ? tarn_buf_append(text, "", 1) : ret;
}

static int fail_missing(const json_t *manifests, const struct tarn_layout_query *query,
                        size_t untagged, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf tags = { 0 };
    if (append_tags(&tags, manifests) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    if (query->tag)
        return tarn_fail(err, -ENOENT, "%s: no tag '%.200s'%s", query->name, query->tag,
                         (char *)tags.data);
    if (untagged == 0)
        return tarn_fail(err, -ENOENT, "%s: it holds no image", query->name);
    return tarn_fail(err, -ENOENT, "%s: it holds %zu images and no tag 'latest': name one%s",
                     query->name, untagged, (char *)tags.data);
}

// The first entry with the tag; without a tag the only one that is not Tarn's, else "latest".
static int find(const json_t *manifests, const struct tarn_layout_query *query,
                const json_t **found, struct tarn_err *err)
{
    const char *tag = query->tag ? query->tag : "latest";
    const json_t *tagged = NULL;
    const json_t *last = NULL;
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        const char *name = ref_name(entry);
        if (!tagged && name && strcmp(name, tag) == 0)
            tagged = entry;
        if (!subject_of(entry) && !is_note(entry)) {
            last = entry;
            count++;
        }
    }
    *found = !query->tag && count == 1 ? last : tagged;
    return *found ? 0 : fail_missing(manifests, query, count, err);
}

// A copy of a descriptor with the tag set or, for NULL, taken away.
static json_t *retag(const json_t *descriptor, const char *tag)
{
    tarn_autojson json_t *copy = json_deep_copy(descriptor);
    json_t *annotations = json_object_get(copy, "annotations");
    if (!copy)
        return NULL;
    if (!tag) {
        json_object_del(annotations, TARN_ANNOTATION_REF_NAME);
        if (json_is_object(annotations) && json_object_size(annotations) == 0)
            json_object_del(copy, "annotations");
        return tarn_steal(copy);
    }
    if (!json_is_object(annotations)) {
        annotations = json_object();
        if (json_object_set_new(copy, "annotations", annotations) < 0)
            return NULL;
    }
    if (json_object_set_new(annotations, TARN_ANNOTATION_REF_NAME, json_string(tag)) < 0)
        return NULL;
    return tarn_steal(copy);
}

// All Tarn manifests, for query->layers.
static int list_layers(const json_t *manifests, json_t **listing, struct tarn_err *err)
{
    tarn_autojson json_t *result = tarn_layout_index_new();
    json_t *entries = json_object_get(result, "manifests");
    bool failed = !result;
    for (size_t i = 0; !failed && i < json_array_size(manifests); i++) {
        json_t *entry = json_array_get(manifests, i);
        const char *type = tarn_json_string(entry, "artifactType");
        if (type && strcmp(type, TARN_ARTIFACT_TYPE) == 0)
            failed = json_array_append(entries, entry) < 0;
    }
    if (failed)
        return tarn_fail(err, -ENOMEM, "out of memory");
    *listing = tarn_steal(result);
    return 0;
}

int tarn_layout_index_list(const json_t *index, const struct tarn_layout_query *query,
                           json_t **listing, struct tarn_err *err)
{
    if (query->layers)
        return list_layers(json_object_get(index, "manifests"), listing, err);
    const json_t *manifests = json_object_get(index, "manifests");
    tarn_autojson json_t *result = tarn_layout_index_new();
    tarn_autojson json_t *subjects = json_object();
    json_t *entries = json_object_get(result, "manifests");
    int failed = !result || !subjects;
    if (query->digest) {
        char text[TARN_DIGEST_TEXT];
        failed = failed || set_add(subjects, tarn_digest_format(query->digest, text)) < 0;
    } else {
        const json_t *own;
        const int ret = find(manifests, query, &own, err);
        if (ret < 0)
            return ret;
        const char *digest = tarn_json_string(own, "digest");
        failed = failed || json_array_append_new(entries, retag(own, NULL)) < 0 ||
                 (digest && set_add(subjects, digest) < 0);
        // An index that cannot be read is told of by whoever reads it next.
        if (!failed)
            add_children(subjects, own, &query->source, 0);
    }
    for (size_t i = 0; !failed && i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        const char *subject = subject_of(entry);
        if (subject && set_has(subjects, subject))
            failed = json_array_append_new(entries, json_deep_copy(entry)) < 0;
    }
    if (failed)
        return tarn_fail(err, -ENOMEM, "out of memory");
    *listing = tarn_steal(result);
    return 0;
}

// Drops Tarn's entries whose subject none of the others leads to.
static int prune(json_t *manifests, const struct tarn_document_source *source)
{
    tarn_autojson json_t *known = json_object();
    if (!known)
        return -ENOMEM;
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        const char *digest = tarn_json_string(entry, "digest");
        if (!subject_of(entry) && digest && set_add(known, digest) < 0)
            return -ENOMEM;
    }
    bool deep = false; // the indexes are read only when there is something to decide
    bool complete = true;
    for (size_t i = 0; i < json_array_size(manifests);) {
        const char *subject = subject_of(json_array_get(manifests, i));
        if (subject && !set_has(known, subject) && !deep) {
            deep = true;
            for (size_t j = 0; j < json_array_size(manifests); j++)
                if (!subject_of(json_array_get(manifests, j)))
                    complete =
                        add_children(known, json_array_get(manifests, j), source, 0) && complete;
        }
        if (subject && !set_has(known, subject) && complete)
            json_array_remove(manifests, i);
        else
            i++;
    }
    return 0;
}

// The new tag's entry, then Tarn's.
static int append_new(json_t *manifests, const struct tarn_layout_change *change)
{
    if (json_array_append_new(manifests, retag(change->original, change->tag)) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < json_array_size(change->tarn); i++)
        if (json_array_append_new(manifests, retag(json_array_get(change->tarn, i), NULL)) < 0)
            return -ENOMEM;
    return 0;
}

// Adds the keys of the layers in a manifest that entry describes. One that cannot be read has none to tell.
static int add_keys(json_t *keys, const json_t *entry, const struct tarn_document_source *source)
{
    struct tarn_descriptor descriptor;
    tarn_autobuf struct tarn_buf buf = { 0 };
    if (!source->read || tarn_descriptor_parse(entry, "", &descriptor, NULL) < 0 ||
        source->read(source->context, &descriptor.digest, &buf, NULL) < 0)
        return 0;
    tarn_autojson json_t *manifest = tarn_json_parse(buf.data, buf.length, "", NULL);
    const json_t *layers = json_object_get(manifest, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const char *key = tarn_oci_annotation(json_array_get(layers, i), TARN_ANNOTATION_KEY);
        if (key && set_add(keys, key) < 0)
            return -ENOMEM;
    }
    return 0;
}

// The keys of the layers in what is published now: an image of Tarn's, under the tag or behind it.
static int find_keys(json_t *keys, const struct tarn_layout_change *change)
{
    int ret = add_keys(keys, change->original, &change->source);
    for (size_t i = 0; ret == 0 && i < json_array_size(change->tarn); i++)
        ret = add_keys(keys, json_array_get(change->tarn, i), &change->source);
    return ret;
}

static int rebuild(json_t *index, const struct tarn_layout_change *change, const json_t *subjects)
{
    const json_t *old = json_object_get(index, "manifests");
    tarn_autojson json_t *manifests = json_array();
    tarn_autojson json_t *keys = json_object();
    if (!manifests || !keys || find_keys(keys, change) < 0)
        return -ENOMEM;
    bool placed = false;
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < json_array_size(old); i++) {
        json_t *entry = json_array_get(old, i);
        const char *name = ref_name(entry);
        const char *subject = subject_of(entry);
        if ((subject && set_has(subjects, subject)) ||
            (is_note(entry) && set_has(keys, tarn_oci_annotation(entry, TARN_ANNOTATION_KEY))))
            continue;
        if (!name || strcmp(name, change->tag) != 0) {
            ret = json_array_append(manifests, entry) < 0 ? -ENOMEM : 0;
        } else if (!placed) {
            placed = true;
            ret = append_new(manifests, change);
        }
    }
    if (ret == 0 && !placed)
        ret = append_new(manifests, change);
    if (ret == 0)
        ret = prune(manifests, &change->source);
    if (ret == 0 && json_object_set(index, "manifests", manifests) < 0)
        ret = -ENOMEM;
    return ret;
}

// Adds the entries of one-layer manifests that are not there yet.
static int add_notes(json_t *manifests, const json_t *notes)
{
    for (size_t i = 0; i < json_array_size(notes); i++) {
        json_t *note = json_array_get(notes, i);
        bool there = false;
        for (size_t j = 0; j < json_array_size(manifests); j++)
            there |= json_equal(json_array_get(manifests, j), note);
        if (!there && json_array_append(manifests, note) < 0)
            return -ENOMEM;
    }
    return 0;
}

int tarn_layout_index_publish(json_t *index, const struct tarn_layout_change *change,
                              struct tarn_err *err)
{
    if (!change->tag && add_notes(json_object_get(index, "manifests"), change->tarn) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    if (!change->tag)
        return 0;
    struct tarn_descriptor descriptor;
    int ret = tarn_descriptor_parse(change->original, "the original", &descriptor, err);
    if (ret < 0)
        return tarn_wrap(err, -EINVAL, "cannot publish");
    tarn_autojson json_t *check = json_string(change->tag);
    if (!check || change->tag[0] == '\0')
        return tarn_fail(err, -EINVAL, "the tag '%.100s' is empty or not UTF-8", change->tag);
    tarn_autojson json_t *subjects = json_object();
    if (!subjects)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < json_array_size(change->tarn); i++) {
        const json_t *entry = json_array_get(change->tarn, i);
        const char *subject = tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT);
        if (!subject || tarn_descriptor_parse(entry, "Tarn's entry", &descriptor, NULL) < 0)
            return tarn_fail(err, -EINVAL, "Tarn's entry %zu is no descriptor with %s", i,
                             TARN_ANNOTATION_SUBJECT);
        if (set_add(subjects, subject) < 0)
            return tarn_fail(err, -ENOMEM, "out of memory");
    }
    ret = rebuild(index, change, subjects);
    return ret < 0 ? tarn_fail(err, ret, "out of memory") : 0;
}
