// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>

#include "base/cancel.h"
#include "converter/image_convert_internal.h"
#include "format/listing.h"
#include "format/merge.h"

enum {
    UNCOPIED_MAX = 512 << 20,
    // Bytes of the original that are copied while the bootstrap is made: as long as that takes, which
    // grows with the nodes of the tree.
    COPY_LAST = 4 << 20,
    COPY_LAST_NODE = 3 << 10,
};

static void on_read(void *context, uint64_t bytes)
{
    tarn_image_tell(context, TARN_CONVERT_DONE, bytes);
}

// A directory's tree digest stands for its diff_id.
static int directory_digest(const struct tarn_tree *tree, struct tarn_digest *digest,
                            struct tarn_err *err)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *merged = tarn_merge_new();
    if (!merged)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = tarn_merge_layer(merged, tree, err);
    if (ret == 0)
        ret = tarn_listing_digest(merged, digest);
    return ret;
}

static int check_diff_id(const struct tarn_image_layer *layer, const struct tarn_digest *found,
                         struct tarn_err *err)
{
    char want[TARN_DIGEST_TEXT];
    char got[TARN_DIGEST_TEXT];
    if (!layer->has_diff_id || tarn_digest_equal(&layer->diff_id, found))
        return 0;
    return tarn_fail(err, -EIO,
                     "its uncompressed digest is %s, but the image's config says %s; "
                     "the image is damaged, build or copy it again",
                     tarn_digest_format(found, got), tarn_digest_format(&layer->diff_id, want));
}

// Reads a layer's bytes, places its contents and finds its key.
static int read_layer(struct tarn_image_conversion *conversion, uint32_t i,
                      struct tarn_prepared_layer *prepared, struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain *chain = &conversion->chain;
    const struct tarn_layer_read_options options = {
        .lower = chain->merged,
        .cancel = job->options->cancel,
        .progress = on_read,
        .progress_context = (void *)(uintptr_t)job->options,
    };
    int ret = tarn_layer_read(&job->layers[i].source, &options, &prepared->input, err);
    if (ret < 0)
        return ret;
    ret = check_diff_id(&job->layers[i], &prepared->input.diff_id, err);
    if (ret < 0)
        return ret;
    prepared->diff_id = prepared->input.diff_id;
    prepared->source_digest = prepared->input.source_digest;
    ret =
        tarn_data_space_place(chain->merged, prepared->input.tree, i, &prepared->data_length, err);
    if (ret == 0 && job->layers[i].source.kind == TARN_LAYER_SOURCE_DIRECTORY)
        ret = directory_digest(prepared->input.tree, &prepared->diff_id, err);
    return ret;
}

// Looks for the layer among those that were converted before. 1, 0 or -errno.
static int find_reusable(struct tarn_image_conversion *conversion, uint32_t i,
                         const struct tarn_digest *diff_id, struct tarn_prepared_layer *prepared,
                         struct tarn_err *err)
{
    struct tarn_chain *chain = &conversion->chain;
    tarn_chain_key(chain, i, diff_id, &chain->layers[i].key);
    if (!conversion->job->reuse)
        return 0;
    const int ret =
        tarn_reuse_find(conversion->job->reuse, &chain->layers[i].key, &prepared->found, err);
    if (ret <= 0)
        return ret;
    prepared->reused = true;
    return 1;
}

static int prepare(struct tarn_image_conversion *conversion, uint32_t i,
                   struct tarn_prepared_layer *prepared, struct tarn_err *err)
{
    const struct tarn_image_layer *layer = &conversion->job->layers[i];
    struct tarn_chain *chain = &conversion->chain;
    int ret = 0;
    if (layer->has_diff_id) {
        ret = find_reusable(conversion, i, &layer->diff_id, prepared, err);
        if (ret < 0)
            return ret;
    }
    struct tarn_tree *tree;
    if (ret == 1) {
        tree = prepared->found.metadata.tree;
        prepared->source_digest = layer->source.blob.digest;
        ret = 0;
    } else {
        ret = read_layer(conversion, i, prepared, err);
        if (ret == 0 && !layer->has_diff_id)
            ret = find_reusable(conversion, i, &prepared->diff_id, prepared, err);
        tree = prepared->input.tree;
    }
    if (ret < 0)
        return ret;
    // The memory that a conversion takes is that of these trees: what is not needed any more goes.
    tarn_tree_drop_index(tree);
    ret = tarn_merge_layer(chain->merged, tree, err);
    if (i + 1 == conversion->job->layer_count) {
        tarn_tree_drop_index(chain->merged);
        malloc_trim(0);
    }
    return ret;
}

// Copies the original of the first `end` layers, and drops their downloads. Of those that were not read the
// destination has the original as a rule, which is looked after once, when it is published; as is what
// fails here.
static void copy_layers(struct tarn_image_conversion *conversion, uint32_t end)
{
    const struct tarn_image_job *job = conversion->job;
    while (job->copy && conversion->copied < end) {
        const uint32_t i = conversion->copied++;
        const struct tarn_layer_source *source = &job->layers[i].source;
        if (source->kind != TARN_LAYER_SOURCE_BLOB || !conversion->read[i])
            continue;
        if (tarn_cancel_is_set(job->options->cancel) ||
            tarn_layer_queue_stopped(conversion->queue) ||
            tarn_copy_blob(job->copy, &source->blob, NULL) < 0)
            conversion->copied = job->layer_count;
        else if (source->fetch)
            tarn_layer_fetch_drop(source->fetch, source->fetch_index);
    }
    conversion->uncopied_bytes = 0;
}

// Layer i was read. Its original waits for the others', because while stage B has nothing to do yet the next
// layer is more urgent, but not at the price of a full disk: its download stays until it is copied.
static void note_read(struct tarn_image_conversion *conversion, uint32_t i)
{
    const struct tarn_layer_source *source = &conversion->job->layers[i].source;
    conversion->read[i] = true;
    if (source->fetch)
        conversion->uncopied_bytes += source->blob.size;
    if (conversion->uncopied_bytes > UNCOPIED_MAX)
        copy_layers(conversion, i + 1);
}

// Has the original copied by a thread of its own. False: it is not between two disks.
static bool start_copier(struct tarn_image_conversion *conversion)
{
    const struct tarn_image_job *job = conversion->job;
    if (!job->copy || job->layers[0].source.fetch || !tarn_repository_lists_tags(job->copy->to))
        return false;
    tarn_autofree struct tarn_blob_id *blobs = calloc(job->layer_count, sizeof *blobs);
    if (!blobs)
        return false;
    struct tarn_image_copy image = {
        .copy = job->copy,
        .blobs = blobs,
        .last = COPY_LAST + COPY_LAST_NODE * tarn_tree_count(conversion->chain.merged),
    };
    for (uint32_t i = 0; i < job->layer_count; i++)
        if (job->layers[i].source.kind == TARN_LAYER_SOURCE_BLOB && conversion->read[i])
            blobs[image.count++] = job->layers[i].source.blob;
    atomic_store(&conversion->copier, tarn_image_copier_start(&image));
    return true;
}

// What is left to do beside stage B once all layers are read.
static int after_last(struct tarn_image_conversion *conversion, struct tarn_err *err)
{
    const int ret = tarn_listing_digest(conversion->chain.merged, &conversion->tree_digest);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    if (!start_copier(conversion))
        copy_layers(conversion, conversion->job->layer_count);
    return 0;
}

static int stage_a_layer(struct tarn_image_conversion *conversion, uint32_t i, struct tarn_err *err)
{
    struct tarn_prepared_layer prepared = { 0 };
    int ret = prepare(conversion, i, &prepared, err);
    if (ret < 0)
        tarn_err_prepend(err, "layer %u", i);
    const bool reused = prepared.reused;
    if (ret == 0 && !tarn_layer_queue_put(conversion->queue, &prepared))
        ret = -ECANCELED;
    if (ret < 0)
        tarn_prepared_layer_release(&prepared);
    else if (!reused)
        note_read(conversion, i);
    return ret;
}

int tarn_image_stage_a(struct tarn_image_conversion *conversion, struct tarn_err *err)
{
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < conversion->job->layer_count; i++)
        ret = stage_a_layer(conversion, i, err);
    return ret == 0 ? after_last(conversion, err) : ret;
}
