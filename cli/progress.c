// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

enum { REDRAW_MS = 100, BAR_WIDTH = 24, LINES = 10, LINE_WORK = 50000000 };

struct tarn_progress {
    pthread_mutex_t lock; // guards everything
    bool quiet;
    bool terminal;
    bool drawn;     // a line stands on the terminal
    uint64_t total; // the work counts each byte twice, as do these
    uint64_t done;
    uint64_t next_line; // elsewhere: when so much is done
    double start;
    double last_drawn;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct tarn_progress *tarn_progress_new(bool quiet)
{
    struct tarn_progress *progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    pthread_mutex_init(&progress->lock, NULL);
    progress->quiet = quiet;
    progress->terminal = isatty(STDERR_FILENO);
    progress->next_line = LINE_WORK;
    progress->start = now();
    return progress;
}

double tarn_progress_seconds(const struct tarn_progress *progress)
{
    return now() - progress->start;
}

// With the lock held.
static void clear_line(struct tarn_progress *progress)
{
    if (progress->drawn)
        fputs("\r\x1b[K", stderr);
    progress->drawn = false;
}

void tarn_progress_free(struct tarn_progress *progress)
{
    if (!progress)
        return;
    clear_line(progress);
    pthread_mutex_destroy(&progress->lock);
    free(progress);
}

static double share_of(const struct tarn_progress *progress)
{
    return progress->total == 0 ? 0 : (double)progress->done / (double)progress->total;
}

static void print_state(const struct tarn_progress *progress, double time)
{
    const double share = share_of(progress);
    const double seconds = time - progress->start;
    const double bytes = (double)progress->done / 2;
    fprintf(stderr, "%3.0f%%  %.1f of %.1f MB  %.1f MB/s", share * 100, bytes / 1e6,
            (double)progress->total / 2e6, seconds > 0 ? bytes / 1e6 / seconds : 0);
    if (share > 0.02)
        fprintf(stderr, "  %.0f s left", seconds / share - seconds);
}

// With the lock held.
static void draw(struct tarn_progress *progress, double time)
{
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < share_of(progress) * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] ", bar);
    print_state(progress, time);
    fputs("\x1b[K", stderr);
    fflush(stderr);
    progress->drawn = true;
    progress->last_drawn = time;
}

// With the lock held.
static void print_line(struct tarn_progress *progress, double time)
{
    fputs("tarn: ", stderr);
    print_state(progress, time);
    fputc('\n', stderr);
    progress->next_line = progress->done + tarn_max_u64(progress->total / LINES, LINE_WORK);
}

void tarn_progress_tell(void *context, enum tarn_convert_progress what, uint64_t bytes)
{
    struct tarn_progress *progress = context;
    pthread_mutex_lock(&progress->lock);
    if (what == TARN_CONVERT_TOTAL)
        progress->total += bytes;
    else
        progress->done += bytes;
    const double time = now();
    if (!progress->quiet && progress->terminal && time - progress->last_drawn > REDRAW_MS / 1e3)
        draw(progress, time);
    if (!progress->quiet && !progress->terminal && progress->done >= progress->next_line)
        print_line(progress, time);
    pthread_mutex_unlock(&progress->lock);
}

void tarn_progress_note(void *context, const char *text)
{
    struct tarn_progress *progress = context;
    pthread_mutex_lock(&progress->lock);
    clear_line(progress);
    fprintf(stderr, "tarn: %s\n", text);
    pthread_mutex_unlock(&progress->lock);
}
