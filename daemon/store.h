// SPDX-License-Identifier: Apache-2.0
// The node's store: <root>/blobs/<name>/ (data_file.h), <root>/bootstraps/<hex>. What is there was
// put there by anyone: it is checked before use. Any thread.
#ifndef TARN_DAEMON_STORE_H
#define TARN_DAEMON_STORE_H

#include "daemon/chunk_index.h"
#include "format/bootstrap_layer.h"

struct tarn_store;

// Opens or makes the store below root and indexes what it holds. Blocks.
int tarn_store_open(const char *root, struct tarn_store **store,
                    struct tarn_err *err) tarn_must_check;
void tarn_store_free(struct tarn_store *store);
TARN_DEFINE_CLEANUP(struct tarn_store, tarn_store_free)

// The data file for a blob's rows: the one that is there, or a new one. It lives as long as the
// store (borrowed). Blocks.
int tarn_store_attach(struct tarn_store *store, const struct tarn_rows *rows,
                      struct tarn_data_file **file, struct tarn_err *err) tarn_must_check;

// A data file by its number, from 0; NULL behind the last one. Numbers are never used again.
struct tarn_data_file *tarn_store_file(struct tarn_store *store, uint32_t number);

// As tarn_chunk_index_find().
bool tarn_store_find(struct tarn_store *store, const struct tarn_digest *digest, size_t length,
                     const struct tarn_data_file *except, struct tarn_chunk_place *place);

// A bootstrap, mapped from a file of its own that has no name any more, so that nobody can cut or change
// it; a disk that cannot read it makes zeros of it (bus_guard.h). In memory where no file can be made.
// Released by tarn_store_unmap().
struct tarn_store_bytes {
    const uint8_t *data;
    size_t length;
    struct tarn_bus_range *range;   // NULL: in memory
    struct tarn_store_check *check; // private; NULL: has been compared with its digest
    int file;                       // private; 0: none, or it is on the disk
    void *map;
    size_t map_length;
};
// What these two give may be read, but not believed before tarn_store_confirm(): its digest is worked out
// meanwhile, on a thread of its own.
// -ENOENT if it is not there or cannot be read (it is removed then). Blocks.
int tarn_store_load_bootstrap(struct tarn_store *store, const struct tarn_digest *digest,
                              struct tarn_store_bytes *bytes, struct tarn_err *err) tarn_must_check;
// Unpacks a bootstrap layer and maps what it holds. Errors are those of tarn_bootstrap_layer_read(). Blocks.
int tarn_store_unpack_bootstrap(struct tarn_store *store, const struct tarn_buf *layer,
                                const struct tarn_digest *digest, struct tarn_store_bytes *bytes,
                                struct tarn_err *err) tarn_must_check;
// Waits for the digest. Wrong: -EIO, or -ENOENT for what the store had, which is removed. What was unpacked
// is saved for later mounts. Blocks.
int tarn_store_confirm(struct tarn_store_bytes *bytes, struct tarn_err *err) tarn_must_check;
// Waits until the disk has all of the copy; if it does not take it, the range is damaged: the kernel drops
// what it cannot write, and reads zeros instead. At most once. Any thread.
void tarn_store_settle(struct tarn_store_bytes *bytes);
void tarn_store_unmap(struct tarn_store_bytes *bytes);

#endif
