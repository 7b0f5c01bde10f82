// SPDX-License-Identifier: Apache-2.0
#include "converter/decompress.h"

#include "converter/decompress_internal.h"

enum { PROBE = 10 }; // the longest magic, that of bzip2

enum kind {
    KIND_UNKNOWN, // too few bytes so far
    KIND_NONE,
    KIND_GZIP,
    KIND_ZSTD,
};

struct tarn_decompress {
    enum kind kind;
    uint8_t probe[PROBE]; // the first bytes, until they tell the kind
    size_t probe_length;
    struct tarn_piece piece;
    struct tarn_gunzip *gunzip; // for its kind, else NULL
    struct tarn_unzstd *unzstd;
    int failed; // what every further call returns
};

struct tarn_decompress *tarn_decompress_new(tarn_decompress_out *out, void *context)
{
    struct tarn_decompress *decompress = calloc(1, sizeof *decompress);
    if (!decompress)
        return NULL;
    decompress->piece = (struct tarn_piece){ .out = out, .context = context };
    return decompress;
}

void tarn_decompress_free(struct tarn_decompress *decompress)
{
    if (!decompress)
        return;
    tarn_gunzip_free(decompress->gunzip);
    tarn_unzstd_free(decompress->unzstd);
    free(decompress->piece.data);
    free(decompress);
}

int tarn_piece_flush(struct tarn_piece *piece)
{
    if (piece->length == 0)
        return 0;
    const size_t length = piece->length;
    piece->length = 0;
    const int ret = piece->out(piece->context, piece->data, length);
    return ret < 0 ? ret : 0;
}

// '?' in the magic stands for any byte.
static bool begins(const uint8_t *bytes, const char *magic, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (magic[i] != '?' && bytes[i] != (uint8_t)magic[i])
            return false;
    return true;
}

// Sets kind from the first bytes. final: no more come.
static int detect(struct tarn_decompress *decompress, bool final, struct tarn_err *err)
{
    static const struct {
        const char *name;
        const char *magic;
        size_t length;
        enum kind kind; // UNKNOWN: refused
    } magics[] = {
        { "gzip", "\x1f\x8b", 2, KIND_GZIP },
        // A tar's first name may well begin with "BZh".
        { "bzip2", "BZh?1AY&SY", 10, KIND_UNKNOWN },
        { "xz",
          "\xfd"
          "7zXZ",
          6, KIND_UNKNOWN },
    };
    const size_t have = decompress->probe_length;
    bool undecided = false;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const size_t n = have < magics[i].length ? have : magics[i].length;
        if (!begins(decompress->probe, magics[i].magic, n))
            continue;
        if (n < magics[i].length) {
            undecided = true;
            continue;
        }
        decompress->kind = magics[i].kind;
        if (decompress->kind == KIND_UNKNOWN)
            return tarn_fail(err, -ENOTSUP, "compressed with %s: only gzip and zstd are read",
                             magics[i].name);
        return 0;
    }
    if (have >= 4 && tarn_unzstd_is_frame(decompress->probe))
        decompress->kind = KIND_ZSTD;
    else if (final || (have >= 4 && !undecided))
        decompress->kind = KIND_NONE;
    return 0;
}

static int prepare(struct tarn_decompress *decompress, struct tarn_err *err)
{
    if (decompress->kind == KIND_NONE)
        return 0;
    decompress->piece.data = malloc(TARN_PIECE_SIZE);
    if (decompress->kind == KIND_GZIP)
        decompress->gunzip = tarn_gunzip_new(&decompress->piece);
    else
        decompress->unzstd = tarn_unzstd_new(&decompress->piece);
    if (!decompress->piece.data || (!decompress->gunzip && !decompress->unzstd))
        return tarn_fail_errno(err, -ENOMEM, "decompressing a layer");
    return 0;
}

static int decode(struct tarn_decompress *decompress, const uint8_t *bytes, size_t length,
                  struct tarn_err *err)
{
    if (length == 0)
        return 0;
    if (decompress->gunzip)
        return tarn_gunzip_push(decompress->gunzip, bytes, length, err);
    if (decompress->unzstd)
        return tarn_unzstd_push(decompress->unzstd, bytes, length, err);
    const int ret = decompress->piece.out(decompress->piece.context, bytes, length);
    return ret < 0 ? ret : 0;
}

// Once the kind is known, decodes the bytes that were held back for it.
static int probe(struct tarn_decompress *decompress, bool final, struct tarn_err *err)
{
    int ret = detect(decompress, final, err);
    if (ret < 0 || decompress->kind == KIND_UNKNOWN)
        return ret;
    ret = prepare(decompress, err);
    if (ret < 0)
        return ret;
    return decode(decompress, decompress->probe, decompress->probe_length, err);
}

int tarn_decompress_push(struct tarn_decompress *decompress, const void *bytes, size_t length,
                         struct tarn_err *err)
{
    const uint8_t *p = bytes;
    int ret = decompress->failed;
    while (ret == 0 && length > 0 && decompress->kind == KIND_UNKNOWN) {
        decompress->probe[decompress->probe_length++] = *p++;
        length--;
        ret = probe(decompress, decompress->probe_length == PROBE, err);
    }
    if (ret == 0)
        ret = decode(decompress, p, length, err);
    decompress->failed = ret;
    return ret;
}

int tarn_decompress_finish(struct tarn_decompress *decompress, struct tarn_err *err)
{
    int ret = decompress->failed;
    if (ret == 0 && decompress->kind == KIND_UNKNOWN)
        ret = probe(decompress, true, err);
    if (ret == 0 && decompress->gunzip)
        ret = tarn_gunzip_finish(decompress->gunzip, err);
    if (ret == 0 && decompress->unzstd)
        ret = tarn_unzstd_finish(decompress->unzstd, err);
    if (ret == 0)
        ret = tarn_piece_flush(&decompress->piece);
    decompress->failed = ret;
    return ret;
}
