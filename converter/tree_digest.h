// SPDX-License-Identifier: Apache-2.0
// The tree digest of anything that Tarn reads, worked out anew.
#ifndef TARN_CONVERTER_TREE_DIGEST_H
#define TARN_CONVERTER_TREE_DIGEST_H

#include "registry/blocking.h"

// Of a tar: or dir: reference.
int tarn_tree_digest_path(const struct tarn_reference *reference, struct tarn_digest *digest,
                          struct tarn_err *err) tarn_must_check;

// Of an image: of a converted one from its layer metadata, else from its layers. A converted image
// whose tree is not the one that its manifest states is refused: -EUCLEAN.
int tarn_tree_digest_image(struct tarn_blocking *blocking, struct tarn_repository *repository,
                           const struct tarn_image *image, struct tarn_digest *digest,
                           struct tarn_err *err) tarn_must_check;

#endif
