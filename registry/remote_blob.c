// SPDX-License-Identifier: Apache-2.0
// Reads of blobs from a registry, whole or in ranges, in one call of call.h: each attempt asks for what is
// missing then, up to RANGES ranges at once.
//
// Not all servers know several ranges, and the one that answers need not be the registry: it may lead to a
// storage elsewhere. So it is learned from the answers. Whatever shows that several ranges are not understood
// (a whole blob, one range, a refusal, damage) makes this read go on range by range, and, once it is sure, all
// reads of the endpoint. What such an answer has brought in order till then is kept.
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "registry/multipart.h"
#include "registry/remote_internal.h"

enum {
    WRONG_RANGES_MAX = 3,
    RANGES = 32,      // in a request: its header stays below 1400 bytes
    FAILURES_MAX = 3, // of requests for several ranges, without any progress
    SKIP_MAX =
        256 << 10, // bytes of an answer that nobody wants; else it is cut off and asked better
    REFUSAL_MAX = 64 << 10, // of a body that is read to its end only to keep the connection
};

// A number has 20 digits at most.
static_assert(sizeof "bytes=" + RANGES * sizeof "18446744073709551615-18446744073709551615," <
                  TARN_CALL_RANGE,
              "the header Range fits");

enum answer {
    ANSWER_BYTES, // of the blob, from at on
    ANSWER_PARTS,
    ANSWER_REFUSAL, // of several ranges; its body does not matter
};

struct blob {
    struct tarn_remote_transfer base;
    struct tarn_remote *remote;
    struct tarn_read read;
    struct tarn_call *call;
    struct tarn_hasher *hasher; // of a blob that is read whole
    // What is wanted; current == count: all is there. A blob of unknown size that is read to its end has one
    // range, which has no end.
    struct tarn_read_range *ranges;
    size_t count;
    size_t current;
    uint64_t position; // of the next byte that is wanted
    uint64_t end;      // of the current range; UINT64_MAX: not known
    // The attempt under way:
    size_t target; // it asks for the ranges before this one
    bool several;  // there is more than one of them
    uint64_t asked_position;
    enum answer answer;
    uint64_t at; // in the blob: the answer's next byte
    struct tarn_multipart multipart;
    uint64_t part_end; // of the part that at is in or behind, or of all the answer's bytes
    unsigned parts;
    uint64_t skipped;
    uint64_t checked; // the position before which the gap was found to be small
    int taken;        // bytes of the piece that blob_data() has, by now, that were wanted
    // What is known of the server:
    bool single; // no more requests for several ranges
    // What is held against the endpoint if the next request, for one range, works.
    enum { NO_SUSPICION, FAILED, REFUSED } suspicion;
    unsigned failures;
    unsigned wrong_ranges;
    bool excess;  // the answer holds more than the blob
    int given_up; // what data() said
    bool telling; // data() or done(): freed after it
    bool cancelled;
};

static void blob_free(struct blob *blob)
{
    if (!blob)
        return;
    free(blob->ranges);
    tarn_hasher_free(blob->hasher);
    free(blob);
}
TARN_DEFINE_CLEANUP(struct blob, blob_free)

static void cancel(struct tarn_remote_transfer *base)
{
    struct blob *blob = (struct blob *)base;
    if (blob->call)
        tarn_call_cancel(blob->call);
    blob->call = NULL;
    blob->cancelled = true;
    if (!blob->telling)
        blob_free(blob);
}

// --- what to ask for --------------------------------------------------------------------------------------

static bool is_complete(const struct blob *blob)
{
    return blob->current == blob->count;
}

// The attempt before asked for several ranges and brought nothing, again: not of a registry that is away, as
// far as can be told from here.
static void note_failure(struct blob *blob)
{
    if (!blob->several) {
        blob->suspicion = NO_SUSPICION; // one range was asked for and did not come either
        return;
    }
    blob->failures = blob->position == blob->asked_position ? blob->failures + 1 : 0;
    if (blob->failures < FAILURES_MAX)
        return;
    blob->single = true;
    blob->suspicion = FAILED;
}

static int blob_range(void *context, char text[TARN_CALL_RANGE])
{
    struct blob *blob = context;
    if (is_complete(blob))
        return -ENODATA;
    if (blob->target > 0)
        note_failure(blob);
    const bool multipart = !blob->single && tarn_endpoint_multipart(blob->remote->endpoint);
    const size_t count = tarn_min_u64(blob->count - blob->current, multipart ? RANGES : 1);
    blob->target = blob->current + count;
    blob->several = count > 1;
    blob->asked_position = blob->position;
    const uint64_t last = blob->end == UINT64_MAX ? INT64_MAX : blob->end - 1;
    int length =
        snprintf(text, TARN_CALL_RANGE, "bytes=%" PRIu64 "-%" PRIu64, blob->position, last);
    for (size_t i = blob->current + 1; i < blob->target; i++)
        length +=
            snprintf(text + length, (size_t)(TARN_CALL_RANGE - length), ",%" PRIu64 "-%" PRIu64,
                     blob->ranges[i].offset, blob->ranges[i].offset + blob->ranges[i].length - 1);
    return blob->position > 0 || !blob->hasher;
}

// Several ranges are not understood: from now on one at a time.
static int give_up_several(struct blob *blob, struct tarn_err *err)
{
    blob->single = true;
    tarn_endpoint_note_multipart(blob->remote->endpoint, TARN_ENDPOINT_FAILS);
    return tarn_fail(err, -ERESTART, "the registry does not answer several ranges at once");
}

// --- an answer's head -------------------------------------------------------------------------------------

static int wrong_range(struct blob *blob, const char *text, struct tarn_err *err)
{
    if (blob->several)
        return give_up_several(blob, err);
    const int code = ++blob->wrong_ranges < WRONG_RANGES_MAX ? -EAGAIN : -EIO;
    return tarn_fail(err, code,
                     "asked for bytes from %" PRIu64
                     ", the answer holds '%.80s'; a proxy that breaks ranges?",
                     blob->position, text ? text : "");
}

static int check_size(const struct blob *blob, uint64_t size, struct tarn_err *err)
{
    if (size == UINT64_MAX || blob->read.size == 0 || size == blob->read.size)
        return 0;
    return tarn_fail(err, -EIO, "the blob has %" PRIu64 " bytes and not %" PRIu64, size,
                     blob->read.size);
}

static int check_status(struct blob *blob, const struct tarn_http_head *head, struct tarn_err *err)
{
    if (head->status == 200 || head->status == 206)
        return 0;
    if (blob->several && head->status != 404 && head->status != 410) {
        blob->single = true;
        blob->suspicion = REFUSED;
        blob->answer = ANSWER_REFUSAL;
        if (head->length <= REFUSAL_MAX)
            return 0;
        return tarn_fail(err, -ERESTART, "HTTP status %d for several ranges", head->status);
    }
    if (head->status == 416)
        return tarn_fail(err, -EUCLEAN,
                         "HTTP status 416: bytes from %" PRIu64
                         " lie past its end; is it still whole there?",
                         blob->position);
    return tarn_call_unexpected(head, "blob", err);
}

static int check_headers(const struct blob *blob, const struct tarn_http_head *head,
                         struct tarn_err *err)
{
    char text[TARN_DIGEST_TEXT];
    const char *digest = tarn_http_header(head, "Docker-Content-Digest");
    const char *encoding = tarn_http_header(head, "Content-Encoding");
    if (encoding && strcmp(encoding, "identity") != 0)
        return tarn_fail(err, -EIO,
                         "the blob comes with Content-Encoding %.60s, which nobody asked for",
                         encoding);
    if (digest && strcmp(digest, tarn_digest_format(&blob->read.digest, text)) != 0)
        return tarn_fail(err, -EIO, "its Docker-Content-Digest is %.100s", digest);
    return 0;
}

// Whether what comes before the next byte that is wanted is little, so that the answer is worth going on with;
// one to a request for a single range always is.
static int check_gap(struct blob *blob, struct tarn_err *err)
{
    const uint64_t next = tarn_min_u64(blob->position, blob->part_end);
    if (!blob->several || is_complete(blob) || next <= blob->at || blob->checked == blob->position)
        return 0;
    if (next - blob->at > SKIP_MAX - blob->skipped)
        return give_up_several(blob, err);
    blob->skipped += next - blob->at;
    blob->checked = blob->position;
    return 0;
}

static int partial_head(struct blob *blob, const struct tarn_http_head *head, struct tarn_err *err)
{
    const char *text = tarn_http_header(head, "Content-Range");
    const char *type = tarn_http_header(head, "Content-Type");
    struct tarn_content_range range;
    const int ret = blob->several ? tarn_multipart_start(&blob->multipart, type, NULL) : -ENOENT;
    if (ret == 0) {
        blob->answer = ANSWER_PARTS;
        return 0;
    }
    if (ret != -ENOENT || !tarn_content_range_parse(text, &range) || range.first > blob->position ||
        range.last < blob->position)
        return wrong_range(blob, text, err);
    blob->at = range.first;
    blob->part_end = range.last + 1;
    return check_size(blob, range.total, err);
}

static int blob_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    struct blob *blob = context;
    blob->answer = ANSWER_BYTES;
    blob->at = 0;
    blob->part_end = head->status == 200 ? UINT64_MAX : 0;
    blob->parts = 0;
    blob->skipped = 0;
    blob->checked = UINT64_MAX;
    int ret = check_status(blob, head, err);
    if (ret < 0 || blob->answer == ANSWER_REFUSAL)
        return ret;
    ret = check_headers(blob, head, err);
    if (ret == 0 && head->status == 200) // the whole blob, whatever was asked for
        ret = check_size(blob, head->length, err);
    else if (ret == 0)
        ret = partial_head(blob, head, err);
    if (ret < 0 || blob->answer == ANSWER_PARTS)
        return ret;
    if (blob->suspicion != NO_SUSPICION)
        tarn_endpoint_note_multipart(blob->remote->endpoint, blob->suspicion == REFUSED
                                                                 ? TARN_ENDPOINT_FAILS
                                                                 : TARN_ENDPOINT_SEEMS_TO_FAIL);
    if (head->status == 200 && blob->several)
        tarn_endpoint_note_multipart(blob->remote->endpoint, TARN_ENDPOINT_FAILS);
    return check_gap(blob, err);
}

// --- its body ---------------------------------------------------------------------------------------------

static void next_range(struct blob *blob)
{
    if (++blob->current == blob->count)
        return;
    const struct tarn_read_range *range = &blob->ranges[blob->current];
    blob->position = range->offset;
    blob->end = range->offset + range->length;
}

// Bytes that are wanted. 1: there was a cancel, and the blob is gone.
static int hand_on(struct blob *blob, const uint8_t *bytes, size_t length, struct tarn_err *err)
{
    if (blob->hasher)
        tarn_hasher_update(blob->hasher, bytes, length);
    blob->position += length;
    blob->taken += (int)length;
    if (blob->position == blob->end)
        next_range(blob);
    blob->telling = true;
    const int ret = blob->read.data(blob->read.context, bytes, length);
    blob->telling = false;
    if (blob->cancelled) {
        blob_free(blob);
        return 1;
    }
    if (ret >= 0)
        return 0;
    blob->given_up = ret;
    (void)tarn_fail_errno(err, ret, "reading was given up");
    return -ECANCELED; // whatever ret is, it means nothing to the call
}

// Takes what is wanted of the blob's bytes from at on. 1: as hand_on().
static int take(struct blob *blob, const uint8_t *bytes, size_t length, struct tarn_err *err)
{
    while (length > 0) {
        if (is_complete(blob)) { // an answer without ranges goes on; blob_done() knows
            blob->excess = true;
            return tarn_fail(err, -ENODATA, "the blob has more than %" PRIu64 " bytes", blob->at);
        }
        int ret = check_gap(blob, err);
        if (ret < 0)
            return ret;
        const size_t skip = (size_t)tarn_min_u64(blob->position - blob->at, length);
        const size_t piece = (size_t)tarn_min_u64(length - skip, blob->end - blob->position);
        const uint8_t *from = bytes + skip;
        blob->at += skip + piece;
        bytes += skip + piece;
        length -= skip + piece;
        ret = piece > 0 ? hand_on(blob, from, piece, err) : 0;
        if (ret != 0)
            return ret;
    }
    return 0;
}

// A part must bring the next byte that is wanted, and none that a part before it brought.
static int take_head(struct blob *blob, const struct tarn_content_range *range,
                     struct tarn_err *err)
{
    const int ret = check_size(blob, range->total, err);
    if (ret < 0)
        return ret;
    if (is_complete(blob) || ++blob->parts > RANGES || range->first < blob->part_end ||
        range->first > blob->position || range->last < blob->position)
        return give_up_several(blob, err);
    blob->part_end = range->last + 1;
    blob->at = range->first;
    return check_gap(blob, err);
}

static int take_parts(struct blob *blob, const uint8_t *bytes, size_t length, struct tarn_err *err)
{
    struct tarn_multipart_input input = { bytes, length };
    struct tarn_multipart_piece piece;
    int event;
    while ((event = tarn_multipart_next(&blob->multipart, &input, &piece, err)) > 0) {
        int ret = 0;
        if (event == TARN_MULTIPART_PART)
            ret = take_head(blob, &piece.range, err);
        else if (!is_complete(blob))
            ret = take(blob, piece.bytes, piece.length, err);
        else if ((blob->skipped += piece.length) > SKIP_MAX) // a part that goes on and on
            ret = tarn_fail(err, -ENODATA, "all that is wanted is there");
        if (ret != 0)
            return ret;
    }
    return event < 0 ? give_up_several(blob, err) : 0;
}

static int blob_data(void *context, const void *bytes, size_t length, struct tarn_err *err)
{
    struct blob *blob = context;
    if (blob->answer == ANSWER_REFUSAL) {
        blob->at += length;
        return blob->at > REFUSAL_MAX ? tarn_fail(err, -ERESTART, "a long refusal") : 0;
    }
    assert(length <= INT_MAX);
    blob->taken = 0;
    const int ret = blob->answer == ANSWER_PARTS ? take_parts(blob, bytes, length, err)
                                                 : take(blob, bytes, length, err);
    return ret < 0 ? ret : ret > 0 ? 0 : blob->taken;
}

// --- the end ----------------------------------------------------------------------------------------------

static int check_digest(struct blob *blob, struct tarn_err *err)
{
    struct tarn_digest found;
    char text[TARN_DIGEST_TEXT];
    if (!blob->hasher)
        return 0;
    tarn_hasher_finish(blob->hasher, &found);
    if (tarn_digest_equal(&found, &blob->read.digest))
        return 0;
    return tarn_fail(err, -EIO, "the blob came with digest %s", tarn_digest_format(&found, text));
}

static int blob_end(void *context, struct tarn_err *err)
{
    struct blob *blob = context;
    if (blob->answer == ANSWER_REFUSAL)
        return tarn_fail(err, -ERESTART, "several ranges were refused");
    if (blob->end == UINT64_MAX && !is_complete(blob))
        blob->current = blob->count; // the blob's end
    if (blob->current >= blob->target && blob->answer == ANSWER_PARTS)
        tarn_endpoint_note_multipart(blob->remote->endpoint, TARN_ENDPOINT_WORKS);
    if (is_complete(blob))
        return check_digest(blob, err);
    if (blob->several && blob->current < blob->target) // it was not cut off: that is all it gives
        return give_up_several(blob, err);
    return tarn_fail(err, -EAGAIN, "it ends after %" PRIu64 " bytes", blob->position);
}

static void blob_done(void *context, int status, const struct tarn_err *err)
{
    struct blob *blob = context;
    struct tarn_err told = { 0 };
    if (status < 0)
        told = *err;
    // However the answer ended, or did not, once all was there.
    if (blob->given_up < 0) {
        status = blob->given_up;
    } else if (status < 0 && is_complete(blob) && status != -EIO) {
        if (blob->hasher && blob->excess)
            status = -EIO;
        else
            status = check_digest(blob, &told);
    }
    blob->call = NULL;
    blob->telling = true;
    blob->read.done(blob->read.context, status, &told);
    blob_free(blob);
}

// --- the start --------------------------------------------------------------------------------------------

static int set_ranges(struct blob *blob, struct tarn_err *err)
{
    const struct tarn_read *read = &blob->read;
    blob->ranges = tarn_read_ranges(read);
    if (!blob->ranges)
        return tarn_fail(err, -ENOMEM, "out of memory");
    blob->count = read->range_count ? read->range_count : 1;
    const struct tarn_read_range *first = blob->ranges;
    const struct tarn_read_range *last = first + blob->count - 1;
    char digest[TARN_DIGEST_TEXT];
    if (read->size > 0 &&
        (last->length == UINT64_MAX ? last->offset > read->size
                                    : !tarn_range_ok(last->offset, last->length, read->size)))
        return tarn_fail(err, -EUCLEAN, "blob %s: a range from %" PRIu64 " lies past its end",
                         tarn_digest_format(&read->digest, digest), last->offset);
    blob->position = first->offset;
    blob->end = UINT64_MAX;
    if (first->length != UINT64_MAX)
        blob->end = first->offset + first->length;
    else if (read->size > 0)
        blob->end = read->size;
    const bool whole = read->range_count == 0 && read->offset == 0 &&
                       (read->length == UINT64_MAX || read->length == read->size);
    if (whole && !(blob->hasher = tarn_hasher_new()))
        return tarn_fail(err, -ENOMEM, "out of memory");
    return 0;
}

int tarn_remote_read_blob(struct tarn_repository *repository, const struct tarn_read *read,
                          struct tarn_transfer **transfer, struct tarn_err *err)
{
    tarn_cleanup(blob_free_p) struct blob *blob = calloc(1, sizeof *blob);
    if (!blob)
        return tarn_fail(err, -ENOMEM, "out of memory");
    blob->base = (struct tarn_remote_transfer){ { repository }, cancel };
    blob->remote = (struct tarn_remote *)repository;
    blob->read = *read;
    blob->read.tag = NULL;
    int ret = set_ranges(blob, err);
    if (ret < 0)
        return ret;
    blob->read.ranges = NULL;
    char digest[TARN_DIGEST_TEXT];
    char path[TARN_DIGEST_TEXT + 8];
    snprintf(path, sizeof path, "blobs/%s", tarn_digest_format(&read->digest, digest));
    const bool nothing = blob->position == blob->end; // only whether it is there
    const struct tarn_call_request request = {
        .method = nothing ? "HEAD" : "GET",
        .path = path,
        .scope = tarn_remote_scope(blob->remote),
        .context = blob,
        .range = nothing ? NULL : blob_range,
        .head = blob_head,
        .data = blob_data,
        .end = nothing ? NULL : blob_end,
        .done = blob_done,
    };
    ret = tarn_call_start(blob->remote->endpoint, &request, &blob->call, err);
    if (ret < 0)
        return ret;
    *transfer = &tarn_steal(blob)->base.transfer;
    return 0;
}

size_t tarn_remote_max_ranges(const struct tarn_repository *repository)
{
    const struct tarn_remote *remote = (const struct tarn_remote *)repository;
    return tarn_endpoint_multipart(remote->endpoint) ? RANGES : 1;
}
