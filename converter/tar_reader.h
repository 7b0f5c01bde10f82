// SPDX-License-Identifier: Apache-2.0
// A strict reader of tar archives: v7, ustar, star, pax and GNU, with sparse files and xattrs.
// Bytes are pushed in as they come, in pieces of any size; entries come out through callbacks.
//
// Why not libarchive: 3.6.2 reads a pax mtime of "-1.5" as -0.5 s and loses the sign of "-0.5"
// (measured), converts names by locale, and hides the raw records.
//
// Where tars leave room, the reader does what Go's archive/tar does, because container runtimes
// unpack with it, and one image must not be two trees: global extended headers (g) are checked but
// change no entry; links, directories and devices have no data, whatever their size field says; the
// last data's padding may be missing. An entry whose type flag is NUL (v7) and whose name ends in '/'
// is a directory, and has no data. Volume labels are skipped; volumes in parts and unknown type flags are refused.
// Whiteouts are names like any other here.
//
// The archive ends with two zero blocks, or where the input ends between entries. What follows the
// two blocks is ignored, but the caller still pushes it or not, as it likes.
//
// Memory: the current entry's names, extended header (up to 8 MiB, and 16 MiB to index its
// xattrs) and sparse map (up to 16 MiB). One thread at a time; blocks only in callbacks.
#ifndef TARN_CONVERTER_TAR_READER_H
#define TARN_CONVERTER_TAR_READER_H

#include "base/err.h"
#include "converter/tar_entry.h"

// For each entry begin(), then data() any number of times, then end(). A negative return stops the
// reader, which passes it on with err as the callback left it.
struct tarn_tar_events {
    // The entry is valid until end() returned.
    int (*begin)(void *context, const struct tarn_tar_entry *entry);
    // Bytes of a regular file, ascending, borrowed from the pushed piece: no copy. Holes are left
    // out; everything else comes exactly once.
    int (*data)(void *context, uint64_t offset, const void *bytes, size_t length);
    int (*end)(void *context);
};

struct tarn_tar_reader;

// NULL when out of memory. events is borrowed.
struct tarn_tar_reader *tarn_tar_reader_new(const struct tarn_tar_events *events, void *context);
void tarn_tar_reader_free(struct tarn_tar_reader *reader);
TARN_DEFINE_CLEANUP(struct tarn_tar_reader, tarn_tar_reader_free)

// The next bytes of the tar, not NULL. 0, or with the entry and its header's offset named: -EUCLEAN
// damaged; -EINVAL refused as hostile ("..", sizes out of range); -ENOTSUP over a limit of
// tar_entry.h, or of a kind that is not read; -ENOMEM. Or what a callback returned. Every later
// call returns the same.
int tarn_tar_reader_push(struct tarn_tar_reader *reader, const void *bytes, size_t length,
                         struct tarn_err *err) tarn_must_check;

// The input ends here. As push, and -EUCLEAN when that is inside an entry.
int tarn_tar_reader_finish(struct tarn_tar_reader *reader, struct tarn_err *err) tarn_must_check;

#endif
