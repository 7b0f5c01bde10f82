// SPDX-License-Identifier: Apache-2.0
#include "daemon/read_ahead.h"

// Stretches the span over what is missing up to rows that are there or come, if these are near.
static void close_gaps(const struct tarn_fetch *fetch, struct tarn_node_image *image,
                       uint32_t index, struct tarn_span *span)
{
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, index);
    const uint64_t high = tarn_min_u64(span->high, blob.data_length);
    const uint64_t most =
        high - tarn_min_u64(high, span->to) <= span->slack ? high : span->to + span->slack;
    struct tarn_row_range rows = tarn_tables_rows(tables, &blob, span->to, most);
    for (uint32_t row = rows.first; row < rows.end; row++)
        if (tarn_tables_address(tables, row) >= span->to &&
            tarn_fetch_knows(fetch, image, index, row)) {
            span->to = tarn_tables_address(tables, row);
            break;
        }
    if (most == high && span->high != UINT64_MAX)
        span->to = tarn_max_u64(span->to, high);
    const uint64_t least =
        span->from - span->low <= span->slack ? span->low : span->from - span->slack;
    rows = tarn_tables_rows(tables, &blob, least, span->from + 1);
    for (uint32_t row = rows.end; row-- > rows.first + 1;)
        if (tarn_fetch_knows(fetch, image, index, row - 1)) {
            span->from = tarn_tables_address(tables, row);
            return;
        }
    if (span->from - span->low <= span->slack && span->low > 0)
        span->from = span->low;
}

// Whether nothing near the miss, inside its file, is there or comes.
static bool lonely(const struct tarn_fetch *fetch, struct tarn_node_image *image,
                   const struct tarn_miss *miss)
{
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, miss->blob);
    const uint64_t from = miss->address - tarn_min_u64(miss->address - miss->file, TARN_AHEAD_NEAR);
    const uint64_t to = tarn_min_u64(miss->address + miss->length + TARN_AHEAD_NEAR,
                                     tarn_min_u64(miss->file + miss->size, blob.data_length));
    const struct tarn_row_range rows = tarn_tables_rows(tables, &blob, from, to);
    for (uint32_t row = rows.first; row < rows.end; row++)
        if (tarn_fetch_knows(fetch, image, miss->blob, row))
            return false;
    return true;
}

struct tarn_span tarn_read_ahead_plan(const struct tarn_fetch *fetch,
                                      const struct tarn_read_source *source,
                                      const struct tarn_read_piece *piece, uint64_t offset)
{
    struct tarn_node_image *image = source->slot->image;
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, piece->blob);
    const struct tarn_row_range rows =
        tarn_tables_rows(tables, &blob, piece->address, piece->address + piece->length);
    bool news = false;
    for (uint32_t row = rows.first; row < rows.end; row++)
        news |= !tarn_fetch_knows(fetch, image, piece->blob, row);
    if (!news || tarn_data_file_unwritable(piece->file))
        return (struct tarn_span){ 0 };
    struct tarn_miss miss = {
        .blob = piece->blob,
        .address = piece->address,
        .length = piece->length,
        .file = piece->address - tarn_min_u64(offset, piece->address),
        .size = tarn_read_source_size(source),
    };
    miss.lonely = lonely(fetch, image, &miss);
    struct tarn_span span = tarn_ahead_note(&image->ahead, &miss);
    if (span.slack > 0)
        close_gaps(fetch, image, piece->blob, &span);
    return span;
}

static void want_rows(struct tarn_fetch *fetch, const struct tarn_read_source *source,
                      uint32_t index, uint64_t from, uint64_t to)
{
    struct tarn_node_image *image = source->slot->image;
    const struct tarn_tables *tables = &image->bootstrap.tables;
    const struct tarn_blob_record blob = tarn_tables_blob(tables, index);
    const struct tarn_row_range rows = tarn_tables_rows(tables, &blob, from, to);
    for (uint32_t row = rows.first; row < rows.end; row++) {
        const struct tarn_fetch_target target = { image, source->slot->share, index, row, true };
        if (!tarn_fetch_knows(fetch, image, index, row))
            (void)tarn_fetch_want(fetch, &target, NULL);
    }
}

void tarn_read_ahead_want(struct tarn_fetch *fetch, const struct tarn_read_source *source,
                          uint32_t index, const struct tarn_span *span)
{
    if (tarn_data_file_unwritable(source->slot->image->files[index]))
        return;
    want_rows(fetch, source, index, span->from, span->to);
    want_rows(fetch, source, index, tarn_max_u64(span->to, span->high - span->tail), span->high);
}
