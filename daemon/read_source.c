// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "daemon/read_source.h"

uint64_t tarn_read_source_size(const struct tarn_read_source *source)
{
    return source->inode ? source->inode->size
                         : source->slot->image->files[source->blob]->rows.data_length;
}

int tarn_read_source_map(const struct tarn_read_source *source, uint64_t offset, uint64_t end,
                         struct tarn_read_piece *piece)
{
    const struct tarn_node_image *image = source->slot->image;
    const struct tarn_bootstrap *bootstrap = &image->bootstrap;
    *piece =
        (struct tarn_read_piece){ .blob = source->blob, .address = offset, .length = end - offset };
    if (source->inode) {
        struct tarn_erofs_extent extent;
        const int ret = tarn_erofs_map(&bootstrap->erofs, source->inode, offset, &extent);
        if (ret < 0)
            return ret;
        if (extent.slot > bootstrap->slot_count || extent.length == 0)
            return -EUCLEAN;
        piece->length = tarn_min_u64(extent.length, end - offset);
        piece->hole = extent.slot == 0;
        if (piece->hole)
            return 0;
        piece->blob = bootstrap->slot_blobs[extent.slot];
        piece->address = extent.address;
    }
    piece->file = image->files[piece->blob];
    return tarn_range_ok(piece->address, piece->length, piece->file->rows.data_length) ? 0
                                                                                       : -EUCLEAN;
}

uint32_t tarn_read_piece_distrusts(const struct tarn_read_piece *piece)
{
    return piece->hole ? 0 : atomic_load(&piece->file->distrusts);
}

int tarn_read_source_fill(const struct tarn_read_source *source, uint64_t from, uint64_t to,
                          uint8_t *out, uint32_t *distrusts)
{
    while (from < to) {
        struct tarn_read_piece piece;
        int ret = tarn_read_source_map(source, from, to, &piece);
        if (ret == 0 && piece.hole)
            memset(out, 0, (size_t)piece.length);
        else if (ret == 0)
            ret = tarn_data_file_read(piece.file, piece.address, out, (size_t)piece.length);
        if (ret < 0)
            return ret;
        if (distrusts)
            *distrusts += tarn_read_piece_distrusts(&piece);
        out += piece.length;
        from += piece.length;
    }
    return 0;
}
