// SPDX-License-Identifier: Apache-2.0
#include "registry/archive_scan.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"

enum {
    BLOCK = 512,
    NAME_LIMIT = 4096,
    EXTENDED_LIMIT = 1 << 20, // bytes of one pax header
    MEMBER_LIMIT = 1 << 20,
};

struct scan {
    const struct tarn_archive_input *input;
    struct tarn_archive_members *members;
    struct tarn_err *err;
    uint64_t offset; // of the header at hand
    // What extended headers said about the next member.
    char *name;
    char *target;
    uint64_t size;
    bool has_size;
    bool sparse;
};

static void forget(struct scan *scan)
{
    free(tarn_steal(scan->name));
    free(tarn_steal(scan->target));
    scan->has_size = false;
    scan->sparse = false;
}

static void member_release(struct tarn_archive_member *member)
{
    free(member->name);
    free(member->target);
}

void tarn_archive_members_release(struct tarn_archive_members *members)
{
    for (size_t i = 0; i < members->count; i++)
        member_release(&members->list[i]);
    free(members->list);
    *members = (struct tarn_archive_members){ 0 };
}

static int damaged(struct scan *scan, const char *what)
{
    return tarn_fail(scan->err, -EUCLEAN, "tar header at byte %" PRIu64 ": %s", scan->offset, what);
}

static int compare_names(const void *a, const void *b)
{
    const struct tarn_archive_member *x = a;
    const struct tarn_archive_member *y = b;
    const int order = strcmp(x->name, y->name);
    if (order != 0)
        return order;
    return x->order < y->order ? -1 : x->order > y->order;
}

const struct tarn_archive_member *
tarn_archive_members_find(const struct tarn_archive_members *members, const char *name)
{
    size_t low = 0;
    size_t high = members->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(members->list[middle].name, name);
        if (order == 0)
            return &members->list[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

// Octal with spaces and NULs around it, or GNU's big-endian binary with the top bit set.
static bool number(const uint8_t *field, size_t length, uint64_t *value)
{
    *value = 0;
    if (field[0] & 0x80) {
        if (field[0] != 0x80)
            return false; // negative, or beyond 2^64
        for (size_t i = 1; i < length; i++) {
            if (*value >> 56)
                return false;
            *value = *value << 8 | field[i];
        }
        return true;
    }
    size_t i = 0;
    while (i < length && field[i] == ' ')
        i++;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        *value = *value << 3 | (uint64_t)(field[i] - '0');
    return i == length || field[i] == ' ' || field[i] == '\0';
}

// The sum over the header with the field itself as spaces. Old tars summed signed bytes.
static bool checksum_ok(const uint8_t *header)
{
    uint64_t want;
    uint64_t sum = 0;
    int64_t signed_sum = 0;
    for (int i = 0; i < BLOCK; i++) {
        const uint8_t byte = i >= 148 && i < 156 ? ' ' : header[i];
        sum += byte;
        signed_sum += (int8_t)byte;
    }
    return number(header + 148, 8, &want) && (want == sum || (int64_t)want == signed_sum);
}

static char *text_field(const uint8_t *field, size_t length)
{
    return strndup((const char *)field, length);
}

static char *header_name(const uint8_t *header)
{
    char *name = text_field(header, 100);
    // GNU's own header has other things where ustar has the prefix.
    if (!name || memcmp(header + 257, "ustar\0", 6) != 0 || header[345] == '\0')
        return name;
    tarn_autofree char *tail = name;
    char *full = malloc(155 + 1 + 100 + 1);
    if (full)
        snprintf(full, 257, "%.155s/%s", (const char *)header + 345, tail);
    return full;
}

static const char *plain_name(const char *name)
{
    for (;;) {
        if (name[0] == '/')
            name++;
        else if (name[0] == '.' && name[1] == '/')
            name += 2;
        else
            return name;
    }
}

static int add(struct scan *scan, const char *name, const char *target, uint64_t size)
{
    struct tarn_archive_members *members = scan->members;
    if (members->count == members->capacity) {
        if (members->capacity >= MEMBER_LIMIT)
            return damaged(scan, "more than a million members");
        const size_t capacity = members->capacity ? 2 * members->capacity : 64;
        void *list = reallocarray(members->list, capacity, sizeof members->list[0]);
        if (!list)
            return tarn_fail(scan->err, -ENOMEM, "out of memory");
        members->list = list;
        members->capacity = capacity;
    }
    struct tarn_archive_member member = {
        .name = strdup(plain_name(name)),
        .target = target ? strdup(plain_name(target)) : NULL,
        .offset = scan->offset + BLOCK,
        .size = size,
        .order = members->count,
    };
    if (!member.name || (target && !member.target)) {
        member_release(&member);
        return tarn_fail(scan->err, -ENOMEM, "out of memory");
    }
    members->list[members->count++] = member;
    return 0;
}

// Reads the body of an extended header.
static int read_body(struct scan *scan, uint64_t size, uint64_t limit, struct tarn_buf *body)
{
    if (size > limit)
        return damaged(scan, "the extended header is too long");
    if (tarn_buf_reserve(body, (size_t)size + 1) < 0)
        return tarn_fail(scan->err, -ENOMEM, "out of memory");
    const int ret = size ? scan->input->read(scan->input->context, body->data, (size_t)size,
                                             scan->offset + BLOCK)
                         : 0;
    if (ret < 0)
        return tarn_fail_errno(scan->err, ret, "cannot read");
    body->data[size] = '\0';
    body->length = (size_t)size;
    return 0;
}

// An empty text takes an earlier one back.
static int set_text(struct scan *scan, char **field, const void *text, size_t length)
{
    free(tarn_steal(*field));
    if (length == 0)
        return 0;
    *field = strndup(text, length);
    return *field ? 0 : tarn_fail(scan->err, -ENOMEM, "out of memory");
}

static int pax_record(struct scan *scan, const char *record, size_t length)
{
    const char *equals = memchr(record, '=', length);
    if (!equals)
        return damaged(scan, "a pax record has no '='");
    const size_t key = (size_t)(equals - record);
    const char *value = equals + 1;
    const size_t size = length - key - 1;
    if (key == 4 && memcmp(record, "path", 4) == 0)
        return set_text(scan, &scan->name, value, size);
    if (key == 8 && memcmp(record, "linkpath", 8) == 0)
        return set_text(scan, &scan->target, value, size);
    static const char sparse[] = "GNU.sparse.";
    if (key > strlen(sparse) && memcmp(record, sparse, strlen(sparse)) == 0)
        scan->sparse = true;
    if (key != 4 || memcmp(record, "size", 4) != 0)
        return 0;
    scan->has_size = size > 0;
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++)
        if (value[i] < '0' || value[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(value[i] - '0'), &number))
            return damaged(scan, "a pax size is no number");
    scan->size = number;
    return 0;
}

// "<length of it all> <key>=<value>\n", again and again.
static int pax_header(struct scan *scan, uint64_t size)
{
    tarn_autobuf struct tarn_buf body = { 0 };
    int ret = read_body(scan, size, EXTENDED_LIMIT, &body);
    size_t at = 0;
    while (ret == 0 && at < body.length) {
        size_t length = 0;
        size_t digits = 0;
        const char *record = (const char *)body.data + at;
        const size_t left = body.length - at;
        while (digits < left && digits < 8 && record[digits] >= '0' && record[digits] <= '9')
            length = length * 10 + (size_t)(record[digits++] - '0');
        if (digits == 0 || digits >= left || record[digits] != ' ' || length > left ||
            length < digits + 2 || record[length - 1] != '\n')
            return damaged(scan, "a pax record has a wrong length");
        ret = pax_record(scan, record + digits + 1, length - digits - 2);
        at += length;
    }
    return ret;
}

static int long_name(struct scan *scan, char **field, uint64_t size)
{
    tarn_autobuf struct tarn_buf body = { 0 };
    const int ret = read_body(scan, size, NAME_LIMIT, &body);
    return ret < 0 ? ret : set_text(scan, field, body.data, body.length);
}

// A member proper, after its extended headers.
static int member(struct scan *scan, const uint8_t *header, uint64_t size)
{
    const char type = (char)header[156];
    tarn_autofree char *short_name = header_name(header);
    tarn_autofree char *short_target = text_field(header + 157, 100);
    if (!short_name || !short_target)
        return tarn_fail(scan->err, -ENOMEM, "out of memory");
    const char *name = scan->name ? scan->name : short_name;
    const size_t length = strlen(name);
    int ret = 0;
    if (length > NAME_LIMIT)
        ret = damaged(scan, "the name is too long");
    else if (type == 'S' || scan->sparse)
        ret = tarn_fail(
            scan->err, -ENOTSUP,
            "sparse member '%.200s' is not supported; pack the archive without --sparse", name);
    else if (type == '1')
        ret = add(scan, name, scan->target ? scan->target : short_target, 0);
    else if ((type == '0' || type == '\0' || type == '7') && length > 0 && name[length - 1] != '/')
        ret = add(scan, name, NULL, size);
    forget(scan);
    return ret;
}

// The header at scan->offset; gives the body's size.
static int header(struct scan *scan, const uint8_t *bytes, uint64_t *body)
{
    const char type = (char)bytes[156];
    uint64_t size;
    if (!checksum_ok(bytes))
        return damaged(scan, scan->offset == 0 ? "this is no tar archive" : "wrong checksum");
    if (!number(bytes + 124, 12, &size))
        return damaged(scan, "the size is no number");
    const bool extended = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!extended && scan->has_size)
        size = scan->size;
    // Links, directories and devices have no body, whatever their size says.
    *body = type >= '1' && type <= '6' ? 0 : size;
    if (!tarn_range_ok(scan->offset + BLOCK, *body, scan->input->size))
        return damaged(scan, "the member ends behind the end of the file, which is cut off");
    switch (type) {
    case 'x':
        return pax_header(scan, size);
    case 'L':
        return long_name(scan, &scan->name, size);
    case 'K':
        return long_name(scan, &scan->target, size);
    case 'g':
        return 0;
    default:
        return member(scan, bytes, size);
    }
}

static int refuse_compressed(struct scan *scan, const uint8_t *bytes)
{
    static const struct {
        const char *magic;
        size_t length;
        const char *name;
        const char *tool;
    } kinds[] = {
        { "\x1f\x8b", 2, "gzip", "gzip -d" },
        { "\x28\xb5\x2f\xfd", 4, "zstd", "zstd -d" },
        { "BZh", 3, "bzip2", "bzip2 -d" },
        { "\xfd"
          "7zXZ",
          5, "xz", "xz -d" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (memcmp(bytes, kinds[i].magic, kinds[i].length) == 0)
            return tarn_fail(
                scan->err, -ENOTSUP,
                "the archive is compressed with %s, which is not supported; decompress "
                "it first: %s",
                kinds[i].name, kinds[i].tool);
    return 0;
}

static int walk(struct scan *scan)
{
    while (scan->input->size - scan->offset >= BLOCK) {
        uint8_t bytes[BLOCK];
        uint64_t body = 0;
        int ret = scan->input->read(scan->input->context, bytes, BLOCK, scan->offset);
        if (ret < 0)
            return tarn_fail_errno(scan->err, ret, "cannot read");
        if (scan->offset == 0)
            ret = refuse_compressed(scan, bytes);
        if (ret == 0 && tarn_all_zero(bytes, BLOCK))
            return 0;
        if (ret == 0)
            ret = header(scan, bytes, &body);
        if (ret < 0)
            return ret;
        const uint64_t next = scan->offset + BLOCK + body; // lies inside the file
        scan->offset = tarn_min_u64(tarn_round_up(next, BLOCK), scan->input->size);
    }
    // The two zero blocks at the end may be missing, but not a part of a block.
    if (scan->offset == scan->input->size)
        return 0;
    return damaged(scan, scan->offset == 0 ? "this is no tar archive" : "the file is cut off");
}

// Sorts, keeps the last of each name, and gives hard links the content of what they stand for.
static void finish(struct tarn_archive_members *members)
{
    size_t kept = 0;
    if (members->count > 0)
        qsort(members->list, members->count, sizeof members->list[0], compare_names);
    for (size_t i = 0; i < members->count; i++) {
        if (i + 1 < members->count && strcmp(members->list[i].name, members->list[i + 1].name) == 0)
            member_release(&members->list[i]);
        else
            members->list[kept++] = members->list[i];
    }
    members->count = kept;
    for (size_t i = 0; i < members->count; i++) {
        struct tarn_archive_member *link = &members->list[i];
        const struct tarn_archive_member *target =
            // Those that were released stand behind count. NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
            link->target ? tarn_archive_members_find(members, link->target) : NULL;
        if (target && !target->target) {
            link->offset = target->offset;
            link->size = target->size;
        }
    }
    for (size_t i = 0; i < members->count; i++)
        free(tarn_steal(members->list[i].target));
}

int tarn_archive_scan(const struct tarn_archive_input *input, struct tarn_archive_members *members,
                      struct tarn_err *err)
{
    struct scan scan = { .input = input, .members = members, .err = err };
    const int ret = walk(&scan);
    forget(&scan);
    if (ret < 0) {
        tarn_archive_members_release(members);
        return ret;
    }
    finish(members);
    return 0;
}
