// SPDX-License-Identifier: Apache-2.0
// FIPS 180-4, with a word of each of sixteen messages in a vector. A lane that is done with its message
// takes the next one; the longest come first, so that the lanes end together.
#include "base/digest_many.h"

#include <stdlib.h>

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw")))

enum { LANES = 16, BLOCK = 64, WORDS = 8, ROUNDS = 64 };

struct lane {
    const struct tarn_message *message; // NULL: none is left
    const uint8_t *next; // of the part in hand: the message's whole blocks, or padded
    size_t blocks;
    bool last; // part
    uint8_t padded[2 * BLOCK];
};

struct lanes {
    _Alignas(64) uint32_t state[WORDS][LANES];
    struct lane all[LANES];
    const struct tarn_message *messages; // not begun yet
    size_t count;
    unsigned busy; // lanes
};

static const uint32_t initial[WORDS] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

// --- the blocks --------------------------------------------------------------------------------------
AVX512 static inline __m512i sum(__m512i a, __m512i b)
{
    return _mm512_add_epi32(a, b);
}

AVX512 static inline __m512i exclusive(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

#define ROTATED(x, i, j, k)                                                                        \
    exclusive(_mm512_ror_epi32(x, i), _mm512_ror_epi32(x, j), _mm512_ror_epi32(x, k))
#define SHIFTED(x, i, j, k)                                                                        \
    exclusive(_mm512_ror_epi32(x, i), _mm512_ror_epi32(x, j), _mm512_srli_epi32(x, k))

// The 16 words of a block of each lane: w[k] has word k of all. A transposition of 4 x 4 words in each
// quarter of the vectors, then of the quarters.
AVX512 static inline void load(const uint8_t *const blocks[LANES], size_t offset, __m512i w[16])
{
    const __m512i swapped = _mm512_broadcast_i32x4(
        _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL)); // to big-endian words
    __m512i t[16];
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        const __m512i r0 = _mm512_loadu_si512(blocks[i] + offset);
        const __m512i r1 = _mm512_loadu_si512(blocks[i + 1] + offset);
        const __m512i r2 = _mm512_loadu_si512(blocks[i + 2] + offset);
        const __m512i r3 = _mm512_loadu_si512(blocks[i + 3] + offset);
        const __m512i low01 = _mm512_unpacklo_epi32(r0, r1);
        const __m512i high01 = _mm512_unpackhi_epi32(r0, r1);
        const __m512i low23 = _mm512_unpacklo_epi32(r2, r3);
        const __m512i high23 = _mm512_unpackhi_epi32(r2, r3);
        t[i] = _mm512_unpacklo_epi64(low01, low23);
        t[i + 1] = _mm512_unpackhi_epi64(low01, low23);
        t[i + 2] = _mm512_unpacklo_epi64(high01, high23);
        t[i + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const __m512i even01 = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);
        const __m512i odd01 = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);
        const __m512i even23 = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x88);
        const __m512i odd23 = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xdd);
        w[j] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(even01, even23, 0x88), swapped);
        w[4 + j] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(odd01, odd23, 0x88), swapped);
        w[8 + j] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(even01, even23, 0xdd), swapped);
        w[12 + j] = _mm512_shuffle_epi8(_mm512_shuffle_i32x4(odd01, odd23, 0xdd), swapped);
    }
}

// One block of each lane. w is used up.
AVX512 static inline void compress_block(__m512i s[WORDS], __m512i w[16])
{
    __m512i a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
#pragma GCC unroll 64
    for (int i = 0; i < ROUNDS; i++) {
        const __m512i x = w[i & 15];
        const __m512i choice = _mm512_ternarylogic_epi32(e, f, g, 0xca);
        const __m512i majority = _mm512_ternarylogic_epi32(a, b, c, 0xe8);
        const __m512i key = _mm512_set1_epi32((int)constants[i]);
        const __m512i one = sum(sum(sum(h, key), x), sum(ROTATED(e, 6, 11, 25), choice));
        h = g;
        g = f;
        f = e;
        e = sum(d, one);
        d = c;
        c = b;
        b = a;
        a = sum(one, sum(ROTATED(b, 2, 13, 22), majority));
        const __m512i early = w[(i + 1) & 15], late = w[(i + 14) & 15];
        w[i & 15] =
            sum(sum(x, w[(i + 9) & 15]), sum(SHIFTED(early, 7, 18, 3), SHIFTED(late, 17, 19, 10)));
    }
    s[0] = sum(s[0], a);
    s[1] = sum(s[1], b);
    s[2] = sum(s[2], c);
    s[3] = sum(s[3], d);
    s[4] = sum(s[4], e);
    s[5] = sum(s[5], f);
    s[6] = sum(s[6], g);
    s[7] = sum(s[7], h);
}

AVX512 static void compress(uint32_t state[WORDS][LANES], const uint8_t *const blocks[LANES],
                            size_t count)
{
    __m512i s[WORDS];
    for (int k = 0; k < WORDS; k++)
        s[k] = _mm512_load_si512(state[k]);
    for (size_t i = 0; i < count; i++) {
        __m512i w[16];
        load(blocks, i * BLOCK, w);
        compress_block(s, w);
    }
    for (int k = 0; k < WORDS; k++)
        _mm512_store_si512(state[k], s[k]);
}

// --- the lanes ---------------------------------------------------------------------------------------
static void put_big_endian(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

// The message's end with its padding.
static void begin_last(struct lane *lane)
{
    const size_t length = lane->message->length;
    const size_t rest = length % BLOCK;
    lane->last = true;
    lane->next = lane->padded;
    lane->blocks = rest < BLOCK - 8 ? 1 : 2;
    memset(lane->padded, 0, sizeof lane->padded);
    if (rest > 0)
        memcpy(lane->padded, (const uint8_t *)lane->message->data + length - rest, rest);
    lane->padded[rest] = 0x80;
    put_big_endian(lane->padded + lane->blocks * BLOCK - 8, (uint64_t)length * 8, 8);
}

static void begin(struct lanes *lanes, unsigned i)
{
    struct lane *lane = &lanes->all[i];
    lane->message = NULL;
    if (lanes->count == 0)
        return;
    lanes->count--;
    lanes->busy++;
    lane->message = lanes->messages++;
    lane->last = false;
    lane->next = lane->message->data;
    lane->blocks = lane->message->length / BLOCK;
    for (int k = 0; k < WORDS; k++)
        lanes->state[k][i] = initial[k];
    if (lane->blocks == 0)
        begin_last(lane);
}

static void end(struct lanes *lanes, unsigned i)
{
    for (size_t k = 0; k < WORDS; k++)
        put_big_endian(lanes->all[i].message->digest->bytes + 4 * k, lanes->state[k][i], 4);
    lanes->busy--;
    begin(lanes, i);
}

// As many blocks as all lanes that are busy have; the others repeat what one of these does.
static void advance(struct lanes *lanes)
{
    const uint8_t *blocks[LANES];
    const uint8_t *any = NULL;
    size_t count = SIZE_MAX;
    for (unsigned i = 0; i < LANES; i++) {
        const struct lane *lane = &lanes->all[i];
        if (lane->message && lane->blocks < count) {
            count = lane->blocks;
            any = lane->next;
        }
    }
    for (unsigned i = 0; i < LANES; i++)
        blocks[i] = lanes->all[i].message ? lanes->all[i].next : any;
    compress(lanes->state, blocks, count);
    for (unsigned i = 0; i < LANES; i++) {
        struct lane *lane = &lanes->all[i];
        if (!lane->message)
            continue;
        lane->next += count * BLOCK;
        lane->blocks -= count;
        if (lane->blocks == 0 && lane->last)
            end(lanes, i);
        else if (lane->blocks == 0)
            begin_last(lane);
    }
}

static int longest_first(const void *a, const void *b)
{
    const struct tarn_message *x = a;
    const struct tarn_message *y = b;
    return x->length > y->length ? -1 : x->length < y->length;
}

// False: they are too few or too unequal to fill the lanes, or the processor cannot.
static bool side_by_side(struct tarn_message *messages, size_t count)
{
    size_t total = 0;
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        total += messages[i].length;
        longest = messages[i].length > longest ? messages[i].length : longest;
    }
    // A block in each lane takes as long as seven by the instructions for SHA-256.
    if (count < LANES / 2 || longest > total / (LANES / 2) || !__builtin_cpu_supports("avx512f") ||
        !__builtin_cpu_supports("avx512bw"))
        return false;
    qsort(messages, count, sizeof *messages, longest_first);
    struct lanes lanes = { .messages = messages, .count = count };
    for (unsigned i = 0; i < LANES; i++)
        begin(&lanes, i);
    while (lanes.busy > 0)
        advance(&lanes);
    return true;
}
#else
static bool side_by_side(struct tarn_message *messages, size_t count)
{
    (void)messages;
    (void)count;
    return false;
}
#endif

void tarn_sha256_many(struct tarn_message *messages, size_t count)
{
    if (side_by_side(messages, count))
        return;
    for (size_t i = 0; i < count; i++)
        tarn_sha256(messages[i].data, messages[i].length, messages[i].digest);
}
