// SPDX-License-Identifier: Apache-2.0
#include <assert.h>

#include "format/tables.h"
#include "format/tables_internal.h"

void tarn_tables_builder_release(struct tarn_tables_builder *builder)
{
    tarn_buf_release(&builder->blobs);
    tarn_buf_release(&builder->addresses);
    tarn_buf_release(&builder->locations);
    tarn_buf_release(&builder->digests);
}

uint32_t tarn_tables_builder_rows(const struct tarn_tables_builder *builder)
{
    return (uint32_t)(builder->addresses.length / 8);
}

int tarn_tables_builder_add_blob(struct tarn_tables_builder *builder,
                                 const struct tarn_blob_record *record)
{
    uint8_t bytes[TARN_BLOB_RECORD_SIZE] = { 0 };
    memcpy(bytes + RECORD_DIGEST, record->digest.bytes, TARN_DIGEST_SIZE);
    tarn_put_le64(bytes + RECORD_SIZE, record->size);
    tarn_put_le64(bytes + RECORD_DATA_LENGTH, record->data_length);
    tarn_put_le64(bytes + RECORD_METADATA_OFFSET, record->metadata_offset);
    tarn_put_le64(bytes + RECORD_METADATA_LENGTH, record->metadata_length);
    memcpy(bytes + RECORD_METADATA_DIGEST, record->metadata_digest.bytes, TARN_DIGEST_SIZE);
    tarn_put_le32(bytes + RECORD_FIRST_ROW, record->first_row);
    tarn_put_le32(bytes + RECORD_ROW_COUNT, record->row_count);
    tarn_put_le32(bytes + RECORD_COMPRESSION, TARN_COMPRESSION_ZSTD);
    tarn_put_le32(bytes + RECORD_SLOT, record->slot);
    tarn_put_le32(bytes + RECORD_ROLE, record->role);
    return tarn_buf_append(&builder->blobs, bytes, sizeof bytes);
}

static int add(struct tarn_tables_builder *builder, uint64_t address, uint64_t location,
               const struct tarn_digest *digest)
{
    if (builder->addresses.length / 8 == TARN_NONE)
        return -EOVERFLOW;
    // Room first: the arrays grow together or not at all.
    if (tarn_buf_reserve(&builder->addresses, 8) < 0 ||
        tarn_buf_reserve(&builder->locations, 8) < 0 ||
        tarn_buf_reserve(&builder->digests, TARN_DIGEST_SIZE) < 0)
        return -ENOMEM;
    int ret = tarn_buf_append_le64(&builder->addresses, address);
    if (ret == 0)
        ret = tarn_buf_append_le64(&builder->locations, location);
    if (ret == 0)
        ret = tarn_buf_append(&builder->digests, digest->bytes, TARN_DIGEST_SIZE);
    return ret;
}

int tarn_tables_builder_add_row(struct tarn_tables_builder *builder, uint64_t address,
                                const struct tarn_location *location,
                                const struct tarn_digest *digest)
{
    assert(location->kind != TARN_LOCATION_GAP);
    return add(builder, address, tarn_location_pack(location), digest);
}

int tarn_tables_builder_add_gap(struct tarn_tables_builder *builder, uint64_t address)
{
    static const struct tarn_digest zero;
    return add(builder, address, UINT64_MAX, &zero);
}

struct tarn_tables tarn_tables_builder_view(const struct tarn_tables_builder *builder)
{
    return (struct tarn_tables){
        .blob_count = (uint32_t)(builder->blobs.length / TARN_BLOB_RECORD_SIZE),
        .row_count = tarn_tables_builder_rows(builder),
        .blobs = builder->blobs.data,
        .addresses = builder->addresses.data,
        .locations = builder->locations.data,
        .digests = builder->digests.data,
    };
}
