// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/bus_guard.h"
#include "base/file.h"
#include "daemon/store.h"
#include "tests/support/test_bytes.h"

enum { CHUNKS = 5 };
#define CHUNK ((size_t)20000)
#define DIGEST ((size_t)TARN_DIGEST_SIZE)

// A blob of five chunks of noise; the last row is the gap row. seed changes the bytes.
struct blob {
    uint8_t addresses[(CHUNKS + 1) * 8];
    uint8_t locations[(CHUNKS + 1) * 8];
    uint8_t digests[(CHUNKS + 1) * DIGEST];
    uint8_t data[CHUNKS * CHUNK];
    struct tarn_rows rows;
};

static void make_blob(struct blob *blob, uint64_t seed)
{
    memset(blob, 0, sizeof *blob);
    tarn_test_noise(&seed, blob->data, sizeof blob->data);
    for (uint32_t i = 0; i <= CHUNKS; i++) {
        tarn_put_le64(blob->addresses + (size_t)i * 8, (uint64_t)i * CHUNK);
        const struct tarn_location location = {
            .kind = i < CHUNKS ? TARN_LOCATION_STORED : TARN_LOCATION_GAP,
            .raw = true,
            .run_start = i == 0,
            .stored_length = CHUNK,
            .offset = (uint64_t)i * CHUNK,
        };
        tarn_put_le64(blob->locations + (size_t)i * 8, tarn_location_pack(&location));
        if (i == CHUNKS)
            break;
        struct tarn_digest digest;
        tarn_sha256(blob->data + i * CHUNK, CHUNK, &digest);
        memcpy(blob->digests + i * DIGEST, digest.bytes, TARN_DIGEST_SIZE);
    }
    blob->rows = (struct tarn_rows){
        .blob_size = sizeof blob->data,
        .data_length = sizeof blob->data,
        .count = CHUNKS + 1,
        .addresses = blob->addresses,
        .locations = blob->locations,
        .digests = blob->digests,
    };
    tarn_sha256(blob->data, sizeof blob->data, &blob->rows.blob);
}

static int put_row(struct tarn_data_file *file, uint32_t row, const void *bytes)
{
    const struct tarn_row_chunk chunk = tarn_rows_chunk(&file->rows, row);
    return tarn_data_file_put(file, &chunk, bytes);
}

static int check_row(struct tarn_data_file *file, uint32_t row, void *scratch)
{
    const struct tarn_row_chunk chunk = tarn_rows_chunk(&file->rows, row);
    return tarn_data_file_check(file, &chunk, scratch);
}

static int make_root(void **state)
{
    char *root = strdup("/tmp/tarn-store-XXXXXX");
    assert_non_null(mkdtemp(root));
    *state = root;
    return 0;
}

static int remove_root(void **state)
{
    assert_int_equal(tarn_remove_tree(AT_FDCWD, *state, NULL), 0);
    free(*state);
    return 0;
}

static struct tarn_store *open_store(const char *root)
{
    struct tarn_store *store;
    struct tarn_err err;
    if (tarn_store_open(root, &store, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

static struct tarn_data_file *attach(struct tarn_store *store, const struct tarn_rows *rows)
{
    struct tarn_data_file *file;
    struct tarn_err err;
    if (tarn_store_attach(store, rows, &file, &err) < 0)
        fail_msg("%s", err.text);
    return file;
}

// What is written is found again, checked, by the next store; what is damaged is dropped.
static void test_lasts(void **state)
{
    struct blob blob;
    make_blob(&blob, 1);
    static uint8_t scratch[TARN_CHUNK_MAX];
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *file = attach(store, &blob.rows);
    assert_true(file->whole);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_false(tarn_data_file_verified(file, i) || tarn_data_file_written(file, i));
        if (i != 3)
            assert_int_equal(put_row(file, i, blob.data + i * CHUNK), 0);
        assert_int_equal(tarn_data_file_verified(file, i), i != 3);
    }
    assert_ptr_equal(attach(store, &blob.rows), file);
    tarn_store_free(store);

    tarn_autofree char *path = tarn_asprintf("%s/blobs/%s/data", (char *)*state, "*");
    tarn_autofree char *command = tarn_asprintf(
        "printf x | dd of=$(ls %s) bs=1 seek=%d conv=notrunc status=none", path, (int)CHUNK + 77);
    assert_int_equal(system(command), 0);
    store = open_store(*state);
    file = attach(store, &blob.rows);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_false(tarn_data_file_verified(file, i));
        assert_int_equal(tarn_data_file_written(file, i), i != 3);
    }
    const int want[CHUNKS] = { 0, -EIO, 0, -EIO, 0 };
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(check_row(file, i, scratch), want[i]);
        assert_int_equal(tarn_data_file_verified(file, i), want[i] == 0);
        assert_int_equal(tarn_data_file_written(file, i), want[i] == 0);
    }
    assert_int_equal(tarn_data_file_read(file, 10, scratch, 1000), 0);
    assert_memory_equal(scratch, blob.data + 10, 1000);
    tarn_store_free(store);
}

// Rows that differ get a directory of their own, in whatever order they come.
static void test_tables_differ(void **state)
{
    struct blob one;
    struct blob two;
    make_blob(&one, 1);
    make_blob(&two, 2);
    two.rows.blob = one.rows.blob; // the same blob, they say
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *a = attach(store, &one.rows);
    struct tarn_data_file *b = attach(store, &two.rows);
    assert_ptr_not_equal(a, b);
    assert_string_not_equal(a->name, b->name);
    assert_int_equal(a->number, 0);
    assert_int_equal(b->number, 1);
    assert_int_equal(put_row(a, 0, one.data), 0);
    assert_false(tarn_data_file_verified(b, 0));
    assert_ptr_equal(attach(store, &two.rows), b);
    assert_ptr_equal(tarn_store_file(store, 1), b);
    assert_null(tarn_store_file(store, 2));
    tarn_store_free(store);
    store = open_store(*state);
    b = attach(store, &two.rows);
    a = attach(store, &one.rows);
    assert_ptr_not_equal(a, b);
    assert_false(tarn_data_file_written(b, 0));
    assert_true(tarn_data_file_written(a, 0));

    // Of a reference only that it is one counts.
    struct blob three;
    make_blob(&three, 3);
    struct tarn_location location = { .kind = TARN_LOCATION_REFERENCE, .blob = 5, .address = 9 };
    tarn_put_le64(three.locations + 8, tarn_location_pack(&location));
    a = attach(store, &three.rows);
    location.blob = 6;
    tarn_put_le64(three.locations + 8, tarn_location_pack(&location));
    assert_ptr_equal(attach(store, &three.rows), a);
    location = (struct tarn_location){ .kind = TARN_LOCATION_STORED, .stored_length = 7 };
    tarn_put_le64(three.locations + 8, tarn_location_pack(&location));
    assert_ptr_not_equal(attach(store, &three.rows), a);
    tarn_store_free(store);
}

// Chunks that other blobs have are found, if they are written.
static void test_index(void **state)
{
    struct blob one;
    struct blob two;
    make_blob(&one, 1);
    make_blob(&two, 2);
    memcpy(two.digests + 2 * DIGEST, one.digests + 4 * DIGEST, TARN_DIGEST_SIZE);
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *a = attach(store, &one.rows);
    struct tarn_data_file *b = attach(store, &two.rows);
    const struct tarn_digest *digest = tarn_rows_digest_at(&b->rows, 2);
    struct tarn_chunk_place place;
    assert_false(tarn_store_find(store, digest, CHUNK, b, &place));
    assert_int_equal(put_row(a, 4, one.data + 4 * CHUNK), 0);
    assert_true(tarn_store_find(store, digest, CHUNK, b, &place));
    assert_ptr_equal(place.file, a);
    assert_int_equal(place.row, 4);
    assert_false(tarn_store_find(store, digest, CHUNK, a, &place));
    assert_false(tarn_store_find(store, digest, CHUNK - 1, b, &place));
    tarn_store_free(store);
    store = open_store(*state); // and by the next one
    a = attach(store, &one.rows);
    b = attach(store, &two.rows);
    assert_true(tarn_store_find(store, tarn_rows_digest_at(&b->rows, 2), CHUNK, b, &place));
    assert_ptr_equal(place.file, a);
    tarn_store_free(store);
}

// Many equal digests and a growing table.
static void test_index_grows(void **state)
{
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *files[400];
    for (uint64_t i = 0; i < 400; i++) {
        struct blob blob;
        make_blob(&blob, 100 + i);
        struct blob first;
        make_blob(&first, 100);
        memcpy(blob.digests, first.digests, TARN_DIGEST_SIZE); // all begin alike
        files[i] = attach(store, &blob.rows);
        if (i % 3 == 2)
            assert_int_equal(
                put_row(files[i], (uint32_t)(i % CHUNKS), blob.data + i % CHUNKS * CHUNK), 0);
    }
    for (uint64_t i = 0; i < 400; i++) {
        const uint32_t row = (uint32_t)(i % CHUNKS);
        struct tarn_chunk_place place;
        const bool found =
            tarn_store_find(store, tarn_rows_digest_at(&files[i]->rows, row), CHUNK, NULL, &place);
        if (found != (i % 3 == 2 || row == 0))
            fail_msg("file %llu: found %d", (unsigned long long)i, found);
        if (found && row != 0)
            assert_ptr_equal(place.file, files[i]);
    }
    tarn_store_free(store);
}

// Digests are what an image says: that they all begin alike must not make the index slow.
static void test_index_of_similar_digests(void **state)
{
    enum { ROWS = 300000 };
    struct tarn_rows rows = { .data_length = (uint64_t)ROWS * 4096, .count = ROWS + 1 };
    uint8_t *addresses = calloc(rows.count, 8);
    uint8_t *locations = calloc(rows.count, 8);
    uint8_t *digests = calloc(rows.count, DIGEST);
    assert_true(addresses && locations && digests);
    rows.addresses = addresses;
    rows.locations = locations;
    rows.digests = digests;
    for (uint32_t i = 0; i <= ROWS; i++) {
        tarn_put_le64(addresses + (size_t)i * 8, (uint64_t)i * 4096);
        const struct tarn_location location = {
            .kind = i < ROWS ? TARN_LOCATION_STORED : TARN_LOCATION_GAP,
            .run_start = true,
            .stored_length = 1,
        };
        tarn_put_le64(locations + (size_t)i * 8, tarn_location_pack(&location));
        tarn_put_le64(digests + (size_t)i * DIGEST + 24, i + 1);
    }
    struct tarn_store *store = open_store(*state);
    alarm(250); // it took an hour
    struct tarn_data_file *file = attach(store, &rows);
    static const uint8_t chunk[4096];
    assert_int_equal(put_row(file, ROWS - 1, chunk), 0);
    struct tarn_chunk_place place;
    assert_true(tarn_store_find(store, tarn_rows_digest_at(&file->rows, ROWS - 1), sizeof chunk,
                                NULL, &place));
    assert_int_equal(place.row, ROWS - 1);
    alarm(0);
    tarn_store_free(store);
    free(addresses);
    free(locations);
    free(digests);
}

static void damage(const char *root, const char *name, off_t offset, const char *bytes)
{
    tarn_autofree char *command =
        tarn_asprintf("printf '%s' | dd of=$(ls %s/blobs/*/%s) bs=1 seek=%lld conv=notrunc "
                      "status=none",
                      bytes, root, name, (long long)offset);
    assert_int_equal(system(command), 0);
}

// A damaged table is thrown away with all that hangs on it; the image's own is right.
static void test_damaged_tables(void **state)
{
    const struct {
        off_t offset;
        const char *bytes;
    } cases[] = {
        { 0, "X" },                          // magic
        { 8, "\\002" },                      // version
        { 12, "\\007" },                     // count
        { 16, "\\001\\001" },                // data length
        { 80 + 8, "\\377\\377\\377\\377" },  // an address
        { 80 + 8, "\\000\\000\\000\\000" },  // not ascending
        { 80 + 6 * 8 + 5 * 8 + 7, "\\000" }, // the last row is no gap
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct blob blob;
        make_blob(&blob, 1);
        struct tarn_store *store = open_store(*state);
        assert_int_equal(put_row(attach(store, &blob.rows), 0, blob.data), 0);
        tarn_store_free(store);
        damage(*state, "table", cases[i].offset, cases[i].bytes);
        store = open_store(*state);
        if (tarn_store_file(store, 0))
            fail_msg("case %zu: the table was taken", i);
        const struct tarn_data_file *file = attach(store, &blob.rows);
        assert_false(tarn_data_file_written(file, 0));
        assert_true(file->whole);
        tarn_store_free(store);
    }
}

static void assert_bootstrap(const struct tarn_store_bytes *bytes, const char *text)
{
    assert_int_equal(bytes->length, strlen(text));
    assert_memory_equal(bytes->data, text, strlen(text));
}

// Both steps of each.
static int load(struct tarn_store *store, const struct tarn_digest *digest,
                struct tarn_store_bytes *bytes)
{
    const int ret = tarn_store_load_bootstrap(store, digest, bytes, NULL);
    return ret < 0 ? ret : tarn_store_confirm(bytes, NULL);
}

static int unpack(struct tarn_store *store, const struct tarn_buf *layer,
                  const struct tarn_digest *digest, struct tarn_store_bytes *bytes)
{
    const int ret = tarn_store_unpack_bootstrap(store, layer, digest, bytes, NULL);
    return ret < 0 ? ret : tarn_store_confirm(bytes, NULL);
}

static void test_bootstraps(void **state)
{
    struct tarn_store *store = open_store(*state);
    static const char text[] = "a bootstrap";
    struct tarn_digest digest;
    struct tarn_digest diff_id;
    struct tarn_store_bytes bytes = { 0 };
    struct tarn_buf layer = { 0 };
    tarn_sha256(text, strlen(text), &digest);
    assert_int_equal(
        tarn_bootstrap_layer_write((const uint8_t *)text, strlen(text), &layer, &diff_id, NULL), 0);
    char hex[TARN_DIGEST_HEX + 1];
    tarn_autofree char *path =
        tarn_asprintf("%s/bootstraps/%s", (char *)*state, tarn_digest_format_hex(&digest, hex));
    assert_int_equal(load(store, &digest, &bytes), -ENOENT);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(unpack(store, &layer, &digest, &bytes), 0);
        assert_bootstrap(&bytes, text);
        struct tarn_store_bytes again;
        assert_int_equal(load(store, &digest, &again), 0);
        assert_bootstrap(&again, text);
        tarn_store_unmap(&again);
        // Other bytes under its name are dropped.
        assert_int_equal(truncate(path, i == 0 ? 0 : 5), 0);
        assert_int_equal(load(store, &digest, &again), -ENOENT);
        assert_int_equal(access(path, F_OK), -1);
        tarn_store_unmap(&again);
        tarn_store_unmap(&bytes);
    }
    // A wrong one leaves nothing.
    digest.bytes[0] ^= 1;
    assert_int_equal(unpack(store, &layer, &digest, &bytes), -EIO);
    tarn_store_unmap(&bytes);
    // One that nobody waits for is saved all the same.
    digest.bytes[0] ^= 1;
    assert_int_equal(tarn_store_unpack_bootstrap(store, &layer, &digest, &bytes, NULL), 0);
    tarn_store_unmap(&bytes);
    assert_int_equal(unlink(path), 0);
    tarn_autofree char *directory = tarn_asprintf("%s/bootstraps", (char *)*state);
    assert_int_equal(rmdir(directory), 0);
    // Without a directory it is in memory.
    assert_int_equal(unpack(store, &layer, &digest, &bytes), 0);
    assert_bootstrap(&bytes, text);
    tarn_store_unmap(&bytes);
    tarn_buf_release(&layer);
    tarn_store_free(store);
}

// What killed writers left goes; what is not ours stays.
static void test_litter(void **state)
{
    tarn_store_free(open_store(*state));
    const struct {
        const char *path;
        bool stays;
    } cases[] = {
        { "bootstraps/0123.77.tmp", false },
        { "blobs/lost+found", true },
        { "blobs/0123456789012345678901234567890123456789012345678901234567890123", false },
        { "blobs/0123456789012345678901234567890123456789012345678901234567890123-"
          "01234567890123456789012345678901",
          false },
        { "blobs/0123456789012345678901234567890123456789012345678901234567890123-0", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autofree char *path = tarn_path_join(*state, cases[i].path);
        const bool directory = strncmp(cases[i].path, "blobs", 5) == 0;
        assert_int_equal(directory ? mkdir(path, 0700) : mknod(path, S_IFREG | 0600, 0), 0);
    }
    tarn_store_free(open_store(*state));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autofree char *path = tarn_path_join(*state, cases[i].path);
        if ((access(path, F_OK) == 0) != cases[i].stays)
            fail_msg("%s: want it to %s", cases[i].path, cases[i].stays ? "stay" : "go");
    }
}

// A file that is cut loses what was in it, not what is written to it afterwards; and no zeros are read.
static void test_cut_data(void **state)
{
    struct blob blob;
    make_blob(&blob, 1);
    static uint8_t scratch[TARN_CHUNK_MAX];
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *file = attach(store, &blob.rows);
    for (uint32_t i = 0; i < CHUNKS; i++)
        assert_int_equal(put_row(file, i, blob.data + i * CHUNK), 0);
    tarn_autofree char *path = tarn_asprintf("%s/blobs/%s/data", (char *)*state, file->name);
    assert_int_equal(truncate(path, CHUNK), 0);
    const uint32_t distrusts = file->distrusts;
    assert_int_equal(put_row(file, 4, blob.data + 4 * CHUNK), 0);
    assert_int_not_equal(file->distrusts, distrusts);
    const int want[CHUNKS] = { 0, -EIO, -EIO, -EIO, 0 };
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(tarn_data_file_verified(file, i), i == 4);
        assert_int_equal(check_row(file, i, scratch), want[i]);
    }
    assert_int_equal(truncate(path, CHUNK), 0);
    assert_int_equal(tarn_data_file_read(file, 4 * CHUNK, scratch, 10), -EIO);
    for (uint32_t i = 0; i < CHUNKS; i++)
        assert_false(tarn_data_file_verified(file, i));
    tarn_store_free(store);
}

static void overwrite(const char *path)
{
    tarn_autoclose int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(tarn_pwrite_full(fd, "other bytes", 11, 200), 0);
}

// A table that is damaged while it is mapped proves nothing, and is made again by who comes with its rows, if
// nobody else relies on the file; else they get another file.
static void test_table_damaged_in_use(void **state)
{
    struct blob blob;
    make_blob(&blob, 1);
    static uint8_t scratch[TARN_CHUNK_MAX];
    struct tarn_err err;
    assert_int_equal(tarn_bus_guard_start(&err), 0);
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *file = attach(store, &blob.rows);
    struct tarn_row_chunk chunks[CHUNKS];
    for (uint32_t i = 0; i < CHUNKS; i++) {
        chunks[i] = tarn_rows_chunk(&blob.rows, i);
        assert_int_equal(tarn_data_file_put(file, &chunks[i], blob.data + i * CHUNK), 0);
    }
    tarn_autofree char *path = tarn_asprintf("%s/blobs/%s/table", (char *)*state, file->name);
    for (int how = 0; how < 3; how++) {
        struct tarn_chunk_place place;
        if (how < 2)
            assert_int_equal(truncate(path, how == 0 ? 0 : 100), 0);
        else
            overwrite(path);
        (void)tarn_store_find(store, &chunks[4].digest, CHUNK, NULL, &place);
        assert_int_equal(tarn_data_file_check(file, &chunks[2], scratch), 0);
        assert_int_equal(tarn_data_file_put(file, &chunks[4], blob.data + 4 * CHUNK), 0);
        assert_false(tarn_data_file_same(file, &blob.rows));
        atomic_store(&file->users, how == 2);
        struct tarn_data_file *got = attach(store, &blob.rows);
        assert_int_equal(got == file, how < 2);
        assert_int_equal(tarn_data_file_same(file, &blob.rows), how < 2);
        assert_int_equal(tarn_data_file_verified(file, 4), how == 2);
        assert_int_equal(tarn_data_file_check(file, &chunks[4], scratch), 0);
        assert_int_equal(put_row(got, 1, blob.data + CHUNK), 0);
        assert_int_equal(tarn_data_file_read(file, CHUNK, scratch, CHUNK), 0);
        assert_memory_equal(scratch, blob.data + CHUNK, CHUNK);
    }
    tarn_store_free(store);
    store = open_store(*state); // the table that was overwritten is removed, with its data
    assert_int_equal(tarn_data_file_verified(attach(store, &blob.rows), 0), false);
    tarn_store_free(store);
}

// A fifo in the place of a file of the store keeps nobody waiting.
static void test_fifos(void **state)
{
    struct blob blob;
    make_blob(&blob, 1);
    static const char *const names[] = { "table", "written", "data" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tarn_store *store = open_store(*state);
        struct tarn_data_file *file = attach(store, &blob.rows);
        assert_int_equal(put_row(file, 1, blob.data + CHUNK), 0);
        tarn_autofree char *path =
            tarn_asprintf("%s/blobs/%s/%s", (char *)*state, file->name, names[i]);
        tarn_store_free(store);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        store = open_store(*state);
        file = attach(store, &blob.rows);
        assert_int_equal(put_row(file, 1, blob.data + CHUNK) < 0, i == 2);
        tarn_store_free(store);
        assert_int_equal(i == 0 || unlink(path) == 0, true);
    }
}

// What is asked for behind the table's rows, or of lengths and places that no image has, is refused.
static void test_wild_rows(void **state)
{
    struct blob blob;
    make_blob(&blob, 1);
    static uint8_t scratch[TARN_CHUNK_MAX];
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *file = attach(store, &blob.rows);
    const struct tarn_row_chunk wild[] = {
        { .row = CHUNKS + 1, .address = 0, .length = CHUNK },
        { .row = UINT32_MAX, .address = 0, .length = CHUNK },
        { .row = 1, .address = CHUNK, .length = TARN_CHUNK_MAX + 1 },
        { .row = 1, .address = CHUNK, .length = SIZE_MAX - CHUNK + 1 },
        { .row = 1, .address = CHUNKS * CHUNK - 1, .length = 2 },
        { .row = 1, .address = UINT64_MAX, .length = 2 },
    };
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        assert_int_equal(tarn_data_file_check(file, &wild[i], scratch), -EIO);
        assert_int_equal(tarn_data_file_lend(file, &wild[i], scratch), -EIO);
        assert_int_equal(tarn_data_file_put(file, &wild[i], scratch), -EIO);
        assert_false(tarn_data_file_verified(file, wild[i].row));
        assert_false(tarn_data_file_written(file, wild[i].row));
    }
    tarn_store_free(store);
}

// A directory that was removed, or could not be made, is made when a chunk comes, and used from then on.
static void test_made_again(void **state)
{
    struct blob blob;
    make_blob(&blob, 1);
    tarn_autofree char *blobs = tarn_path_join(*state, "blobs");
    struct tarn_store *store = open_store(*state);
    struct tarn_data_file *file = attach(store, &blob.rows);
    tarn_autofree char *path = tarn_path_join(blobs, file->name);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, path, NULL), 0);
    assert_int_equal(put_row(file, 1, blob.data + CHUNK), 0);
    tarn_store_free(store);
    store = open_store(*state);
    file = attach(store, &blob.rows);
    assert_true(tarn_data_file_written(file, 1));
    tarn_store_free(store);

    // Without blobs/ nothing can be kept, and nothing is said to be.
    store = open_store(*state);
    struct blob other;
    make_blob(&other, 2);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, blobs, NULL), 0);
    file = attach(store, &other.rows);
    assert_true(put_row(file, 0, other.data) < 0);
    assert_false(tarn_data_file_verified(file, 0) || tarn_data_file_written(file, 0));
    tarn_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lasts, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_tables_differ, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_index, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_index_grows, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_index_of_similar_digests, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_damaged_tables, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_bootstraps, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_litter, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_cut_data, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_table_damaged_in_use, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_fifos, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_wild_rows, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_made_again, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
