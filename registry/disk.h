// SPDX-License-Identifier: Apache-2.0
// What repositories on disk have in common: the callbacks of repository.h over functions that block,
// which run on libuv's threads, so that the loop never waits for a disk.
#ifndef TARN_REGISTRY_DISK_H
#define TARN_REGISTRY_DISK_H

#include "base/buf.h"
#include "registry/blob_file.h"
#include "registry/layout_index.h"
#include "registry/repository_internal.h"

struct tarn_disk;

// A blob's place: size bytes at offset of fd.
struct tarn_disk_place {
    int fd; // owned by whom it is given to
    uint64_t offset;
    uint64_t size;
};

// All but close() run on libuv's threads, several at once. Their errors name the repository.
struct tarn_disk_operations {
    // -ENOENT.
    int (*find)(struct tarn_disk *disk, const struct tarn_digest *digest,
                struct tarn_disk_place *place, struct tarn_err *err);
    // Appends index.json.
    int (*read_index)(struct tarn_disk *disk, struct tarn_buf *buf, struct tarn_err *err);
    // A file to become a blob.
    int (*create)(struct tarn_disk *disk, struct tarn_blob_file *file, struct tarn_err *err);
    // Ends the file in any case.
    int (*commit)(struct tarn_disk *disk, struct tarn_blob_file *file,
                  const struct tarn_blob_id *blob, struct tarn_err *err);
    int (*publish)(struct tarn_disk *disk, const struct tarn_layout_change *change,
                   struct tarn_err *err);
    // Frees it all. On the loop's thread, when nothing is under way any more.
    void (*close)(struct tarn_disk *disk);
};

// The first member of each kind's own struct.
struct tarn_disk {
    struct tarn_repository repository;
    const struct tarn_disk_operations *operations;
    unsigned references; // the owner and all that is under way; the loop's thread only
};

// Sets all members; the owner holds the one reference. Takes name over.
void tarn_disk_init(struct tarn_disk *disk, const struct tarn_disk_operations *operations,
                    uv_loop_t *loop, char *name);

void tarn_disk_ref(struct tarn_disk *disk);
void tarn_disk_unref(struct tarn_disk *disk);

// Appends a manifest or index, checked against its digest. Blocks.
int tarn_disk_read_document(struct tarn_disk *disk, const struct tarn_digest *digest,
                            struct tarn_buf *buf, struct tarn_err *err) tarn_must_check;

// Documents out of disk, as layout_index.h wants them.
struct tarn_document_source tarn_disk_source(struct tarn_disk *disk);

// Checks that what the change names is there with its size. -ENOENT. Blocks.
int tarn_disk_check_change(struct tarn_disk *disk, const struct tarn_layout_change *change,
                           struct tarn_err *err) tarn_must_check;

// The table's rows for reading (disk_read.c) and uploads (disk_write.c).
int tarn_disk_read(struct tarn_repository *repository, const struct tarn_read *read,
                   struct tarn_transfer **transfer, struct tarn_err *err) tarn_must_check;
void tarn_disk_cancel(struct tarn_transfer *base);
size_t tarn_disk_max_ranges(const struct tarn_repository *repository);
int tarn_disk_upload(struct tarn_repository *repository, struct tarn_upload **upload,
                     struct tarn_err *err) tarn_must_check;
void tarn_disk_write(struct tarn_upload *base, const void *bytes, size_t length, tarn_done *done,
                     void *context);
void tarn_disk_commit(struct tarn_upload *base, const struct tarn_blob_id *blob, tarn_done *done,
                      void *context);
void tarn_disk_abort(struct tarn_upload *base);

#endif
