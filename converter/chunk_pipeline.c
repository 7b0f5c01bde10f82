// SPDX-License-Identifier: Apache-2.0
// A run must lie in one buffer, for its prefixes, but may cross from one batch to the next. So each
// batch has room in front of its own bytes for the run that the one before left open; the open run
// travels there when the next batch is resolved. The chunk that the end of a batch cuts off travels
// when the next batch is filled.
#include "converter/chunk_pipeline.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/cancel.h"
#include "base/digest_many.h"
#include "format/chunk_codec.h"
#include "format/chunker.h"

enum {
    BATCH_SIZE = 4 << 20,
    HEADROOM = TARN_RUN_LENGTH, // an open run is shorter
    CHUNKS_MAX = (HEADROOM + BATCH_SIZE) / TARN_CHUNK_MIN + 2,
    HASH_JOBS = 2,
};

struct batch;

struct hash_job {
    struct tarn_job job; // first
    struct batch *batch;
    uint32_t first;
    uint32_t end;
};

struct run {
    struct tarn_job job; // first
    struct batch *batch;
    uint32_t first; // in the batch's chunks
    uint32_t end;
    uint8_t *out;
    size_t out_length;
    int status;
};

struct batch {
    struct pipeline *pipeline;
    uint8_t *buffer;   // HEADROOM + BATCH_SIZE
    uint64_t address;  // of buffer + HEADROOM
    size_t cut_length; // bytes of the chunks that were cut here
    bool last;
    uint32_t carried; // chunks in front that came from the batch before
    uint32_t count;   // of chunks, carried ones included
    uint32_t decided; // of them, those that go out with this batch
    struct tarn_decided_chunk chunks[CHUNKS_MAX];
    struct hash_job hash_jobs[HASH_JOBS];
    uint32_t run_count;
    struct run runs[CHUNKS_MAX];
    unsigned pending; // jobs under way; pipeline->lock
};

// Room in chunks[] for those that a resolve puts in front.
enum { CARRY_MAX = HEADROOM / TARN_CHUNK_MIN + 1 };

struct pipeline {
    const struct tarn_blob_context *context;
    const struct tarn_blob_layer *layer;
    const struct tarn_chunk_output *output;

    pthread_mutex_t lock; // guards every batch's pending, and the encoders
    pthread_cond_t done;
    struct tarn_encoder **encoders; // those not in use
    unsigned encoder_count;

    struct batch **batches;
    unsigned batch_count;
    uint64_t filled; // batches so far; number n lives in batches[n % batch_count]
    uint64_t resolved;
    uint64_t written;
    bool at_end;

    uint64_t position; // data space cut so far
    size_t tail_length;
    uint8_t tail[TARN_CHUNK_MAX]; // begins a chunk that is not cut yet

    uint32_t carry_count; // the open run
    size_t carry_length;
    struct tarn_decided_chunk carry_chunks[CARRY_MAX];
    uint8_t carry[HEADROOM];
};

static struct batch *batch_at(struct pipeline *pipeline, uint64_t number)
{
    return pipeline->batches[number % pipeline->batch_count];
}

static const uint8_t *bytes_at(const struct batch *batch, uint64_t address)
{
    return batch->buffer + HEADROOM + (ptrdiff_t)(address - batch->address);
}

// --- jobs ----------------------------------------------------------------------------------------
static void job_done(struct batch *batch)
{
    struct pipeline *pipeline = batch->pipeline;
    pthread_mutex_lock(&pipeline->lock);
    if (--batch->pending == 0)
        pthread_cond_broadcast(&pipeline->done);
    pthread_mutex_unlock(&pipeline->lock);
}

static void submit(struct batch *batch, struct tarn_job *job)
{
    struct pipeline *pipeline = batch->pipeline;
    pthread_mutex_lock(&pipeline->lock);
    batch->pending++;
    pthread_mutex_unlock(&pipeline->lock);
    tarn_pool_submit(pipeline->context->pool, job);
}

static bool is_idle(struct batch *batch)
{
    pthread_mutex_lock(&batch->pipeline->lock);
    const bool idle = batch->pending == 0;
    pthread_mutex_unlock(&batch->pipeline->lock);
    return idle;
}

// Works on the queue until the batch's jobs are done.
static void wait_idle(struct batch *batch)
{
    struct pipeline *pipeline = batch->pipeline;
    while (!is_idle(batch)) {
        if (tarn_pool_help(pipeline->context->pool))
            continue;
        pthread_mutex_lock(&pipeline->lock);
        while (batch->pending > 0)
            pthread_cond_wait(&pipeline->done, &pipeline->lock);
        pthread_mutex_unlock(&pipeline->lock);
    }
}

static void hash_chunks(struct tarn_job *job)
{
    const struct hash_job *hash = (struct hash_job *)job;
    struct tarn_message messages[CHUNKS_MAX];
    size_t count = 0;
    for (uint32_t i = hash->first; i < hash->end; i++) {
        struct tarn_decided_chunk *chunk = &hash->batch->chunks[i];
        messages[count++] = (struct tarn_message){ bytes_at(hash->batch, chunk->address),
                                                   chunk->length, &chunk->digest };
    }
    tarn_sha256_many(messages, count);
    job_done(hash->batch);
}

static struct tarn_encoder *take_encoder(struct pipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    assert(pipeline->encoder_count > 0);
    struct tarn_encoder *encoder = pipeline->encoders[--pipeline->encoder_count];
    pthread_mutex_unlock(&pipeline->lock);
    return encoder;
}

static void return_encoder(struct pipeline *pipeline, struct tarn_encoder *encoder)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline->encoders[pipeline->encoder_count++] = encoder;
    pthread_mutex_unlock(&pipeline->lock);
}

// Encodes the chunks of a run one behind the other into run->out.
static int encode_chunks(struct tarn_encoder *encoder, struct run *run)
{
    tarn_encoder_start_run(encoder, bytes_at(run->batch, run->batch->chunks[run->first].address));
    for (uint32_t i = run->first; i < run->end; i++) {
        struct tarn_decided_chunk *chunk = &run->batch->chunks[i];
        bool raw;
        const ssize_t n =
            tarn_encoder_encode(encoder, chunk->length, run->out + run->out_length, &raw);
        if (n < 0)
            return (int)n;
        chunk->location = (struct tarn_location){ .kind = TARN_LOCATION_STORED,
                                                  .raw = raw,
                                                  .run_start = i == run->first,
                                                  .stored_length = (uint32_t)n };
        run->out_length += (size_t)n;
    }
    return 0;
}

static void encode_run(struct tarn_job *job)
{
    struct run *run = (struct run *)job;
    const struct tarn_decided_chunk *last = &run->batch->chunks[run->end - 1];
    const uint64_t length = last->address + last->length - run->batch->chunks[run->first].address;
    // Stored chunks are never longer than plain ones, so the bound is needed only behind the last.
    run->out = malloc(length + tarn_encoder_bound());
    run->status = -ENOMEM;
    if (run->out) {
        struct tarn_encoder *encoder = take_encoder(run->batch->pipeline);
        run->status = encode_chunks(encoder, run);
        return_encoder(run->batch->pipeline, encoder);
    }
    job_done(run->batch);
}

// --- step 1: fill and cut --------------------------------------------------------------------------
static void cut(struct pipeline *pipeline, struct batch *batch, size_t length)
{
    const uint8_t *bytes = batch->buffer + HEADROOM;
    size_t offset = 0;
    while (offset < length && (batch->last || length - offset >= TARN_CHUNK_MAX)) {
        const size_t n = tarn_chunker_next(bytes + offset, length - offset);
        batch->chunks[batch->count++] =
            (struct tarn_decided_chunk){ .address = pipeline->position + offset,
                                         .length = (uint32_t)n };
        offset += n;
    }
    batch->cut_length = offset;
    pipeline->tail_length = length - offset;
    memcpy(pipeline->tail, bytes + offset, length - offset);
    pipeline->position += offset;
}

static void submit_hashes(struct batch *batch)
{
    const uint32_t share = (batch->count - CARRY_MAX + HASH_JOBS - 1) / HASH_JOBS;
    for (uint32_t i = 0; i < HASH_JOBS; i++) {
        const uint32_t first = CARRY_MAX + i * share;
        if (first >= batch->count)
            break;
        const uint32_t end = first + share < batch->count ? first + share : batch->count;
        batch->hash_jobs[i] = (struct hash_job){ { .run = hash_chunks }, batch, first, end };
        submit(batch, &batch->hash_jobs[i].job);
    }
}

// New chunks stand from CARRY_MAX on; a resolve puts carried ones directly in front.
static int fill(struct pipeline *pipeline)
{
    struct batch *batch = batch_at(pipeline, pipeline->filled);
    uint8_t *bytes = batch->buffer + HEADROOM;
    memcpy(bytes, pipeline->tail, pipeline->tail_length);
    const size_t room = BATCH_SIZE - pipeline->tail_length;
    const ssize_t n =
        tarn_data_space_read(pipeline->layer->space, bytes + pipeline->tail_length, room);
    if (n < 0)
        return (int)n;
    batch->address = pipeline->position;
    batch->last = (size_t)n < room;
    batch->count = CARRY_MAX;
    batch->run_count = 0;
    cut(pipeline, batch, pipeline->tail_length + (size_t)n);
    submit_hashes(batch);
    pipeline->at_end = batch->last;
    pipeline->filled++;
    return 0;
}

// --- step 2: resolve ---------------------------------------------------------------------------------
// Sets the chunk's location to a reference if some stored chunk has its digest.
static bool find_reference(const struct pipeline *pipeline, struct tarn_decided_chunk *chunk)
{
    struct tarn_dedup_place place;
    if (!tarn_dedup_index_find(pipeline->context->index, &chunk->digest, &place)) {
        uint32_t foreign;
        if (!pipeline->context->dict ||
            !tarn_dict_find(pipeline->context->dict, &chunk->digest, &foreign, &place.where))
            return false;
        place.blob = pipeline->layer->chain_index + 1 + foreign;
    }
    chunk->location = (struct tarn_location){ .kind = TARN_LOCATION_REFERENCE,
                                              .blob = place.blob,
                                              .address = place.where };
    return true;
}

static void close_run(struct batch *batch, uint32_t first, uint32_t end)
{
    if (first == end)
        return;
    struct run *run = &batch->runs[batch->run_count++];
    *run = (struct run){ .job = { .run = encode_run }, .batch = batch, .first = first, .end = end };
    submit(batch, &run->job);
}

// Takes over the run that the batch before left open. Returns the number of its first chunk.
static uint32_t take_carry(struct pipeline *pipeline, struct batch *batch)
{
    const uint32_t first = CARRY_MAX - pipeline->carry_count;
    memcpy(&batch->chunks[first], pipeline->carry_chunks,
           pipeline->carry_count * sizeof batch->chunks[0]);
    memcpy(batch->buffer + HEADROOM - pipeline->carry_length, pipeline->carry,
           pipeline->carry_length);
    batch->carried = pipeline->carry_count;
    return first;
}

static void leave_carry(struct pipeline *pipeline, const struct batch *batch, uint32_t first)
{
    pipeline->carry_count = batch->count - first;
    pipeline->carry_length = 0;
    if (pipeline->carry_count == 0)
        return;
    const uint64_t start = batch->chunks[first].address;
    pipeline->carry_length = batch->address + batch->cut_length - start;
    assert(pipeline->carry_length < HEADROOM && pipeline->carry_count <= CARRY_MAX);
    memcpy(pipeline->carry_chunks, &batch->chunks[first],
           pipeline->carry_count * sizeof batch->chunks[0]);
    memcpy(pipeline->carry, bytes_at(batch, start), pipeline->carry_length);
}

static int resolve(struct pipeline *pipeline)
{
    struct batch *batch = batch_at(pipeline, pipeline->resolved++);
    uint32_t open = take_carry(pipeline, batch); // first chunk of the open run
    for (uint32_t i = CARRY_MAX; i < batch->count; i++) {
        struct tarn_decided_chunk *chunk = &batch->chunks[i];
        if (find_reference(pipeline, chunk)) {
            close_run(batch, open, i);
            open = i + 1;
            continue;
        }
        const struct tarn_dedup_place place = { pipeline->layer->chain_index, chunk->address };
        const int ret = tarn_dedup_index_add(pipeline->context->index, &chunk->digest, place);
        if (ret < 0)
            return ret;
        if (chunk->address + chunk->length - batch->chunks[open].address >= TARN_RUN_LENGTH) {
            close_run(batch, open, i + 1);
            open = i + 1;
        }
    }
    if (batch->last) {
        close_run(batch, open, batch->count);
        open = batch->count;
    }
    batch->decided = open;
    leave_carry(pipeline, batch, open);
    return 0;
}

// --- step 3: hand out ----------------------------------------------------------------------------------
static int write_batch(struct pipeline *pipeline, struct tarn_err *err)
{
    struct batch *batch = batch_at(pipeline, pipeline->written++);
    uint32_t next_run = 0;
    int ret = 0;
    for (uint32_t i = CARRY_MAX - batch->carried; ret == 0 && i < batch->decided; i++) {
        const struct run *run = &batch->runs[next_run];
        if (next_run < batch->run_count && run->first == i) {
            if (run->status < 0)
                return tarn_fail_errno(err, run->status, "cannot compress");
            ret = pipeline->output->run(pipeline->output->context, run->out, run->out_length, err);
            next_run++;
        }
        if (ret == 0 && pipeline->output->chunk(pipeline->output->context, &batch->chunks[i]) < 0)
            ret = tarn_fail(err, -ENOMEM, "out of memory for chunk tables");
    }
    for (uint32_t i = 0; i < batch->run_count; i++) {
        free(batch->runs[i].out);
        batch->runs[i].out = NULL;
    }
    batch->run_count = 0;
    if (pipeline->context->progress)
        pipeline->context->progress(pipeline->context->progress_context, batch->cut_length);
    return ret;
}

// One step: fills as far ahead as there are batches, then resolves, then hands out.
static int step(struct pipeline *pipeline, struct tarn_err *err)
{
    const bool may_fill =
        !pipeline->at_end && pipeline->filled - pipeline->written < pipeline->batch_count;
    int ret = 0;
    if (may_fill) {
        ret = fill(pipeline);
        return ret < 0 ? tarn_fail_errno(err, ret, "cannot read the spool file") : 0;
    }
    if (pipeline->resolved < pipeline->filled) {
        wait_idle(batch_at(pipeline, pipeline->resolved));
        ret = resolve(pipeline);
        return ret < 0 ? tarn_fail_errno(err, ret, "cannot index chunks") : 0;
    }
    wait_idle(batch_at(pipeline, pipeline->written));
    return write_batch(pipeline, err);
}

// --- life ------------------------------------------------------------------------------------------------
static struct batch *batch_new(struct pipeline *pipeline)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->pipeline = pipeline;
    batch->buffer = malloc(HEADROOM + BATCH_SIZE);
    if (!batch->buffer) {
        free(batch);
        return NULL;
    }
    return batch;
}

static void batch_free(struct batch *batch)
{
    if (!batch)
        return;
    wait_idle(batch);
    for (uint32_t i = 0; i < batch->run_count; i++)
        free(batch->runs[i].out);
    free(batch->buffer);
    free(batch);
}

static void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    for (unsigned i = 0; pipeline->batches && i < pipeline->batch_count; i++)
        batch_free(pipeline->batches[i]);
    for (unsigned i = 0; i < pipeline->encoder_count; i++)
        tarn_encoder_free(pipeline->encoders[i]);
    free(pipeline->encoders);
    free(pipeline->batches);
    pthread_cond_destroy(&pipeline->done);
    pthread_mutex_destroy(&pipeline->lock);
    free(pipeline);
}
TARN_DEFINE_CLEANUP(struct pipeline, pipeline_free)

static int pipeline_init(struct pipeline *pipeline)
{
    const unsigned workers = tarn_pool_threads(pipeline->context->pool) + 1;
    pthread_mutex_init(&pipeline->lock, NULL);
    pthread_cond_init(&pipeline->done, NULL);
    pipeline->batch_count = 3 + workers / 4;
    pipeline->batches = calloc(pipeline->batch_count, sizeof *pipeline->batches);
    pipeline->encoders = calloc(workers, sizeof *pipeline->encoders);
    if (!pipeline->batches || !pipeline->encoders)
        return -ENOMEM;
    for (unsigned i = 0; i < pipeline->batch_count; i++) {
        pipeline->batches[i] = batch_new(pipeline);
        if (!pipeline->batches[i])
            return -ENOMEM;
    }
    for (unsigned i = 0; i < workers; i++) {
        struct tarn_encoder *encoder = tarn_encoder_new(pipeline->context->level);
        if (!encoder)
            return -ENOMEM;
        pipeline->encoders[pipeline->encoder_count++] = encoder;
    }
    return 0;
}

int tarn_chunk_pipeline_run(const struct tarn_blob_context *context,
                            const struct tarn_blob_layer *layer,
                            const struct tarn_chunk_output *output, struct tarn_err *err)
{
    tarn_cleanup(pipeline_free_p) struct pipeline *pipeline = calloc(1, sizeof *pipeline);
    if (!pipeline)
        return tarn_fail(err, -ENOMEM, "out of memory for compression");
    pipeline->context = context;
    pipeline->layer = layer;
    pipeline->output = output;
    pipeline->at_end = layer->data_length == 0;
    int ret = pipeline_init(pipeline);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory for compression");
    while (ret == 0 && (!pipeline->at_end || pipeline->written < pipeline->filled)) {
        if (tarn_cancel_is_set(context->cancel))
            return tarn_fail(err, -EINTR, "interrupted");
        ret = step(pipeline, err);
    }
    return ret;
}
