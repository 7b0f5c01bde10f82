// SPDX-License-Identifier: Apache-2.0
// Tars for tests, right or wrong on purpose. All functions abort when out of memory.
#ifndef TARN_TESTS_TAR_TAPE_H
#define TARN_TESTS_TAR_TAPE_H

#include <stdint.h>

#include "base/buf.h"

// One header. Zero values give an empty ustar file "" with mode 0, so that a test names what it is
// about.
struct tarn_tape_header {
    const char *name; // at most 100 bytes count
    const char *link;
    const char *prefix;
    uint64_t mode;
    uint64_t uid;
    uint64_t gid;
    uint64_t size; // above 8 GiB in base 256
    int64_t mtime; // below 0 in base 256
    uint64_t major;
    uint64_t minor;
    char flag;    // 0 is '0'; 'v' is v7 with a NUL
    char dialect; // 'u' or 0: ustar, 'g': GNU, 'v': v7
};

// Appends the header and returns where it stands, for tampering; then call tarn_tape_sign().
uint8_t *tarn_tape_header(struct tarn_buf *tape, const struct tarn_tape_header *header);
// Makes a header's checksum right.
void tarn_tape_sign(uint8_t *block);
// Appends bytes and zeros up to the next block.
void tarn_tape_body(struct tarn_buf *tape, const void *bytes, size_t length);
// A header with its data: size is set.
void tarn_tape_file(struct tarn_buf *tape, struct tarn_tape_header header, const void *bytes,
                    size_t length);
// "LENGTH KEY=VALUE\n" to records.
void tarn_tape_record(struct tarn_buf *records, const char *key, const void *value, size_t length);
// An extended header (flag 'x' or 'g') holding records, which it empties.
void tarn_tape_pax(struct tarn_buf *tape, char flag, struct tarn_buf *records);
// The two zero blocks.
void tarn_tape_end(struct tarn_buf *tape);

#endif
