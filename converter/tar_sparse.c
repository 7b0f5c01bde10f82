// SPDX-License-Identifier: Apache-2.0
#include "converter/tar_sparse.h"

#include <inttypes.h>
#include <string.h>

enum { OLD_FIELD = 12, OLD_PAIR = 24, LINE_DIGITS = 20 };

void tarn_tar_map_release(struct tarn_tar_map *map)
{
    free(map->extents);
    *map = (struct tarn_tar_map){ 0 };
}

void tarn_tar_map_clear(struct tarn_tar_map *map)
{
    *map = (struct tarn_tar_map){ .extents = map->extents, .capacity = map->capacity };
}

// Data right behind the last extent makes that longer. Not what lies behind an empty entry, which may be far
// behind the last data.
static int append(struct tarn_tar_map *map, uint64_t offset, uint64_t length)
{
    if (map->count > 0) {
        struct tarn_tar_extent *last = &map->extents[map->count - 1];
        if (offset == last->offset + last->length) {
            last->length += length;
            return 0;
        }
    }
    if (map->count == map->capacity) {
        const size_t capacity = map->capacity ? map->capacity * 2 : 16;
        struct tarn_tar_extent *extents = realloc(map->extents, capacity * sizeof *map->extents);
        if (!extents)
            return -ENOMEM;
        map->extents = extents;
        map->capacity = capacity;
    }
    map->extents[map->count++] = (struct tarn_tar_extent){ offset, length };
    return 0;
}

int tarn_tar_map_add(struct tarn_tar_map *map, tarn_tar_int offset, tarn_tar_int length,
                     struct tarn_err *err)
{
    if (map->entries == TARN_TAR_EXTENTS_MAX)
        return tarn_fail(err, -ENOTSUP, "the sparse map has more than %d entries",
                         TARN_TAR_EXTENTS_MAX);
    if (offset < 0 || length < 0 || offset > (tarn_tar_int)TARN_TAR_SIZE_MAX ||
        length > (tarn_tar_int)TARN_TAR_SIZE_MAX)
        return tarn_fail(err, -EINVAL, "sparse map: entry %zu is out of range", map->entries);
    const uint64_t start = (uint64_t)offset;
    const uint64_t bytes = (uint64_t)length;
    if (start < map->end)
        return tarn_fail(err, -EINVAL,
                         "sparse map: entry %zu at %" PRIu64
                         " begins before the end of the last at %" PRIu64,
                         map->entries, start, map->end);
    if (bytes > 0 && append(map, start, bytes) < 0)
        return tarn_fail_errno(err, -ENOMEM, "keeping a sparse map");
    map->entries++;
    map->data += bytes; // both are at most 2^20 times 2^43
    map->end = start + bytes;
    return 0;
}

int tarn_tar_map_check(const struct tarn_tar_map *map, uint64_t size, uint64_t stored,
                       struct tarn_err *err)
{
    if (map->end > size)
        return tarn_fail(err, -EINVAL,
                         "sparse map: it ends at %" PRIu64 ", behind the file's size of %" PRIu64,
                         map->end, size);
    if (map->data != stored)
        return tarn_fail(err, -EINVAL,
                         "sparse map: it names %" PRIu64 " bytes of data, the tar holds %" PRIu64,
                         map->data, stored);
    return 0;
}

int tarn_tar_map_add_old(struct tarn_tar_map *map, const uint8_t *pairs, size_t count,
                         struct tarn_err *err)
{
    for (size_t i = 0; i < count; i++, pairs += OLD_PAIR) {
        if (pairs[0] == '\0') // the mark of an unused entry, as in GNU tar
            return 0;
        tarn_tar_int offset;
        tarn_tar_int length;
        int ret = tarn_tar_field("sparse offset", pairs, OLD_FIELD, &offset, err);
        if (ret == 0)
            ret = tarn_tar_field("sparse length", pairs + OLD_FIELD, OLD_FIELD, &length, err);
        if (ret == 0)
            ret = tarn_tar_map_add(map, offset, length, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int tarn_tar_map_add_text(struct tarn_tar_map *map, const char *text, size_t length,
                          struct tarn_err *err)
{
    const char *end = text + length;
    tarn_tar_int offset = 0;
    for (unsigned i = 0; length > 0; i++) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *stop = comma ? comma : end;
        tarn_tar_int value;
        int ret = tarn_tar_decimal("a number of the sparse map", text, (size_t)(stop - text),
                                   &value, err);
        if (ret == 0 && i % 2 == 1)
            ret = tarn_tar_map_add(map, offset, value, err);
        if (ret < 0)
            return ret;
        offset = value;
        if (!comma && i % 2 == 0)
            return tarn_fail(err, -EUCLEAN, "sparse map: an offset has no length");
        if (!comma)
            break;
        text = comma + 1;
    }
    return 0;
}

// One line is complete.
static int end_line(struct tarn_tar_map *map, struct tarn_tar_map_lines *lines,
                    struct tarn_err *err)
{
    const tarn_tar_int value = lines->value;
    lines->value = 0;
    lines->digits = 0;
    if (!lines->counted) {
        if (value > TARN_TAR_EXTENTS_MAX)
            return tarn_fail(err, -ENOTSUP, "the sparse map has more than %d entries",
                             TARN_TAR_EXTENTS_MAX);
        lines->counted = true;
        lines->left = (uint64_t)value;
        return 0;
    }
    if (!lines->have_offset) {
        lines->have_offset = true;
        return tarn_tar_bound("a sparse map's offset", value, TARN_TAR_SIZE_MAX, &lines->offset,
                              err);
    }
    lines->have_offset = false;
    lines->left--;
    return tarn_tar_map_add(map, lines->offset, value, err);
}

int tarn_tar_map_add_lines(struct tarn_tar_map *map, struct tarn_tar_map_lines *lines,
                           const uint8_t block[TARN_TAR_BLOCK], bool *done, struct tarn_err *err)
{
    *done = false;
    for (size_t i = 0; i < TARN_TAR_BLOCK; i++) {
        const uint8_t c = block[i];
        if (c >= '0' && c <= '9' && lines->digits < LINE_DIGITS) {
            lines->value = lines->value * 10 + (c - '0');
            lines->digits++;
            continue;
        }
        if (c != '\n' || lines->digits == 0)
            return tarn_fail(err, -EUCLEAN, "sparse map: a line is no decimal number");
        const int ret = end_line(map, lines, err);
        if (ret < 0)
            return ret;
        if (lines->left == 0) {
            *done = true;
            return 0;
        }
    }
    return 0;
}
