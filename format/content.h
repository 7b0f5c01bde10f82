// SPDX-License-Identifier: Apache-2.0
// What a regular file holds: its identity and its holes (section 3).
#ifndef TARN_FORMAT_CONTENT_H
#define TARN_FORMAT_CONTENT_H

#include <stdbool.h>

#include "base/digest.h"
#include "format/limits.h"

enum tarn_content_kind {
    TARN_CONTENT_PLAIN = 1,
    TARN_CONTENT_UNITS = 2,
};

// Consecutive units that are no holes.
struct tarn_extent {
    uint32_t first;
    uint32_t count;
};

struct tarn_content {
    enum tarn_content_kind kind;
    uint32_t index; // free for whoever walks the tree
    uint64_t size;  // of the file
    struct tarn_digest digest;
    uint32_t extent_count;             // TARN_CONTENT_UNITS; else 0
    const struct tarn_extent *extents; // borrowed from the arena of the tree
    // Where its data lies; both 0 if it has none. holder == TARN_NONE: not given a place yet.
    uint32_t holder;  // chain index
    uint64_t address; // in the holder's data space
};

// The unit of a file of this size: bytes, a power of two.
uint64_t tarn_content_unit(uint64_t size);

// Bytes that the content takes in a data space, without padding.
uint64_t tarn_content_stored(const struct tarn_content *content);

// Whether two contents have one identity; a hash that is equal for these (owner:
// tarn_digest_hash()).
bool tarn_content_same(const struct tarn_content *a, const struct tarn_content *b);
uint64_t tarn_content_hash(const struct tarn_content *content, const void *owner);

// Computes identity and holes from a file's bytes as they come. Ranges that never come are zeros.
// At the first hole or missing range the bytes before it are needed once more, hence the caller's
// read-back. After an error only tarn_content_hasher_start() and _free() are allowed.
struct tarn_content_hasher;

// Reads length bytes at the file offset once more: bytes that an earlier call of
// tarn_content_hasher_update() got. 0 or -errno. reread may be NULL if no hole and no missing range
// can come.
typedef int tarn_content_reread(void *context, uint64_t offset, void *data, size_t length);

struct tarn_content_hasher *tarn_content_hasher_new(tarn_content_reread *reread, void *context);
void tarn_content_hasher_free(struct tarn_content_hasher *hasher);
TARN_DEFINE_CLEANUP(struct tarn_content_hasher, tarn_content_hasher_free)

// Starts a file of this size; at most TARN_FILE_LIMIT.
void tarn_content_hasher_start(struct tarn_content_hasher *hasher, uint64_t size);
// The next bytes, at an ascending offset within the size. 0, -ENOMEM, reread's error, or -EINVAL
// for bytes before the last ones or beyond the size.
int tarn_content_hasher_update(struct tarn_content_hasher *hasher, uint64_t offset,
                               const void *data, size_t length) tarn_must_check;
// Ends the file: content without a place. content->extents points into the hasher, until the next
// start.
int tarn_content_hasher_finish(struct tarn_content_hasher *hasher,
                               struct tarn_content *content) tarn_must_check;

#endif
