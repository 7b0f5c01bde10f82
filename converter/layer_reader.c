// SPDX-License-Identifier: Apache-2.0
#include "converter/layer_reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cancel.h"
#include "converter/decompress.h"
#include "converter/directory_reader.h"
#include "converter/fanout.h"
#include "converter/layer_builder.h"
#include "converter/tar_reader.h"

enum { READ_SIZE = 256 << 10, READER_TAR = 0, READER_HASH = 1 };

// What a layer's tree may take: so much, and so many times the layer's bytes as they are. A real one takes
// about 200 bytes for an entry, and 300,000 equal ones have 1.3 bytes each in their archive (zstd -19).
enum { TREE_FREE = 256 << 20, TREE_RATIO = 256 };

struct reading {
    const struct tarn_layer_source *source;
    const struct tarn_layer_read_options *options;
    struct tarn_layer_input *input;
    struct tarn_layer_builder *builder;
    struct tarn_fanout *fanout;

    // The reading thread's own, until it is joined.
    struct tarn_decompress *decompress;
    struct tarn_hasher *source_hasher;
    uint64_t source_bytes;
    int read_status;
    struct tarn_err read_err;

    struct tarn_hasher *tar_hasher; // the hashing thread's own, until it is joined
    struct tarn_err *err;           // the parsing thread's
};

// --- reading and decompressing -------------------------------------------------------------------
static int check_cancel(struct reading *reading)
{
    return tarn_cancel_is_set(reading->options->cancel)
               ? tarn_fail(&reading->read_err, -EINTR, "interrupted")
               : 0;
}

// Looks too, because a few bytes may become many.
static int on_plain(void *context, const void *bytes, size_t length)
{
    struct reading *reading = context;
    const int ret = check_cancel(reading);
    return ret < 0 ? ret : tarn_fanout_write(reading->fanout, bytes, length);
}

static int on_source(void *context, const void *bytes, size_t length)
{
    struct reading *reading = context;
    const int ret = check_cancel(reading);
    if (ret < 0)
        return ret;
    if (reading->source_hasher)
        tarn_hasher_update(reading->source_hasher, bytes, length);
    reading->source_bytes += length;
    if (reading->options->progress)
        reading->options->progress(reading->options->progress_context, length);
    return tarn_decompress_push(reading->decompress, bytes, length, &reading->read_err);
}

static int read_file(struct reading *reading)
{
    struct tarn_err *err = &reading->read_err;
    const char *path = reading->source->path;
    tarn_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tarn_fail_errno(err, -errno, "cannot open %s", path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    tarn_autofree uint8_t *buffer = malloc(READ_SIZE);
    if (!buffer)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (;;) {
        const ssize_t n = read(fd, buffer, READ_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tarn_fail_errno(err, -errno, "cannot read %s", path);
        if (n == 0)
            return 0;
        const int ret = on_source(reading, buffer, (size_t)n);
        if (ret < 0)
            return ret;
    }
}

static int read_blob(struct reading *reading)
{
    const struct tarn_layer_source *source = reading->source;
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = source->blob.digest,
        .size = source->blob.size,
        .length = UINT64_MAX,
        .context = reading,
        .data = on_source,
    };
    struct tarn_err err = { 0 };
    const int ret =
        source->fetch
            ? tarn_layer_fetch_read(source->fetch, source->fetch_index, on_source, reading, &err)
            : tarn_blocking_read(source->blocking, source->repository, &read, &err);
    // What the data callback detected is told by its own error.
    if (ret < 0 && reading->read_err.code == 0)
        reading->read_err = err;
    return ret;
}

static void *read_thread(void *argument)
{
    struct reading *reading = argument;
    int ret =
        reading->source->kind == TARN_LAYER_SOURCE_BLOB ? read_blob(reading) : read_file(reading);
    if (ret == 0)
        ret = tarn_decompress_finish(reading->decompress, &reading->read_err);
    reading->read_status = ret;
    tarn_fanout_finish(reading->fanout, ret);
    return NULL;
}

// --- hashing ---------------------------------------------------------------------------------------
static void *hash_thread(void *argument)
{
    const struct reading *reading = argument;
    const void *bytes;
    ssize_t n;
    while ((n = tarn_fanout_next(reading->fanout, READER_HASH, &bytes)) > 0)
        tarn_hasher_update(reading->tar_hasher, bytes, (size_t)n);
    return NULL;
}

// --- parsing ---------------------------------------------------------------------------------------
static int on_begin(void *context, const struct tarn_tar_entry *entry)
{
    const struct reading *reading = context;
    return tarn_layer_builder_begin(reading->builder, entry, reading->err);
}

static int on_data(void *context, uint64_t offset, const void *bytes, size_t length)
{
    const struct reading *reading = context;
    return tarn_layer_builder_data(reading->builder, offset, bytes, length, reading->err);
}

static int on_end(void *context)
{
    const struct reading *reading = context;
    return tarn_layer_builder_end(reading->builder, reading->err);
}

static int parse(struct reading *reading, struct tarn_tar_reader *tar)
{
    const void *bytes;
    ssize_t n;
    while ((n = tarn_fanout_next(reading->fanout, READER_TAR, &bytes)) > 0) {
        const int ret = tarn_tar_reader_push(tar, bytes, (size_t)n, reading->err);
        if (ret < 0)
            return ret;
        reading->input->tar_bytes += (uint64_t)n;
    }
    return n < 0 ? (int)n : tarn_tar_reader_finish(tar, reading->err);
}

// Runs the three threads. The error that counts is the first one in the stream: the parser's, unless
// it only saw the reading thread's.
static int run_threads(struct reading *reading, struct tarn_tar_reader *tar)
{
    pthread_t reader;
    pthread_t hasher;
    int code = pthread_create(&reader, NULL, read_thread, reading);
    if (code != 0)
        return tarn_fail_errno(reading->err, -code, "cannot start a thread");
    code = pthread_create(&hasher, NULL, hash_thread, reading);
    const int ret = code != 0 ? tarn_fail_errno(reading->err, -code, "cannot start a thread")
                              : parse(reading, tar);
    if (ret < 0)
        tarn_fanout_cancel(reading->fanout);
    pthread_join(reader, NULL);
    if (code == 0)
        pthread_join(hasher, NULL);
    if (ret < 0 && reading->read_status == ret && ret != -ECANCELED && reading->read_err.code) {
        if (reading->err)
            *reading->err = reading->read_err;
    }
    return ret;
}

static int read_archive(struct reading *reading)
{
    static const struct tarn_tar_events events = { on_begin, on_data, on_end };
    tarn_cleanup(tarn_tar_reader_free_p) struct tarn_tar_reader *tar =
        tarn_tar_reader_new(&events, reading);
    tarn_cleanup(tarn_decompress_free_p) struct tarn_decompress *decompress =
        tarn_decompress_new(on_plain, reading);
    tarn_cleanup(tarn_fanout_free_p) struct tarn_fanout *fanout = tarn_fanout_new();
    tarn_cleanup(tarn_hasher_free_p) struct tarn_hasher *tar_hasher = tarn_hasher_new();
    tarn_cleanup(tarn_hasher_free_p) struct tarn_hasher *source_hasher = tarn_hasher_new();
    if (!tar || !decompress || !fanout || !tar_hasher || !source_hasher)
        return tarn_fail(reading->err, -ENOMEM, "out of memory");
    reading->decompress = decompress;
    reading->fanout = fanout;
    reading->tar_hasher = tar_hasher;
    // A repository checks its blobs' digests itself.
    if (reading->source->kind == TARN_LAYER_SOURCE_FILE)
        reading->source_hasher = source_hasher;
    const int ret = run_threads(reading, tar);
    if (ret < 0)
        return ret;
    tarn_hasher_finish(tar_hasher, &reading->input->diff_id);
    reading->input->source_bytes = reading->source_bytes;
    if (reading->source_hasher)
        tarn_hasher_finish(source_hasher, &reading->input->source_digest);
    else
        reading->input->source_digest = reading->source->blob.digest;
    return 0;
}

// --- all ---------------------------------------------------------------------------------------------
static int check_room(const struct tarn_layer_source *source, struct tarn_err *err)
{
    struct stat st;
    if (source->kind == TARN_LAYER_SOURCE_BLOB)
        return tarn_spool_check_room(source->blob.size, err);
    if (source->kind == TARN_LAYER_SOURCE_FILE && stat(source->path, &st) == 0)
        return tarn_spool_check_room((uint64_t)st.st_size, err);
    return 0; // a directory is not measured: a full disk is told by the first write that fails
}

// An archive's size bounds its tree: a few bytes can unfold to any number of entries. A directory is there
// as it is, and of what is no regular file the size is not known.
static uint64_t tree_limit(const struct tarn_layer_source *source)
{
    struct stat st;
    uint64_t size;
    if (source->kind == TARN_LAYER_SOURCE_BLOB)
        size = source->blob.size;
    else if (source->kind == TARN_LAYER_SOURCE_FILE && stat(source->path, &st) == 0 &&
             S_ISREG(st.st_mode))
        size = (uint64_t)st.st_size;
    else
        return UINT64_MAX;
    return TREE_FREE + tarn_min_u64(size, UINT64_C(1) << 48) * TREE_RATIO;
}

static int read_layer(const struct tarn_layer_source *source,
                      const struct tarn_layer_read_options *options, struct tarn_layer_input *input,
                      struct tarn_err *err)
{
    input->tree = tarn_tree_new();
    input->spool = tarn_spool_new(!options->measure, err);
    if (!input->tree)
        return tarn_fail(err, -ENOMEM, "out of memory");
    if (!input->spool)
        return -EIO;
    const struct tarn_layer_builder_setup setup = {
        .tree = input->tree,
        .spool = input->spool,
        .lower = options->lower,
        .whiteouts = source->kind != TARN_LAYER_SOURCE_DIRECTORY,
        .memory_limit = tree_limit(source),
    };
    tarn_cleanup(tarn_layer_builder_free_p) struct tarn_layer_builder *builder =
        tarn_layer_builder_new(&setup);
    if (!builder)
        return tarn_fail(err, -ENOMEM, "out of memory");
    struct reading reading = {
        .source = source, .options = options, .input = input, .builder = builder, .err = err
    };
    int ret;
    if (source->kind == TARN_LAYER_SOURCE_DIRECTORY)
        ret = tarn_directory_read(source->path, builder, options->cancel, &input->dropped_sockets,
                                  err);
    else
        ret = read_archive(&reading);
    tarn_layer_builder_finish(builder);
    input->dropped_xattrs = tarn_layer_builder_dropped_xattrs(builder);
    return ret;
}

int tarn_layer_read(const struct tarn_layer_source *source,
                    const struct tarn_layer_read_options *options, struct tarn_layer_input *input,
                    struct tarn_err *err)
{
    *input = (struct tarn_layer_input){ 0 };
    int ret = options->measure ? 0 : check_room(source, err);
    if (ret == 0)
        ret = read_layer(source, options, input, err);
    if (ret < 0)
        tarn_layer_input_release(input);
    return ret;
}

void tarn_layer_input_release(struct tarn_layer_input *input)
{
    tarn_tree_free(input->tree);
    tarn_spool_free(input->spool);
    *input = (struct tarn_layer_input){ 0 };
}
