// SPDX-License-Identifier: Apache-2.0
// What a kind of repository implements: one table of operations, with the contracts of repository.h.
#ifndef TARN_REGISTRY_REPOSITORY_INTERNAL_H
#define TARN_REGISTRY_REPOSITORY_INTERNAL_H

#include "registry/repository.h"

struct tarn_repository_operations {
    // TARN_READ_TAG gives a made-up index of what a layout lists under the tag.
    bool lists_tags;
    bool checks_blobs; // has_blob tells of blobs whose bytes were checked
    // Gives the owner's hold up; work under way may keep the memory until it has ended.
    void (*close)(struct tarn_repository *repository);
    int (*read)(struct tarn_repository *repository, const struct tarn_read *read,
                struct tarn_transfer **transfer, struct tarn_err *err);
    void (*cancel)(struct tarn_transfer *transfer);
    size_t (*max_ranges)(const struct tarn_repository *repository); // NULL: always 1
    int (*has_blob)(struct tarn_repository *repository, const struct tarn_blob_id *blob,
                    tarn_done *done, void *context, struct tarn_err *err);
    // NULL: not from anywhere.
    int (*mount_blob)(struct tarn_repository *repository, const struct tarn_blob_source *from,
                      tarn_done *done, void *context, struct tarn_err *err);
    int (*upload)(struct tarn_repository *repository, struct tarn_upload **upload,
                  struct tarn_err *err);
    void (*write)(struct tarn_upload *upload, const void *bytes, size_t length, tarn_done *done,
                  void *context);
    void (*commit)(struct tarn_upload *upload, const struct tarn_blob_id *blob, tarn_done *done,
                   void *context);
    void (*abort)(struct tarn_upload *upload);
    int (*put_manifest)(struct tarn_repository *repository,
                        const struct tarn_manifest_bytes *manifest, tarn_done *done, void *context,
                        struct tarn_err *err);
    int (*publish)(struct tarn_repository *repository, const struct tarn_publication *publication,
                   tarn_done *done, void *context, struct tarn_err *err);
};

// The first member of each kind's own struct.
struct tarn_repository {
    const struct tarn_repository_operations *operations;
    uv_loop_t *loop; // borrowed
    char *name;      // owned by the kind
};

struct tarn_transfer {
    struct tarn_repository *repository;
};

// The ranges that read asks for, one at least, in fresh memory; NULL when out of memory.
struct tarn_read_range *tarn_read_ranges(const struct tarn_read *read);

struct tarn_upload {
    struct tarn_repository *repository;
    bool vouched; // the caller answers for the digest
};

#endif
