// SPDX-License-Identifier: Apache-2.0
// The chunks of a run to their stored bytes, and one chunk back (section 5). zstd with the bytes before
// the chunk as prefix. A codec is used by one thread at a time; make one for each thread.
#ifndef TARN_FORMAT_CHUNK_CODEC_H
#define TARN_FORMAT_CHUNK_CODEC_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "format/limits.h"

struct tarn_encoder;
// Levels -5 to 19 (0 is zstd's default). NULL when out of memory or for another level.
struct tarn_encoder *tarn_encoder_new(int level);
void tarn_encoder_free(struct tarn_encoder *encoder);
TARN_DEFINE_CLEANUP(struct tarn_encoder, tarn_encoder_free)

// The room that tarn_encoder_encode() needs for any chunk.
size_t tarn_encoder_bound(void);

// Begins a run, whose bytes stay where they are until the next one begins.
void tarn_encoder_start_run(struct tarn_encoder *encoder, const uint8_t *run);

// Encodes the run's next chunk, of 1 to TARN_CHUNK_MAX bytes, to out (tarn_encoder_bound() bytes). Its
// prefix is the run before it, TARN_PREFIX_LENGTH at most. Sets *raw when out holds the chunk itself.
// Returns the stored length, never more than the chunk's, or -ENOMEM or -EIO (libzstd failed); after an
// error the encoder is good for a new run. A run has less than 2^30 bytes.
ssize_t tarn_encoder_encode(struct tarn_encoder *encoder, size_t length, uint8_t *out,
                            bool *raw) tarn_must_check;

struct tarn_decoder;
struct tarn_decoder *tarn_decoder_new(void); // NULL when out of memory
void tarn_decoder_free(struct tarn_decoder *decoder);
TARN_DEFINE_CLEANUP(struct tarn_decoder, tarn_decoder_free)

struct tarn_encoded_chunk {
    const uint8_t *stored;
    size_t stored_length;
    bool raw;
    const uint8_t *prefix; // anywhere; NULL for length 0
    size_t prefix_length;
};
// Decodes exactly length bytes to out, which may be half written after an error; never beyond. -EIO
// if the frame is damaged, has another length or is not the only thing in stored; -ENOMEM. The
// caller checks the digest: only that tells right bytes from wrong ones.
int tarn_decoder_decode(struct tarn_decoder *decoder, const struct tarn_encoded_chunk *chunk,
                        uint8_t *out, size_t length) tarn_must_check;

#endif
