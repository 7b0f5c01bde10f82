// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include "base/container.h"
#include "base/log.h"
#include "daemon/control_message.h"
#include "daemon/worker_internal.h"

enum session_kind { SESSION_MOUNT, SESSION_UMOUNT };

// Something that a client waits for.
struct tarn_session {
    struct tarn_session *next;
    struct tarn_worker *worker;
    struct tarn_client *client; // NULL: it has gone
    enum session_kind kind;
    struct tarn_mounter_wait wait;
    bool busy;         // an answer of the opener or the mounter is still to come
    char *directory;   // MOUNT
    int ino32;         // MOUNT: 0, 1, or -1: as the image's architecture asks for
    uint32_t slot;     // 0: none yet
    uint64_t since;    // UMOUNT: when it began, ms
    unsigned patience; // UMOUNT: ms to wait for files that are still open
};

enum { ELSEWHERE_MS = 300, BUSY_MS = 5000, LAZY_MS = 500, READAHEAD_KB = 128 };

static void end_session(struct tarn_session *session)
{
    struct tarn_worker *worker = session->worker;
    struct tarn_session **at = &worker->sessions;
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    if (session->client)
        tarn_client_set_data(session->client, NULL);
    free(session->directory);
    free(session);
    tarn_worker_settle(worker);
}

static struct tarn_session *new_session(struct tarn_worker *worker, struct tarn_client *client,
                                        enum session_kind kind)
{
    struct tarn_session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->worker = worker;
    session->client = client;
    session->kind = kind;
    session->next = worker->sessions;
    worker->sessions = session;
    tarn_client_set_data(client, session);
    tarn_worker_settle(worker);
    return session;
}

static void send_error(struct tarn_client *client, int code, const char *text)
{
    if (client)
        tarn_client_send(client, tarn_message_error(code, text), -1);
}

// --- mount -----------------------------------------------------------------------------------------------

// The slot goes the usual way: if the client has attached it after all, the watch finds that out.
static void abandon_slot(struct tarn_session *session)
{
    struct tarn_worker *worker = session->worker;
    if (session->slot == 0)
        return;
    if (worker->watch) {
        tarn_slots_set_live(worker->slots, session->slot);
        tarn_watch_kick(worker->watch);
    } else {
        tarn_slots_set_gone(worker->slots, session->slot);
    }
    session->slot = 0;
}

static void fail_session(struct tarn_session *session, int code, const struct tarn_err *err)
{
    send_error(session->client, code, err->text);
    abandon_slot(session);
    end_session(session);
}

// The kernel takes its readahead from here, not from INIT; that has been answered when a tree could be
// cloned. As an ordinary file of sysfs this asks FUSE nothing.
static void set_readahead(struct tarn_worker *worker)
{
    if (worker->readahead_set)
        return;
    worker->readahead_set = true;
    char path[64];
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", worker->major, worker->minor);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || dprintf(fd, "%d", READAHEAD_KB) < 0)
        tarn_log(TARN_LOG_WARNING, "cannot set readahead in %s; sequential reads will be slower",
                 path);
    if (fd >= 0)
        close(fd);
}

static void cloned(struct tarn_mounter_wait *wait, int status, int descriptor,
                   const struct tarn_err *err)
{
    struct tarn_session *session = tarn_container_of(wait, struct tarn_session, wait);
    session->busy = false;
    if (status < 0 || !session->client) {
        if (descriptor >= 0)
            close(descriptor);
        fail_session(session, status, err);
        return;
    }
    set_readahead(session->worker);
    tarn_client_send(session->client,
                     json_pack("{s:s, s:I}", "state", "attach", "slot", (json_int_t)session->slot),
                     descriptor);
}

static void count_opening(struct tarn_worker *worker, const struct tarn_slot *slot,
                          const struct tarn_opened *opened)
{
    tarn_count(&slot->share->mount_requests, opened->requests);
    tarn_count(&slot->share->mount_bytes, opened->bytes);
    tarn_count(&slot->image->counters.mount_requests, opened->requests);
    tarn_count(&slot->image->counters.mount_bytes, opened->bytes);
    tarn_count(&worker->total.mount_requests, opened->requests);
    tarn_count(&worker->total.mount_bytes, opened->bytes);
}

static void image_opened(void *context, int status, const struct tarn_opened *opened,
                         const struct tarn_err *err)
{
    struct tarn_session *session = context;
    struct tarn_worker *worker = session->worker;
    session->busy = false;
    if (status < 0) {
        fail_session(session, status, err);
        return;
    }
    const bool ino32 = session->ino32 < 0 ? opened->narrow : session->ino32 > 0;
    struct tarn_err fault = { 0 };
    int ret = session->client ? 0 : -ECANCELED;
    const uint64_t last = opened->image->bootstrap.erofs.length / TARN_EROFS_NID_SIZE;
    if (last > (ino32 ? UINT32_MAX : TARN_NID_MASK))
        ret =
            tarn_fail(&fault, -EFBIG, "its metadata is too large for the inode numbers asked for");
    const struct tarn_slot *slot =
        ret < 0 ? NULL : tarn_slots_add(worker->slots, opened->image, session->directory, ino32);
    tarn_node_image_unref(opened->image);
    if (ret == 0 && !slot)
        ret = tarn_fail(&fault, -ENOMEM, "out of memory or of numbers for mounts");
    if (ret < 0) {
        fail_session(session, ret, &fault);
        return;
    }
    session->slot = slot->number;
    count_opening(worker, slot, opened);
    if (!worker->watch) {
        tarn_client_send(
            session->client,
            json_pack("{s:s, s:I}", "state", "fuse", "slot", (json_int_t)session->slot), -1);
        return;
    }
    const struct tarn_mounter_request request = { TARN_MOUNTER_ATTACH, session->slot };
    session->wait.answered = cloned;
    ret = tarn_worker_ask_mounter(worker, &request, &session->wait, &fault);
    session->busy = ret == 0;
    if (ret < 0)
        fail_session(session, ret, &fault);
}

// How to reach the registry, as the client found it; zeroed if it says nothing.
static int take_access(const json_t *message, struct tarn_access *access, struct tarn_err *err)
{
    const json_t *json = json_object_get(message, "access");
    *access = (struct tarn_access){ 0 };
    return json ? tarn_access_from_json(json, access, err) : 0;
}

static void open_image(struct tarn_session *session, const char *image, const json_t *message)
{
    struct tarn_access access;
    struct tarn_err err;
    int ret = take_access(message, &access, &err);
    if (ret < 0) {
        fail_session(session, ret, &err);
        return;
    }
    // Credentials are the client's to look up: the daemon's own user may have others.
    access.known = true;
    const struct tarn_opener_query query = {
        .reference = image,
        .platform = tarn_json_string(message, "platform"),
        .access = &access,
        .done = image_opened,
        .context = session,
    };
    ret = tarn_opener_start(session->worker->opener, &query, &err);
    tarn_access_release(&access);
    session->busy = ret == 0;
    if (ret < 0)
        fail_session(session, ret, &err);
}

static void start_mount(struct tarn_worker *worker, struct tarn_client *client,
                        const json_t *message)
{
    tarn_autofree char *image = tarn_message_get_bytes(message, "image");
    tarn_autofree char *directory = tarn_message_get_bytes(message, "directory");
    const json_t *ino32 = json_object_get(message, "ino32");
    if (!image || !directory) {
        send_error(client, -EINVAL, "control message: mount without image or directory");
        return;
    }
    if (worker->state != TARN_WORKER_SERVING) {
        send_error(client, -ESHUTDOWN,
                   "tarnd has been told to end and waits for its last mounts to go");
        return;
    }
    struct tarn_session *session = new_session(worker, client, SESSION_MOUNT);
    if (session)
        session->directory = tarn_steal(directory);
    if (!session || !session->directory) {
        send_error(client, -ENOMEM, "tarnd is out of memory");
        if (session)
            end_session(session);
        return;
    }
    session->ino32 = json_is_boolean(ino32) ? json_is_true(ino32) : -1;
    open_image(session, image, message);
}

static void mounted(struct tarn_session *session)
{
    tarn_slots_set_live(session->worker->slots, session->slot);
    tarn_client_send(session->client,
                     json_pack("{s:s, s:I}", "state", "mounted", "slot", (json_int_t)session->slot),
                     -1);
    end_session(session);
}

static void take_fuse(struct tarn_session *session, int *descriptor)
{
    struct tarn_worker *worker = session->worker;
    struct tarn_err err;
    struct tarn_connection *connection;
    struct tarn_slot *slot = tarn_slots_get(worker->slots, session->slot);
    const int fd = *descriptor;
    *descriptor = -1;
    const int ret = tarn_server_add(worker->server, fd, slot, &connection, &err);
    if (ret < 0)
        fail_session(session, ret, &err);
    else
        mounted(session);
}

// --- umount ----------------------------------------------------------------------------------------------

static bool answer_umount(struct tarn_session *session)
{
    struct tarn_worker *worker = session->worker;
    const uint64_t waited = uv_now(&worker->loop) - session->since;
    struct tarn_slot *slot = tarn_slots_get(worker->slots, session->slot);
    const char *answer = NULL;
    if (!slot) {
        answer = "gone";
    } else if (tarn_slots_state(worker->slots, slot) != TARN_SLOT_GONE) {
        if (waited > ELSEWHERE_MS)
            answer = "elsewhere";
    } else if (waited > session->patience) {
        answer = "busy";
    }
    tarn_slot_put(slot);
    if (!answer)
        return false;
    tarn_client_send(session->client, json_pack("{s:s}", "state", answer), -1);
    end_session(session);
    return true;
}

bool tarn_worker_check_umounts(struct tarn_worker *worker)
{
    bool waiting = false;
    struct tarn_session *next;
    for (struct tarn_session *session = worker->sessions; session; session = next) {
        next = session->next;
        if (session->kind == SESSION_UMOUNT && !answer_umount(session))
            waiting = true;
    }
    return waiting;
}

static void start_umount(struct tarn_worker *worker, struct tarn_client *client,
                         const json_t *message)
{
    const uint64_t slot = tarn_json_u64(message, "slot", 0);
    if (slot == 0 || slot >= TARN_SLOT_LIMIT) {
        send_error(client, -EINVAL, "control message: umount without a slot");
        return;
    }
    struct tarn_session *session = new_session(worker, client, SESSION_UMOUNT);
    if (!session) {
        send_error(client, -ENOMEM, "tarnd is out of memory");
        return;
    }
    session->slot = (uint32_t)slot;
    session->patience = json_is_true(json_object_get(message, "lazy")) ? LAZY_MS : BUSY_MS;
    uv_update_time(&worker->loop);
    session->since = uv_now(&worker->loop);
    if (worker->watch)
        tarn_watch_kick(worker->watch);
    if (!answer_umount(session))
        tarn_worker_start_tick(worker);
}

// --- messages --------------------------------------------------------------------------------------------

// A second request while one is under way, or an answer that nothing asked for.
static void unexpected(struct tarn_client *client)
{
    send_error(client, -EPROTO, "control message: not now");
}

void tarn_worker_message(void *context, struct tarn_client *client, const json_t *message,
                         int *descriptor)
{
    struct tarn_worker *worker = context;
    struct tarn_session *session = tarn_client_data(client);
    const char *op = tarn_json_string(message, "op");
    worker->used = true;
    if (worker->state == TARN_WORKER_ENDING && !session) {
        tarn_client_drop(client); // it will find the next daemon
        return;
    }
    if (!op)
        op = "";
    if (session) {
        const bool attached = session->kind == SESSION_MOUNT && !session->busy && session->slot;
        if (attached && worker->watch && strcmp(op, "attached") == 0)
            mounted(session);
        else if (attached && !worker->watch && strcmp(op, "fuse") == 0 && *descriptor >= 0)
            take_fuse(session, descriptor);
        else
            unexpected(client);
    } else if (strcmp(op, "mount") == 0) {
        start_mount(worker, client, message);
    } else if (strcmp(op, "umount") == 0) {
        start_umount(worker, client, message);
    } else if (strcmp(op, "ps") == 0) {
        tarn_client_send(client, tarn_worker_ps(worker), -1);
    } else if (strcmp(op, "stats") == 0) {
        tarn_client_send(client, tarn_worker_stats(worker), -1);
    } else {
        send_error(client, -ENOTSUP, "control message: unknown request");
    }
}

void tarn_worker_client_closed(void *context, struct tarn_client *client)
{
    (void)context;
    struct tarn_session *session = tarn_client_data(client);
    if (!session)
        return;
    session->client = NULL;
    if (session->busy)
        return; // ends when the answer comes
    if (session->kind == SESSION_MOUNT)
        abandon_slot(session);
    end_session(session);
}
