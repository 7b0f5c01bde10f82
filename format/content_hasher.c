// SPDX-License-Identifier: Apache-2.0
// Two digests may run side by side: of the whole file, as long as no hole was found, and of its
// units, from the first hole or missing range on. Nearly all files have neither and are hashed
// once. Of a unit only zeros that are followed by something else, or that precede it, are ever
// hashed; a unit that is missing as a whole costs nothing.
#include "format/content.h"

#include <assert.h>

#include "base/buf.h"
#include "base/bytes.h"

enum { REREAD_SIZE = 256 << 10 };

struct tarn_content_hasher {
    tarn_content_reread *reread;
    void *context;
    uint8_t *buffer; // REREAD_SIZE; NULL before the first need
    uint64_t size;
    uint64_t unit;
    uint64_t position; // of the next byte

    bool plain; // the digest of the whole file is running
    struct tarn_hasher *plain_hasher;

    bool units;      // the digests of the units are running
    bool zero;       // the current unit is zeros so far; they are not hashed yet
    uint64_t fill;   // bytes of the current unit so far
    uint64_t number; // of the current unit
    struct tarn_hasher *unit_hasher;
    struct tarn_hasher *list_hasher;
    struct tarn_buf extents; // of struct tarn_extent

    // What the running update got: offset, data. Read back from here instead of from the caller.
    const uint8_t *given;
    uint64_t given_offset;
};

struct tarn_content_hasher *tarn_content_hasher_new(tarn_content_reread *reread, void *context)
{
    tarn_cleanup(tarn_content_hasher_free_p) struct tarn_content_hasher *hasher =
        calloc(1, sizeof *hasher);
    if (!hasher)
        return NULL;
    hasher->reread = reread;
    hasher->context = context;
    hasher->plain_hasher = tarn_hasher_new();
    hasher->unit_hasher = tarn_hasher_new();
    hasher->list_hasher = tarn_hasher_new();
    if (!hasher->plain_hasher || !hasher->unit_hasher || !hasher->list_hasher)
        return NULL;
    tarn_content_hasher_start(hasher, 0);
    return tarn_steal(hasher);
}

void tarn_content_hasher_free(struct tarn_content_hasher *hasher)
{
    if (!hasher)
        return;
    tarn_buf_release(&hasher->extents);
    tarn_hasher_free(hasher->list_hasher);
    tarn_hasher_free(hasher->unit_hasher);
    tarn_hasher_free(hasher->plain_hasher);
    free(hasher->buffer);
    free(hasher);
}

static void start_unit(struct tarn_content_hasher *hasher, uint64_t number)
{
    hasher->number = number;
    hasher->fill = 0;
    hasher->zero = true;
}

void tarn_content_hasher_start(struct tarn_content_hasher *hasher, uint64_t size)
{
    assert(size <= TARN_FILE_LIMIT);
    hasher->size = size;
    hasher->unit = tarn_content_unit(size);
    hasher->position = 0;
    hasher->plain = true;
    hasher->units = false;
    hasher->extents.length = 0;
    tarn_hasher_reset(hasher->plain_hasher);
    tarn_hasher_reset(hasher->unit_hasher);
    tarn_hasher_reset(hasher->list_hasher);
    start_unit(hasher, 0);
}

static uint64_t unit_length(const struct tarn_content_hasher *hasher)
{
    return tarn_min_u64(hasher->unit, hasher->size - hasher->number * hasher->unit);
}

static void hash_zeros(struct tarn_hasher *hasher, uint64_t length)
{
    static const uint8_t zeros[16 << 10];
    while (length > 0) {
        const size_t step = (size_t)tarn_min_u64(length, sizeof zeros);
        tarn_hasher_update(hasher, zeros, step);
        length -= step;
    }
}

static int add_extent(struct tarn_content_hasher *hasher)
{
    const size_t size = sizeof(struct tarn_extent);
    struct tarn_extent extent = { (uint32_t)hasher->number, 1 };
    struct tarn_buf *extents = &hasher->extents;
    if (extents->length > 0) {
        struct tarn_extent last;
        memcpy(&last, extents->data + extents->length - size, size);
        if (last.first + last.count == hasher->number) {
            extents->length -= size;
            extent = (struct tarn_extent){ last.first, last.count + 1 };
        }
    }
    return tarn_buf_append(extents, &extent, size);
}

// Notes the current unit, which is no hole, and starts the next one.
static int close_unit(struct tarn_content_hasher *hasher)
{
    if (hasher->units) {
        uint8_t number[8];
        struct tarn_digest digest;
        tarn_put_le64(number, hasher->number);
        tarn_hasher_finish(hasher->unit_hasher, &digest);
        tarn_hasher_update(hasher->list_hasher, number, sizeof number);
        tarn_hasher_update(hasher->list_hasher, digest.bytes, sizeof digest.bytes);
        const int ret = add_extent(hasher);
        if (ret < 0)
            return ret;
    }
    start_unit(hasher, hasher->number + 1);
    return 0;
}

// Bytes (data NULL: zeros) inside the current unit, which may become full but not a hole.
static void fill_unit(struct tarn_content_hasher *hasher, const uint8_t *data, uint64_t length)
{
    const bool zeros = !data || (hasher->zero && tarn_all_zero(data, (size_t)length));
    if (!(hasher->zero && zeros)) {
        if (hasher->units && hasher->zero)
            hash_zeros(hasher->unit_hasher, hasher->fill);
        hasher->zero = false;
        if (hasher->units && data)
            tarn_hasher_update(hasher->unit_hasher, data, (size_t)length);
        else if (hasher->units)
            hash_zeros(hasher->unit_hasher, length);
    }
    hasher->fill += length;
}

// Yields up to REREAD_SIZE bytes at offset, below limit.
static int read_back(struct tarn_content_hasher *hasher, uint64_t offset, uint64_t limit,
                     const uint8_t **data, uint64_t *length)
{
    *length = tarn_min_u64(limit - offset, REREAD_SIZE);
    if (offset >= hasher->given_offset) {
        *data = hasher->given + (offset - hasher->given_offset);
        return 0;
    }
    *length = tarn_min_u64(*length, hasher->given_offset - offset);
    if (!hasher->reread)
        return -EINVAL;
    if (!hasher->buffer)
        hasher->buffer = malloc(REREAD_SIZE);
    if (!hasher->buffer)
        return -ENOMEM;
    *data = hasher->buffer;
    return hasher->reread(hasher->context, offset, hasher->buffer, (size_t)*length);
}

// Starts the digests of the units with the bytes before limit. Nothing was missing there, and no
// unit was a hole.
static int start_units(struct tarn_content_hasher *hasher, uint64_t limit)
{
    hasher->units = true;
    start_unit(hasher, 0);
    for (uint64_t offset = 0; offset < limit;) {
        const uint8_t *data = NULL;
        uint64_t length = 0;
        int ret = read_back(hasher, offset, limit, &data, &length);
        if (ret < 0)
            return ret;
        length = tarn_min_u64(length, unit_length(hasher) - hasher->fill);
        fill_unit(hasher, data, length);
        offset += length;
        if (hasher->fill == unit_length(hasher)) {
            ret = close_unit(hasher);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}

// The current unit is full.
static int end_unit(struct tarn_content_hasher *hasher)
{
    if (!hasher->zero)
        return close_unit(hasher);
    const uint64_t number = hasher->number;
    if (!hasher->units) {
        const int ret = start_units(hasher, number * hasher->unit);
        if (ret < 0)
            return ret;
    }
    hasher->plain = false;
    start_unit(hasher, number + 1);
    return 0;
}

static int add_to_units(struct tarn_content_hasher *hasher, const uint8_t *data, size_t length)
{
    while (length > 0) {
        const size_t step = (size_t)tarn_min_u64(length, unit_length(hasher) - hasher->fill);
        fill_unit(hasher, data, step);
        data += step;
        length -= step;
        if (hasher->fill == unit_length(hasher)) {
            const int ret = end_unit(hasher);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}

// Units that are missing as a whole from the current one on, before position end: their number.
static uint64_t missing_units(const struct tarn_content_hasher *hasher, uint64_t end)
{
    if (hasher->fill > 0)
        return 0;
    const uint64_t last = end == hasher->size ? end + hasher->unit - 1 : end;
    return last / hasher->unit - hasher->number;
}

// The bytes from position to end never came.
static int add_missing(struct tarn_content_hasher *hasher, uint64_t end)
{
    if (!hasher->units) {
        const int ret = start_units(hasher, hasher->position);
        if (ret < 0)
            return ret;
    }
    uint64_t at = hasher->position;
    while (at < end) {
        const uint64_t whole = missing_units(hasher, end);
        if (whole > 0) {
            hasher->plain = false;
            start_unit(hasher, hasher->number + whole);
            at = tarn_min_u64(hasher->number * hasher->unit, hasher->size);
            continue;
        }
        const uint64_t step = tarn_min_u64(end - at, unit_length(hasher) - hasher->fill);
        fill_unit(hasher, NULL, step);
        at += step;
        if (hasher->fill == unit_length(hasher)) {
            const int ret = end_unit(hasher);
            if (ret < 0)
                return ret;
        }
    }
    if (hasher->plain)
        hash_zeros(hasher->plain_hasher, end - hasher->position);
    hasher->position = end;
    return 0;
}

int tarn_content_hasher_update(struct tarn_content_hasher *hasher, uint64_t offset,
                               const void *data, size_t length)
{
    if (offset < hasher->position || !tarn_range_ok(offset, length, hasher->size))
        return -EINVAL;
    hasher->given = data;
    hasher->given_offset = offset;
    int ret = 0;
    if (offset > hasher->position)
        ret = add_missing(hasher, offset);
    if (ret < 0)
        return ret;
    ret = add_to_units(hasher, data, length);
    if (ret < 0)
        return ret;
    if (hasher->plain)
        tarn_hasher_update(hasher->plain_hasher, data, length);
    hasher->position += length;
    return 0;
}

int tarn_content_hasher_finish(struct tarn_content_hasher *hasher, struct tarn_content *content)
{
    hasher->given_offset = hasher->size;
    if (hasher->position < hasher->size) {
        const int ret = add_missing(hasher, hasher->size);
        if (ret < 0)
            return ret;
    }
    *content = (struct tarn_content){ .size = hasher->size, .holder = TARN_NONE };
    if (hasher->plain) {
        content->kind = TARN_CONTENT_PLAIN;
        tarn_hasher_finish(hasher->plain_hasher, &content->digest);
        return 0;
    }
    content->kind = TARN_CONTENT_UNITS;
    tarn_hasher_finish(hasher->list_hasher, &content->digest);
    content->extent_count = (uint32_t)(hasher->extents.length / sizeof(struct tarn_extent));
    content->extents = content->extent_count > 0 ? (const void *)hasher->extents.data : NULL;
    return 0;
}
