// SPDX-License-Identifier: Apache-2.0
// Base64 with padding, as RFC 4648, 4 has it.
#ifndef TARN_BASE_BASE64_H
#define TARN_BASE_BASE64_H

#include "base/buf.h"

// In fresh memory, or NULL.
char *tarn_base64_encode(const void *data, size_t length);

// Appends the bytes that text stands for. -EINVAL: it is no base64. -ENOMEM.
int tarn_base64_decode(const char *text, struct tarn_buf *buf) tarn_must_check;

#endif
