// SPDX-License-Identifier: Apache-2.0
// The layer that carries a bootstrap (section 11): one zstd frame of a ustar archive with the one
// member tarn/bootstrap.
#ifndef TARN_FORMAT_BOOTSTRAP_LAYER_H
#define TARN_FORMAT_BOOTSTRAP_LAYER_H

#include "base/buf.h"
#include "base/digest.h"

enum {
    TARN_BOOTSTRAP_LAYER_LEVEL = 8,    // 0.3 to 0.6 % larger than at 12, in less than half the time
    TARN_BOOTSTRAP_LAYER_HEADER = 512, // bytes of the archive before the bootstrap
    // Archives up to the first, and up to so many times the layer's bytes more: beyond that it is a
    // bomb. Real ones have up to 20 times (100,000 empty files with numbers for names: 17).
    TARN_BOOTSTRAP_LAYER_PLAIN = 128 << 20,
    TARN_BOOTSTRAP_LAYER_RATIO = 256,
};

// Appends the layer to out; *diff_id gets the digest of the tar. -EFBIG beyond the format's limits
// and where it would be taken for a bomb. -ENOMEM.
int tarn_bootstrap_layer_write(const uint8_t *bootstrap, size_t length, struct tarn_buf *out,
                               struct tarn_digest *diff_id, struct tarn_err *err) tarn_must_check;

// Puts the bootstrap into out, which must be empty, and compares its digest with `want`: -EIO.
// -EUCLEAN for any other form than the one above and beyond TARN_BOOTSTRAP_LIMIT; -ENOMEM.
int tarn_bootstrap_layer_read(const uint8_t *layer, size_t length, const struct tarn_digest *want,
                              struct tarn_buf *out, struct tarn_err *err) tarn_must_check;

// The same into memory of the caller's (a mapped file). First how large the archive is: -EUCLEAN as
// above. Then room for just that; the bootstrap stands TARN_BOOTSTRAP_LAYER_HEADER bytes behind its
// start. After an error the room holds anything. want NULL: its digest is not compared yet.
struct tarn_bootstrap_room {
    uint8_t *tar;
    size_t length;
    size_t size; // set: of the bootstrap
};
int tarn_bootstrap_layer_size(const uint8_t *layer, size_t length, size_t *size,
                              struct tarn_err *err) tarn_must_check;
int tarn_bootstrap_compare(const uint8_t *bootstrap, size_t length, const struct tarn_digest *want,
                           struct tarn_err *err) tarn_must_check; // -EIO
int tarn_bootstrap_layer_unpack(const uint8_t *layer, size_t length, const struct tarn_digest *want,
                                struct tarn_bootstrap_room *room,
                                struct tarn_err *err) tarn_must_check;

#endif
