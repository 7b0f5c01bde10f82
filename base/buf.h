// SPDX-License-Identifier: Apache-2.0
// A growable byte buffer. A zeroed struct is an empty buffer; tarn_buf_release() empties it again.
#ifndef TARN_BASE_BUF_H
#define TARN_BASE_BUF_H

#include <stdint.h>

#include "base/cleanup.h"

struct tarn_buf {
    uint8_t *data; // owned; NULL while capacity is 0
    size_t length;
    size_t capacity;
};

void tarn_buf_release(struct tarn_buf *buf);
#define tarn_autobuf tarn_cleanup(tarn_buf_release)

// All of these return 0, or -ENOMEM with the buffer unchanged.
int tarn_buf_reserve(struct tarn_buf *buf, size_t extra) tarn_must_check; // room behind length
int tarn_buf_append(struct tarn_buf *buf, const void *data, size_t length) tarn_must_check;
int tarn_buf_append_zeros(struct tarn_buf *buf, size_t length) tarn_must_check;
int tarn_buf_append_le32(struct tarn_buf *buf, uint32_t value) tarn_must_check;
int tarn_buf_append_le64(struct tarn_buf *buf, uint64_t value) tarn_must_check;
int tarn_buf_printf(struct tarn_buf *buf, const char *format, ...)
    tarn_printf(2, 3) tarn_must_check;

#endif
