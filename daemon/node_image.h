// SPDX-License-Identifier: Apache-2.0
// An image that is open on the node: its bootstrap, mapped and verified, the data file of each of its
// blobs, and the repository that they come from. Mounts of one image with the same access share it.
//
// What is mapped can turn into zeros at any time (bus_guard.h). So nobody relies on what was verified of
// it but for what an answer says, and before an answer is given it is asked whether the image is damaged.
// The records of the blobs are a copy and stay what they are; row numbers and lengths that come from
// elsewhere in the tables are bounded where they are used.
#ifndef TARN_DAEMON_NODE_IMAGE_H
#define TARN_DAEMON_NODE_IMAGE_H

#include "daemon/counters.h"
#include "daemon/fetch_plan.h"
#include "daemon/nid_set.h"
#include "daemon/store.h"
#include "format/bootstrap.h"
#include "registry/repository.h"
#include "registry/tarn_manifest.h"

// Ranges of an image that wait to be read: the fetch engine's, the loop's thread only.
struct tarn_image_queue {
    struct tarn_fetch_range *first[2]; // those that a reader waits for, those that run ahead
    struct tarn_fetch_range *last[2];
    unsigned transfers;           // under way
    struct tarn_node_image *next; // of the images of an origin with ranges that wait
};

// Rows of a blob that gather behind reads ahead of it, which wait or are under way: the fetch engine's, the
// loop's thread only.
struct tarn_row_list {
    struct tarn_fetch_row *first;
    struct tarn_fetch_row *last;
};
struct tarn_image_gather {
    unsigned reads;
    struct tarn_row_list rows;
};

struct tarn_node_image {
    char *name;                // as the first mount named it, for messages
    struct tarn_digest digest; // of the bootstrap
    struct tarn_bootstrap bootstrap;
    struct tarn_data_file **files;      // for each blob; borrowed from the store
    struct tarn_repository *repository; // owned; used on the loop's thread only
    struct tarn_access access;          // that it was opened with
    struct tarn_counters counters;
    struct tarn_ahead ahead;       // what its readers did; the loop's thread only
    struct tarn_nid_set libraries; // that library_ahead.c has looked at; the loop adds
    struct tarn_image_queue queue;
    struct tarn_image_gather *gathers; // for each blob; owned
    unsigned timeout;                  // seconds that a read may wait while nothing comes
    // The loop's time in ms, 0: never.
    uint64_t progressed; // when a chunk last came
    uint64_t timed_out;  // when a read last failed because nothing did

    // private
    struct tarn_store_bytes bytes;
    uint8_t *records;    // owned: a copy of the tables' blob records
    _Atomic bool told;   // that it is damaged
    uint64_t references; // the loop's thread only
};

// Takes over bytes and repository (in any case). Verifies bootstrap and tree and compares its blobs
// with the manifest's. -EUCLEAN names the rule that is broken, with its offset. Blocks, any thread.
struct tarn_node_image_source {
    const char *name;
    const struct tarn_manifest *manifest;
    struct tarn_store_bytes bytes;
    struct tarn_repository *repository;
    const struct tarn_access *access; // copied
    bool dropped;                     // set: the store's bootstrap was wrong, and is removed
};
int tarn_node_image_open(struct tarn_store *store, struct tarn_node_image_source *source,
                         struct tarn_node_image **image, struct tarn_err *err) tarn_must_check;

// On the loop's thread. The last unref closes the repository.
void tarn_node_image_ref(struct tarn_node_image *image);
void tarn_node_image_unref(struct tarn_node_image *image);

// Waits until the disk has the bootstrap (tarn_store_settle()). Once, any thread.
void tarn_node_image_settle(struct tarn_node_image *image);

// Whether the bootstrap could not be read since it was verified: what was made of it does not count. Logs
// that once. Any thread.
bool tarn_node_image_damaged(struct tarn_node_image *image);

// A chunk of one of its blobs; row is one of the tables', not the blob's last one.
struct tarn_row_chunk tarn_node_image_chunk(const struct tarn_node_image *image, uint32_t blob,
                                            uint32_t row);

// The rows of a run, which is what is decoded together (docs/format.md, section 5). A reference is a
// run of its own. None, if there is no such run: the image is damaged then.
enum { TARN_RUN_ROWS_MAX = 64 };
struct tarn_run_rows {
    uint32_t first; // row of the image's tables
    uint32_t count; // at most TARN_RUN_ROWS_MAX
};
struct tarn_run_rows tarn_node_image_run(const struct tarn_node_image *image, uint32_t blob,
                                         uint32_t row);

#endif
