// SPDX-License-Identifier: Apache-2.0
// What the writer makes is read by the reader and must be the entry that went in; and it must cost no
// more blocks than needed.
#include "converter/tar_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "converter/tar_reader.h"
#include "tests/support/test_bytes.h"

enum { DATA_SIZE = 3 << 20, PIECE = 70001 };
#define COUNT(array) (sizeof(array) / sizeof *(array))

static int append(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    (void)err;
    return tarn_buf_append(context, bytes, length);
}

static uint64_t data_length(const struct tarn_tar_entry *entry)
{
    if (entry->type != S_IFREG || !entry->sparse)
        return entry->type == S_IFREG ? entry->size : 0;
    uint64_t length = 0;
    for (size_t i = 0; i < entry->extent_count; i++)
        length += entry->extents[i].length;
    return length;
}

// Appends an archive of these entries, whose data are the first bytes of data.
static void write_tar(const struct tarn_tar_entry *entries, size_t count, const uint8_t *data,
                      struct tarn_buf *tape)
{
    struct tarn_err err = { 0 };
    const struct tarn_tar_output output = { append, tape };
    struct tarn_tar_writer *writer = tarn_tar_writer_new(&output);
    assert_non_null(writer);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tarn_tar_writer_entry(writer, &entries[i], &err), 0);
        const uint64_t length = data_length(&entries[i]);
        for (uint64_t at = 0; at < length; at += PIECE)
            assert_int_equal(
                tarn_tar_writer_data(writer, data + at, tarn_min_u64(length - at, PIECE), &err), 0);
    }
    assert_int_equal(tarn_tar_writer_finish(writer, &err), 0);
    tarn_tar_writer_free(writer);
}

// --- what the reader says ------------------------------------------------------------------------
struct reading {
    const struct tarn_tar_entry *want;
    size_t count;
    size_t next;
    const uint8_t *data;
    uint64_t seen; // bytes of the current entry's data
};

static void compare_xattrs(const struct tarn_tar_entry *want, const struct tarn_tar_entry *got)
{
    assert_int_equal(got->xattr_count, want->xattr_count);
    for (size_t i = 0; i < want->xattr_count; i++) {
        assert_string_equal(got->xattrs[i].name, want->xattrs[i].name);
        assert_int_equal(got->xattrs[i].length, want->xattrs[i].length);
        assert_memory_equal(got->xattrs[i].value, want->xattrs[i].value, want->xattrs[i].length);
    }
}

static int begin(void *context, const struct tarn_tar_entry *got)
{
    struct reading *reading = context;
    assert_true(reading->next < reading->count);
    const struct tarn_tar_entry *want = &reading->want[reading->next++];
    reading->seen = 0;
    assert_string_equal(got->path, want->path);
    assert_int_equal(got->type, want->type);
    assert_int_equal(got->mode, want->mode);
    assert_int_equal(got->uid, want->uid);
    assert_int_equal(got->gid, want->gid);
    assert_true(got->mtime == want->mtime);
    assert_int_equal(got->mtime_ns, want->mtime_ns);
    assert_int_equal(got->rdev_major, want->rdev_major);
    assert_int_equal(got->rdev_minor, want->rdev_minor);
    assert_true(got->size == want->size);
    assert_int_equal(got->link_length, want->link_length);
    if (want->link)
        assert_string_equal(got->link, want->link);
    compare_xattrs(want, got);
    return 0;
}

static int compare_data(void *context, uint64_t offset, const void *bytes, size_t length)
{
    struct reading *reading = context;
    const struct tarn_tar_entry *want = &reading->want[reading->next - 1];
    uint64_t before = 0; // data before the extent that holds offset
    if (want->sparse) {
        size_t i = 0;
        while (offset >= want->extents[i].offset + want->extents[i].length)
            before += want->extents[i++].length;
        assert_true(i < want->extent_count);
        assert_true(offset + length <= want->extents[i].offset + want->extents[i].length);
        before += offset - want->extents[i].offset;
    } else {
        before = offset;
    }
    assert_true(before == reading->seen);
    assert_memory_equal(bytes, reading->data + before, length);
    reading->seen += length;
    return 0;
}

static int end(void *context)
{
    const struct reading *reading = context;
    assert_true(reading->seen == data_length(&reading->want[reading->next - 1]));
    return 0;
}

// Writes the entries and reads them again. Returns the number of blocks.
static size_t round_trip(const struct tarn_tar_entry *entries, size_t count, const uint8_t *data)
{
    static const struct tarn_tar_events events = { begin, compare_data, end };
    struct tarn_err err = { 0 };
    tarn_autobuf struct tarn_buf tape = { 0 };
    write_tar(entries, count, data, &tape);
    struct reading reading = { .want = entries, .count = count, .data = data };
    struct tarn_tar_reader *reader = tarn_tar_reader_new(&events, &reading);
    assert_non_null(reader);
    int ret = tarn_tar_reader_push(reader, tape.data, tape.length, &err);
    if (ret == 0)
        ret = tarn_tar_reader_finish(reader, &err);
    if (ret < 0)
        fail_msg("%s: %s", entries[0].path, err.text);
    const size_t end_length = (size_t)2 * TARN_TAR_BLOCK;
    assert_true(tarn_all_zero(tape.data + tape.length - end_length, end_length));
    assert_int_equal(reading.next, count);
    tarn_tar_reader_free(reader);
    assert_int_equal(tape.length % TARN_TAR_BLOCK, 0);
    return tape.length / TARN_TAR_BLOCK;
}

static struct tarn_tar_entry entry_of(uint32_t type, const char *path, const char *link)
{
    return (struct tarn_tar_entry){
        .path = path,
        .path_length = strlen(path),
        .type = type,
        .mode = 0644,
        .link = link,
        .link_length = link ? strlen(link) : 0,
    };
}

// --- the tests -----------------------------------------------------------------------------------
static void test_plain_entries_take_one_block(void **state)
{
    (void)state;
    struct tarn_tar_entry entries[] = {
        entry_of(S_IFDIR, "", NULL),
        entry_of(S_IFDIR, "d", NULL),
        entry_of(S_IFREG, "d/\xff \n\\", NULL),
        entry_of(S_IFLNK, "link", "/../x//"),
        entry_of(TARN_TAR_HARDLINK, "hard", "d/file"),
        entry_of(S_IFCHR, "c", NULL),
        entry_of(S_IFBLK, "b", NULL),
        entry_of(S_IFIFO, "p", NULL),
    };
    entries[1].mode = 07777;
    entries[2].uid = entries[2].gid = 07777777;
    entries[2].mtime = (INT64_C(1) << 33) - 1;
    entries[5].rdev_major = 4095;
    entries[5].rdev_minor = (1 << 20) - 1;
    assert_int_equal(round_trip(entries, COUNT(entries), NULL), COUNT(entries) + 2);
}

static void test_what_needs_records(void **state)
{
    (void)state;
    struct tarn_tar_entry entries[] = {
        entry_of(S_IFREG, "uid", NULL),       entry_of(S_IFREG, "gid", NULL),
        entry_of(S_IFREG, "ns", NULL),        entry_of(S_IFREG, "before", NULL),
        entry_of(S_IFREG, "before-ns", NULL), entry_of(S_IFREG, "just-before", NULL),
        entry_of(S_IFREG, "late", NULL),      entry_of(S_IFREG, "first", NULL),
        entry_of(S_IFREG, "last", NULL),
    };
    entries[0].uid = 010000000;
    entries[1].gid = UINT32_MAX - 1;
    entries[2].mtime_ns = 100;
    entries[3].mtime = -1;
    entries[4].mtime = -3000000000;
    entries[4].mtime_ns = 999999999;
    entries[5].mtime = -1;
    entries[5].mtime_ns = 500000000;
    entries[6].mtime = INT64_C(1) << 33;
    entries[7].mtime = INT64_MIN;
    entries[8].mtime = INT64_MAX;
    entries[8].mtime_ns = 1;
    assert_int_equal(round_trip(entries, COUNT(entries), NULL), COUNT(entries) * 3 + 2);
}

// Record lengths count themselves: all around 100 and 1000, and the longest.
static void test_names_of_all_lengths(void **state)
{
    (void)state;
    static char path[TARN_TAR_PATH_MAX + 1];
    for (size_t length = 1; length <= TARN_TAR_PATH_MAX; length++) {
        if (length == 1200)
            length = TARN_TAR_PATH_MAX - 2;
        for (size_t i = 0; i < length; i++)
            path[i] = i % 100 == 99 && i + 1 < length ? '/' : (char)('a' + i % 23);
        path[length] = '\0';
        struct tarn_tar_entry entries[] = {
            entry_of(S_IFREG, path, NULL),
            entry_of(S_IFDIR, path, NULL),
            entry_of(TARN_TAR_HARDLINK, "link", path),
        };
        const size_t blocks = round_trip(entries, COUNT(entries), NULL);
        if (length < 100)
            assert_int_equal(blocks, COUNT(entries) + 2);
    }
}

static void test_xattrs(void **state)
{
    (void)state;
    static uint8_t large[TARN_TAR_XATTR_MAX];
    uint64_t seed = 5;
    tarn_test_noise(&seed, large, sizeof large);
    static const uint8_t binary[] = "\0=\n 12 x\xff\n";
    static const struct tarn_tar_xattr items[] = {
        { "security.capability", binary, 19, 1 },
        { "trusted.large", large, 13, sizeof large },
        { "user.a=b", binary, 8, sizeof binary },
        { "user.empty", binary, 10, 0 },
        { "user.one", binary, 8, 1 },
        { "user.two=", binary, 9, 2 },
        { "user.z\xff%\n", binary, 9, sizeof binary },
    };
    struct tarn_tar_entry entries[] = { entry_of(S_IFREG, "file", NULL),
                                        entry_of(S_IFDIR, "d", NULL),
                                        entry_of(TARN_TAR_HARDLINK, "h", "file") };
    for (size_t i = 0; i < COUNT(entries); i++) {
        entries[i].xattrs = items;
        entries[i].xattr_count = COUNT(items);
    }
    round_trip(entries, COUNT(entries), NULL);
}

static void test_data(void **state)
{
    (void)state;
    uint8_t *data = malloc(DATA_SIZE);
    uint64_t seed = 7;
    assert_non_null(data);
    tarn_test_noise(&seed, data, DATA_SIZE);
    static const uint64_t sizes[] = { 0, 1, 511, 512, 513, PIECE, DATA_SIZE };
    struct tarn_tar_entry entries[COUNT(sizes)];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        entries[i] = entry_of(S_IFREG, "file", NULL);
        entries[i].size = sizes[i];
    }
    round_trip(entries, COUNT(entries), data);
    free(data);
}

static void test_holes(void **state)
{
    (void)state;
    enum { MANY = 30000 };
    uint8_t *data = malloc(DATA_SIZE);
    struct tarn_tar_extent *many = calloc(MANY, sizeof *many);
    uint64_t seed = 9;
    assert_true(data && many);
    tarn_test_noise(&seed, data, DATA_SIZE);
    for (uint64_t i = 0; i < MANY; i++)
        many[i] = (struct tarn_tar_extent){ i << 27 | 3, 1 + i % 50 };
    const struct tarn_tar_extent some[] = { { 0, 262144 }, { 524288, 1 } };
    const struct tarn_tar_extent last[] = { { (INT64_C(1) << 40) - 7, 7 } };
    const struct {
        const struct tarn_tar_extent *extents;
        size_t count;
        uint64_t size;
        size_t blocks;
    } cases[] = {
        { NULL, 0, 1, 4 },
        { NULL, 0, TARN_TAR_SIZE_MAX, 4 },
        { some, 2, 524289, 4 + 513 },
        { some, 2, UINT64_C(1) << 40, 4 + 513 },
        { last, 1, UINT64_C(1) << 40, 5 },
        { many, MANY, UINT64_C(1) << 42, 0 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct tarn_tar_entry entry = entry_of(S_IFREG, "holes/name", NULL);
        entry.sparse = true;
        entry.size = cases[i].size;
        entry.extents = cases[i].extents;
        entry.extent_count = cases[i].count;
        const size_t blocks = round_trip(&entry, 1, data);
        if (cases[i].blocks > 0)
            assert_int_equal(blocks, cases[i].blocks + 2);
    }
    free(many);
    free(data);
}

static int refuse(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    (void)bytes;
    (void)length;
    int *left = context;
    return --*left < 0 ? tarn_fail(err, -ENOSPC, "full") : 0;
}

static void test_output_fails(void **state)
{
    (void)state;
    struct tarn_tar_entry entry = entry_of(S_IFREG, "file", NULL);
    entry.uid = UINT32_MAX - 1;
    for (int writes = 0; writes < 6; writes++) {
        struct tarn_err err = { 0 };
        int left = writes;
        const struct tarn_tar_output output = { refuse, &left };
        struct tarn_tar_writer *writer = tarn_tar_writer_new(&output);
        int ret = tarn_tar_writer_entry(writer, &entry, &err);
        if (ret == 0)
            ret = tarn_tar_writer_finish(writer, &err);
        assert_int_equal(ret, -ENOSPC);
        assert_string_equal(err.text, "full");
        tarn_tar_writer_free(writer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_entries_take_one_block),
        cmocka_unit_test(test_what_needs_records),
        cmocka_unit_test(test_names_of_all_lengths),
        cmocka_unit_test(test_xattrs),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_output_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
