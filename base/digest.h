// SPDX-License-Identifier: Apache-2.0
// SHA-256, the only digest that Tarn trusts, and its written form "sha256:<64 hex>". Over
// libcrypto.
#ifndef TARN_BASE_DIGEST_H
#define TARN_BASE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

enum { TARN_DIGEST_SIZE = 32, TARN_DIGEST_HEX = 64, TARN_DIGEST_TEXT = 7 + 64 + 1 };

struct tarn_digest {
    uint8_t bytes[TARN_DIGEST_SIZE];
};

static inline bool tarn_digest_equal(const struct tarn_digest *a, const struct tarn_digest *b)
{
    return memcmp(a->bytes, b->bytes, TARN_DIGEST_SIZE) == 0;
}

static inline bool tarn_digest_is_zero(const struct tarn_digest *digest)
{
    static const struct tarn_digest zero;
    return tarn_digest_equal(digest, &zero);
}

// Writes "sha256:<hex>" or only the hex, NUL-terminated. Returns text.
char *tarn_digest_format(const struct tarn_digest *digest, char text[TARN_DIGEST_TEXT]);
char *tarn_digest_format_hex(const struct tarn_digest *digest, char text[TARN_DIGEST_HEX + 1]);

// Reads "sha256:<64 lower-case hex>". -ENOTSUP for another algorithm, -EINVAL for anything else.
int tarn_digest_parse(const char *text, struct tarn_digest *digest,
                      struct tarn_err *err) tarn_must_check;

// Reads exactly 64 lower-case hex digits at hex. -EINVAL.
int tarn_digest_parse_hex(const char *hex, struct tarn_digest *digest) tarn_must_check;

// For hash tables. Digests in documents can be made to meet in one place of a table, which would
// cost the square of their number: owner, the address of the table or what holds it, makes the hash
// one that nobody outside can know.
uint64_t tarn_digest_hash(const struct tarn_digest *digest, const void *owner);

// The digest of one buffer.
void tarn_sha256(const void *data, size_t length, struct tarn_digest *digest);

// A running digest. One thread at a time; may be used again after tarn_hasher_finish().
struct tarn_hasher;
struct tarn_hasher *tarn_hasher_new(void); // NULL when out of memory
void tarn_hasher_free(struct tarn_hasher *hasher);
TARN_DEFINE_CLEANUP(struct tarn_hasher, tarn_hasher_free)
void tarn_hasher_update(struct tarn_hasher *hasher, const void *data, size_t length);
void tarn_hasher_finish(struct tarn_hasher *hasher, struct tarn_digest *digest); // and starts anew
void tarn_hasher_reset(struct tarn_hasher *hasher);

#endif
