// SPDX-License-Identifier: Apache-2.0
#include "tests/support/metadata_parts.h"

#include "base/bytes.h"
#include "format/section.h"

static const struct tarn_section_form forms[TARN_TEST_PARTS] = {
    { TARN_SECTION_LAYER, false, 0 },          { TARN_SECTION_BLOBS, true, 0 },
    { TARN_SECTION_INODES, true, 64 },         { TARN_SECTION_NAMES, true, 12 },
    { TARN_SECTION_NAME_BYTES, true, 0 },      { TARN_SECTION_TARGETS, true, 0 },
    { TARN_SECTION_XATTR_SETS, true, 0 },      { TARN_SECTION_CONTENTS, true, 64 },
    { TARN_SECTION_UNITS, true, 8 },           { TARN_SECTION_CHUNK_ADDRESSES, true, 8 },
    { TARN_SECTION_CHUNK_LOCATIONS, true, 8 }, { TARN_SECTION_CHUNK_DIGESTS, false, 0 },
};

void tarn_test_parts_release(struct tarn_test_parts *parts)
{
    for (size_t i = 0; i < TARN_TEST_PARTS; i++)
        tarn_buf_release(&parts->sections[i]);
}

bool tarn_test_parts_split(const uint8_t *container, size_t length, struct tarn_test_parts *parts)
{
    const struct tarn_section_tail tail = { TARN_CONTAINER_METADATA, container, length, length };
    struct tarn_sections sections;
    if (tarn_sections_parse(&tail, &sections, NULL) < 0)
        return false;
    const struct tarn_section_source source = { &sections, container, 1 << 30 };
    for (size_t i = 0; i < TARN_TEST_PARTS; i++) {
        tarn_autobuf struct tarn_buf decoded = { 0 };
        struct tarn_bytes bytes;
        if (tarn_section_open(&source, forms[i].type, &decoded, &bytes, NULL) < 0 ||
            tarn_buf_append(&parts->sections[i], bytes.data, bytes.length) < 0)
            return false;
    }
    return true;
}

bool tarn_test_parts_join(const struct tarn_test_parts *parts, struct tarn_buf *container)
{
    struct tarn_sections sections = { 0 };
    for (size_t i = 0; i < TARN_TEST_PARTS; i++) {
        const struct tarn_buf *part = &parts->sections[i];
        if (forms[i].stride && part->length % forms[i].stride != 0)
            return false;
        if (tarn_section_append(&sections, container, &forms[i], part->data, part->length) < 0)
            return false;
    }
    return tarn_sections_finish(&sections, TARN_CONTAINER_METADATA, 0, container) == 0;
}

void tarn_test_parts_fix_counts(struct tarn_test_parts *parts)
{
    static const struct {
        uint32_t type;
        uint32_t size;
        size_t count_offset; // in the layer section; 0: none
    } records[] = {
        { TARN_SECTION_BLOBS, 128, 76 },        { TARN_SECTION_INODES, 64, 64 },
        { TARN_SECTION_NAMES, 12, 68 },         { TARN_SECTION_CONTENTS, 64, 72 },
        { TARN_SECTION_UNITS, 8, 0 },           { TARN_SECTION_CHUNK_ADDRESSES, 8, 0 },
        { TARN_SECTION_CHUNK_LOCATIONS, 8, 0 },
    };
    struct tarn_buf *layer = &parts->sections[0];
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct tarn_buf *part = &parts->sections[records[i].type - TARN_SECTION_LAYER];
        part->length -= part->length % records[i].size;
        if (records[i].count_offset && layer->length >= records[i].count_offset + 4)
            tarn_put_le32(layer->data + records[i].count_offset,
                          (uint32_t)(part->length / records[i].size));
    }
}

bool tarn_test_parts_flatten(const struct tarn_test_parts *parts, struct tarn_buf *flat)
{
    for (size_t i = 0; i < TARN_TEST_PARTS; i++) {
        const struct tarn_buf *part = &parts->sections[i];
        if (tarn_buf_append_le32(flat, (uint32_t)part->length) < 0 ||
            tarn_buf_append(flat, part->data, part->length) < 0)
            return false;
    }
    return true;
}

bool tarn_test_parts_unflatten(const uint8_t *flat, size_t length, struct tarn_test_parts *parts)
{
    for (size_t i = 0; i < TARN_TEST_PARTS && length >= 4; i++) {
        const size_t part = tarn_min_u64(tarn_get_le32(flat), length - 4);
        if (tarn_buf_append(&parts->sections[i], flat + 4, part) < 0)
            return false;
        flat += 4 + part;
        length -= 4 + part;
    }
    return true;
}
