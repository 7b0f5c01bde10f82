// SPDX-License-Identifier: Apache-2.0
// One stream of bytes, read by two threads side by side: blocks in a ring of fixed size, each kept
// until both have had it.
#ifndef TARN_CONVERTER_FANOUT_H
#define TARN_CONVERTER_FANOUT_H

#include <sys/types.h>

#include "base/err.h"

enum { TARN_FANOUT_READERS = 2 };

struct tarn_fanout;

struct tarn_fanout *tarn_fanout_new(void);         // NULL when out of memory
void tarn_fanout_free(struct tarn_fanout *fanout); // no thread may use it any more
TARN_DEFINE_CLEANUP(struct tarn_fanout, tarn_fanout_free)

// The writer's side. Blocks while the ring is full; -ECANCELED after a cancel.
int tarn_fanout_write(struct tarn_fanout *fanout, const void *bytes, size_t length) tarn_must_check;
// Ends the stream: 0 or the error that readers then get behind the bytes before it.
void tarn_fanout_finish(struct tarn_fanout *fanout, int status);

// A reader's side: the next block, valid until this reader's next call. Its length; 0 at the end;
// the status of the finish; -ECANCELED after a cancel.
ssize_t tarn_fanout_next(struct tarn_fanout *fanout, unsigned reader,
                         const void **bytes) tarn_must_check;
// Stops the writer and all readers. Any thread.
void tarn_fanout_cancel(struct tarn_fanout *fanout);

#endif
