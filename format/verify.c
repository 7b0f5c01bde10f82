// SPDX-License-Identifier: Apache-2.0
// The walk and the totals. Directories are visited in canonical order, with the open ones on a
// stack in memory: any depth.
#include "format/verify.h"

#include <dirent.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "format/verify_internal.h"

struct frame {
    uint64_t nid;
    uint64_t cookie;
};

int tarn_verify_broken(const struct tarn_verify *verify, uint64_t offset, const char *format, ...)
{
    char text[TARN_ERR_TEXT / 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return tarn_fail(verify->err, -EUCLEAN, "bootstrap offset %llu: %s", (unsigned long long)offset,
                     text);
}

static int no_memory(const struct tarn_verify *verify)
{
    return tarn_fail(verify->err, -ENOMEM, "out of memory");
}

static int push(const struct tarn_verify *verify, struct tarn_buf *stack, uint64_t nid)
{
    const struct frame frame = { .nid = nid };
    return tarn_buf_append(stack, &frame, sizeof frame) == 0 ? 0 : no_memory(verify);
}

// The next subdirectory of the directory on top. 1 found, 0 none left.
static int next_directory(const struct tarn_verify *verify, struct frame *top,
                          struct tarn_erofs_inode *child)
{
    struct tarn_erofs_inode directory;
    struct tarn_erofs_dirent entry;
    int ret = tarn_erofs_inode(verify->erofs, top->nid, &directory);
    while (ret == 0 &&
           (ret = tarn_erofs_readdir(verify->erofs, &directory, top->cookie, &entry)) > 0) {
        top->cookie = entry.cookie;
        const bool dots = entry.length <= 2 && memcmp(entry.name, "..", entry.length) == 0;
        ret = 0;
        if (dots || entry.type != DT_DIR)
            continue;
        ret = tarn_erofs_inode(verify->erofs, entry.nid, child);
        if (ret == 0)
            return 1;
    }
    return ret;
}

static int walk(struct tarn_verify *verify, struct tarn_buf *stack)
{
    struct tarn_erofs_inode inode;
    int ret = tarn_verify_inode(verify, verify->erofs->root_nid, &inode);
    if (ret < 0)
        return ret;
    verify->links[inode.nid] = 1;
    ret = tarn_verify_directory(verify, &inode, inode.nid);
    if (ret == 0)
        ret = push(verify, stack, inode.nid);
    while (ret == 0 && stack->length > 0) {
        struct frame top;
        uint8_t *const place = stack->data + stack->length - sizeof top;
        memcpy(&top, place, sizeof top);
        ret = next_directory(verify, &top, &inode);
        if (ret < 0)
            return tarn_verify_broken(verify, top.nid * TARN_EROFS_NID_SIZE,
                                      "directory nid %llu: unreadable",
                                      (unsigned long long)top.nid);
        if (ret == 0) {
            stack->length -= sizeof top;
            continue;
        }
        memcpy(place, &top, sizeof top);
        ret = tarn_verify_directory(verify, &inode, top.nid);
        if (ret == 0)
            ret = push(verify, stack, inode.nid);
    }
    return ret;
}

// Directories' counts were compared when their names were read.
static int check_links(const struct tarn_verify *verify)
{
    const uint64_t nids = verify->erofs->length / TARN_EROFS_NID_SIZE;
    for (uint64_t nid = 0; nid < nids; nid++) {
        struct tarn_erofs_inode inode;
        if (verify->links[nid] == 0 || tarn_erofs_inode(verify->erofs, nid, &inode) < 0 ||
            S_ISDIR(inode.mode) || inode.nlink == verify->links[nid])
            continue;
        return tarn_verify_broken(verify, nid * TARN_EROFS_NID_SIZE,
                                  "inode nid %llu: link count %u, names %u",
                                  (unsigned long long)nid, inode.nlink, verify->links[nid]);
    }
    return 0;
}

static int check_total(const struct tarn_verify *verify, const char *what, uint64_t said,
                       uint64_t found)
{
    if (said == found)
        return 0;
    return tarn_fail(verify->err, -EUCLEAN, "bootstrap section 0x0202: %s %llu, the tree has %llu",
                     what, (unsigned long long)said, (unsigned long long)found);
}

static int check_totals(const struct tarn_verify *verify)
{
    const struct tarn_bootstrap *bootstrap = verify->bootstrap;
    if (verify->erofs->inode_count != verify->inodes)
        return tarn_verify_broken(verify, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_INODES,
                                  "superblock: inodes %llu, the tree has %llu",
                                  (unsigned long long)verify->erofs->inode_count,
                                  (unsigned long long)verify->inodes);
    int ret = check_total(verify, "inodes", bootstrap->inode_count, verify->inodes);
    if (ret == 0)
        ret = check_total(verify, "names", bootstrap->name_count, verify->names);
    if (ret == 0)
        ret = check_total(verify, "bytes of files", bootstrap->file_bytes, verify->file_bytes);
    return ret;
}

static int check_zeros(const struct tarn_verify *verify, uint64_t start, uint64_t end)
{
    if (tarn_all_zero(verify->erofs->bytes + start, end - start))
        return 0;
    return tarn_verify_broken(verify, start, "bytes between the parts of the image are not zero");
}

// The areas behind the inodes: shared xattrs, blocks of directories and links, the end.
static int check_areas(const struct tarn_verify *verify)
{
    const struct tarn_erofs *erofs = verify->erofs;
    const uint64_t inodes_end = tarn_round_up(verify->inodes_end, TARN_BLOCK);
    const uint64_t xattr_offset = verify->shared_bytes > 0 ? inodes_end : 0;
    if (erofs->xattr_offset != xattr_offset)
        return tarn_verify_broken(verify, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_XATTR_BLOCK,
                                  "superblock: shared xattrs at %llu, must be at %llu",
                                  (unsigned long long)erofs->xattr_offset,
                                  (unsigned long long)xattr_offset);
    const uint64_t shared_end = inodes_end + verify->shared_bytes;
    const uint64_t data = tarn_round_up(shared_end, TARN_BLOCK);
    if (verify->data_start != 0 && verify->data_start * TARN_BLOCK != data)
        return tarn_verify_broken(verify, verify->data_start * TARN_BLOCK,
                                  "the blocks of directories do not begin at %llu",
                                  (unsigned long long)data);
    const uint64_t end = verify->data_start != 0 ? verify->data_next * TARN_BLOCK : data;
    if (end != erofs->length)
        return tarn_verify_broken(verify, tarn_min_u64(end, erofs->length),
                                  "the image ends at %llu, its last part at %llu",
                                  (unsigned long long)erofs->length, (unsigned long long)end);
    int ret = check_zeros(verify, 0, TARN_EROFS_SUPER_OFFSET);
    if (ret == 0)
        ret = check_zeros(verify, verify->inodes_end, inodes_end);
    if (ret == 0)
        ret = check_zeros(verify, shared_end, data);
    return ret;
}

static int check_rest(const struct tarn_verify *verify)
{
    int ret = check_links(verify);
    if (ret == 0)
        ret = check_totals(verify);
    if (ret == 0)
        ret = check_areas(verify);
    if (ret < 0)
        return ret;
    const uint8_t *super = verify->erofs->bytes + TARN_EROFS_SUPER_OFFSET;
    if (memcmp(super + TARN_EROFS_SB_UUID, verify->bootstrap->tree_digest.bytes, 16) != 0)
        return tarn_verify_broken(verify, TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_UUID,
                                  "superblock: uuid is not the beginning of the tree digest");
    for (uint32_t slot = 1; slot <= verify->erofs->device_count; slot++)
        if (!verify->slots[slot])
            return tarn_verify_broken(
                verify, TARN_EROFS_DEVICE_TABLE + (uint64_t)(slot - 1) * TARN_EROFS_DEVICE_SIZE,
                "device slot %u: no file lies in it", slot);
    return 0;
}

int tarn_verify_tree(const struct tarn_bootstrap *bootstrap, struct tarn_err *err)
{
    const struct tarn_erofs *erofs = &bootstrap->erofs;
    const uint64_t start =
        TARN_EROFS_DEVICE_TABLE + (uint64_t)erofs->device_count * TARN_EROFS_DEVICE_SIZE;
    tarn_autofree uint32_t *links = calloc(erofs->length / TARN_EROFS_NID_SIZE, sizeof *links);
    tarn_autofree uint8_t *shared = calloc(erofs->length / TARN_EROFS_XATTR_UNIT / 8 + 1, 1);
    tarn_autofree uint8_t *slots = calloc((size_t)erofs->device_count + 1, 1);
    tarn_autobuf struct tarn_buf stack = { 0 };
    struct tarn_verify verify = { .bootstrap = bootstrap,
                                  .erofs = erofs,
                                  .err = err,
                                  .links = links,
                                  .shared = shared,
                                  .slots = slots,
                                  .inodes_end = start };
    if (!links || !shared || !slots)
        return no_memory(&verify);
    int ret = walk(&verify, &stack);
    return ret < 0 ? ret : check_rest(&verify);
}
