// SPDX-License-Identifier: Apache-2.0
// The layers of an image at a registry, downloaded side by side while the first of them are converted: up to
// TARN_LAYERS_AT_ONCE at a time, and never further ahead of the reader than that. Each goes to an unnamed
// file in the spool directory and is read from there as it grows.
//
// Every download has a thread and a connection of its own; they start with the first read, so that a
// conversion that reads nothing, because all is reused, asks for nothing.
#ifndef TARN_CONVERTER_LAYER_FETCH_H
#define TARN_CONVERTER_LAYER_FETCH_H

#include <signal.h>

#include "registry/repository.h"

enum { TARN_LAYERS_AT_ONCE = 3 };

struct tarn_layer_fetch;

// All borrowed, but for the array of layers, which is copied.
struct tarn_layer_fetch_options {
    const struct tarn_reference *source;
    const struct tarn_access *access;
    const volatile sig_atomic_t *cancel; // NULL, or ends downloads with -EINTR once it is not 0
    const struct tarn_blob_id *layers;
    uint32_t layer_count;
    bool keep; // files stay until they are dropped, or the end; else each goes when it was read
};

// NULL when out of memory.
struct tarn_layer_fetch *tarn_layer_fetch_new(const struct tarn_layer_fetch_options *options);
// Downloads that are under way are given up.
void tarn_layer_fetch_free(struct tarn_layer_fetch *fetch);
TARN_DEFINE_CLEANUP(struct tarn_layer_fetch, tarn_layer_fetch_free)
// The same, but files that are complete stay. No read may follow.
void tarn_layer_fetch_stop(struct tarn_layer_fetch *fetch);

// Hands out a layer's bytes in order. Blocks; one thread at a time, indexes ascending. A negative return of
// data() ends it and is returned, with err untouched. The bytes count only after a return of 0: the digest
// is checked at the end.
int tarn_layer_fetch_read(struct tarn_layer_fetch *fetch, uint32_t index,
                          int (*data)(void *context, const void *bytes, size_t length),
                          void *context, struct tarn_err *err) tarn_must_check;

// A file with all bytes of a layer that was kept, or -1. Borrowed. Any thread.
int tarn_layer_fetch_file(struct tarn_layer_fetch *fetch, const struct tarn_digest *digest);
// The layer, which was read, is needed no more: its file goes. Nobody may use it any more.
void tarn_layer_fetch_drop(struct tarn_layer_fetch *fetch, uint32_t index);

#endif
