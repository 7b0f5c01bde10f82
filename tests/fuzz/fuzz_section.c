// SPDX-License-Identifier: Apache-2.0
// Input: a byte that says which container (modulo 3) and, with bit 7, that its checksums are made
// right first; then the container.
#include <stdlib.h>
#include <string.h>

#include "format/section.h"
#include "tests/support/container_fix.h"

static void open_all(const struct tarn_sections *sections, const uint8_t *container)
{
    const struct tarn_section_source source = { sections, container, 1 << 20 };
    struct tarn_buf decoded = { 0 };
    for (uint32_t i = 0; i < sections->count; i++) {
        struct tarn_bytes bytes;
        struct tarn_err err = { 0 };
        const int ret = tarn_section_open(&source, sections->items[i].type, &decoded, &bytes, &err);
        if (ret == 0 && bytes.length > source.limit)
            abort();
        if (ret < 0 && !strstr(err.text, "section 0x") && ret != -ENOMEM)
            abort();
    }
    tarn_buf_release(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    static const struct {
        enum tarn_container container;
        const char *name; // in messages
    } kinds[] = { { TARN_CONTAINER_BLOB, "blob" },
                  { TARN_CONTAINER_METADATA, "layer metadata" },
                  { TARN_CONTAINER_BOOTSTRAP, "bootstrap" } };
    const unsigned kind = (data[0] & 0x7f) % 3;
    const size_t length = size - 1;
    uint8_t *container = malloc(length ? length : 1);
    if (!container)
        return 0;
    memcpy(container, data + 1, length);
    if (data[0] & 0x80)
        tarn_test_fix_container(container, length);
    const struct tarn_section_tail tail = { kinds[kind].container, container, length, length };
    struct tarn_sections sections;
    struct tarn_err err = { 0 };
    const int ret = tarn_sections_parse(&tail, &sections, &err);
    if (ret < 0 && !strstr(err.text, kinds[kind].name))
        abort();
    if (ret == 0 && tarn_sections_check_padding(&sections, container, &err) == 0)
        open_all(&sections, container);
    free(container);
    return 0;
}
