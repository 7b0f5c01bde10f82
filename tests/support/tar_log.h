// SPDX-License-Identifier: Apache-2.0
// The events of a tar reader as text, the same for any pieces in which the tar goes in. One line
// per entry, "TYPE PATH MODE UID:GID SECONDS.NS SIZE [> LINK] [dev MAJOR,MINOR] [XATTR=VALUE]..."
// and for a sparse file "sparse OFFSET+LENGTH...", then lines "  OFFSET:DATA", then ".". Bytes that
// do not print are \\xx, long ones <COUNT>. Aborts when out of memory or when the reader breaks its
// contract.
#ifndef TARN_TESTS_TAR_LOG_H
#define TARN_TESTS_TAR_LOG_H

#include "base/buf.h"
#include "converter/tar_reader.h"

enum { TARN_TAR_LOG_STOP = -EPIPE };

// A zeroed struct is an empty log.
struct tarn_tar_log {
    struct tarn_buf text; // after a run with a NUL behind it
    struct tarn_buf run;  // data that follows each other
    uint64_t run_offset;
    unsigned calls;
    unsigned stop_after; // calls, then TARN_TAR_LOG_STOP; 0: never
};

void tarn_tar_log_release(struct tarn_tar_log *log);

// Reads the tar in tape, the first piece of first bytes, the others of piece bytes.
int tarn_tar_log_run(const struct tarn_buf *tape, size_t first, size_t piece,
                     struct tarn_tar_log *log, struct tarn_err *err) tarn_must_check;

struct tarn_tar_want {
    const char *name; // of the case
    int code;
    const char *message; // a part of it; NULL: any
    const char *log;     // NULL: any
};

// Whether the tar gives just that, in these pieces or in all kinds of pieces. If not, says so.
bool tarn_tar_log_gives_once(const struct tarn_tar_want *want, const struct tarn_buf *tape,
                             size_t first, size_t piece) tarn_must_check;
bool tarn_tar_log_gives(const struct tarn_tar_want *want,
                        const struct tarn_buf *tape) tarn_must_check;

#endif
