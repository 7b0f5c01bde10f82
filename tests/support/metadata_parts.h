// SPDX-License-Identifier: Apache-2.0
// Layer metadata taken apart into its decoded sections and put together again, so that tests and
// fuzzers change records and not compressed bytes.
#ifndef TARN_TESTS_METADATA_PARTS_H
#define TARN_TESTS_METADATA_PARTS_H

#include <stdbool.h>

#include "base/buf.h"

enum { TARN_TEST_PARTS = 12 }; // sections 0x0101 to 0x010c

struct tarn_test_parts {
    struct tarn_buf sections[TARN_TEST_PARTS]; // [type - 0x0101]
};

void tarn_test_parts_release(struct tarn_test_parts *parts);
// All return whether it worked; parts are empty before.
bool tarn_test_parts_split(const uint8_t *container, size_t length, struct tarn_test_parts *parts);
bool tarn_test_parts_join(const struct tarn_test_parts *parts, struct tarn_buf *container);

// Makes the counts in the layer section those of the other sections, whose odd ends are cut off.
void tarn_test_parts_fix_counts(struct tarn_test_parts *parts);

// The flat form for fuzzers: for each section u32 length, bytes. Reading takes what is there.
bool tarn_test_parts_flatten(const struct tarn_test_parts *parts, struct tarn_buf *flat);
bool tarn_test_parts_unflatten(const uint8_t *flat, size_t length, struct tarn_test_parts *parts);

#endif
