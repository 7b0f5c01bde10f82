// SPDX-License-Identifier: Apache-2.0
// The index that a registry's tag is to show: pure functions over documents.
#ifndef TARN_REGISTRY_REMOTE_INDEX_H
#define TARN_REGISTRY_REMOTE_INDEX_H

#include "base/json.h"

// What is known of a tag's new and old state. All borrowed.
struct tarn_remote_index {
    const json_t *original; // descriptor
    const json_t *document; // its document
    const json_t *current;  // what the tag shows now, or NULL
    const json_t *tarn;     // array: Tarn's entries for images of the original
};

// A new index: the images of the original (or those of the current index, where that is an index with the
// original in it, so that a tag of many platforms keeps them all), in their order and untouched; then Tarn's
// entries: the new ones, and of the current index those for other images that are in it. An image without
// a platform gets that of its Tarn entry. NULL when out of memory.
json_t *tarn_remote_index_make(const struct tarn_remote_index *from);

// The index that stands for the referrers of a manifest: current (or NULL) with the entries in tarn, in place
// of Tarn's older ones. NULL when out of memory.
json_t *tarn_remote_referrers_make(const json_t *current, const json_t *tarn);

#endif
