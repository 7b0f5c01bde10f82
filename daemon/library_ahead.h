// SPDX-License-Identifier: Apache-2.0
// What is sure to be read when a program starts: the shared objects that it names. Once the head of an ELF
// file has been read, its libraries are found in the image's tree and wanted in the background, all of them
// at once, and theirs in turn: the loader would ask for one after the other. A guess that is wrong or too
// late costs bytes only, so nothing is reported.
#ifndef TARN_DAEMON_LIBRARY_AHEAD_H
#define TARN_DAEMON_LIBRARY_AHEAD_H

#include "daemon/fuse_server.h"

// To be told of what a read gave from the start of a file of the slot's image, while the caller holds a
// reference to the slot. Any thread; costs a comparison, and a look-up if it is an ELF file that was told of
// before.
void tarn_library_ahead(const struct tarn_server_options *options, const struct tarn_slot *slot,
                        uint64_t nid, const void *bytes, size_t length);

#endif
