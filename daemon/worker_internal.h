// SPDX-License-Identifier: Apache-2.0
// What the parts of the worker share. All on the loop's thread.
#ifndef TARN_DAEMON_WORKER_INTERNAL_H
#define TARN_DAEMON_WORKER_INTERNAL_H

#include "daemon/control.h"
#include "daemon/fuse_server.h"
#include "daemon/image_opener.h"
#include "daemon/mounter.h"
#include "daemon/watch.h"
#include "daemon/worker.h"

struct tarn_session;

enum tarn_worker_state {
    TARN_WORKER_SERVING,
    TARN_WORKER_STOPPING, // told to end; mounts are left
    TARN_WORKER_ENDING,   // no mounts, nobody is let in any more
};

// A request to the mounter, answered in order.
struct tarn_mounter_wait {
    struct tarn_mounter_wait *next;
    void (*answered)(struct tarn_mounter_wait *wait, int status, int descriptor,
                     const struct tarn_err *err); // takes the descriptor over, if not -1
};

struct tarn_worker {
    struct tarn_worker_options options;
    enum tarn_worker_state state;
    uv_loop_t loop;
    struct tarn_counters total;
    struct tarn_store *store;
    struct tarn_pool *pool;
    struct tarn_loop_queue *queue;
    struct tarn_fetch *fetch;
    struct tarn_slots *slots;
    struct tarn_server *server;
    struct tarn_opener *opener;
    struct tarn_control *control;
    struct tarn_watch *watch;           // root
    struct tarn_connection *connection; // root; NULL when it has ended
    unsigned major;                     // of its st_dev
    unsigned minor;
    bool readahead_set;
    bool used;              // a client has asked for something
    uv_poll_t mounter_poll; // root
    struct tarn_mounter_wait *mounter_first;
    struct tarn_mounter_wait *mounter_last;
    struct tarn_session *sessions; // clients with something under way
    uv_timer_t idle;
    uv_timer_t tick; // while a session waits for a slot to go, and at the end
    uv_signal_t terminate;
    uv_signal_t interrupt;
};

// worker_sessions.c: what clients ask for.
void tarn_worker_message(void *context, struct tarn_client *client, const json_t *message,
                         int *descriptor);
void tarn_worker_client_closed(void *context, struct tarn_client *client);
// Answers the sessions that wait for slots to go. Returns whether some still wait.
bool tarn_worker_check_umounts(struct tarn_worker *worker);

// worker_report.c: new documents, or NULL when out of memory.
json_t *tarn_worker_ps(struct tarn_worker *worker);
json_t *tarn_worker_stats(struct tarn_worker *worker);

// worker.c
// Asks the mounter; answered() comes once, later, from the loop. -errno: it does not.
int tarn_worker_ask_mounter(struct tarn_worker *worker, const struct tarn_mounter_request *request,
                            struct tarn_mounter_wait *wait, struct tarn_err *err) tarn_must_check;
// Something ended: a slot, a session. Starts or stops the idle timer, or ends the daemon.
void tarn_worker_settle(struct tarn_worker *worker);
void tarn_worker_start_tick(struct tarn_worker *worker);

#endif
