// SPDX-License-Identifier: Apache-2.0
// The mutator of fuzz targets that take tars: headers are signed again, or nothing would get past the
// checksum. Defines what libFuzzer looks for, so it is included once in a target.
#ifndef TARN_TESTS_TAR_MUTATOR_H
#define TARN_TESTS_TAR_MUTATOR_H

#include <string.h>

#include "converter/tar_entry.h"
#include "tests/support/tar_tape.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 8 == 0)
        return size;
    for (size_t at = 0; at + TARN_TAR_BLOCK <= size; at += TARN_TAR_BLOCK)
        if (at == 0 || memcmp(data + at + 257, "ustar", 5) == 0)
            tarn_tape_sign(data + at);
    return size;
}

#endif
