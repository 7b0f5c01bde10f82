// SPDX-License-Identifier: Apache-2.0
// The numbers of the format. docs/format.md is normative; section numbers refer to it.
#ifndef TARN_FORMAT_LIMITS_H
#define TARN_FORMAT_LIMITS_H

#include <stdint.h>

enum {
    TARN_FORMAT_VERSION = 1,

    TARN_BLOCK = 4096,
    TARN_NAME_MAX = 255,
    TARN_PATH_LIMIT = 65535,
    TARN_SYMLINK_MAX = 4095,
    TARN_SYMLINK_DEPTH = 40, // as the kernel's
    TARN_XATTR_NAME_MAX = 255,
    TARN_XATTR_VALUE_MAX = 65535,
    TARN_MAJOR_LIMIT = 1 << 12,
    TARN_MINOR_LIMIT = 1 << 20,
    TARN_BLOBS_MAX = 65535,

    TARN_CHUNKER_GEAR = 1,
    TARN_CHUNK_MIN = 8 << 10,
    TARN_CHUNK_AVG = 32 << 10,
    TARN_CHUNK_MAX = 128 << 10,
    TARN_CHUNK_NORMALISATION = 2,
    TARN_RUN_LENGTH = 256 << 10,
    TARN_PREFIX_LENGTH = 192 << 10,

    TARN_COMPRESSION_ZSTD = 1,
    TARN_LEVEL_DEFAULT = 3,
    TARN_METADATA_LEVEL = 9, // zstd level of sections

    TARN_UNIT_MIN = 256 << 10,
};

#define TARN_FILE_LIMIT (UINT64_C(1) << 43)
// An EROFS block number has 32 bits, and all ones mean a hole.
#define TARN_DATA_SPACE_LIMIT ((UINT64_C(1) << 44) - TARN_BLOCK)
#define TARN_ENTRIES_LIMIT (UINT32_C(1) << 31)
#define TARN_METADATA_LIMIT (UINT64_C(1) << 32)        // of a layer metadata, as stored
#define TARN_BOOTSTRAP_LIMIT (UINT64_C(1) << 32)       // of the bootstrap's archive
#define TARN_BOOTSTRAP_LAYER_LIMIT (UINT64_C(1) << 30) // of the layer that this becomes
#define TARN_NONE UINT32_C(0xffffffff)

#endif
