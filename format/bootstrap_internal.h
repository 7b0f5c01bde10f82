// SPDX-License-Identifier: Apache-2.0
// The image section (section 9).
#ifndef TARN_FORMAT_BOOTSTRAP_INTERNAL_H
#define TARN_FORMAT_BOOTSTRAP_INTERNAL_H

#include <stdint.h>

enum {
    TARN_IMAGE_SIZE = 128,
    TARN_IMAGE_PARAMETERS = 7, // u32 from offset 0
    TARN_IMAGE_CHAIN = 28,
    TARN_IMAGE_BLOBS = 32,
    TARN_IMAGE_SLOTS = 36,
    TARN_IMAGE_INODES = 40,
    TARN_IMAGE_NAMES = 48,
    TARN_IMAGE_BYTES = 56,
    TARN_IMAGE_TREE = 64,
    TARN_IMAGE_ZERO = 96,
};

// Chunker, sizes, normalisation, run and prefix length: what a reader of this version knows.
extern const uint32_t tarn_image_parameters[TARN_IMAGE_PARAMETERS];

#endif
