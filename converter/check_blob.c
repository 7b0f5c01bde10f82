// SPDX-License-Identifier: Apache-2.0
// One blob: its directory, its layer metadata, and what the bootstrap has of it.
#include <inttypes.h>
#include <xxhash.h>

#include "converter/check_internal.h"
#include "format/blob_footer.h"

static int fail_blob(const struct tarn_check *check, uint32_t blob, const char *rule)
{
    return tarn_fail(check->err, -EUCLEAN, "%s: %s", tarn_check_blob_name(check, blob).text, rule);
}

// --- directory -----------------------------------------------------------------------------------
static int read_footer(const struct tarn_check *check, uint32_t i, struct tarn_blob_footer *footer)
{
    const struct tarn_check_image *image = check->image;
    const struct tarn_manifest_blob *blob = &image->manifest->blobs[i];
    const uint64_t length = tarn_min_u64(blob->size, TARN_SECTIONS_TAIL);
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = blob->digest,
        .size = blob->size,
        .offset = blob->size - length,
        .length = length,
    };
    tarn_autobuf struct tarn_buf tail = { 0 };
    int ret = tarn_blocking_read_buf(image->blocking, image->repository, &read, &tail, check->err);
    if (ret < 0)
        return ret;
    ret = tarn_blob_footer_read(tail.data, tail.length, blob->size, footer, check->err);
    return ret < 0
               ? tarn_wrap(check->err, ret, "%s: directory", tarn_check_blob_name(check, i).text)
               : 0;
}

static int check_footer(const struct tarn_check *check, uint32_t i)
{
    const struct tarn_check_image *image = check->image;
    const struct tarn_manifest_blob *blob = &image->manifest->blobs[i];
    const struct tarn_blob_id id = { blob->digest, blob->size };
    int ret = tarn_blocking_has_blob(image->blocking, image->repository, &id, check->err);
    if (ret == -ENOENT)
        return tarn_fail(check->err, ret, "%s: %s has none of %" PRIu64 " bytes",
                         tarn_check_blob_name(check, i).text,
                         tarn_repository_name(image->repository), blob->size);
    if (ret < 0)
        return ret;
    struct tarn_blob_footer footer;
    ret = read_footer(check, i, &footer);
    if (ret < 0)
        return ret;
    if (footer.metadata_offset != blob->metadata_offset ||
        footer.metadata_length != blob->metadata_length)
        return fail_blob(check, i, "its layer metadata is not where the manifest says");
    return 0;
}

// --- rows ----------------------------------------------------------------------------------------
static int fail_row(const struct tarn_check *check, uint32_t blob, uint32_t row, const char *rule)
{
    return tarn_fail(check->err, -EUCLEAN, "%s chunk at data-space address %" PRIu64 ": %s",
                     tarn_check_blob_name(check, blob).text,
                     tarn_tables_address(&check->image->bootstrap->tables, row), rule);
}

static bool same_digest(const struct tarn_tables *a, uint32_t row_a, const struct tarn_tables *b,
                        uint32_t row_b)
{
    return memcmp(a->digests + (size_t)row_a * TARN_DIGEST_SIZE,
                  b->digests + (size_t)row_b * TARN_DIGEST_SIZE, TARN_DIGEST_SIZE) == 0;
}

// Whether two rows place their chunk alike. Blobs have other numbers in the two tables.
static bool same_location(const struct tarn_tables *a, uint32_t row_a, const struct tarn_tables *b,
                          uint32_t row_b)
{
    const struct tarn_location x = tarn_tables_location(a, row_a);
    const struct tarn_location y = tarn_tables_location(b, row_b);
    if (x.kind != TARN_LOCATION_REFERENCE || y.kind != TARN_LOCATION_REFERENCE)
        return memcmp(a->locations + (size_t)row_a * 8, b->locations + (size_t)row_b * 8, 8) == 0;
    if (x.address != y.address || x.blob >= a->blob_count || y.blob >= b->blob_count)
        return false;
    if (x.blob == y.blob)
        return true; // the own blob has no digest in its metadata
    const struct tarn_blob_record p = tarn_tables_blob(a, x.blob);
    const struct tarn_blob_record q = tarn_tables_blob(b, y.blob);
    return tarn_digest_equal(&p.digest, &q.digest);
}

// The whole table of a blob of the chain.
static int check_own_rows(const struct tarn_check *check, uint32_t blob,
                          const struct tarn_layer_metadata *metadata)
{
    const struct tarn_tables *boot = &check->image->bootstrap->tables;
    const struct tarn_tables *meta = &metadata->tables;
    const struct tarn_blob_record theirs = tarn_tables_blob(boot, blob);
    const struct tarn_blob_record own = tarn_tables_blob(meta, metadata->parameters.chain_index);
    if (theirs.data_length != metadata->parameters.data_length || theirs.row_count != own.row_count)
        return fail_blob(check, blob, "the bootstrap has another number of rows of it");
    for (uint32_t i = 0; i < own.row_count; i++) {
        const uint32_t a = theirs.first_row + i;
        const uint32_t b = own.first_row + i;
        if (tarn_tables_address(boot, a) != tarn_tables_address(meta, b) ||
            !same_digest(boot, a, meta, b) || !same_location(boot, a, meta, b))
            return fail_row(check, blob, a, "the bootstrap's row is not the layer metadata's");
    }
    return 0;
}

// What the bootstrap has of a foreign blob is part of what its own metadata says.
static int check_foreign_rows(const struct tarn_check *check, uint32_t blob,
                              const struct tarn_layer_metadata *metadata)
{
    const struct tarn_tables *boot = &check->image->bootstrap->tables;
    const struct tarn_tables *meta = &metadata->tables;
    const struct tarn_blob_record theirs = tarn_tables_blob(boot, blob);
    const struct tarn_blob_record own = tarn_tables_blob(meta, metadata->parameters.chain_index);
    if (theirs.data_length != metadata->parameters.data_length)
        return fail_blob(check, blob, "the bootstrap has another length of its data space");
    for (uint32_t i = 0; i + 1 < theirs.row_count; i++) {
        const uint32_t a = theirs.first_row + i;
        if (tarn_tables_location(boot, a).kind == TARN_LOCATION_GAP)
            continue;
        const uint64_t address = tarn_tables_address(boot, a);
        const uint32_t b = tarn_tables_find(meta, &own, address);
        if (b == TARN_NONE || tarn_tables_address(meta, b) != address ||
            tarn_tables_length(meta, b) != tarn_tables_length(boot, a) ||
            !same_digest(boot, a, meta, b) || !same_location(boot, a, meta, b))
            return fail_row(check, blob, a, "the bootstrap's row is not the layer metadata's");
    }
    return 0;
}

// The records of the blobs below must be the chain's.
static int check_lower(const struct tarn_check *check, uint32_t blob,
                       const struct tarn_layer_metadata *metadata)
{
    if (metadata->parameters.chain_index != blob)
        return fail_blob(check, blob, "it was made for another place in the chain");
    for (uint32_t i = 0; i < blob; i++) {
        const struct tarn_blob_record a = tarn_tables_blob(&check->image->bootstrap->tables, i);
        const struct tarn_blob_record b = tarn_tables_blob(&metadata->tables, i);
        if (!tarn_digest_equal(&a.digest, &b.digest) || a.size != b.size ||
            a.data_length != b.data_length || a.metadata_offset != b.metadata_offset ||
            a.metadata_length != b.metadata_length ||
            !tarn_digest_equal(&a.metadata_digest, &b.metadata_digest))
            return fail_blob(check, blob, "it was made for other layers below");
    }
    return 0;
}

int tarn_check_blob(const struct tarn_check *check, uint32_t blob,
                    struct tarn_layer_metadata *metadata)
{
    int ret = check_footer(check, blob);
    if (ret < 0)
        return ret;
    ret = tarn_check_read_metadata(check, blob, metadata);
    if (ret < 0)
        return ret;
    const bool foreign = check->image->manifest->blobs[blob].foreign;
    if (!foreign)
        ret = check_lower(check, blob, metadata);
    if (ret == 0)
        ret = foreign ? check_foreign_rows(check, blob, metadata)
                      : check_own_rows(check, blob, metadata);
    return ret;
}

// --- all bytes -----------------------------------------------------------------------------------
struct whole {
    XXH3_state_t *chunks;
    uint64_t chunks_left;
    XXH3_state_t *metadata;
    uint64_t metadata_offset;
    uint64_t metadata_end;
    uint64_t position;
};

static int hash_whole(void *context, const void *bytes, size_t length)
{
    struct whole *whole = context;
    const size_t chunks = (size_t)tarn_min_u64(length, whole->chunks_left);
    XXH3_64bits_update(whole->chunks, bytes, chunks);
    whole->chunks_left -= chunks;
    const uint64_t start = tarn_max_u64(whole->position, whole->metadata_offset);
    const uint64_t end = tarn_min_u64(whole->position + length, whole->metadata_end);
    if (start < end)
        XXH3_64bits_update(whole->metadata, (const uint8_t *)bytes + (start - whole->position),
                           end - start);
    whole->position += length;
    return 0;
}

static int check_whole(const struct tarn_check *check, uint32_t i, struct whole *whole)
{
    const struct tarn_check_image *image = check->image;
    const struct tarn_manifest_blob *blob = &image->manifest->blobs[i];
    struct tarn_blob_footer footer;
    int ret = read_footer(check, i, &footer);
    if (ret < 0)
        return ret;
    whole->chunks_left = footer.chunks_length;
    whole->metadata_offset = footer.metadata_offset;
    whole->metadata_end = footer.metadata_offset + footer.metadata_length;
    whole->position = 0;
    XXH3_64bits_reset(whole->chunks);
    XXH3_64bits_reset(whole->metadata);
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = blob->digest,
        .size = blob->size,
        .length = UINT64_MAX,
        .context = whole,
        .data = hash_whole,
    };
    ret = tarn_blocking_read(image->blocking, image->repository, &read, check->err);
    if (ret < 0)
        return ret;
    if (XXH3_64bits_digest(whole->chunks) != footer.chunks_xxh3)
        return fail_blob(check, i, "the checksum of the chunks section is wrong");
    if (XXH3_64bits_digest(whole->metadata) != footer.metadata_xxh3)
        return fail_blob(check, i, "the checksum of the layer metadata is wrong");
    check->totals->blob_bytes += blob->size;
    return 0;
}

int tarn_check_whole_blobs(const struct tarn_check *check)
{
    struct whole whole = { .chunks = XXH3_createState(), .metadata = XXH3_createState() };
    int ret = whole.chunks && whole.metadata ? 0 : tarn_fail(check->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < check->image->manifest->blob_count && ret == 0; i++)
        ret = check_whole(check, i, &whole);
    XXH3_freeState(whole.chunks);
    XXH3_freeState(whole.metadata);
    return ret;
}
