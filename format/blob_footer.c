// SPDX-License-Identifier: Apache-2.0
#include "format/blob_footer.h"

#include <assert.h>

#include "base/bytes.h"

int tarn_blob_footer_write(const struct tarn_blob_footer *footer, struct tarn_buf *out)
{
    assert(footer->metadata_offset == tarn_round_up(footer->chunks_length, 8));
    const struct tarn_sections sections = {
        .count = 2,
        .items = {
            { .type = TARN_SECTION_CHUNKS, .length = footer->chunks_length,
              .xxh3 = footer->chunks_xxh3 },
            { .type = TARN_SECTION_METADATA, .offset = footer->metadata_offset,
              .length = footer->metadata_length, .xxh3 = footer->metadata_xxh3 },
        },
    };
    const uint64_t end = footer->metadata_offset + footer->metadata_length;
    return tarn_sections_finish(&sections, TARN_CONTAINER_BLOB, end - out->length, out);
}

int tarn_blob_footer_read(const uint8_t *tail, size_t length, uint64_t blob_size,
                          struct tarn_blob_footer *footer, struct tarn_err *err)
{
    const struct tarn_section_tail source = { TARN_CONTAINER_BLOB, tail, length, blob_size };
    struct tarn_sections sections;
    const int ret = tarn_sections_parse(&source, &sections, err);
    if (ret < 0)
        return ret;
    const struct tarn_section *chunks = tarn_sections_find(&sections, TARN_SECTION_CHUNKS);
    const struct tarn_section *metadata = tarn_sections_find(&sections, TARN_SECTION_METADATA);
    if (!chunks || !metadata)
        return tarn_fail(err, -EUCLEAN, "blob offset %llu: section 0x%04x is missing",
                         (unsigned long long)sections.directory,
                         chunks ? TARN_SECTION_METADATA : TARN_SECTION_CHUNKS);
    *footer = (struct tarn_blob_footer){
        .chunks_length = chunks->length,
        .chunks_xxh3 = chunks->xxh3,
        .metadata_offset = metadata->offset,
        .metadata_length = metadata->length,
        .metadata_xxh3 = metadata->xxh3,
    };
    return 0;
}
