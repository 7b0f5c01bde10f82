// SPDX-License-Identifier: Apache-2.0
#include "daemon/node_image.h"

#include "base/log.h"
#include "format/verify.h"

// Nothing may be larger than the decoder has room for; tarn_tables_verify() proves the rest.
static int check_runs(const struct tarn_bootstrap *bootstrap, struct tarn_err *err)
{
    const struct tarn_tables *tables = &bootstrap->tables;
    for (uint32_t b = 0; b < tables->blob_count; b++) {
        const struct tarn_blob_record blob = tarn_tables_blob(tables, b);
        uint32_t run = 0;
        uint64_t length = 0;
        for (uint32_t i = 0; i + 1 < blob.row_count; i++) {
            const uint32_t row = blob.first_row + i;
            const struct tarn_location location = tarn_tables_location(tables, row);
            if (location.kind != TARN_LOCATION_STORED) {
                run = 0;
                continue;
            }
            if (location.run_start) {
                run = 0;
                length = 0;
            } else if (run == 0) {
                return tarn_fail(err, -EUCLEAN, "chunk locations: row %u: a run without its start",
                                 row);
            }
            run++;
            length += tarn_tables_length(tables, row);
            if (run > TARN_RUN_ROWS_MAX || length > TARN_RUN_LENGTH + TARN_CHUNK_MAX)
                return tarn_fail(err, -EUCLEAN, "chunk locations: row %u: a run is too long", row);
        }
    }
    return 0;
}

static int check_manifest(const struct tarn_bootstrap *bootstrap,
                          const struct tarn_manifest *manifest, struct tarn_err *err)
{
    const struct tarn_tables *tables = &bootstrap->tables;
    if (manifest->blob_count != tables->blob_count ||
        manifest->chain_count != bootstrap->chain_count)
        return tarn_fail(err, -EUCLEAN, "the manifest has %u blobs, the bootstrap %u",
                         manifest->blob_count, tables->blob_count);
    for (uint32_t b = 0; b < tables->blob_count; b++) {
        const struct tarn_blob_record blob = tarn_tables_blob(tables, b);
        if (!tarn_digest_equal(&blob.digest, &manifest->blobs[b].digest) ||
            blob.size != manifest->blobs[b].size)
            return tarn_fail(err, -EUCLEAN,
                             "blob %u of the bootstrap is not the one of the manifest", b);
    }
    if (!tarn_digest_equal(&bootstrap->tree_digest, &manifest->tree_digest))
        return tarn_fail(err, -EUCLEAN, "the bootstrap's tree digest is not the manifest's");
    return 0;
}

static int attach_files(struct tarn_node_image *image, struct tarn_store *store,
                        struct tarn_err *err)
{
    const struct tarn_tables *tables = &image->bootstrap.tables;
    image->files = calloc(tables->blob_count ? tables->blob_count : 1, sizeof *image->files);
    image->gathers = calloc(tables->blob_count ? tables->blob_count : 1, sizeof *image->gathers);
    if (!image->files || !image->gathers)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t b = 0; b < tables->blob_count; b++) {
        const struct tarn_blob_record record = tarn_tables_blob(tables, b);
        const struct tarn_rows rows = tarn_rows_of(tables, &record);
        const int ret = tarn_store_attach(store, &rows, &image->files[b], err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static void free_image(struct tarn_node_image *image)
{
    if (image->files)
        for (uint32_t b = 0; b < image->bootstrap.tables.blob_count; b++)
            if (image->files[b])
                atomic_fetch_sub(&image->files[b]->users, 1);
    free(image->files);
    free(image->gathers);
    tarn_nid_set_release(&image->libraries);
    free(image->records);
    tarn_bootstrap_release(&image->bootstrap);
    tarn_store_unmap(&image->bytes);
    tarn_access_release(&image->access);
    free(image->name);
    free(image);
}

static int copy_records(struct tarn_node_image *image, struct tarn_err *err)
{
    struct tarn_tables *tables = &image->bootstrap.tables;
    const size_t length = (size_t)tables->blob_count * TARN_BLOB_RECORD_SIZE;
    image->records = malloc(length ? length : 1);
    if (!image->records)
        return tarn_fail(err, -ENOMEM, "out of memory");
    if (length)
        memcpy(image->records, tables->blobs, length);
    tables->blobs = image->records;
    return 0;
}

// The bootstrap was right before it was opened.
static int check_damage(const struct tarn_node_image *image, struct tarn_err *err)
{
    char hex[TARN_DIGEST_HEX + 1];
    if (!tarn_bus_range_damaged(image->bytes.range))
        return 0;
    return tarn_fail(err, -EIO, "store: bootstraps/%s cannot be read; is the disk damaged?",
                     tarn_digest_format_hex(&image->digest, hex));
}

int tarn_node_image_open(struct tarn_store *store, struct tarn_node_image_source *source,
                         struct tarn_node_image **image, struct tarn_err *err)
{
    struct tarn_node_image *opened = calloc(1, sizeof *opened);
    if (!opened) {
        tarn_store_unmap(&source->bytes);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    opened->references = 1;
    opened->timeout = source->access->timeout ? source->access->timeout : TARN_ACCESS_TIMEOUT;
    opened->bytes = source->bytes;
    source->bytes = (struct tarn_store_bytes){ 0 };
    opened->digest = source->manifest->bootstrap_digest;
    opened->name = strdup(source->name);
    int ret = opened->name ? 0 : -ENOMEM;
    if (ret == 0)
        ret = tarn_access_copy(source->access, &opened->access);
    if (ret < 0)
        tarn_fail(err, ret, "out of memory");
    if (ret == 0)
        ret =
            tarn_bootstrap_open(opened->bytes.data, opened->bytes.length, &opened->bootstrap, err);
    if (ret == 0)
        ret = copy_records(opened, err);
    if (ret == 0)
        ret = check_runs(&opened->bootstrap, err);
    if (ret == 0)
        ret = check_manifest(&opened->bootstrap, source->manifest, err);
    if (ret == 0)
        ret = tarn_verify_tree(&opened->bootstrap, err);
    if (ret < 0)
        ret = tarn_wrap(err, ret, "bootstrap");
    // Of other bytes than the manifest's nothing else is said.
    struct tarn_err wrong;
    const int confirmed = tarn_store_confirm(&opened->bytes, &wrong);
    if (confirmed < 0) {
        *err = wrong;
        ret = confirmed;
    }
    source->dropped = confirmed == -ENOENT;
    if (ret == 0)
        ret = attach_files(opened, store, err);
    const int damage = check_damage(opened, err);
    ret = damage < 0 ? damage : ret;
    if (ret < 0) {
        free_image(opened);
        return ret;
    }
    opened->repository = tarn_steal(source->repository);
    *image = opened;
    return 0;
}

void tarn_node_image_ref(struct tarn_node_image *image)
{
    image->references++;
}

void tarn_node_image_unref(struct tarn_node_image *image)
{
    if (!image || --image->references > 0)
        return;
    tarn_repository_close(image->repository);
    free_image(image);
}

bool tarn_node_image_damaged(struct tarn_node_image *image)
{
    char hex[TARN_DIGEST_HEX + 1];
    if (!tarn_bus_range_damaged(image->bytes.range))
        return false;
    if (!atomic_exchange(&image->told, true))
        tarn_log(
            TARN_LOG_ERROR,
            "%s: the disk cannot keep or read the copy of bootstraps/%s that is in use; who reads "
            "its mounts gets EIO; unmount it, see to the disk, and mount it again",
            image->name, tarn_digest_format_hex(&image->digest, hex));
    return true;
}

void tarn_node_image_settle(struct tarn_node_image *image)
{
    tarn_store_settle(&image->bytes);
}

struct tarn_row_chunk tarn_node_image_chunk(const struct tarn_node_image *image, uint32_t blob,
                                            uint32_t row)
{
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record record = tarn_tables_blob(tables, blob);
    const struct tarn_rows rows = tarn_rows_of(tables, &record);
    return tarn_rows_chunk(&rows, row - record.first_row);
}

struct tarn_run_rows tarn_node_image_run(const struct tarn_node_image *image, uint32_t blob,
                                         uint32_t row)
{
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_location location = tarn_tables_location(tables, row);
    if (location.kind != TARN_LOCATION_STORED)
        return (struct tarn_run_rows){ row, 1 };
    const struct tarn_blob_record record = tarn_tables_blob(tables, blob);
    const uint32_t first = tarn_tables_run_start(tables, row);
    const uint32_t last = record.first_row + record.row_count - 1;
    uint32_t end = row + 1;
    while (end < last && end - first <= TARN_RUN_ROWS_MAX) {
        const struct tarn_location next = tarn_tables_location(tables, end);
        if (next.kind != TARN_LOCATION_STORED || next.run_start)
            break;
        end++;
    }
    if (first < record.first_row || end - first > TARN_RUN_ROWS_MAX)
        return (struct tarn_run_rows){ row, 0 };
    return (struct tarn_run_rows){ first, end - first };
}
