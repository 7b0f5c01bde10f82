// SPDX-License-Identifier: Apache-2.0
// Where a data space is cut (section 4): FastCDC with a published gear table, cut on the high bits.
// Source: Xia et al., "FastCDC", USENIX ATC 2016; sizes from the measurements in docs/design.md.
#ifndef TARN_FORMAT_CHUNKER_H
#define TARN_FORMAT_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

extern const uint64_t tarn_gear[256];

// The length of the chunk that starts at data. length is what is left of the data space, or any
// number from TARN_CHUNK_MAX on if more is left. Returns 0 only for length 0.
size_t tarn_chunker_next(const uint8_t *data, size_t length);

#endif
