// SPDX-License-Identifier: Apache-2.0
// What an ELF program or shared object names to be loaded with it: its interpreter and the libraries of
// its dynamic section. Bytes may be missing yet. Nothing is trusted: every number is bounded. 64-bit
// files in the host's byte order only. Source: the System V ABI, gABI chapters 4 and 5.
#ifndef TARN_DAEMON_ELF_NEEDS_H
#define TARN_DAEMON_ELF_NEEDS_H

#include "base/buf.h"

struct tarn_elf_source {
    uint64_t size; // of the file, bytes
    // Reads bytes that lie inside the file: 0, -EAGAIN if they are not there yet, or another -errno.
    int (*read)(void *context, uint64_t offset, void *bytes, size_t length);
    void *context;
};

struct tarn_elf_needs {
    uint16_t machine;      // EM_*
    struct tarn_buf names; // each with its NUL: the interpreter's path, if any, then library names
    struct tarn_buf runpath; // directories with `:` between them, and a NUL; empty: none
    uint64_t data_offset; // where the last writable segment starts; the file's size: there is none
    uint64_t missing;     // after -EAGAIN: what could not be read
    size_t missing_length;
};
void tarn_elf_needs_release(struct tarn_elf_needs *needs);

// Sets needs, which is empty or the result of an earlier try. -ENOEXEC: no such file, or damaged; -EAGAIN;
// -ENOMEM; what read() said.
int tarn_elf_needs_read(const struct tarn_elf_source *source,
                        struct tarn_elf_needs *needs) tarn_must_check;

#endif
