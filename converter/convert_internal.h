// SPDX-License-Identifier: Apache-2.0
// One `tarn convert`: what it has open, and its steps in the order in which convert.c takes them.
#ifndef TARN_CONVERTER_CONVERT_INTERNAL_H
#define TARN_CONVERTER_CONVERT_INTERNAL_H

#include "converter/blob_copy.h"
#include "converter/image_convert.h"
#include "registry/image_reader.h"

// Everything that one conversion has open.
struct tarn_conversion {
    const struct tarn_convert_options *options;
    struct tarn_convert_summary *summary;
    struct tarn_reference source; // kind TARN_REFERENCE_OCI etc.; unused with layers
    struct tarn_reference destination;
    struct tarn_blocking *from_blocking; // NULL: no repository is read
    struct tarn_repository *from;
    struct tarn_blocking *to_blocking;
    struct tarn_repository *to;
    struct tarn_blocking *copy_blocking; // a second way to the destination, for stage A's thread
    struct tarn_repository *copy_to;     // NULL: the original is copied in the end
    struct tarn_pool *pool;
    struct tarn_reuse *reuse;
    struct tarn_loaded_image dict_image; // dict borrows its tables
    struct tarn_dict *dict;
    json_t *entries; // Tarn's index entries, one for each image
    // Of the images of a registry, in turn; the files of the original's layers are kept in them.
    struct tarn_layer_fetch **fetches;
    size_t fetch_count;
};

// Source and destination are in one registry, where blobs are mounted and not copied.
bool tarn_convert_same_registry(const struct tarn_conversion *conversion);

// The platform that is asked for: --platform's or this host's.
int tarn_convert_platform(const struct tarn_conversion *conversion, struct tarn_platform *platform,
                          struct tarn_err *err) tarn_must_check;

// How a repository is opened: a destination, or a source. An interrupt ends what a registry does not answer.
struct tarn_repository_options
tarn_convert_repository_options(const struct tarn_conversion *conversion, bool create);

// convert_open.c: opens both sides and what all images share.
int tarn_convert_open(struct tarn_conversion *conversion, struct tarn_err *err) tarn_must_check;
void tarn_convert_close(struct tarn_conversion *conversion); // also when it was opened in part

// convert_dict.c: opens the image of --dict, if there is one, and copies its blobs to the destination.
int tarn_convert_open_dict(struct tarn_conversion *conversion,
                           struct tarn_err *err) tarn_must_check;

// convert_source.c: a plain image of the source repository. A registry's layers are downloaded from the
// first read on. Borrows from the conversion.
struct tarn_source_image {
    json_t *config;
    struct tarn_image_layer *layers;
    uint32_t layer_count;
};
int tarn_source_image_open(struct tarn_conversion *conversion,
                           const struct tarn_descriptor *original, struct tarn_source_image *image,
                           struct tarn_err *err) tarn_must_check;
void tarn_source_image_release(struct tarn_source_image *image); // also when it was opened in part
// tarn_copy's downloaded; context is the conversion.
int tarn_convert_downloaded(void *context, const struct tarn_digest *digest);

// convert_publish.c: the tag shows Tarn's manifest alone.
int tarn_convert_publish_tarn(struct tarn_conversion *conversion,
                              const struct tarn_image_result *result,
                              struct tarn_err *err) tarn_must_check;
// The tag goes on to show the original, which is copied, with Tarn's entries behind it.
int tarn_convert_publish_original(struct tarn_conversion *conversion,
                                  const struct tarn_descriptor *original,
                                  struct tarn_err *err) tarn_must_check;

#endif
