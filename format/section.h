// SPDX-License-Identifier: Apache-2.0
// Section directories: how every container of the format is written and opened (section 2).
#ifndef TARN_FORMAT_SECTION_H
#define TARN_FORMAT_SECTION_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "format/limits.h"

enum {
    TARN_SECTION_CHUNKS = 0x0001,
    TARN_SECTION_METADATA = 0x0002,
    TARN_SECTION_LAYER = 0x0101,
    TARN_SECTION_BLOBS = 0x0102,
    TARN_SECTION_INODES = 0x0103,
    TARN_SECTION_NAMES = 0x0104,
    TARN_SECTION_NAME_BYTES = 0x0105,
    TARN_SECTION_TARGETS = 0x0106,
    TARN_SECTION_XATTR_SETS = 0x0107,
    TARN_SECTION_CONTENTS = 0x0108,
    TARN_SECTION_UNITS = 0x0109,
    TARN_SECTION_CHUNK_ADDRESSES = 0x010a,
    TARN_SECTION_CHUNK_LOCATIONS = 0x010b,
    TARN_SECTION_CHUNK_DIGESTS = 0x010c,
    TARN_SECTION_EROFS = 0x0201,
    TARN_SECTION_IMAGE = 0x0202,

    TARN_SECTION_ENTRY_SIZE = 32,
    TARN_SECTION_TRAILER_SIZE = 64,
    TARN_SECTIONS_MAX = 64,
};

enum tarn_container { TARN_CONTAINER_BLOB, TARN_CONTAINER_METADATA, TARN_CONTAINER_BOOTSTRAP };

struct tarn_section {
    uint32_t type;
    bool zstd;
    uint8_t stride;  // 0: not transposed
    uint64_t offset; // from the container's start
    uint64_t length; // as stored
    uint64_t xxh3;
};

struct tarn_sections {
    enum tarn_container container; // set by reading, as is directory
    uint64_t directory;            // its offset from the container's start
    uint32_t count;
    struct tarn_section items[TARN_SECTIONS_MAX];
};

const struct tarn_section *tarn_sections_find(const struct tarn_sections *sections, uint32_t type);

// --- writing -------------------------------------------------------------------------------
// Appends the section's stored form (transposed, compressed as asked; neither for length 0) to out,
// which holds the container from its start, at the next multiple of 8, and notes it. sections
// starts zeroed. length is a multiple of the stride. 0 or -ENOMEM; -E2BIG beyond TARN_SECTIONS_MAX.
struct tarn_section_form {
    uint32_t type;
    bool zstd;
    uint8_t stride;
};
int tarn_section_append(struct tarn_sections *sections, struct tarn_buf *out,
                        const struct tarn_section_form *form, const void *data,
                        size_t length) tarn_must_check;
// The same for data that stands in columns already: of large sections, so that they are not there
// twice.
int tarn_section_append_columns(struct tarn_sections *sections, struct tarn_buf *out,
                                const struct tarn_section_form *form, const void *columns,
                                size_t length) tarn_must_check;
// Puts record i of count into columns.
static inline void tarn_section_put_columns(uint8_t *columns, size_t count, size_t i,
                                            const uint8_t *record, size_t stride)
{
    for (size_t column = 0; column < stride; column++)
        columns[column * count + i] = record[column];
}
// Appends directory and trailer, at the next multiple of 8, of a container that starts offset_base
// bytes before out[0]; the offsets in sections count from the container's start. 0 or -ENOMEM.
int tarn_sections_finish(const struct tarn_sections *sections, enum tarn_container container,
                         uint64_t offset_base, struct tarn_buf *out) tarn_must_check;

// --- reading -------------------------------------------------------------------------------
// Reads the directory from the last bytes of a container of this total length; tail holds its last
// tail_length bytes, of which all of the directory must be part (TARN_SECTIONS_TAIL is enough).
// -EUCLEAN with offset and rule, -ENOTSUP for unknown required sections, flags and versions. Checks
// all of section 2 that the directory shows: that known sections have their form and order, too.
// Unknown sections without the required bit are in *sections and are found by nobody.
enum {
    TARN_SECTIONS_TAIL = TARN_SECTIONS_MAX * TARN_SECTION_ENTRY_SIZE + TARN_SECTION_TRAILER_SIZE
};
struct tarn_section_tail {
    enum tarn_container container;
    const uint8_t *bytes;
    size_t length;
    uint64_t container_length;
};
int tarn_sections_parse(const struct tarn_section_tail *tail, struct tarn_sections *sections,
                        struct tarn_err *err) tarn_must_check;

// The section of a container that lies in memory: checks its XXH3; yields the bytes in place
// (plain) or decoded into *decoded (which the caller owns; what it held is lost). limit bounds the
// decoded length, before anything is allocated. -EUCLEAN, with offset and section, if the section
// is missing, wrong or larger than limit; -ENOMEM.
struct tarn_bytes {
    const uint8_t *data;
    size_t length;
};
struct tarn_section_source {
    const struct tarn_sections *sections;
    const uint8_t *container;
    uint64_t limit; // of one decoded section, bytes
};
int tarn_section_open(const struct tarn_section_source *source, uint32_t type,
                      struct tarn_buf *decoded, struct tarn_bytes *bytes,
                      struct tarn_err *err) tarn_must_check;

// How many bytes a section that sections holds has once it is decoded, by what its frame says of
// itself: nothing is decoded. -EUCLEAN for what is no frame that says it.
int tarn_section_decoded_length(const struct tarn_sections *sections, const uint8_t *container,
                                const struct tarn_section *section, uint64_t *length,
                                struct tarn_err *err) tarn_must_check;

// Whether all bytes between the sections, and before the directory, are zero: for a container that
// lies in memory as a whole. -EUCLEAN.
int tarn_sections_check_padding(const struct tarn_sections *sections, const uint8_t *container,
                                struct tarn_err *err) tarn_must_check;

#endif
