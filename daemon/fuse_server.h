// SPDX-License-Identifier: Apache-2.0
// The FUSE side: connections to the kernel and the threads that answer. As root one connection serves
// all images; without root each mount has its own. The threads' number is fixed.
//
// Node ids on root's connection: slot << 40 | EROFS nid; slot 0 is the base: 1 the root, 2 `images`,
// 3 `blobs`, 2^32 + n the blob file n. On a mount's own connection: the nid, and 1 for the root.
#ifndef TARN_DAEMON_FUSE_SERVER_H
#define TARN_DAEMON_FUSE_SERVER_H

#include "daemon/fetch.h"
#include "daemon/slots.h"

struct tarn_server;
struct tarn_connection;

struct tarn_server_options {
    struct tarn_store *store; // all borrowed
    struct tarn_slots *slots;
    struct tarn_fetch *fetch;
    struct tarn_pool *pool;
    struct tarn_loop_queue *queue;
    struct tarn_counters *total;
    unsigned threads;
    // Called on the loop when a connection has ended, after its slot, if it has one, was set GONE. The
    // connection is freed when it returns.
    void (*ended)(void *context, struct tarn_connection *connection);
    void *context;
};

struct tarn_server *tarn_server_new(const struct tarn_server_options *options,
                                    struct tarn_err *err);
// All connections have ended. On the loop, which runs once more before the free.
void tarn_server_close(struct tarn_server *server);
void tarn_server_free(struct tarn_server *server);

// Serves the FUSE descriptor, which is taken over in any case. slot NULL: the connection for all
// images, which has threads of its own that read it; only one of these. Else the slot's own, with a
// reference to it that is taken over too; a few threads serve all of them.
int tarn_server_add(struct tarn_server *server, int fd, struct tarn_slot *slot,
                    struct tarn_connection **connection, struct tarn_err *err) tarn_must_check;

// Makes the kernel forget what `images` had under the slot's number. Detaches what others have mounted
// inside, so only when the slot is attached nowhere. Waits for locks in the kernel that requests may
// hold: not from a thread that serves. Any errors mean that there is nothing to forget.
void tarn_connection_forget_slot(struct tarn_connection *connection, uint32_t number);

// Makes it forget a name in a directory of an image (a node id), with the same cautions. Returns whether
// the kernel had it.
bool tarn_connection_drop_name(struct tarn_connection *connection, uint64_t directory,
                               const char *name, size_t length);

#endif
