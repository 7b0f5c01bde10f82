// SPDX-License-Identifier: Apache-2.0
// Finds out that a mount is gone. FUSE is told nothing when a mount of a part of it goes, so a thread
// looks for the connection's device and the root /images/<slot> in the mount tables: of its own
// namespace when that changes and once a second, and of every other that some process is in for slots
// that are not seen there. A slot that none shows any more becomes GONE, and the kernel is told to
// forget its entry; that would detach what others have mounted inside, so never earlier.
// A namespace that no process is in is not seen.
#ifndef TARN_DAEMON_WATCH_H
#define TARN_DAEMON_WATCH_H

#include "daemon/fuse_server.h"

struct tarn_watch;

struct tarn_watch_options {
    struct tarn_slots *slots;           // borrowed
    struct tarn_connection *connection; // borrowed; outlives the watch
    unsigned major;                     // of the connection's st_dev
    unsigned minor;
};

// Starts the thread.
int tarn_watch_start(const struct tarn_watch_options *options, struct tarn_watch **watch,
                     struct tarn_err *err) tarn_must_check;
void tarn_watch_stop(struct tarn_watch *watch); // takes NULL; waits for the thread

// Have a look now. Any thread.
void tarn_watch_kick(struct tarn_watch *watch);

#endif
