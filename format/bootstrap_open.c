// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "format/bootstrap.h"
#include "format/bootstrap_internal.h"
#include "format/section.h"

const uint32_t tarn_image_parameters[TARN_IMAGE_PARAMETERS] = {
    TARN_CHUNKER_GEAR,        TARN_CHUNK_MIN,  TARN_CHUNK_AVG,     TARN_CHUNK_MAX,
    TARN_CHUNK_NORMALISATION, TARN_RUN_LENGTH, TARN_PREFIX_LENGTH,
};

struct opener {
    struct tarn_section_source source;
    struct tarn_bootstrap *bootstrap;
    struct tarn_err *err;
};

// The section, of exactly this many bytes.
static int get(const struct opener *opener, uint32_t type, uint64_t length,
               struct tarn_bytes *bytes)
{
    struct tarn_buf unused = { 0 }; // nothing in a bootstrap is compressed
    int ret = tarn_section_open(&opener->source, type, &unused, bytes, opener->err);
    if (ret < 0)
        return ret;
    if (bytes->length == length)
        return 0;
    const struct tarn_section *section = tarn_sections_find(opener->source.sections, type);
    return tarn_fail(
        opener->err, -EUCLEAN, "bootstrap offset %llu: section 0x%04x: %zu bytes, must be %llu",
        (unsigned long long)section->offset, type, bytes->length, (unsigned long long)length);
}

static uint64_t section_offset(const struct opener *opener, uint32_t type)
{
    const struct tarn_section *section = tarn_sections_find(opener->source.sections, type);
    return section ? section->offset : 0;
}

static int open_image(const struct opener *opener, uint32_t *blob_count)
{
    struct tarn_bootstrap *bootstrap = opener->bootstrap;
    struct tarn_bytes image;
    int ret = get(opener, TARN_SECTION_IMAGE, TARN_IMAGE_SIZE, &image);
    if (ret < 0)
        return ret;
    const unsigned long long offset = section_offset(opener, TARN_SECTION_IMAGE);
    for (size_t i = 0; i < TARN_IMAGE_PARAMETERS; i++)
        if (tarn_get_le32(image.data + i * 4) != tarn_image_parameters[i])
            return tarn_fail(
                opener->err, -ENOTSUP,
                "bootstrap offset %llu: image: parameter %u of the chunker is not known",
                offset + i * 4, tarn_get_le32(image.data + i * 4));
    if (!tarn_all_zero(image.data + TARN_IMAGE_ZERO, TARN_IMAGE_SIZE - TARN_IMAGE_ZERO))
        return tarn_fail(opener->err, -EUCLEAN,
                         "bootstrap offset %llu: image: a field that must be zero is not",
                         offset + TARN_IMAGE_ZERO);
    bootstrap->chain_count = tarn_get_le32(image.data + TARN_IMAGE_CHAIN);
    bootstrap->slot_count = tarn_get_le32(image.data + TARN_IMAGE_SLOTS);
    bootstrap->inode_count = tarn_get_le64(image.data + TARN_IMAGE_INODES);
    bootstrap->name_count = tarn_get_le64(image.data + TARN_IMAGE_NAMES);
    bootstrap->file_bytes = tarn_get_le64(image.data + TARN_IMAGE_BYTES);
    memcpy(bootstrap->tree_digest.bytes, image.data + TARN_IMAGE_TREE, TARN_DIGEST_SIZE);
    *blob_count = tarn_get_le32(image.data + TARN_IMAGE_BLOBS);
    if (bootstrap->chain_count <= *blob_count && *blob_count <= TARN_BLOBS_MAX)
        return 0;
    return tarn_fail(opener->err, -EUCLEAN,
                     "bootstrap offset %llu: image: the number of blobs is out of range",
                     offset + TARN_IMAGE_CHAIN);
}

static int open_tables(const struct opener *opener, uint32_t blob_count)
{
    struct tarn_tables *tables = &opener->bootstrap->tables;
    struct tarn_bytes blobs, addresses, locations, digests;
    const struct tarn_section *section =
        tarn_sections_find(opener->source.sections, TARN_SECTION_CHUNK_ADDRESSES);
    const uint64_t rows = section ? section->length / 8 : 0;
    int ret = get(opener, TARN_SECTION_BLOBS, (uint64_t)blob_count * TARN_BLOB_RECORD_SIZE, &blobs);
    if (ret == 0)
        ret = get(opener, TARN_SECTION_CHUNK_ADDRESSES, rows * 8, &addresses);
    if (ret == 0)
        ret = get(opener, TARN_SECTION_CHUNK_LOCATIONS, rows * 8, &locations);
    if (ret == 0)
        ret = get(opener, TARN_SECTION_CHUNK_DIGESTS, rows * TARN_DIGEST_SIZE, &digests);
    if (ret < 0)
        return ret;
    if (rows > UINT32_MAX)
        return tarn_fail(opener->err, -EUCLEAN, "bootstrap: more than 2^32 rows");
    *tables = (struct tarn_tables){ .blob_count = blob_count,
                                    .row_count = (uint32_t)rows,
                                    .blobs = blobs.data,
                                    .addresses = addresses.data,
                                    .locations = locations.data,
                                    .digests = digests.data };
    const struct tarn_tables_rules rules = { .chain = opener->bootstrap->chain_count,
                                             .own = TARN_NONE };
    ret = tarn_tables_verify(tables, &rules, opener->err);
    return ret < 0 ? tarn_wrap(opener->err, ret, "bootstrap offset %llu",
                               (unsigned long long)section_offset(opener, TARN_SECTION_BLOBS))
                   : 0;
}

// What is wrong with a record's slot, of which last is the last one given; NULL if nothing.
static const char *slot_rule(const struct tarn_bootstrap *bootstrap,
                             const struct tarn_blob_record *record, uint32_t last)
{
    struct tarn_erofs_device_slot device;
    char hex[TARN_DIGEST_HEX + 1];
    if (record->slot == 0)
        return NULL;
    if (record->role != TARN_BLOB_CHAIN)
        return "a foreign blob has a slot";
    if (record->slot != last + 1)
        return "slots are not in order";
    if (tarn_erofs_device(&bootstrap->erofs, record->slot, &device) < 0)
        return "there is no device for its slot";
    if (strcmp(device.tag, tarn_digest_format_hex(&record->digest, hex)) != 0)
        return "the tag of its device is another digest";
    if (device.blocks != record->data_length / TARN_BLOCK)
        return "the blocks of its device are not those of its data space";
    return NULL;
}

static int open_slots(const struct opener *opener)
{
    struct tarn_bootstrap *bootstrap = opener->bootstrap;
    const unsigned long long image = section_offset(opener, TARN_SECTION_IMAGE);
    if (bootstrap->slot_count != bootstrap->erofs.device_count)
        return tarn_fail(opener->err, -EUCLEAN,
                         "bootstrap offset %llu: image: %u slots, the device table has %u",
                         image + TARN_IMAGE_SLOTS, bootstrap->slot_count,
                         bootstrap->erofs.device_count);
    uint32_t *blobs = calloc((size_t)bootstrap->slot_count + 1, sizeof *blobs);
    if (!blobs)
        return tarn_fail(opener->err, -ENOMEM, "out of memory");
    bootstrap->slot_blobs = blobs;
    uint32_t last = 0;
    for (uint32_t i = 0; i < bootstrap->tables.blob_count; i++) {
        const struct tarn_blob_record record = tarn_tables_blob(&bootstrap->tables, i);
        const char *rule = slot_rule(bootstrap, &record, last);
        if (rule)
            return tarn_fail(opener->err, -EUCLEAN, "bootstrap offset %llu: blob %u: %s",
                             (unsigned long long)section_offset(opener, TARN_SECTION_BLOBS) +
                                 (uint64_t)i * TARN_BLOB_RECORD_SIZE,
                             i, rule);
        if (record.slot != 0)
            blobs[++last] = i;
    }
    if (last == bootstrap->slot_count)
        return 0;
    return tarn_fail(opener->err, -EUCLEAN, "bootstrap offset %llu: image: %u slots, blobs have %u",
                     image + TARN_IMAGE_SLOTS, bootstrap->slot_count, last);
}

static int open_all(const struct opener *opener)
{
    struct tarn_bytes erofs;
    struct tarn_buf unused = { 0 };
    int ret = tarn_section_open(&opener->source, TARN_SECTION_EROFS, &unused, &erofs, opener->err);
    if (ret < 0)
        return ret;
    uint32_t blob_count = 0;
    ret = tarn_erofs_open(erofs.data, erofs.length, &opener->bootstrap->erofs, opener->err);
    if (ret == 0)
        ret = open_image(opener, &blob_count);
    if (ret == 0)
        ret = open_tables(opener, blob_count);
    if (ret == 0)
        ret = open_slots(opener);
    return ret;
}

int tarn_bootstrap_open(const uint8_t *bytes, size_t length, struct tarn_bootstrap *bootstrap,
                        struct tarn_err *err)
{
    *bootstrap = (struct tarn_bootstrap){ 0 };
    const size_t tail = length < TARN_SECTIONS_TAIL ? length : TARN_SECTIONS_TAIL;
    const struct tarn_section_tail directory = { .container = TARN_CONTAINER_BOOTSTRAP,
                                                 .bytes = bytes + length - tail,
                                                 .length = tail,
                                                 .container_length = length };
    struct tarn_sections sections;
    int ret = tarn_sections_parse(&directory, &sections, err);
    if (ret == 0)
        ret = tarn_sections_check_padding(&sections, bytes, err);
    if (ret < 0)
        return ret;
    const struct opener opener = { .source = { &sections, bytes, length },
                                   .bootstrap = bootstrap,
                                   .err = err };
    ret = open_all(&opener);
    if (ret < 0)
        tarn_bootstrap_release(bootstrap);
    return ret;
}

void tarn_bootstrap_release(struct tarn_bootstrap *bootstrap)
{
    free(bootstrap->slot_blobs);
    *bootstrap = (struct tarn_bootstrap){ 0 };
}
