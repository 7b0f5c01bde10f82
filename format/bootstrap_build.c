// SPDX-License-Identifier: Apache-2.0
// A bootstrap from the layer metadata of a chain: whole tables of the chain's blobs, then what the
// layers say of foreign blobs, each row once.
#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "base/map.h"
#include "format/bootstrap.h"
#include "format/bootstrap_internal.h"
#include "format/erofs_writer.h"
#include "format/section.h"

// A chunk of a foreign blob, as one layer knows it.
struct piece {
    uint32_t blob; // index in the bootstrap
    uint32_t layer;
    uint64_t address;
    uint64_t length;
    uint64_t location; // packed
    const uint8_t *digest;
};

struct foreign {
    struct tarn_blob_record record;
    uint32_t index; // in the bootstrap
    struct foreign *next;
};

struct build {
    const struct tarn_bootstrap_layer *layers;
    uint32_t count; // of layers
    struct tarn_tables_builder tables;
    struct tarn_arena *arena;
    struct tarn_map *known; // foreign blobs by digest
    struct foreign *first;
    struct foreign **last;
    uint32_t blob_count;
    struct tarn_buf pieces; // of struct piece
    uint32_t *slots;        // by chain index
    struct tarn_erofs_device *devices;
    uint32_t device_count;
    uint64_t file_bytes;
    struct tarn_err *err;
};

static int no_memory(const struct build *build)
{
    return tarn_fail(build->err, -ENOMEM, "out of memory");
}

// --- slots ---------------------------------------------------------------------------------

// One pass over the merged tree: which blobs it points into, and how many bytes files have.
static int find_slots(struct build *build, struct tarn_tree *merged)
{
    build->slots = calloc((size_t)build->count + 1, sizeof *build->slots);
    build->devices = calloc((size_t)build->count + 1, sizeof *build->devices);
    if (!build->slots || !build->devices)
        return no_memory(build);
    for (const struct tarn_node *n = tarn_tree_root(merged); n; n = tarn_tree_next(n))
        if (n->inode)
            n->inode->index = 0;
    for (const struct tarn_node *n = tarn_tree_root(merged); n; n = tarn_tree_next(n)) {
        const bool counts = n->inode && n->inode->index == 0 && S_ISREG(n->inode->mode);
        const struct tarn_content *content = counts ? n->inode->content : NULL;
        if (!content)
            continue; // the image's writer says what is wrong with a file without content
        n->inode->index = 1;
        build->file_bytes += content->size;
        if (tarn_content_stored(content) > 0 && content->holder < build->count)
            build->slots[content->holder] = 1;
    }
    for (uint32_t i = 0; i < build->count; i++) {
        if (build->slots[i] == 0)
            continue;
        const struct tarn_bootstrap_layer *layer = &build->layers[i];
        build->devices[build->device_count] =
            (struct tarn_erofs_device){ layer->digest, layer->metadata->parameters.data_length };
        build->slots[i] = ++build->device_count;
    }
    return 0;
}

// --- tables --------------------------------------------------------------------------------

static bool foreign_is(const void *key, const void *value)
{
    return tarn_digest_equal(key, &((const struct foreign *)value)->record.digest);
}

static bool same_blob(const struct tarn_blob_record *a, const struct tarn_blob_record *b)
{
    return a->size == b->size && a->data_length == b->data_length &&
           a->metadata_offset == b->metadata_offset && a->metadata_length == b->metadata_length &&
           tarn_digest_equal(&a->metadata_digest, &b->metadata_digest);
}

// The index in the bootstrap of a foreign blob that a layer names.
static int foreign_index(struct build *build, const struct tarn_blob_record *record,
                         uint32_t *index)
{
    const uint64_t hash = tarn_digest_hash(&record->digest, build->known);
    struct foreign *foreign = tarn_map_get(build->known, hash, &record->digest, foreign_is);
    if (foreign) {
        *index = foreign->index;
        char text[TARN_DIGEST_TEXT];
        return same_blob(&foreign->record, record)
                   ? 0
                   : tarn_fail(build->err, -EUCLEAN, "blob %s is not what a lower layer says of it",
                               tarn_digest_format(&record->digest, text));
    }
    if (build->blob_count == TARN_BLOBS_MAX)
        return tarn_fail(build->err, -ENOTSUP, "the image has more than %d blobs", TARN_BLOBS_MAX);
    foreign = tarn_arena_alloc(build->arena, sizeof *foreign);
    if (!foreign || tarn_map_add(build->known, hash, foreign) != 0)
        return no_memory(build);
    foreign->record = *record;
    foreign->index = *index = build->blob_count++;
    *build->last = foreign;
    build->last = &foreign->next;
    return 0;
}

// Notes what the layer knows of a foreign blob.
static int add_pieces(struct build *build, uint32_t layer, const struct tarn_blob_record *record,
                      uint32_t index)
{
    const struct tarn_tables *tables = &build->layers[layer].metadata->tables;
    for (uint32_t k = 0; k + 1 < record->row_count; k++) {
        const uint32_t row = record->first_row + k;
        const struct tarn_location location = tarn_tables_location(tables, row);
        if (location.kind == TARN_LOCATION_GAP)
            continue;
        if (location.kind == TARN_LOCATION_REFERENCE)
            return tarn_fail(build->err, -EUCLEAN, "row %u: a reference in a foreign blob", row);
        const struct piece piece = {
            .blob = index,
            .layer = layer,
            .address = tarn_tables_address(tables, row),
            .length = tarn_tables_length(tables, row),
            .location = tarn_location_pack(&location),
            .digest = tables->digests + (size_t)row * TARN_DIGEST_SIZE,
        };
        if (tarn_buf_append(&build->pieces, &piece, sizeof piece) != 0)
            return no_memory(build);
    }
    return 0;
}

// Copies the layer's own rows; indexes[i] is the bootstrap's index of its foreign blob i.
static int add_own_rows(struct build *build, uint32_t layer, const uint32_t *indexes)
{
    const struct tarn_tables *tables = &build->layers[layer].metadata->tables;
    const struct tarn_blob_record own = tarn_tables_blob(tables, layer);
    for (uint32_t k = 0; k < own.row_count; k++) {
        const uint32_t row = own.first_row + k;
        const uint64_t address = tarn_tables_address(tables, row);
        struct tarn_location location = tarn_tables_location(tables, row);
        struct tarn_digest digest;
        int ret;
        if (location.kind == TARN_LOCATION_REFERENCE && location.blob > layer) {
            if (location.blob >= tables->blob_count)
                return tarn_fail(build->err, -EUCLEAN, "row %u: a blob that is not there", row);
            location.blob = indexes[location.blob - layer - 1];
        }
        tarn_tables_digest(tables, row, &digest);
        ret = location.kind == TARN_LOCATION_GAP
                  ? tarn_tables_builder_add_gap(&build->tables, address)
                  : tarn_tables_builder_add_row(&build->tables, address, &location, &digest);
        if (ret < 0)
            return no_memory(build);
    }
    return 0;
}

// The chain that the layer was made for must be the one that it stands in now.
static int check_layer(const struct build *build, uint32_t number)
{
    const struct tarn_layer_metadata *metadata = build->layers[number].metadata;
    if (metadata->parameters.chain_index != number || metadata->tables.blob_count <= number)
        return tarn_fail(build->err, -EINVAL, "the blob was made for place %u of a chain",
                         metadata->parameters.chain_index);
    for (uint32_t i = 0; i < number; i++) {
        const struct tarn_blob_record lower = tarn_tables_blob(&metadata->tables, i);
        if (!tarn_digest_equal(&lower.digest, &build->layers[i].digest))
            return tarn_fail(build->err, -EINVAL, "the blob was made for another layer %u", i);
    }
    return 0;
}

static int add_layer(struct build *build, uint32_t number)
{
    int ret = check_layer(build, number);
    if (ret < 0)
        return ret;
    const struct tarn_bootstrap_layer *layer = &build->layers[number];
    const struct tarn_tables *tables = &layer->metadata->tables;
    const uint32_t foreign = tables->blob_count - number - 1;
    tarn_autofree uint32_t *indexes = calloc((size_t)foreign + 1, sizeof *indexes);
    if (!indexes)
        return no_memory(build);
    for (uint32_t i = 0; i < foreign && ret == 0; i++) {
        const struct tarn_blob_record record = tarn_tables_blob(tables, number + 1 + i);
        ret = foreign_index(build, &record, &indexes[i]);
        if (ret == 0)
            ret = add_pieces(build, number, &record, indexes[i]);
    }
    if (ret < 0)
        return ret;
    const struct tarn_blob_record own = tarn_tables_blob(tables, number);
    const struct tarn_blob_record record = {
        .digest = layer->digest,
        .size = layer->size,
        .data_length = layer->metadata->parameters.data_length,
        .metadata_offset = layer->metadata_offset,
        .metadata_length = layer->metadata_length,
        .metadata_digest = layer->metadata_digest,
        .first_row = tarn_tables_builder_rows(&build->tables),
        .row_count = own.row_count,
        .slot = build->slots[number],
        .role = TARN_BLOB_CHAIN,
    };
    if (tarn_tables_builder_add_blob(&build->tables, &record) != 0)
        return no_memory(build);
    return add_own_rows(build, number, indexes);
}

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->blob != y->blob)
        return x->blob < y->blob ? -1 : 1;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

static bool same_piece(const struct piece *a, const struct piece *b)
{
    return a->address == b->address && a->length == b->length && a->location == b->location &&
           memcmp(a->digest, b->digest, TARN_DIGEST_SIZE) == 0;
}

// Appends one foreign blob's rows from its sorted pieces.
static int add_foreign_rows(struct build *build, const struct piece *pieces, size_t count)
{
    int ret = 0;
    uint64_t end = 0;
    for (size_t i = 0; i < count && ret == 0; i++) {
        const struct piece *piece = &pieces[i];
        if (i > 0 && same_piece(piece, piece - 1))
            continue;
        if (i > 0 && piece->address < end)
            return tarn_fail(build->err, -EUCLEAN,
                             "layer %u: its row of blob %u for address %llu is not what layer %u "
                             "says",
                             piece->layer, piece->blob, (unsigned long long)piece->address,
                             (piece - 1)->layer);
        if (i > 0 && piece->address > end)
            ret = tarn_tables_builder_add_gap(&build->tables, end);
        struct tarn_digest digest;
        memcpy(digest.bytes, piece->digest, sizeof digest.bytes);
        const struct tarn_location location = tarn_location_unpack(piece->location);
        if (ret == 0)
            ret = tarn_tables_builder_add_row(&build->tables, piece->address, &location, &digest);
        end = piece->address + piece->length;
    }
    if (ret == 0)
        ret = tarn_tables_builder_add_gap(&build->tables, end);
    return ret < 0 ? no_memory(build) : 0;
}

static int add_foreign(struct build *build)
{
    const size_t count = build->pieces.length / sizeof(struct piece);
    struct piece *pieces = (void *)build->pieces.data;
    if (count > 0)
        qsort(pieces, count, sizeof *pieces, compare_pieces);
    size_t start = 0;
    for (struct foreign *foreign = build->first; foreign; foreign = foreign->next) {
        size_t end = start;
        while (end < count && pieces[end].blob == foreign->index)
            end++;
        struct tarn_blob_record record = foreign->record;
        record.first_row = tarn_tables_builder_rows(&build->tables);
        record.slot = 0;
        record.role = TARN_BLOB_FOREIGN;
        int ret = add_foreign_rows(build, pieces + start, end - start);
        if (ret < 0)
            return ret;
        record.row_count = tarn_tables_builder_rows(&build->tables) - record.first_row;
        if (tarn_tables_builder_add_blob(&build->tables, &record) != 0)
            return no_memory(build);
        start = end;
    }
    return 0;
}

// --- container -----------------------------------------------------------------------------

struct totals {
    uint64_t inodes;
    uint64_t names;
    struct tarn_digest tree_digest;
};

static void make_image(const struct build *build, const struct totals *totals,
                       uint8_t image[TARN_IMAGE_SIZE])
{
    memset(image, 0, TARN_IMAGE_SIZE);
    for (size_t i = 0; i < TARN_IMAGE_PARAMETERS; i++)
        tarn_put_le32(image + i * 4, tarn_image_parameters[i]);
    tarn_put_le32(image + TARN_IMAGE_CHAIN, build->count);
    tarn_put_le32(image + TARN_IMAGE_BLOBS, build->blob_count);
    tarn_put_le32(image + TARN_IMAGE_SLOTS, build->device_count);
    tarn_put_le64(image + TARN_IMAGE_INODES, totals->inodes);
    tarn_put_le64(image + TARN_IMAGE_NAMES, totals->names);
    tarn_put_le64(image + TARN_IMAGE_BYTES, build->file_bytes);
    memcpy(image + TARN_IMAGE_TREE, totals->tree_digest.bytes, TARN_DIGEST_SIZE);
}

static int write_sections(const struct build *build, const struct totals *totals,
                          struct tarn_buf *out)
{
    uint8_t image[TARN_IMAGE_SIZE];
    make_image(build, totals, image);
    struct tarn_sections sections = { .count = 1 };
    sections.items[0] = (struct tarn_section){ .type = TARN_SECTION_EROFS,
                                               .length = out->length,
                                               .xxh3 = XXH3_64bits(out->data, out->length) };
    const struct tarn_tables_builder *tables = &build->tables;
    const struct {
        uint32_t type;
        const void *data;
        size_t length;
    } all[] = {
        { TARN_SECTION_IMAGE, image, sizeof image },
        { TARN_SECTION_BLOBS, tables->blobs.data, tables->blobs.length },
        { TARN_SECTION_CHUNK_ADDRESSES, tables->addresses.data, tables->addresses.length },
        { TARN_SECTION_CHUNK_LOCATIONS, tables->locations.data, tables->locations.length },
        { TARN_SECTION_CHUNK_DIGESTS, tables->digests.data, tables->digests.length },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct tarn_section_form form = { .type = all[i].type };
        int ret = tarn_section_append(&sections, out, &form, all[i].data, all[i].length);
        if (ret < 0)
            return no_memory(build);
    }
    return tarn_sections_finish(&sections, TARN_CONTAINER_BOOTSTRAP, 0, out) < 0 ? no_memory(build)
                                                                                 : 0;
}

static int build_all(struct build *build, const struct tarn_bootstrap_source *source,
                     struct tarn_buf *out)
{
    struct tarn_tree *merged = source->merged;
    build->arena = tarn_arena_new();
    build->known = tarn_map_new();
    if (!build->arena || !build->known)
        return no_memory(build);
    tarn_tree_sort(merged);
    int ret = find_slots(build, merged);
    for (uint32_t i = 0; i < build->count && ret == 0; i++) {
        ret = add_layer(build, i);
        if (ret < 0)
            return tarn_wrap(build->err, ret, "layer %u", i);
    }
    if (ret == 0)
        ret = add_foreign(build);
    if (ret < 0)
        return ret;
    struct totals totals = { .names = tarn_tree_count(merged) - 1,
                             .tree_digest = source->tree_digest };
    const struct tarn_erofs_plan plan = { .devices = build->devices,
                                          .device_count = build->device_count,
                                          .slots = build->slots,
                                          .chain_count = build->count,
                                          .tree_digest = totals.tree_digest };
    ret = tarn_erofs_write(merged, &plan, out, &totals.inodes, build->err);
    return ret < 0 ? ret : write_sections(build, &totals, out);
}

int tarn_bootstrap_build(const struct tarn_bootstrap_source *source, struct tarn_buf *out,
                         struct tarn_err *err)
{
    const uint32_t count = source->count;
    assert(out->length == 0);
    if (count > TARN_BLOBS_MAX)
        return tarn_fail(err, -ENOTSUP, "the image has more than %d layers", TARN_BLOBS_MAX);
    struct build build = {
        .layers = source->layers, .count = count, .blob_count = count, .err = err
    };
    build.last = &build.first;
    const int ret = build_all(&build, source, out);
    free(build.slots);
    free(build.devices);
    tarn_buf_release(&build.pieces);
    tarn_tables_builder_release(&build.tables);
    tarn_map_free(build.known);
    tarn_arena_free(build.arena);
    return ret;
}
