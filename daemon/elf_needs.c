// SPDX-License-Identifier: Apache-2.0
#include "daemon/elf_needs.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

enum {
    SEGMENTS_MAX = 64,
    DYNAMIC_MAX = 4096, // entries
    NEEDED_MAX = 256,
    NAME_MAX_LENGTH = 1024,
};
#define NATIVE_ORDER (__BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB)

struct elf {
    const struct tarn_elf_source *source;
    struct tarn_elf_needs *needs;
    Elf64_Phdr segments[SEGMENTS_MAX];
    size_t segment_count;
};

void tarn_elf_needs_release(struct tarn_elf_needs *needs)
{
    tarn_buf_release(&needs->names);
    tarn_buf_release(&needs->runpath);
}

static int get(const struct elf *elf, uint64_t offset, void *bytes, size_t length)
{
    if (!tarn_range_ok(offset, length, elf->source->size))
        return -ENOEXEC;
    const int ret = elf->source->read(elf->source->context, offset, bytes, length);
    if (ret == -EAGAIN) {
        elf->needs->missing = offset;
        elf->needs->missing_length = length;
    }
    return ret;
}

static int read_segments(struct elf *elf)
{
    Elf64_Ehdr header;
    const int ret = get(elf, 0, &header, sizeof header);
    if (ret < 0)
        return ret;
    const bool known = memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
                       header.e_ident[EI_CLASS] == ELFCLASS64 &&
                       header.e_ident[EI_DATA] == NATIVE_ORDER &&
                       (header.e_type == ET_EXEC || header.e_type == ET_DYN) &&
                       header.e_phentsize == sizeof elf->segments[0];
    if (!known || header.e_phnum == 0 || header.e_phnum > SEGMENTS_MAX)
        return -ENOEXEC;
    elf->needs->machine = header.e_machine;
    elf->segment_count = header.e_phnum;
    return get(elf, header.e_phoff, elf->segments, header.e_phnum * sizeof elf->segments[0]);
}

static uint64_t find_data(const struct elf *elf)
{
    uint64_t offset = elf->source->size;
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_W)
            offset = tarn_min_u64(segment->p_offset, elf->source->size);
    }
    return offset;
}

static const Elf64_Phdr *find_segment(const struct elf *elf, uint32_t type)
{
    for (size_t i = 0; i < elf->segment_count; i++)
        if (elf->segments[i].p_type == type)
            return &elf->segments[i];
    return NULL;
}

// Where the file has what is loaded at the address; *room: how many bytes follow it there.
static bool find_address(const struct elf *elf, uint64_t address, uint64_t *offset, uint64_t *room)
{
    for (size_t i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *segment = &elf->segments[i];
        if (segment->p_type != PT_LOAD || address < segment->p_vaddr ||
            address - segment->p_vaddr >= segment->p_filesz ||
            !tarn_range_ok(segment->p_offset, segment->p_filesz, elf->source->size))
            continue;
        *offset = segment->p_offset + (address - segment->p_vaddr);
        *room = segment->p_filesz - (address - segment->p_vaddr);
        return true;
    }
    return false;
}

// Appends the string that starts at the offset and ends within room bytes.
static int append_string(const struct elf *elf, uint64_t offset, uint64_t room,
                         struct tarn_buf *strings)
{
    char text[NAME_MAX_LENGTH];
    const size_t length = (size_t)tarn_min_u64(room, sizeof text);
    const int ret = get(elf, offset, text, length);
    if (ret < 0)
        return ret;
    const size_t end = strnlen(text, length);
    if (end == length)
        return -ENOEXEC;
    return tarn_buf_append(strings, text, end + 1);
}

static int read_interpreter(const struct elf *elf)
{
    const Elf64_Phdr *segment = find_segment(elf, PT_INTERP);
    return segment ? append_string(elf, segment->p_offset, segment->p_filesz, &elf->needs->names)
                   : 0;
}

struct strings {
    uint64_t offset; // in the file
    uint64_t length;
};

static int find_strings(const struct elf *elf, const Elf64_Dyn *entries, size_t count,
                        struct strings *strings)
{
    uint64_t address = 0;
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].d_tag == DT_STRTAB)
            address = entries[i].d_un.d_ptr;
        else if (entries[i].d_tag == DT_STRSZ)
            size = entries[i].d_un.d_val;
    }
    uint64_t room;
    if (!find_address(elf, address, &strings->offset, &room))
        return -ENOEXEC;
    strings->length = tarn_min_u64(size, room);
    return 0;
}

static int append_names(const struct elf *elf, const Elf64_Dyn *entries, size_t count)
{
    struct strings strings;
    size_t needed = 0;
    int ret = find_strings(elf, entries, count, &strings);
    for (size_t i = 0; ret == 0 && i < count; i++) {
        const int64_t tag = entries[i].d_tag;
        const uint64_t at = entries[i].d_un.d_val;
        if (tag != DT_NEEDED && tag != DT_RUNPATH && tag != DT_RPATH)
            continue;
        if (at >= strings.length || (tag == DT_NEEDED && ++needed > NEEDED_MAX))
            return -ENOEXEC;
        struct tarn_buf *buf = &elf->needs->names;
        if (tag != DT_NEEDED) {
            buf = &elf->needs->runpath;
            buf->length = 0; // the last one counts, as RUNPATH before RPATH
        }
        ret = append_string(elf, strings.offset + at, strings.length - at, buf);
    }
    return ret;
}

static int read_dynamic(const struct elf *elf)
{
    const Elf64_Phdr *segment = find_segment(elf, PT_DYNAMIC);
    if (!segment)
        return 0; // linked statically
    const size_t most = (size_t)tarn_min_u64(segment->p_filesz / sizeof(Elf64_Dyn), DYNAMIC_MAX);
    tarn_autofree Elf64_Dyn *entries = calloc(most + 1, sizeof *entries);
    if (!entries)
        return -ENOMEM;
    const int ret = get(elf, segment->p_offset, entries, most * sizeof *entries);
    if (ret < 0)
        return ret;
    size_t count = 0;
    while (count < most && entries[count].d_tag != DT_NULL)
        count++;
    return append_names(elf, entries, count);
}

int tarn_elf_needs_read(const struct tarn_elf_source *source, struct tarn_elf_needs *needs)
{
    struct elf elf = { .source = source, .needs = needs };
    needs->names.length = 0;
    needs->runpath.length = 0;
    needs->data_offset = source->size;
    int ret = read_segments(&elf);
    if (ret == 0) {
        needs->data_offset = find_data(&elf);
        ret = read_interpreter(&elf);
    }
    if (ret == 0)
        ret = read_dynamic(&elf);
    return ret;
}
