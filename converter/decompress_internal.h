// SPDX-License-Identifier: Apache-2.0
// What the decoders behind decompress.h share: the output buffer, and one interface for both.
#ifndef TARN_CONVERTER_DECOMPRESS_INTERNAL_H
#define TARN_CONVERTER_DECOMPRESS_INTERNAL_H

#include <stdbool.h>

#include "converter/decompress.h"

enum { TARN_PIECE_SIZE = 256 << 10 };

// Collects plain bytes into pieces of TARN_PIECE_SIZE.
struct tarn_piece {
    tarn_decompress_out *out;
    void *context;
    uint8_t *data; // TARN_PIECE_SIZE bytes
    size_t length;
};

// Hands out what there is, if anything.
int tarn_piece_flush(struct tarn_piece *piece) tarn_must_check;

struct tarn_gunzip;
struct tarn_gunzip *tarn_gunzip_new(struct tarn_piece *piece); // piece is borrowed
void tarn_gunzip_free(struct tarn_gunzip *gunzip);
int tarn_gunzip_push(struct tarn_gunzip *gunzip, const uint8_t *bytes, size_t length,
                     struct tarn_err *err) tarn_must_check;
int tarn_gunzip_finish(const struct tarn_gunzip *gunzip, struct tarn_err *err) tarn_must_check;

struct tarn_unzstd;
struct tarn_unzstd *tarn_unzstd_new(struct tarn_piece *piece); // piece is borrowed
void tarn_unzstd_free(struct tarn_unzstd *unzstd);
int tarn_unzstd_push(struct tarn_unzstd *unzstd, const uint8_t *bytes, size_t length,
                     struct tarn_err *err) tarn_must_check;
int tarn_unzstd_finish(const struct tarn_unzstd *unzstd, struct tarn_err *err) tarn_must_check;

// Whether four bytes begin a zstd frame, skippable ones included.
bool tarn_unzstd_is_frame(const uint8_t magic[4]);

#endif
