// SPDX-License-Identifier: Apache-2.0
// Any bytes as a manifest, an index or an index.json, through all functions that look into them.
#include <stdint.h>
#include <string.h>

#include "registry/image_index.h"
#include "registry/layout_index.h"
#include "registry/oci.h"

struct input {
    const uint8_t *data;
    size_t size;
};

// Every digest names the input itself, so that indexes lead to themselves.
static int source_read(void *context, const struct tarn_digest *digest, struct tarn_buf *buf,
                       struct tarn_err *err)
{
    const struct input *input = context;
    (void)digest;
    (void)err;
    return tarn_buf_append(buf, input->data, input->size);
}

static void look_at(const json_t *entry)
{
    struct tarn_descriptor descriptor;
    struct tarn_platform platform;
    struct tarn_err err;
    enum tarn_layer_kind kind;
    if (tarn_descriptor_parse(entry, "entry", &descriptor, &err) == 0 &&
        tarn_layer_kind(descriptor.media_type, &kind, &err) == 0)
        (void)tarn_oci_annotation(entry, TARN_ANNOTATION_META);
    (void)tarn_entry_kind(entry);
    (void)tarn_platform_from_json(json_object_get(entry, "platform"), &platform);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tarn_err err;
    struct input input = { data, size };
    tarn_autojson json_t *document = tarn_json_parse(data, size, "input", &err);
    if (!document)
        return 0;
    const char *media_type;
    (void)!tarn_document_media_type(document, "input", &media_type, &err);
    const json_t *manifests = json_object_get(document, "manifests");
    const json_t *layers = json_object_get(document, "layers");
    look_at(json_object_get(document, "config"));
    look_at(document);
    for (size_t i = 0; i < json_array_size(layers); i++)
        look_at(json_array_get(layers, i));
    for (size_t i = 0; i < json_array_size(manifests); i++)
        look_at(json_array_get(manifests, i));
    const struct tarn_platform wanted = { .os = "linux", .architecture = "arm", .variant = "v7" };
    tarn_autobuf struct tarn_buf text = { 0 };
    (void)tarn_index_choose(manifests, &wanted);
    (void)!tarn_index_platforms(manifests, &text);

    tarn_autojson json_t *index = NULL;
    if (tarn_layout_index_parse(data, size, "input", &index, &err) < 0)
        return 0;
    const struct tarn_document_source source = { source_read, &input };
    const struct tarn_layout_query query = { .name = "input", .tag = "t", .source = source };
    tarn_autojson json_t *listing = NULL;
    (void)!tarn_layout_index_list(index, &query, &listing, &err);
    const struct tarn_layout_change change = {
        .tag = "t",
        .original = json_array_get(json_object_get(index, "manifests"), 0),
        .tarn = manifests,
        .source = source,
    };
    (void)!tarn_layout_index_publish(index, &change, &err);
    return 0;
}
