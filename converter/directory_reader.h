// SPDX-License-Identifier: Apache-2.0
// A directory on disk, delivered as the entries of a layer (`dir:PATH`).
#ifndef TARN_CONVERTER_DIRECTORY_READER_H
#define TARN_CONVERTER_DIRECTORY_READER_H

#include <signal.h>

#include "converter/layer_builder.h"

// Walks path and what is mounted below it, without following symbolic links. cancel: NULL, or ends it with
// -EINTR once it is not 0. *sockets: how many sockets were left out. Blocks on disk.
int tarn_directory_read(const char *path, struct tarn_layer_builder *builder,
                        const volatile sig_atomic_t *cancel, uint64_t *sockets,
                        struct tarn_err *err) tarn_must_check;

#endif
