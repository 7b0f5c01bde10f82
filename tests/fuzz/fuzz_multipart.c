// SPDX-License-Identifier: Apache-2.0
// A byte, how the body is cut into pieces; the Content-Type up to a zero byte; the body. What comes out must
// not depend on the pieces, but that a damage may show a little earlier or later.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "registry/multipart.h"

struct result {
    int status;
    bool ended;
    struct tarn_buf buf; // the contents of all parts
};

static void note(struct result *result, int event, const struct tarn_multipart_piece *piece,
                 uint64_t *next)
{
    assert(piece->range.first <= piece->range.last && piece->range.last < piece->range.total);
    if (event == TARN_MULTIPART_PART) {
        *next = piece->range.first;
        return;
    }
    assert(event == TARN_MULTIPART_DATA && piece->length > 0 && piece->offset == *next);
    assert(piece->length <= piece->range.last - piece->offset + 1);
    *next += piece->length;
    if (tarn_buf_append(&result->buf, piece->bytes, piece->length) < 0)
        abort();
}

static void run(const char *type, struct tarn_multipart_input body, size_t step,
                struct result *result)
{
    struct tarn_multipart multipart;
    struct tarn_multipart_piece piece;
    struct tarn_err err = { 0 };
    uint64_t next = 0;
    int ret = tarn_multipart_start(&multipart, type, &err);
    while (ret == 0 && body.length > 0) {
        const size_t length = step < body.length ? step : body.length;
        struct tarn_multipart_input input = { body.bytes, length };
        while ((ret = tarn_multipart_next(&multipart, &input, &piece, &err)) > 0)
            note(result, ret, &piece, &next);
        assert(ret < 0 || input.length == 0);
        body.bytes += length;
        body.length -= length;
    }
    assert(ret == 0 || (err.code == ret && err.text[0] != '\0'));
    result->status = ret;
    result->ended = ret == 0 && tarn_multipart_ended(&multipart);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
    if (!zero)
        return 0;
    const struct tarn_multipart_input body = { zero + 1, size - (size_t)(zero + 1 - data) };
    struct result whole = { 0 };
    struct result pieces = { 0 };
    run((const char *)data + 1, body, SIZE_MAX, &whole);
    run((const char *)data + 1, body, 1 + (size_t)data[0], &pieces);
    const bool less = whole.buf.length < pieces.buf.length;
    const size_t common = less ? whole.buf.length : pieces.buf.length;
    assert(whole.status == pieces.status && whole.ended == pieces.ended);
    assert(whole.status < 0 || whole.buf.length == pieces.buf.length);
    assert(common == 0 || memcmp(whole.buf.data, pieces.buf.data, common) == 0);
    tarn_buf_release(&whole.buf);
    tarn_buf_release(&pieces.buf);
    return 0;
}
