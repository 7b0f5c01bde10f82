// SPDX-License-Identifier: Apache-2.0
#include "daemon/image_opener.h"

#include <inttypes.h>

#include "registry/image_resolve.h"

struct tarn_opener {
    struct tarn_opener_options options;
    struct tarn_http *http; // NULL until an image of a registry is opened
    struct opening *first;
    unsigned settling; // images whose bootstrap is being written to the disk
};

enum { CONFIG_LIMIT = 8 << 20 };

// One image being opened. Each step ends by starting the next or by finish().
struct opening {
    struct tarn_opener *opener;
    struct opening *next;
    char *name;
    char *place; // the repository's name
    struct tarn_reference reference;
    struct tarn_platform platform;
    struct tarn_access access; // zeroed unless it is a registry
    tarn_opener_done *done;
    void *context;

    struct tarn_repository *repository; // owned until the image has it
    struct tarn_transfer *transfer;
    struct tarn_buf buf; // the document or layer that is being read
    uint64_t limit;      // of buf
    unsigned requests;   // all that were made
    uint64_t bytes;      // that these brought
    uint64_t size;       // what the descriptor of the document or blob being read says
    struct tarn_manifest manifest;
    bool known; // narrow is
    bool narrow;
    bool leading; // works on the bootstrap; others that want the same one wait
    bool waiting;

    uv_work_t work;
    int status;   // of the work
    bool missing; // the work found no bootstrap in the store
    struct tarn_err err;
    struct tarn_node_image *image;
};

struct tarn_opener *tarn_opener_new(const struct tarn_opener_options *options, struct tarn_err *err)
{
    struct tarn_opener *opener = calloc(1, sizeof *opener);
    if (opener)
        opener->options = *options;
    else
        tarn_fail(err, -ENOMEM, "out of memory");
    return opener;
}

void tarn_opener_free(struct tarn_opener *opener)
{
    if (!opener)
        return;
    tarn_http_free(opener->http);
    free(opener);
}

bool tarn_opener_busy(const struct tarn_opener *opener)
{
    return opener->first || opener->settling > 0;
}

// --- the end -------------------------------------------------------------------------------------------

static void unlink_opening(struct opening *opening)
{
    struct opening **at = &opening->opener->first;
    while (*at && *at != opening)
        at = &(*at)->next;
    if (*at)
        *at = opening->next;
}

static void free_opening(struct opening *opening)
{
    unlink_opening(opening);
    if (opening->repository)
        tarn_repository_close(opening->repository);
    tarn_buf_release(&opening->buf);
    tarn_manifest_release(&opening->manifest);
    tarn_reference_release(&opening->reference);
    tarn_access_release(&opening->access);
    free(opening->name);
    free(opening->place);
    free(opening);
}

static void finish(struct opening *opening, int status, const struct tarn_err *err)
{
    struct tarn_err told = { .code = status };
    const struct tarn_opened opened = {
        .image = opening->image,
        .requests = opening->requests,
        .bytes = opening->bytes,
        .narrow = opening->narrow,
    };
    if (status < 0) {
        told = err && err->text[0] ? *err : told;
        if (!told.text[0])
            tarn_fail_errno(&told, status, "cannot open it");
        tarn_err_prepend(&told, "%s", opening->name);
    }
    opening->done(opening->context, status, status < 0 ? NULL : &opened, &told);
    free_opening(opening);
}

static bool same_image(const struct opening *a, const struct opening *b)
{
    return tarn_digest_equal(&a->manifest.bootstrap_digest, &b->manifest.bootstrap_digest) &&
           strcmp(a->place, b->place) == 0 && tarn_access_equal(&a->access, &b->access);
}

static void open_bootstrap(struct opening *opening);

// Those who waited share the image, or try on their own: what failed may be the leader's alone.
static void finish_leader(struct opening *leader, int status, const struct tarn_err *err)
{
    leader->leading = false;
    for (;;) {
        struct opening *opening = leader->opener->first;
        while (opening && (!opening->waiting || !same_image(opening, leader)))
            opening = opening->next;
        if (!opening)
            break;
        opening->waiting = false;
        if (status < 0) {
            open_bootstrap(opening);
            break;
        }
        opening->image = leader->image;
        tarn_node_image_ref(leader->image);
        finish(opening, 0, NULL);
    }
    finish(leader, status, err);
}

// --- reading -----------------------------------------------------------------------------------------------

static int received(void *context, const void *bytes, size_t length)
{
    struct opening *opening = context;
    if (length > opening->limit - opening->buf.length)
        return -EFBIG;
    opening->bytes += length;
    return tarn_buf_append(&opening->buf, bytes, length);
}

static int start_read(struct opening *opening, enum tarn_read_kind kind,
                      const struct tarn_descriptor *descriptor,
                      void (*done)(void *context, int status, const struct tarn_err *err))
{
    opening->buf.length = 0;
    opening->requests++;
    // That of a manifest comes from an index, and is compared when all is here.
    opening->limit = kind == TARN_READ_MANIFEST ? TARN_MANIFEST_LIMIT : descriptor->size;
    opening->size = descriptor->size;
    const struct tarn_read read = {
        .kind = kind,
        .digest = descriptor->digest,
        .size = descriptor->size,
        .length = UINT64_MAX,
        .context = opening,
        .data = received,
        .done = done,
    };
    opening->err = (struct tarn_err){ 0 };
    return tarn_repository_read(opening->repository, &read, &opening->transfer, &opening->err);
}

// --- the bootstrap -------------------------------------------------------------------------------------------

static int open_image(struct opening *opening, struct tarn_store_bytes bytes)
{
    struct tarn_node_image_source source = {
        .name = opening->name,
        .manifest = &opening->manifest,
        .bytes = bytes,
        .repository = opening->repository,
        .access = &opening->access,
    };
    const int ret = tarn_node_image_open(opening->opener->options.store, &source, &opening->image,
                                         &opening->err);
    opening->repository = source.repository; // NULL if the image has it
    opening->missing = source.dropped;
    return ret;
}

// On a thread.
static void open_stored(uv_work_t *work)
{
    struct opening *opening = work->data;
    struct tarn_store_bytes bytes;
    opening->status = tarn_store_load_bootstrap(
        opening->opener->options.store, &opening->manifest.bootstrap_digest, &bytes, &opening->err);
    opening->missing = opening->status == -ENOENT;
    if (opening->status == 0)
        opening->status = open_image(opening, bytes);
}

// On a thread.
static void store_and_open(uv_work_t *work)
{
    struct opening *opening = work->data;
    struct tarn_store *store = opening->opener->options.store;
    struct tarn_store_bytes bytes;
    int ret = tarn_store_unpack_bootstrap(store, &opening->buf, &opening->manifest.bootstrap_digest,
                                          &bytes, &opening->err);
    tarn_buf_release(&opening->buf);
    if (ret == 0)
        ret = open_image(opening, bytes);
    opening->status = ret;
}

// Nobody waits for the disk to take a new bootstrap, but what it does not take is lost.
struct settling {
    uv_work_t work;
    struct tarn_opener *opener;
    struct tarn_node_image *image; // a reference is held
};

static void settle(uv_work_t *work)
{
    struct settling *settling = work->data;
    tarn_node_image_settle(settling->image);
}

static void settled(uv_work_t *work, int status)
{
    struct settling *settling = work->data;
    (void)status;
    settling->opener->settling--;
    tarn_node_image_unref(settling->image);
    free(settling);
}

static void start_settling(struct tarn_opener *opener, struct tarn_node_image *image)
{
    struct settling *settling = calloc(1, sizeof *settling);
    if (!settling)
        return;
    settling->opener = opener;
    settling->image = image;
    settling->work.data = settling;
    if (uv_queue_work(opener->options.loop, &settling->work, settle, settled) < 0) {
        free(settling);
        return;
    }
    opener->settling++;
    tarn_node_image_ref(image);
}

static void opened(uv_work_t *work, int status)
{
    struct opening *opening = work->data;
    if (status == 0 && opening->status == 0)
        start_settling(opening->opener, opening->image);
    finish_leader(opening, status < 0 ? status : opening->status, &opening->err);
}

static void queue_work(struct opening *opening, uv_work_cb work, uv_after_work_cb after)
{
    opening->work.data = opening;
    opening->err = (struct tarn_err){ 0 };
    const int ret = uv_queue_work(opening->opener->options.loop, &opening->work, work, after);
    if (ret < 0)
        finish_leader(opening, ret, NULL);
}

static void got_layer(void *context, int status, const struct tarn_err *err)
{
    struct opening *opening = context;
    if (status < 0)
        finish_leader(opening, status, err);
    else
        queue_work(opening, store_and_open, opened);
}

static void tried_stored(uv_work_t *work, int status)
{
    struct opening *opening = work->data;
    if (status < 0 || !opening->missing) {
        opened(work, status);
        return;
    }
    const struct tarn_descriptor *layer = &opening->manifest.bootstrap;
    const int ret = start_read(opening, TARN_READ_BLOB, layer, got_layer);
    if (ret < 0)
        finish_leader(opening, ret, &opening->err);
}

static struct tarn_node_image *find_open(const struct opening *opening)
{
    struct tarn_slots *slots = opening->opener->options.slots;
    struct tarn_node_image *found = NULL;
    struct tarn_slot *slot;
    uint32_t next = 1;
    while (!found && (slot = tarn_slots_next(slots, next))) {
        next = slot->number + 1;
        if (tarn_digest_equal(&slot->image->digest, &opening->manifest.bootstrap_digest) &&
            strcmp(tarn_repository_name(slot->image->repository), opening->place) == 0 &&
            tarn_access_equal(&slot->image->access, &opening->access) &&
            !tarn_node_image_damaged(slot->image))
            found = slot->image;
        if (found)
            tarn_node_image_ref(found);
        tarn_slot_put(slot);
    }
    return found;
}

static void open_bootstrap(struct opening *opening)
{
    opening->image = find_open(opening);
    if (opening->image) {
        finish(opening, 0, NULL);
        return;
    }
    for (const struct opening *other = opening->opener->first; other; other = other->next)
        if (other->leading && same_image(other, opening)) {
            opening->waiting = true;
            return;
        }
    opening->leading = true;
    queue_work(opening, open_stored, tried_stored);
}

// --- the manifest ----------------------------------------------------------------------------------------------

static void set_architecture(struct opening *opening, const char *architecture)
{
    opening->known = true;
    opening->narrow = strcmp(architecture, "386") == 0 || strcmp(architecture, "arm") == 0;
}

static void got_config(void *context, int status, const struct tarn_err *err)
{
    struct opening *opening = context;
    if (status < 0) {
        finish(opening, status, err);
        return;
    }
    tarn_autojson json_t *config =
        tarn_json_parse(opening->buf.data, opening->buf.length, "config", &opening->err);
    if (!config) {
        finish(opening, -EUCLEAN, &opening->err);
        return;
    }
    const char *architecture = tarn_json_string(config, "architecture");
    if (architecture)
        set_architecture(opening, architecture);
    open_bootstrap(opening);
}

static void got_manifest(void *context, int status, const struct tarn_err *err)
{
    struct opening *opening = context;
    if (status < 0) {
        finish(opening, status, err);
        return;
    }
    struct tarn_err *fault = &opening->err;
    int ret = 0;
    if (opening->buf.length != opening->size)
        ret = tarn_fail(fault, -EUCLEAN,
                        "its manifest has %zu bytes, the index says %" PRIu64
                        "; copy the image again",
                        opening->buf.length, opening->size);
    if (ret == 0)
        ret = tarn_manifest_parse(opening->buf.data, opening->buf.length, "manifest",
                                  &opening->manifest, fault);
    if (ret == 0 && opening->manifest.config.size > CONFIG_LIMIT)
        ret = tarn_fail(fault, -EFBIG, "its config is larger than %d bytes", CONFIG_LIMIT);
    if (ret == 0 && !opening->known)
        ret = start_read(opening, TARN_READ_BLOB, &opening->manifest.config, got_config);
    if (ret < 0)
        finish(opening, ret, fault);
    else if (opening->known)
        open_bootstrap(opening);
}

static void resolved(void *context, int status, struct tarn_image_list *list,
                     const struct tarn_err *err)
{
    struct opening *opening = context;
    if (status < 0) {
        finish(opening, status, err);
        return;
    }
    opening->requests += list->requests;
    opening->bytes += list->bytes;
    struct tarn_err fault = { 0 };
    const struct tarn_descriptor *manifest = &list->images[0].tarn;
    int ret = 0;
    // The entry that led to it tells the architecture: the config need not be read for it.
    struct tarn_platform platform;
    const char *annotation = tarn_oci_annotation(manifest->json, TARN_ANNOTATION_PLATFORM);
    if (annotation && tarn_platform_parse(annotation, &platform, NULL) == 0)
        set_architecture(opening, platform.architecture);
    if (!manifest->json)
        ret = tarn_fail(&fault, -ENOENT, "not a Tarn image; `tarn convert` makes one of it");
    if (ret == 0)
        ret = start_read(opening, TARN_READ_MANIFEST, manifest, got_manifest);
    if (ret < 0 && !fault.text[0])
        fault = opening->err;
    tarn_image_list_release(list);
    if (ret < 0)
        finish(opening, ret, &fault);
}

// --- the start -----------------------------------------------------------------------------------------------

static int reach_registry(struct opening *opening, const struct tarn_access *access,
                          struct tarn_repository_options *options, struct tarn_err *err)
{
    struct tarn_opener *opener = opening->opener;
    if (!opener->http)
        opener->http = tarn_http_new(opener->options.loop, err);
    if (!opener->http)
        return -ENOMEM;
    if (tarn_access_copy(access, &opening->access) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    options->http = opener->http;
    options->access = &opening->access;
    return 0;
}

static int prepare(struct opening *opening, const struct tarn_opener_query *query,
                   struct tarn_err *err)
{
    opening->name = strdup(query->reference);
    if (!opening->name)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = tarn_reference_parse(query->reference, &opening->reference, err);
    if (ret < 0)
        return ret;
    ret = query->platform ? tarn_platform_parse(query->platform, &opening->platform, err)
                          : tarn_platform_host(&opening->platform, err);
    if (ret < 0)
        return ret;
    struct tarn_repository_options options = { .create = false };
    if (opening->reference.kind == TARN_REFERENCE_DOCKER)
        ret = reach_registry(opening, query->access, &options, err);
    if (ret < 0)
        return ret;
    ret = tarn_repository_open(&opening->reference, opening->opener->options.loop, &options,
                               &opening->repository, err);
    if (ret < 0)
        return ret;
    opening->place = strdup(tarn_repository_name(opening->repository));
    if (!opening->place)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_image_query asked =
        tarn_image_query_of(&opening->reference, &opening->platform);
    ret = tarn_image_resolve(opening->repository, &asked, resolved, opening);
    return ret < 0 ? tarn_fail_errno(err, ret, "%s", opening->name) : 0;
}

int tarn_opener_start(struct tarn_opener *opener, const struct tarn_opener_query *query,
                      struct tarn_err *err)
{
    struct opening *opening = calloc(1, sizeof *opening);
    if (!opening)
        return tarn_fail(err, -ENOMEM, "out of memory");
    opening->opener = opener;
    opening->done = query->done;
    opening->context = query->context;
    const int ret = prepare(opening, query, err);
    if (ret < 0) {
        free_opening(opening);
        return ret;
    }
    opening->next = opener->first;
    opener->first = opening;
    return 0;
}
