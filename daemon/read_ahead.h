// SPDX-License-Identifier: Apache-2.0
// What else a read that misses makes come: what will probably be read next (daemon/fetch_plan.h says
// how much). On the loop's thread.
#ifndef TARN_DAEMON_READ_AHEAD_H
#define TARN_DAEMON_READ_AHEAD_H

#include "daemon/fetch.h"
#include "daemon/read_source.h"

// What to bring for a piece of a read, at the offset in its file, beside its own chunks; to be asked
// before these are wanted. Nothing if they are on their way, or if nothing would be kept.
struct tarn_span tarn_read_ahead_plan(const struct tarn_fetch *fetch,
                                      const struct tarn_read_source *source,
                                      const struct tarn_read_piece *piece, uint64_t offset);

// Wants the span of the data space of the blob with that index, in the background, unless it would
// not be kept.
void tarn_read_ahead_want(struct tarn_fetch *fetch, const struct tarn_read_source *source,
                          uint32_t index, const struct tarn_span *span);

#endif
