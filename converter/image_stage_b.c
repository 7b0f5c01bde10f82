// SPDX-License-Identifier: Apache-2.0
#include "converter/image_convert_internal.h"

// Stage B's share of the progress: the layer's source bytes, spread over its data space.
struct write_progress {
    struct tarn_image_conversion *conversion;
    const struct tarn_convert_options *options;
    bool last; // layer
    uint64_t source_bytes;
    uint64_t data_length;
    uint64_t data_done;
    uint64_t told;
};

static void on_written(void *context, uint64_t bytes)
{
    struct write_progress *progress = context;
    progress->data_done += bytes;
    const double share = (double)progress->data_done / (double)progress->data_length;
    const uint64_t reached = (uint64_t)(share * (double)progress->source_bytes);
    tarn_image_tell(progress->options, TARN_CONVERT_DONE, reached - progress->told);
    progress->told = reached;
    if (progress->data_done == progress->data_length && progress->last)
        tarn_image_hurry_copy(progress->conversion);
}

// Runs stage B into an upload. The layer's tables are handed to the chain.
static int write_blob(struct tarn_image_conversion *conversion,
                      struct tarn_prepared_layer *prepared, const struct tarn_blob_output *output,
                      struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain *chain = &conversion->chain;
    tarn_cleanup(tarn_data_space_free_p) struct tarn_data_space *space =
        tarn_data_space_new(prepared->input.spool, chain->count, prepared->data_length, err);
    tarn_autofree struct tarn_blob_record *lower = tarn_chain_records(chain);
    if (!space || !lower)
        return tarn_fail(err, -ENOMEM, "out of memory");
    struct write_progress progress = {
        .conversion = conversion,
        .options = job->options,
        .last = chain->count + 1 == job->layer_count,
        .source_bytes = prepared->input.source_bytes,
        .data_length = prepared->data_length,
    };
    const struct tarn_blob_context context = {
        .pool = job->pool,
        .index = chain->chunks,
        .dict = job->dict,
        .level = chain->level,
        .cancel = job->options->cancel,
        .progress = on_written,
        .progress_context = &progress,
    };
    const struct tarn_blob_layer layer = {
        .chain_index = chain->count,
        .data_length = prepared->data_length,
        .space = space,
        .tree = prepared->input.tree,
        .lower = lower,
    };
    struct tarn_blob_result result;
    const int ret = tarn_blob_write(&context, &layer, output, &result, err);
    if (ret == 0) // all of it, also where the layer brings no data
        tarn_image_tell(job->options, TARN_CONVERT_DONE, progress.source_bytes - progress.told);
    chain->layers[chain->count].record = result.record;
    chain->layers[chain->count].tables = result.tables;
    chain->layers[chain->count].statistics = result.statistics;
    return ret;
}

static int convert_layer(struct tarn_image_conversion *conversion,
                         struct tarn_prepared_layer *prepared, struct tarn_err *err)
{
    struct tarn_chain_layer *layer = &conversion->chain.layers[conversion->chain.count];
    const struct tarn_blob_output output = { tarn_blob_uploader_write, conversion->uploader };
    int ret = tarn_blob_uploader_begin(conversion->uploader, conversion->chain.count, err);
    if (ret == 0)
        ret = write_blob(conversion, prepared, &output, err);
    if (ret < 0)
        return ret;
    layer->source_digest = prepared->source_digest;
    const struct tarn_manifest_blob blob = tarn_chain_blob(layer);
    tarn_blob_uploader_end(conversion->uploader, &blob, conversion->job->notes);
    conversion->summary->tar_bytes += prepared->input.tar_bytes;
    conversion->summary->source_bytes += prepared->input.source_bytes;
    conversion->summary->dropped_xattrs += prepared->input.dropped_xattrs;
    conversion->summary->dropped_sockets += prepared->input.dropped_sockets;
    return 0;
}

static int adopt_layer(struct tarn_image_conversion *conversion,
                       const struct tarn_prepared_layer *prepared, struct tarn_err *err)
{
    const struct tarn_manifest_blob *blob = &prepared->found.blob;
    const int ret = tarn_chain_adopt(&conversion->chain, &prepared->found.metadata, err);
    if (ret < 0)
        return ret;
    conversion->chain.layers[conversion->chain.count].record = (struct tarn_blob_record){
        .digest = blob->digest,
        .size = blob->size,
        .data_length = prepared->found.metadata.parameters.data_length,
        .metadata_offset = blob->metadata_offset,
        .metadata_length = blob->metadata_length,
        .metadata_digest = blob->metadata_digest,
    };
    conversion->summary->layers_reused++;
    // A layer without a known diff_id was read before it was found.
    const uint64_t size = conversion->job->layers[conversion->chain.count].source.blob.size;
    tarn_image_tell(conversion->job->options, TARN_CONVERT_DONE,
                    2 * size - tarn_min_u64(prepared->input.source_bytes, size));
    return 0;
}

static void count_layer(const struct tarn_chain_layer *layer, struct tarn_convert_summary *summary)
{
    summary->layers++;
    summary->blob_bytes += layer->record.size;
    summary->data_bytes += layer->record.data_length;
    summary->unique_bytes += layer->record.data_length - layer->statistics.reference_bytes;
    summary->chunks += layer->statistics.chunks;
    summary->runs += layer->statistics.runs;
    summary->references += layer->statistics.references;
}

struct release {
    struct tarn_job job; // first
    struct tarn_prepared_layer prepared;
};

static void run_release(struct tarn_job *job)
{
    struct release *release = (struct release *)job;
    tarn_prepared_layer_release(&release->prepared);
    free(release);
}

// Has a layer that is done freed beside what comes next: a large spool takes 50 ms.
static void release_later(const struct tarn_image_conversion *conversion,
                          struct tarn_prepared_layer *prepared)
{
    struct release *release = malloc(sizeof *release);
    if (!release || tarn_pool_threads(conversion->job->pool) == 0) {
        free(release);
        tarn_prepared_layer_release(prepared);
        return;
    }
    *release = (struct release){ .job = { .run = run_release }, .prepared = *prepared };
    tarn_pool_submit(conversion->job->pool, &release->job);
}

int tarn_image_stage_b(struct tarn_image_conversion *conversion, struct tarn_err *err)
{
    struct tarn_chain *chain = &conversion->chain;
    while (chain->count < conversion->job->layer_count) {
        struct tarn_prepared_layer prepared = { 0 };
        if (!tarn_layer_queue_take(conversion->queue, &prepared))
            return -ECANCELED;
        struct tarn_chain_layer *layer = &chain->layers[chain->count];
        const int ret = prepared.reused ? adopt_layer(conversion, &prepared, err)
                                        : convert_layer(conversion, &prepared, err);
        layer->source_digest = prepared.source_digest;
        release_later(conversion, &prepared);
        if (ret < 0 && tarn_blob_uploader_failed(conversion->uploader))
            return ret; // the error names its layer
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %u", chain->count);
        count_layer(layer, conversion->summary);
        chain->count++;
    }
    return 0;
}
