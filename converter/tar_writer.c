// SPDX-License-Identifier: Apache-2.0
#include "converter/tar_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base64.h"
#include "base/buf.h"

// Fields of a ustar header.
enum {
    NAME = 0,
    NAME_SIZE = 100,
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    MTIME = 136,
    CHECKSUM = 148,
    TYPE = 156,
    LINK = 157,
    LINK_SIZE = 100,
    MAGIC = 257,
    MAJOR = 329,
    MINOR = 337,
    SHORT_DIGITS = 7, // of an 8-byte field
    LONG_DIGITS = 11, // of a 12-byte field
};

struct tarn_tar_writer {
    struct tarn_tar_output output;
    uint64_t left;           // data bytes of the current entry that are to come
    unsigned padding;        // zeros behind them
    struct tarn_buf records; // pax, of the current entry
    struct tarn_buf map;     // sparse map, of the current entry
    struct tarn_buf name;    // the path as it is written
};

struct tarn_tar_writer *tarn_tar_writer_new(const struct tarn_tar_output *output)
{
    struct tarn_tar_writer *writer = calloc(1, sizeof *writer);
    if (writer)
        writer->output = *output;
    return writer;
}

void tarn_tar_writer_free(struct tarn_tar_writer *writer)
{
    if (!writer)
        return;
    tarn_buf_release(&writer->records);
    tarn_buf_release(&writer->map);
    tarn_buf_release(&writer->name);
    free(writer);
}

static int emit(struct tarn_tar_writer *writer, const void *bytes, size_t length,
                struct tarn_err *err)
{
    return length > 0 ? writer->output.write(writer->output.context, bytes, length, err) : 0;
}

static unsigned padding_of(uint64_t length)
{
    return (unsigned)(-length % TARN_TAR_BLOCK);
}

static int emit_padding(struct tarn_tar_writer *writer, unsigned length, struct tarn_err *err)
{
    static const uint8_t zeros[TARN_TAR_BLOCK];
    return emit(writer, zeros, length, err);
}

// --- extended headers ----------------------------------------------------------------------------
static unsigned count_digits(size_t value)
{
    unsigned digits = 1;
    for (; value >= 10; value /= 10)
        digits++;
    return digits;
}

// "LENGTH KEY=VALUE\n": LENGTH counts itself.
static int add_record(struct tarn_buf *records, const char *key, const void *value, size_t length)
{
    const size_t rest = strlen(key) + length + 3;
    size_t total = rest + count_digits(rest);
    total = rest + count_digits(total);
    int ret = tarn_buf_printf(records, "%zu %s=", total, key);
    if (ret == 0)
        ret = tarn_buf_append(records, value, length);
    return ret == 0 ? tarn_buf_append(records, "\n", 1) : ret;
}

static int add_number(struct tarn_buf *records, const char *key, uint64_t value)
{
    char text[24];
    const int length = snprintf(text, sizeof text, "%" PRIu64, value);
    return add_record(records, key, text, (size_t)length);
}

// Decimal seconds with as many digits as needed. The instant is seconds + ns.
static int add_time(struct tarn_buf *records, int64_t seconds, uint32_t ns)
{
    const bool negative = seconds < 0;
    uint64_t whole = negative ? 0 - (uint64_t)seconds : (uint64_t)seconds;
    uint32_t fraction = ns;
    if (negative && ns > 0) {
        whole--;
        fraction = 1000000000 - ns;
    }
    char text[48];
    int length = snprintf(text, sizeof text, "%s%" PRIu64 ".%09" PRIu32, negative ? "-" : "", whole,
                          fraction);
    while (text[length - 1] == '0')
        length--;
    if (text[length - 1] == '.')
        length--;
    return add_record(records, "mtime", text, (size_t)length);
}

static int add_encoded_name(struct tarn_buf *key, const char *name)
{
    int ret = 0;
    for (; *name && ret == 0; name++) {
        const unsigned char c = (unsigned char)*name;
        if (c <= ' ' || c > '~' || c == '%' || c == '=')
            ret = tarn_buf_printf(key, "%%%02X", c);
        else
            ret = tarn_buf_append(key, name, 1);
    }
    return ret;
}

// Without '=' at the end, as libarchive writes it.
static int add_base64(struct tarn_buf *out, const uint8_t *bytes, size_t length)
{
    tarn_autofree char *text = tarn_base64_encode(bytes, length);
    return text ? tarn_buf_append(out, text, strcspn(text, "=")) : -ENOMEM;
}

static int add_xattr(struct tarn_buf *records, const struct tarn_tar_xattr *xattr)
{
    tarn_autobuf struct tarn_buf key = { 0 };
    tarn_autobuf struct tarn_buf value = { 0 };
    const bool plain = !strchr(xattr->name, '=');
    int ret = tarn_buf_printf(&key, "%s", plain ? "SCHILY.xattr." : "LIBARCHIVE.xattr.");
    if (ret == 0 && plain)
        ret = tarn_buf_append(&key, xattr->name, strlen(xattr->name));
    else if (ret == 0)
        ret = add_encoded_name(&key, xattr->name);
    if (ret == 0)
        ret = tarn_buf_append_zeros(&key, 1);
    if (ret == 0 && !plain)
        ret = add_base64(&value, xattr->value, xattr->length);
    if (ret < 0)
        return ret;
    return plain ? add_record(records, (char *)key.data, xattr->value, xattr->length)
                 : add_record(records, (char *)key.data, value.data, value.length);
}

static bool fits(uint64_t value, unsigned digits)
{
    return value >> (3 * digits) == 0;
}

static bool time_fits(const struct tarn_tar_entry *entry)
{
    return entry->mtime >= 0 && entry->mtime_ns == 0 && fits((uint64_t)entry->mtime, LONG_DIGITS);
}

static int add_sparse(struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry)
{
    struct tarn_buf *records = &writer->records;
    int ret = add_number(records, "GNU.sparse.major", 1);
    if (ret == 0)
        ret = add_number(records, "GNU.sparse.minor", 0);
    if (ret == 0)
        ret = add_record(records, "GNU.sparse.name", writer->name.data, writer->name.length);
    return ret == 0 ? add_number(records, "GNU.sparse.realsize", entry->size) : ret;
}

// Collects what the header cannot say. size: of what follows the header.
static int add_records(struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry,
                       uint64_t size)
{
    struct tarn_buf *records = &writer->records;
    int ret = 0;
    records->length = 0;
    if (!entry->sparse && writer->name.length > NAME_SIZE)
        ret = add_record(records, "path", writer->name.data, writer->name.length);
    if (ret == 0 && entry->link && entry->link_length > LINK_SIZE)
        ret = add_record(records, "linkpath", entry->link, entry->link_length);
    if (ret == 0 && !fits(size, LONG_DIGITS))
        ret = add_number(records, "size", size);
    if (ret == 0 && !fits(entry->uid, SHORT_DIGITS))
        ret = add_number(records, "uid", entry->uid);
    if (ret == 0 && !fits(entry->gid, SHORT_DIGITS))
        ret = add_number(records, "gid", entry->gid);
    if (ret == 0 && !time_fits(entry))
        ret = add_time(records, entry->mtime, entry->mtime_ns);
    if (ret == 0 && entry->sparse)
        ret = add_sparse(writer, entry);
    for (size_t i = 0; i < entry->xattr_count && ret == 0; i++)
        ret = add_xattr(records, &entry->xattrs[i]);
    return ret;
}

// --- headers -------------------------------------------------------------------------------------
// Octal digits and a NUL; 0 for what a record says instead.
static void put_number(uint8_t *field, unsigned digits, uint64_t value)
{
    if (!fits(value, digits))
        value = 0;
    for (unsigned i = digits; i-- > 0; value >>= 3)
        field[i] = (uint8_t)('0' + (value & 7));
    field[digits] = 0;
}

static void start_header(uint8_t header[TARN_TAR_BLOCK], char type, uint64_t size)
{
    memset(header, 0, TARN_TAR_BLOCK);
    put_number(header + MODE, SHORT_DIGITS, 0644);
    put_number(header + UID, SHORT_DIGITS, 0);
    put_number(header + GID, SHORT_DIGITS, 0);
    put_number(header + SIZE, LONG_DIGITS, size);
    put_number(header + MTIME, LONG_DIGITS, 0);
    header[TYPE] = (uint8_t)type;
    memcpy(header + MAGIC, "ustar\00000", 8);
    put_number(header + MAJOR, SHORT_DIGITS, 0);
    put_number(header + MINOR, SHORT_DIGITS, 0);
}

static int emit_header(struct tarn_tar_writer *writer, uint8_t header[TARN_TAR_BLOCK],
                       struct tarn_err *err)
{
    unsigned sum = 0;
    memset(header + CHECKSUM, ' ', 8);
    for (size_t i = 0; i < TARN_TAR_BLOCK; i++)
        sum += header[i];
    put_number(header + CHECKSUM, 6, sum);
    return emit(writer, header, TARN_TAR_BLOCK, err);
}

static int emit_records(struct tarn_tar_writer *writer, struct tarn_err *err)
{
    const struct tarn_buf *records = &writer->records;
    if (records->length == 0)
        return 0;
    uint8_t header[TARN_TAR_BLOCK];
    start_header(header, 'x', records->length);
    memcpy(header + NAME, "PaxHeaders/x", 12);
    int ret = emit_header(writer, header, err);
    if (ret == 0)
        ret = emit(writer, records->data, records->length, err);
    return ret == 0 ? emit_padding(writer, padding_of(records->length), err) : ret;
}

static char type_flag(const struct tarn_tar_entry *entry)
{
    switch (entry->type) {
    case S_IFDIR:
        return '5';
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFIFO:
        return '6';
    case TARN_TAR_HARDLINK:
        return '1';
    default:
        return '0';
    }
}

// A name that is too long stands in a record; here its first bytes, for people. It must not end in
// '/', which old readers take for a directory.
static void put_name(uint8_t *field, size_t size, const void *name, size_t length)
{
    size_t n = length <= size ? length : size;
    memcpy(field, name, n);
    while (length > size && n > 1 && field[n - 1] == '/')
        field[--n] = 0;
}

static void fill_header(const struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry,
                        uint8_t header[TARN_TAR_BLOCK])
{
    static const char sparse_name[] = "GNUSparseFile.0/sparse";
    if (entry->sparse)
        memcpy(header + NAME, sparse_name, strlen(sparse_name));
    else
        put_name(header + NAME, NAME_SIZE, writer->name.data, writer->name.length);
    put_number(header + MODE, SHORT_DIGITS, entry->mode);
    put_number(header + UID, SHORT_DIGITS, entry->uid);
    put_number(header + GID, SHORT_DIGITS, entry->gid);
    if (time_fits(entry))
        put_number(header + MTIME, LONG_DIGITS, (uint64_t)entry->mtime);
    if (entry->link)
        put_name(header + LINK, LINK_SIZE, entry->link, entry->link_length);
    put_number(header + MAJOR, SHORT_DIGITS, entry->rdev_major);
    put_number(header + MINOR, SHORT_DIGITS, entry->rdev_minor);
}

// --- entries -------------------------------------------------------------------------------------
static int make_name(struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry)
{
    writer->name.length = 0;
    if (entry->path_length == 0)
        return tarn_buf_append(&writer->name, "./", 2);
    const int ret = tarn_buf_append(&writer->name, entry->path, entry->path_length);
    if (ret < 0 || entry->type != S_IFDIR || entry->path_length == TARN_TAR_PATH_MAX)
        return ret;
    return tarn_buf_append(&writer->name, "/", 1);
}

// The map that stands before the data, and the data's length. A hole at the end is said as GNU tar
// does, by an extent without bytes at the end.
static int make_map(struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry,
                    uint64_t *data)
{
    struct tarn_buf *map = &writer->map;
    map->length = 0;
    *data = entry->size;
    if (!entry->sparse)
        return 0;
    uint64_t end = 0;
    *data = 0;
    for (size_t i = 0; i < entry->extent_count; i++) {
        *data += entry->extents[i].length;
        end = entry->extents[i].offset + entry->extents[i].length;
    }
    const bool tail = end < entry->size || entry->extent_count == 0;
    int ret = tarn_buf_printf(map, "%zu\n", entry->extent_count + tail);
    for (size_t i = 0; i < entry->extent_count && ret == 0; i++)
        ret = tarn_buf_printf(map, "%" PRIu64 "\n%" PRIu64 "\n", entry->extents[i].offset,
                              entry->extents[i].length);
    if (ret == 0 && tail)
        ret = tarn_buf_printf(map, "%" PRIu64 "\n0\n", entry->size);
    return ret == 0 ? tarn_buf_append_zeros(map, padding_of(map->length)) : ret;
}

int tarn_tar_writer_entry(struct tarn_tar_writer *writer, const struct tarn_tar_entry *entry,
                          struct tarn_err *err)
{
    assert(writer->left == 0);
    uint64_t data = 0;
    int ret = make_name(writer, entry);
    if (ret == 0)
        ret = make_map(writer, entry, &data);
    if (ret == 0)
        ret = add_records(writer, entry, writer->map.length + data);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory for a tar header");
    ret = emit_records(writer, err);
    if (ret < 0)
        return ret;
    uint8_t header[TARN_TAR_BLOCK];
    start_header(header, type_flag(entry), writer->map.length + data);
    fill_header(writer, entry, header);
    ret = emit_header(writer, header, err);
    if (ret == 0)
        ret = emit(writer, writer->map.data, writer->map.length, err);
    writer->left = data;
    writer->padding = padding_of(data);
    return ret;
}

int tarn_tar_writer_data(struct tarn_tar_writer *writer, const void *bytes, size_t length,
                         struct tarn_err *err)
{
    assert(length <= writer->left);
    if (length == 0)
        return 0;
    const int ret = emit(writer, bytes, length, err);
    if (ret < 0)
        return ret;
    writer->left -= length;
    return writer->left == 0 ? emit_padding(writer, writer->padding, err) : 0;
}

int tarn_tar_writer_finish(struct tarn_tar_writer *writer, struct tarn_err *err)
{
    assert(writer->left == 0);
    const int ret = emit_padding(writer, TARN_TAR_BLOCK, err);
    return ret == 0 ? emit_padding(writer, TARN_TAR_BLOCK, err) : ret;
}
