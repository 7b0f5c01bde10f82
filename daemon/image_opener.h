// SPDX-License-Identifier: Apache-2.0
// From an image's name to an open image: finds its Tarn manifest in the repository, gets the bootstrap
// into the store, checks all of it, attaches the data files. A state machine on the loop; what blocks
// runs on libuv's threads. Images that are open, or being opened, are shared: same bootstrap, same
// repository, same access to it: nobody's misses are fetched with the credentials of somebody else.
#ifndef TARN_DAEMON_IMAGE_OPENER_H
#define TARN_DAEMON_IMAGE_OPENER_H

#include "daemon/slots.h"

struct tarn_opener;

struct tarn_opener_options {
    uv_loop_t *loop; // all borrowed
    struct tarn_store *store;
    struct tarn_slots *slots; // where open images are found
};

struct tarn_opener *tarn_opener_new(const struct tarn_opener_options *options,
                                    struct tarn_err *err);
// Nothing is being opened, and no image is open any more. The loop must run until the end after it.
void tarn_opener_free(struct tarn_opener *opener);
bool tarn_opener_busy(const struct tarn_opener *opener);

struct tarn_opened {
    struct tarn_node_image *image; // with a reference, for the callee
    unsigned requests;             // what finding and reading its documents took
    uint64_t bytes;
    bool narrow; // for a 32-bit architecture whose programs may need small inode numbers
};
// Once, later, from the loop. opened is NULL with an error, which names the image.
typedef void tarn_opener_done(void *context, int status, const struct tarn_opened *opened,
                              const struct tarn_err *err);

// reference: with absolute paths; platform: "os/arch[/variant]" or NULL for the host's; access: to a
// registry, not looked at for others. All are copied. -EINVAL, -ENOENT, ...: done() never comes.
struct tarn_opener_query {
    const char *reference;
    const char *platform;
    const struct tarn_access *access;
    tarn_opener_done *done;
    void *context;
};
int tarn_opener_start(struct tarn_opener *opener, const struct tarn_opener_query *query,
                      struct tarn_err *err) tarn_must_check;

#endif
