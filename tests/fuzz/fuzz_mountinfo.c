// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "daemon/mountinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *cursor = text;
    struct tarn_mountinfo info;
    while (tarn_mountinfo_next(&cursor, &info)) {
        if (strlen(info.root) + strlen(info.point) + strlen(info.type) + strlen(info.source) > size)
            abort();
        if (tarn_mountinfo_slot(info.root) != 0 && strncmp(info.root, "/images/", 8) != 0)
            abort();
    }
    free(text);
    return 0;
}
