// SPDX-License-Identifier: Apache-2.0
// Where an image has the libraries that an ELF file names: in its RUNPATH (without $ORIGIN, which depends
// on the path that it was started by) and where the loaders of glibc and musl look. Not what
// /etc/ld.so.conf adds.
#ifndef TARN_DAEMON_LIBRARY_SEARCH_H
#define TARN_DAEMON_LIBRARY_SEARCH_H

#include "daemon/elf_needs.h"
#include "format/erofs_reader.h"

// The regular file of this name or absolute path. -ENOENT if there is none, or if it is not found before
// *names, how many names may be looked up in directories, has come down to 0. Any thread.
int tarn_library_search(const struct tarn_erofs *erofs, const struct tarn_elf_needs *needs,
                        const char *name, unsigned *names,
                        struct tarn_erofs_inode *inode) tarn_must_check;

#endif
