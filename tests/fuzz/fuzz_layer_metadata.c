// SPDX-License-Identifier: Apache-2.0
// Input: a byte for the form, then
//   0: a container, whose checksums are made right;
//   1: its decoded sections in the flat form of metadata_parts.h; 2: the same, counts made right.
// What is read from 1 and 2 and written again must give the same bytes.
#include <stdlib.h>
#include <string.h>

#include "format/layer_metadata.h"
#include "tests/support/container_fix.h"
#include "tests/support/metadata_parts.h"

static void read_and_write(const struct tarn_buf *container, bool same)
{
    struct tarn_layer_metadata metadata;
    struct tarn_err err = { 0 };
    const int ret = tarn_layer_metadata_read(container->data, container->length, &metadata, &err);
    if (ret < 0) {
        if (strncmp(err.text, "layer metadata", 14) != 0 && ret != -ENOMEM)
            abort();
        return;
    }
    struct tarn_buf again = { 0 };
    if (tarn_layer_metadata_write(&metadata.parameters, metadata.tree, &metadata.tables, &again,
                                  NULL) < 0)
        abort();
    if (same && (again.length != container->length ||
                 memcmp(again.data, container->data, again.length) != 0))
        abort();
    tarn_buf_release(&again);
    tarn_layer_metadata_release(&metadata);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const int form = data[0] % 3;
    struct tarn_test_parts parts = { 0 };
    struct tarn_buf container = { 0 };
    bool ok;
    if (form == 0) {
        ok = tarn_buf_append(&container, data + 1, size - 1) == 0;
        if (ok)
            tarn_test_fix_container(container.data, container.length);
    } else {
        ok = tarn_test_parts_unflatten(data + 1, size - 1, &parts);
        if (form == 2)
            tarn_test_parts_fix_counts(&parts);
        ok = ok && tarn_test_parts_join(&parts, &container);
    }
    if (ok)
        read_and_write(&container, form != 0);
    tarn_test_parts_release(&parts);
    tarn_buf_release(&container);
    return 0;
}
