// SPDX-License-Identifier: Apache-2.0
// The tar reader on any bytes: a tar gives the same in one piece as in many.
#include <string.h>

#include "tests/fuzz/tar_mutator.h"
#include "tests/support/tar_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tarn_buf tape tarn_autobuf = { 0 };
    if (size < 1 || tarn_buf_append(&tape, data, size) < 0)
        return 0;
    struct tarn_tar_log whole = { 0 };
    struct tarn_tar_log pieces = { 0 };
    struct tarn_err whole_err = { 0 };
    struct tarn_err pieces_err = { 0 };
    const int ret = tarn_tar_log_run(&tape, size, size, &whole, &whole_err);
    const size_t piece = 1 + data[size - 1] * (size_t)5;
    if (tarn_tar_log_run(&tape, piece, piece, &pieces, &pieces_err) != ret ||
        strcmp(whole_err.text, pieces_err.text) != 0)
        abort();
    // On failure a piece of data may be handed out or not.
    if (ret == 0 && strcmp((const char *)whole.text.data, (const char *)pieces.text.data) != 0)
        abort();
    tarn_tar_log_release(&whole);
    tarn_tar_log_release(&pieces);
    return 0;
}
