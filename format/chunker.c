// SPDX-License-Identifier: Apache-2.0
// A cut stands where the top bits of the rolling hash are zero, that is where the hash lies below a
// power of two: one comparison a byte. The hash moves on by four bytes at a time, because each step has to
// wait for the last one: what four bytes add does not depend on it, nor do the hashes in between on each
// other.
#include "format/chunker.h"

#include "format/limits.h"

// Below these the top 17 (15 + 2) or 13 (15 - 2) bits are zero; 2^15 is TARN_CHUNK_AVG.
#define LIMIT_STRICT (UINT64_C(1) << (64 - 17))
#define LIMIT_LOOSE (UINT64_C(1) << (64 - 13))

_Static_assert(TARN_CHUNK_AVG == 1 << 15 && TARN_CHUNK_NORMALISATION == 2, "the limits above");

#define CHECK(hash, k)                                                                             \
    do {                                                                                           \
        if (__builtin_expect((hash) < limit, 0))                                                   \
            return p + (k) + 1;                                                                    \
    } while (0)

// Behind the first byte with which the hash falls below limit; NULL if none does up to end.
static inline const uint8_t *scan(const uint8_t *p, const uint8_t *end, uint64_t limit,
                                  uint64_t *hash)
{
    uint64_t h = *hash;
    for (; end - p >= 4; p += 4) {
        const uint64_t one = tarn_gear[p[0]];
        const uint64_t two = (one << 1) + tarn_gear[p[1]];
        const uint64_t three = (two << 1) + tarn_gear[p[2]];
        const uint64_t four = (three << 1) + tarn_gear[p[3]];
        CHECK((h << 1) + one, 0);
        CHECK((h << 2) + two, 1);
        CHECK((h << 3) + three, 2);
        h = (h << 4) + four;
        CHECK(h, 3);
    }
    for (; p < end; p++) {
        h = (h << 1) + tarn_gear[p[0]];
        CHECK(h, 0);
    }
    *hash = h;
    return NULL;
}

size_t tarn_chunker_next(const uint8_t *data, size_t length)
{
    if (length <= TARN_CHUNK_MIN)
        return length;
    const size_t normal = length < TARN_CHUNK_AVG ? length : TARN_CHUNK_AVG;
    const size_t most = length < TARN_CHUNK_MAX ? length : TARN_CHUNK_MAX;
    uint64_t hash = 0;
    const uint8_t *cut = scan(data + TARN_CHUNK_MIN, data + normal, LIMIT_STRICT, &hash);
    if (!cut && normal < most)
        cut = scan(data + normal, data + most, LIMIT_LOOSE, &hash);
    return cut ? (size_t)(cut - data) : most;
}
