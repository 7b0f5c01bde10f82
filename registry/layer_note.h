// SPDX-License-Identifier: Apache-2.0
// The note of a converted layer: a manifest of this one layer, which keeps it findable until an image has it.
#ifndef TARN_REGISTRY_LAYER_NOTE_H
#define TARN_REGISTRY_LAYER_NOTE_H

#include "base/digest.h"
#include "base/json.h"

// The note of a blob, whose descriptor stands equally in the image's manifest. NULL when out of memory.
json_t *tarn_layer_note(const json_t *blob);

// The digest of the config that all notes have, two bytes: the empty document that OCI defines for this.
void tarn_layer_note_config(struct tarn_digest *digest);

#endif
