// SPDX-License-Identifier: Apache-2.0
// The checks that need no data: documents, bootstrap, layer metadata and how they fit together. The
// lower layers' contents are remembered by identity, so that a content that points to a lower layer is
// known to be there without reading it.
#include "converter/check.h"

#include <inttypes.h>
#include <xxhash.h>

#include "base/map.h"
#include "converter/check_internal.h"
#include "converter/decompress.h"
#include "converter/tar_name.h"
#include "format/listing.h"
#include "format/merge.h"
#include "format/verify.h"

static int out_of_memory(const struct tarn_check *check)
{
    return tarn_fail(check->err, -ENOMEM, "out of memory");
}

struct tarn_check_name tarn_check_blob_name(const struct tarn_check *check, uint32_t blob)
{
    const struct tarn_blob_record record = tarn_tables_blob(&check->image->bootstrap->tables, blob);
    char digest[TARN_DIGEST_TEXT];
    struct tarn_check_name name;
    snprintf(name.text, sizeof name.text, "blob %s", tarn_digest_format(&record.digest, digest));
    return name;
}

int tarn_check_read_metadata(const struct tarn_check *check, uint32_t blob,
                             struct tarn_layer_metadata *metadata)
{
    const struct tarn_check_image *image = check->image;
    tarn_autobuf struct tarn_buf bytes = { 0 };
    const int ret = tarn_image_read_metadata(image->blocking, image->repository,
                                             &image->manifest->blobs[blob], &bytes, check->err);
    if (ret < 0)
        return ret;
    return tarn_layer_metadata_read(bytes.data, bytes.length, metadata, check->err);
}

void tarn_check_begin_contents(struct tarn_tree *tree)
{
    for (struct tarn_node *node = tarn_tree_root(tree); node; node = tarn_tree_next(node))
        if (node->inode && S_ISREG(node->inode->mode))
            node->inode->content->index = 0;
}

const struct tarn_content *tarn_check_new_content(const struct tarn_node *node)
{
    if (!node->inode || !S_ISREG(node->inode->mode))
        return NULL;
    struct tarn_content *content = node->inode->content;
    return content->index++ == 0 ? content : NULL;
}

// --- documents -----------------------------------------------------------------------------------
static int check_record(const struct tarn_check *check, uint32_t i)
{
    const struct tarn_blob_record record = tarn_tables_blob(&check->image->bootstrap->tables, i);
    const struct tarn_manifest_blob *blob = &check->image->manifest->blobs[i];
    const char *what = NULL;
    if (!tarn_digest_equal(&record.digest, &blob->digest))
        what = "digest";
    else if (record.size != blob->size)
        what = "size";
    else if (record.metadata_offset != blob->metadata_offset ||
             record.metadata_length != blob->metadata_length)
        what = "place of the layer metadata";
    else if (!tarn_digest_equal(&record.metadata_digest, &blob->metadata_digest))
        what = "digest of the layer metadata";
    if (what)
        return tarn_fail(check->err, -EUCLEAN,
                         "manifest layer %" PRIu32 ": the %s is not the bootstrap's", i, what);
    if (blob->foreign && (blob->has_key || blob->has_source_digest))
        return tarn_fail(check->err, -EUCLEAN,
                         "manifest layer %" PRIu32 ": a dict blob with a key or a source", i);
    if (!blob->foreign && (!blob->has_key || tarn_digest_is_zero(&blob->key)))
        return tarn_fail(check->err, -EUCLEAN, "manifest layer %" PRIu32 ": its key is missing", i);
    return 0;
}

static int check_manifest(const struct tarn_check *check)
{
    const struct tarn_manifest *manifest = check->image->manifest;
    const struct tarn_bootstrap *bootstrap = check->image->bootstrap;
    if (manifest->blob_count != bootstrap->tables.blob_count ||
        manifest->chain_count != bootstrap->chain_count)
        return tarn_fail(check->err, -EUCLEAN,
                         "manifest: %" PRIu32 " blobs, %" PRIu32 " of them layers; the bootstrap "
                         "has %" PRIu32 " and %" PRIu32,
                         manifest->blob_count, manifest->chain_count, bootstrap->tables.blob_count,
                         bootstrap->chain_count);
    if (!tarn_digest_equal(&manifest->tree_digest, &bootstrap->tree_digest))
        return tarn_fail(check->err, -EUCLEAN, "manifest: the tree digest is not the bootstrap's");
    int ret = 0;
    for (uint32_t i = 0; i < manifest->blob_count && ret == 0; i++)
        ret = check_record(check, i);
    return ret;
}

static int hash_plain(void *context, const void *bytes, size_t length)
{
    tarn_hasher_update(context, bytes, length);
    return 0;
}

// The diff_id of the layer that holds the bootstrap.
static int find_bootstrap_diff_id(const struct tarn_check *check, struct tarn_digest *diff_id)
{
    const struct tarn_check_image *image = check->image;
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = image->manifest->bootstrap.digest,
        .size = image->manifest->bootstrap.size,
        .length = UINT64_MAX,
    };
    tarn_autobuf struct tarn_buf layer = { 0 };
    int ret = tarn_blocking_read_buf(image->blocking, image->repository, &read, &layer, check->err);
    if (ret < 0)
        return ret;
    tarn_cleanup(tarn_hasher_free_p) struct tarn_hasher *hasher = tarn_hasher_new();
    tarn_cleanup(tarn_decompress_free_p) struct tarn_decompress *decompress =
        hasher ? tarn_decompress_new(hash_plain, hasher) : NULL;
    if (!decompress)
        return out_of_memory(check);
    ret = tarn_decompress_push(decompress, layer.data, layer.length, check->err);
    if (ret == 0)
        ret = tarn_decompress_finish(decompress, check->err);
    tarn_hasher_finish(hasher, diff_id);
    return ret;
}

static int check_diff_id(const struct tarn_check *check, const json_t *diff_ids, size_t i,
                         const struct tarn_digest *want)
{
    char text[TARN_DIGEST_TEXT];
    const char *found = json_string_value(json_array_get(diff_ids, i));
    if (found && strcmp(found, tarn_digest_format(want, text)) == 0)
        return 0;
    return tarn_fail(check->err, -EUCLEAN, "config: diff_id %zu is not %s", i,
                     tarn_digest_format(want, text));
}

static int check_config(const struct tarn_check *check)
{
    const struct tarn_check_image *image = check->image;
    const struct tarn_manifest *manifest = image->manifest;
    tarn_autojson json_t *config = tarn_image_read_json(image->blocking, image->repository,
                                                        &manifest->config, "config", check->err);
    if (!config)
        return -EUCLEAN;
    const json_t *diff_ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    const size_t count = (size_t)manifest->blob_count + 1;
    if (json_array_size(diff_ids) != count)
        return tarn_fail(check->err, -EUCLEAN, "config: %zu diff_ids, the manifest has %zu layers",
                         json_array_size(diff_ids), count);
    int ret = 0;
    for (uint32_t i = 0; i < manifest->blob_count && ret == 0; i++)
        ret = check_diff_id(check, diff_ids, i, &manifest->blobs[i].digest);
    struct tarn_digest diff_id;
    if (ret == 0)
        ret = find_bootstrap_diff_id(check, &diff_id);
    return ret < 0 ? ret : check_diff_id(check, diff_ids, manifest->blob_count, &diff_id);
}

// --- contents ------------------------------------------------------------------------------------
// A content that a layer brings.
struct known {
    struct tarn_content content; // without extents
    uint64_t extents;            // their hash
};

struct layers {
    const struct tarn_check *check;
    struct tarn_layer_metadata *metadata; // of all blobs; without trees
    struct tarn_bootstrap_layer *layers;  // of the chain
    struct tarn_tree *merged;
    struct tarn_arena *arena;
    struct tarn_map *known; // of struct known, by identity
};

static bool known_is(const void *key, const void *value)
{
    return tarn_content_same(key, &((const struct known *)value)->content);
}

static uint64_t hash_extents(const struct tarn_content *content)
{
    return XXH3_64bits(content->extents, content->extent_count * sizeof *content->extents);
}

static int remember(struct layers *layers, const struct tarn_content *content)
{
    struct known *known = tarn_arena_alloc(layers->arena, sizeof *known);
    if (!known)
        return out_of_memory(layers->check);
    known->content = *content;
    known->content.extents = NULL;
    known->extents = hash_extents(content);
    const int ret = tarn_map_add(layers->known, tarn_content_hash(content, layers->known), known);
    return ret < 0 ? out_of_memory(layers->check) : 0;
}

static int check_place(struct layers *layers, uint32_t layer, const struct tarn_content *content)
{
    const struct tarn_check *check = layers->check;
    const struct known *known =
        tarn_map_get(layers->known, tarn_content_hash(content, layers->known), content, known_is);
    if (content->holder == layer)
        return known ? tarn_fail(check->err, -EUCLEAN,
                                 "its content lies in layer %" PRIu32 " already",
                                 known->content.holder)
                     : remember(layers, content);
    if (!known || known->content.holder != content->holder ||
        known->content.address != content->address)
        return tarn_fail(check->err, -EUCLEAN,
                         "its content does not lie in layer %" PRIu32 " at data-space address "
                         "%" PRIu64,
                         content->holder, content->address);
    return known->extents == hash_extents(content)
               ? 0
               : tarn_fail(check->err, -EUCLEAN, "its holes are not those of its content");
}

static int check_places(struct layers *layers, uint32_t layer, struct tarn_tree *tree)
{
    tarn_check_begin_contents(tree);
    for (struct tarn_node *node = tarn_tree_root(tree); node; node = tarn_tree_next(node)) {
        const struct tarn_content *content = tarn_check_new_content(node);
        if (!content || tarn_content_stored(content) == 0)
            continue;
        const int ret = check_place(layers, layer, content);
        if (ret == 0)
            continue;
        tarn_autobuf struct tarn_buf path = { 0 };
        char quoted[TARN_TAR_QUOTED];
        if (tarn_node_path(node, &path) < 0)
            return out_of_memory(layers->check);
        return tarn_wrap(layers->check->err, ret, "entry %s",
                         tarn_tar_quote(path.data, path.length, quoted));
    }
    return 0;
}

// --- layers --------------------------------------------------------------------------------------
static int check_layer(struct layers *layers, uint32_t i)
{
    const struct tarn_check *check = layers->check;
    const struct tarn_manifest_blob *blob = &check->image->manifest->blobs[i];
    struct tarn_layer_metadata *metadata = &layers->metadata[i];
    int ret = tarn_check_blob(check, i, metadata);
    if (ret < 0)
        return ret;
    ret = check_places(layers, i, metadata->tree);
    if (ret == 0)
        ret = tarn_merge_layer(layers->merged, metadata->tree, check->err);
    tarn_tree_free(tarn_steal(metadata->tree));
    layers->layers[i] = (struct tarn_bootstrap_layer){
        .digest = blob->digest,
        .size = blob->size,
        .metadata_offset = blob->metadata_offset,
        .metadata_length = blob->metadata_length,
        .metadata_digest = blob->metadata_digest,
        .metadata = metadata,
    };
    return ret < 0 ? tarn_wrap(check->err, ret, "layer %" PRIu32, i) : 0;
}

// The bootstrap again, from the layer metadata alone.
static int check_rebuilt(struct layers *layers)
{
    const struct tarn_check *check = layers->check;
    const struct tarn_buf *want = check->image->bootstrap_bytes;
    tarn_autobuf struct tarn_buf built = { 0 };
    struct tarn_bootstrap_source source = {
        layers->layers, check->image->manifest->chain_count, layers->merged, { { 0 } }
    };
    if (tarn_listing_digest(layers->merged, &source.tree_digest) < 0)
        return out_of_memory(check);
    const int ret = tarn_bootstrap_build(&source, &built, check->err);
    if (ret < 0)
        return tarn_wrap(check->err, ret, "making the bootstrap again");
    size_t same = 0;
    while (same < built.length && same < want->length && built.data[same] == want->data[same])
        same++;
    if (same < built.length || same < want->length)
        return tarn_fail(check->err, -EUCLEAN,
                         "bootstrap offset %zu: it is not what the layer metadata of the blobs "
                         "gives",
                         same);
    return tarn_digest_equal(&source.tree_digest, &check->image->manifest->tree_digest)
               ? 0
               : tarn_fail(check->err, -EUCLEAN, "manifest: the tree digest is not the tree's");
}

static int check_all_layers(struct layers *layers)
{
    const struct tarn_manifest *manifest = layers->check->image->manifest;
    int ret = 0;
    for (uint32_t i = 0; i < manifest->chain_count && ret == 0; i++)
        ret = check_layer(layers, i);
    for (uint32_t i = manifest->chain_count; i < manifest->blob_count && ret == 0; i++) {
        ret = tarn_check_blob(layers->check, i, &layers->metadata[i]);
        tarn_layer_metadata_release(&layers->metadata[i]);
    }
    return ret < 0 ? ret : check_rebuilt(layers);
}

static int check_layers(const struct tarn_check *check)
{
    const uint32_t count = check->image->manifest->blob_count;
    struct layers layers = {
        .check = check,
        .metadata = calloc(count, sizeof *layers.metadata),
        .layers = calloc(count, sizeof *layers.layers),
        .merged = tarn_merge_new(),
        .arena = tarn_arena_new(),
        .known = tarn_map_new(),
    };
    const bool ready =
        layers.metadata && layers.layers && layers.merged && layers.arena && layers.known;
    const int ret = ready ? check_all_layers(&layers) : out_of_memory(check);
    for (uint32_t i = 0; layers.metadata && i < count; i++)
        tarn_layer_metadata_release(&layers.metadata[i]);
    free(layers.metadata);
    free(layers.layers);
    tarn_tree_free(layers.merged);
    tarn_arena_free(layers.arena);
    tarn_map_free(layers.known);
    return ret;
}

// --- all of it -----------------------------------------------------------------------------------
static void count(const struct tarn_check *check)
{
    const struct tarn_check_image *image = check->image;
    const struct tarn_tables *tables = &image->bootstrap->tables;
    struct tarn_check_totals *totals = check->totals;
    totals->layers = image->manifest->chain_count;
    totals->blobs = image->manifest->blob_count;
    totals->names = image->bootstrap->name_count;
    totals->inodes = image->bootstrap->inode_count;
    for (uint32_t row = 0; row < tables->row_count; row++) {
        const struct tarn_location location = tarn_tables_location(tables, row);
        totals->chunks += location.kind != TARN_LOCATION_GAP;
        totals->references += location.kind == TARN_LOCATION_REFERENCE;
    }
}

int tarn_check(const struct tarn_check_image *image, bool quick, struct tarn_check_totals *totals,
               struct tarn_err *err)
{
    *totals = (struct tarn_check_totals){ 0 };
    const struct tarn_check check = { image, totals, err };
    int ret = check_manifest(&check);
    if (ret == 0)
        ret = check_config(&check);
    if (ret == 0)
        ret = tarn_verify_tree(image->bootstrap, err);
    if (ret == 0)
        ret = check_layers(&check);
    if (ret == 0 && !quick)
        ret = tarn_check_data(&check);
    if (ret == 0 && !quick)
        ret = tarn_check_whole_blobs(&check);
    count(&check);
    return ret;
}
