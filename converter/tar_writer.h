// SPDX-License-Identifier: Apache-2.0
// Writes tar archives whose bytes depend on the entries alone: ustar headers, and pax extended headers
// only for what those cannot say (long names, large numbers, times with nanoseconds or before 1970,
// xattrs). Files with holes are written as GNU's sparse format 1.0, so that a hole costs nothing.
// What tar_reader.h makes of it is the entry that was given.
// Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Storing Sparse Files".
//
// xattrs are written as SCHILY.xattr.NAME, which all container tools read; one with '=' in its name,
// which that cannot say, as LIBARCHIVE.xattr.NAME.
#ifndef TARN_CONVERTER_TAR_WRITER_H
#define TARN_CONVERTER_TAR_WRITER_H

#include "base/err.h"
#include "converter/tar_entry.h"

// Gets the archive's bytes in order, valid during the call. A negative return ends the archive and is
// passed on, with err as the callback left it.
struct tarn_tar_output {
    int (*write)(void *context, const void *bytes, size_t length, struct tarn_err *err);
    void *context;
};

struct tarn_tar_writer;

struct tarn_tar_writer *
tarn_tar_writer_new(const struct tarn_tar_output *output); // NULL: no memory
void tarn_tar_writer_free(struct tarn_tar_writer *writer);
TARN_DEFINE_CLEANUP(struct tarn_tar_writer, tarn_tar_writer_free)

// Starts an entry; the last one's data must be complete. The entry's offset is not looked at. "" is
// the root, which is written as "./". A hard link has no data. 0, -ENOMEM, or what the output says.
int tarn_tar_writer_entry(struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry,
                          struct tarn_err *err) tarn_must_check;

// The next bytes of a regular file: all of it, or what its extents name, one behind the other, in
// pieces of any size and never more than that.
int tarn_tar_writer_data(struct tarn_tar_writer *writer, const void *bytes, size_t length,
                         struct tarn_err *err) tarn_must_check;

// Ends the archive; the last entry's data must be complete.
int tarn_tar_writer_finish(struct tarn_tar_writer *writer, struct tarn_err *err) tarn_must_check;

#endif
