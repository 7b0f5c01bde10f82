// SPDX-License-Identifier: Apache-2.0
// Tarn's own image manifest (docs/format.md, section 11), read and checked.
#ifndef TARN_REGISTRY_TARN_MANIFEST_H
#define TARN_REGISTRY_TARN_MANIFEST_H

#include "registry/oci.h"

struct tarn_manifest_blob {
    struct tarn_digest digest;
    uint64_t size;
    uint64_t metadata_offset;
    uint64_t metadata_length;
    struct tarn_digest metadata_digest;
    bool foreign;           // role "dict"
    bool has_source_digest; // layers of the chain, unless from a directory
    struct tarn_digest source_digest;
    bool has_key;
    struct tarn_digest key;
};

struct tarn_manifest {
    json_t *json; // owned; the document
    struct tarn_descriptor config;
    bool has_subject;
    struct tarn_descriptor subject;
    uint32_t blob_count;
    uint32_t chain_count;             // of them; they come first
    struct tarn_manifest_blob *blobs; // owned
    struct tarn_descriptor bootstrap; // the layer that holds it
    struct tarn_digest bootstrap_digest;
    struct tarn_digest tree_digest;
};

// True if the document says that it is a Tarn image (artifactType).
bool tarn_manifest_is_tarn(const json_t *document);

// Reads one layer that is a Tarn blob. -EUCLEAN or -ENOTSUP with the broken rule.
int tarn_manifest_blob_parse(const struct tarn_descriptor *layer, struct tarn_manifest_blob *blob,
                             struct tarn_err *err) tarn_must_check;

// Reads the document in length bytes; what names it in errors. -EUCLEAN with the broken rule,
// -ENOTSUP for another format version.
int tarn_manifest_parse(const void *text, size_t length, const char *what,
                        struct tarn_manifest *manifest, struct tarn_err *err) tarn_must_check;
void tarn_manifest_release(struct tarn_manifest *manifest);

#endif
