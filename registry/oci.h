// SPDX-License-Identifier: Apache-2.0
// The OCI and Docker documents that Tarn reads: descriptors, manifests, indexes, and their media
// types. Documents of others are kept byte for byte; only what is needed is looked at.
// Source: OCI image specification 1.1, Docker image manifest v2 schema 2.
#ifndef TARN_REGISTRY_OCI_H
#define TARN_REGISTRY_OCI_H

#include <stdbool.h>

#include "base/digest.h"
#include "base/json.h"

#define TARN_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TARN_MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define TARN_MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define TARN_MEDIA_OCI_EMPTY "application/vnd.oci.empty.v1+json"
#define TARN_MEDIA_OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define TARN_MEDIA_OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define TARN_MEDIA_OCI_LAYER_TAR "application/vnd.oci.image.layer.v1.tar"
#define TARN_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define TARN_MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define TARN_MEDIA_TARN_BLOB "application/vnd.oci.image.layer.v1.tarn.blob"
#define TARN_ARTIFACT_TYPE "application/vnd.tarn.image.v1"

#define TARN_ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"
#define TARN_ANNOTATION_BLOB "containerd.io/snapshot/tarn-blob"
#define TARN_ANNOTATION_BOOTSTRAP "containerd.io/snapshot/tarn-bootstrap"
#define TARN_ANNOTATION_SOURCE_DIGEST "dev.tarn.source-digest"
#define TARN_ANNOTATION_KEY "dev.tarn.key"
#define TARN_ANNOTATION_META "dev.tarn.meta"
#define TARN_ANNOTATION_ROLE "dev.tarn.role"
#define TARN_ANNOTATION_BOOTSTRAP_DIGEST "dev.tarn.bootstrap-digest"
#define TARN_ANNOTATION_TREE_DIGEST "dev.tarn.tree-digest"
#define TARN_ANNOTATION_FORMAT "dev.tarn.format"
#define TARN_ANNOTATION_SUBJECT "dev.tarn.subject"
#define TARN_ANNOTATION_PLATFORM "dev.tarn.platform"

// Larger documents are refused: the specification's own bound for manifests.
enum { TARN_MANIFEST_LIMIT = 4 << 20 };

struct tarn_descriptor {
    const char *media_type; // borrowed from the document
    struct tarn_digest digest;
    uint64_t size;      // bytes
    const json_t *json; // the descriptor itself, borrowed from the document
};

// Reads one descriptor; what names it in errors. -EUCLEAN; -ENOTSUP for another digest algorithm.
int tarn_descriptor_parse(const json_t *json, const char *what, struct tarn_descriptor *descriptor,
                          struct tarn_err *err) tarn_must_check;

// Whether the document that it describes has its size. -EUCLEAN; what names the document's place.
int tarn_descriptor_check_size(const struct tarn_descriptor *descriptor, uint64_t size,
                               const char *what, struct tarn_err *err) tarn_must_check;

// A new descriptor object {digest, mediaType, size}, or NULL when out of memory.
json_t *tarn_descriptor_json(const char *media_type, const struct tarn_digest *digest,
                             uint64_t size);

// The annotation of a descriptor or document, or NULL. Borrowed.
const char *tarn_oci_annotation(const json_t *object, const char *key);

// How a layer's bytes are wrapped. -ENOTSUP, naming the type, for unknown and encrypted ones.
enum tarn_layer_kind {
    TARN_LAYER_TAR, // plain, gzip or zstd: told apart by their first bytes, not by the type
    TARN_LAYER_TARN_BLOB,
};
int tarn_layer_kind(const char *media_type, enum tarn_layer_kind *kind,
                    struct tarn_err *err) tarn_must_check;

bool tarn_media_is_manifest(const char *media_type);
bool tarn_media_is_index(const char *media_type);

#endif
