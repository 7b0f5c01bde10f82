// SPDX-License-Identifier: Apache-2.0
// Encodes one chunk somewhere in a run.
#ifndef TARN_TESTS_ENCODE_CHUNK_H
#define TARN_TESTS_ENCODE_CHUNK_H

#include "format/chunk_codec.h"

struct tarn_plain_chunk {
    const uint8_t *bytes;
    size_t length;
    size_t prefix_length; // at most TARN_PREFIX_LENGTH; the prefix lies directly before bytes
};

// As tarn_encoder_encode(), in a run of the prefix, cut into chunks as long as may be, and the chunk.
ssize_t tarn_test_encode(struct tarn_encoder *encoder, const struct tarn_plain_chunk *chunk,
                         uint8_t *out, bool *raw);

#endif
