// SPDX-License-Identifier: Apache-2.0
// A state machine over the input. Each step takes some bytes and may change the state; one that
// needs a whole block gets it by take_block(), from the input itself where that holds it in one
// piece.
#include "converter/tar_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "converter/tar_header.h"
#include "converter/tar_name.h"

enum state {
    STATE_HEADER,     // a header block comes
    STATE_META,       // the body of an extended header or long name: left bytes
    STATE_OLD_SPARSE, // a block of an old sparse map
    STATE_MAP,        // a block of a pax 1.0 map
    STATE_DATA,       // file data: left bytes
    STATE_SKIP,       // left bytes that nobody wants, then padding bytes
    STATE_END,
};

// Which special entries stand before the next header.
enum { PENDING_PAX = 1, PENDING_NAME = 2, PENDING_LINK = 4 };

struct tarn_tar_reader {
    const struct tarn_tar_events *events;
    void *context;
    enum state state;
    int failed;      // what every further call returns
    uint64_t offset; // input bytes taken
    uint64_t header_offset;
    uint8_t block[TARN_TAR_BLOCK]; // the part that has arrived of a block
    size_t have;
    bool lone_zero; // the last block was zero
    uint64_t left;
    uint64_t padding;

    char meta_flag; // which buffer STATE_META fills
    unsigned pending;
    struct tarn_buf pax_body;
    struct tarn_buf global_body;
    struct tarn_buf long_name;
    struct tarn_buf long_link;

    struct tarn_buf raw_name; // of the current or last entry
    bool named;               // raw_name is of the current header
    struct tarn_tar_pax pax;
    struct tarn_tar_decoded decoded;
    struct tarn_tar_map map; // of the current file, unless it is in pax
    struct tarn_tar_map_lines lines;
    size_t extent;        // that the next data byte belongs to
    uint64_t extent_done; // bytes of it
    uint64_t data_offset; // of the next data byte, without a map
};

struct tarn_tar_reader *tarn_tar_reader_new(const struct tarn_tar_events *events, void *context)
{
    struct tarn_tar_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->events = events;
    reader->context = context;
    return reader;
}

void tarn_tar_reader_free(struct tarn_tar_reader *reader)
{
    if (!reader)
        return;
    tarn_buf_release(&reader->pax_body);
    tarn_buf_release(&reader->global_body);
    tarn_buf_release(&reader->long_name);
    tarn_buf_release(&reader->long_link);
    tarn_buf_release(&reader->raw_name);
    tarn_tar_pax_release(&reader->pax);
    tarn_tar_decoded_release(&reader->decoded);
    tarn_tar_map_release(&reader->map);
    free(reader);
}

// Puts the entry and its place before the reason in err.
static int wrap(const struct tarn_tar_reader *reader, int ret, struct tarn_err *err)
{
    char quoted[TARN_TAR_QUOTED];
    if (reader->named)
        tarn_err_prepend(err, "entry %s",
                         tarn_tar_quote(reader->raw_name.data, reader->raw_name.length, quoted));
    return tarn_wrap(err, ret, "tar: byte %" PRIu64, reader->header_offset);
}

// Sets *block to the next whole block. False until more input comes. Sets *used.
static bool take_block(struct tarn_tar_reader *reader, const uint8_t *bytes, size_t length,
                       size_t *used, const uint8_t **block)
{
    if (reader->have == 0 && length >= TARN_TAR_BLOCK) {
        *used = TARN_TAR_BLOCK;
        *block = bytes;
        return true;
    }
    *used = tarn_min_u64(length, TARN_TAR_BLOCK - reader->have);
    memcpy(reader->block + reader->have, bytes, *used);
    reader->have += *used;
    if (reader->have < TARN_TAR_BLOCK)
        return false;
    reader->have = 0;
    *block = reader->block;
    return true;
}

static uint64_t padding_of(uint64_t size)
{
    return tarn_round_up(size, TARN_TAR_BLOCK) - size;
}

static void skip(struct tarn_tar_reader *reader, uint64_t length, uint64_t padding)
{
    reader->left = length;
    reader->padding = padding;
    reader->state = length + padding > 0 ? STATE_SKIP : STATE_HEADER;
}

// --- the entry itself ---------------------------------------------------------------------------

static int end_entry(struct tarn_tar_reader *reader)
{
    const int ret = reader->events->end(reader->context);
    if (ret < 0)
        return ret;
    skip(reader, 0, reader->padding);
    return 0;
}

// All that describes the entry is there: its data comes next.
static int begin_entry(struct tarn_tar_reader *reader)
{
    reader->pending = 0;
    const int ret = reader->events->begin(reader->context, &reader->decoded.entry);
    if (ret < 0)
        return ret;
    reader->extent = 0;
    reader->extent_done = 0;
    reader->data_offset = 0;
    reader->state = STATE_DATA;
    return reader->left == 0 ? end_entry(reader) : 0;
}

static int begin_sparse(struct tarn_tar_reader *reader, const struct tarn_tar_map *map,
                        struct tarn_err *err)
{
    struct tarn_tar_entry *entry = &reader->decoded.entry;
    const int ret = tarn_tar_map_check(map, entry->size, reader->left, err);
    if (ret < 0)
        return wrap(reader, ret, err);
    entry->extents = map->extents;
    entry->extent_count = map->count;
    return begin_entry(reader);
}

static int old_sparse_block(struct tarn_tar_reader *reader, const uint8_t *block, bool extension,
                            struct tarn_err *err)
{
    bool more;
    const int ret = tarn_tar_old_sparse(block, extension, &reader->map, &more, err);
    if (ret < 0)
        return wrap(reader, ret, err);
    if (!more)
        return begin_sparse(reader, &reader->map, err);
    reader->state = STATE_OLD_SPARSE;
    return 0;
}

static int map_block(struct tarn_tar_reader *reader, const uint8_t *block, struct tarn_err *err)
{
    if (reader->left < TARN_TAR_BLOCK)
        return wrap(reader, tarn_fail(err, -EUCLEAN, "sparse map: it is longer than the data"),
                    err);
    reader->left -= TARN_TAR_BLOCK;
    bool done;
    const int ret = tarn_tar_map_add_lines(&reader->map, &reader->lines, block, &done, err);
    if (ret < 0)
        return wrap(reader, ret, err);
    return done ? begin_sparse(reader, &reader->map, err) : 0;
}

static int start_file(struct tarn_tar_reader *reader, const uint8_t *block, struct tarn_err *err)
{
    reader->left = reader->decoded.stored;
    reader->padding = padding_of(reader->left);
    tarn_tar_map_clear(&reader->map);
    switch (reader->decoded.sparse) {
    case TARN_TAR_SPARSE_NONE:
        return begin_entry(reader);
    case TARN_TAR_SPARSE_PAX:
        return begin_sparse(reader, &reader->pax.map, err);
    case TARN_TAR_SPARSE_OLD:
        return old_sparse_block(reader, block, false, err);
    case TARN_TAR_SPARSE_DATA:
        reader->lines = (struct tarn_tar_map_lines){ 0 };
        reader->state = STATE_MAP;
        return 0;
    }
    assert(false);
    return -EINVAL;
}

static struct tarn_tar_text pending_text(const struct tarn_tar_reader *reader, unsigned bit,
                                         const struct tarn_buf *buf)
{
    if (!(reader->pending & bit))
        return (struct tarn_tar_text){ 0 };
    return (struct tarn_tar_text){ (const char *)buf->data, buf->length };
}

static int start_entry(struct tarn_tar_reader *reader, const uint8_t *block, struct tarn_err *err)
{
    const struct tarn_tar_head head = {
        .block = block,
        .pax = &reader->pax,
        .long_name = pending_text(reader, PENDING_NAME, &reader->long_name),
        .long_link = pending_text(reader, PENDING_LINK, &reader->long_link),
    };
    tarn_tar_pax_clear(&reader->pax);
    int ret = 0;
    if (reader->pending & PENDING_PAX)
        ret = tarn_tar_pax_parse(&reader->pax, reader->pax_body.data, reader->pax_body.length, err);
    if (ret < 0)
        tarn_err_prepend(err, "extended header");
    // For the message, even when the records are damaged.
    const int named = tarn_tar_head_name(&head, &reader->raw_name, ret < 0 ? NULL : err);
    reader->named = named == 0;
    if (ret == 0)
        ret = named;
    if (ret == 0)
        ret = tarn_tar_decode(&head, &reader->raw_name, &reader->decoded, err);
    if (ret < 0)
        return wrap(reader, ret, err);
    if (reader->decoded.entry.type == S_IFREG)
        return start_file(reader, block, err);
    reader->left = 0; // of any data: see tar_reader.h
    reader->padding = 0;
    return begin_entry(reader);
}

// --- what stands before it ----------------------------------------------------------------------

static struct tarn_buf *meta_buffer(struct tarn_tar_reader *reader)
{
    switch (reader->meta_flag) {
    case TARN_TAR_FLAG_PAX:
        return &reader->pax_body;
    case TARN_TAR_FLAG_PAX_GLOBAL:
        return &reader->global_body;
    case TARN_TAR_FLAG_LONG_NAME:
        return &reader->long_name;
    default:
        return &reader->long_link;
    }
}

// A special entry's body is complete. A second one of its kind replaces the first.
static int end_meta(struct tarn_tar_reader *reader, struct tarn_err *err)
{
    struct tarn_buf *body = meta_buffer(reader);
    int ret = 0;
    if (reader->meta_flag == TARN_TAR_FLAG_PAX)
        reader->pending |= PENDING_PAX;
    else if (reader->meta_flag == TARN_TAR_FLAG_PAX_GLOBAL) {
        tarn_tar_pax_clear(&reader->pax);
        ret = tarn_tar_pax_parse(&reader->pax, body->data, body->length, err);
        if (ret < 0)
            return wrap(reader, tarn_wrap(err, ret, "global extended header"), err);
    } else {
        if (body->length > 0)
            body->length = strnlen((const char *)body->data, body->length);
        reader->pending |=
            reader->meta_flag == TARN_TAR_FLAG_LONG_NAME ? PENDING_NAME : PENDING_LINK;
    }
    skip(reader, 0, reader->padding);
    return ret;
}

static int start_meta(struct tarn_tar_reader *reader, char flag, uint64_t size,
                      struct tarn_err *err)
{
    const bool pax = flag == TARN_TAR_FLAG_PAX || flag == TARN_TAR_FLAG_PAX_GLOBAL;
    const uint64_t limit = pax ? TARN_TAR_PAX_MAX : TARN_TAR_PATH_MAX + 1; // with its NUL
    if (flag == TARN_TAR_FLAG_PAX_GLOBAL && reader->pending)
        // Go forgets the first one, GNU tar does not.
        return wrap(reader,
                    tarn_fail(err, -EINVAL,
                              "a global extended header between an extended header and its entry"),
                    err);
    if (size > limit)
        return wrap(reader,
                    tarn_fail(err, -ENOTSUP,
                              "%s of %" PRIu64 " bytes is over the limit of %" PRIu64,
                              pax ? "an extended header" : "a long name", size, limit),
                    err);
    reader->meta_flag = flag;
    meta_buffer(reader)->length = 0;
    reader->left = size;
    reader->padding = padding_of(size);
    reader->state = STATE_META;
    return size == 0 ? end_meta(reader, err) : 0;
}

static int zero_block(struct tarn_tar_reader *reader, struct tarn_err *err)
{
    if (reader->pending)
        return wrap(reader, tarn_fail(err, -EUCLEAN, "an extended header without an entry"), err);
    if (reader->lone_zero)
        reader->state = STATE_END;
    reader->lone_zero = true;
    return 0;
}

static int not_a_header(const struct tarn_tar_reader *reader, struct tarn_err *err)
{
    char quoted[TARN_TAR_QUOTED];
    const struct tarn_buf *last = &reader->raw_name;
    if (last->length == 0)
        return tarn_fail(err, -EUCLEAN, "tar: byte %" PRIu64 ": no header, its checksum is wrong",
                         reader->header_offset);
    return tarn_fail(err, -EUCLEAN,
                     "tar: byte %" PRIu64 ": no header behind entry %s, its checksum is wrong",
                     reader->header_offset, tarn_tar_quote(last->data, last->length, quoted));
}

static int header_block(struct tarn_tar_reader *reader, const uint8_t *block, struct tarn_err *err)
{
    reader->header_offset = reader->offset - TARN_TAR_BLOCK;
    reader->named = false;
    if (tarn_all_zero(block, TARN_TAR_BLOCK))
        return zero_block(reader, err);
    if (reader->lone_zero)
        return wrap(reader, tarn_fail(err, -EUCLEAN, "an entry behind a lone zero block"), err);
    if (!tarn_tar_header_sum_ok(block))
        return not_a_header(reader, err);
    const char flag = tarn_tar_header_flag(block);
    const bool meta = flag == TARN_TAR_FLAG_PAX || flag == TARN_TAR_FLAG_PAX_GLOBAL ||
                      flag == TARN_TAR_FLAG_LONG_NAME || flag == TARN_TAR_FLAG_LONG_LINK;
    if (!meta && flag != TARN_TAR_FLAG_VOLUME)
        return start_entry(reader, block, err);
    uint64_t size;
    const int ret = tarn_tar_header_size(block, &size, err);
    if (ret < 0)
        return wrap(reader, ret, err);
    if (meta)
        return start_meta(reader, flag, size, err);
    skip(reader, size, padding_of(size));
    return 0;
}

// --- steps --------------------------------------------------------------------------------------

static int step_block(struct tarn_tar_reader *reader, const uint8_t *bytes, size_t length,
                      size_t *used, struct tarn_err *err)
{
    const uint8_t *block;
    const bool whole = take_block(reader, bytes, length, used, &block);
    reader->offset += *used;
    if (!whole)
        return 0;
    if (reader->state == STATE_OLD_SPARSE)
        return old_sparse_block(reader, block, true, err);
    if (reader->state == STATE_MAP)
        return map_block(reader, block, err);
    return header_block(reader, block, err);
}

static int step_meta(struct tarn_tar_reader *reader, const uint8_t *bytes, size_t length,
                     size_t *used, struct tarn_err *err)
{
    *used = tarn_min_u64(length, reader->left);
    const int ret = tarn_buf_append(meta_buffer(reader), bytes, *used);
    if (ret < 0)
        return wrap(reader, tarn_fail_errno(err, ret, "keeping an extended header"), err);
    reader->offset += *used;
    reader->left -= *used;
    return reader->left == 0 ? end_meta(reader, err) : 0;
}

static int step_data(struct tarn_tar_reader *reader, const uint8_t *bytes, size_t length,
                     size_t *used)
{
    const struct tarn_tar_entry *entry = &reader->decoded.entry;
    uint64_t n = tarn_min_u64(length, reader->left);
    uint64_t offset = reader->data_offset;
    if (entry->sparse) {
        assert(reader->extent < entry->extent_count); // tarn_tar_map_check
        const struct tarn_tar_extent *extent = &entry->extents[reader->extent];
        n = tarn_min_u64(n, extent->length - reader->extent_done);
        offset = extent->offset + reader->extent_done;
        reader->extent_done += n;
        if (reader->extent_done == extent->length) {
            reader->extent++;
            reader->extent_done = 0;
        }
    }
    *used = n;
    reader->offset += n;
    reader->left -= n;
    reader->data_offset += n;
    const int ret = reader->events->data(reader->context, offset, bytes, n);
    if (ret < 0)
        return ret;
    return reader->left == 0 ? end_entry(reader) : 0;
}

static void step_skip(struct tarn_tar_reader *reader, size_t length, size_t *used)
{
    uint64_t *left = reader->left > 0 ? &reader->left : &reader->padding;
    *used = tarn_min_u64(length, *left);
    *left -= *used;
    reader->offset += *used;
    if (reader->left == 0 && reader->padding == 0)
        reader->state = STATE_HEADER;
}

static int step(struct tarn_tar_reader *reader, const uint8_t *bytes, size_t length, size_t *used,
                struct tarn_err *err)
{
    switch (reader->state) {
    case STATE_HEADER:
    case STATE_OLD_SPARSE:
    case STATE_MAP:
        return step_block(reader, bytes, length, used, err);
    case STATE_META:
        return step_meta(reader, bytes, length, used, err);
    case STATE_DATA:
        return step_data(reader, bytes, length, used);
    case STATE_SKIP:
        step_skip(reader, length, used);
        return 0;
    case STATE_END:
        *used = length;
        return 0;
    }
    assert(false);
    return -EINVAL;
}

int tarn_tar_reader_push(struct tarn_tar_reader *reader, const void *bytes, size_t length,
                         struct tarn_err *err)
{
    const uint8_t *p = bytes;
    while (reader->failed == 0 && length > 0) {
        size_t used = 0;
        const int ret = step(reader, p, length, &used, err);
        reader->failed = ret < 0 ? ret : 0;
        p += used;
        length -= used;
    }
    return reader->failed;
}

static int truncated(struct tarn_tar_reader *reader, const char *where, struct tarn_err *err)
{
    const int ret =
        tarn_fail(err, -EUCLEAN, "truncated: the tar ends at byte %" PRIu64 ", inside %s",
                  reader->offset, where);
    return wrap(reader, ret, err);
}

int tarn_tar_reader_finish(struct tarn_tar_reader *reader, struct tarn_err *err)
{
    int ret = reader->failed;
    if (ret < 0)
        return ret;
    if (reader->state == STATE_HEADER && reader->have > 0) {
        reader->header_offset = reader->offset - reader->have;
        reader->named = false;
        ret = truncated(reader, "a header", err);
    } else if (reader->state == STATE_META)
        ret = truncated(reader, "an extended header", err);
    else if (reader->state == STATE_OLD_SPARSE || reader->state == STATE_MAP)
        ret = truncated(reader, "a sparse map", err);
    else if (reader->state == STATE_DATA || (reader->state == STATE_SKIP && reader->left > 0))
        ret = truncated(reader, "the data", err);
    else if (reader->pending)
        ret = wrap(reader, tarn_fail(err, -EUCLEAN, "an extended header without an entry"), err);
    reader->failed = ret;
    return ret;
}
