// SPDX-License-Identifier: Apache-2.0
// Where the file contents of one layer wait between the two stages of its conversion: an unnamed
// temporary file, so that a crash leaves nothing behind. Written by one thread, then read by one.
#ifndef TARN_CONVERTER_SPOOL_H
#define TARN_CONVERTER_SPOOL_H

#include "base/err.h"
#include "format/tree.h"

// Bytes of a file that lie one behind the other, in the file and in the spool.
struct tarn_spool_piece {
    uint64_t logical; // offset in the file
    uint64_t offset;  // in the spool
    uint64_t length;
};

// Where a content's bytes are; what no piece covers is zeros.
struct tarn_spooled {
    struct tarn_content *content; // borrowed from the layer's tree
    uint32_t piece_count;
    struct tarn_spool_piece *pieces; // ascending; in the tree's arena
};

struct tarn_spool;

// keep false: contents are only measured, for a tree digest; nothing is written.
struct tarn_spool *tarn_spool_new(bool keep, struct tarn_err *err); // NULL on failure
void tarn_spool_free(struct tarn_spool *spool);
TARN_DEFINE_CLEANUP(struct tarn_spool, tarn_spool_free)

// -ENOSPC, naming the directory and the room, when it cannot hold so many bytes.
int tarn_spool_check_room(uint64_t bytes, struct tarn_err *err) tarn_must_check;

// One file's content: start, write pieces with ascending offsets, then finish, which yields the
// content (made in tree, or found there) and keeps the bytes only if they are new and wanted.
int tarn_spool_start(struct tarn_spool *spool, uint64_t size, struct tarn_err *err) tarn_must_check;
int tarn_spool_write(struct tarn_spool *spool, uint64_t logical, const void *data, size_t length,
                     struct tarn_err *err) tarn_must_check;
// known: says of a content whether its bytes are not needed (a lower layer has them). NULL: none.
struct tarn_spool_finish {
    struct tarn_tree *tree;
    bool (*known)(void *context, const struct tarn_content *content);
    void *context;
};
int tarn_spool_finish(struct tarn_spool *spool, const struct tarn_spool_finish *finish,
                      struct tarn_content **content, struct tarn_err *err) tarn_must_check;

// All contents whose bytes were kept, in the order of finish.
struct tarn_spooled *tarn_spool_contents(struct tarn_spool *spool, size_t *count);

// Reads length bytes of the file at its offset logical; zeros where nothing was written. 0 or -errno.
int tarn_spool_read(const struct tarn_spool *spool, const struct tarn_spooled *spooled,
                    uint64_t logical, void *data, size_t length) tarn_must_check;

#endif
