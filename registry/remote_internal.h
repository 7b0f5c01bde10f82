// SPDX-License-Identifier: Apache-2.0
// What the parts of a registry's repository share: remote.c (opening, single requests), remote_read.c,
// remote_blob.c, remote_upload.c, remote_publish.c. All on the loop's thread.
#ifndef TARN_REGISTRY_REMOTE_INTERNAL_H
#define TARN_REGISTRY_REMOTE_INTERNAL_H

#include "base/buf.h"
#include "base/bytes.h"
#include "registry/call.h"
#include "registry/repository_internal.h"

struct tarn_remote {
    struct tarn_repository repository;
    struct tarn_endpoint *endpoint;
    bool push;           // a destination: requests ask for both rights, so that one token serves
    unsigned references; // the owner and detached requests
    // The registry took a manifest with a subject and did not say that it keeps referrers.
    bool no_referrers;
    // The Tarn manifests under a tag, an array, as TARN_READ_LAYERS found them; NULL: not asked yet.
    json_t *listed;
    char *listed_tag;
};

void tarn_remote_unref(struct tarn_remote *remote);

static inline struct tarn_scope tarn_remote_scope(const struct tarn_remote *remote)
{
    return (struct tarn_scope){ .push = remote->push };
}

// "Accept: " and the four types of manifests and indexes.
extern const char tarn_remote_accept[];

// "tarn-layer-<32 hex>" for a layer's key, "sha256-<64 hex>" for the referrers of a manifest.
enum { TARN_REMOTE_TAG = 80 };
void tarn_remote_layer_tag(const struct tarn_digest *key, char tag[TARN_REMOTE_TAG]);
void tarn_remote_referrers_tag(const struct tarn_digest *subject, char tag[TARN_REMOTE_TAG]);

// What reads begin with.
struct tarn_remote_transfer {
    struct tarn_transfer transfer;
    // As tarn_transfer_cancel(), of this kind of read; frees it.
    void (*cancel)(struct tarn_remote_transfer *base);
};

// remote_read.c
int tarn_remote_read(struct tarn_repository *repository, const struct tarn_read *read,
                     struct tarn_transfer **transfer, struct tarn_err *err) tarn_must_check;
void tarn_remote_cancel(struct tarn_transfer *transfer);

// remote_blob.c: TARN_READ_BLOB.
int tarn_remote_read_blob(struct tarn_repository *repository, const struct tarn_read *read,
                          struct tarn_transfer **transfer, struct tarn_err *err) tarn_must_check;
size_t tarn_remote_max_ranges(const struct tarn_repository *repository);

// A whole document into buf, checked against digest, if not NULL. name: a tag or a digest's text. buf and
// name live until done(), which gets -ENOENT where there is none. For the parts that work step by step.
struct tarn_document_read {
    const char *path;                 // copied; behind the repository's name
    const char *url;                  // or instead of it a whole URL; copied
    const char *what;                 // for errors; copied
    const struct tarn_digest *digest; // copied
    struct tarn_buf *buf;
    char **
        next; // NULL, or gets the URL of the list's next page, fresh, NULL at its end; lives as buf
    tarn_done *done;
    void *context;
};
struct tarn_document;
int tarn_document_start(struct tarn_remote *remote, const struct tarn_document_read *read,
                        struct tarn_document **document, struct tarn_err *err) tarn_must_check;
void tarn_document_cancel(struct tarn_document *document);

// remote.c: tells the registry to drop an upload, without waiting for it.
void tarn_remote_forget_upload(struct tarn_remote *remote, const char *location);

// remote.c: puts a manifest under a tag or digest. Everything is copied. done() gets 0 when it is there.
struct tarn_manifest_put {
    const char *name; // a tag or a digest's text
    const struct tarn_manifest_bytes *manifest;
    tarn_done *done;
    void *context;
};
int tarn_remote_put(struct tarn_remote *remote, const struct tarn_manifest_put *put,
                    struct tarn_err *err) tarn_must_check;

// remote_upload.c
int tarn_remote_upload(struct tarn_repository *repository, struct tarn_upload **upload,
                       struct tarn_err *err) tarn_must_check;
void tarn_remote_write(struct tarn_upload *base, const void *bytes, size_t length, tarn_done *done,
                       void *context);
void tarn_remote_commit(struct tarn_upload *base, const struct tarn_blob_id *blob, tarn_done *done,
                        void *context);
void tarn_remote_abort(struct tarn_upload *base);

// remote_publish.c
int tarn_remote_publish(struct tarn_repository *repository,
                        const struct tarn_publication *publication, tarn_done *done, void *context,
                        struct tarn_err *err) tarn_must_check;

#endif
