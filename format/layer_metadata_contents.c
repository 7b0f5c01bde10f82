// SPDX-License-Identifier: Apache-2.0
// Contents, their extents, and xattr sets, into the tree.
#include "base/bytes.h"
#include "format/layer_metadata_internal.h"

// --- contents --------------------------------------------------------------------------------

enum { EXTENTS_MAX = 65536 / 2 }; // of a file: every second unit a hole

struct contents {
    struct tarn_layer_metadata_reader *reader;
    struct tarn_bytes units;
    uint32_t next_extent;       // of section 0x0109
    struct tarn_digest nothing; // the digest of no bytes
};

static int fail_content(const struct contents *contents, uint32_t index, const char *rule)
{
    return tarn_layer_metadata_fail(contents->reader, "contents", index, rule);
}

// Takes the content's extents from the units section, into fresh memory.
static int take_extents(struct contents *contents, uint32_t index, struct tarn_content *content,
                        struct tarn_extent **extents)
{
    const uint64_t unit = tarn_content_unit(content->size);
    const uint64_t units = (content->size + unit - 1) / unit;
    const uint32_t count = content->extent_count;
    if (count > contents->units.length / EXTENT_SIZE - contents->next_extent)
        return fail_content(contents, index, "its extents are not in section 0x0109");
    *extents = malloc((size_t)count * sizeof **extents + 1); // not 0 bytes
    if (!*extents)
        return tarn_fail(contents->reader->err, -ENOMEM, "out of memory");
    const uint8_t *record = contents->units.data + (size_t)contents->next_extent * EXTENT_SIZE;
    uint64_t end = 0;
    uint64_t data = 0;
    for (uint32_t i = 0; i < count; i++, record += EXTENT_SIZE) {
        const struct tarn_extent extent = { tarn_get_le32(record), tarn_get_le32(record + 4) };
        if (extent.count == 0 || extent.first < end || (i > 0 && extent.first == end))
            return fail_content(contents, index, "extents are not maximal and ascending");
        end = (uint64_t)extent.first + extent.count;
        data += extent.count;
        if (end > units)
            return fail_content(contents, index, "extents reach beyond the file");
        (*extents)[i] = extent;
    }
    if (data == units)
        return fail_content(contents, index, "kind 2 without a hole");
    content->extents = *extents;
    contents->next_extent += count;
    return 0;
}

// Where the content's data is: nowhere, or inside the data space of this blob or a lower one.
static int check_place(struct contents *contents, uint32_t index,
                       const struct tarn_content *content)
{
    const struct tarn_layer_metadata *metadata = contents->reader->metadata;
    const uint64_t stored = tarn_content_stored(content);
    if (stored == 0) {
        if (content->holder != 0 || content->address != 0)
            return fail_content(contents, index, "has no data and a place");
        return tarn_digest_equal(&content->digest, &contents->nothing)
                   ? 0
                   : fail_content(contents, index, "has no data and not the digest of nothing");
    }
    if (content->holder > metadata->parameters.chain_index)
        return fail_content(contents, index, "holder is above this layer");
    if (content->address % TARN_BLOCK != 0)
        return fail_content(contents, index, "address is no multiple of 4096");
    const struct tarn_blob_record blob = tarn_tables_blob(&metadata->tables, content->holder);
    if (!tarn_range_ok(content->address, stored, blob.data_length))
        return fail_content(contents, index, "lies beyond the data space");
    return 0;
}

// The record's fields, bounded each for itself.
static int unpack_content(const struct contents *contents, uint32_t index, const uint8_t *record,
                          struct tarn_content *content)
{
    const uint32_t kind = tarn_get_le32(record + CONTENT_KIND);
    const uint32_t first_extent = tarn_get_le32(record + CONTENT_FIRST_EXTENT);
    *content = (struct tarn_content){
        .size = tarn_get_le64(record + CONTENT_FILE_SIZE),
        .extent_count = tarn_get_le32(record + CONTENT_EXTENTS),
        .holder = tarn_get_le32(record + CONTENT_HOLDER),
        .address = tarn_get_le64(record + CONTENT_ADDRESS),
    };
    memcpy(content->digest.bytes, record + CONTENT_DIGEST, TARN_DIGEST_SIZE);
    if (content->size > TARN_FILE_LIMIT)
        return fail_content(contents, index, "file is larger than 2^43 bytes");
    if (kind != TARN_CONTENT_PLAIN && kind != TARN_CONTENT_UNITS)
        return fail_content(contents, index, "kind is neither 1 nor 2");
    content->kind = (enum tarn_content_kind)kind;
    if (kind == TARN_CONTENT_PLAIN && (content->extent_count | first_extent) != 0)
        return fail_content(contents, index, "kind 1 with extents");
    if (kind == TARN_CONTENT_UNITS && content->size == 0)
        return fail_content(contents, index, "kind 2 without a hole");
    if (kind == TARN_CONTENT_UNITS && first_extent != contents->next_extent)
        return fail_content(contents, index, "extents do not follow the ones before");
    return 0;
}

static int read_content(struct contents *contents, uint32_t index, const uint8_t *record)
{
    struct tarn_layer_metadata_reader *reader = contents->reader;
    tarn_autofree struct tarn_extent *extents = NULL;
    struct tarn_content content;
    int ret = unpack_content(contents, index, record, &content);
    if (ret == 0 && content.kind == TARN_CONTENT_UNITS)
        ret = take_extents(contents, index, &content, &extents);
    if (ret == 0)
        ret = check_place(contents, index, &content);
    if (ret < 0)
        return ret;
    const uint32_t holder = content.holder;
    content.holder = TARN_NONE; // as in a content that the tree did not have
    struct tarn_content *kept = tarn_tree_content(reader->metadata->tree, &content);
    if (!kept)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    if (kept->holder != TARN_NONE)
        return fail_content(contents, index, "stands twice");
    kept->holder = holder;
    kept->address = content.address;
    reader->contents[index] = kept;
    return 0;
}

struct place {
    uint64_t address;
    uint32_t index;
};

static int by_address(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

// The own contents, whose addresses are bounded, tile the own data space.
static int check_tiling(const struct contents *contents, struct place *places)
{
    const struct tarn_layer_metadata_reader *reader = contents->reader;
    const struct tarn_layer_parameters *parameters = &reader->metadata->parameters;
    size_t count = 0;
    for (uint32_t i = 0; i < reader->content_count; i++) {
        const struct tarn_content *content = reader->contents[i];
        if (content->holder == parameters->chain_index && tarn_content_stored(content) > 0)
            places[count++] = (struct place){ content->address, i };
    }
    if (count > 0)
        qsort(places, count, sizeof *places, by_address);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (places[i].address < end)
            return fail_content(contents, places[i].index, "overlaps another content");
        if (places[i].address > end)
            return fail_content(contents, places[i].index, "lies behind bytes of no content");
        const struct tarn_content *content = reader->contents[places[i].index];
        end += tarn_round_up(tarn_content_stored(content), TARN_BLOCK);
    }
    if (end != parameters->data_length)
        return tarn_fail(reader->err, -EUCLEAN,
                         "layer metadata: contents end at %llu, the data space at %llu",
                         (unsigned long long)end, (unsigned long long)parameters->data_length);
    return 0;
}

int tarn_layer_metadata_read_contents(struct tarn_layer_metadata_reader *reader)
{
    tarn_autobuf struct tarn_buf records_buf = { 0 };
    tarn_autobuf struct tarn_buf units_buf = { 0 };
    struct tarn_bytes records;
    int ret =
        tarn_layer_metadata_open(reader,
                                 &(struct tarn_layer_metadata_shape){
                                     TARN_SECTION_CONTENTS, CONTENT_SIZE, reader->content_count },
                                 &records_buf, &records);
    if (ret < 0)
        return ret;
    struct contents contents = { .reader = reader };
    tarn_sha256(NULL, 0, &contents.nothing);
    uint64_t extents = 0;
    for (uint32_t i = 0; i < reader->content_count; i++) {
        const uint32_t count =
            tarn_get_le32(records.data + (size_t)i * CONTENT_SIZE + CONTENT_EXTENTS);
        if (count > EXTENTS_MAX)
            return fail_content(&contents, i, "has more extents than a file can have");
        extents += count;
    }
    ret = tarn_layer_metadata_open(
        reader, &(struct tarn_layer_metadata_shape){ TARN_SECTION_UNITS, EXTENT_SIZE, extents },
        &units_buf, &contents.units);
    if (ret < 0)
        return ret;
    reader->contents = calloc((size_t)reader->content_count + 1, sizeof *reader->contents);
    if (!reader->contents)
        return tarn_fail(reader->err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < reader->content_count && ret == 0; i++)
        ret = read_content(&contents, i, records.data + (size_t)i * CONTENT_SIZE);
    if (ret < 0)
        return ret;
    tarn_autofree struct place *places =
        malloc((size_t)reader->content_count * sizeof *places + 1); // not 0 bytes
    return places ? check_tiling(&contents, places)
                  : tarn_fail(reader->err, -ENOMEM, "out of memory");
}

// --- xattr sets ------------------------------------------------------------------------------

static int fail_set(const struct tarn_layer_metadata_reader *reader, uint32_t index,
                    const char *rule)
{
    return tarn_layer_metadata_fail(reader, "xattr sets", index, rule);
}

// One xattr at *position: its parts in the section, name not terminated.
struct raw_xattr {
    const uint8_t *name;
    uint32_t name_length;
    const uint8_t *value;
    uint32_t length;
};

// Returns false where it does not lie in the section.
static bool next_xattr(const struct tarn_bytes *section, size_t *position, struct raw_xattr *xattr)
{
    const uint8_t *bytes = section->data + *position;
    const size_t left = section->length - *position;
    if (left < 8)
        return false;
    xattr->name_length = tarn_get_le32(bytes);
    xattr->length = tarn_get_le32(bytes + 4);
    xattr->name = bytes + 8;
    const uint64_t length = (uint64_t)xattr->name_length + xattr->length;
    if (length > left - 8)
        return false;
    xattr->value = xattr->name + xattr->name_length;
    *position += 8 + length;
    return true;
}

static bool ascends(const struct raw_xattr *a, const struct raw_xattr *b)
{
    const int order = memcmp(a->name, b->name, tarn_min_u64(a->name_length, b->name_length));
    return order != 0 ? order < 0 : a->name_length < b->name_length;
}

struct sets {
    struct tarn_layer_metadata_reader *reader;
    struct tarn_bytes section;
    size_t position;
    struct tarn_buf names; // of one set, each with its NUL
    struct tarn_buf items; // struct tarn_xattr; their names are set when all of them are there
};

// Takes the set's xattrs into names and items.
static int read_items(struct sets *sets, uint32_t index)
{
    const struct tarn_layer_metadata_reader *reader = sets->reader;
    if (sets->section.length - sets->position < 4)
        return fail_set(reader, index, "reaches beyond the section");
    const uint32_t count = tarn_get_le32(sets->section.data + sets->position);
    sets->position += 4;
    if (count == 0 || count > (sets->section.length - sets->position) / 8)
        return fail_set(reader, index, "count is out of range");
    struct raw_xattr last = { 0 };
    sets->names.length = sets->items.length = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct raw_xattr xattr;
        if (!next_xattr(&sets->section, &sets->position, &xattr))
            return fail_set(reader, index, "reaches beyond the section");
        if (xattr.name_length > 0 && memchr(xattr.name, '\0', xattr.name_length))
            return fail_set(reader, index, "name with a NUL");
        if (i > 0 && !ascends(&last, &xattr))
            return fail_set(reader, index, "names do not ascend");
        last = xattr;
        const struct tarn_xattr item = { NULL, xattr.value, xattr.length };
        if (tarn_buf_append(&sets->items, &item, sizeof item) < 0 ||
            tarn_buf_append(&sets->names, xattr.name, xattr.name_length) < 0 ||
            tarn_buf_append_zeros(&sets->names, 1) < 0)
            return tarn_fail(reader->err, -ENOMEM, "out of memory");
    }
    return 0;
}

static int keep_set(const struct sets *sets, uint32_t index)
{
    const struct tarn_layer_metadata_reader *reader = sets->reader;
    struct tarn_xattr *list = (struct tarn_xattr *)(void *)sets->items.data;
    const uint32_t count = (uint32_t)(sets->items.length / sizeof *list);
    const char *name = (const char *)sets->names.data;
    for (uint32_t i = 0; i < count; i++, name += strlen(name) + 1)
        list[i].name = name;
    const struct tarn_xattr_set *set;
    int ret = tarn_tree_xattrs(reader->metadata->tree, list, count, &set, reader->err);
    if (ret == -EINVAL)
        ret = -EUCLEAN;
    if (ret < 0)
        return tarn_wrap(reader->err, ret, "layer metadata: xattr sets record %u", index);
    uint32_t *number = tarn_layer_metadata_set_index(set); // 0 in a new one
    if (*number != 0)
        return fail_set(reader, index, "stands twice");
    *number = index + 1;
    reader->sets[index] = set;
    return 0;
}

static int read_sets(struct sets *sets)
{
    struct tarn_layer_metadata_reader *reader = sets->reader;
    size_t room = 0;
    while (sets->position < sets->section.length) {
        const uint32_t index = reader->set_count;
        if (index == room) {
            room = room ? room * 2 : 64;
            const struct tarn_xattr_set **grown =
                reallocarray(reader->sets, room, sizeof(const struct tarn_xattr_set *));
            if (!grown)
                return tarn_fail(reader->err, -ENOMEM, "out of memory");
            reader->sets = grown;
        }
        int ret = read_items(sets, index);
        if (ret == 0)
            ret = keep_set(sets, index);
        if (ret < 0)
            return ret;
        reader->set_count++;
    }
    return 0;
}

int tarn_layer_metadata_read_xattrs(struct tarn_layer_metadata_reader *reader)
{
    tarn_autobuf struct tarn_buf decoded = { 0 };
    struct sets sets = { .reader = reader };
    // One inode cannot have more: 4 x 65,535 bytes inline and 255 shared ones of 65,535.
    const struct tarn_layer_metadata_shape shape = {
        TARN_SECTION_XATTR_SETS, 0, tarn_min_u64(UINT32_MAX, (uint64_t)reader->inode_count << 25)
    };
    int ret = tarn_layer_metadata_open(reader, &shape, &decoded, &sets.section);
    if (ret == 0)
        ret = read_sets(&sets);
    tarn_buf_release(&sets.names);
    tarn_buf_release(&sets.items);
    return ret;
}
