// SPDX-License-Identifier: Apache-2.0
// A content's bytes as pieces that lie together, in the file and in the data space of its holder: one
// for a plain file, one for each extent of a file with holes (docs/format.md, section 3).
#ifndef TARN_CONVERTER_CONTENT_PIECES_H
#define TARN_CONVERTER_CONTENT_PIECES_H

#include "base/bytes.h"
#include "format/content.h"

struct tarn_content_piece {
    uint64_t logical; // offset in the file
    uint64_t address; // in the holder's data space
    uint64_t length;  // bytes
};

struct tarn_content_pieces {
    const struct tarn_content *content; // borrowed
    uint32_t next;
    uint64_t address; // of the next piece
};

static inline struct tarn_content_pieces
tarn_content_pieces_start(const struct tarn_content *content)
{
    return (struct tarn_content_pieces){ .content = content, .address = content->address };
}

// The next piece, ascending; false at the end. No piece is empty.
static inline bool tarn_content_pieces_next(struct tarn_content_pieces *pieces,
                                            struct tarn_content_piece *piece)
{
    const struct tarn_content *content = pieces->content;
    const uint32_t i = pieces->next++;
    *piece = (struct tarn_content_piece){ .address = pieces->address };
    if (content->kind == TARN_CONTENT_PLAIN) {
        piece->length = content->size;
        return i == 0 && content->size > 0;
    }
    if (i >= content->extent_count)
        return false;
    const uint64_t unit = tarn_content_unit(content->size);
    const struct tarn_extent extent = content->extents[i];
    piece->logical = extent.first * unit;
    piece->length = tarn_min_u64(((uint64_t)extent.first + extent.count) * unit, content->size) -
                    piece->logical;
    pieces->address += piece->length;
    return true;
}

#endif
