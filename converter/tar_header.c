// SPDX-License-Identifier: Apache-2.0
#include "converter/tar_header.h"

#include <string.h>
#include <sys/stat.h>

#include "converter/tar_name.h"

// Where the fields stand, and how long they are.
enum {
    NAME_AT = 0,
    NAME_SIZE = 100,
    MODE_AT = 100,
    UID_AT = 108,
    GID_AT = 116,
    ID_SIZE = 8, // of mode, uid, gid, checksum and device numbers
    SIZE_AT = 124,
    MTIME_AT = 136,
    NUMBER_SIZE = 12,
    SUM_AT = 148,
    FLAG_AT = 156,
    LINK_AT = 157,
    LINK_SIZE = 100,
    MAGIC_AT = 257,
    MAJOR_AT = 329,
    MINOR_AT = 337,
    PREFIX_AT = 345,
    PREFIX_SIZE = 155,
    STAR_PREFIX_SIZE = 131, // then atime and ctime
    STAR_MAGIC_AT = 508,
    OLD_MAP_AT = 386,
    OLD_MAP_COUNT = 4,
    OLD_MORE_AT = 482,
    OLD_SIZE_AT = 483,
    EXTENSION_COUNT = 21,
    EXTENSION_MORE_AT = 504,
};

static const uint32_t id_max = UINT32_MAX - 1;

// The fields that an extended header can override.
static const struct {
    const char *name;
    size_t at;
    size_t size;
} fields[] = {
    [TARN_TAR_PAX_SIZE] = { "size", SIZE_AT, NUMBER_SIZE },
    [TARN_TAR_PAX_UID] = { "uid", UID_AT, ID_SIZE },
    [TARN_TAR_PAX_GID] = { "gid", GID_AT, ID_SIZE },
    [TARN_TAR_PAX_DEVMAJOR] = { "device major", MAJOR_AT, ID_SIZE },
    [TARN_TAR_PAX_DEVMINOR] = { "device minor", MINOR_AT, ID_SIZE },
};

bool tarn_tar_header_sum_ok(const uint8_t block[TARN_TAR_BLOCK])
{
    uint32_t unsigned_sum = ID_SIZE * ' ';
    int32_t signed_sum = ID_SIZE * ' ';
    for (size_t i = 0; i < TARN_TAR_BLOCK; i++) {
        if (i >= SUM_AT && i < SUM_AT + ID_SIZE)
            continue;
        unsigned_sum += block[i];
        signed_sum += (int8_t)block[i];
    }
    tarn_tar_int sum;
    if (tarn_tar_field("checksum", block + SUM_AT, ID_SIZE, &sum, NULL) < 0)
        return false;
    return sum == unsigned_sum || sum == signed_sum;
}

char tarn_tar_header_flag(const uint8_t block[TARN_TAR_BLOCK])
{
    return (char)block[FLAG_AT];
}

int tarn_tar_header_size(const uint8_t block[TARN_TAR_BLOCK], uint64_t *size, struct tarn_err *err)
{
    tarn_tar_int value;
    const int ret = tarn_tar_field("size", block + SIZE_AT, NUMBER_SIZE, &value, err);
    return ret < 0 ? ret : tarn_tar_size(value, size, err);
}

static struct tarn_tar_text text_field(const uint8_t *field, size_t size)
{
    return (struct tarn_tar_text){ (const char *)field, strnlen((const char *)field, size) };
}

static bool is_gnu(const uint8_t *block)
{
    return memcmp(block + MAGIC_AT, "ustar  ", 8) == 0;
}

static bool is_time(const uint8_t *field)
{
    tarn_tar_int value;
    return field[0] == '\0' || tarn_tar_field("time", field, NUMBER_SIZE, &value, NULL) == 0;
}

// GNU headers have atime and ctime where POSIX has the prefix. But Go before 1.8, which packed many
// an image, put a prefix there all the same when a number did not fit into octal digits. Go has since
// taken for one what is no pair of times, but ASCII.
static struct tarn_tar_text gnu_prefix(const uint8_t *block)
{
    const struct tarn_tar_text none = { 0 };
    const struct tarn_tar_text text = text_field(block + PREFIX_AT, PREFIX_SIZE);
    if (is_time(block + PREFIX_AT) && is_time(block + PREFIX_AT + NUMBER_SIZE))
        return none;
    for (size_t i = 0; i < text.length; i++)
        if ((uint8_t)text.data[i] >= 0x80)
            return none;
    return text;
}

// POSIX headers have a prefix: "ustar" with a NUL.
static struct tarn_tar_text prefix(const uint8_t *block)
{
    if (is_gnu(block))
        return gnu_prefix(block);
    if (memcmp(block + MAGIC_AT, "ustar", 6) != 0)
        return (struct tarn_tar_text){ 0 };
    const bool star = memcmp(block + STAR_MAGIC_AT, "tar", 4) == 0;
    return text_field(block + PREFIX_AT, star ? STAR_PREFIX_SIZE : PREFIX_SIZE);
}

static bool is_regular(char flag)
{
    return flag == '0' || flag == '\0' || flag == '7' || flag == TARN_TAR_FLAG_OLD_SPARSE;
}

static enum tarn_tar_sparse sparse_kind(const struct tarn_tar_head *head)
{
    const char flag = tarn_tar_header_flag(head->block);
    if (flag == TARN_TAR_FLAG_OLD_SPARSE)
        return TARN_TAR_SPARSE_OLD;
    if (!is_regular(flag))
        return TARN_TAR_SPARSE_NONE;
    if (tarn_tar_pax_has(head->pax, TARN_TAR_PAX_SPARSE_MAJOR) &&
        head->pax->numbers[TARN_TAR_PAX_SPARSE_MAJOR] != 0)
        return TARN_TAR_SPARSE_DATA;
    if (tarn_tar_pax_has(head->pax, TARN_TAR_PAX_SPARSE_MAP) ||
        tarn_tar_pax_has(head->pax, TARN_TAR_PAX_SPARSE_OFFSET) ||
        tarn_tar_pax_has(head->pax, TARN_TAR_PAX_SPARSE_LENGTH) ||
        tarn_tar_pax_has(head->pax, TARN_TAR_PAX_SPARSE_BLOCKS))
        return TARN_TAR_SPARSE_PAX;
    return TARN_TAR_SPARSE_NONE;
}

int tarn_tar_head_name(const struct tarn_tar_head *head, struct tarn_buf *raw, struct tarn_err *err)
{
    struct tarn_tar_text before = { 0 };
    struct tarn_tar_text name = { 0 };
    if (sparse_kind(head) != TARN_TAR_SPARSE_NONE &&
        tarn_tar_pax_has(head->pax, TARN_TAR_PAX_SPARSE_NAME))
        name = head->pax->sparse_name;
    if (name.length == 0)
        name = head->long_name;
    if (name.length == 0 && tarn_tar_pax_has(head->pax, TARN_TAR_PAX_PATH))
        name = head->pax->path;
    if (name.length == 0) {
        before = prefix(head->block);
        name = text_field(head->block + NAME_AT, NAME_SIZE);
    }
    raw->length = 0;
    int ret = 0;
    if (before.length > 0)
        ret = tarn_buf_append(raw, before.data, before.length);
    if (ret == 0 && before.length > 0)
        ret = tarn_buf_append(raw, "/", 1);
    if (ret == 0)
        ret = tarn_buf_append(raw, name.data, name.length);
    return ret < 0 ? tarn_fail_errno(err, ret, "keeping a name") : 0;
}

static bool is_v7(const uint8_t *block)
{
    return !is_gnu(block) && memcmp(block + MAGIC_AT, "ustar", 6) != 0;
}

// The number of key in the extended header, else the field in the header, if that has it.
static int number(const struct tarn_tar_head *head, enum tarn_tar_pax_key key, tarn_tar_int *value,
                  struct tarn_err *err)
{
    if (tarn_tar_pax_has(head->pax, key)) {
        *value = head->pax->numbers[key];
        return 0;
    }
    if (fields[key].at > MAGIC_AT && is_v7(head->block)) {
        *value = 0;
        return 0;
    }
    return tarn_tar_field(fields[key].name, head->block + fields[key].at, fields[key].size, value,
                          err);
}

// As number(), from 0 to max.
static int bounded(const struct tarn_tar_head *head, enum tarn_tar_pax_key key, uint32_t max,
                   uint32_t *result, struct tarn_err *err)
{
    tarn_tar_int value;
    uint64_t wide = 0;
    int ret = number(head, key, &value, err);
    if (ret == 0)
        ret = tarn_tar_bound(fields[key].name, value, max, &wide, err);
    *result = (uint32_t)wide;
    return ret;
}

static int set_mode_and_time(const struct tarn_tar_head *head, struct tarn_tar_entry *entry,
                             struct tarn_err *err)
{
    tarn_tar_int value;
    int ret = tarn_tar_field("mode", head->block + MODE_AT, ID_SIZE, &value, err);
    if (ret < 0)
        return ret;
    entry->mode = (uint32_t)(value & 07777);
    if (tarn_tar_pax_has(head->pax, TARN_TAR_PAX_MTIME)) {
        entry->mtime = head->pax->mtime.seconds;
        entry->mtime_ns = head->pax->mtime.ns;
        return 0;
    }
    ret = tarn_tar_field("mtime", head->block + MTIME_AT, NUMBER_SIZE, &value, err);
    if (ret < 0)
        return ret;
    if (value < INT64_MIN || value > INT64_MAX)
        return tarn_fail(err, -EINVAL, "mtime is out of range");
    entry->mtime = (int64_t)value;
    return 0;
}

static int set_type(char flag, const struct tarn_buf *raw, struct tarn_tar_entry *entry,
                    struct tarn_err *err)
{
    switch (flag) {
    case '\0':
        // Archives from before the type flag mark directories by a slash.
        entry->type = raw->length > 0 && raw->data[raw->length - 1] == '/' ? S_IFDIR : S_IFREG;
        return 0;
    case '0':
    case '7':
    case TARN_TAR_FLAG_OLD_SPARSE:
        entry->type = S_IFREG;
        return 0;
    case '1':
        entry->type = TARN_TAR_HARDLINK;
        return 0;
    case '2':
        entry->type = S_IFLNK;
        return 0;
    case '3':
        entry->type = S_IFCHR;
        return 0;
    case '4':
        entry->type = S_IFBLK;
        return 0;
    case '5':
        entry->type = S_IFDIR;
        return 0;
    case '6':
        entry->type = S_IFIFO;
        return 0;
    case TARN_TAR_FLAG_MULTIVOLUME:
        return tarn_fail(err, -ENOTSUP, "a tar of several volumes is not read");
    default:
        break;
    }
    char quoted[TARN_TAR_QUOTED];
    return tarn_fail(err, -ENOTSUP, "type flag %s is unknown", tarn_tar_quote(&flag, 1, quoted));
}

static int set_symlink(const struct tarn_tar_text *target, struct tarn_buf *link,
                       struct tarn_err *err)
{
    if (target->length == 0)
        return tarn_fail(err, -EINVAL, "a symbolic link without a target is refused");
    if (target->length > TARN_TAR_SYMLINK_MAX)
        return tarn_fail(err, -ENOTSUP,
                         "a symbolic link's target of %zu bytes is over the limit of %d",
                         target->length, TARN_TAR_SYMLINK_MAX);
    link->length = 0;
    int ret = tarn_buf_append(link, target->data, target->length);
    if (ret == 0)
        ret = tarn_buf_append(link, "", 1);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "keeping a name");
    link->length--;
    return 0;
}

static int set_hardlink(const struct tarn_tar_text *target, struct tarn_buf *link,
                        struct tarn_err *err)
{
    char quoted[TARN_TAR_QUOTED];
    int ret = tarn_tar_clean(target->data, target->length, link, err);
    if (ret == 0 && link->length == 0)
        ret = tarn_fail(err, -EINVAL, "it is the root");
    return ret == 0 ? 0
                    : tarn_wrap(err, ret, "hard link to %s",
                                tarn_tar_quote(target->data, target->length, quoted));
}

static int set_link(const struct tarn_tar_head *head, struct tarn_tar_decoded *decoded,
                    struct tarn_err *err)
{
    struct tarn_tar_entry *entry = &decoded->entry;
    struct tarn_tar_text target = head->long_link;
    if (target.length == 0 && tarn_tar_pax_has(head->pax, TARN_TAR_PAX_LINKPATH))
        target = head->pax->link;
    if (target.length == 0)
        target = text_field(head->block + LINK_AT, LINK_SIZE);
    int ret;
    if (entry->type == S_IFLNK)
        ret = set_symlink(&target, &decoded->link, err);
    else if (entry->type == TARN_TAR_HARDLINK)
        ret = set_hardlink(&target, &decoded->link, err);
    else
        return 0;
    entry->link = (const char *)decoded->link.data;
    entry->link_length = decoded->link.length;
    return ret;
}

// What makes a sparse file: its size, and that its map can be read.
static int set_sparse(const struct tarn_tar_head *head, struct tarn_tar_decoded *decoded,
                      struct tarn_err *err)
{
    const struct tarn_tar_pax *pax = head->pax;
    tarn_tar_int real;
    int ret = 0;
    decoded->sparse = sparse_kind(head);
    if (decoded->sparse == TARN_TAR_SPARSE_NONE)
        return 0;
    decoded->entry.sparse = true;
    if (decoded->sparse == TARN_TAR_SPARSE_OLD && !is_gnu(head->block))
        return tarn_fail(err, -ENOTSUP, "a sparse file that GNU tar did not write is not read");
    if (tarn_tar_pax_has(pax, TARN_TAR_PAX_SPARSE_OFFSET))
        return tarn_fail(err, -EUCLEAN, "sparse map: an offset has no length");
    if (decoded->sparse == TARN_TAR_SPARSE_OLD)
        ret = tarn_tar_field("real size", head->block + OLD_SIZE_AT, NUMBER_SIZE, &real, err);
    else if (!tarn_tar_pax_has(pax, TARN_TAR_PAX_SPARSE_REAL_SIZE))
        ret = tarn_fail(err, -EUCLEAN, "a sparse file without GNU.sparse.size or realsize");
    else
        real = pax->numbers[TARN_TAR_PAX_SPARSE_REAL_SIZE];
    if (ret < 0)
        return ret;
    if (decoded->sparse == TARN_TAR_SPARSE_DATA && (pax->numbers[TARN_TAR_PAX_SPARSE_MAJOR] != 1 ||
                                                    pax->numbers[TARN_TAR_PAX_SPARSE_MINOR] != 0))
        return tarn_fail(err, -ENOTSUP, "a sparse format newer than GNU's 1.0 is not read");
    if (decoded->sparse == TARN_TAR_SPARSE_PAX &&
        tarn_tar_pax_has(pax, TARN_TAR_PAX_SPARSE_BLOCKS) &&
        pax->numbers[TARN_TAR_PAX_SPARSE_BLOCKS] != (tarn_tar_int)pax->map.entries)
        return tarn_fail(err, -EUCLEAN, "sparse map: %zu entries, not as many as said",
                         pax->map.entries);
    return tarn_tar_size(real, &decoded->entry.size, err);
}

static int set_size(const struct tarn_tar_head *head, struct tarn_tar_decoded *decoded,
                    struct tarn_err *err)
{
    tarn_tar_int value;
    uint64_t size = 0;
    int ret = number(head, TARN_TAR_PAX_SIZE, &value, err);
    if (ret == 0)
        ret = tarn_tar_size(value, &size, err);
    if (ret < 0)
        return ret;
    if (decoded->entry.type == S_IFDIR && is_regular(tarn_tar_header_flag(head->block)) && size > 0)
        return tarn_fail(err, -EINVAL, "a file's name ends with '/', but it has data");
    if (decoded->entry.type != S_IFREG)
        return 0;
    decoded->stored = size;
    decoded->entry.size = size;
    return set_sparse(head, decoded, err);
}

void tarn_tar_decoded_release(struct tarn_tar_decoded *decoded)
{
    tarn_buf_release(&decoded->path);
    tarn_buf_release(&decoded->link);
}

int tarn_tar_decode(const struct tarn_tar_head *head, const struct tarn_buf *raw,
                    struct tarn_tar_decoded *decoded, struct tarn_err *err)
{
    struct tarn_tar_entry *entry = &decoded->entry;
    *entry = (struct tarn_tar_entry){ .xattrs = head->pax->xattrs,
                                      .xattr_count = head->pax->xattr_count };
    decoded->sparse = TARN_TAR_SPARSE_NONE;
    decoded->stored = 0;
    int ret = set_type(tarn_tar_header_flag(head->block), raw, entry, err);
    if (ret == 0)
        ret = tarn_tar_clean(raw->data, raw->length, &decoded->path, err);
    if (ret < 0)
        return ret;
    entry->path = (const char *)decoded->path.data;
    entry->path_length = decoded->path.length;
    if (entry->path_length == 0 && entry->type != S_IFDIR)
        return tarn_fail(err, -EINVAL, "the root can only be a directory");
    ret = set_mode_and_time(head, entry, err);
    if (ret == 0)
        ret = bounded(head, TARN_TAR_PAX_UID, id_max, &entry->uid, err);
    if (ret == 0)
        ret = bounded(head, TARN_TAR_PAX_GID, id_max, &entry->gid, err);
    if (ret == 0 && (entry->type == S_IFCHR || entry->type == S_IFBLK)) {
        ret = bounded(head, TARN_TAR_PAX_DEVMAJOR, UINT32_MAX, &entry->rdev_major, err);
        if (ret == 0)
            ret = bounded(head, TARN_TAR_PAX_DEVMINOR, UINT32_MAX, &entry->rdev_minor, err);
    }
    if (ret == 0)
        ret = set_link(head, decoded, err);
    if (ret == 0)
        ret = set_size(head, decoded, err);
    return ret;
}

int tarn_tar_old_sparse(const uint8_t block[TARN_TAR_BLOCK], bool extension,
                        struct tarn_tar_map *map, bool *more, struct tarn_err *err)
{
    *more = block[extension ? EXTENSION_MORE_AT : OLD_MORE_AT] != 0;
    if (extension)
        return tarn_tar_map_add_old(map, block, EXTENSION_COUNT, err);
    return tarn_tar_map_add_old(map, block + OLD_MAP_AT, OLD_MAP_COUNT, err);
}
