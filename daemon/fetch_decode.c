// SPDX-License-Identifier: Apache-2.0
// Decoding on the pool: one job for each run at a time, which does all rows that can be done.
#include "base/container.h"
#include "daemon/fetch_internal.h"

static struct tarn_decoder *take_decoder(struct tarn_fetch *fetch)
{
    pthread_mutex_lock(&fetch->lock);
    struct tarn_decoder *decoder =
        fetch->decoder_count > 0 ? fetch->decoders[--fetch->decoder_count] : NULL;
    pthread_mutex_unlock(&fetch->lock);
    return decoder ? decoder : tarn_decoder_new();
}

static void put_decoder(struct tarn_fetch *fetch, struct tarn_decoder *decoder)
{
    pthread_mutex_lock(&fetch->lock);
    const bool kept = decoder && fetch->decoder_count < TARN_FETCH_DECODERS;
    if (kept)
        fetch->decoders[fetch->decoder_count++] = decoder;
    pthread_mutex_unlock(&fetch->lock);
    if (!kept)
        tarn_decoder_free(decoder);
}

static uint8_t *row_bytes(const struct tarn_fetch_run *run, uint32_t index)
{
    return run->buffer + (run->addresses[index] - run->addresses[0]);
}

// --- on the pool -------------------------------------------------------------------------------

// Puts those rows of the prefix into the buffer that are not there yet.
static int load_prefix(struct tarn_fetch_run *run, uint32_t index)
{
    const uint64_t missing = tarn_plan_prefix(&run->shape, index) & ~run->in_buffer;
    for (uint32_t i = 0; i < index; i++) {
        if (!(missing >> i & 1))
            continue;
        const int ret = tarn_data_file_read(run->file, run->addresses[i], row_bytes(run, i),
                                            tarn_run_length(run, i));
        if (ret < 0)
            return ret;
        run->in_buffer |= tarn_run_bit(i);
    }
    return 0;
}

// The chunk came out wrong: perhaps because of its prefix, whose bytes may have changed on disk since
// they were found right. Those are looked at again; wrong ones are dropped and will be made anew.
static void recheck_prefix(struct tarn_fetch_run *run, uint32_t index)
{
    const uint64_t prefix = tarn_plan_prefix(&run->shape, index);
    void *scratch = prefix ? malloc(TARN_CHUNK_MAX) : NULL;
    for (uint32_t i = 0; scratch && i < index; i++) {
        const struct tarn_row_chunk chunk = tarn_run_chunk(run, i);
        if (prefix >> i & 1 && tarn_data_file_verified(run->file, chunk.row) &&
            tarn_data_file_check(run->file, &chunk, scratch) == -EIO) {
            tarn_count(&run->image->counters.dropped_chunks, 1);
            tarn_count(&run->fetch->options.total->dropped_chunks, 1);
        }
    }
    free(scratch);
    run->in_buffer = 0;
}

static enum tarn_row_result decode_row(struct tarn_fetch_run *run, uint32_t index,
                                       struct tarn_decoder *decoder)
{
    const struct tarn_location location =
        tarn_tables_location(&run->image->bootstrap.tables, run->rows.first + index);
    const size_t length = tarn_run_length(run, index);
    uint8_t *out = row_bytes(run, index);
    const uint64_t before = run->addresses[index] - run->addresses[0];
    const size_t prefix_length = (size_t)tarn_min_u64(before, TARN_PREFIX_LENGTH);
    const struct tarn_encoded_chunk chunk = {
        .stored = run->items[index].stored,
        .stored_length = location.stored_length,
        .raw = location.raw,
        .prefix = prefix_length ? out - prefix_length : NULL,
        .prefix_length = prefix_length,
    };
    bool right =
        load_prefix(run, index) == 0 && tarn_decoder_decode(decoder, &chunk, out, length) == 0;
    const struct tarn_row_chunk row = tarn_run_chunk(run, index);
    if (right) {
        struct tarn_digest digest;
        tarn_sha256(out, length, &digest);
        right = tarn_digest_equal(&digest, &row.digest);
    }
    if (!right) {
        recheck_prefix(run, index);
        return TARN_RESULT_WRONG;
    }
    run->in_buffer |= tarn_run_bit(index);
    return tarn_data_file_put(run->file, &row, out) == 0 ? TARN_RESULT_STORED : TARN_RESULT_MEMORY;
}

static void decoded(struct tarn_post *post);

static void decode(struct tarn_job *job)
{
    struct tarn_fetch_run *run = tarn_container_of(job, struct tarn_fetch_run, job);
    struct tarn_decoder *decoder = take_decoder(run->fetch);
    bool wrong = false;
    for (uint32_t i = 0; i < run->rows.count; i++) {
        if (!(run->mask >> i & 1))
            continue;
        run->results[i] = wrong || !decoder ? TARN_RESULT_SKIPPED : decode_row(run, i, decoder);
        wrong |= run->results[i] == TARN_RESULT_WRONG;
    }
    put_decoder(run->fetch, decoder);
    run->post.run = decoded;
    tarn_loop_queue_post(run->fetch->options.queue, &run->post);
}

// --- on the loop ---------------------------------------------------------------------------------

static void wrong_row(struct tarn_fetch_run *run, uint32_t index)
{
    struct tarn_fetch *fetch = run->fetch;
    struct tarn_fetch_row *row = &run->items[index];
    if (tarn_node_image_damaged(run->image)) { // not the chunk, but what it is compared with
        tarn_run_fail(run, index, -EIO);
        return;
    }
    tarn_count(&run->image->counters.digest_errors, 1);
    tarn_count(&fetch->options.total->digest_errors, 1);
    const struct tarn_location location =
        tarn_tables_location(&run->image->bootstrap.tables, run->rows.first + index);
    char digest[TARN_DIGEST_TEXT];
    const bool again = ++row->tries < TARN_FETCH_TRIES;
    tarn_fetch_log(fetch,
                   "%s: blob %s: the chunk at offset %llu (%u bytes, data space %llu) has a wrong "
                   "digest; %s",
                   run->image->name, tarn_digest_format(&run->file->rows.blob, digest),
                   (unsigned long long)location.offset, location.stored_length,
                   (unsigned long long)run->addresses[index],
                   again ? "fetching it once more"
                         : "its readers get EIO; if `tarn check` says so too, push it again");
    tarn_run_drop_stored(run, index);
    if (again)
        tarn_run_enqueue(run, index);
    else
        tarn_run_fail(run, index, -EIO);
}

static void right_row(struct tarn_fetch_run *run, uint32_t index)
{
    struct tarn_fetch *fetch = run->fetch;
    tarn_count(&run->image->counters.decoded_chunks, 1);
    tarn_count(&fetch->options.total->decoded_chunks, 1);
    run->image->progressed = uv_now(tarn_loop_queue_loop(fetch->options.queue));
    if (run->results[index] == TARN_RESULT_STORED) {
        tarn_run_finish(run, index, 0, NULL);
        return;
    }
    tarn_count(&run->image->counters.unstored_chunks, 1);
    tarn_count(&fetch->options.total->unstored_chunks, 1);
    tarn_fetch_log(fetch,
                   "store: cannot write blobs/%s/data; reading on without storing "
                   "(is the disk full?)",
                   run->file->name);
    const struct tarn_chunk_bytes bytes = { run->addresses[index], tarn_run_length(run, index),
                                            row_bytes(run, index) };
    tarn_run_finish(run, index, 0, &bytes);
}

static void decoded(struct tarn_post *post)
{
    struct tarn_fetch_run *run = tarn_container_of(post, struct tarn_fetch_run, post);
    run->decoding = false;
    const uint64_t mask = run->mask;
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (mask >> i & 1 && run->results[i] == TARN_RESULT_SKIPPED)
            run->items[i].state = TARN_ROW_FETCHED;
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (mask >> i & 1 && run->results[i] <= TARN_RESULT_MEMORY)
            right_row(run, i);
    for (uint32_t i = 0; i < run->rows.count; i++)
        if (mask >> i & 1 && run->results[i] == TARN_RESULT_WRONG)
            wrong_row(run, i);
    tarn_run_step(run);
    tarn_run_release(run);
}

// The rows that can be decoded now. Starts the rows that are missing and that nobody brings.
static uint64_t decodable(struct tarn_fetch_run *run)
{
    uint64_t have = tarn_run_local(run);
    uint64_t mask = 0;
    for (uint32_t i = 0; i < run->rows.count; i++) {
        if (run->items[i].state != TARN_ROW_FETCHED)
            continue;
        const uint64_t missing = tarn_plan_prefix(&run->shape, i) & ~have;
        if (missing == 0) {
            mask |= tarn_run_bit(i);
            have |= tarn_run_bit(i);
            continue;
        }
        for (uint32_t j = 0; j < i; j++)
            if (missing >> j & 1 && run->items[j].state == TARN_ROW_IDLE)
                tarn_run_start(run, j, run->items[i].demanded);
    }
    return mask;
}

void tarn_run_step(struct tarn_fetch_run *run)
{
    if (run->decoding)
        return;
    tarn_run_hold(run);
    const uint64_t mask = decodable(run);
    const uint64_t size = run->addresses[run->rows.count] - run->addresses[0];
    if (mask != 0 && !run->buffer) {
        run->buffer = malloc(size);
        if (run->buffer)
            run->fetch->memory += size;
    }
    for (uint32_t i = 0; i < run->rows.count; i++) {
        if (!(mask >> i & 1))
            continue;
        if (run->buffer)
            run->items[i].state = TARN_ROW_DECODING;
        else if (run->items[i].state == TARN_ROW_FETCHED)
            tarn_run_fail(run, i, -ENOMEM);
    }
    if (mask != 0 && run->buffer) {
        run->decoding = true;
        run->mask = mask;
        run->job.run = decode;
        tarn_run_hold(run); // the job's
        tarn_pool_submit(run->fetch->options.pool, &run->job);
    }
    tarn_run_release(run);
}
