// SPDX-License-Identifier: Apache-2.0
// The records of a pax header on any bytes: what they give stays inside of them, sorted, each once.
#include <string.h>

#include "converter/tar_pax.h"

static void check(bool right)
{
    if (!right)
        abort();
}

static void check_inside(const uint8_t *bytes, size_t size, const void *part, size_t length)
{
    const uint8_t *p = part;
    check(p >= bytes && p <= bytes + size && length <= (size_t)(bytes + size - p));
}

static void check_pax(const struct tarn_tar_pax *pax, const uint8_t *bytes, size_t size)
{
    if (tarn_tar_pax_has(pax, TARN_TAR_PAX_PATH))
        check_inside(bytes, size, pax->path.data, pax->path.length);
    if (tarn_tar_pax_has(pax, TARN_TAR_PAX_LINKPATH))
        check_inside(bytes, size, pax->link.data, pax->link.length);
    check(pax->mtime.ns < 1000000000);
    for (size_t i = 0; i < pax->xattr_count; i++) {
        const struct tarn_tar_xattr *xattr = &pax->xattrs[i];
        check(strlen(xattr->name) == xattr->name_length && xattr->name_length > 0);
        check(xattr->name_length <= TARN_TAR_NAME_MAX && xattr->length <= TARN_TAR_XATTR_MAX);
        check_inside(bytes, size, xattr->name, xattr->name_length);
        check_inside(bytes, size, xattr->value, xattr->length);
        check(i == 0 || strcmp(xattr[-1].name, xattr->name) < 0);
    }
    uint64_t end = 0;
    for (size_t i = 0; i < pax->map.count; i++) {
        const struct tarn_tar_extent *extent = &pax->map.extents[i];
        check(extent->length > 0 && (i == 0 || extent->offset > end));
        end = extent->offset + extent->length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes tarn_autofree = malloc(size ? size : 1);
    if (!bytes)
        return 0;
    if (size > 0)
        memcpy(bytes, data, size);
    struct tarn_tar_pax pax = { 0 };
    struct tarn_err err = { 0 };
    const int ret = tarn_tar_pax_parse(&pax, bytes, size, &err);
    check(ret == err.code && (ret == 0 || err.text[0] != '\0'));
    if (ret == 0)
        check_pax(&pax, bytes, size);
    tarn_tar_pax_release(&pax);
    return 0;
}
