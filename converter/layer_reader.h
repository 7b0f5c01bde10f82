// SPDX-License-Identifier: Apache-2.0
// Stage A of a layer's conversion: from its bytes, wherever they are, to its own tree, its contents in
// a spool and its diff_id. Three threads for an archive: one reads and decompresses, one hashes for the
// diff_id, the caller's parses, spools and hashes contents.
#ifndef TARN_CONVERTER_LAYER_READER_H
#define TARN_CONVERTER_LAYER_READER_H

#include <signal.h>

#include "converter/data_space.h"
#include "converter/layer_fetch.h"
#include "registry/blocking.h"

enum tarn_layer_source_kind {
    TARN_LAYER_SOURCE_BLOB,      // of a repository
    TARN_LAYER_SOURCE_FILE,      // a tar file, plain or compressed
    TARN_LAYER_SOURCE_DIRECTORY, // a directory tree
};

struct tarn_layer_source {
    enum tarn_layer_source_kind kind;
    struct tarn_blocking *blocking; // BLOB; used by another thread during the read
    struct tarn_repository *repository;
    struct tarn_blob_id blob; // FILE: its size alone, for the progress; 0: unknown
    struct tarn_layer_fetch
        *fetch; // BLOB, of a registry: the layer is read through it; NULL: it is not
    uint32_t fetch_index;
    const char *path; // FILE and DIRECTORY; borrowed
};

struct tarn_layer_read_options {
    const struct tarn_tree *lower;       // the merged tree of the layers below; NULL: nothing
    bool measure;                        // only tree and identities are wanted: nothing is spooled
    const volatile sig_atomic_t *cancel; // NULL, or ends the read with -EINTR once it is not 0
    void (*progress)(void *context, uint64_t bytes); // NULL, or told of bytes read from the source
    void *progress_context;
};

struct tarn_layer_input {
    struct tarn_tree *tree;
    struct tarn_spool *spool;
    struct tarn_digest diff_id;       // zero for a directory
    struct tarn_digest source_digest; // of the bytes as they are; zero for a directory
    uint64_t source_bytes;            // as they are
    uint64_t tar_bytes;
    uint64_t dropped_xattrs;  // of namespaces that Linux does not know
    uint64_t dropped_sockets; // a directory's
};

int tarn_layer_read(const struct tarn_layer_source *source,
                    const struct tarn_layer_read_options *options, struct tarn_layer_input *input,
                    struct tarn_err *err) tarn_must_check;
void tarn_layer_input_release(struct tarn_layer_input *input);

#endif
