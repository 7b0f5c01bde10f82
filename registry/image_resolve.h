// SPDX-License-Identifier: Apache-2.0
// From a tag or digest to an image: the original's manifest for a platform, and Tarn's manifest for
// it. A state machine on the repository's loop; blocking.h has it for programs that wait.
#ifndef TARN_REGISTRY_IMAGE_RESOLVE_H
#define TARN_REGISTRY_IMAGE_RESOLVE_H

#include "registry/image_index.h"
#include "registry/oci.h"
#include "registry/repository.h"

// One image. A descriptor whose json is NULL is not there; at least one of original and tarn is.
struct tarn_image {
    // The manifest of the plain image. Not there when what was named is Tarn's manifest itself (made
    // with --replace or from tar: or dir:).
    struct tarn_descriptor original;
    struct tarn_descriptor tarn; // Tarn's manifest
};

struct tarn_image_list {
    // What the tag or digest names, where that is an index: the outermost one. Else not there.
    struct tarn_descriptor index;
    struct tarn_image *images; // in the order of the index
    size_t count;              // at least 1
    json_t *documents;         // keeps the descriptors' json alive
    unsigned requests;         // documents that were read for it
    uint64_t bytes;            // of these
};
void tarn_image_list_release(struct tarn_image_list *list);

struct tarn_image_query {
    const char *tag;                      // or NULL, as in tarn_read
    const struct tarn_digest *digest;     // instead of a tag, or NULL
    const struct tarn_platform *platform; // NULL: all images (but no attestations)
};
// The query that a reference asks. Borrows from the reference.
struct tarn_image_query tarn_image_query_of(const struct tarn_reference *reference,
                                            const struct tarn_platform *platform);

// With status 0 the list is handed over to the callee, who releases it; else it is NULL. -ENOENT: no
// such tag or manifest, or no image for the platform (err lists those that there are); -EUCLEAN.
typedef void tarn_resolve_done(void *context, int status, struct tarn_image_list *list,
                               const struct tarn_err *err);

// A single manifest serves any platform; of an index, with indexes inside it up to 4 deep, the best
// entry. The query is copied. done() never comes before this has returned 0.
int tarn_image_resolve(struct tarn_repository *repository, const struct tarn_image_query *query,
                       tarn_resolve_done *done, void *context) tarn_must_check;

#endif
