// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tar_log.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { SPLIT_MAX = 20000, LONG = 300 };

static void check(bool right)
{
    if (!right)
        abort();
}

static void put_bytes(struct tarn_buf *text, const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    if (length > LONG) {
        check(0 == tarn_buf_printf(text, "<%zu>", length));
        return;
    }
    for (size_t i = 0; i < length; i++)
        check(0 == tarn_buf_printf(text, p[i] >= 0x20 && p[i] < 0x7f ? "%c" : "\\%02x", p[i]));
}

static int called(struct tarn_tar_log *log)
{
    return ++log->calls == log->stop_after ? TARN_TAR_LOG_STOP : 0;
}

static void flush_run(struct tarn_tar_log *log)
{
    if (log->run.length == 0)
        return;
    check(0 == tarn_buf_printf(&log->text, "  %" PRIu64 ":", log->run_offset));
    put_bytes(&log->text, log->run.data, log->run.length);
    check(0 == tarn_buf_append(&log->text, "\n", 1));
    log->run.length = 0;
}

static const char *type_name(uint32_t type)
{
    switch (type) {
    case S_IFREG:
        return "reg";
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "lnk";
    case S_IFCHR:
        return "chr";
    case S_IFBLK:
        return "blk";
    case S_IFIFO:
        return "fifo";
    case TARN_TAR_HARDLINK:
        return "hard";
    default:
        return "?";
    }
}

static int log_begin(void *context, const struct tarn_tar_entry *entry)
{
    struct tarn_tar_log *log = context;
    struct tarn_buf *text = &log->text;
    check(strlen(entry->path) == entry->path_length);
    check(0 == tarn_buf_printf(text, "%s ", type_name(entry->type)));
    put_bytes(text, entry->path, entry->path_length);
    check(0 == tarn_buf_printf(text, " %o %u:%u %" PRId64 ".%09u %" PRIu64, entry->mode, entry->uid,
                               entry->gid, entry->mtime, entry->mtime_ns, entry->size));
    if (entry->link) {
        check(strlen(entry->link) == entry->link_length);
        check(0 == tarn_buf_append(text, " > ", 3));
        put_bytes(text, entry->link, entry->link_length);
    }
    if (entry->rdev_major || entry->rdev_minor)
        check(0 == tarn_buf_printf(text, " dev %u,%u", entry->rdev_major, entry->rdev_minor));
    for (size_t i = 0; i < entry->xattr_count; i++) {
        check(strlen(entry->xattrs[i].name) == entry->xattrs[i].name_length);
        check(0 == tarn_buf_printf(text, " %s=", entry->xattrs[i].name));
        put_bytes(text, entry->xattrs[i].value, entry->xattrs[i].length);
    }
    if (entry->sparse)
        check(0 == tarn_buf_append(text, " sparse", 7));
    for (size_t i = 0; i < entry->extent_count; i++)
        check(0 == tarn_buf_printf(text, " %" PRIu64 "+%" PRIu64, entry->extents[i].offset,
                                   entry->extents[i].length));
    check(0 == tarn_buf_append(text, "\n", 1));
    return called(log);
}

static int log_data(void *context, uint64_t offset, const void *bytes, size_t length)
{
    struct tarn_tar_log *log = context;
    check(length > 0);
    if (offset != log->run_offset + log->run.length)
        flush_run(log);
    if (log->run.length == 0)
        log->run_offset = offset;
    check(0 == tarn_buf_append(&log->run, bytes, length));
    return called(log);
}

static int log_end(void *context)
{
    struct tarn_tar_log *log = context;
    flush_run(log);
    check(0 == tarn_buf_append(&log->text, ".\n", 2));
    return called(log);
}

static const struct tarn_tar_events events = { log_begin, log_data, log_end };

static int push(struct tarn_tar_reader *reader, const uint8_t *bytes, size_t length,
                struct tarn_err *err)
{
    // An exact copy lets the sanitizer see a read behind the end.
    uint8_t *copy = malloc(length);
    if (!copy)
        abort();
    memcpy(copy, bytes, length);
    const int ret = tarn_tar_reader_push(reader, copy, length, err);
    free(copy);
    return ret;
}

int tarn_tar_log_run(const struct tarn_buf *tape, size_t first, size_t piece,
                     struct tarn_tar_log *log, struct tarn_err *err)
{
    struct tarn_tar_reader *reader tarn_cleanup(tarn_tar_reader_free_p) =
        tarn_tar_reader_new(&events, log);
    if (!reader)
        abort();
    int ret = 0;
    size_t n = first;
    for (size_t at = 0; at < tape->length && ret == 0; at += n, n = piece) {
        if (n > tape->length - at)
            n = tape->length - at;
        ret = push(reader, tape->data + at, n, err);
    }
    if (ret == 0)
        ret = tarn_tar_reader_finish(reader, err);
    if (ret < 0) {
        check(push(reader, (const uint8_t *)"x", 1, err) == ret);
        check(tarn_tar_reader_finish(reader, err) == ret);
    }
    check(0 == tarn_buf_append(&log->text, "", 1));
    log->text.length--;
    return ret;
}

void tarn_tar_log_release(struct tarn_tar_log *log)
{
    tarn_buf_release(&log->text);
    tarn_buf_release(&log->run);
}

bool tarn_tar_log_gives_once(const struct tarn_tar_want *want, const struct tarn_buf *tape,
                             size_t first, size_t piece)
{
    struct tarn_tar_log log = { 0 };
    struct tarn_err err = { 0 };
    const int ret = tarn_tar_log_run(tape, first, piece, &log, &err);
    bool right = true;
    if (ret != want->code || !strstr(err.text, want->message ? want->message : "")) {
        fprintf(stderr, "%s, pieces of %zu and %zu: want %d '%s', got %d '%s'\n", want->name, first,
                piece, want->code, want->message ? want->message : "", ret, err.text);
        right = false;
    }
    if (want->log && strcmp((const char *)log.text.data, want->log) != 0) {
        fprintf(stderr, "%s, pieces of %zu and %zu: want\n%sgot\n%s", want->name, first, piece,
                want->log, (const char *)log.text.data);
        right = false;
    }
    tarn_tar_log_release(&log);
    return right;
}

bool tarn_tar_log_gives(const struct tarn_tar_want *want, const struct tarn_buf *tape)
{
    const size_t all = SIZE_MAX / 2;
    bool right = tarn_tar_log_gives_once(want, tape, all, all);
    right = right && tarn_tar_log_gives_once(want, tape, 511, 511);
    right = right && tarn_tar_log_gives_once(want, tape, 512, 512);
    right = right && tarn_tar_log_gives_once(want, tape, 1, 1);
    for (size_t at = 1; right && at < tape->length && tape->length <= SPLIT_MAX; at++)
        right = tarn_tar_log_gives_once(want, tape, at, all);
    return right;
}
