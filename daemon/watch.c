// SPDX-License-Identifier: Apache-2.0
#include "daemon/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "daemon/linger.h"
#include "daemon/mountinfo.h"

enum { TICK_MS = 1000, PAUSE_MS = 20, SOON_MS = 50, SOON_TICKS = 20, LOOKS = 2, REST = 20 };

struct tarn_watch {
    struct tarn_watch_options options;
    pthread_t thread;
    int mounts; // /proc/self/mountinfo, for its events
    int event;  // an eventfd: 1 look now; STOP
    _Atomic bool stop;
    struct tarn_linger *linger;
    unsigned soon; // so many ticks come sooner: slots may have just become free
};

// The live slots that were not seen yet.
struct missing {
    uint32_t *numbers;
    size_t count;
};

// Returns whether there are slots that are GONE.
static bool collect(const struct tarn_watch *watch, struct missing *missing)
{
    struct tarn_slots *slots = watch->options.slots;
    struct tarn_slot *slot;
    uint32_t next = 1;
    size_t capacity = 0;
    bool gone = false;
    *missing = (struct missing){ 0 };
    while ((slot = tarn_slots_next(slots, next))) {
        next = slot->number + 1;
        const enum tarn_slot_state state = tarn_slots_state(slots, slot);
        const uint32_t number = slot->number;
        if (state == TARN_SLOT_GONE) {
            tarn_linger_slot(watch->linger, slot);
            gone = true;
        }
        tarn_slot_put(slot);
        if (state != TARN_SLOT_LIVE)
            continue;
        if (missing->count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            uint32_t *numbers = reallocarray(missing->numbers, capacity, sizeof *numbers);
            if (!numbers)
                return gone; // the others at the next tick
            missing->numbers = numbers;
        }
        missing->numbers[missing->count++] = number;
    }
    return gone;
}

static void seen(struct missing *missing, uint32_t number)
{
    for (size_t i = 0; i < missing->count; i++)
        if (missing->numbers[i] == number) {
            missing->numbers[i] = missing->numbers[--missing->count];
            return;
        }
}

// Strikes out what a mount table shows. False if it could not be read.
static bool look(const struct tarn_watch *watch, int pid, struct missing *missing)
{
    tarn_cleanup(tarn_buf_release) struct tarn_buf text = { 0 };
    if (tarn_mountinfo_read(pid, &text) < 0)
        return false;
    char *cursor = (char *)text.data;
    struct tarn_mountinfo info;
    while (tarn_mountinfo_next(&cursor, &info))
        if (info.major == watch->options.major && info.minor == watch->options.minor)
            seen(missing, tarn_mountinfo_slot(info.root));
    return true;
}

static bool is_new(struct tarn_buf *namespaces, uint64_t inode)
{
    for (size_t i = 0; i < namespaces->length; i += sizeof inode)
        if (memcmp(namespaces->data + i, &inode, sizeof inode) == 0)
            return false;
    // Without memory a namespace is looked at again.
    return tarn_buf_append(namespaces, &inode, sizeof inode) <= 0;
}

// Looks into the mount namespaces of all processes. False if /proc cannot be read.
static bool look_everywhere(const struct tarn_watch *watch, struct missing *missing)
{
    DIR *processes = opendir("/proc");
    if (!processes)
        return false;
    tarn_cleanup(tarn_buf_release) struct tarn_buf namespaces = { 0 };
    struct stat st;
    if (stat("/proc/self/ns/mnt", &st) == 0)
        (void)is_new(&namespaces, st.st_ino);
    const struct dirent *entry;
    while (missing->count > 0 && (entry = readdir(processes))) {
        const int pid = atoi(entry->d_name);
        if (pid <= 0)
            continue;
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
        if (stat(path, &st) < 0 || !is_new(&namespaces, st.st_ino))
            continue;
        // A process that ended meanwhile may not have been the namespace's last.
        if (!look(watch, pid, missing))
            namespaces.length -= sizeof(uint64_t);
    }
    closedir(processes);
    return true;
}

static void tick(struct tarn_watch *watch)
{
    struct missing missing;
    tarn_linger_begin(watch->linger);
    const bool gone = collect(watch, &missing);
    tarn_linger_end(watch->linger);
    if (!gone)
        watch->soon = SOON_TICKS;
    else if (watch->soon > 0)
        watch->soon--;
    // A namespace may escape one look: its only process forks, with numbers having started anew, and ends.
    bool known = true;
    for (int i = 0; i < LOOKS && known && missing.count > 0; i++) {
        known = look(watch, 0, &missing);
        if (known && missing.count > 0)
            known = look_everywhere(watch, &missing);
    }
    for (size_t i = 0; known && i < missing.count; i++)
        if (tarn_slots_set_gone(watch->options.slots, missing.numbers[i])) {
            tarn_connection_forget_slot(watch->options.connection, missing.numbers[i]);
            watch->soon = SOON_TICKS;
        }
    free(missing.numbers);
}

// Of this thread, so that others who keep the processor busy do not count.
static int64_t used_ms(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

// How long to wait for events. A tick that takes much work, for a slot with large directories in
// use, is followed by a rest that is REST times as long.
static int wait_ms(const struct tarn_watch *watch, int64_t took)
{
    if (tarn_slots_count(watch->options.slots) == 0)
        return -1;
    const int64_t tick_ms = watch->soon > 0 && watch->soon < SOON_TICKS ? SOON_MS : TICK_MS;
    return (int)(took * REST > tick_ms ? took * REST : tick_ms);
}

static void *run(void *argument)
{
    struct tarn_watch *watch = argument;
    int64_t took = 0;
    struct pollfd events[2] = {
        { .fd = watch->event, .events = POLLIN },
        { .fd = watch->mounts, .events = POLLPRI },
    };
    while (!atomic_load(&watch->stop)) {
        const int n = poll(events, 2, wait_ms(watch, took));
        eventfd_t value;
        if (n > 0 && events[0].revents && eventfd_read(watch->event, &value) < 0)
            continue;
        const int64_t start = used_ms();
        tick(watch);
        took = used_ms() - start;
        // Many changes in a row are one change.
        poll(events, 1, PAUSE_MS);
    }
    return NULL;
}

static void free_watch(struct tarn_watch *watch)
{
    if (watch->event >= 0)
        close(watch->event);
    if (watch->mounts >= 0)
        close(watch->mounts);
    tarn_linger_free(watch->linger);
    free(watch);
}

int tarn_watch_start(const struct tarn_watch_options *options, struct tarn_watch **watch,
                     struct tarn_err *err)
{
    struct tarn_watch *started = calloc(1, sizeof *started);
    if (!started)
        return tarn_fail(err, -ENOMEM, "out of memory");
    started->options = *options;
    started->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    started->event = eventfd(0, EFD_CLOEXEC);
    int ret = started->mounts < 0 || started->event < 0 ? -errno : 0;
    started->linger = tarn_linger_new(options->connection);
    if (ret == 0 && !started->linger)
        ret = -ENOMEM;
    if (ret == 0)
        ret = -pthread_create(&started->thread, NULL, run, started);
    if (ret < 0) {
        free_watch(started);
        return tarn_fail_errno(err, ret, "cannot watch the mounts (is /proc mounted?)");
    }
    *watch = started;
    return 0;
}

void tarn_watch_kick(struct tarn_watch *watch)
{
    // Fails only when the counter is at its end, and then the thread wakes anyhow.
    if (eventfd_write(watch->event, 1) < 0)
        return;
}

void tarn_watch_stop(struct tarn_watch *watch)
{
    if (!watch)
        return;
    atomic_store(&watch->stop, true);
    tarn_watch_kick(watch);
    pthread_join(watch->thread, NULL);
    free_watch(watch);
}
