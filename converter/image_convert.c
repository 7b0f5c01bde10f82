// SPDX-License-Identifier: Apache-2.0
// One thread runs stage A for layer after layer and hands each over in a short queue; the calling thread
// takes them and runs stage B. At most two layers are spooled at a time, and small ones besides: images
// end in many small layers, and what needs all layers read but no blob written, the tree digest and the
// copy of the original, is then done or begun by stage A's thread while stage B has work for both.
#include <pthread.h>

#include "converter/image_convert_internal.h"

void tarn_image_tell(const struct tarn_convert_options *options, enum tarn_convert_progress what,
                     uint64_t bytes)
{
    if (options->progress)
        options->progress(options->context, what, bytes);
}

void tarn_image_hurry_copy(struct tarn_image_conversion *conversion)
{
    struct tarn_image_copier *copier = atomic_load(&conversion->copier);
    if (copier)
        tarn_image_copier_hurry(copier);
}

// Stage A's thread, and what it says in the end.
struct reading {
    struct tarn_image_conversion *conversion;
    int ret;
    struct tarn_err err;
};

static void *run_stage_a(void *argument)
{
    struct reading *reading = argument;
    reading->ret = tarn_image_stage_a(reading->conversion, &reading->err);
    if (reading->ret < 0)
        tarn_layer_queue_stop(reading->conversion->queue);
    return NULL;
}

static int run_stages(struct tarn_image_conversion *conversion, struct tarn_err *err)
{
    struct reading reading = { .conversion = conversion };
    pthread_t thread;
    const int code = pthread_create(&thread, NULL, run_stage_a, &reading);
    if (code != 0)
        return tarn_fail_errno(err, -code, "cannot start a thread");
    const int ret = tarn_image_stage_b(conversion, err);
    if (ret < 0)
        tarn_layer_queue_stop(conversion->queue);
    pthread_join(thread, NULL);
    // Whoever was stopped by the other has nothing to tell.
    if (reading.ret == 0 || reading.ret == -ECANCELED || (ret < 0 && ret != -ECANCELED))
        return ret;
    if (err)
        *err = reading.err;
    return reading.ret;
}

static int run(struct tarn_image_conversion *conversion, struct tarn_image_result *result,
               struct tarn_err *err)
{
    const struct tarn_image_job *job = conversion->job;
    conversion->chain.dict = job->dict;
    conversion->chain.level = job->options->level;
    conversion->read = calloc(job->layer_count + 1, sizeof *conversion->read);
    conversion->queue = tarn_layer_queue_new();
    if (!conversion->read || !conversion->queue)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < job->layer_count; i++)
        tarn_image_tell(job->options, TARN_CONVERT_TOTAL, 2 * job->layers[i].source.blob.size);
    int ret = tarn_blob_uploader_new(job->blocking, job->destination, &conversion->uploader, err);
    if (ret == 0)
        ret = run_stages(conversion, err);
    if (ret == 0)
        tarn_image_hurry_copy(conversion);
    if (ret == 0)
        ret = tarn_image_store_documents(conversion, result, err);
    return ret;
}

int tarn_image_convert(const struct tarn_image_job *job, struct tarn_image_result *result,
                       struct tarn_convert_summary *summary, struct tarn_err *err)
{
    *result = (struct tarn_image_result){ 0 };
    struct tarn_image_conversion conversion = { .job = job, .summary = summary };
    int ret = tarn_chain_init(&conversion.chain, job->layer_count);
    if (ret < 0)
        return tarn_fail(err, ret, "out of memory");
    ret = run(&conversion, result, err);
    tarn_image_copier_finish(atomic_load(&conversion.copier), ret < 0);
    if (ret < 0) // layers that are done are stored and noted nevertheless
        (void)!tarn_blob_uploader_finish(conversion.uploader, NULL);
    tarn_layer_queue_free(conversion.queue);
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
