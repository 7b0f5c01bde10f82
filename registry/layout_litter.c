// SPDX-License-Identifier: Apache-2.0
#include "registry/layout_litter.h"

#include <string.h>

#include "registry/layer_note.h"
#include "registry/oci.h"

enum { REFERENCE_DEPTH = 8 };

void tarn_litter_release(struct tarn_litter *litter)
{
    free(litter->digests);
    *litter = (struct tarn_litter){ 0 };
}

int tarn_litter_add(struct tarn_litter *litter, const struct tarn_digest *digest)
{
    if (litter->count == litter->capacity) {
        const size_t capacity = litter->capacity > 0 ? litter->capacity * 2 : 64;
        struct tarn_digest *digests = reallocarray(litter->digests, capacity, sizeof *digests);
        if (!digests)
            return -ENOMEM;
        litter->digests = digests;
        litter->capacity = capacity;
    }
    litter->digests[litter->count++] = *digest;
    return 0;
}

int tarn_litter_add_notes(struct tarn_litter *litter, const json_t *manifest)
{
    struct tarn_digest digest;
    size_t i;
    const json_t *layer;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        if (!tarn_oci_annotation(layer, TARN_ANNOTATION_KEY))
            continue;
        tarn_autojson json_t *note = tarn_layer_note(layer);
        tarn_autofree char *text = note ? tarn_json_dump(note) : NULL;
        if (!text)
            return -ENOMEM;
        tarn_sha256(text, strlen(text), &digest);
        const int ret = tarn_litter_add(litter, &digest);
        if (ret < 0)
            return ret;
    }
    tarn_layer_note_config(&digest);
    return tarn_litter_add(litter, &digest);
}

struct references {
    json_t *seen; // an object: the digests
    const struct tarn_document_source *source;
};

static int add_document(const struct references *references, const json_t *document,
                        unsigned depth);

// A descriptor, and what it leads to. Whatever an index lists is a document, of any media type.
static int add_descriptor(const struct references *references, const json_t *json, bool listed,
                          unsigned depth)
{
    struct tarn_descriptor descriptor;
    if (!json || tarn_descriptor_parse(json, "descriptor", &descriptor, NULL) < 0)
        return 0; // it names nothing that is here
    char text[TARN_DIGEST_TEXT];
    tarn_digest_format(&descriptor.digest, text);
    if (json_object_get(references->seen, text))
        return 0;
    if (json_object_set_new(references->seen, text, json_true()) < 0)
        return -ENOMEM;
    if (!listed && !tarn_media_is_index(descriptor.media_type) &&
        !tarn_media_is_manifest(descriptor.media_type))
        return 0;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    const int ret =
        references->source->read(references->source->context, &descriptor.digest, &bytes, NULL);
    if (ret < 0)
        return ret == -ENOENT ? 0 : ret;
    tarn_autojson json_t *document = tarn_json_parse(bytes.data, bytes.length, text, NULL);
    return document ? add_document(references, document, depth + 1) : -EUCLEAN;
}

static int add_array(const struct references *references, const json_t *array, bool listed,
                     unsigned depth)
{
    int ret = 0;
    for (size_t i = 0; ret == 0 && i < json_array_size(array); i++)
        ret = add_descriptor(references, json_array_get(array, i), listed, depth);
    return ret;
}

static int add_document(const struct references *references, const json_t *document, unsigned depth)
{
    if (depth > REFERENCE_DEPTH)
        return -EUCLEAN;
    int ret = add_array(references, json_object_get(document, "manifests"), true, depth);
    if (ret == 0)
        ret = add_array(references, json_object_get(document, "layers"), false, depth);
    if (ret == 0)
        ret = add_descriptor(references, json_object_get(document, "config"), false, depth);
    if (ret == 0)
        ret = add_descriptor(references, json_object_get(document, "subject"), false, depth);
    return ret;
}

void tarn_litter_remove(struct tarn_litter *litter, int directory, const json_t *index,
                        const struct tarn_document_source *source)
{
    tarn_autojson json_t *seen = json_object();
    const struct references references = { seen, source };
    if (!seen || add_document(&references, index, 0) < 0)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < litter->count; i++) {
        char text[TARN_DIGEST_TEXT];
        tarn_digest_format(&litter->digests[i], text);
        if (json_object_get(seen, text) ||
            (unlinkat(directory, text + strlen("sha256:"), 0) < 0 && errno != ENOENT))
            litter->digests[kept++] = litter->digests[i];
    }
    litter->count = kept;
}
