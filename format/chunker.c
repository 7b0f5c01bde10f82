// SPDX-License-Identifier: Apache-2.0
// A cut stands where the top bits of the rolling hash are zero, that is where the hash lies below a
// power of two: one comparison a byte. Each byte costs one addition in the chain of dependencies
// (h * 2 + G), so the loops are unrolled only to take the loop's own counting out.
#include "format/chunker.h"

#include "format/limits.h"

// Below these the top 17 (15 + 2) or 13 (15 - 2) bits are zero; 2^15 is TARN_CHUNK_AVG.
#define LIMIT_STRICT (UINT64_C(1) << (64 - 17))
#define LIMIT_LOOSE (UINT64_C(1) << (64 - 13))

_Static_assert(TARN_CHUNK_AVG == 1 << 15 && TARN_CHUNK_NORMALISATION == 2, "the limits above");

#define STEP(k)                                                                                    \
    do {                                                                                           \
        h = (h << 1) + tarn_gear[p[k]];                                                            \
        if (__builtin_expect(h < limit, 0))                                                        \
            return p + (k) + 1;                                                                    \
    } while (0)

// Behind the first byte with which the hash falls below limit; NULL if none does up to end.
static inline const uint8_t *scan(const uint8_t *p, const uint8_t *end, uint64_t limit,
                                  uint64_t *hash)
{
    uint64_t h = *hash;
    for (; end - p >= 8; p += 8) {
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
        STEP(4);
        STEP(5);
        STEP(6);
        STEP(7);
    }
    for (; p < end; p++)
        STEP(0);
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
