// SPDX-License-Identifier: Apache-2.0
// Input: u64 size of the blob, then its last bytes, whose checksum is made right. What is read is
// written again and must give the same bytes.
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/blob_footer.h"
#include "tests/support/container_fix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    const uint64_t blob_size = tarn_get_le64(data);
    const size_t length = size - 8;
    uint8_t *tail = malloc(length ? length : 1);
    if (!tail)
        return 0;
    memcpy(tail, data + 8, length);
    tarn_test_fix_directory(tail, length);
    struct tarn_blob_footer footer;
    struct tarn_err err = { 0 };
    if (tarn_blob_footer_read(tail, length, blob_size, &footer, &err) == 0) {
        struct tarn_buf out = { 0 };
        if (tarn_blob_footer_write(&footer, &out) == 0) {
            // Compat flags and unknown optional sections are not kept.
            struct tarn_blob_footer again;
            if (tarn_blob_footer_read(out.data, out.length,
                                      footer.metadata_offset + footer.metadata_length + out.length,
                                      &again, NULL) < 0 ||
                memcmp(&again, &footer, sizeof again) != 0)
                abort();
        }
        tarn_buf_release(&out);
    }
    free(tail);
    return 0;
}
