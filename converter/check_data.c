// SPDX-License-Identifier: Apache-2.0
// The data spaces. Contents and their padding fill one without gaps, so reading every content once,
// by address, reads every chunk of the chain's blobs. Of foreign blobs all chunks that are known.
#include <inttypes.h>

#include "converter/check_internal.h"
#include "converter/content_pieces.h"
#include "converter/data_reader.h"
#include "converter/tar_name.h"

enum { BUFFER_SIZE = 256 << 10 };

struct data_check {
    const struct tarn_check *check;
    struct tarn_data_reader *reader;
    struct tarn_content_hasher *hasher;
    const struct tarn_content *content; // the current one
    uint8_t *buffer;                    // BUFFER_SIZE
};

static int read_data(const struct data_check *data, uint32_t blob, uint64_t address, size_t length)
{
    const struct tarn_data_range range = { blob, address, length };
    return tarn_data_reader_read(data->reader, &range, data->buffer, data->check->err);
}

// Before the first hole a content's bytes lie together.
static int reread(void *context, uint64_t offset, void *data, size_t length)
{
    const struct data_check *data_check = context;
    const struct tarn_content *content = data_check->content;
    const struct tarn_data_range range = { content->holder, content->address + offset, length };
    return tarn_data_reader_read(data_check->reader, &range, data, data_check->check->err);
}

static int fail_hasher(const struct data_check *data, int code)
{
    // What a read says stands in err already.
    return code == -ENOMEM ? tarn_fail(data->check->err, code, "out of memory") : code;
}

static int hash_piece(const struct data_check *data, const struct tarn_content_piece *piece)
{
    for (uint64_t done = 0; done < piece->length;) {
        const size_t step = (size_t)tarn_min_u64(piece->length - done, BUFFER_SIZE);
        int ret = read_data(data, data->content->holder, piece->address + done, step);
        if (ret < 0)
            return ret;
        ret = tarn_content_hasher_update(data->hasher, piece->logical + done, data->buffer, step);
        if (ret < 0)
            return fail_hasher(data, ret);
        done += step;
    }
    return 0;
}

static int compare(const struct data_check *data, const struct tarn_content *found)
{
    const struct tarn_content *want = data->content;
    const struct tarn_check_name blob = tarn_check_blob_name(data->check, want->holder);
    const bool same_holes =
        found->kind == want->kind && found->extent_count == want->extent_count &&
        (found->extent_count == 0 ||
         memcmp(found->extents, want->extents, found->extent_count * sizeof *found->extents) == 0);
    const char *rule = !same_holes                       ? "the holes are not those of its bytes"
                       : !tarn_content_same(found, want) ? "the content's digest is wrong"
                                                         : NULL;
    return rule ? tarn_fail(data->check->err, -EUCLEAN, "%s data-space address %" PRIu64 ": %s",
                            blob.text, want->address, rule)
                : 0;
}

static int check_padding(const struct data_check *data)
{
    const struct tarn_content *content = data->content;
    const uint64_t start = content->address + tarn_content_stored(content);
    const size_t length = (size_t)(tarn_round_up(start, TARN_BLOCK) - start);
    const int ret = read_data(data, content->holder, start, length);
    if (ret < 0)
        return ret;
    return tarn_all_zero(data->buffer, length)
               ? 0
               : tarn_fail(data->check->err, -EUCLEAN,
                           "%s data-space address %" PRIu64 ": the padding is not zero",
                           tarn_check_blob_name(data->check, content->holder).text, start);
}

static int check_content(struct data_check *data, const struct tarn_content *content)
{
    data->content = content;
    struct tarn_content_pieces pieces = tarn_content_pieces_start(content);
    struct tarn_content_piece piece;
    tarn_content_hasher_start(data->hasher, content->size);
    while (tarn_content_pieces_next(&pieces, &piece)) {
        const int ret = hash_piece(data, &piece);
        if (ret < 0)
            return ret;
    }
    struct tarn_content found;
    int ret = tarn_content_hasher_finish(data->hasher, &found);
    if (ret < 0)
        return fail_hasher(data, ret);
    ret = compare(data, &found);
    if (ret == 0)
        ret = check_padding(data);
    data->check->totals->contents++;
    return ret;
}

static int wrap_path(const struct data_check *data, int code, const struct tarn_node *node)
{
    tarn_autobuf struct tarn_buf path = { 0 };
    char quoted[TARN_TAR_QUOTED];
    if (code == -ENOMEM || tarn_node_path(node, &path) < 0)
        return code;
    return tarn_wrap(data->check->err, code, "entry %s",
                     tarn_tar_quote(path.data, path.length, quoted));
}

static int by_address(const void *a, const void *b)
{
    const struct tarn_node *const *x = a;
    const struct tarn_node *const *y = b;
    const uint64_t x_address = (*x)->inode->content->address;
    const uint64_t y_address = (*y)->inode->content->address;
    return x_address < y_address ? -1 : x_address > y_address;
}

// The first name of each content that lies in the layer's data space, by address.
static int collect(const struct data_check *data, uint32_t layer, struct tarn_tree *tree,
                   struct tarn_buf *nodes)
{
    tarn_check_begin_contents(tree);
    for (struct tarn_node *node = tarn_tree_root(tree); node; node = tarn_tree_next(node)) {
        const struct tarn_content *content = tarn_check_new_content(node);
        // Contents without data have no holder: their digest was checked with the metadata.
        if (!content || content->holder != layer || tarn_content_stored(content) == 0)
            continue;
        if (tarn_buf_append(nodes, &node, sizeof node) < 0)
            return tarn_fail(data->check->err, -ENOMEM, "out of memory");
    }
    if (nodes->length > 0)
        qsort(nodes->data, nodes->length / sizeof(struct tarn_node *), sizeof(struct tarn_node *),
              by_address);
    return 0;
}

static int check_tree(struct data_check *data, uint32_t layer, struct tarn_tree *tree)
{
    tarn_autobuf struct tarn_buf nodes = { 0 };
    int ret = collect(data, layer, tree, &nodes);
    for (size_t at = 0; at < nodes.length && ret == 0; at += sizeof(struct tarn_node *)) {
        const struct tarn_node *node;
        memcpy(&node, nodes.data + at, sizeof node);
        ret = check_content(data, node->inode->content);
        if (ret < 0)
            ret = wrap_path(data, ret, node);
    }
    return ret;
}

static int check_layer_data(struct data_check *data, uint32_t layer)
{
    struct tarn_layer_metadata metadata;
    int ret = tarn_check_read_metadata(data->check, layer, &metadata);
    if (ret < 0)
        return ret;
    ret = check_tree(data, layer, metadata.tree);
    data->check->totals->data_bytes += metadata.parameters.data_length;
    tarn_layer_metadata_release(&metadata);
    return ret < 0 ? tarn_wrap(data->check->err, ret, "layer %" PRIu32, layer) : 0;
}

static int check_foreign_data(const struct data_check *data, uint32_t blob)
{
    const struct tarn_tables *tables = &data->check->image->bootstrap->tables;
    const struct tarn_blob_record record = tarn_tables_blob(tables, blob);
    for (uint32_t i = 0; i + 1 < record.row_count; i++) {
        const uint32_t row = record.first_row + i;
        if (tarn_tables_location(tables, row).kind == TARN_LOCATION_GAP)
            continue;
        const size_t length = (size_t)tarn_tables_length(tables, row);
        const int ret = read_data(data, blob, tarn_tables_address(tables, row), length);
        if (ret < 0)
            return ret;
        data->check->totals->data_bytes += length;
    }
    return 0;
}

int tarn_check_data(const struct tarn_check *check)
{
    const struct tarn_check_image *image = check->image;
    struct data_check data = {
        .check = check,
        .reader =
            tarn_data_reader_new(image->blocking, image->repository, &image->bootstrap->tables),
        .buffer = malloc(BUFFER_SIZE),
    };
    data.hasher = tarn_content_hasher_new(reread, &data);
    int ret = data.reader && data.hasher && data.buffer
                  ? 0
                  : tarn_fail(check->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < image->manifest->chain_count && ret == 0; i++)
        ret = check_layer_data(&data, i);
    for (uint32_t i = image->manifest->chain_count; i < image->manifest->blob_count && ret == 0;
         i++)
        ret = check_foreign_data(&data, i);
    tarn_data_reader_free(data.reader);
    tarn_content_hasher_free(data.hasher);
    free(data.buffer);
    return ret;
}
