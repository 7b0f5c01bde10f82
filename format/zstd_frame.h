// SPDX-License-Identifier: Apache-2.0
// What the format demands of every zstd frame in it, before decoding.
#ifndef TARN_FORMAT_ZSTD_FRAME_H
#define TARN_FORMAT_ZSTD_FRAME_H

#include <stdbool.h>
#include <zstd.h>

#include "base/bytes.h"

// True if the bytes are exactly one frame of zstd's own format (no skippable or legacy one) with
// content size, without checksum and dictionary id; yields the content size. The blocks' bytes are
// not looked at. Source: RFC 8878, section 3.1.1.
static inline bool tarn_zstd_frame(const uint8_t *frame, size_t length, uint64_t *content_size)
{
    enum { DESCRIPTOR = 4, DICTIONARY_ID = 0x03, CHECKSUM = 0x04 };
    if (length <= DESCRIPTOR || tarn_get_le32(frame) != ZSTD_MAGICNUMBER)
        return false;
    if (frame[DESCRIPTOR] & (DICTIONARY_ID | CHECKSUM))
        return false;
    *content_size = ZSTD_getFrameContentSize(frame, length);
    return *content_size < ZSTD_CONTENTSIZE_ERROR &&
           ZSTD_findFrameCompressedSize(frame, length) == length;
}

#endif
