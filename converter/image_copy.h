// SPDX-License-Identifier: Apache-2.0
// The layers of the original on their way to the destination, copied by a thread of their own once all are
// read. The making of the bootstrap keeps one processor busy, so that the last of them are left until
// then; the others are copied beside stage B, which knows best what to do with every processor.
#ifndef TARN_CONVERTER_IMAGE_COPY_H
#define TARN_CONVERTER_IMAGE_COPY_H

#include "converter/blob_copy.h"

struct tarn_image_copier;

struct tarn_image_copy {
    const struct tarn_copy *copy;     // from one disk to another: a registry does not wait long
    const struct tarn_blob_id *blobs; // copied
    uint32_t count;
    uint64_t last; // bytes to leave until tarn_image_copier_hurry()
};

// Starts. NULL: it cannot; what is not copied here is copied when the original is published.
struct tarn_image_copier *tarn_image_copier_start(const struct tarn_image_copy *image);
// The last bytes' time has come. Any thread.
void tarn_image_copier_hurry(struct tarn_image_copier *copier);
// Waits for the end, or gives up what is not copied yet; NULL is fine.
void tarn_image_copier_finish(struct tarn_image_copier *copier, bool give_up);

#endif
