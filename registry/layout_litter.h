// SPDX-License-Identifier: Apache-2.0
// Which of the blobs that a run put into a layout nothing refers to: these go again when it ends, whether
// it failed or not.
#ifndef TARN_REGISTRY_LAYOUT_LITTER_H
#define TARN_REGISTRY_LAYOUT_LITTER_H

#include "registry/layout_index.h"

// The digests of new blobs. A zeroed struct is an empty list.
struct tarn_litter {
    struct tarn_digest *digests; // owned
    size_t count;
    size_t capacity;
};
void tarn_litter_release(struct tarn_litter *litter);
int tarn_litter_add(struct tarn_litter *litter, const struct tarn_digest *digest) tarn_must_check;
// The notes of the layers of Tarn's manifest, whether they are there or not: a run that was killed just after
// it had published it left them, and no index tells of them any more.
int tarn_litter_add_notes(struct tarn_litter *litter, const json_t *manifest) tarn_must_check;

// Unlinks from directory, blobs/sha256, those of the list that neither the index nor a document below
// it names, and takes them from the list. Does nothing if a document cannot be read, but for one that
// is not there. Nobody else may be writing to the layout. Blocks. Best effort.
void tarn_litter_remove(struct tarn_litter *litter, int directory, const json_t *index,
                        const struct tarn_document_source *source);

#endif
