// SPDX-License-Identifier: Apache-2.0
// The records of layer metadata (section 6): offsets of their fields, and what the reader's files
// share.
#ifndef TARN_FORMAT_LAYER_METADATA_INTERNAL_H
#define TARN_FORMAT_LAYER_METADATA_INTERNAL_H

#include "format/layer_metadata.h"
#include "format/section.h"

enum {
    LAYER_SIZE = 128,
    LAYER_CHUNKER = 0,
    LAYER_MIN = 4,
    LAYER_AVG = 8,
    LAYER_MAX = 12,
    LAYER_NORMALISATION = 16,
    LAYER_RUN = 20,
    LAYER_PREFIX = 24,
    LAYER_COMPRESSION = 28,
    LAYER_ENCRYPTION = 32,
    LAYER_LEVEL = 36,
    LAYER_ZSTD = 40,
    LAYER_CHAIN_INDEX = 44,
    LAYER_DATA_LENGTH = 48,
    LAYER_CHUNKS_LENGTH = 56,
    LAYER_INODES = 64,
    LAYER_NAMES = 68,
    LAYER_CONTENTS = 72,
    LAYER_BLOBS = 76,
    LAYER_ZERO = 80,

    INODE_SIZE = 64,
    INODE_MODE = 0,
    INODE_ZERO = 4,
    INODE_UID = 8,
    INODE_GID = 12,
    INODE_MTIME = 16,
    INODE_MTIME_NS = 24,
    INODE_XATTRS = 28,
    INODE_DEVICE = 32,
    INODE_TARGET = 40,
    INODE_TARGET_LENGTH = 48,
    INODE_CONTENT = 52,
    INODE_ZERO_END = 56,

    NAME_SIZE = 12,
    NAME_PARENT = 0,
    NAME_INODE = 4,
    NAME_LENGTH = 8,
    NAME_FLAGS = 10,
    NAME_WHITEOUT = 1,
    NAME_OPAQUE = 2,
    NAME_IMPLICIT = 4,

    CONTENT_SIZE = 64,
    CONTENT_DIGEST = 0,
    CONTENT_FILE_SIZE = 32,
    CONTENT_ADDRESS = 40,
    CONTENT_KIND = 48,
    CONTENT_HOLDER = 52,
    CONTENT_FIRST_EXTENT = 56,
    CONTENT_EXTENTS = 60,

    EXTENT_SIZE = 8,

    // Beyond what each may have in any case, a layer metadata costs its reader at most so much for
    // each of its bytes. Real ones have up to 250 (300,000 empty files with numbers for names).
    COST_NAME = 128, // of a name's place in the tree
    COST_FREE = 256 << 20,
    COST_RATIO = 1024,
};

// What a section of so many decoded bytes costs its reader (section 6).
static inline uint64_t tarn_layer_metadata_cost(uint32_t type, uint64_t length)
{
    return length + (type == TARN_SECTION_NAMES ? length / NAME_SIZE * COST_NAME : 0);
}

static inline bool tarn_layer_metadata_is_bomb(uint64_t cost, uint64_t stored)
{
    return cost > COST_FREE && (cost - COST_FREE) / COST_RATIO > stored;
}

// A set's index is for whoever walks the tree; all else in it is immutable, and it lies in the
// tree's arena, where everything can be written.
static inline uint32_t *tarn_layer_metadata_set_index(const struct tarn_xattr_set *set)
{
    return &((struct tarn_xattr_set *)(uintptr_t)set)->index;
}

// A layer metadata container that is being read. What the sections that were read made of it stands
// in the arrays, by record number; the things themselves are the tree's.
struct tarn_layer_metadata_reader {
    struct tarn_sections sections;
    struct tarn_section_source source;
    struct tarn_layer_metadata *metadata;
    struct tarn_err *err;
    uint32_t inode_count;
    uint32_t name_count;
    uint32_t content_count;
    uint32_t set_count;
    uint32_t blob_count;
    struct tarn_content **contents;     // owned
    const struct tarn_xattr_set **sets; // owned
    struct tarn_inode **inodes;         // owned
};

// "layer metadata: WHAT record INDEX: RULE"; returns -EUCLEAN.
int tarn_layer_metadata_fail(const struct tarn_layer_metadata_reader *reader, const char *what,
                             uint32_t index, const char *rule);

// What a section must be, decoded: count records of size bytes; with size 0 at most count bytes.
struct tarn_layer_metadata_shape {
    uint32_t type;
    uint32_t size;
    uint64_t count;
};
// The section; as tarn_section_open().
int tarn_layer_metadata_open(struct tarn_layer_metadata_reader *reader,
                             const struct tarn_layer_metadata_shape *shape,
                             struct tarn_buf *decoded, struct tarn_bytes *bytes) tarn_must_check;

// Each reads its sections and fills its array; in this order.
int tarn_layer_metadata_read_contents(struct tarn_layer_metadata_reader *reader) tarn_must_check;
int tarn_layer_metadata_read_xattrs(struct tarn_layer_metadata_reader *reader) tarn_must_check;
int tarn_layer_metadata_read_inodes(struct tarn_layer_metadata_reader *reader) tarn_must_check;
int tarn_layer_metadata_read_names(struct tarn_layer_metadata_reader *reader) tarn_must_check;

#endif
