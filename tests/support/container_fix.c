// SPDX-License-Identifier: Apache-2.0
#include "tests/support/container_fix.h"

#include <xxhash.h>

#include "base/bytes.h"
#include "format/section.h"

enum { COUNT = 12, XXH3 = 56, ENTRY_OFFSET = 8, ENTRY_LENGTH = 16, ENTRY_XXH3 = 24 };

// The entries; NULL if they are not all there.
static uint8_t *find_entries(uint8_t *bytes, size_t length, uint32_t *count)
{
    if (length < TARN_SECTION_TRAILER_SIZE)
        return NULL;
    uint8_t *trailer = bytes + length - TARN_SECTION_TRAILER_SIZE;
    *count = tarn_get_le32(trailer + COUNT);
    const size_t room = length - TARN_SECTION_TRAILER_SIZE;
    if (*count > TARN_SECTIONS_MAX || (size_t)*count * TARN_SECTION_ENTRY_SIZE > room)
        return NULL;
    return trailer - (size_t)*count * TARN_SECTION_ENTRY_SIZE;
}

bool tarn_test_fix_directory(uint8_t *bytes, size_t length)
{
    uint32_t count;
    const uint8_t *entries = find_entries(bytes, length, &count);
    if (!entries)
        return false;
    uint8_t *trailer = bytes + length - TARN_SECTION_TRAILER_SIZE;
    tarn_put_le64(trailer + XXH3, XXH3_64bits(entries, (size_t)(trailer - entries) + XXH3));
    return true;
}

bool tarn_test_fix_container(uint8_t *bytes, size_t length)
{
    uint32_t count;
    uint8_t *entry = find_entries(bytes, length, &count);
    if (!entry)
        return false;
    for (uint32_t i = 0; i < count; i++, entry += TARN_SECTION_ENTRY_SIZE) {
        const uint64_t offset = tarn_get_le64(entry + ENTRY_OFFSET);
        const uint64_t stored = tarn_get_le64(entry + ENTRY_LENGTH);
        if (tarn_range_ok(offset, stored, length))
            tarn_put_le64(entry + ENTRY_XXH3, XXH3_64bits(bytes + offset, stored));
    }
    return tarn_test_fix_directory(bytes, length);
}

uint8_t *tarn_test_find_entry(uint8_t *bytes, size_t length, uint32_t type)
{
    uint32_t count;
    uint8_t *entry = find_entries(bytes, length, &count);
    for (uint32_t i = 0; entry && i < count; i++, entry += TARN_SECTION_ENTRY_SIZE)
        if (tarn_get_le32(entry) == type)
            return entry;
    return NULL;
}
