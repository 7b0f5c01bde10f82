// SPDX-License-Identifier: Apache-2.0
// One line to stderr, written in one piece, for the daemon; control characters become "?". Any thread.
#ifndef TARN_BASE_LOG_H
#define TARN_BASE_LOG_H

#include "base/cleanup.h"

enum tarn_log_level { TARN_LOG_ERROR, TARN_LOG_WARNING, TARN_LOG_INFO };

// "<level>: text\n" with systemd's priority prefix ("<3>") when stderr is its journal.
void tarn_log(enum tarn_log_level level, const char *format, ...) tarn_printf(2, 3);

#endif
