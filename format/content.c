// SPDX-License-Identifier: Apache-2.0
#include "format/content.h"

#include <xxhash.h>

#include "base/bytes.h"

uint64_t tarn_content_unit(uint64_t size)
{
    uint64_t unit = TARN_UNIT_MIN;
    while (unit < TARN_FILE_LIMIT && unit * 65536 < size)
        unit *= 2;
    return unit;
}

uint64_t tarn_content_stored(const struct tarn_content *content)
{
    if (content->kind == TARN_CONTENT_PLAIN)
        return content->size;
    const uint64_t unit = tarn_content_unit(content->size);
    uint64_t stored = 0;
    for (uint32_t i = 0; i < content->extent_count; i++) {
        const struct tarn_extent *extent = &content->extents[i];
        const uint64_t start = extent->first * unit;
        const uint64_t end = ((uint64_t)extent->first + extent->count) * unit;
        stored += tarn_min_u64(end, content->size) - tarn_min_u64(start, content->size);
    }
    return stored;
}

bool tarn_content_same(const struct tarn_content *a, const struct tarn_content *b)
{
    return a->kind == b->kind && a->size == b->size && tarn_digest_equal(&a->digest, &b->digest);
}

uint64_t tarn_content_hash(const struct tarn_content *content, const void *owner)
{
    uint8_t key[TARN_DIGEST_SIZE + 16];
    memcpy(key, content->digest.bytes, TARN_DIGEST_SIZE);
    tarn_put_le64(key + TARN_DIGEST_SIZE, content->size);
    tarn_put_le64(key + TARN_DIGEST_SIZE + 8, content->kind);
    return XXH3_64bits_withSeed(key, sizeof key, (uintptr_t)owner);
}
