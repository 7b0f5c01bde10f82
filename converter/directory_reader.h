// SPDX-License-Identifier: Apache-2.0
// A directory on disk, delivered as the entries of a layer (`dir:PATH`).
#ifndef TARN_CONVERTER_DIRECTORY_READER_H
#define TARN_CONVERTER_DIRECTORY_READER_H

#include "converter/layer_builder.h"

// Walks path in its own file system and below, without following symbolic links. *sockets: how many
// sockets were left out. Blocks on disk.
int tarn_directory_read(const char *path, struct tarn_layer_builder *builder, uint64_t *sockets,
                        struct tarn_err *err) tarn_must_check;

#endif
