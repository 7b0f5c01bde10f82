// SPDX-License-Identifier: Apache-2.0
// The order of the contents in a data space. It is about speed alone, never about meaning: a start of
// a program reads files of few kinds, which lie scattered between those that only people read. Files of
// one kind beside each other come with one request, and what is hardly read is in nobody's way.
#ifndef TARN_CONVERTER_PLACEMENT_H
#define TARN_CONVERTER_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

// In the order of the data space.
enum tarn_placement_rank {
    TARN_PLACEMENT_LIBRARY,    // shared objects
    TARN_PLACEMENT_BYTECODE,   // Python's
    TARN_PLACEMENT_JAVASCRIPT, // and its manifests
    TARN_PLACEMENT_PYTHON,
    TARN_PLACEMENT_OTHER,
    TARN_PLACEMENT_RARE, // what a running program hardly reads
};

struct tarn_placement {
    enum tarn_placement_rank rank;
    // Rare ones stand by the last so many bytes of the name, its extension; 0 for all others.
    uint16_t extension_length;
};

// A pure function of a content's first path (without leading slash, not terminated).
struct tarn_placement tarn_placement_of(const char *path, size_t length);

#endif
