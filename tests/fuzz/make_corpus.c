// SPDX-License-Identifier: Apache-2.0
// Writes the seeds of the fuzzers of format/: make_corpus tests/fuzz/corpus. Equal on every run with
// one version of libzstd.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "format/blob_footer.h"
#include "format/layer_metadata.h"
#include "tests/support/encode_chunk.h"
#include "tests/support/metadata_parts.h"
#include "tests/support/metadata_sample.h"
#include "tests/support/sample_bootstrap.h"
#include "tests/support/test_bytes.h"

static int save(const char *directory, const char *target, const char *name,
                const struct tarn_buf *bytes)
{
    char path[4096];
    struct tarn_err err = { 0 };
    snprintf(path, sizeof path, "%s/%s", directory, target);
    int ret = tarn_mkdirs(path, 0755, &err);
    if (ret == 0) {
        snprintf(path, sizeof path, "%s/%s/%s", directory, target, name);
        ret = tarn_file_replace(AT_FDCWD, path, bytes->data, bytes->length, &err);
    }
    if (ret < 0)
        fprintf(stderr, "make_corpus: %s\n", err.text);
    return ret;
}

// A byte before the bytes: the form or kind that the targets read first.
static int save_with(const char *directory, const char *target, const char *name,
                     const struct tarn_buf *bytes, uint8_t first)
{
    tarn_autobuf struct tarn_buf all = { 0 };
    if (tarn_buf_append(&all, &first, 1) < 0 ||
        tarn_buf_append(&all, bytes->data, bytes->length) < 0)
        return -ENOMEM;
    return save(directory, target, name, &all);
}

static int make_metadata(const char *directory)
{
    tarn_autobuf struct tarn_buf container = { 0 };
    tarn_autobuf struct tarn_buf flat = { 0 };
    struct tarn_test_parts parts = { 0 };
    bool ok = tarn_test_sample_metadata(&container, NULL) &&
              tarn_test_parts_split(container.data, container.length, &parts) &&
              tarn_test_parts_flatten(&parts, &flat);
    tarn_test_parts_release(&parts);
    ok = ok && save_with(directory, "fuzz_layer_metadata", "container", &container, 0) == 0 &&
         save_with(directory, "fuzz_layer_metadata", "sections", &flat, 1) == 0 &&
         save_with(directory, "fuzz_layer_metadata", "sections-counted", &flat, 2) == 0 &&
         save_with(directory, "fuzz_section", "metadata", &container, 0x81) == 0;
    return ok ? 0 : -EIO;
}

static int make_footer(const char *directory)
{
    const struct tarn_blob_footer footer = { 1000, 1, 1000, 160, 2 };
    const struct tarn_blob_footer empty = { 0, 1, 0, 160, 2 };
    tarn_autobuf struct tarn_buf out = { 0 };
    tarn_autobuf struct tarn_buf blob = { 0 };
    if (tarn_buf_append_le64(&out, 1160 + 128) < 0 || tarn_buf_append_zeros(&blob, 160) < 0)
        return -ENOMEM;
    tarn_autobuf struct tarn_buf tail = { 0 };
    if (tarn_blob_footer_write(&footer, &tail) < 0 || tarn_blob_footer_write(&empty, &blob) < 0 ||
        tarn_buf_append(&out, tail.data, tail.length) < 0)
        return -ENOMEM;
    const int ret = save(directory, "fuzz_blob_footer", "footer", &out);
    return ret < 0 ? ret : save_with(directory, "fuzz_section", "blob", &blob, 0x80 + 48);
}

static int make_tables(const char *directory)
{
    struct tarn_tables_builder builder = { 0 };
    tarn_autobuf struct tarn_buf out = { 0 };
    int ret = tarn_test_sample_tables(&builder) ? 0 : -ENOMEM;
    if (ret == 0) {
        const struct tarn_layer_parameters parameters = tarn_test_sample_parameters();
        const uint8_t head[] = { 2, 2, 3, (uint8_t)tarn_tables_builder_rows(&builder) };
        const struct tarn_buf *arrays[] = { &builder.blobs, &builder.addresses, &builder.locations,
                                            &builder.digests };
        ret = tarn_buf_append(&out, head, sizeof head);
        if (ret == 0)
            ret = tarn_buf_append_le64(&out, parameters.chunks_length);
        for (size_t i = 0; i < 4 && ret == 0; i++)
            ret = tarn_buf_append(&out, arrays[i]->data, arrays[i]->length);
    }
    tarn_tables_builder_release(&builder);
    return ret < 0 ? ret : save(directory, "fuzz_tables", "metadata", &out);
}

static int make_chunk(const char *directory)
{
    enum { PREFIX = 1000, CHUNK = 3000 };
    uint8_t plain[PREFIX + CHUNK];
    uint64_t seed = 1;
    tarn_test_text(&seed, plain, sizeof plain);
    tarn_cleanup(tarn_encoder_free_p) struct tarn_encoder *encoder = tarn_encoder_new(3);
    tarn_autofree uint8_t *stored = malloc(tarn_encoder_bound());
    if (!encoder || !stored)
        return -ENOMEM;
    const struct tarn_plain_chunk chunk = { plain + PREFIX, CHUNK, PREFIX };
    bool raw;
    const ssize_t n = tarn_test_encode(encoder, &chunk, stored, &raw);
    if (n < 0)
        return (int)n;
    uint8_t head[7] = { raw };
    tarn_put_le32(head + 1, CHUNK);
    tarn_put_le16(head + 5, PREFIX);
    tarn_autobuf struct tarn_buf out = { 0 };
    if (tarn_buf_append(&out, head, sizeof head) < 0 || tarn_buf_append(&out, plain, PREFIX) < 0 ||
        tarn_buf_append(&out, stored, (size_t)n) < 0)
        return -ENOMEM;
    return save(directory, "fuzz_chunk", "with-prefix", &out);
}

// Steps of fuzz_encode.
static int make_runs(const char *directory)
{
    uint8_t far[] = {
        2, 1,    0,    0, 0x00, 0x80, 0,                     // noise, 32 KiB
        6, 2,    0,    0, 0x00, 0x00, 3,                     // noise, 192 KiB, and a cut
        7, 0xff, 0xff, 2, 0x00, 0x10, 0,                     // 4 KiB from 192 KiB before, and a cut
        4, 0,    0,    0, 0x04, 0x00, 0, 'l', 'a', 's', 't', // bytes, and a cut
    };
    uint8_t mixed[] = {
        1, 0,    0,    0, 0x00, 0x00, 2, // zeros, 128 KiB
        0, 0,    0,    0, 0x09, 0x00, 0, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', // bytes
        7, 0x08, 0x00, 0, 0x00, 0x20, 0, // a period of 9, and a cut
        2, 9,    0,    0, 0x10, 0x00, 0, // noise, 16 bytes
        7, 0x40, 0x00, 0, 0x20, 0x00, 0, // a copy, and a cut
        2, 9,    0,    0, 0x00, 0x10, 0, // the noise again, and more
    };
    const struct tarn_buf far_seed = { .data = far, .length = sizeof far };
    const struct tarn_buf mixed_seed = { .data = mixed, .length = sizeof mixed };
    const int ret = save(directory, "fuzz_encode", "far", &far_seed);
    return ret < 0 ? ret : save(directory, "fuzz_encode", "mixed", &mixed_seed);
}

static int make_bootstrap(const char *directory)
{
    tarn_cleanup(tarn_sample_free_p) struct tarn_sample *sample = tarn_sample_small();
    tarn_autobuf struct tarn_buf bootstrap = { 0 };
    tarn_autobuf struct tarn_buf image = { 0 };
    tarn_sample_bootstrap(sample, &bootstrap);
    tarn_sample_image(sample, &image);
    const int ret = save(directory, "fuzz_bootstrap", "small", &bootstrap);
    return ret < 0 ? ret : save(directory, "fuzz_bootstrap", "image", &image);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus DIRECTORY\n");
        return 2;
    }
    int (*const makers[])(const char *) = { make_metadata, make_footer, make_tables,
                                            make_chunk,    make_runs,   make_bootstrap };
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (makers[i](argv[1]) < 0)
            return 1;
    return 0;
}
