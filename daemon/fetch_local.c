// SPDX-License-Identifier: Apache-2.0
// Chunks that the store has already: checked where they are, or copied from another data file.
#include "base/container.h"
#include "daemon/fetch_internal.h"

enum local_result {
    LOCAL_RIGHT,
    LOCAL_NOT_WRITTEN, // a copy that is right, but could not be written
    LOCAL_WRONG,
    LOCAL_UNSEEN, // the source could not be opened
};

struct local_job {
    struct tarn_job job;
    struct tarn_post post;
    struct tarn_fetch_run *run; // held
    uint32_t index;
    struct tarn_row_chunk chunk;
    struct tarn_chunk_place place; // copy: where it is
    bool copy;
    enum local_result result;
    uint8_t bytes[TARN_CHUNK_MAX];
};

static void local_done(struct tarn_post *post);

// Reads the source and proves it; the bits of a wrong one are cleared by the check.
static void work(struct tarn_job *job)
{
    struct local_job *local = tarn_container_of(job, struct local_job, job);
    struct tarn_fetch_run *run = local->run;
    struct tarn_row_chunk there = local->chunk;
    there.row = local->place.row;
    there.address = local->place.address;
    const int ret = local->copy ? tarn_data_file_lend(local->place.file, &there, local->bytes)
                                : tarn_data_file_check(run->file, &local->chunk, local->bytes);
    if (ret < 0)
        local->result = ret == -EIO ? LOCAL_WRONG : LOCAL_UNSEEN;
    else if (local->copy && tarn_data_file_put(run->file, &local->chunk, local->bytes) < 0)
        local->result = LOCAL_NOT_WRITTEN;
    else
        local->result = LOCAL_RIGHT;
    local->post.run = local_done;
    tarn_loop_queue_post(run->fetch->options.queue, &local->post);
}

static void count(const struct local_job *local)
{
    struct tarn_counters *image = &local->run->image->counters;
    struct tarn_counters *total = local->run->fetch->options.total;
    const bool wrong = local->result == LOCAL_WRONG;
    if (local->result == LOCAL_UNSEEN)
        return;
    tarn_count(wrong         ? &image->dropped_chunks
               : local->copy ? &image->copied_chunks
                             : &image->checked_chunks,
               1);
    tarn_count(wrong         ? &total->dropped_chunks
               : local->copy ? &total->copied_chunks
                             : &total->checked_chunks,
               1);
    if (wrong)
        tarn_fetch_log(local->run->fetch,
                       "store: blobs/%s/data: the chunk at %llu is damaged; making it again",
                       local->place.file->name, (unsigned long long)local->place.address);
}

static void local_done(struct tarn_post *post)
{
    struct local_job *local = tarn_container_of(post, struct local_job, post);
    struct tarn_fetch_run *run = local->run;
    struct tarn_fetch_row *row = &run->items[local->index];
    count(local);
    const struct tarn_location location =
        tarn_tables_location(&run->image->bootstrap.tables, run->rows.first + local->index);
    if (tarn_node_image_damaged(run->image)) {
        tarn_run_fail(run, local->index, -EIO);
    } else if (local->result == LOCAL_RIGHT) {
        tarn_run_finish(run, local->index, 0, NULL);
    } else if (local->result == LOCAL_NOT_WRITTEN && location.kind == TARN_LOCATION_REFERENCE) {
        const struct tarn_chunk_bytes bytes = { run->addresses[local->index],
                                                tarn_run_length(run, local->index), local->bytes };
        tarn_run_finish(run, local->index, 0, &bytes);
    } else {
        // In a run the others may need it as prefix: it is decoded with them then.
        row->no_store = local->result != LOCAL_WRONG;
        row->state = TARN_ROW_IDLE;
        tarn_run_start(run, local->index, row->demanded);
    }
    tarn_run_step(run);
    tarn_run_release(run);
    free(local);
}

static int submit(struct tarn_fetch_run *run, uint32_t index, const struct tarn_chunk_place *place,
                  bool copy)
{
    struct local_job *local = malloc(sizeof *local);
    if (!local)
        return -ENOMEM;
    local->run = run;
    local->index = index;
    local->chunk = tarn_run_chunk(run, index);
    local->place = *place;
    local->copy = copy;
    local->job.run = work;
    run->items[index].state = TARN_ROW_LOCAL;
    tarn_run_hold(run);
    tarn_pool_submit(run->fetch->options.pool, &local->job);
    return 0;
}

int tarn_run_check_local(struct tarn_fetch_run *run, uint32_t index)
{
    const struct tarn_chunk_place place = { run->file, run->file_row + index,
                                            run->addresses[index] };
    return submit(run, index, &place, false);
}

int tarn_run_copy_local(struct tarn_fetch_run *run, uint32_t index,
                        const struct tarn_chunk_place *place)
{
    return submit(run, index, place, true);
}
