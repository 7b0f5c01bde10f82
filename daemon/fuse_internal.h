// SPDX-License-Identifier: Apache-2.0
// What the parts of the FUSE side share.
#ifndef TARN_DAEMON_FUSE_INTERNAL_H
#define TARN_DAEMON_FUSE_INTERNAL_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>

#include "daemon/fuse_server.h"
#include "daemon/mounter.h"
#include "daemon/read_source.h"

enum {
    TARN_NODE_ROOT = 1,
    TARN_NODE_IMAGES = 2,
    TARN_NODE_BLOBS = 3,
};
#define TARN_NODE_BLOB_FIRST (UINT64_C(1) << 32)
#define TARN_FOREVER 1e15 // seconds; the kernel takes it for its largest timeout

struct tarn_server {
    struct tarn_server_options options;
    pthread_key_t buffers; // each thread's struct tarn_thread_buffers
    struct timespec started;

    int epoll;             // of the slots' own connections; -1 until there is one
    int stop;              // an eventfd that ends those threads
    pthread_t threads[16]; // that serve them
    unsigned thread_count;

    // The loop's thread only:
    struct tarn_connection *first;   // of all connections
    struct tarn_pending_read *reads; // that wait for a chunk
    uv_timer_t watch;                // runs while there are any, and once more
};

struct tarn_connection {
    struct tarn_server *server;
    struct tarn_connection *next;
    struct fuse_session *session;
    struct tarn_slot *slot; // NULL: the one for all images; else a reference is held
    int fd;                 // the session's
    pthread_t threads[16];  // of the one for all images
    unsigned thread_count;
    _Atomic unsigned serving; // threads that still serve it, and the epoll set
    _Atomic uint64_t pending; // reads that wait
    _Atomic bool over;
    struct tarn_post ended;
    uv_timer_t drain; // waits for pending reads
};

struct tarn_thread_buffers {
    uint8_t data[TARN_READ_MAX];
    uint8_t scratch[TARN_CHUNK_MAX];
};
// The calling thread's, or NULL when out of memory.
struct tarn_thread_buffers *tarn_server_buffers(struct tarn_server *server);

// A node of an image.
struct tarn_fuse_node {
    struct tarn_slot *slot; // a reference is held
    uint64_t nid;
    struct tarn_erofs_inode inode;
};
// What an answer about the node comes to: the status, or -EIO if what it was made from was damaged. Asked
// when all is read, and before anything of it is answered: the kernel keeps what it is told.
int tarn_fuse_node_status(const struct tarn_fuse_node *node, int status) tarn_must_check;
// The entry of a node, as lookup and readdirplus give it.
int tarn_fuse_node_entry(const struct tarn_connection *connection, const struct tarn_slot *slot,
                         uint64_t nid, struct fuse_entry_param *entry) tarn_must_check;
ino_t tarn_fuse_node_ino(const struct tarn_connection *connection, const struct tarn_slot *slot,
                         uint64_t nid);

// fuse_base.c: requests about the base.
void tarn_base_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void tarn_base_getattr(fuse_req_t req, fuse_ino_t ino);
void tarn_base_statfs(fuse_req_t req);
struct tarn_base_listing {
    size_t size;
    off_t offset;
    bool plus;
};
void tarn_base_readdir(fuse_req_t req, fuse_ino_t ino, const struct tarn_base_listing *listing);

// fuse_read.c: answers a read. Takes over the reference to the slot.
void tarn_read_serve(fuse_req_t req, const struct tarn_read_source *source, size_t size,
                     off_t offset);
// A read of blobs/<digest>.
void tarn_read_blob(fuse_req_t req, uint32_t number, size_t size, off_t offset);
// Counts a read that is answered with so many bytes.
void tarn_read_count(struct tarn_server *server, struct tarn_slot *slot, size_t size);
// Answers with an error, and counts it.
void tarn_read_reply_error(fuse_req_t req, struct tarn_server *server, const struct tarn_slot *slot,
                           int status);

// read_wait.c: answers a read, inside its source, when its chunks have come. Takes over the reference
// to the slot. Any thread.
void tarn_read_wait(fuse_req_t req, const struct tarn_read_source *source, size_t size,
                    uint64_t offset);

extern const struct fuse_lowlevel_ops tarn_fuse_operations;

#endif
