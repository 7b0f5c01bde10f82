// SPDX-License-Identifier: Apache-2.0
// `tarn convert`: from an image, archives or a directory to a Tarn image at a destination.
#ifndef TARN_CONVERTER_CONVERT_H
#define TARN_CONVERTER_CONVERT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "registry/access.h"

// Work is counted in bytes of the source's layers, each twice: once read, once converted.
enum tarn_convert_progress {
    TARN_CONVERT_TOTAL, // so much work came in sight
    TARN_CONVERT_DONE,  // so much of it was done
};

struct tarn_convert_options {
    const char *source;        // a reference; NULL: layers
    const char *const *layers; // tar: references, bottom first
    uint32_t layer_count;
    const char *destination;
    const char *platform; // NULL: this host's
    bool all_platforms;
    int level;        // zstd
    unsigned threads; // 0: as many as there are processors
    bool replace;     // the tag shows Tarn's manifest alone
    bool referrer;    // a registry: no tag shows it, it is a referrer of the original
    const char *dict; // a converted image whose chunks may be referred to; NULL: none
    bool no_reuse;
    bool no_layer_tags;
    const struct tarn_access *access;    // to registries, on both sides; NULL: the defaults
    const volatile sig_atomic_t *cancel; // NULL, or ends it with -EINTR once it is not 0
    // NULL, or told of each step, from several threads.
    void (*progress)(void *context, enum tarn_convert_progress what, uint64_t bytes);
    void (*note)(void *context, const char *text); // NULL, or told in words, from several threads
    void *context;
};

struct tarn_convert_summary {
    uint32_t images;
    uint32_t layers;
    uint32_t layers_reused;
    uint64_t source_bytes;    // layers as they are at the source
    uint64_t tar_bytes;       // uncompressed
    uint64_t blob_bytes;      // of all blobs of the result
    uint64_t bootstrap_bytes; // as a layer
    uint64_t data_bytes;      // of all data spaces
    uint64_t unique_bytes;    // of them, without references
    uint64_t chunks;
    uint64_t runs;
    uint64_t references;
    uint64_t dropped_xattrs;
    uint64_t dropped_sockets;
    struct tarn_digest tree_digest;     // of the last image
    struct tarn_digest manifest_digest; // Tarn's, of the last image
};

// Blocks until all is done; leaves no tag behind when it fails.
int tarn_convert(const struct tarn_convert_options *options, struct tarn_convert_summary *summary,
                 struct tarn_err *err) tarn_must_check;

#endif
