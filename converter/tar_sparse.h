// SPDX-License-Identifier: Apache-2.0
// The maps of sparse files: GNU's old header entries, and pax 0.0, 0.1 and 1.0 (GNU tar manual,
// "Storing Sparse Files").
#ifndef TARN_CONVERTER_TAR_SPARSE_H
#define TARN_CONVERTER_TAR_SPARSE_H

#include "base/err.h"
#include "converter/tar_entry.h"
#include "converter/tar_number.h"

// A zeroed struct is an empty map.
struct tarn_tar_map {
    struct tarn_tar_extent *extents; // owned; empty ones left out, touching ones joined
    size_t count;
    size_t capacity;
    size_t entries; // all that were added
    uint64_t end;   // of the last one
    uint64_t data;  // sum of the lengths
};

void tarn_tar_map_release(struct tarn_tar_map *map);
void tarn_tar_map_clear(struct tarn_tar_map *map); // keeps the memory

// Adds one entry, which must not begin before the end of the last: -EINVAL. -ENOTSUP above
// TARN_TAR_EXTENTS_MAX entries, -ENOMEM.
int tarn_tar_map_add(struct tarn_tar_map *map, tarn_tar_int offset, tarn_tar_int length,
                     struct tarn_err *err) tarn_must_check;

// The map is complete: it must end inside of size, and its data must be just stored bytes. -EINVAL.
int tarn_tar_map_check(const struct tarn_tar_map *map, uint64_t size, uint64_t stored,
                       struct tarn_err *err) tarn_must_check;

// Adds up to count {offset[12], length[12]} pairs; an unused one ends them.
int tarn_tar_map_add_old(struct tarn_tar_map *map, const uint8_t *pairs, size_t count,
                         struct tarn_err *err) tarn_must_check;

// Adds "offset,length,offset,length..." (pax 0.1); no text is no entry. -EUCLEAN.
int tarn_tar_map_add_text(struct tarn_tar_map *map, const char *text, size_t length,
                          struct tarn_err *err) tarn_must_check;

// The state of a pax 1.0 map, which stands before the data: lines of decimal numbers, their count
// first. Zeroed to begin.
struct tarn_tar_map_lines {
    tarn_tar_int value; // the line so far
    unsigned digits;
    bool counted;     // the count was read
    bool have_offset; // the next line is a length
    uint64_t left;    // entries to come
    uint64_t offset;  // of the current entry
};

// Reads one block. Sets *done when the map ended in it; the rest of the block is padding. -EUCLEAN.
int tarn_tar_map_add_lines(struct tarn_tar_map *map, struct tarn_tar_map_lines *lines,
                           const uint8_t block[TARN_TAR_BLOCK], bool *done,
                           struct tarn_err *err) tarn_must_check;

#endif
