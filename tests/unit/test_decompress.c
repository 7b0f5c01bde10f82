// SPDX-License-Identifier: Apache-2.0
#include "converter/decompress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

// cmocka needs the headers above
#include <cmocka.h>

#include "base/buf.h"

enum { PLAIN_SIZE = 700001, MANY = 10000, STOP = -EPIPE };

struct sink {
    struct tarn_buf bytes;
    unsigned calls;
    unsigned stop_after; // calls; 0: never
};

static int take(void *context, const void *bytes, size_t length)
{
    struct sink *sink = context;
    sink->calls++;
    if (sink->stop_after && sink->calls >= sink->stop_after)
        return STOP;
    return tarn_buf_append(&sink->bytes, bytes, length);
}

// Half noise, half text that refers back over the whole window.
static uint8_t *make_plain(void)
{
    uint8_t *plain = malloc(PLAIN_SIZE);
    assert_non_null(plain);
    uint32_t x = 1;
    for (size_t i = 0; i < PLAIN_SIZE; i++) {
        x = x * 1664525 + 1013904223;
        plain[i] = i % 3 == 0 || i < 40000 ? (uint8_t)(x >> 24) : plain[i - 32000];
    }
    return plain;
}

// One member; all_fields: with every field that a header can have.
static void add_gzip(struct tarn_buf *out, const uint8_t *plain, size_t length, bool all_fields)
{
    z_stream stream = { 0 };
    Bytef extra[] = "extra";
    Bytef name[] = "name";
    Bytef comment[] = "comment";
    gz_header header = {
        .extra = extra, .extra_len = 5, .name = name, .comment = comment, .hcrc = 1
    };
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    if (all_fields)
        assert_int_equal(deflateSetHeader(&stream, &header), Z_OK);
    assert_int_equal(tarn_buf_reserve(out, length + 10000), 0);
    stream.next_in = (Bytef *)(uintptr_t)plain;
    stream.avail_in = (uInt)length;
    stream.next_out = out->data + out->length;
    stream.avail_out = (uInt)(out->capacity - out->length);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->length += stream.total_out;
    deflateEnd(&stream);
}

static void add_zstd(struct tarn_buf *out, const uint8_t *plain, size_t length, bool checksum)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum)));
    assert_int_equal(tarn_buf_reserve(out, ZSTD_compressBound(length)), 0);
    const size_t n = ZSTD_compress2(context, out->data + out->length, out->capacity - out->length,
                                    plain, length);
    assert_false(ZSTD_isError(n));
    out->length += n;
    ZSTD_freeCCtx(context);
}

static void add(struct tarn_buf *out, const void *bytes, size_t length)
{
    assert_int_equal(tarn_buf_append(out, bytes, length), 0);
}

static int run(const struct tarn_buf *input, size_t piece, struct sink *sink, struct tarn_err *err)
{
    struct tarn_decompress *decompress tarn_cleanup(tarn_decompress_free_p) =
        tarn_decompress_new(take, sink);
    assert_non_null(decompress);
    int ret = 0;
    for (size_t i = 0; i < input->length && ret == 0; i += piece) {
        const size_t left = input->length - i;
        // An exact copy lets the sanitizer see a read behind the end.
        const size_t n = left < piece ? left : piece;
        uint8_t *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, input->data + i, n);
        ret = tarn_decompress_push(decompress, copy, n, err);
        free(copy);
    }
    if (ret < 0) {
        assert_int_equal(tarn_decompress_push(decompress, "x", 1, err), ret);
        assert_int_equal(tarn_decompress_finish(decompress, err), ret);
        return ret;
    }
    return tarn_decompress_finish(decompress, err);
}

static void expect_plain(const char *name, const struct tarn_buf *input, const uint8_t *plain,
                         size_t length)
{
    static const size_t pieces[] = { SIZE_MAX / 2, 65536, 4099, 7, 1 };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (input->length / pieces[i] > MANY) // slow, and small inputs get there
            continue;
        struct sink sink = { 0 };
        struct tarn_err err = { 0 };
        const int ret = run(input, pieces[i], &sink, &err);
        if (ret != 0 || sink.bytes.length != length ||
            (length > 0 && memcmp(sink.bytes.data, plain, length) != 0))
            fail_msg("%s in pieces of %zu: want %zu bytes, got %d '%s', %zu bytes", name, pieces[i],
                     length, ret, err.text, sink.bytes.length);
        tarn_buf_release(&sink.bytes);
    }
}

static void expect_error(const char *name, const struct tarn_buf *input, int code, const char *text)
{
    static const size_t pieces[] = { SIZE_MAX / 2, 1 };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct sink sink = { 0 };
        struct tarn_err err = { 0 };
        const int ret = run(input, pieces[i], &sink, &err);
        if (ret != code || !strstr(err.text, text))
            fail_msg("%s in pieces of %zu: want %d '%s', got %d '%s'", name, pieces[i], code, text,
                     ret, err.text);
        tarn_buf_release(&sink.bytes);
    }
}

static void check_formats(const uint8_t *plain, size_t length)
{
    static const char skippable[] = "\x53\x2a\x4d\x18\x05\0\0\0abcde";
    static const uint8_t zeros[1000];
    const size_t part = length / 2;
    struct tarn_buf in tarn_autobuf = { 0 };

    add(&in, plain, length);
    expect_plain("plain", &in, plain, length);

    in.length = 0;
    add_gzip(&in, plain, length, false);
    expect_plain("gzip", &in, plain, length);
    in.length = 0;
    add_gzip(&in, plain, length, true);
    expect_plain("gzip, all header fields", &in, plain, length);
    in.length = 0;
    add_gzip(&in, plain, part, false);
    add_gzip(&in, plain, 0, true);
    add_gzip(&in, plain + part, length - part, true);
    expect_plain("gzip, members", &in, plain, length);
    add(&in, zeros, sizeof zeros);
    expect_plain("gzip, padding", &in, plain, length);

    in.length = 0;
    add_zstd(&in, plain, length, true);
    expect_plain("zstd", &in, plain, length);
    in.length = 0;
    add(&in, skippable, sizeof skippable - 1);
    add_zstd(&in, plain, part, true);
    add(&in, skippable, sizeof skippable - 1);
    add_zstd(&in, plain, 0, true);
    add_zstd(&in, plain + part, length - part, false);
    add(&in, skippable, sizeof skippable - 1);
    expect_plain("zstd, frames", &in, plain, length);
}

static void test_formats(void **state)
{
    (void)state;
    uint8_t *plain tarn_autofree = make_plain();
    plain[0] = 0x1f; // half of gzip's magic
    for (size_t length = 0; length < 6; length++)
        check_formats(plain, length);
    check_formats(plain, 5000);
    check_formats(plain, PLAIN_SIZE);
    memcpy(plain, "BZh91AY&SX", 10); // a name
    for (size_t length = 1; length <= 11; length++)
        check_formats(plain, length);
    memset(plain, 'z', PLAIN_SIZE); // a few input bytes give many pieces
    check_formats(plain, PLAIN_SIZE);

    // The last block crosses the end of a piece: its end waits in the decoder, behind all input.
    struct tarn_buf in tarn_autobuf = { 0 };
    add_zstd(&in, plain, 1000, true);
    add_zstd(&in, plain, 256 << 10, false);
    expect_plain("zstd, output behind the input", &in, plain, 1000 + (256 << 10));
}

// Every prefix of a compressed stream is truncated, but for those that end between its parts.
static void test_truncation(void **state)
{
    (void)state;
    uint8_t *plain tarn_autofree = make_plain();
    for (unsigned zstd = 0; zstd < 2; zstd++) {
        struct tarn_buf in tarn_autobuf = { 0 };
        if (zstd)
            add_zstd(&in, plain, 50, true);
        else
            add_gzip(&in, plain, 50, true);
        const size_t first = in.length;
        if (zstd)
            add_zstd(&in, plain, 1000, true);
        else
            add_gzip(&in, plain, 1000, false);
        const size_t whole = in.length;
        for (in.length = 4; in.length <= whole; in.length++) {
            char text[64];
            snprintf(text, sizeof text, "truncated at byte %zu", in.length);
            if (in.length == first)
                expect_plain("first part", &in, plain, 50);
            else if (in.length < whole)
                expect_error(zstd ? "zstd" : "gzip", &in, -EUCLEAN, text);
        }
    }
}

static void test_damage(void **state)
{
    (void)state;
    uint8_t *plain tarn_autofree = make_plain();
    struct tarn_buf in tarn_autobuf = { 0 };

    add_gzip(&in, plain, 5000, true);
    const size_t gzip = in.length;
    add(&in, "x", 1);
    expect_error("gzip, garbage", &in, -EUCLEAN, "gzip: garbage after the last member at byte");
    in.data[gzip] = 0;
    add(&in, "\x1f", 1);
    expect_error("gzip, member behind padding", &in, -EUCLEAN, "gzip: garbage after");
    in.data[gzip] = 0x1f;
    expect_error("gzip, no member", &in, -EUCLEAN, "gzip: truncated at byte");
    in.length = gzip;
    in.data[gzip - 8] ^= 1;
    expect_error("gzip, CRC", &in, -EUCLEAN, "gzip: CRC or length mismatch");
    in.data[gzip - 8] ^= 1;
    in.data[gzip - 1] ^= 1;
    expect_error("gzip, length", &in, -EUCLEAN, "gzip: CRC or length mismatch");
    in.data[gzip - 1] ^= 1;
    in.data[12] ^= 1; // of the extra field's length or content
    expect_error("gzip, header CRC", &in, -EUCLEAN, "gzip: header checksum mismatch at byte");
    in.data[12] ^= 1;
    in.data[3] |= 0x80;
    expect_error("gzip, flags", &in, -EUCLEAN, "gzip: reserved flags");
    in.data[3] &= 0x7f;
    in.data[2] = 9;
    expect_error("gzip, method", &in, -ENOTSUP, "gzip: compression method 9");

    in.length = 0;
    add_zstd(&in, plain, 5000, true);
    const size_t zstd = in.length;
    add(&in, "abcd", 4);
    expect_error("zstd, garbage", &in, -EUCLEAN, "zstd: garbage after the last frame at byte");
    in.length = zstd;
    in.data[zstd - 1] ^= 1;
    expect_error("zstd, checksum", &in, -EUCLEAN, "zstd: checksum mismatch");
    in.length = 0;
    add(&in, "\x28\xb5\x2f\xfd\x00\xf8", 6); // window log 41
    expect_error("zstd, window", &in, -ENOTSUP, "window over 128 MiB");
    in.length = 0;
    add(&in, "\x28\xb5\x2f\xfd\x21\x07\x00", 7); // dictionary 7
    expect_error("zstd, dictionary", &in, -ENOTSUP, "needs a dictionary");

    in.length = 0;
    add(&in, "BZh91AY&SY", 10);
    expect_error("bzip2", &in, -ENOTSUP, "compressed with bzip2");
    in.length = 0;
    add(&in,
        "\xfd"
        "7zXZ\0",
        6);
    expect_error("xz", &in, -ENOTSUP, "compressed with xz");
}

// What the callback returns comes back, and err is left to it.
static void test_stop(void **state)
{
    (void)state;
    uint8_t *plain tarn_autofree = make_plain();
    for (unsigned kind = 0; kind < 3; kind++) {
        struct tarn_buf in tarn_autobuf = { 0 };
        if (kind == 0)
            add(&in, plain, PLAIN_SIZE);
        else if (kind == 1)
            add_gzip(&in, plain, PLAIN_SIZE, false);
        else
            add_zstd(&in, plain, PLAIN_SIZE, true);
        for (unsigned calls = 1; calls <= 3; calls++) {
            struct sink sink = { .stop_after = calls };
            struct tarn_err err = { .text = "mine" };
            assert_int_equal(run(&in, 4096, &sink, &err), STOP);
            assert_string_equal(err.text, "mine");
            assert_int_equal(sink.calls, calls);
            tarn_buf_release(&sink.bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
