// SPDX-License-Identifier: Apache-2.0
// A bootstrap: opened, verified, and read in full whether it is sound or not. Checksums are made
// right. Bytes without a section directory are taken as an EROFS image alone.
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "format/verify.h"
#include "tests/support/container_fix.h"

enum { STEPS = 2000 }; // of each kind for one inode

static volatile uint8_t sink;

// Every byte must be readable.
static void touch(const void *data, size_t length)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < length; i++)
        sink ^= p[i];
}

static void read_directory(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode)
{
    struct tarn_erofs_dirent entry;
    uint64_t cookie = 0, nid;
    for (int i = 0; i < STEPS; i++) {
        if (tarn_erofs_readdir(erofs, inode, cookie, &entry) != 1)
            break;
        assert(entry.length >= 1 && entry.length <= TARN_NAME_MAX && entry.cookie > cookie);
        touch(entry.name, entry.length);
        cookie = entry.cookie;
        (void)!tarn_erofs_lookup(erofs, inode, entry.name, entry.length, &nid);
    }
    (void)!tarn_erofs_lookup(erofs, inode, "m", 1, &nid);
    (void)!tarn_erofs_readdir(erofs, inode, 0x10003, &entry);
}

static void read_file(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode)
{
    struct tarn_erofs_extent extent;
    struct tarn_erofs_device_slot device;
    uint64_t offset = 0;
    for (int i = 0; i < STEPS && offset < inode->size; i++) {
        if (tarn_erofs_map(erofs, inode, offset, &extent) < 0)
            break;
        assert(extent.length > 0 && extent.length <= inode->size - offset);
        if (extent.slot > 0) {
            assert(tarn_erofs_device(erofs, extent.slot, &device) == 0);
            assert(tarn_range_ok(extent.address, extent.length, device.blocks * TARN_BLOCK));
        }
        offset += extent.length;
    }
    (void)!tarn_erofs_map(erofs, inode, inode->size / 2, &extent);
}

static void read_inode(const struct tarn_erofs *erofs, const struct tarn_erofs_inode *inode)
{
    struct tarn_erofs_xattr xattr;
    uint32_t cursor = 0;
    while (tarn_erofs_xattr(erofs, inode, &cursor, &xattr) == 1) {
        touch(xattr.name, xattr.name_length);
        touch(xattr.value, xattr.length < 64 ? xattr.length : 64);
        if (xattr.length > 0)
            touch(xattr.value + xattr.length - 1, 1);
    }
    (void)!tarn_erofs_xattr_get(erofs, inode, "security.capability", &xattr);
    const char *target;
    if (S_ISDIR(inode->mode))
        read_directory(erofs, inode);
    else if (S_ISREG(inode->mode))
        read_file(erofs, inode);
    else if (tarn_erofs_symlink(erofs, inode, &target) == 0)
        touch(target, inode->size);
}

static void read_all(const struct tarn_erofs *erofs)
{
    struct tarn_erofs_inode inode;
    for (uint64_t nid = 0; nid <= erofs->length / TARN_EROFS_NID_SIZE; nid++)
        if (tarn_erofs_inode(erofs, nid, &inode) == 0)
            read_inode(erofs, &inode);
    (void)!tarn_erofs_walk(erofs, "a/two/..//x", &inode);
}

static void fuzz_image(uint8_t *bytes, size_t size)
{
    struct tarn_bootstrap bootstrap = { 0 };
    struct tarn_err err;
    const size_t length = size & ~(size_t)(TARN_BLOCK - 1);
    if (tarn_erofs_open(bytes, length, &bootstrap.erofs, &err) < 0)
        return;
    read_all(&bootstrap.erofs);
    (void)!tarn_verify_tree(&bootstrap, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (size >= TARN_BLOCK)
        tarn_put_le32(bytes + TARN_EROFS_SUPER_OFFSET + TARN_EROFS_SB_CHECKSUM,
                      tarn_erofs_checksum(bytes));
    struct tarn_bootstrap bootstrap;
    struct tarn_err err;
    (void)tarn_test_fix_container(bytes, size);
    if (tarn_bootstrap_open(bytes, size, &bootstrap, &err) == 0) {
        for (uint32_t slot = 1; slot <= bootstrap.slot_count; slot++)
            assert(bootstrap.slot_blobs[slot] < bootstrap.chain_count);
        read_all(&bootstrap.erofs);
        (void)!tarn_verify_tree(&bootstrap, &err);
        tarn_bootstrap_release(&bootstrap);
    } else {
        fuzz_image(bytes, size);
    }
    free(bytes);
    return 0;
}
