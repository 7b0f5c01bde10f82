// SPDX-License-Identifier: Apache-2.0
// Little-endian numbers at any address, and rounding. All on-disk numbers go through here.
#ifndef TARN_BASE_BYTES_H
#define TARN_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t tarn_get_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}

static inline uint32_t tarn_get_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static inline uint64_t tarn_get_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline void tarn_put_le16(void *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}

static inline void tarn_put_le32(void *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}

static inline void tarn_put_le64(void *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}

// Rounds up to a power of two. The caller knows that value + unit does not overflow.
static inline uint64_t tarn_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

// True if [offset, offset + length) lies inside [0, size), without overflow.
static inline bool tarn_range_ok(uint64_t offset, uint64_t length, uint64_t size)
{
    return offset <= size && length <= size - offset;
}

static inline uint64_t tarn_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t tarn_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// True if all bytes are zero; true for length 0.
static inline bool tarn_all_zero(const void *data, size_t length)
{
    const unsigned char *p = data;
    const size_t head = length < 16 ? length : 16;
    for (size_t i = 0; i < head; i++)
        if (p[i])
            return false;
    return length <= 16 || memcmp(p, p + 16, length - 16) == 0;
}

#endif
