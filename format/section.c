// SPDX-License-Identifier: Apache-2.0
#include "format/section.h"

#include <assert.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "format/zstd_frame.h"

enum {
    FLAG_REQUIRED = 1,
    FLAG_ZSTD = 2,
    STRIDE_SHIFT = 8,
    FLAGS_KNOWN = FLAG_REQUIRED | FLAG_ZSTD | 0xff << STRIDE_SHIFT,

    TRAILER_VERSION = 8,
    TRAILER_COUNT = 12,
    TRAILER_COMPAT = 16,
    TRAILER_INCOMPAT = 20,
    TRAILER_LENGTH = 24,
    TRAILER_ZERO = 32,
    TRAILER_XXH3 = 56,

    ENTRY_FLAGS = 4,
    ENTRY_OFFSET = 8,
    ENTRY_LENGTH = 16,
    ENTRY_XXH3 = 24,

    SECTION_ALIGNMENT = 8,
    TRANSPOSE_BLOCK = 128, // records: 64 columns of them stay in the first cache
};

static const char magic[][9] = { "TARNBLOB", "TARNMETA", "TARNBOOT" };
static const char *const names[] = { "blob", "layer metadata", "bootstrap" };

// The table of section 2.
static const struct known {
    enum tarn_container container;
    struct tarn_section_form form;
} known[] = {
    { TARN_CONTAINER_BLOB, { TARN_SECTION_CHUNKS, false, 0 } },
    { TARN_CONTAINER_BLOB, { TARN_SECTION_METADATA, false, 0 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_LAYER, false, 0 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_BLOBS, true, 0 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_INODES, true, 64 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_NAMES, true, 12 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_NAME_BYTES, true, 0 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_TARGETS, true, 0 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_XATTR_SETS, true, 0 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_CONTENTS, true, 64 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_UNITS, true, 8 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_CHUNK_ADDRESSES, true, 8 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_CHUNK_LOCATIONS, true, 8 } },
    { TARN_CONTAINER_METADATA, { TARN_SECTION_CHUNK_DIGESTS, false, 0 } },
    { TARN_CONTAINER_BOOTSTRAP, { TARN_SECTION_EROFS, false, 0 } },
    { TARN_CONTAINER_BOOTSTRAP, { TARN_SECTION_IMAGE, false, 0 } },
    { TARN_CONTAINER_BOOTSTRAP, { TARN_SECTION_BLOBS, false, 0 } },
    { TARN_CONTAINER_BOOTSTRAP, { TARN_SECTION_CHUNK_ADDRESSES, false, 0 } },
    { TARN_CONTAINER_BOOTSTRAP, { TARN_SECTION_CHUNK_LOCATIONS, false, 0 } },
    { TARN_CONTAINER_BOOTSTRAP, { TARN_SECTION_CHUNK_DIGESTS, false, 0 } },
};

// The place in the order that this table gives; -1 for a type that the container does not know.
static int known_index(enum tarn_container container, uint32_t type)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].container == container && known[i].form.type == type)
            return (int)i;
    return -1;
}

const struct tarn_section *tarn_sections_find(const struct tarn_sections *sections, uint32_t type)
{
    for (uint32_t i = 0; i < sections->count; i++)
        if (sections->items[i].type == type)
            return &sections->items[i];
    return NULL;
}

// count records of stride bytes to stride columns of count bytes.
static void to_columns(const uint8_t *records, size_t count, size_t stride, uint8_t *columns)
{
    for (size_t start = 0; start < count; start += TRANSPOSE_BLOCK) {
        const size_t end = tarn_min_u64(count, start + TRANSPOSE_BLOCK);
        for (size_t column = 0; column < stride; column++)
            for (size_t i = start; i < end; i++)
                columns[column * count + i] = records[i * stride + column];
    }
}

static void to_records(const uint8_t *columns, size_t count, size_t stride, uint8_t *records)
{
    for (size_t start = 0; start < count; start += TRANSPOSE_BLOCK) {
        const size_t end = tarn_min_u64(count, start + TRANSPOSE_BLOCK);
        for (size_t column = 0; column < stride; column++)
            for (size_t i = start; i < end; i++)
                records[i * stride + column] = columns[column * count + i];
    }
}

// --- writing -------------------------------------------------------------------------------

// A fresh context, so that the bytes depend on nothing but the data and the level.
static int append_compressed(struct tarn_buf *out, const void *data, size_t length)
{
    const size_t bound = ZSTD_compressBound(length);
    if (ZSTD_isError(bound) || tarn_buf_reserve(out, bound) < 0)
        return -ENOMEM;
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context)
        return -ENOMEM;
    size_t ret = ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, TARN_METADATA_LEVEL);
    if (!ZSTD_isError(ret))
        ret = ZSTD_compress2(context, out->data + out->length, bound, data, length);
    ZSTD_freeCCtx(context);
    if (ZSTD_isError(ret))
        return -ENOMEM; // nothing else can go wrong with valid parameters and room for all
    out->length += ret;
    return 0;
}

static int append_stored(struct tarn_buf *out, const struct tarn_section_form *form,
                         const void *data, size_t length, bool in_columns)
{
    tarn_autofree uint8_t *columns = NULL;
    if (form->stride && !in_columns) {
        assert(length % form->stride == 0);
        columns = malloc(length);
        if (!columns)
            return -ENOMEM;
        to_columns(data, length / form->stride, form->stride, columns);
        data = columns;
    }
    return form->zstd ? append_compressed(out, data, length) : tarn_buf_append(out, data, length);
}

static int append_padding(struct tarn_buf *out, uint64_t position)
{
    return tarn_buf_append_zeros(out, tarn_round_up(position, SECTION_ALIGNMENT) - position);
}

static int append_section(struct tarn_sections *sections, struct tarn_buf *out,
                          const struct tarn_section_form *form, const struct tarn_bytes *data,
                          bool in_columns)
{
    const size_t length = data->length;
    if (sections->count == TARN_SECTIONS_MAX)
        return -E2BIG;
    int ret = append_padding(out, out->length);
    if (ret < 0)
        return ret;
    struct tarn_section *section = &sections->items[sections->count];
    *section = (struct tarn_section){ .type = form->type, .offset = out->length };
    if (length > 0) {
        section->zstd = form->zstd;
        section->stride = form->stride;
        ret = append_stored(out, form, data->data, length, in_columns);
        if (ret < 0)
            return ret;
    }
    section->length = out->length - section->offset;
    section->xxh3 = XXH3_64bits(length ? out->data + section->offset : NULL, section->length);
    sections->count++;
    return 0;
}

int tarn_section_append(struct tarn_sections *sections, struct tarn_buf *out,
                        const struct tarn_section_form *form, const void *data, size_t length)
{
    const struct tarn_bytes bytes = { data, length };
    return append_section(sections, out, form, &bytes, false);
}

int tarn_section_append_columns(struct tarn_sections *sections, struct tarn_buf *out,
                                const struct tarn_section_form *form, const void *columns,
                                size_t length)
{
    const struct tarn_bytes bytes = { columns, length };
    return append_section(sections, out, form, &bytes, true);
}

int tarn_sections_finish(const struct tarn_sections *sections, enum tarn_container container,
                         uint64_t offset_base, struct tarn_buf *out)
{
    const size_t length =
        (size_t)sections->count * TARN_SECTION_ENTRY_SIZE + TARN_SECTION_TRAILER_SIZE;
    int ret = append_padding(out, offset_base + out->length);
    if (ret < 0)
        return ret;
    const size_t start = out->length;
    ret = tarn_buf_append_zeros(out, length);
    if (ret < 0)
        return ret;
    uint8_t *entry = out->data + start;
    for (uint32_t i = 0; i < sections->count; i++, entry += TARN_SECTION_ENTRY_SIZE) {
        const struct tarn_section *section = &sections->items[i];
        const uint32_t flags = FLAG_REQUIRED | (section->zstd ? FLAG_ZSTD : 0) |
                               (uint32_t)section->stride << STRIDE_SHIFT;
        tarn_put_le32(entry, section->type);
        tarn_put_le32(entry + ENTRY_FLAGS, flags);
        tarn_put_le64(entry + ENTRY_OFFSET, section->offset);
        tarn_put_le64(entry + ENTRY_LENGTH, section->length);
        tarn_put_le64(entry + ENTRY_XXH3, section->xxh3);
    }
    uint8_t *trailer = entry;
    memcpy(trailer, magic[container], 8);
    tarn_put_le32(trailer + TRAILER_VERSION, TARN_FORMAT_VERSION);
    tarn_put_le32(trailer + TRAILER_COUNT, sections->count);
    tarn_put_le64(trailer + TRAILER_LENGTH, offset_base + out->length);
    tarn_put_le64(
        trailer + TRAILER_XXH3,
        XXH3_64bits(out->data + start, length - TARN_SECTION_TRAILER_SIZE + TRAILER_XXH3));
    return 0;
}

// --- reading -------------------------------------------------------------------------------

// "layer metadata offset 4711: section 0x0103: RULE".
static int fail_section(const struct tarn_sections *sections, uint64_t offset, uint32_t type,
                        const char *rule, struct tarn_err *err)
{
    return tarn_fail(err, -EUCLEAN, "%s offset %llu: section 0x%04x: %s",
                     names[sections->container], (unsigned long long)offset, type, rule);
}

static int check_trailer(const struct tarn_section_tail *tail, const uint8_t *trailer,
                         struct tarn_sections *sections, struct tarn_err *err)
{
    const char *name = names[tail->container];
    const unsigned long long offset = tail->container_length - TARN_SECTION_TRAILER_SIZE;
    if (memcmp(trailer, magic[tail->container], 8) != 0)
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: magic is not %s", name, offset,
                         magic[tail->container]);
    const uint32_t version = tarn_get_le32(trailer + TRAILER_VERSION);
    if (version != TARN_FORMAT_VERSION)
        return tarn_fail(err, -ENOTSUP, "%s offset %llu: format version %u is not known", name,
                         offset + TRAILER_VERSION, version);
    const uint32_t count = tarn_get_le32(trailer + TRAILER_COUNT);
    const size_t length = (size_t)count * TARN_SECTION_ENTRY_SIZE + TARN_SECTION_TRAILER_SIZE;
    if (count > TARN_SECTIONS_MAX || length > tail->container_length)
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: %u sections are too many", name,
                         offset + TRAILER_COUNT, count);
    if (length > tail->length)
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: directory is cut off", name, offset);
    if (XXH3_64bits(trailer + TARN_SECTION_TRAILER_SIZE - length,
                    length - TARN_SECTION_TRAILER_SIZE + TRAILER_XXH3) !=
        tarn_get_le64(trailer + TRAILER_XXH3))
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: checksum of the directory is wrong", name,
                         offset + TRAILER_XXH3);
    const uint32_t incompat = tarn_get_le32(trailer + TRAILER_INCOMPAT);
    if (incompat != 0)
        return tarn_fail(err, -ENOTSUP, "%s offset %llu: incompat flags 0x%x are not known", name,
                         offset + TRAILER_INCOMPAT, incompat);
    const uint64_t said = tarn_get_le64(trailer + TRAILER_LENGTH);
    if (said != tail->container_length)
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: length %llu is not the container's %llu",
                         name, offset + TRAILER_LENGTH, (unsigned long long)said,
                         (unsigned long long)tail->container_length);
    if (!tarn_all_zero(trailer + TRAILER_ZERO, TRAILER_XXH3 - TRAILER_ZERO))
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: reserved bytes are not zero", name,
                         offset + TRAILER_ZERO);
    sections->count = count;
    sections->directory = tail->container_length - length;
    return 0;
}

// Type, flags and, for a known section, form and order.
static int check_kind(const struct tarn_sections *sections, uint32_t index, uint32_t flags,
                      struct tarn_err *err)
{
    const struct tarn_section *section = &sections->items[index];
    const uint64_t at = sections->directory + (uint64_t)index * TARN_SECTION_ENTRY_SIZE;
    const int order = known_index(sections->container, section->type);
    if (order < 0 && flags & FLAG_REQUIRED)
        return tarn_fail(err, -ENOTSUP, "%s offset %llu: section 0x%04x is required and not known",
                         names[sections->container], (unsigned long long)at, section->type);
    for (uint32_t i = 0; i < index; i++) {
        if (sections->items[i].type == section->type)
            return fail_section(sections, at, section->type, "stands twice", err);
        if (order >= 0 && known_index(sections->container, sections->items[i].type) > order)
            return fail_section(sections, at, section->type, "is out of order", err);
    }
    if (section->length == 0 && (section->zstd || section->stride))
        return fail_section(sections, at, section->type, "is empty and has a form", err);
    if (order < 0)
        return 0;
    if (flags & ~(uint32_t)FLAGS_KNOWN)
        return tarn_fail(err, -ENOTSUP, "%s offset %llu: section 0x%04x: flags 0x%x are not known",
                         names[sections->container], (unsigned long long)at, section->type, flags);
    if (!(flags & FLAG_REQUIRED))
        return fail_section(sections, at, section->type, "is not marked as required", err);
    const struct tarn_section_form *form = &known[order].form;
    if (section->length > 0 && (section->zstd != form->zstd || section->stride != form->stride))
        return fail_section(sections, at, section->type, "has another form than its type's", err);
    return 0;
}

static int parse_entry(const uint8_t *entry, struct tarn_sections *sections, uint32_t index,
                       struct tarn_err *err)
{
    struct tarn_section *section = &sections->items[index];
    const uint32_t flags = tarn_get_le32(entry + ENTRY_FLAGS);
    *section = (struct tarn_section){
        .type = tarn_get_le32(entry),
        .zstd = flags & FLAG_ZSTD,
        .stride = (uint8_t)(flags >> STRIDE_SHIFT),
        .offset = tarn_get_le64(entry + ENTRY_OFFSET),
        .length = tarn_get_le64(entry + ENTRY_LENGTH),
        .xxh3 = tarn_get_le64(entry + ENTRY_XXH3),
    };
    const uint64_t at = sections->directory + (uint64_t)index * TARN_SECTION_ENTRY_SIZE;
    if (!tarn_range_ok(section->offset, section->length, sections->directory))
        return fail_section(sections, at, section->type, "reaches beyond the container", err);
    const uint64_t end = index > 0 ? section[-1].offset + section[-1].length : 0;
    if (section->offset != tarn_round_up(end, SECTION_ALIGNMENT))
        return fail_section(sections, at, section->type, "does not start at the next multiple of 8",
                            err);
    return check_kind(sections, index, flags, err);
}

int tarn_sections_parse(const struct tarn_section_tail *tail, struct tarn_sections *sections,
                        struct tarn_err *err)
{
    *sections = (struct tarn_sections){ .container = tail->container };
    if (tail->length < TARN_SECTION_TRAILER_SIZE || tail->length > tail->container_length)
        return tarn_fail(err, -EUCLEAN, "%s of %llu bytes is too short", names[tail->container],
                         (unsigned long long)tail->container_length);
    const uint8_t *trailer = tail->bytes + tail->length - TARN_SECTION_TRAILER_SIZE;
    int ret = check_trailer(tail, trailer, sections, err);
    if (ret < 0)
        return ret;
    const uint8_t *entries = trailer - (size_t)sections->count * TARN_SECTION_ENTRY_SIZE;
    for (uint32_t i = 0; i < sections->count; i++) {
        ret = parse_entry(entries + (size_t)i * TARN_SECTION_ENTRY_SIZE, sections, i, err);
        if (ret < 0)
            return ret;
    }
    const struct tarn_section *last = &sections->items[sections->count ? sections->count - 1 : 0];
    const uint64_t end = sections->count ? last->offset + last->length : 0;
    if (sections->directory != tarn_round_up(end, SECTION_ALIGNMENT))
        return tarn_fail(err, -EUCLEAN,
                         "%s offset %llu: directory does not start at the next "
                         "multiple of 8",
                         names[tail->container], (unsigned long long)sections->directory);
    return 0;
}

int tarn_sections_check_padding(const struct tarn_sections *sections, const uint8_t *container,
                                struct tarn_err *err)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i <= sections->count; i++) {
        const uint64_t next = i < sections->count ? sections->items[i].offset : sections->directory;
        if (!tarn_all_zero(container + end, next - end))
            return tarn_fail(err, -EUCLEAN, "%s offset %llu: padding is not zero",
                             names[sections->container], (unsigned long long)end);
        if (i < sections->count)
            end = next + sections->items[i].length;
    }
    return 0;
}

int tarn_section_decoded_length(const struct tarn_sections *sections, const uint8_t *container,
                                const struct tarn_section *section, uint64_t *length,
                                struct tarn_err *err)
{
    *length = section->length;
    if (!section->zstd || tarn_zstd_frame(container + section->offset, section->length, length))
        return 0;
    return fail_section(sections, section->offset, section->type,
                        "is not one zstd frame with its content size", err);
}

static int decompress(const struct tarn_section_source *source, const struct tarn_section *section,
                      struct tarn_buf *out, struct tarn_err *err)
{
    const uint8_t *stored = source->container + section->offset;
    uint64_t size;
    const int told =
        tarn_section_decoded_length(source->sections, source->container, section, &size, err);
    if (told < 0)
        return told;
    if (size > source->limit)
        return fail_section(source->sections, section->offset, section->type,
                            "is longer than it can be", err);
    out->length = 0;
    if (tarn_buf_reserve(out, size) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const size_t ret = ZSTD_decompress(out->data, size, stored, section->length);
    if (ret != size) // errors are larger than any size
        return fail_section(source->sections, section->offset, section->type,
                            "cannot be decompressed", err);
    out->length = size;
    return 0;
}

static int decode(const struct tarn_section_source *source, const struct tarn_section *section,
                  struct tarn_buf *decoded, struct tarn_err *err)
{
    if (section->stride == 0)
        return decompress(source, section, decoded, err);
    tarn_autobuf struct tarn_buf scratch = { 0 };
    struct tarn_bytes columns = { source->container + section->offset, section->length };
    if (section->zstd) {
        const int ret = decompress(source, section, &scratch, err);
        if (ret < 0)
            return ret;
        columns = (struct tarn_bytes){ scratch.data, scratch.length };
    }
    if (columns.length % section->stride != 0)
        return fail_section(source->sections, section->offset, section->type,
                            "is not a whole number of records", err);
    decoded->length = 0;
    if (tarn_buf_reserve(decoded, columns.length) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    to_records(columns.data, columns.length / section->stride, section->stride, decoded->data);
    decoded->length = columns.length;
    return 0;
}

int tarn_section_open(const struct tarn_section_source *source, uint32_t type,
                      struct tarn_buf *decoded, struct tarn_bytes *bytes, struct tarn_err *err)
{
    const struct tarn_sections *sections = source->sections;
    const struct tarn_section *section = tarn_sections_find(sections, type);
    if (!section)
        return tarn_fail(err, -EUCLEAN, "%s offset %llu: section 0x%04x is missing",
                         names[sections->container], (unsigned long long)sections->directory, type);
    const uint8_t *stored = source->container + section->offset;
    if (XXH3_64bits(stored, section->length) != section->xxh3)
        return fail_section(sections, section->offset, type, "checksum is wrong", err);
    if (section->length > source->limit && !section->zstd)
        return fail_section(sections, section->offset, type, "is longer than it can be", err);
    *bytes = (struct tarn_bytes){ stored, section->length };
    if (!section->zstd && section->stride == 0)
        return 0;
    const int ret = decode(source, section, decoded, err);
    if (ret == 0)
        *bytes = (struct tarn_bytes){ decoded->data, decoded->length };
    return ret;
}
