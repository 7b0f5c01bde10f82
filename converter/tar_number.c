// SPDX-License-Identifier: Apache-2.0
#include "converter/tar_number.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>

#include "converter/tar_entry.h"

enum { FIELD_MAX = 12, DECIMAL_MAX = 36, NUMBER_TEXT = 48, NS_DIGITS = 9, NS_PER_S = 1000000000 };

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\0';
}

static int base256(const uint8_t *field, size_t length, tarn_tar_int *value)
{
    const bool negative = field[0] & 0x40;
    unsigned __int128 sum = negative ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < length; i++) {
        // The marker bit becomes a copy of the sign below it.
        const uint8_t byte = i > 0 ? field[i] : negative ? field[i] | 0x80 : field[i] & 0x7f;
        sum = sum << 8 | byte;
    }
    *value = (tarn_tar_int)sum;
    return 0;
}

int tarn_tar_field(const char *what, const uint8_t *field, size_t length, tarn_tar_int *value,
                   struct tarn_err *err)
{
    assert(length > 0 && length <= FIELD_MAX);
    if (field[0] & 0x80)
        return base256(field, length, value);
    size_t i = 0;
    while (i < length && is_blank(field[i]))
        i++;
    *value = 0;
    for (; i < length && !is_blank(field[i]); i++) {
        if (field[i] < '0' || field[i] > '7')
            return tarn_fail(err, -EUCLEAN, "the header's %s is no octal number", what);
        *value = *value * 8 + (field[i] - '0');
    }
    // Some writers leave old bytes behind the NUL.
    for (; i < length && field[i] != '\0'; i++)
        if (field[i] != ' ')
            return tarn_fail(err, -EUCLEAN, "the header's %s is no octal number", what);
    return 0;
}

// Adds the digits at text to *value. Returns how many there were.
static size_t digits(const char *text, size_t length, tarn_tar_int *value)
{
    size_t i = 0;
    for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
        *value = *value * 10 + (text[i] - '0');
    return i;
}

int tarn_tar_decimal(const char *what, const void *text, size_t length, tarn_tar_int *value,
                     struct tarn_err *err)
{
    const char *p = text;
    const bool negative = length > 0 && p[0] == '-';
    *value = 0;
    if (length > DECIMAL_MAX)
        return tarn_fail(err, -EUCLEAN, "%s is no number of a sane length", what);
    const size_t n = digits(p + negative, length - negative, value);
    if (n == 0 || n != length - negative)
        return tarn_fail(err, -EUCLEAN, "%s is no decimal number", what);
    if (negative)
        *value = -*value;
    return 0;
}

int tarn_tar_time(const char *what, const void *text, size_t length, struct tarn_tar_time *time,
                  struct tarn_err *err)
{
    const char *p = text;
    const char *end = p + length;
    const bool negative = length > 0 && *p == '-';
    p += negative;
    tarn_tar_int whole = 0;
    // 24 digits cannot overflow, and are already far out of range.
    const size_t limit = (size_t)(end - p) < 24 ? (size_t)(end - p) : 24;
    const size_t whole_digits = digits(p, limit, &whole);
    p += whole_digits;
    uint32_t fraction = 0;
    bool rest = false; // something below a nanosecond
    size_t fraction_digits = 0;
    if (p < end && *p == '.') {
        for (p++; p < end && *p >= '0' && *p <= '9'; p++, fraction_digits++)
            if (fraction_digits < NS_DIGITS)
                fraction = fraction * 10 + (uint32_t)(*p - '0');
            else
                rest |= *p != '0';
    }
    if (p != end || whole_digits + fraction_digits == 0)
        return tarn_fail(err, -EUCLEAN, "%s is no decimal number of seconds", what);
    for (size_t i = fraction_digits; i < NS_DIGITS; i++)
        fraction *= 10;

    tarn_tar_int total = whole * NS_PER_S + fraction;
    if (negative)
        total = -total - rest;
    tarn_tar_int floor = total / NS_PER_S;
    if (total % NS_PER_S < 0)
        floor--;
    if (floor < INT64_MIN || floor > INT64_MAX)
        return tarn_fail(err, -EINVAL, "%s is out of range", what);
    time->seconds = (int64_t)floor;
    time->ns = (uint32_t)(total - floor * NS_PER_S);
    return 0;
}

// Decimal text of value. Returns its start inside text.
static const char *format(tarn_tar_int value, char text[NUMBER_TEXT])
{
    char *p = text + NUMBER_TEXT;
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    *--p = '\0';
    do {
        *--p = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--p = '-';
    return p;
}

int tarn_tar_bound(const char *what, tarn_tar_int value, uint64_t max, uint64_t *result,
                   struct tarn_err *err)
{
    char text[NUMBER_TEXT];
    if (value < 0 || value > (tarn_tar_int)max)
        return tarn_fail(err, -EINVAL, "%s of %s is out of range", what, format(value, text));
    *result = (uint64_t)value;
    return 0;
}

int tarn_tar_size(tarn_tar_int value, uint64_t *size, struct tarn_err *err)
{
    char text[NUMBER_TEXT];
    if (value < 0 || value > INT64_MAX)
        return tarn_fail(err, -EINVAL, "size of %s bytes is out of range", format(value, text));
    *size = (uint64_t)value;
    if (*size > TARN_TAR_SIZE_MAX)
        return tarn_fail(err, -ENOTSUP, "size of %" PRIu64 " bytes is over the limit of 8 TiB",
                         *size);
    return 0;
}
