// SPDX-License-Identifier: Apache-2.0
// One thread runs stage A for layer after layer and hands each over in a short queue; the calling thread
// takes them and runs stage B. At most two layers are spooled at a time, and small ones besides: images
// end in many small layers, and what needs all layers read but no blob written, the tree digest and the
// copy of the original, is then done by stage A's thread while stage B has work for both.
#include "converter/image_convert.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include "converter/blob_upload.h"
#include "format/bootstrap_layer.h"
#include "format/listing.h"
#include "format/merge.h"

// Layers between the stages: any one, and more while they are few and small.
enum { WAITING_MAX = 16, WAITING_BYTES = 64 << 20, WAITING_NODES = 1 << 16 };

// A layer between the stages.
struct prepared {
    bool reused;
    struct tarn_layer_input input;  // not reused
    uint64_t data_length;           // not reused
    struct tarn_reused_layer found; // reused
    struct tarn_digest diff_id;
    struct tarn_digest source_digest;
};

struct conversion {
    const struct tarn_image_job *job;
    struct tarn_chain chain;
    struct tarn_convert_summary *summary; // stage B's

    pthread_mutex_t lock; // guards what follows up to status
    pthread_cond_t changed;
    struct prepared waiting[WAITING_MAX]; // a ring
    uint32_t first;
    uint32_t count;
    bool stop;                      // stage B failed
    int status;                     // stage A failed
    struct tarn_err a_err;          // stage A's, until it is joined
    bool *read;                     // stage A's: for each layer, whether it was read, not reused
    struct tarn_digest tree_digest; // stage A's, until it is joined
};

static void prepared_release(struct prepared *prepared)
{
    tarn_layer_input_release(&prepared->input);
    tarn_layer_metadata_release(&prepared->found.metadata);
    *prepared = (struct prepared){ 0 };
}

// --- stage A -----------------------------------------------------------------------------------------
static void tell(const struct tarn_convert_options *options, enum tarn_convert_progress what,
                 uint64_t bytes)
{
    if (options->progress)
        options->progress(options->context, what, bytes);
}

static void on_read(void *context, uint64_t bytes)
{
    tell(context, TARN_CONVERT_DONE, bytes);
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
static int read_layer(struct conversion *conversion, uint32_t i, struct prepared *prepared,
                      struct tarn_err *err)
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
static int find_reusable(struct conversion *conversion, uint32_t i,
                         const struct tarn_digest *diff_id, struct prepared *prepared,
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
    prepared->diff_id = *diff_id;
    return 1;
}

static int prepare(struct conversion *conversion, uint32_t i, struct prepared *prepared,
                   struct tarn_err *err)
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

static bool stage_b_failed(struct conversion *conversion)
{
    pthread_mutex_lock(&conversion->lock);
    const bool stop = conversion->stop;
    pthread_mutex_unlock(&conversion->lock);
    return stop;
}

// The original's layers; of those that were not read the destination has the original as a rule, which is
// looked after once, when it is published.
static void copy_layers(struct conversion *conversion)
{
    const struct tarn_image_job *job = conversion->job;
    const volatile sig_atomic_t *cancel = job->options->cancel;
    for (uint32_t i = 0; i < job->layer_count; i++) {
        const struct tarn_layer_source *source = &job->layers[i].source;
        if (source->kind != TARN_LAYER_SOURCE_BLOB || !conversion->read[i])
            continue;
        if ((cancel && *cancel) || stage_b_failed(conversion) ||
            tarn_copy_blob(job->copy, &source->blob, NULL) < 0)
            break;
    }
}

// All layers are read, so the original is sound: what is left to do beside stage B.
static int after_last(struct conversion *conversion)
{
    if (conversion->job->copy)
        copy_layers(conversion);
    const int ret = tarn_listing_digest(conversion->chain.merged, &conversion->tree_digest);
    return ret < 0 ? tarn_fail(&conversion->a_err, ret, "out of memory") : 0;
}

static uint64_t nodes_of(const struct prepared *prepared)
{
    const struct tarn_tree *tree =
        prepared->reused ? prepared->found.metadata.tree : prepared->input.tree;
    return tarn_tree_count(tree);
}

// Whether the layer can wait besides those that do. With the lock held.
static bool has_room(const struct conversion *conversion, const struct prepared *prepared)
{
    if (conversion->count == 0)
        return true;
    uint64_t bytes = prepared->data_length;
    uint64_t nodes = nodes_of(prepared);
    for (uint32_t i = 0; i < conversion->count; i++) {
        const struct prepared *other = &conversion->waiting[(conversion->first + i) % WAITING_MAX];
        bytes += other->data_length;
        nodes += nodes_of(other);
    }
    return conversion->count < WAITING_MAX && bytes <= WAITING_BYTES && nodes <= WAITING_NODES;
}

// Waits for room. False: stage B wants no more.
static bool hand_over(struct conversion *conversion, const struct prepared *prepared)
{
    pthread_mutex_lock(&conversion->lock);
    while (!has_room(conversion, prepared) && !conversion->stop)
        pthread_cond_wait(&conversion->changed, &conversion->lock);
    const bool taken = !conversion->stop;
    if (taken) {
        conversion->waiting[(conversion->first + conversion->count++) % WAITING_MAX] = *prepared;
        pthread_cond_broadcast(&conversion->changed);
    }
    pthread_mutex_unlock(&conversion->lock);
    return taken;
}

// Layer i. 0, -ECANCELED when stage B wants no more, or stage A's error.
static int stage_a_layer(struct conversion *conversion, uint32_t i)
{
    struct prepared prepared = { 0 };
    int ret = prepare(conversion, i, &prepared, &conversion->a_err);
    if (ret < 0)
        tarn_err_prepend(&conversion->a_err, "layer %u", i);
    conversion->read[i] = !prepared.reused;
    if (ret == 0 && !hand_over(conversion, &prepared))
        ret = -ECANCELED;
    if (ret < 0)
        prepared_release(&prepared);
    return ret == 0 && i + 1 == conversion->job->layer_count ? after_last(conversion) : ret;
}

static void *stage_a(void *argument)
{
    struct conversion *conversion = argument;
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < conversion->job->layer_count; i++)
        ret = stage_a_layer(conversion, i);
    if (ret < 0) {
        pthread_mutex_lock(&conversion->lock);
        conversion->status = ret == -ECANCELED ? 0 : ret;
        conversion->stop = true;
        pthread_cond_broadcast(&conversion->changed);
        pthread_mutex_unlock(&conversion->lock);
    }
    return NULL;
}

// --- stage B -----------------------------------------------------------------------------------------
// Stage B's share of the progress: the layer's source bytes, spread over its data space.
struct write_progress {
    const struct tarn_convert_options *options;
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
    tell(progress->options, TARN_CONVERT_DONE, reached - progress->told);
    progress->told = reached;
}

// Runs stage B into an upload. The layer's tables are handed to the chain.
static int write_blob(struct conversion *conversion, struct prepared *prepared,
                      const struct tarn_blob_output *output, struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain *chain = &conversion->chain;
    tarn_cleanup(tarn_data_space_free_p) struct tarn_data_space *space =
        tarn_data_space_new(prepared->input.spool, chain->count, prepared->data_length, err);
    tarn_autofree struct tarn_blob_record *lower = tarn_chain_records(chain);
    if (!space || !lower)
        return tarn_fail(err, -ENOMEM, "out of memory");
    struct write_progress progress = {
        .options = job->options,
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
    chain->layers[chain->count].record = result.record;
    chain->layers[chain->count].tables = result.tables;
    chain->layers[chain->count].statistics = result.statistics;
    return ret;
}

static int upload_blob(struct conversion *conversion, struct prepared *prepared,
                       struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_blob_upload *upload;
    int ret = tarn_blob_upload_start(job->blocking, job->destination, &upload, err);
    if (ret < 0)
        return ret;
    const struct tarn_blob_output output = { tarn_blob_upload_write, upload };
    ret = write_blob(conversion, prepared, &output, err);
    if (ret < 0) {
        tarn_blob_upload_abort(upload);
        return ret;
    }
    const struct tarn_blob_record *record =
        &conversion->chain.layers[conversion->chain.count].record;
    const struct tarn_blob_id id = { record->digest, record->size };
    return tarn_blob_upload_commit(upload, &id, err);
}

static int convert_layer(struct conversion *conversion, struct prepared *prepared,
                         struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain_layer *layer = &conversion->chain.layers[conversion->chain.count];
    int ret = upload_blob(conversion, prepared, err);
    if (ret < 0)
        return ret;
    conversion->summary->tar_bytes += prepared->input.tar_bytes;
    conversion->summary->source_bytes += prepared->input.source_bytes;
    conversion->summary->dropped_xattrs += prepared->input.dropped_xattrs;
    conversion->summary->dropped_sockets += prepared->input.dropped_sockets;
    if (job->options->no_layer_tags)
        return 0;
    layer->source_digest = prepared->source_digest;
    const struct tarn_manifest_blob blob = tarn_chain_blob(layer);
    return tarn_reuse_note(job->blocking, job->destination, &blob, err);
}

static int adopt_layer(struct conversion *conversion, const struct prepared *prepared,
                       struct tarn_err *err)
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
    tell(conversion->job->options, TARN_CONVERT_DONE,
         2 * conversion->job->layers[conversion->chain.count].source.blob.size);
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

// Takes the next prepared layer. False: stage A failed.
static bool take(struct conversion *conversion, struct prepared *prepared)
{
    pthread_mutex_lock(&conversion->lock);
    while (conversion->count == 0 && !conversion->stop)
        pthread_cond_wait(&conversion->changed, &conversion->lock);
    const bool taken = conversion->count > 0 && conversion->status == 0;
    if (taken) {
        *prepared = conversion->waiting[conversion->first];
        conversion->first = (conversion->first + 1) % WAITING_MAX;
        conversion->count--;
        pthread_cond_broadcast(&conversion->changed);
    }
    pthread_mutex_unlock(&conversion->lock);
    return taken;
}

struct release {
    struct tarn_job job; // first
    struct prepared prepared;
};

static void run_release(struct tarn_job *job)
{
    struct release *release = (struct release *)job;
    prepared_release(&release->prepared);
    free(release);
}

// Has a layer that is done freed beside what comes next: a large spool takes 50 ms.
static void release_later(const struct conversion *conversion, struct prepared *prepared)
{
    struct release *release = malloc(sizeof *release);
    if (!release || tarn_pool_threads(conversion->job->pool) == 0) {
        free(release);
        prepared_release(prepared);
        return;
    }
    *release = (struct release){ .job = { .run = run_release }, .prepared = *prepared };
    tarn_pool_submit(conversion->job->pool, &release->job);
}

static int stage_b(struct conversion *conversion, struct tarn_err *err)
{
    struct tarn_chain *chain = &conversion->chain;
    while (chain->count < conversion->job->layer_count) {
        struct prepared prepared = { 0 };
        if (!take(conversion, &prepared))
            return 0; // stage A's error is the one to tell
        struct tarn_chain_layer *layer = &chain->layers[chain->count];
        const int ret = prepared.reused ? adopt_layer(conversion, &prepared, err)
                                        : convert_layer(conversion, &prepared, err);
        layer->diff_id = prepared.diff_id;
        layer->source_digest = prepared.source_digest;
        release_later(conversion, &prepared);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %u", chain->count);
        count_layer(layer, conversion->summary);
        chain->count++;
    }
    return 0;
}

static int run_stages(struct conversion *conversion, struct tarn_err *err)
{
    pthread_t thread;
    const int code = pthread_create(&thread, NULL, stage_a, conversion);
    if (code != 0)
        return tarn_fail_errno(err, -code, "cannot start a thread");
    int ret = stage_b(conversion, err);
    pthread_mutex_lock(&conversion->lock);
    conversion->stop = true;
    pthread_cond_broadcast(&conversion->changed);
    pthread_mutex_unlock(&conversion->lock);
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < conversion->count; i++)
        prepared_release(&conversion->waiting[(conversion->first + i) % WAITING_MAX]);
    if (ret == 0 && conversion->status < 0) {
        ret = conversion->status;
        if (err)
            *err = conversion->a_err;
    }
    return ret;
}

// --- documents ---------------------------------------------------------------------------------------
static int put_json(const struct tarn_image_job *job, json_t *json, struct tarn_blob_id *id,
                    struct tarn_err *err)
{
    tarn_autofree char *text = json ? tarn_json_dump(json) : NULL;
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_buf bytes = { (uint8_t *)text, strlen(text), strlen(text) };
    return tarn_blocking_put_blob(job->blocking, job->destination, &bytes, id, err);
}

static int put_bootstrap(const struct tarn_image_job *job, struct tarn_chain *chain,
                         struct tarn_image_parts *parts, struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf bootstrap = { 0 };
    tarn_autobuf struct tarn_buf layer = { 0 };
    int ret = tarn_chain_bootstrap(chain, &bootstrap, err);
    if (ret < 0)
        return ret;
    tarn_chain_drop_trees(chain);
    tarn_sha256(bootstrap.data, bootstrap.length, &parts->bootstrap_digest);
    ret = tarn_bootstrap_layer_write(bootstrap.data, bootstrap.length, &layer,
                                     &parts->bootstrap_layer_diff_id, err);
    if (ret < 0)
        return ret;
    return tarn_blocking_put_blob(job->blocking, job->destination, &layer, &parts->bootstrap_layer,
                                  err);
}

static int put_documents(const struct tarn_image_job *job, struct tarn_image_parts *parts,
                         struct tarn_image_result *result, struct tarn_err *err)
{
    struct tarn_blob_id config_id;
    tarn_autojson json_t *config = tarn_image_config(parts);
    int ret = put_json(job, config, &config_id, err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *manifest = tarn_image_manifest(parts, &config_id);
    tarn_autofree char *text = manifest ? tarn_json_dump(manifest) : NULL;
    if (!text || tarn_buf_append(&result->manifest_bytes, text, strlen(text)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_sha256(text, strlen(text), &result->manifest.digest);
    result->manifest.size = strlen(text);
    const struct tarn_manifest_bytes bytes = { TARN_MEDIA_OCI_MANIFEST, text, strlen(text) };
    return tarn_blocking_put_manifest(job->blocking, job->destination, &bytes, err);
}

static int finish_image(struct conversion *conversion, struct tarn_image_result *result,
                        struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    struct tarn_chain *chain = &conversion->chain;
    tarn_autofree struct tarn_blob_record *foreign = NULL;
    struct tarn_image_parts parts = {
        .source_config = job->source_config,
        .platform = &job->platform,
        .subject = job->subject,
        .chain = chain,
    };
    parts.tree_digest = conversion->tree_digest;
    int ret = tarn_chain_foreign(chain, &foreign, &parts.foreign_count);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    parts.foreign = foreign;
    ret = put_bootstrap(job, chain, &parts, err);
    if (ret == 0)
        ret = put_documents(job, &parts, result, err);
    result->tree_digest = parts.tree_digest;
    conversion->summary->bootstrap_bytes += parts.bootstrap_layer.size;
    conversion->summary->images++;
    return ret;
}

int tarn_image_convert(const struct tarn_image_job *job, struct tarn_image_result *result,
                       struct tarn_convert_summary *summary, struct tarn_err *err)
{
    *result = (struct tarn_image_result){ 0 };
    struct conversion conversion = { .job = job, .summary = summary };
    int ret = tarn_chain_init(&conversion.chain, job->layer_count);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    for (uint32_t i = 0; i < job->layer_count; i++)
        tell(job->options, TARN_CONVERT_TOTAL, 2 * job->layers[i].source.blob.size);
    conversion.chain.dict = job->dict;
    conversion.chain.level = job->options->level;
    conversion.read = calloc(job->layer_count + 1, sizeof *conversion.read);
    if (!conversion.read) {
        tarn_chain_release(&conversion.chain);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    pthread_mutex_init(&conversion.lock, NULL);
    pthread_cond_init(&conversion.changed, NULL);
    ret = run_stages(&conversion, err);
    if (ret == 0)
        ret = finish_image(&conversion, result, err);
    pthread_cond_destroy(&conversion.changed);
    pthread_mutex_destroy(&conversion.lock);
    tarn_chain_release(&conversion.chain);
    free(conversion.read);
    if (ret < 0)
        tarn_image_result_release(result);
    return ret;
}

void tarn_image_result_release(struct tarn_image_result *result)
{
    tarn_buf_release(&result->manifest_bytes);
    *result = (struct tarn_image_result){ 0 };
}
