// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

// The functions of SHA-256 alone, which cannot fail: through EVP the first digest of a process costs 1 ms,
// for providers and their configuration, and each one 0.3 us more. OpenSSL 3 deprecates them, and keeps them.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <xxhash.h>

struct tarn_hasher {
    SHA256_CTX context;
};

char *tarn_digest_format_hex(const struct tarn_digest *digest, char text[TARN_DIGEST_HEX + 1])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < TARN_DIGEST_SIZE; i++) {
        text[2 * i] = hex[digest->bytes[i] >> 4];
        text[2 * i + 1] = hex[digest->bytes[i] & 15];
    }
    text[TARN_DIGEST_HEX] = '\0';
    return text;
}

char *tarn_digest_format(const struct tarn_digest *digest, char text[TARN_DIGEST_TEXT])
{
    memcpy(text, "sha256:", 7);
    tarn_digest_format_hex(digest, text + 7);
    return text;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int tarn_digest_parse_hex(const char *hex, struct tarn_digest *digest)
{
    for (size_t i = 0; i < TARN_DIGEST_SIZE; i++) {
        const int high = nibble(hex[2 * i]);
        const int low = high < 0 ? -1 : nibble(hex[2 * i + 1]);
        if (low < 0)
            return -EINVAL;
        digest->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int tarn_digest_parse(const char *text, struct tarn_digest *digest, struct tarn_err *err)
{
    if (strncmp(text, "sha256:", 7) != 0) {
        if (strchr(text, ':'))
            return tarn_fail(err, -ENOTSUP, "digest '%.80s': only sha256 is supported", text);
        return tarn_fail(err, -EINVAL, "digest '%.80s': expected sha256:<64 hex digits>", text);
    }
    if (strlen(text) != 7 + TARN_DIGEST_HEX || tarn_digest_parse_hex(text + 7, digest) < 0)
        return tarn_fail(err, -EINVAL, "digest '%.80s': expected sha256:<64 lower-case hex digits>",
                         text);
    return 0;
}

uint64_t tarn_digest_hash(const struct tarn_digest *digest, const void *owner)
{
    return XXH3_64bits_withSeed(digest->bytes, TARN_DIGEST_SIZE, (uintptr_t)owner);
}

void tarn_sha256(const void *data, size_t length, struct tarn_digest *digest)
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, data, length);
    SHA256_Final(digest->bytes, &context);
}

struct tarn_hasher *tarn_hasher_new(void)
{
    struct tarn_hasher *hasher = malloc(sizeof *hasher);
    if (hasher)
        tarn_hasher_reset(hasher);
    return hasher;
}

void tarn_hasher_free(struct tarn_hasher *hasher)
{
    free(hasher);
}

void tarn_hasher_update(struct tarn_hasher *hasher, const void *data, size_t length)
{
    SHA256_Update(&hasher->context, data, length);
}

void tarn_hasher_reset(struct tarn_hasher *hasher)
{
    SHA256_Init(&hasher->context);
}

void tarn_hasher_finish(struct tarn_hasher *hasher, struct tarn_digest *digest)
{
    SHA256_Final(digest->bytes, &hasher->context);
    tarn_hasher_reset(hasher);
}
