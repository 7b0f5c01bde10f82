// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_bytes.h"

#include "base/bytes.h"
#include "base/digest.h"

uint64_t tarn_test_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t tarn_test_random_below(uint64_t *state, uint64_t limit)
{
    return (tarn_test_random(state) >> 8) % limit;
}

void tarn_test_sha_stream(uint8_t *bytes, size_t length)
{
    for (uint64_t i = 0; length > 0; i++) {
        uint8_t counter[8];
        struct tarn_digest digest;
        tarn_put_le64(counter, i);
        tarn_sha256(counter, sizeof counter, &digest);
        const size_t n = tarn_min_u64(length, sizeof digest.bytes);
        memcpy(bytes, digest.bytes, n);
        bytes += n;
        length -= n;
    }
}

void tarn_test_noise(uint64_t *state, uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(tarn_test_random(state) >> 56);
}

void tarn_test_text(uint64_t *state, uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        const size_t run = tarn_min_u64(length - i, 8 + tarn_test_random_below(state, 24));
        const size_t reach = i < 60000 ? i : 60000;
        if (reach > 64 && tarn_test_random_below(state, 3) > 0) {
            const size_t back = 32 + tarn_test_random_below(state, reach - 32);
            for (size_t k = 0; k < run; k++)
                bytes[i + k] = bytes[i + k - back];
        } else {
            for (size_t k = 0; k < run; k++)
                bytes[i + k] = (uint8_t)('a' + tarn_test_random_below(state, 26));
        }
        i += run;
    }
}
