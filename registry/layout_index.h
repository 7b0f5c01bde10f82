// SPDX-License-Identifier: Apache-2.0
// index.json of an OCI layout: finding tags, and the flat way in which Tarn publishes there. The
// original's entry carries the tag, as in any layout; Tarn's entries follow it, without a tag, each
// with the digest of its original manifest in dev.tarn.subject. A nested index would be ambiguous for
// tools that walk all manifests under a tag (umoci).
#ifndef TARN_REGISTRY_LAYOUT_INDEX_H
#define TARN_REGISTRY_LAYOUT_INDEX_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"

enum { TARN_LAYOUT_INDEX_LIMIT = 64 << 20 }; // bytes of an index.json; larger ones are refused

// Where to read manifests and indexes by digest.
struct tarn_document_source {
    int (*read)(void *context, const struct tarn_digest *digest, struct tarn_buf *buf,
                struct tarn_err *err);
    void *context;
};

// An index without entries, or NULL when out of memory.
json_t *tarn_layout_index_new(void);

// The document in bytes as an index; name ("oci:DIR") for messages. -EUCLEAN.
int tarn_layout_index_parse(const void *bytes, size_t length, const char *name, json_t **index,
                            struct tarn_err *err) tarn_must_check;

struct tarn_layout_query {
    const char *name;                 // of the layout, for messages
    const char *tag;                  // NULL: the only image, else "latest"
    const struct tarn_digest *digest; // instead of a tag: only Tarn's entries for this manifest
    bool layers;                      // instead of both: all Tarn manifests, whatever they are for
    struct tarn_document_source source;
};
// A new index document: for a tag its own descriptor without the tag, then Tarn's entries whose subject
// is that descriptor or, when it is an index, a manifest below it; for a digest Tarn's entries alone.
// -ENOENT naming the tags that there are.
int tarn_layout_index_list(const json_t *index, const struct tarn_layout_query *query,
                           json_t **listing, struct tarn_err *err) tarn_must_check;

struct tarn_layout_change {
    const char *tag;        // NULL: only adds tarn's entries, notes of converted layers
    const json_t *original; // a descriptor
    const json_t *tarn;     // array of descriptors, each with dev.tarn.subject; or NULL
    bool more;              // as in struct tarn_publication; not looked at here
    struct tarn_document_source source;
};
// Changes index: the tag's entry is the original's descriptor, with the tag added, at the place of the
// old one or at the end, and Tarn's entries follow it. Other Tarn entries with the same subjects go, and
// those whose subject no entry leads to any more (kept while an index that might lead there cannot be
// read), and the notes of layers that the published image has; those of other runs stay. -EINVAL for a tag
// or entry that cannot be written.
int tarn_layout_index_publish(json_t *index, const struct tarn_layout_change *change,
                              struct tarn_err *err) tarn_must_check;

#endif
