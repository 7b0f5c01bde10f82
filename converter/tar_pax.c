// SPDX-License-Identifier: Apache-2.0
#include "converter/tar_pax.h"

#include <string.h>

#include "converter/tar_name.h"

enum { MESSAGE = 80 };

enum kind { KIND_NUMBER, KIND_TEXT, KIND_TIME, KIND_MAP, KIND_PAIR };

static const struct {
    const char *name;
    enum tarn_tar_pax_key key;
    enum kind kind;
} keys[] = {
    { "path", TARN_TAR_PAX_PATH, KIND_TEXT },
    { "linkpath", TARN_TAR_PAX_LINKPATH, KIND_TEXT },
    { "size", TARN_TAR_PAX_SIZE, KIND_NUMBER },
    { "uid", TARN_TAR_PAX_UID, KIND_NUMBER },
    { "gid", TARN_TAR_PAX_GID, KIND_NUMBER },
    { "mtime", TARN_TAR_PAX_MTIME, KIND_TIME },
    { "SCHILY.devmajor", TARN_TAR_PAX_DEVMAJOR, KIND_NUMBER },
    { "SCHILY.devminor", TARN_TAR_PAX_DEVMINOR, KIND_NUMBER },
    { "GNU.sparse.major", TARN_TAR_PAX_SPARSE_MAJOR, KIND_NUMBER },
    { "GNU.sparse.minor", TARN_TAR_PAX_SPARSE_MINOR, KIND_NUMBER },
    { "GNU.sparse.name", TARN_TAR_PAX_SPARSE_NAME, KIND_TEXT },
    { "GNU.sparse.size", TARN_TAR_PAX_SPARSE_REAL_SIZE, KIND_NUMBER },
    { "GNU.sparse.realsize", TARN_TAR_PAX_SPARSE_REAL_SIZE, KIND_NUMBER },
    { "GNU.sparse.numblocks", TARN_TAR_PAX_SPARSE_BLOCKS, KIND_NUMBER },
    { "GNU.sparse.map", TARN_TAR_PAX_SPARSE_MAP, KIND_MAP },
    { "GNU.sparse.offset", TARN_TAR_PAX_SPARSE_OFFSET, KIND_PAIR },
    { "GNU.sparse.numbytes", TARN_TAR_PAX_SPARSE_LENGTH, KIND_PAIR },
};

struct record {
    char *key;
    size_t key_length;
    char *value;
    size_t value_length;
};

void tarn_tar_pax_release(struct tarn_tar_pax *pax)
{
    tarn_tar_map_release(&pax->map);
    free(pax->xattrs);
    *pax = (struct tarn_tar_pax){ 0 };
}

void tarn_tar_pax_clear(struct tarn_tar_pax *pax)
{
    tarn_tar_map_clear(&pax->map);
    *pax = (struct tarn_tar_pax){ .map = pax->map,
                                  .xattrs = pax->xattrs,
                                  .xattr_capacity = pax->xattr_capacity };
}

// Splits the first record off. Sets *taken to its length.
static int next_record(uint8_t *bytes, size_t length, struct record *record, size_t *taken,
                       struct tarn_err *err)
{
    size_t total = 0;
    size_t i = 0;
    for (; i < length && bytes[i] >= '0' && bytes[i] <= '9'; i++) {
        total = total * 10 + (size_t)(bytes[i] - '0');
        if (total > length)
            return tarn_fail(err, -EUCLEAN, "a record is longer than its extended header");
    }
    if (i == 0 || i == length || bytes[i] != ' ')
        return tarn_fail(err, -EUCLEAN, "a record does not begin with its length");
    const size_t start = i + 1;
    if (total <= start || bytes[total - 1] != '\n')
        return tarn_fail(err, -EUCLEAN, "a record does not end with a newline at its length");
    uint8_t *equals = memchr(bytes + start, '=', total - 1 - start);
    if (!equals || equals == bytes + start)
        return tarn_fail(err, -EUCLEAN, "a record is no KEY=VALUE");
    record->key = (char *)bytes + start;
    record->key_length = (size_t)(equals - bytes) - start;
    record->value = (char *)equals + 1;
    record->value_length = (size_t)(bytes + total - 1 - (equals + 1));
    if (memchr(record->key, '\0', record->key_length))
        return tarn_fail(err, -EUCLEAN, "a NUL in a record's key");
    *taken = total;
    return 0;
}

static int set_text(struct tarn_tar_pax *pax, enum tarn_tar_pax_key key,
                    const struct record *record, struct tarn_err *err)
{
    const struct tarn_tar_text text = { record->value, record->value_length };
    if (memchr(text.data, '\0', text.length))
        return tarn_fail(err, -EINVAL, "a NUL in a name is refused");
    if (key == TARN_TAR_PAX_PATH)
        pax->path = text;
    else if (key == TARN_TAR_PAX_LINKPATH)
        pax->link = text;
    else
        pax->sparse_name = text;
    return 0;
}

// Pax 0.0: offsets and lengths take turns.
static int set_pair(struct tarn_tar_pax *pax, enum tarn_tar_pax_key key, tarn_tar_int value,
                    struct tarn_err *err)
{
    const bool pending = tarn_tar_pax_has(pax, TARN_TAR_PAX_SPARSE_OFFSET);
    if (pending != (key == TARN_TAR_PAX_SPARSE_LENGTH))
        return tarn_fail(err, -EUCLEAN, "sparse map: offsets and lengths do not take turns");
    if (key == TARN_TAR_PAX_SPARSE_OFFSET)
        return 0;
    pax->has &= ~(1u << TARN_TAR_PAX_SPARSE_OFFSET);
    return tarn_tar_map_add(&pax->map, pax->numbers[TARN_TAR_PAX_SPARSE_OFFSET], value, err);
}

static int set_key(struct tarn_tar_pax *pax, size_t index, const struct record *record,
                   struct tarn_err *err)
{
    const enum tarn_tar_pax_key key = keys[index].key;
    const enum kind kind = keys[index].kind;
    char what[MESSAGE];
    snprintf(what, sizeof what, "the record '%s'", keys[index].name);
    int ret = 0;
    if (record->value_length == 0 && kind != KIND_MAP) {
        pax->has &= ~(1u << key);
        return 0;
    }
    tarn_tar_int value = 0;
    if (kind == KIND_TEXT)
        ret = set_text(pax, key, record, err);
    else if (kind == KIND_TIME)
        ret = tarn_tar_time(what, record->value, record->value_length, &pax->mtime, err);
    else if (kind == KIND_MAP) {
        tarn_tar_map_clear(&pax->map);
        ret = tarn_tar_map_add_text(&pax->map, record->value, record->value_length, err);
    } else
        ret = tarn_tar_decimal(what, record->value, record->value_length, &value, err);
    if (ret == 0 && kind == KIND_PAIR)
        ret = set_pair(pax, key, value, err);
    if (ret < 0)
        return ret;
    pax->numbers[key] = value;
    pax->has |= 1u << key;
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// Decodes %XX in place. Returns the new length; what is no %XX stays as it is.
static size_t decode_url(char *text, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        const int high = text[i] == '%' && i + 2 < length ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            text[n++] = (char)(high << 4 | low);
            i += 2;
        } else
            text[n++] = text[i];
    }
    return n;
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

// Decodes base64 in place, padded or not. False when it is none.
static bool decode_base64(char *text, size_t *length)
{
    size_t end = *length;
    while (end > 0 && *length - end < 2 && text[end - 1] == '=')
        end--;
    if (end % 4 == 1)
        return false;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    for (size_t i = 0; i < end; i++) {
        const int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            text[n++] = (char)(bits >> have & 0xff);
        }
    }
    *length = n;
    return true;
}

static int check_xattr(const struct tarn_tar_xattr *xattr, struct tarn_err *err)
{
    int ret;
    if (xattr->name_length == 0 || memchr(xattr->name, '\0', xattr->name_length))
        ret = tarn_fail(err, -EINVAL, "an empty name or a NUL in it is refused");
    else if (xattr->name_length > TARN_TAR_NAME_MAX)
        ret = tarn_fail(err, -ENOTSUP, "a name of %zu bytes is over the limit of %d",
                        xattr->name_length, TARN_TAR_NAME_MAX);
    else if (xattr->length > TARN_TAR_XATTR_MAX)
        ret = tarn_fail(err, -ENOTSUP, "a value of %zu bytes is over the limit of %d",
                        xattr->length, TARN_TAR_XATTR_MAX);
    else
        return 0;
    char quoted[TARN_TAR_QUOTED];
    return tarn_wrap(err, ret, "xattr %s", tarn_tar_quote(xattr->name, xattr->name_length, quoted));
}

static int append_xattr(struct tarn_tar_pax *pax, const struct tarn_tar_xattr *xattr,
                        struct tarn_err *err)
{
    const int ret = check_xattr(xattr, err);
    if (ret < 0)
        return ret;
    if (pax->xattr_count == pax->xattr_capacity) {
        const size_t capacity = pax->xattr_capacity ? pax->xattr_capacity * 2 : 8;
        struct tarn_tar_xattr *xattrs = realloc(pax->xattrs, capacity * sizeof *pax->xattrs);
        if (!xattrs)
            return tarn_fail_errno(err, -ENOMEM, "keeping xattrs");
        pax->xattrs = xattrs;
        pax->xattr_capacity = capacity;
    }
    pax->xattrs[pax->xattr_count++] = *xattr;
    return 0;
}

// Both spellings; any other key is passed over.
static int set_xattr(struct tarn_tar_pax *pax, struct record *record, struct tarn_err *err)
{
    static const char schily[] = "SCHILY.xattr.";
    static const char libarchive[] = "LIBARCHIVE.xattr.";
    struct tarn_tar_xattr xattr = { .value = (uint8_t *)record->value,
                                    .length = record->value_length };
    size_t prefix;
    if (record->key_length >= strlen(schily) && memcmp(record->key, schily, strlen(schily)) == 0) {
        prefix = strlen(schily);
        xattr.name_length = record->key_length - prefix;
    } else if (record->key_length >= strlen(libarchive) &&
               memcmp(record->key, libarchive, strlen(libarchive)) == 0) {
        prefix = strlen(libarchive);
        xattr.name_length = decode_url(record->key + prefix, record->key_length - prefix);
        if (!decode_base64(record->value, &xattr.length)) {
            char quoted[TARN_TAR_QUOTED];
            return tarn_fail(err, -EUCLEAN, "xattr %s: its value is no base64",
                             tarn_tar_quote(record->key + prefix, xattr.name_length, quoted));
        }
    } else
        return 0;
    xattr.name = record->key + prefix;
    record->key[prefix + xattr.name_length] = '\0'; // over the '=' at the latest
    return append_xattr(pax, &xattr, err);
}

static int compare_xattrs(const void *left, const void *right)
{
    const struct tarn_tar_xattr *a = left;
    const struct tarn_tar_xattr *b = right;
    const int order = strcmp(a->name, b->name);
    if (order != 0)
        return order;
    return a->value < b->value ? -1 : a->value > b->value; // the order in the header
}

static void sort_xattrs(struct tarn_tar_pax *pax)
{
    if (pax->xattr_count == 0)
        return;
    qsort(pax->xattrs, pax->xattr_count, sizeof *pax->xattrs, compare_xattrs);
    size_t n = 0;
    for (size_t i = 1; i < pax->xattr_count; i++) {
        if (strcmp(pax->xattrs[i].name, pax->xattrs[n].name) != 0)
            n++;
        pax->xattrs[n] = pax->xattrs[i];
    }
    pax->xattr_count = n + 1;
}

static int set_record(struct tarn_tar_pax *pax, struct record *record, struct tarn_err *err)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strlen(keys[i].name) == record->key_length &&
            memcmp(keys[i].name, record->key, record->key_length) == 0)
            return set_key(pax, i, record, err);
    return set_xattr(pax, record, err);
}

int tarn_tar_pax_parse(struct tarn_tar_pax *pax, uint8_t *bytes, size_t length,
                       struct tarn_err *err)
{
    while (length > 0) {
        struct record record = { 0 };
        size_t taken = 0;
        int ret = next_record(bytes, length, &record, &taken, err);
        if (ret == 0)
            ret = set_record(pax, &record, err);
        if (ret < 0)
            return ret;
        bytes += taken;
        length -= taken;
    }
    sort_xattrs(pax);
    return 0;
}
