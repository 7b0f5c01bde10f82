// SPDX-License-Identifier: Apache-2.0
// The layers between the two stages of an image's conversion, first in, first out. Few are held at a time,
// for each keeps its contents in a spool and its tree in memory: any one, and more while they are small.
#ifndef TARN_CONVERTER_LAYER_QUEUE_H
#define TARN_CONVERTER_LAYER_QUEUE_H

#include "converter/layer_reader.h"
#include "converter/reuse.h"

// A layer between the stages: read, or found converted.
struct tarn_prepared_layer {
    bool reused;
    struct tarn_layer_input input;  // not reused
    uint64_t data_length;           // not reused
    struct tarn_reused_layer found; // reused
    struct tarn_digest diff_id;
    struct tarn_digest source_digest;
};

void tarn_prepared_layer_release(struct tarn_prepared_layer *layer);

struct tarn_layer_queue;

struct tarn_layer_queue *tarn_layer_queue_new(void); // NULL when out of memory
// With what still waits. No thread may use it any more.
void tarn_layer_queue_free(struct tarn_layer_queue *queue);
TARN_DEFINE_CLEANUP(struct tarn_layer_queue, tarn_layer_queue_free)

// Any thread may call these.
// Waits for room, and takes the layer over. False, and the layer stays the caller's: it was stopped.
bool tarn_layer_queue_put(struct tarn_layer_queue *queue,
                          const struct tarn_prepared_layer *layer) tarn_must_check;
// Waits for a layer, which becomes the caller's. False: it was stopped.
bool tarn_layer_queue_take(struct tarn_layer_queue *queue,
                           struct tarn_prepared_layer *layer) tarn_must_check;
// A stage failed or needs no more: whoever waits goes on, nothing is put or taken from now on.
void tarn_layer_queue_stop(struct tarn_layer_queue *queue);
bool tarn_layer_queue_stopped(struct tarn_layer_queue *queue);

#endif
