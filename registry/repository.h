// SPDX-License-Identifier: Apache-2.0
// A place that holds manifests and blobs: an OCI layout on disk, an archive of one, or a repository of
// a registry. One interface for all: a state machine on the caller's libuv loop. Every call is made
// on the loop's thread, returns at once and tells the outcome by a callback, which never comes
// before the call has returned. blocking.h wraps it for programs that wait.
#ifndef TARN_REGISTRY_REPOSITORY_H
#define TARN_REGISTRY_REPOSITORY_H

#include <uv.h>

#include "base/digest.h"
#include "base/json.h"
#include "registry/http.h"
#include "registry/reference.h"

struct tarn_repository;
struct tarn_transfer; // a read under way
struct tarn_upload;   // a blob being written

enum tarn_read_kind {
    // The document that a tag names. A layout answers with an index made of the tag's own
    // descriptor and, behind it, the Tarn entries that belong to it; see tarn_repository_publish().
    // tag NULL: "latest"; in a layout the only image that is not Tarn's entry for another, if there
    // is just one, else "latest".
    TARN_READ_TAG,
    // An index of Tarn's entries for the manifest with this digest, possibly empty.
    TARN_READ_REFERRERS,
    // An index of manifests that may hold the converted layer whose key is digest, possibly empty.
    TARN_READ_LAYERS,
    TARN_READ_MANIFEST, // a manifest or index by digest
    TARN_READ_BLOB,     // a blob, whole or a range of it
};

struct tarn_read_range {
    uint64_t offset; // bytes of the blob
    uint64_t length;
};

// What to read and whom to tell. Copied by tarn_repository_read(), with its strings and ranges.
struct tarn_read {
    enum tarn_read_kind kind;
    const char *tag; // TARN_READ_TAG
    // Else. Documents are checked against it before any of their bytes are handed on; a blob that
    // is read whole while it is, so that its bytes count only after done() with status 0. A range of
    // a blob is not checked.
    struct tarn_digest digest;
    uint64_t size;   // TARN_READ_BLOB: the blob's size from its descriptor; 0: unknown
    uint64_t offset; // TARN_READ_BLOB: the range's start
    uint64_t length; // TARN_READ_BLOB: the range's length; UINT64_MAX: all that follows
    // TARN_READ_BLOB, instead of offset and length: several ranges, ascending, apart from each other, none
    // empty. data() gets their bytes one behind the other in this order.
    const struct tarn_read_range *ranges;
    size_t range_count; // 0: offset and length
    void *context;
    // Bytes in order, as they arrive, valid during the call. A negative return ends the transfer,
    // and done() gets it.
    int (*data)(void *context, const void *bytes, size_t length);
    // Exactly once, last. status 0 or -errno: -ENOENT no such tag, manifest or blob; -EIO wrong
    // digest or unreadable; -EUCLEAN a damaged document, or a range past the blob's end. err tells it
    // in words and lives during the call.
    void (*done)(void *context, int status, const struct tarn_err *err);
};

typedef void tarn_done(void *context, int status, const struct tarn_err *err);

struct tarn_blob_id {
    struct tarn_digest digest;
    uint64_t size; // bytes
};

struct tarn_repository_options {
    // It is a destination: make the layout or archive if it is not there (at the first write), and
    // remove what writers left that died. A directory that is neither empty nor a layout is refused.
    bool create;
    // NULL, or the first way to this same place when this one is a second: borrowed, closed later, and takes
    // away then what this one put there and nothing refers to.
    struct tarn_repository *first_way;
    struct tarn_http *http; // borrowed; the client for a registry, NULL: registries are refused
    const struct tarn_access *access; // for a registry; copied; NULL: the defaults
    // NULL, or asked a few times a second on the loop's thread; once it says yes, requests to a registry end
    // with -EINTR, those under way and all that follow.
    bool (*interrupted)(const void *context);
    const void *interrupted_context;
};

// Opens the place that reference names. Blocks for a few small reads. The loop must outlive it, and
// run until nothing is left to do after a close that followed a cancel or an abort. -ENOENT, -EINVAL
// (no layout), -ENOTEMPTY, -EUCLEAN (damaged), -ENOTSUP (a registry, a compressed archive).
int tarn_repository_open(const struct tarn_reference *reference, uv_loop_t *loop,
                         const struct tarn_repository_options *options,
                         struct tarn_repository **repository, struct tarn_err *err) tarn_must_check;
// All transfers and uploads must have ended (or been cancelled). What this object put into a layout and
// nothing refers to goes away again, and a new layout without anything in it; not so while another one
// writes there.
void tarn_repository_close(struct tarn_repository *repository);
TARN_DEFINE_CLEANUP(struct tarn_repository, tarn_repository_close)

// Its name for messages, for example "oci:/tmp/images". Borrowed.
const char *tarn_repository_name(const struct tarn_repository *repository);
// As tarn_wrap() with an image's name, unless err names it or its repository already. repository: NULL, or
// where the image is.
int tarn_repository_wrap(const struct tarn_repository *repository, int code, const char *name,
                         struct tarn_err *err) tarn_must_check;

// --- reading --------------------------------------------------------------------------------
int tarn_repository_read(struct tarn_repository *repository, const struct tarn_read *read,
                         struct tarn_transfer **transfer, struct tarn_err *err) tarn_must_check;
// Ends a transfer early: no callback comes after it. Allowed until done() has returned, from within
// data() and done() too.
void tarn_transfer_cancel(struct tarn_transfer *transfer);

// How many ranges one read should hold: more than 1 where they come in one request. A registry that turned
// out not to know multipart answers makes it 1 from then on. A read that holds more is right too, but takes
// several round trips.
size_t tarn_repository_max_ranges(const struct tarn_repository *repository);

// Where a layout lists a tag (TARN_READ_TAG makes its document up), true; where the document that is
// read is the one that stands under the tag, false.
bool tarn_repository_lists_tags(const struct tarn_repository *repository);

// Whether it checked the blobs that it says it has: a registry did; on a disk they may be damaged since.
bool tarn_repository_checks_blobs(const struct tarn_repository *repository);

// This and the other calls that return int: 0, and done() comes once, later; or -errno (out of memory,
// not supported here), and done() never comes.
//
// Whether the blob is there with this size: status 0 or -ENOENT.
int tarn_repository_has_blob(struct tarn_repository *repository, const struct tarn_blob_id *blob,
                             tarn_done *done, void *context, struct tarn_err *err) tarn_must_check;

// Takes over a blob from another repository at the same place without moving its bytes, where the two
// are repositories of one registry that allows it. -ENOENT: it cannot be had so.
struct tarn_blob_source {
    const struct tarn_repository *repository; // borrowed during the call
    struct tarn_blob_id blob;
};
int tarn_repository_mount_blob(struct tarn_repository *repository,
                               const struct tarn_blob_source *from, tarn_done *done, void *context,
                               struct tarn_err *err) tarn_must_check;

// --- writing: children first, the tag last ------------------------------------------------------
// Starts a blob. A crash leaves no blob under a digest's name.
int tarn_repository_upload(struct tarn_repository *repository, struct tarn_upload **upload,
                           struct tarn_err *err) tarn_must_check;
// Before the first write: the caller has these bytes hashed or will have before the commit, so an
// upload to a disk need not hash them again. Their number is still checked.
void tarn_upload_vouch(struct tarn_upload *upload);
// Appends; bytes must live until done() or the abort. One write at a time. After a write that failed
// the others fail too.
void tarn_upload_write(struct tarn_upload *upload, const void *bytes, size_t length,
                       tarn_done *done, void *context);
// Ends the upload in any case: the blob stands under its digest, or nothing does. -EIO if what was
// written is not the blob. On a disk it replaces what stands there already, which may be damaged.
void tarn_upload_commit(struct tarn_upload *upload, const struct tarn_blob_id *blob,
                        tarn_done *done, void *context);
// Ends the upload without a blob: no callback comes after it. Allowed at any time until the commit's
// done() has returned; an abort during the commit leaves the blob or nothing.
void tarn_upload_abort(struct tarn_upload *upload);

struct tarn_manifest_bytes {
    const char *media_type;
    const void *bytes;
    size_t length; // up to TARN_MANIFEST_LIMIT
};
// Stores a manifest or index under its digest only. The bytes are copied.
int tarn_repository_put_manifest(struct tarn_repository *repository,
                                 const struct tarn_manifest_bytes *manifest, tarn_done *done,
                                 void *context, struct tarn_err *err) tarn_must_check;

// What a tag is to show. Everything that it names must be there already.
struct tarn_publication {
    // NULL: tarn holds entries of one-layer manifests, with the annotation dev.tarn.key, that are to be
    // found again (TARN_READ_LAYERS) until the next publication under a tag; original is not looked at.
    // An archive, which is written whole, keeps none.
    const char *tag;
    // The descriptor that old clients are to get: the source's manifest or index, untouched, or
    // with --replace Tarn's manifest. In a layout it is what carries the tag.
    json_t *original;           // borrowed
    const void *original_bytes; // its document
    size_t original_length;
    // Tarn's entries for it, an array, possibly empty, each with artifactType, platform
    // unknown/unknown and the annotations dev.tarn.subject and dev.tarn.platform. A layout's
    // index.json lists them behind the original, in place of older ones with the same subject, and
    // loses those whose subject no tag leads to any more; a registry gets a new index (the original,
    // or the entries of the original index, then these).
    json_t *tarn; // borrowed
    // A registry: Tarn's manifests are to be found as referrers of their subjects, and no tag is touched
    // but, where the registry has no referrers API, the tags that stand for it.
    bool referrer;
    // Another publication will follow from the same repository object. An archive is then written only
    // with the last one; until that this object alone shows the tag. Others take no notice.
    bool more;
};
// Points the tag to it, in one step: a crash leaves the old state or the new one, both complete, and
// writers at the same time lose nothing of each other. The publication is copied. -ENOENT if what it
// names is not there.
int tarn_repository_publish(struct tarn_repository *repository,
                            const struct tarn_publication *publication, tarn_done *done,
                            void *context, struct tarn_err *err) tarn_must_check;

#endif
