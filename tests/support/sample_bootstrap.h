// SPDX-License-Identifier: Apache-2.0
// Layers around a sample tree, as far as tarn_bootstrap_build() looks at them: chunk tables of the
// sample's data spaces, cut every 64 KiB, and chunks of a blob outside of the chain.
#ifndef TARN_TEST_SAMPLE_BOOTSTRAP_H
#define TARN_TEST_SAMPLE_BOOTSTRAP_H

#include "format/bootstrap.h"
#include "tests/support/sample_tree.h"

enum { TARN_SAMPLE_CUT = 64 << 10 };

struct tarn_sample_layers {
    struct tarn_sample *sample; // borrowed
    struct tarn_layer_metadata metadata[TARN_SAMPLE_CHAIN];
    struct tarn_tables_builder tables[TARN_SAMPLE_CHAIN];
    struct tarn_bootstrap_layer layers[TARN_SAMPLE_CHAIN];
};

// foreign: how many chunks of the foreign blob each layer refers to; layer i to those from i on.
// Layers without data space refer to none.
struct tarn_sample_layers *tarn_sample_layers_new(struct tarn_sample *sample, uint32_t foreign);
void tarn_sample_layers_free(struct tarn_sample_layers *layers);
TARN_DEFINE_CLEANUP(struct tarn_sample_layers, tarn_sample_layers_free)

// The bootstrap of it all.
void tarn_sample_bootstrap(struct tarn_sample *sample, struct tarn_buf *out);

#endif
