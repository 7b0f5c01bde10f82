// SPDX-License-Identifier: Apache-2.0
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "daemon/elf_needs.h"

// A file of one page: header, four segments, an interpreter, a dynamic section, its strings.
enum { PHDRS = 64, INTERP = 400, DYNAMIC = 512, STRINGS = 1024, SIZE = 4096 };
#define BASE UINT64_C(0x400000)
static const char strings[] = "\0libone.so.1\0$ORIGIN/../lib:/opt/x\0libtwo.so\0/old";

struct file {
    uint8_t bytes[SIZE];
    uint64_t size;
    uint64_t present; // bytes from here on are not there yet
};

static void make_file(struct file *file)
{
    *file = (struct file){ .size = SIZE, .present = SIZE };
    const Elf64_Ehdr header = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                     __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB, EV_CURRENT },
        .e_type = ET_DYN,
        .e_machine = EM_X86_64,
        .e_phoff = PHDRS,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 4,
    };
    const Elf64_Phdr segments[] = {
        { .p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = 768 },
        { .p_type = PT_LOAD,
          .p_offset = 768,
          .p_vaddr = BASE + 0x10000,
          .p_filesz = SIZE - 768,
          .p_flags = PF_R | PF_W },
        { .p_type = PT_INTERP, .p_offset = INTERP, .p_filesz = 13 },
        { .p_type = PT_DYNAMIC, .p_offset = DYNAMIC, .p_filesz = 12 * sizeof(Elf64_Dyn) },
    };
    const Elf64_Dyn dynamic[] = {
        { DT_NEEDED, { 1 } },
        { DT_RPATH, { 45 } },
        { DT_STRTAB, { BASE + 0x10000 + STRINGS - 768 } },
        { DT_STRSZ, { sizeof strings } },
        { DT_RUNPATH, { 13 } },
        { DT_NEEDED, { 35 } },
        { DT_NULL, { 0 } },
        { DT_NEEDED, { 99999 } },
    };
    memcpy(file->bytes, &header, sizeof header);
    memcpy(file->bytes + PHDRS, segments, sizeof segments);
    memcpy(file->bytes + INTERP, "/lib/ld.so.1", 12);
    memcpy(file->bytes + DYNAMIC, dynamic, sizeof dynamic);
    memcpy(file->bytes + STRINGS, strings, sizeof strings);
}

static int read_bytes(void *context, uint64_t offset, void *bytes, size_t length)
{
    const struct file *file = context;
    assert_true(tarn_range_ok(offset, length, file->size));
    if (offset + length > file->present)
        return -EAGAIN;
    memcpy(bytes, file->bytes + offset, length);
    return 0;
}

static int needs_of(struct file *file, struct tarn_elf_needs *needs)
{
    const struct tarn_elf_source source = { file->size, read_bytes, file };
    return tarn_elf_needs_read(&source, needs);
}

static void test_names(void **state)
{
    (void)state;
    static const char names[] = "/lib/ld.so.1\0libone.so.1\0libtwo.so";
    struct file file;
    struct tarn_elf_needs needs = { 0 };
    make_file(&file);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(needs_of(&file, &needs), 0);
        assert_int_equal(needs.machine, EM_X86_64);
        assert_int_equal(needs.data_offset, 768);
        assert_int_equal(needs.names.length, sizeof names);
        assert_memory_equal(needs.names.data, names, sizeof names);
        assert_string_equal(needs.runpath.data, "$ORIGIN/../lib:/opt/x");
    }
    tarn_elf_needs_release(&needs);
}

// Each try says what it lacks; with that it gets further.
static void test_missing(void **state)
{
    (void)state;
    struct file file;
    struct tarn_elf_needs needs = { 0 };
    make_file(&file);
    file.present = 0;
    unsigned tries = 0;
    while (needs_of(&file, &needs) == -EAGAIN) {
        assert_true(needs.missing + needs.missing_length > file.present);
        file.present = needs.missing + needs.missing_length;
        assert_true(++tries < 8);
    }
    assert_int_equal(needs_of(&file, &needs), 0);
    assert_in_range(tries, 4, 6);
    tarn_elf_needs_release(&needs);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t at;
        uint8_t byte;
    } cases[] = {
        { "magic", 1, 'e' },
        { "32 bit", EI_CLASS, ELFCLASS32 },
        { "the other byte order", EI_DATA, 3 },
        { "an object file", offsetof(Elf64_Ehdr, e_type), ET_REL },
        { "no segments", offsetof(Elf64_Ehdr, e_phnum), 0 },
        { "too many", offsetof(Elf64_Ehdr, e_phnum), 65 },
        { "segments of another size", offsetof(Elf64_Ehdr, e_phentsize), 55 },
        { "segments past the end", offsetof(Elf64_Ehdr, e_phoff) + 1, 0xff },
        { "an interpreter without end", PHDRS + 2 * 56 + offsetof(Elf64_Phdr, p_filesz), 12 },
        { "a dynamic section past the end", PHDRS + 3 * 56 + offsetof(Elf64_Phdr, p_offset) + 2,
          1 },
        { "a name past the strings", DYNAMIC + 8, 200 },
        { "strings that are not loaded", DYNAMIC + 2 * 16 + 8 + 4, 1 },
        { "strings that end too early", DYNAMIC + 3 * 16 + 8, 5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file file;
        struct tarn_elf_needs needs = { 0 };
        make_file(&file);
        assert_int_equal(needs_of(&file, &needs), 0);
        file.bytes[cases[i].at] = cases[i].byte;
        const int ret = needs_of(&file, &needs);
        if (ret != -ENOEXEC)
            fail_msg("%s: %d", cases[i].what, ret);
        tarn_elf_needs_release(&needs);
    }
}

// Any byte may be wrong: no read outside the file (read_bytes asserts), no string without end.
static void test_damaged(void **state)
{
    (void)state;
    struct file file;
    struct tarn_elf_needs needs = { 0 };
    for (size_t at = 0; at < STRINGS + sizeof strings; at++) {
        for (unsigned value = 0; value < 3; value++) {
            make_file(&file);
            file.bytes[at] = (uint8_t[]){ 0, 0x7f, 0xff }[value];
            if (needs_of(&file, &needs) == 0 && needs.names.length > 0)
                assert_int_equal(needs.names.data[needs.names.length - 1], 0);
        }
    }
    for (uint64_t size = 0; size < SIZE; size += 7) {
        make_file(&file);
        file.size = size;
        (void)!needs_of(&file, &needs);
    }
    tarn_elf_needs_release(&needs);
}

static int read_program(void *context, uint64_t offset, void *bytes, size_t length)
{
    return pread(*(int *)context, bytes, length, (off_t)offset) == (ssize_t)length ? 0 : -EIO;
}

static bool has_name(const struct tarn_buf *names, const char *name)
{
    const char *at = (const char *)names->data;
    const char *end = at + names->length;
    for (; at < end; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

// This program itself.
static void test_program(void **state)
{
    (void)state;
    struct tarn_elf_needs needs = { 0 };
    struct stat status;
    tarn_autoclose int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    const struct tarn_elf_source source = { (uint64_t)status.st_size, read_program, &fd };
    assert_int_equal(tarn_elf_needs_read(&source, &needs), 0);
    assert_int_equal(needs.names.data[0], '/');
    assert_true(has_name(&needs.names, "libcmocka.so.0"));
    assert_true(has_name(&needs.names, "libc.so.6"));
    tarn_elf_needs_release(&needs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),   cmocka_unit_test(test_missing),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
