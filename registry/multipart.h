// SPDX-License-Identifier: Apache-2.0
// What a server answers to a request for several ranges: a body of type multipart/byteranges, taken apart
// as it arrives. Pure functions over bytes of no limit in number: what is kept is of fixed size, and all but
// the parts' contents is bounded. Sources: RFC 9110, 14.4 and 14.6; RFC 2046, 5.1.
#ifndef TARN_REGISTRY_MULTIPART_H
#define TARN_REGISTRY_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    TARN_MULTIPART_BOUNDARY_MAX = 70, // RFC 2046
    TARN_MULTIPART_LINE_MAX = 1024,
    TARN_MULTIPART_HEADERS_MAX = 8192, // of one part, and what stands before the first one
    TARN_MULTIPART_EPILOGUE_MAX = 4096,
};

struct tarn_content_range {
    uint64_t first; // byte; first <= last < total
    uint64_t last;
    uint64_t total; // UINT64_MAX: not said
};
// "bytes FIRST-LAST/TOTAL", where TOTAL may be "*". False: anything else, or NULL.
bool tarn_content_range_parse(const char *text, struct tarn_content_range *range) tarn_must_check;

// Its members are multipart.c's.
struct tarn_multipart {
    int state;
    char delimiter[2 + 2 + TARN_MULTIPART_BOUNDARY_MAX + 1]; // end of line, "--", the boundary
    size_t delimiter_length;
    size_t start; // of "--" in it: the body's ends of line have one byte or two
    char line[TARN_MULTIPART_LINE_MAX + 1];
    size_t line_length;
    size_t spent; // bytes of what is bounded here
    bool ranged;  // the part has told its range
    struct tarn_content_range range;
    uint64_t left; // bytes of the part that have not been looked at
    // So many bytes that were looked at begin the delimiter, and are handed on only when it is clear that
    // they belong to the part.
    size_t held;
    size_t matched; // of the delimiter that is to follow
};

// -ENOENT: content_type (NULL: none) is another type; -EBADMSG: it has no boundary as it should.
int tarn_multipart_start(struct tarn_multipart *multipart, const char *content_type,
                         struct tarn_err *err) tarn_must_check;

struct tarn_multipart_input {
    const uint8_t *bytes;
    size_t length;
};

enum tarn_multipart_event {
    TARN_MULTIPART_MORE, // the input is used up
    TARN_MULTIPART_PART, // a part begins
    TARN_MULTIPART_DATA, // bytes of it
};

struct tarn_multipart_piece {
    struct tarn_content_range range; // the part's, as told; not compared with what was asked
    uint64_t offset;                 // DATA: of bytes, within range
    const uint8_t *bytes;            // DATA: in the input, or in multipart until the next call
    size_t length;                   // DATA: at least 1
};

// Takes from input up to the next event. A part's bytes are in order and complete before the next part
// begins or the body ends; a part that is longer or shorter than its Content-Range is found out before a
// byte is handed on that is not the part's. -EBADMSG: the body is damaged; there is no way on.
int tarn_multipart_next(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                        struct tarn_multipart_piece *piece, struct tarn_err *err) tarn_must_check;
// The final boundary has come.
bool tarn_multipart_ended(const struct tarn_multipart *multipart);

#endif
