// SPDX-License-Identifier: Apache-2.0
// An ELF file. The first byte says how many 16ths of it are not there yet.
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "daemon/elf_needs.h"

struct file {
    const uint8_t *bytes;
    uint64_t size;
    uint64_t present;
};

static int read_bytes(void *context, uint64_t offset, void *bytes, size_t length)
{
    const struct file *file = context;
    if (!tarn_range_ok(offset, length, file->size))
        abort();
    if (offset + length > file->present)
        return -EAGAIN;
    memcpy(bytes, file->bytes + offset, length);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct file file = { data + 1, size - 1, (size - 1) * (16 - data[0] % 16) / 16 };
    const struct tarn_elf_source source = { file.size, read_bytes, &file };
    struct tarn_elf_needs needs = { 0 };
    const int ret = tarn_elf_needs_read(&source, &needs);
    if (ret == -EAGAIN && (needs.missing + needs.missing_length <= file.present ||
                           !tarn_range_ok(needs.missing, needs.missing_length, file.size)))
        abort();
    if (ret == 0 &&
        ((needs.names.length > 0 && needs.names.data[needs.names.length - 1] != 0) ||
         (needs.runpath.length > 0 && needs.runpath.data[needs.runpath.length - 1] != 0)))
        abort();
    tarn_elf_needs_release(&needs);
    return 0;
}
