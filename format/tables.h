// SPDX-License-Identifier: Apache-2.0
// Chunk tables (section 7): for each blob where its chunks lie and what their digests are. One form
// for layer metadata and bootstrap; a view over bytes, usable straight from mmap.
#ifndef TARN_FORMAT_TABLES_H
#define TARN_FORMAT_TABLES_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "format/limits.h"

enum { TARN_BLOB_RECORD_SIZE = 128 };
enum tarn_blob_role { TARN_BLOB_CHAIN = 0, TARN_BLOB_FOREIGN = 1 };

struct tarn_blob_record {
    struct tarn_digest digest;
    uint64_t size;
    uint64_t data_length;
    uint64_t metadata_offset;
    uint64_t metadata_length;
    struct tarn_digest metadata_digest;
    uint32_t first_row;
    uint32_t row_count; // gap rows included
    uint32_t slot;      // 0: none
    enum tarn_blob_role role;
};

// A location, unpacked.
enum tarn_location_kind { TARN_LOCATION_STORED, TARN_LOCATION_REFERENCE, TARN_LOCATION_GAP };
struct tarn_location {
    enum tarn_location_kind kind;
    bool raw;               // stored
    bool run_start;         // stored
    uint32_t stored_length; // stored: 1 to TARN_CHUNK_MAX
    uint64_t offset;        // stored: in the blob
    uint32_t blob;          // reference: blob index
    uint64_t address;       // reference: in that blob's data space
};
struct tarn_location tarn_location_unpack(uint64_t packed);
uint64_t tarn_location_pack(const struct tarn_location *location);

// Views of the three arrays and the records; borrowed bytes, little-endian.
struct tarn_tables {
    uint32_t blob_count;
    uint32_t row_count;
    const uint8_t *blobs;     // blob_count x 128
    const uint8_t *addresses; // row_count x 8
    const uint8_t *locations; // row_count x 8
    const uint8_t *digests;   // row_count x 32
};

struct tarn_blob_record tarn_tables_blob(const struct tarn_tables *tables, uint32_t blob);

static inline uint64_t tarn_tables_address(const struct tarn_tables *tables, uint32_t row)
{
    return tarn_get_le64(tables->addresses + (size_t)row * 8);
}

static inline struct tarn_location tarn_tables_location(const struct tarn_tables *tables,
                                                        uint32_t row)
{
    return tarn_location_unpack(tarn_get_le64(tables->locations + (size_t)row * 8));
}

static inline void tarn_tables_digest(const struct tarn_tables *tables, uint32_t row,
                                      struct tarn_digest *digest)
{
    memcpy(digest->bytes, tables->digests + (size_t)row * TARN_DIGEST_SIZE, TARN_DIGEST_SIZE);
}

// The rows of a view are only as good as its bytes: a view that tarn_tables_verify() did not see is
// safe to use as long as rows stay below row_count.

// The row of this blob that holds the address, by binary search; TARN_NONE if none (or a gap) does.
uint32_t tarn_tables_find(const struct tarn_tables *tables, const struct tarn_blob_record *blob,
                          uint64_t address);
// The rows of this blob whose chunks hold [from, to) of its data space, in order, as far as they follow
// each other without a gap: none if no chunk holds from. A binary search, then linear in the rows.
struct tarn_row_range {
    uint32_t first;
    uint32_t end; // the row after the last; equals first if there is none
    bool whole;   // they hold all of [from, to)
};
struct tarn_row_range tarn_tables_rows(const struct tarn_tables *tables,
                                       const struct tarn_blob_record *blob, uint64_t from,
                                       uint64_t to);
// The first row of the run that the stored chunk belongs to; at most 32 steps in verified tables.
uint32_t tarn_tables_run_start(const struct tarn_tables *tables, uint32_t row);
// Length of the chunk in the data space. Not for the last row of a blob.
static inline uint64_t tarn_tables_length(const struct tarn_tables *tables, uint32_t row)
{
    return tarn_tables_address(tables, row + 1) - tarn_tables_address(tables, row);
}

// Checks every rule of section 7 that needs no data: order, bounds, lengths, contiguity of stored
// chunks, run starts, references (bounds, not to a reference, equal length and digest, backwards in
// the chain), gap rows, records; of foreign blobs that no row is there without need and that they
// stand in the order of their first reference. Of references into blobs without rows only the
// bounds are checked. Slots are the bootstrap's affair. -EUCLEAN, naming section, row and rule;
// -ENOTSUP for an unknown compression or encryption; -ENOMEM.
struct tarn_tables_rules {
    uint32_t chain; // blobs in the chain; in layer metadata own + 1
    uint32_t own; // layer metadata: index of the own blob; lower ones have no rows. Else TARN_NONE
    uint64_t chunks_length; // layer metadata: of the own blob's chunks section
};
int tarn_tables_verify(const struct tarn_tables *tables, const struct tarn_tables_rules *rules,
                       struct tarn_err *err) tarn_must_check;

// --- writing -------------------------------------------------------------------------------
// Grows the four arrays; a zeroed struct is empty. All return 0, -ENOMEM or -EOVERFLOW (2^32 rows).
// The caller sets first_row and row_count of records, and may add them after the rows.
struct tarn_tables_builder {
    struct tarn_buf blobs;
    struct tarn_buf addresses;
    struct tarn_buf locations;
    struct tarn_buf digests;
};
void tarn_tables_builder_release(struct tarn_tables_builder *builder);
uint32_t tarn_tables_builder_rows(const struct tarn_tables_builder *builder);
int tarn_tables_builder_add_blob(struct tarn_tables_builder *builder,
                                 const struct tarn_blob_record *record) tarn_must_check;
int tarn_tables_builder_add_row(struct tarn_tables_builder *builder, uint64_t address,
                                const struct tarn_location *location,
                                const struct tarn_digest *digest) tarn_must_check;
int tarn_tables_builder_add_gap(struct tarn_tables_builder *builder,
                                uint64_t address) tarn_must_check;
// Borrowed, until the next change.
struct tarn_tables tarn_tables_builder_view(const struct tarn_tables_builder *builder);

#endif
