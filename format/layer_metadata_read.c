// SPDX-License-Identifier: Apache-2.0
// The order of the sections' reading is chosen so that each decoded one is released before the
// next: what is made of contents, xattr sets and inodes goes straight into the tree's arena.
#include "base/bytes.h"
#include "format/layer_metadata_internal.h"

int tarn_layer_metadata_fail(const struct tarn_layer_metadata_reader *reader, const char *what,
                             uint32_t index, const char *rule)
{
    return tarn_fail(reader->err, -EUCLEAN, "layer metadata: %s record %u: %s", what, index, rule);
}

int tarn_layer_metadata_open(struct tarn_layer_metadata_reader *reader,
                             const struct tarn_layer_metadata_shape *shape,
                             struct tarn_buf *decoded, struct tarn_bytes *bytes)
{
    reader->source.limit = shape->count * (shape->size ? shape->size : 1);
    const int ret = tarn_section_open(&reader->source, shape->type, decoded, bytes, reader->err);
    if (ret == 0 && shape->size && bytes->length != reader->source.limit)
        return tarn_fail(reader->err, -EUCLEAN,
                         "layer metadata: section 0x%04x has %zu bytes, %llu belong there",
                         shape->type, bytes->length, (unsigned long long)reader->source.limit);
    return ret;
}

void tarn_layer_metadata_release(struct tarn_layer_metadata *metadata)
{
    tarn_tree_free(metadata->tree);
    for (size_t i = 0; i < sizeof metadata->buffers / sizeof *metadata->buffers; i++)
        tarn_buf_release(&metadata->buffers[i]);
    *metadata = (struct tarn_layer_metadata){ 0 };
}

// Before anything is decoded: what it would cost.
static int check_cost(const struct tarn_layer_metadata_reader *reader, uint64_t stored)
{
    const struct tarn_sections *sections = &reader->sections;
    uint64_t cost = 0;
    for (uint32_t i = 0; i < sections->count; i++) {
        const struct tarn_section *section = &sections->items[i];
        if (section->type < TARN_SECTION_LAYER || section->type > TARN_SECTION_CHUNK_DIGESTS)
            continue; // nobody reads it
        uint64_t length;
        const int ret = tarn_section_decoded_length(sections, reader->source.container, section,
                                                    &length, reader->err);
        if (ret < 0)
            return ret;
        // 2^48 bytes are too many in any case, and nothing overflows up to there.
        cost += tarn_layer_metadata_cost(section->type, tarn_min_u64(length, UINT64_C(1) << 48));
        if (tarn_layer_metadata_is_bomb(cost, stored))
            return tarn_fail(
                reader->err, -EUCLEAN,
                "layer metadata offset %llu: section 0x%04x: with its %llu bytes it costs "
                "more than %d MiB and %d times its length",
                (unsigned long long)section->offset, section->type, (unsigned long long)length,
                COST_FREE >> 20, COST_RATIO);
    }
    return 0;
}

// --- the layer section -----------------------------------------------------------------------

static int fail_layer(const struct tarn_layer_metadata_reader *reader, const char *rule)
{
    return tarn_fail(reader->err, -EUCLEAN, "layer metadata: section 0x%04x: %s",
                     TARN_SECTION_LAYER, rule);
}

// Numbers that a later version may give other values: what is not known is not damaged.
static int check_methods(const struct tarn_layer_metadata_reader *reader, const uint8_t *bytes)
{
    static const struct {
        const char *what;
        uint32_t offset;
        uint32_t value;
    } known[] = {
        { "chunker", LAYER_CHUNKER, TARN_CHUNKER_GEAR },
        { "least chunk length", LAYER_MIN, TARN_CHUNK_MIN },
        { "average chunk length", LAYER_AVG, TARN_CHUNK_AVG },
        { "largest chunk length", LAYER_MAX, TARN_CHUNK_MAX },
        { "normalisation", LAYER_NORMALISATION, TARN_CHUNK_NORMALISATION },
        { "run length", LAYER_RUN, TARN_RUN_LENGTH },
        { "prefix length", LAYER_PREFIX, TARN_PREFIX_LENGTH },
        { "compression", LAYER_COMPRESSION, TARN_COMPRESSION_ZSTD },
        { "encryption", LAYER_ENCRYPTION, 0 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t value = tarn_get_le32(bytes + known[i].offset);
        if (value != known[i].value)
            return tarn_fail(reader->err, -ENOTSUP,
                             "layer metadata: section 0x%04x: %s %u is not known",
                             TARN_SECTION_LAYER, known[i].what, value);
    }
    return 0;
}

static int read_layer(struct tarn_layer_metadata_reader *reader)
{
    struct tarn_bytes bytes;
    int ret = tarn_layer_metadata_open(
        reader, &(struct tarn_layer_metadata_shape){ TARN_SECTION_LAYER, LAYER_SIZE, 1 }, NULL,
        &bytes);
    if (ret == 0)
        ret = check_methods(reader, bytes.data);
    if (ret < 0)
        return ret;
    struct tarn_layer_parameters *parameters = &reader->metadata->parameters;
    *parameters = (struct tarn_layer_parameters){
        .level = (int32_t)tarn_get_le32(bytes.data + LAYER_LEVEL),
        .zstd_version = tarn_get_le32(bytes.data + LAYER_ZSTD),
        .chain_index = tarn_get_le32(bytes.data + LAYER_CHAIN_INDEX),
        .data_length = tarn_get_le64(bytes.data + LAYER_DATA_LENGTH),
        .chunks_length = tarn_get_le64(bytes.data + LAYER_CHUNKS_LENGTH),
    };
    reader->inode_count = tarn_get_le32(bytes.data + LAYER_INODES);
    reader->name_count = tarn_get_le32(bytes.data + LAYER_NAMES);
    reader->content_count = tarn_get_le32(bytes.data + LAYER_CONTENTS);
    reader->blob_count = tarn_get_le32(bytes.data + LAYER_BLOBS);
    if (!tarn_all_zero(bytes.data + LAYER_ZERO, LAYER_SIZE - LAYER_ZERO))
        return fail_layer(reader, "reserved bytes are not zero");
    if (parameters->data_length > TARN_DATA_SPACE_LIMIT ||
        parameters->data_length % TARN_BLOCK != 0)
        return fail_layer(reader, "data space has a wrong length");
    if (parameters->chunks_length > parameters->data_length)
        return fail_layer(reader, "chunks are longer than the data space");
    if (reader->name_count == 0 || reader->name_count > TARN_ENTRIES_LIMIT)
        return fail_layer(reader, "number of names is out of range");
    if (reader->inode_count > reader->name_count)
        return fail_layer(reader, "more inodes than names");
    if (reader->content_count > reader->inode_count)
        return fail_layer(reader, "more contents than inodes");
    if (reader->blob_count > TARN_BLOBS_MAX || parameters->chain_index >= reader->blob_count)
        return fail_layer(reader, "number of blobs is out of range");
    return 0;
}

// --- the chunk tables ------------------------------------------------------------------------

static int check_tables(const struct tarn_layer_metadata_reader *reader)
{
    const struct tarn_layer_metadata *metadata = reader->metadata;
    const struct tarn_layer_parameters *parameters = &metadata->parameters;
    const struct tarn_blob_record own =
        tarn_tables_blob(&metadata->tables, parameters->chain_index);
    if (own.data_length != parameters->data_length)
        return fail_layer(reader, "data space is not that of the own blob's record");
    const struct tarn_tables_rules rules = {
        .chain = parameters->chain_index + 1,
        .own = parameters->chain_index,
        .chunks_length = parameters->chunks_length,
    };
    const int ret = tarn_tables_verify(&metadata->tables, &rules, reader->err);
    return ret < 0 ? tarn_wrap(reader->err, ret, "layer metadata") : 0;
}

static int read_tables(struct tarn_layer_metadata_reader *reader)
{
    struct tarn_layer_metadata *metadata = reader->metadata;
    struct tarn_tables *tables = &metadata->tables;
    struct tarn_buf *buffers = metadata->buffers;
    struct tarn_bytes bytes;
    int ret = tarn_layer_metadata_open(reader,
                                       &(struct tarn_layer_metadata_shape){ TARN_SECTION_BLOBS,
                                                                            TARN_BLOB_RECORD_SIZE,
                                                                            reader->blob_count },
                                       &buffers[0], &bytes);
    if (ret < 0)
        return ret;
    tables->blob_count = reader->blob_count;
    tables->blobs = bytes.data;
    ret = tarn_layer_metadata_open(
        reader,
        &(struct tarn_layer_metadata_shape){ TARN_SECTION_CHUNK_DIGESTS, 0,
                                             (uint64_t)TARN_NONE * TARN_DIGEST_SIZE },
        NULL, &bytes);
    if (ret < 0)
        return ret;
    if (bytes.length == 0 || bytes.length % TARN_DIGEST_SIZE != 0)
        return tarn_fail(reader->err, -EUCLEAN, "layer metadata: section 0x%04x is no list of rows",
                         TARN_SECTION_CHUNK_DIGESTS);
    tables->row_count = (uint32_t)(bytes.length / TARN_DIGEST_SIZE);
    if (tarn_buf_append(&buffers[3], bytes.data, bytes.length) < 0)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    tables->digests = buffers[3].data;
    ret = tarn_layer_metadata_open(
        reader,
        &(struct tarn_layer_metadata_shape){ TARN_SECTION_CHUNK_ADDRESSES, 8, tables->row_count },
        &buffers[1], &bytes);
    tables->addresses = bytes.data;
    if (ret == 0)
        ret = tarn_layer_metadata_open(reader,
                                       &(struct tarn_layer_metadata_shape){
                                           TARN_SECTION_CHUNK_LOCATIONS, 8, tables->row_count },
                                       &buffers[2], &bytes);
    tables->locations = bytes.data;
    return ret < 0 ? ret : check_tables(reader);
}

// --- all of it -------------------------------------------------------------------------------

static int read_sections(struct tarn_layer_metadata_reader *reader)
{
    int ret = read_layer(reader);
    if (ret == 0)
        ret = read_tables(reader);
    if (ret < 0)
        return ret;
    reader->metadata->tree = tarn_tree_new();
    if (!reader->metadata->tree)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    ret = tarn_layer_metadata_read_contents(reader);
    if (ret == 0)
        ret = tarn_layer_metadata_read_xattrs(reader);
    if (ret == 0)
        ret = tarn_layer_metadata_read_inodes(reader);
    if (ret == 0)
        ret = tarn_layer_metadata_read_names(reader);
    if (ret == 0)
        tarn_tree_sort(reader->metadata->tree);
    return ret;
}

int tarn_layer_metadata_read(const uint8_t *bytes, size_t length,
                             struct tarn_layer_metadata *metadata, struct tarn_err *err)
{
    *metadata = (struct tarn_layer_metadata){ 0 };
    struct tarn_layer_metadata_reader reader = { .metadata = metadata, .err = err };
    reader.source = (struct tarn_section_source){ &reader.sections, bytes, 0 };
    const struct tarn_section_tail tail = { TARN_CONTAINER_METADATA, bytes, length, length };
    if (length > TARN_METADATA_LIMIT)
        return tarn_fail(err, -EUCLEAN, "layer metadata: %zu bytes are more than 2^32", length);
    int ret = tarn_sections_parse(&tail, &reader.sections, err);
    if (ret == 0)
        ret = tarn_sections_check_padding(&reader.sections, bytes, err);
    if (ret == 0)
        ret = check_cost(&reader, length);
    if (ret == 0)
        ret = read_sections(&reader);
    free(reader.contents);
    free(reader.sets);
    free(reader.inodes);
    if (ret < 0)
        tarn_layer_metadata_release(metadata);
    return ret;
}
