// SPDX-License-Identifier: Apache-2.0
// A blob's directory (section 10): where its chunks and its layer metadata are.
#ifndef TARN_FORMAT_BLOB_FOOTER_H
#define TARN_FORMAT_BLOB_FOOTER_H

#include "format/section.h"

struct tarn_blob_footer {
    uint64_t chunks_length;
    uint64_t chunks_xxh3;
    uint64_t metadata_offset;
    uint64_t metadata_length;
    uint64_t metadata_xxh3;
};

// Appends directory and trailer to out; the blob so far ends at metadata_offset + metadata_length,
// and what out holds already, if anything, is the end of it. metadata_offset is the next multiple
// of 8 behind the chunks. 0 or -ENOMEM.
int tarn_blob_footer_write(const struct tarn_blob_footer *footer,
                           struct tarn_buf *out) tarn_must_check;
// From the last bytes of a blob of blob_size bytes (TARN_SECTIONS_TAIL or all of them). -EUCLEAN or
// -ENOTSUP. The checksums are the caller's to check, where it has the bytes.
int tarn_blob_footer_read(const uint8_t *tail, size_t length, uint64_t blob_size,
                          struct tarn_blob_footer *footer, struct tarn_err *err) tarn_must_check;

#endif
