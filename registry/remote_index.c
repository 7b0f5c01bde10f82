// SPDX-License-Identifier: Apache-2.0
#include "registry/remote_index.h"

#include <string.h>

#include "registry/image_index.h"
#include "registry/oci.h"

static bool same_string(const json_t *a, const json_t *b, const char *key)
{
    const char *x = tarn_json_string(a, key);
    const char *y = tarn_json_string(b, key);
    return x && y && strcmp(x, y) == 0;
}

// The entry of an index with this digest, or NULL.
static const json_t *find_digest(const json_t *entries, const json_t *descriptor)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(entries, i, entry)
    {
        if (same_string(entry, descriptor, "digest"))
            return entry;
    }
    return NULL;
}

static bool is_index(const json_t *descriptor)
{
    return tarn_media_is_index(tarn_json_string(descriptor, "mediaType"));
}

// The document whose entries the new index keeps: the original, where that is an index, the current one,
// where the original is one of its images; else NULL.
static const json_t *base_of(const struct tarn_remote_index *from)
{
    if (is_index(from->original))
        return from->document;
    const json_t *entry = find_digest(json_object_get(from->current, "manifests"), from->original);
    return entry && tarn_entry_kind(entry) == TARN_ENTRY_IMAGE ? from->current : NULL;
}

static int add_images(json_t *entries, const json_t *base, const json_t *original)
{
    size_t i;
    json_t *entry;
    if (!base)
        return json_array_append_new(entries, json_deep_copy(original));
    json_array_foreach(json_object_get(base, "manifests"), i, entry)
    {
        if (tarn_entry_kind(entry) != TARN_ENTRY_TARN &&
            json_array_append_new(entries, json_deep_copy(entry)) < 0)
            return -1;
    }
    return 0;
}

static const char *subject_of(const json_t *entry)
{
    return tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT);
}

static bool has_subject(const json_t *entries, const char *subject)
{
    return subject && tarn_index_find_tarn(entries, subject) != NULL;
}

// Tarn's entries of the current index whose images are still there and have no new ones.
static int add_kept(json_t *entries, const struct tarn_remote_index *from)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(from->current, "manifests"), i, entry)
    {
        const char *subject = subject_of(entry);
        if (tarn_entry_kind(entry) != TARN_ENTRY_TARN || !subject ||
            has_subject(from->tarn, subject))
            continue;
        tarn_autojson json_t *named = json_pack("{s:s}", "digest", subject);
        if (find_digest(entries, named) && json_array_append(entries, entry) < 0)
            return -1;
    }
    return 0;
}

static json_t *platform_json(const char *text)
{
    struct tarn_platform platform;
    if (!text || tarn_platform_parse(text, &platform, NULL) < 0)
        return NULL;
    json_t *json = json_pack("{s:s,s:s}", "os", platform.os, "architecture", platform.architecture);
    if (json && platform.variant[0])
        json_object_set_new(json, "variant", json_string(platform.variant));
    return json;
}

// Clients choose by platform: a manifest that stood alone has none in its descriptor.
static void set_platforms(json_t *entries, const json_t *tarn)
{
    size_t i;
    json_t *entry;
    json_array_foreach(entries, i, entry)
    {
        const char *digest = tarn_json_string(entry, "digest");
        if (tarn_entry_kind(entry) != TARN_ENTRY_IMAGE || json_object_get(entry, "platform"))
            continue;
        const json_t *ours = digest ? tarn_index_find_tarn(tarn, digest) : NULL;
        json_t *platform = platform_json(tarn_oci_annotation(ours, TARN_ANNOTATION_PLATFORM));
        if (platform)
            json_object_set_new(entry, "platform", platform);
    }
}

json_t *tarn_remote_index_make(const struct tarn_remote_index *from)
{
    const json_t *base = base_of(from);
    tarn_autojson json_t *entries = json_array();
    if (!entries || add_images(entries, base, from->original) < 0)
        return NULL;
    set_platforms(entries, from->tarn);
    size_t i;
    json_t *entry;
    json_array_foreach(from->tarn, i, entry)
    {
        if (json_array_append(entries, entry) < 0)
            return NULL;
    }
    if (add_kept(entries, from) < 0)
        return NULL;
    tarn_autojson json_t *index = base ? json_deep_copy(base) : json_object();
    if (!index || json_object_set_new(index, "schemaVersion", json_integer(2)) < 0 ||
        json_object_set_new(index, "mediaType", json_string(TARN_MEDIA_OCI_INDEX)) < 0 ||
        json_object_set(index, "manifests", entries) < 0)
        return NULL;
    return tarn_steal(index);
}

static bool is_tarn(const json_t *entry)
{
    const char *artifact = tarn_json_string(entry, "artifactType");
    return artifact && strcmp(artifact, TARN_ARTIFACT_TYPE) == 0;
}

json_t *tarn_remote_referrers_make(const json_t *current, const json_t *tarn)
{
    tarn_autojson json_t *entries = json_array();
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(current, "manifests"), i, entry)
    {
        if (!is_tarn(entry) && json_array_append(entries, entry) < 0)
            return NULL;
    }
    json_array_foreach(tarn, i, entry)
    {
        if (json_array_append(entries, entry) < 0)
            return NULL;
    }
    return json_pack("{s:i,s:s,s:O}", "schemaVersion", 2, "mediaType", TARN_MEDIA_OCI_INDEX,
                     "manifests", entries);
}
