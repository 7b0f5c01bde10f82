// SPDX-License-Identifier: Apache-2.0
// A conversion's progress for a person: one line that is redrawn on a terminal; elsewhere a line for each
// tenth of the work, or each 25 MB where that is more. Told from any thread.
#ifndef TARN_CLI_PROGRESS_H
#define TARN_CLI_PROGRESS_H

#include "base/cleanup.h"
#include "converter/convert.h"

struct tarn_progress;

// quiet: shows nothing. NULL when out of memory.
struct tarn_progress *tarn_progress_new(bool quiet);
void tarn_progress_free(struct tarn_progress *progress); // takes the line away
TARN_DEFINE_CLEANUP(struct tarn_progress, tarn_progress_free)

// As tarn_convert_options.progress, with the progress as context.
void tarn_progress_tell(void *context, enum tarn_convert_progress what, uint64_t bytes);
// As tarn_convert_options.note: prints a line of its own to stderr.
void tarn_progress_note(void *context, const char *text);
double tarn_progress_seconds(const struct tarn_progress *progress); // since the start

#endif
