// SPDX-License-Identifier: Apache-2.0
// Slots that are attached nowhere but still known to the kernel, because a file or a directory of them is
// in use. When that use ends the kernel keeps the path in its cache, below the root that has no name any
// more, and nothing would ever drop it. So the paths in use are made nameless too, step by step: then they
// go as soon as their use ends. Names that someone who is inside looks up anew are found at the next turn.
// One thread.
#ifndef TARN_DAEMON_LINGER_H
#define TARN_DAEMON_LINGER_H

#include "daemon/fuse_server.h"

struct tarn_linger;

struct tarn_linger *tarn_linger_new(struct tarn_connection *connection); // NULL when out of memory
void tarn_linger_free(struct tarn_linger *linger);

// One turn: begin, once for each such slot (in ascending order), end, which forgets slots that did not
// come. The thread must not be one that serves.
void tarn_linger_begin(struct tarn_linger *linger);
void tarn_linger_slot(struct tarn_linger *linger, const struct tarn_slot *slot);
void tarn_linger_end(struct tarn_linger *linger);

#endif
