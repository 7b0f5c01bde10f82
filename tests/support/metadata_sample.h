// SPDX-License-Identifier: Apache-2.0
// A layer that has one of everything, for tests of layer metadata and seeds of fuzzers.
#ifndef TARN_TESTS_METADATA_SAMPLE_H
#define TARN_TESTS_METADATA_SAMPLE_H

#include <stdbool.h>

#include "format/layer_metadata.h"

// The layer with chain index 1, above a blob with a data space of 64 KiB, and one foreign blob; its
// own data space has 532,480 bytes. The caller releases both. NULL, never with sound memory.
struct tarn_tree *tarn_test_sample_tree(void);
bool tarn_test_sample_tables(struct tarn_tables_builder *builder);
struct tarn_layer_parameters tarn_test_sample_parameters(void);

// All of it written; returns whether it worked.
bool tarn_test_sample_metadata(struct tarn_buf *out, struct tarn_err *err);

#endif
