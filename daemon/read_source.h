// SPDX-License-Identifier: Apache-2.0
// Where the bytes of a read lie: the ranges of the data spaces that a file of an image, or the file of
// a blob, consists of. Any thread; the caller holds a reference to the slot.
#ifndef TARN_DAEMON_READ_SOURCE_H
#define TARN_DAEMON_READ_SOURCE_H

#include "daemon/slots.h"

struct tarn_read_source {
    struct tarn_slot *slot;
    const struct tarn_erofs_inode *inode; // NULL: a blob's data space
    uint32_t blob;                        // with inode NULL
};
uint64_t tarn_read_source_size(const struct tarn_read_source *source);

// A piece of a read: a hole, or bytes of one data space.
struct tarn_read_piece {
    bool hole;
    uint32_t blob;
    struct tarn_data_file *file;
    uint64_t address;
    uint64_t length;
};
// How often its file was distrusted (data_file.h); 0 of a hole.
uint32_t tarn_read_piece_distrusts(const struct tarn_read_piece *piece);
// The piece at the offset, up to end at most; both lie inside the source. 0 or -EUCLEAN.
int tarn_read_source_map(const struct tarn_read_source *source, uint64_t offset, uint64_t end,
                         struct tarn_read_piece *piece) tarn_must_check;

// Reads [from, to) from data files whose chunks are verified. -EUCLEAN, or what tarn_data_file_read()
// gives. Waits for the disk. Adds to *distrusts (NULL: not asked for) those of the pieces, as they are then:
// the bytes count if the sum is what it was before the chunks were found verified.
int tarn_read_source_fill(const struct tarn_read_source *source, uint64_t from, uint64_t to,
                          uint8_t *out, uint32_t *distrusts) tarn_must_check;

#endif
