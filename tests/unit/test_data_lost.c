// SPDX-License-Identifier: Apache-2.0
// A data file that loses its bytes while one of its chunks is written or proven. The linker has both go by way of
// the functions here (tests/CMakeLists.txt).
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/store.h"
#include "tests/support/test_bytes.h"

#define CHUNK ((size_t)5000)

// Names that the linker gives.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
int __real_tarn_pread_full(int fd, void *data, size_t length, uint64_t offset);
int __real_tarn_pwrite_full(int fd, const void *data, size_t length, uint64_t offset);
int __wrap_tarn_pread_full(int fd, void *data, size_t length, uint64_t offset);
int __wrap_tarn_pwrite_full(int fd, const void *data, size_t length, uint64_t offset);
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

// What is lost behind the next read or write: the file's bytes, which another reader finds out.
static struct {
    struct tarn_data_file *file; // NULL: nothing
    const char *path;
} loss;

static void lose(void)
{
    struct tarn_data_file *file = loss.file;
    uint8_t byte;
    loss.file = NULL;
    if (!file)
        return;
    assert_int_equal(truncate(loss.path, 0), 0);
    assert_int_equal(tarn_data_file_read(file, 0, &byte, 1), -EIO);
    assert_int_equal(truncate(loss.path, (off_t)file->rows.data_length), 0);
}

int __wrap_tarn_pread_full(int fd, void *data, size_t length, uint64_t offset)
{
    const int ret = __real_tarn_pread_full(fd, data, length, offset);
    lose();
    return ret;
}

int __wrap_tarn_pwrite_full(int fd, const void *data, size_t length, uint64_t offset)
{
    const int ret = __real_tarn_pwrite_full(fd, data, length, offset);
    lose();
    return ret;
}

struct world {
    char root[32];
    uint8_t bytes[CHUNK];
    uint8_t addresses[16];
    uint8_t locations[16];
    uint8_t digests[2 * TARN_DIGEST_SIZE];
    struct tarn_row_chunk chunk;
    struct tarn_store *store;
    struct tarn_data_file *file;
    char *path; // of its data
};

// A blob of one chunk.
static int make_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    uint64_t seed = 1;
    struct tarn_err err;
    assert_non_null(world);
    tarn_test_noise(&seed, world->bytes, CHUNK);
    struct tarn_digest digest;
    tarn_sha256(world->bytes, CHUNK, &digest);
    memcpy(world->digests, digest.bytes, TARN_DIGEST_SIZE);
    const struct tarn_location stored = {
        .kind = TARN_LOCATION_STORED, .raw = true, .run_start = true, .stored_length = CHUNK
    };
    tarn_put_le64(world->addresses + 8, CHUNK);
    tarn_put_le64(world->locations, tarn_location_pack(&stored));
    tarn_put_le64(world->locations + 8, UINT64_MAX);
    const struct tarn_rows rows = { .blob = digest,
                                    .blob_size = CHUNK,
                                    .data_length = CHUNK,
                                    .count = 2,
                                    .addresses = world->addresses,
                                    .locations = world->locations,
                                    .digests = world->digests };
    strcpy(world->root, "/tmp/tarn-lost-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    assert_int_equal(tarn_store_open(world->root, &world->store, &err), 0);
    assert_int_equal(tarn_store_attach(world->store, &rows, &world->file, &err), 0);
    world->chunk = tarn_rows_chunk(&rows, 0);
    world->path = tarn_asprintf("%s/blobs/%s/data", world->root, world->file->name);
    *state = world;
    return 0;
}

static int free_world(void **state)
{
    struct world *world = *state;
    tarn_store_free(world->store);
    assert_int_equal(tarn_remove_tree(AT_FDCWD, world->root, NULL), 0);
    free(world->path);
    free(world);
    return 0;
}

static void arm(const struct world *world)
{
    loss.file = world->file;
    loss.path = world->path;
}

// Its bit must not be set after those of all others became void: it is zeros now.
static void test_lost_while_written(void **state)
{
    const struct world *world = *state;
    assert_int_equal(tarn_data_file_put(world->file, &world->chunk, world->bytes), 0);
    assert_true(tarn_data_file_verified(world->file, 0));
    arm(world);
    assert_int_equal(tarn_data_file_put(world->file, &world->chunk, world->bytes), 0);
    assert_null(loss.file);
    assert_false(tarn_data_file_verified(world->file, 0));
    assert_int_equal(tarn_data_file_put(world->file, &world->chunk, world->bytes), 0);
    assert_true(tarn_data_file_verified(world->file, 0));
}

static void test_lost_while_proven(void **state)
{
    const struct world *world = *state;
    uint8_t scratch[CHUNK];
    assert_int_equal(tarn_data_file_put(world->file, &world->chunk, world->bytes), 0);
    arm(world);
    assert_int_equal(tarn_data_file_check(world->file, &world->chunk, scratch), 0);
    assert_null(loss.file);
    assert_memory_equal(scratch, world->bytes, CHUNK);
    assert_false(tarn_data_file_verified(world->file, 0));
    assert_int_equal(tarn_data_file_check(world->file, &world->chunk, scratch), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lost_while_written, make_world, free_world),
        cmocka_unit_test_setup_teardown(test_lost_while_proven, make_world, free_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
