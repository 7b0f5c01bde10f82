// SPDX-License-Identifier: Apache-2.0
#include "daemon/control_message.h"

// What is taken can be written again and is the same then.
static void check(const json_t *message)
{
    struct tarn_buf again = { 0 };
    json_t *back = NULL;
    if (tarn_message_encode(message, &again) == 0) {
        if (tarn_message_take(&again, &back, NULL) != 1 || !json_equal(message, back) ||
            again.length != 0)
            abort();
        json_decref(back);
    }
    tarn_buf_release(&again);
    free(tarn_message_get_bytes(message, "image"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tarn_buf input = { 0 };
    if (tarn_buf_append(&input, data, size) < 0)
        return 0;
    json_t *message = NULL;
    while (tarn_message_take(&input, &message, NULL) == 1) {
        check(message);
        json_decref(message);
    }
    tarn_buf_release(&input);
    return 0;
}
