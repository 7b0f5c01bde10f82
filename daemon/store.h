// SPDX-License-Identifier: Apache-2.0
// The node's store: <root>/blobs/<name>/ (data_file.h), <root>/bootstraps/<hex>. What is there was
// put there by anyone: it is checked before use. Any thread.
#ifndef TARN_DAEMON_STORE_H
#define TARN_DAEMON_STORE_H

#include "base/buf.h"
#include "daemon/chunk_index.h"

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

// A bootstrap in memory, mapped privately, from the store if it is there. Released by tarn_store_unmap().
struct tarn_store_bytes {
    const uint8_t *data;
    size_t length;
};
// -ENOENT if it is not there, or is there with a wrong digest (it is removed then). Blocks.
int tarn_store_load_bootstrap(struct tarn_store *store, const struct tarn_digest *digest,
                              struct tarn_store_bytes *bytes, struct tarn_err *err) tarn_must_check;
// Saves and loads it. The caller has checked that the bytes have this digest. On a full disk they are in
// memory only. Blocks.
int tarn_store_save_bootstrap(struct tarn_store *store, const struct tarn_digest *digest,
                              const struct tarn_buf *bootstrap, struct tarn_store_bytes *bytes,
                              struct tarn_err *err) tarn_must_check;
void tarn_store_unmap(struct tarn_store_bytes *bytes);

#endif
