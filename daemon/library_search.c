// SPDX-License-Identifier: Apache-2.0
#include "daemon/library_search.h"

#include <elf.h>
#include <limits.h>
#include <sys/stat.h>

// Debian's directory for the machine; NULL: unknown.
static const char *triplet(uint16_t machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86_64-linux-gnu";
    case EM_AARCH64:
        return "aarch64-linux-gnu";
    case EM_RISCV:
        return "riscv64-linux-gnu";
    case EM_PPC64:
        return "powerpc64le-linux-gnu";
    case EM_S390:
        return "s390x-linux-gnu";
    default:
        return NULL;
    }
}

static int find_file(const struct tarn_erofs *erofs, const char *path, unsigned *names,
                     struct tarn_erofs_inode *inode)
{
    const int ret = tarn_erofs_follow(erofs, path, names, inode);
    return ret == 0 && S_ISREG(inode->mode) ? 0 : -ENOENT;
}

struct search {
    const struct tarn_erofs *erofs;
    const char *name;
    unsigned *names;
    struct tarn_erofs_inode *inode;
};

// In the directory, whose path need not end, with an optional directory below it.
static int find_in(const struct search *search, const char *directory, const char *below)
{
    char path[PATH_MAX];
    const int length = (int)strcspn(directory, ":");
    if (length == 0 || directory[0] != '/' || memchr(directory, '$', (size_t)length))
        return -ENOENT;
    const int n = snprintf(path, sizeof path, "%.*s/%s/%s", length, directory, below, search->name);
    return n < (int)sizeof path ? find_file(search->erofs, path, search->names, search->inode)
                                : -ENOENT;
}

int tarn_library_search(const struct tarn_erofs *erofs, const struct tarn_elf_needs *needs,
                        const char *name, unsigned *names, struct tarn_erofs_inode *inode)
{
    static const char *const standard[] = {
        "/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib",
    };
    if (name[0] == '/')
        return find_file(erofs, name, names, inode);
    if (name[0] == '\0' || strchr(name, '/'))
        return -ENOENT;
    const struct search search = { erofs, name, names, inode };
    const char *directory = needs->runpath.length ? (const char *)needs->runpath.data : NULL;
    while (directory) {
        if (find_in(&search, directory, "") == 0)
            return 0;
        directory = strchr(directory, ':');
        if (directory)
            directory++;
    }
    const char *below = triplet(needs->machine);
    for (size_t i = 0; below && i < 2; i++)
        if (find_in(&search, standard[i], below) == 0)
            return 0;
    for (size_t i = 0; i < sizeof standard / sizeof standard[0]; i++)
        if (find_in(&search, standard[i], "") == 0)
            return 0;
    return -ENOENT;
}
