// SPDX-License-Identifier: Apache-2.0
// Any bytes as a path in a tar: what comes out clean stays inside, says the same when cleaned again,
// and leaves what was in the buffer only behind an error.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "converter/tar_entry.h"
#include "converter/tar_name.h"

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_clean(const struct tarn_buf *clean)
{
    const char *path = (const char *)clean->data;
    must(clean->length <= TARN_TAR_PATH_MAX && strlen(path) == clean->length);
    must(path[0] != '/' && (clean->length == 0 || path[clean->length - 1] != '/'));
    for (const char *at = path; *at != '\0';) {
        const size_t length = strcspn(at, "/");
        const bool whiteout = at[length] == '\0' && strncmp(at, ".wh.", 4) == 0;
        must(length >= 1 && length <= TARN_TAR_NAME_MAX + (whiteout ? 4 : 0));
        must(!(length == 1 && at[0] == '.') && !(length == 2 && memcmp(at, "..", 2) == 0));
        at += length + (at[length] == '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes tarn_autofree = malloc(size ? size : 1); // AddressSanitizer guards its end
    must(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    char quoted[TARN_TAR_QUOTED];
    must(strlen(tarn_tar_quote(bytes, size, quoted)) < TARN_TAR_QUOTED);
    for (const char *at = quoted; *at != '\0'; at++)
        must(*at >= ' ' && *at <= '~');

    tarn_autobuf struct tarn_buf clean = { 0 };
    tarn_autobuf struct tarn_buf again = { 0 };
    struct tarn_err err = { 0 };
    const int ret = tarn_tar_clean(bytes, size, &clean, &err);
    if (ret < 0) {
        must(err.text[0] != '\0');
        return 0;
    }
    check_clean(&clean);
    if (clean.length == 0)
        return 0; // the root
    must(tarn_tar_clean(clean.data, clean.length, &again, &err) == 0);
    must(again.length == clean.length && memcmp(again.data, clean.data, clean.length) == 0);
    return 0;
}
