// SPDX-License-Identifier: Apache-2.0
// The numbers of tar headers and extended headers. 128 bits hold every value that a field can, so
// that a number out of range can be named.
#ifndef TARN_CONVERTER_TAR_NUMBER_H
#define TARN_CONVERTER_TAR_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef __int128 tarn_tar_int;

struct tarn_tar_time {
    int64_t seconds; // rounded down
    uint32_t ns;     // 0 to 999,999,999
};

// A header field of up to 12 bytes: octal between blanks (spaces and NULs; all blank is 0), or base
// 256 with the highest bit set, in two's complement. -EUCLEAN naming what.
int tarn_tar_field(const char *what, const uint8_t *field, size_t length, tarn_tar_int *value,
                   struct tarn_err *err) tarn_must_check;

// Decimal digits, '-' in front allowed; at most 36 characters. -EUCLEAN naming what.
int tarn_tar_decimal(const char *what, const void *text, size_t length, tarn_tar_int *value,
                     struct tarn_err *err) tarn_must_check;

// Seconds with an optional fraction of any length ("-1.5"), rounded down to the nanosecond: -1.5 is
// -2 s + 500,000,000 ns. -EUCLEAN naming what.
int tarn_tar_time(const char *what, const void *text, size_t length, struct tarn_tar_time *time,
                  struct tarn_err *err) tarn_must_check;

// 0 to max: -EINVAL "<what> of <value> is out of range".
int tarn_tar_bound(const char *what, tarn_tar_int value, uint64_t max, uint64_t *result,
                   struct tarn_err *err) tarn_must_check;

// A size: 0 to TARN_TAR_SIZE_MAX. -EINVAL for what is none, -ENOTSUP for a file above that.
int tarn_tar_size(tarn_tar_int value, uint64_t *size, struct tarn_err *err) tarn_must_check;

#endif
