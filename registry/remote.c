// SPDX-License-Identifier: Apache-2.0
#include "registry/remote.h"

#include <string.h>

#include "registry/oci.h"
#include "registry/remote_internal.h"

const char tarn_remote_accept[] = "Accept: " TARN_MEDIA_OCI_MANIFEST ", " TARN_MEDIA_OCI_INDEX
                                  ", " TARN_MEDIA_DOCKER_MANIFEST ", " TARN_MEDIA_DOCKER_LIST;

enum { KEY_HEX = 32 };

void tarn_remote_layer_tag(const struct tarn_digest *key, char tag[TARN_REMOTE_TAG])
{
    char hex[TARN_DIGEST_HEX + 1];
    snprintf(tag, TARN_REMOTE_TAG, "tarn-layer-%.*s", KEY_HEX, tarn_digest_format_hex(key, hex));
}

void tarn_remote_referrers_tag(const struct tarn_digest *subject, char tag[TARN_REMOTE_TAG])
{
    char hex[TARN_DIGEST_HEX + 1];
    snprintf(tag, TARN_REMOTE_TAG, "sha256-%s", tarn_digest_format_hex(subject, hex));
}

// --- single requests ---------------------------------------------------------------------------------

// A request whose answer is only good or bad.
struct single {
    struct tarn_remote *remote; // referenced
    struct tarn_call *call;
    struct tarn_blob_id blob;
    char *location; // of an upload that a mount turned into
    tarn_done *done;
    void *context;
};

static struct single *new_single(struct tarn_remote *remote, const struct tarn_blob_id *blob,
                                 tarn_done *done, void *context)
{
    struct single *single = calloc(1, sizeof *single);
    if (!single)
        return NULL;
    *single = (struct single){ .remote = remote, .blob = *blob, .done = done, .context = context };
    remote->references++;
    return single;
}

static void free_single(struct single *single)
{
    tarn_remote_unref(single->remote);
    free(single->location);
    free(single);
}

static void single_done(void *context, int status, const struct tarn_err *err)
{
    struct single *single = context;
    single->done(single->context, status, err);
    free_single(single);
}

static int start_single(struct single *single, const struct tarn_call_request *request,
                        struct tarn_err *err)
{
    const int ret = tarn_call_start(single->remote->endpoint, request, &single->call, err);
    if (ret < 0)
        free_single(single);
    return ret;
}

static int has_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    const struct single *single = context;
    if (head->status != 200)
        return tarn_call_unexpected(head, "blob", err);
    if (head->length != UINT64_MAX && head->length != single->blob.size)
        return tarn_fail(err, -ENOENT, "the blob there has another size");
    return 0;
}

static int has_blob(struct tarn_repository *repository, const struct tarn_blob_id *blob,
                    tarn_done *done, void *context, struct tarn_err *err)
{
    struct tarn_remote *remote = (struct tarn_remote *)repository;
    struct single *single = new_single(remote, blob, done, context);
    if (!single)
        return tarn_fail(err, -ENOMEM, "out of memory");
    char digest[TARN_DIGEST_TEXT];
    char path[TARN_DIGEST_TEXT + 8];
    snprintf(path, sizeof path, "blobs/%s", tarn_digest_format(&blob->digest, digest));
    const struct tarn_call_request request = {
        .method = "HEAD",
        .path = path,
        .scope = tarn_remote_scope(remote),
        .context = single,
        .head = has_head,
        .done = single_done,
    };
    return start_single(single, &request, err);
}

// --- mounting from another repository -------------------------------------------------------------------

static int mount_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    struct single *single = context;
    if (head->status == 201)
        return 0;
    if (head->status == 202) {
        const char *location = tarn_http_header(head, "Location");
        single->location = location ? tarn_http_resolve(head->url, location) : NULL;
    }
    return tarn_fail(err, -ENOENT, "the registry does not mount it");
}

static int no_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    (void)context;
    (void)head;
    (void)err;
    return 0;
}

static void no_done(void *context, int status, const struct tarn_err *err)
{
    (void)status;
    (void)err;
    free_single(context);
}

void tarn_remote_forget_upload(struct tarn_remote *remote, const char *location)
{
    enum { PATIENCE = 3 }; // seconds: a registry clears up by itself too
    struct single *single = new_single(remote, &(struct tarn_blob_id){ 0 }, NULL, NULL);
    const struct tarn_call_request request = {
        .method = "DELETE",
        .url = location,
        .scope = { .push = true },
        .timeout = PATIENCE,
        .context = single,
        .head = no_head,
        .done = no_done,
    };
    if (single)
        (void)!start_single(single, &request, NULL);
}

static void mount_done(void *context, int status, const struct tarn_err *err)
{
    struct single *single = context;
    // Whatever a registry has against it, the blob can still be copied.
    if (status == -EIO || status == -EACCES)
        status = -ENOENT;
    if (single->location)
        tarn_remote_forget_upload(single->remote, single->location);
    single_done(single, status, err);
}

static int mount_blob(struct tarn_repository *repository, const struct tarn_blob_source *from,
                      tarn_done *done, void *context, struct tarn_err *err)
{
    struct tarn_remote *remote = (struct tarn_remote *)repository;
    const struct tarn_remote *other = (const struct tarn_remote *)from->repository;
    const char *name = tarn_endpoint_repository(other->endpoint);
    if (strcmp(tarn_endpoint_host(remote->endpoint), tarn_endpoint_host(other->endpoint)) != 0 ||
        strcmp(tarn_endpoint_repository(remote->endpoint), name) == 0)
        return tarn_fail(err, -ENOENT, "%s cannot take blobs over from %s", repository->name,
                         from->repository->name);
    tarn_autofree char *escaped = tarn_http_escape(name);
    tarn_autofree char *path = NULL;
    char digest[TARN_DIGEST_TEXT];
    tarn_digest_format(&from->blob.digest, digest);
    struct single *single = new_single(remote, &from->blob, done, context);
    if (!escaped || !single ||
        asprintf(&path, "blobs/uploads/?mount=%s&from=%s", digest, escaped) < 0) {
        if (single)
            free_single(single);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    const struct tarn_call_request request = {
        .method = "POST",
        .path = path,
        .scope = { .push = true, .from = name },
        .context = single,
        .head = mount_head,
        .done = mount_done,
    };
    return start_single(single, &request, err);
}

// --- manifests ------------------------------------------------------------------------------------------

struct put {
    struct tarn_remote *remote; // referenced
    struct tarn_call *call;
    struct tarn_digest digest;
    bool subject; // the manifest has one
    uint8_t *bytes;
    tarn_done *done;
    void *context;
};

static void free_put(struct put *put)
{
    tarn_remote_unref(put->remote);
    free(put->bytes);
    free(put);
}

static int put_head(void *context, const struct tarn_http_head *head, struct tarn_err *err)
{
    const struct put *put = context;
    char text[TARN_DIGEST_TEXT];
    if (head->status != 201 && head->status != 200 && head->status != 202)
        return tarn_call_unexpected(head, "manifest", err);
    const char *digest = tarn_http_header(head, "Docker-Content-Digest");
    if (digest && strcmp(digest, tarn_digest_format(&put->digest, text)) != 0)
        return tarn_fail(err, -EIO, "the registry stored the manifest as %.100s instead of %s",
                         digest, text);
    if (put->subject && !tarn_http_header(head, "OCI-Subject"))
        put->remote->no_referrers = true;
    return 0;
}

static void put_done(void *context, int status, const struct tarn_err *err)
{
    struct put *put = context;
    put->done(put->context, status, err);
    free_put(put);
}

int tarn_remote_put(struct tarn_remote *remote, const struct tarn_manifest_put *put,
                    struct tarn_err *err)
{
    const struct tarn_manifest_bytes *manifest = put->manifest;
    struct put *new = calloc(1, sizeof *new);
    if (new)
        new->bytes = malloc(manifest->length + 1);
    if (!new || !new->bytes) {
        free(new);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    memcpy(new->bytes, manifest->bytes, manifest->length);
    tarn_sha256(manifest->bytes, manifest->length, &new->digest);
    tarn_autojson json_t *json =
        tarn_json_parse(manifest->bytes, manifest->length, "manifest", NULL);
    new->subject = json_object_get(json, "subject");
    new->remote = remote;
    new->done = put->done;
    new->context = put->context;
    remote->references++;
    char path[512];
    char type[200];
    snprintf(path, sizeof path, "manifests/%s", put->name);
    snprintf(type, sizeof type, "Content-Type: %s", manifest->media_type);
    const struct tarn_call_request request = {
        .method = "PUT",
        .path = path,
        .headers = { type },
        .scope = { .push = true },
        .body = new->bytes,
        .body_length = manifest->length,
        .context = new,
        .head = put_head,
        .done = put_done,
    };
    const int ret = tarn_call_start(remote->endpoint, &request, &new->call, err);
    if (ret < 0)
        free_put(new);
    return ret;
}

static int put_manifest(struct tarn_repository *repository,
                        const struct tarn_manifest_bytes *manifest, tarn_done *done, void *context,
                        struct tarn_err *err)
{
    struct tarn_digest digest;
    char text[TARN_DIGEST_TEXT];
    tarn_sha256(manifest->bytes, manifest->length, &digest);
    const struct tarn_manifest_put put = {
        .name = tarn_digest_format(&digest, text),
        .manifest = manifest,
        .done = done,
        .context = context,
    };
    return tarn_remote_put((struct tarn_remote *)repository, &put, err);
}

// --- the table --------------------------------------------------------------------------------------------

void tarn_remote_unref(struct tarn_remote *remote)
{
    if (--remote->references > 0)
        return;
    tarn_endpoint_free(remote->endpoint);
    json_decref(remote->listed);
    free(remote->listed_tag);
    free(remote->repository.name);
    free(remote);
}

static void remote_close(struct tarn_repository *repository)
{
    tarn_remote_unref((struct tarn_remote *)repository);
}

static const struct tarn_repository_operations operations = {
    .checks_blobs = true,
    .close = remote_close,
    .read = tarn_remote_read,
    .cancel = tarn_remote_cancel,
    .max_ranges = tarn_remote_max_ranges,
    .has_blob = has_blob,
    .mount_blob = mount_blob,
    .upload = tarn_remote_upload,
    .write = tarn_remote_write,
    .commit = tarn_remote_commit,
    .abort = tarn_remote_abort,
    .put_manifest = put_manifest,
    .publish = tarn_remote_publish,
};

int tarn_remote_open(const struct tarn_reference *reference, uv_loop_t *loop,
                     const struct tarn_repository_options *options,
                     struct tarn_repository **repository, struct tarn_err *err)
{
    if (!options->http)
        return tarn_fail(err, -EINVAL, "%s: registries cannot be reached from here",
                         reference->text);
    struct tarn_remote *remote = calloc(1, sizeof *remote);
    if (!remote)
        return tarn_fail(err, -ENOMEM, "out of memory");
    remote->references = 1;
    remote->push = options->create;
    remote->repository.operations = &operations;
    remote->repository.loop = loop;
    remote->endpoint = tarn_endpoint_new(options->http, reference, options->access, err);
    if (!remote->endpoint) {
        free(remote);
        return err && err->code ? err->code : -EINVAL;
    }
    tarn_endpoint_set_interrupted(remote->endpoint, options->interrupted,
                                  options->interrupted_context);
    if (asprintf(&remote->repository.name, "docker://%s/%s", reference->host, reference->path) <
        0) {
        remote->repository.name = NULL;
        tarn_remote_unref(remote);
        return tarn_fail(err, -ENOMEM, "out of memory");
    }
    *repository = &remote->repository;
    return 0;
}
