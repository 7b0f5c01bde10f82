// SPDX-License-Identifier: Apache-2.0
#include "converter/convert.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "converter/blob_copy.h"
#include "converter/image_convert.h"
#include "registry/image_reader.h"

// Everything that one conversion has open.
struct session {
    const struct tarn_convert_options *options;
    struct tarn_convert_summary *summary;
    struct tarn_reference source; // kind TARN_REFERENCE_OCI etc.; unused with layers
    struct tarn_reference destination;
    struct tarn_blocking *from_blocking; // NULL: no repository is read
    struct tarn_repository *from;
    struct tarn_blocking *to_blocking;
    struct tarn_repository *to;
    struct tarn_blocking *copy_blocking; // a second way to the destination, for stage A's thread
    struct tarn_repository *copy_to;     // NULL: the original is copied in the end
    struct tarn_pool *pool;
    struct tarn_reuse *reuse;
    struct tarn_buf dict_bootstrap; // what dict borrows from
    struct tarn_bootstrap dict_tables;
    struct tarn_dict *dict;
    json_t *entries; // Tarn's index entries, one for each image
    // Of the images of a registry, in turn; the files of the original's layers are kept in them.
    struct tarn_layer_fetch **fetches;
    size_t fetch_count;
};

static void session_release(struct session *session)
{
    for (size_t i = 0; i < session->fetch_count; i++)
        tarn_layer_fetch_free(session->fetches[i]);
    free(session->fetches);
    tarn_dict_free(session->dict);
    tarn_bootstrap_release(&session->dict_tables);
    tarn_buf_release(&session->dict_bootstrap);
    tarn_reuse_free(session->reuse);
    tarn_repository_close(session->from);
    tarn_blocking_free(session->from_blocking);
    tarn_repository_close(session->copy_to);
    tarn_blocking_free(session->copy_blocking);
    tarn_repository_close(session->to);
    tarn_blocking_free(session->to_blocking);
    tarn_pool_free(session->pool);
    tarn_reference_release(&session->source);
    tarn_reference_release(&session->destination);
    json_decref(session->entries);
}

// --- opening -----------------------------------------------------------------------------------------
static int open_source(struct session *session, struct tarn_err *err)
{
    const enum tarn_reference_kind kind = session->source.kind;
    if (kind == TARN_REFERENCE_TAR || kind == TARN_REFERENCE_DIR)
        return 0;
    session->from_blocking = tarn_blocking_new(err);
    if (!session->from_blocking)
        return -ENOMEM;
    const struct tarn_repository_options options = { .access = session->options->access };
    return tarn_blocking_open(session->from_blocking, &session->source, &options, &session->from,
                              err);
}

static int open_destination(struct session *session, struct tarn_err *err)
{
    const enum tarn_reference_kind kind = session->destination.kind;
    if (kind == TARN_REFERENCE_TAR || kind == TARN_REFERENCE_DIR)
        return tarn_fail(err, -EINVAL,
                         "%s is no destination; give docker://HOST/REPOSITORY:TAG, oci:DIR:TAG or "
                         "oci-archive:FILE:TAG",
                         session->destination.text);
    if (session->destination.has_digest)
        return tarn_fail(err, -EINVAL, "%s: a destination needs a tag, not a digest",
                         session->destination.text);
    session->to_blocking = tarn_blocking_new(err);
    if (!session->to_blocking)
        return -ENOMEM;
    const struct tarn_repository_options options = { .create = true,
                                                     .access = session->options->access };
    return tarn_blocking_open(session->to_blocking, &session->destination, &options, &session->to,
                              err);
}

static int check_referrer(const struct session *session, struct tarn_err *err)
{
    if (session->destination.kind != TARN_REFERENCE_DOCKER)
        return tarn_fail(err, -EINVAL,
                         "--referrer: %s is no registry; without it Tarn's manifest stands behind "
                         "the original, which stays as it is",
                         session->destination.text);
    if (!session->from)
        return tarn_fail(err, -EINVAL,
                         "--referrer needs an image that the result refers to, not layers");
    return 0;
}

// Source and destination are in one registry, where blobs are mounted and not copied.
static bool same_registry(const struct session *session)
{
    return session->source.kind == TARN_REFERENCE_DOCKER &&
           session->destination.kind == TARN_REFERENCE_DOCKER &&
           strcmp(session->source.host, session->destination.host) == 0;
}

// An archive has one writer, so that it takes no blobs by two ways at a time.
static int open_copy(struct session *session, struct tarn_err *err)
{
    if (!session->from || session->options->replace || same_registry(session) ||
        session->destination.kind == TARN_REFERENCE_OCI_ARCHIVE)
        return 0;
    session->copy_blocking = tarn_blocking_new(err);
    if (!session->copy_blocking)
        return -ENOMEM;
    const struct tarn_repository_options options = { .create = true,
                                                     .access = session->options->access };
    return tarn_blocking_open(session->copy_blocking, &session->destination, &options,
                              &session->copy_to, err);
}

static unsigned thread_count(const struct tarn_convert_options *options)
{
    if (options->threads > 0)
        return options->threads;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : (unsigned)processors;
}

static int open_session(struct session *session, struct tarn_err *err)
{
    const struct tarn_convert_options *options = session->options;
    int ret = tarn_reference_parse(options->destination, &session->destination, err);
    if (ret == 0 && options->source)
        ret = tarn_reference_parse(options->source, &session->source, err);
    if (ret == 0 && options->source)
        ret = open_source(session, err);
    if (ret == 0 && options->referrer)
        ret = check_referrer(session, err);
    if (ret == 0)
        ret = open_destination(session, err);
    if (ret == 0)
        ret = open_copy(session, err);
    if (ret < 0)
        return ret;
    session->entries = json_array();
    // The calling thread works too.
    session->pool = tarn_pool_new(thread_count(options) - 1, err);
    if (!session->pool || !session->entries)
        return -ENOMEM;
    if (!options->no_reuse) {
        session->reuse = tarn_reuse_new(&session->destination, options->access, err);
        if (!session->reuse)
            return -ENOMEM;
    }
    return 0;
}

// --- dict --------------------------------------------------------------------------------------------
static void note(const struct session *session, const char *text)
{
    if (session->options->note)
        session->options->note(session->options->context, text);
}

// Copies the dict image's blobs to the destination; those that cannot be had are left out.
static int copy_dict(struct session *session, const struct tarn_copy *copy,
                     const struct tarn_manifest *manifest, struct tarn_err *err)
{
    tarn_autofree bool *usable = calloc(manifest->chain_count, sizeof *usable);
    if (!usable)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < manifest->chain_count; i++) {
        const struct tarn_blob_id blob = { manifest->blobs[i].digest, manifest->blobs[i].size };
        struct tarn_err copy_err = { 0 };
        const int ret = tarn_copy_blob(copy, &blob, &copy_err);
        if (ret == -ENOSPC || ret == -ENOMEM)
            return tarn_fail(err, ret, "%s", copy_err.text);
        usable[i] = ret == 0;
        if (ret < 0) {
            tarn_err_prepend(&copy_err, "warning: a dict blob is left out");
            note(session, copy_err.text);
        }
    }
    session->dict = tarn_dict_new(&session->dict_tables.tables, manifest->chain_count, usable);
    return session->dict ? 0 : tarn_fail(err, -ENOMEM, "out of memory for the dict's chunks");
}

static int load_dict(struct session *session, struct tarn_copy *copy,
                     const struct tarn_reference *reference, struct tarn_err *err)
{
    struct tarn_platform platform;
    int ret = session->options->platform
                  ? tarn_platform_parse(session->options->platform, &platform, err)
                  : tarn_platform_host(&platform, err);
    if (ret < 0)
        return ret;
    const struct tarn_image_query query = tarn_image_query_of(reference, &platform);
    struct tarn_image_list list;
    ret = tarn_blocking_resolve(copy->from_blocking, copy->from, &query, &list, err);
    if (ret < 0)
        return ret;
    struct tarn_manifest manifest = { 0 };
    if (!list.images[0].tarn.json)
        ret = tarn_fail(err, -EINVAL, "the image is not converted; convert it first");
    else
        ret = tarn_image_read_manifest(copy->from_blocking, copy->from, &list.images[0].tarn,
                                       &manifest, err);
    tarn_image_list_release(&list);
    if (ret == 0)
        ret = tarn_image_read_bootstrap(copy->from_blocking, copy->from, &manifest,
                                        &session->dict_bootstrap, err);
    if (ret == 0)
        ret = tarn_bootstrap_open(session->dict_bootstrap.data, session->dict_bootstrap.length,
                                  &session->dict_tables, err);
    if (ret == 0 && session->dict_tables.chain_count != manifest.chain_count)
        ret = tarn_fail(err, -EUCLEAN, "manifest and bootstrap have different numbers of layers");
    if (ret == 0)
        ret = copy_dict(session, copy, &manifest, err);
    tarn_manifest_release(&manifest);
    return ret;
}

static int open_dict(struct session *session, struct tarn_err *err)
{
    if (!session->options->dict)
        return 0;
    struct tarn_reference reference;
    int ret = tarn_reference_parse(session->options->dict, &reference, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "--dict");
    struct tarn_copy copy = { .to_blocking = session->to_blocking, .to = session->to };
    copy.from_blocking = tarn_blocking_new(err);
    const struct tarn_repository_options options = { .access = session->options->access };
    ret = copy.from_blocking
              ? tarn_blocking_open(copy.from_blocking, &reference, &options, &copy.from, err)
              : -ENOMEM;
    if (ret == 0)
        ret = load_dict(session, &copy, &reference, err);
    tarn_repository_close(copy.from);
    tarn_blocking_free(copy.from_blocking);
    if (ret < 0)
        tarn_wrap(err, ret, "--dict %s", reference.text);
    tarn_reference_release(&reference);
    return ret;
}

// --- one image ---------------------------------------------------------------------------------------
// Fills layers from the manifest and config of a plain image.
static int fill_layers(struct session *session, const json_t *manifest, const json_t *config,
                       struct tarn_image_layer *layers, struct tarn_err *err)
{
    const json_t *descriptors = json_object_get(manifest, "layers");
    const json_t *diff_ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    if (json_array_size(diff_ids) != json_array_size(descriptors))
        return tarn_fail(err, -EUCLEAN, "the manifest has %zu layers, its config %zu diff_ids",
                         json_array_size(descriptors), json_array_size(diff_ids));
    for (size_t i = 0; i < json_array_size(descriptors); i++) {
        struct tarn_descriptor descriptor;
        enum tarn_layer_kind kind;
        const char *diff_id = json_string_value(json_array_get(diff_ids, i));
        int ret =
            tarn_descriptor_parse(json_array_get(descriptors, i), "descriptor", &descriptor, err);
        if (ret == 0)
            ret = tarn_layer_kind(descriptor.media_type, &kind, err);
        if (ret == 0 && kind != TARN_LAYER_TAR)
            ret = tarn_fail(err, -EINVAL, "it is converted already");
        if (ret == 0)
            ret = tarn_digest_parse(diff_id ? diff_id : "", &layers[i].diff_id, err);
        if (ret < 0)
            return tarn_wrap(err, ret, "layer %zu", i);
        layers[i].has_diff_id = true;
        layers[i].source = (struct tarn_layer_source){
            .kind = TARN_LAYER_SOURCE_BLOB,
            .blocking = session->from_blocking,
            .repository = session->from,
            .blob = { descriptor.digest, descriptor.size },
        };
    }
    return 0;
}

// Has the layers of an image at a registry downloaded side by side.
static int start_fetch(struct session *session, struct tarn_image_layer *layers, uint32_t count,
                       struct tarn_err *err)
{
    if (session->source.kind != TARN_REFERENCE_DOCKER)
        return 0;
    tarn_autofree struct tarn_blob_id *blobs = calloc(count, sizeof *blobs);
    struct tarn_layer_fetch **fetches =
        reallocarray(session->fetches, session->fetch_count + 1, sizeof *fetches);
    if (fetches)
        session->fetches = fetches;
    if (!blobs || !fetches)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        blobs[i] = layers[i].source.blob;
    const struct tarn_layer_fetch_options options = {
        .source = &session->source,
        .access = session->options->access,
        .layers = blobs,
        .layer_count = count,
        .keep = !same_registry(session) && !session->options->replace,
    };
    struct tarn_layer_fetch *fetch = tarn_layer_fetch_new(&options);
    if (!fetch)
        return tarn_fail(err, -ENOMEM, "out of memory");
    fetches[session->fetch_count++] = fetch;
    for (uint32_t i = 0; i < count; i++) {
        layers[i].source.fetch = fetch;
        layers[i].source.fetch_index = i;
    }
    return 0;
}

static int downloaded(void *context, const struct tarn_digest *digest)
{
    const struct session *session = context;
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < session->fetch_count; i++)
        fd = tarn_layer_fetch_file(session->fetches[i], digest);
    return fd;
}

static void fill_platform(const struct session *session, const json_t *config,
                          struct tarn_platform *platform)
{
    if (config && tarn_platform_from_json(config, platform))
        return;
    if (!session->options->platform ||
        tarn_platform_parse(session->options->platform, platform, NULL) < 0) {
        if (tarn_platform_host(platform, NULL) < 0)
            *platform = (struct tarn_platform){ "linux", "unknown", "" };
    }
}

static int run_job(struct session *session, struct tarn_image_job *job,
                   struct tarn_image_result *result, struct tarn_err *err)
{
    const struct tarn_copy copy = { session->from_blocking, session->from, session->copy_blocking,
                                    session->copy_to,       downloaded,    session };
    job->copy = session->copy_to ? &copy : NULL;
    job->options = session->options;
    job->dict = session->dict;
    job->reuse = session->reuse;
    job->blocking = session->to_blocking;
    job->destination = session->to;
    job->pool = session->pool;
    fill_platform(session, job->source_config, &job->platform);
    const int ret = tarn_image_convert(job, result, session->summary, err);
    if (ret < 0)
        return ret;
    session->summary->tree_digest = result->tree_digest;
    session->summary->manifest_digest = result->manifest.digest;
    if (!job->subject)
        return 0;
    json_t *entry = tarn_image_entry(&result->manifest, &job->subject->digest, &job->platform);
    return json_array_append_new(session->entries, entry) < 0
               ? tarn_fail(err, -ENOMEM, "out of memory")
               : 0;
}

static int convert_plain(struct session *session, const struct tarn_descriptor *original,
                         struct tarn_image_result *result, struct tarn_err *err)
{
    tarn_autojson json_t *manifest = tarn_image_read_json(session->from_blocking, session->from,
                                                          original, "the original's manifest", err);
    if (!manifest)
        return -EUCLEAN;
    struct tarn_descriptor config_descriptor;
    int ret = tarn_descriptor_parse(json_object_get(manifest, "config"), "config",
                                    &config_descriptor, err);
    if (ret < 0)
        return ret;
    tarn_autojson json_t *config = tarn_image_read_json(session->from_blocking, session->from,
                                                        &config_descriptor, "the config", err);
    if (!config)
        return -EUCLEAN;
    const size_t count = json_array_size(json_object_get(manifest, "layers"));
    if (count == 0 || count > TARN_BLOBS_MAX)
        return tarn_fail(err, -EUCLEAN, "the manifest has %zu layers", count);
    tarn_autofree struct tarn_image_layer *layers = calloc(count, sizeof *layers);
    if (!layers)
        return tarn_fail(err, -ENOMEM, "out of memory");
    ret = fill_layers(session, manifest, config, layers, err);
    if (ret == 0)
        ret = start_fetch(session, layers, (uint32_t)count, err);
    if (ret < 0)
        return ret;
    struct tarn_image_job job = { .layers = layers,
                                  .layer_count = (uint32_t)count,
                                  .source_config = config,
                                  .subject = original };
    ret = run_job(session, &job, result, err);
    if (session->fetch_count > 0)
        tarn_layer_fetch_stop(session->fetches[session->fetch_count - 1]);
    return ret;
}

// --- publishing --------------------------------------------------------------------------------------
static int publish(struct session *session, const struct tarn_publication *publication,
                   struct tarn_err *err)
{
    return tarn_blocking_publish(session->to_blocking, session->to, publication, err);
}

// The tag shows Tarn's manifest alone.
static int publish_tarn(struct session *session, const struct tarn_image_result *result,
                        struct tarn_err *err)
{
    tarn_autojson json_t *descriptor = tarn_descriptor_json(
        TARN_MEDIA_OCI_MANIFEST, &result->manifest.digest, result->manifest.size);
    if (!descriptor ||
        json_object_set_new(descriptor, "artifactType", json_string(TARN_ARTIFACT_TYPE)) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_publication publication = {
        .tag = tarn_reference_tag(&session->destination),
        .original = descriptor,
        .original_bytes = result->manifest_bytes.data,
        .original_length = result->manifest_bytes.length,
    };
    return publish(session, &publication, err);
}

// The tag goes on to show the original, which is copied, with Tarn's entries behind it.
static int publish_original(struct session *session, const struct tarn_descriptor *original,
                            struct tarn_err *err)
{
    tarn_autobuf struct tarn_buf bytes = { 0 };
    const struct tarn_copy copy = { session->from_blocking,
                                    session->from,
                                    session->to_blocking,
                                    session->to,
                                    downloaded,
                                    session };
    const int ret = tarn_copy_image(&copy, original, &bytes, err);
    if (ret < 0)
        return tarn_wrap(err, ret, "copying the original");
    tarn_autojson json_t *descriptor = json_deep_copy(original->json);
    if (!descriptor)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_publication publication = {
        .tag = tarn_reference_tag(&session->destination),
        .original = descriptor,
        .original_bytes = bytes.data,
        .original_length = bytes.length,
        .tarn = session->entries,
        .referrer = session->options->referrer,
    };
    return publish(session, &publication, err);
}

// --- the two kinds of sources ------------------------------------------------------------------------
static int convert_list(struct session *session, const struct tarn_image_list *list,
                        struct tarn_err *err)
{
    const bool many = session->options->all_platforms && list->index.json;
    if (session->options->replace && list->count > 1)
        return tarn_fail(err, -EINVAL,
                         "--replace needs one image, the index has %zu; choose one "
                         "with --platform",
                         list->count);
    struct tarn_image_result result = { 0 };
    for (size_t i = 0; i < list->count; i++) {
        const struct tarn_descriptor *original = &list->images[i].original;
        if (!original->json)
            return tarn_fail(err, -EINVAL, "it is converted already");
        tarn_image_result_release(&result);
        const int ret = convert_plain(session, original, &result, err);
        if (ret < 0)
            return ret;
    }
    const int ret =
        session->options->replace
            ? publish_tarn(session, &result, err)
            : publish_original(session, many ? &list->index : &list->images[0].original, err);
    tarn_image_result_release(&result);
    return ret;
}

static int convert_repository(struct session *session, struct tarn_err *err)
{
    struct tarn_platform platform;
    int ret = session->options->platform
                  ? tarn_platform_parse(session->options->platform, &platform, err)
                  : tarn_platform_host(&platform, err);
    if (ret < 0)
        return ret;
    const struct tarn_image_query query =
        tarn_image_query_of(&session->source, session->options->all_platforms ? NULL : &platform);
    struct tarn_image_list list;
    ret = tarn_blocking_resolve(session->from_blocking, session->from, &query, &list, err);
    if (ret == 0) {
        ret = convert_list(session, &list, err);
        tarn_image_list_release(&list);
    }
    return ret < 0 ? tarn_wrap(err, ret, "%s", session->source.text) : 0;
}

static int convert_layers(struct session *session, const struct tarn_reference *references,
                          uint32_t count, struct tarn_err *err)
{
    tarn_autofree struct tarn_image_layer *layers = calloc((size_t)count + 1, sizeof *layers);
    if (!layers)
        return tarn_fail(err, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        layers[i].source.kind = references[i].kind == TARN_REFERENCE_DIR
                                    ? TARN_LAYER_SOURCE_DIRECTORY
                                    : TARN_LAYER_SOURCE_FILE;
        layers[i].source.path = references[i].path;
    }
    struct tarn_image_job job = { .layers = layers, .layer_count = count };
    struct tarn_image_result result;
    int ret = run_job(session, &job, &result, err);
    if (ret < 0)
        return ret;
    ret = publish_tarn(session, &result, err);
    tarn_image_result_release(&result);
    return ret;
}

static int convert_archives(struct session *session, struct tarn_err *err)
{
    const uint32_t count = session->options->layer_count;
    tarn_autofree struct tarn_reference *references = calloc(count + 1, sizeof *references);
    if (!references)
        return tarn_fail(err, -ENOMEM, "out of memory");
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < count; i++) {
        ret = tarn_reference_parse(session->options->layers[i], &references[i], err);
        if (ret == 0 && references[i].kind != TARN_REFERENCE_TAR &&
            references[i].kind != TARN_REFERENCE_DIR)
            ret = tarn_fail(err, -EINVAL, "--layer %s: give tar:FILE or dir:PATH",
                            session->options->layers[i]);
    }
    if (ret == 0)
        ret = convert_layers(session, references, count, err);
    for (uint32_t i = 0; i < count; i++)
        tarn_reference_release(&references[i]);
    return ret;
}

static int convert_source(struct session *session, struct tarn_err *err)
{
    if (!session->options->source)
        return convert_archives(session, err);
    if (session->source.kind == TARN_REFERENCE_TAR || session->source.kind == TARN_REFERENCE_DIR)
        return convert_layers(session, &session->source, 1, err);
    return convert_repository(session, err);
}

int tarn_convert(const struct tarn_convert_options *options, struct tarn_convert_summary *summary,
                 struct tarn_err *err)
{
    *summary = (struct tarn_convert_summary){ 0 };
    struct session session = { .options = options, .summary = summary };
    int ret = open_session(&session, err);
    if (ret == 0)
        ret = open_dict(&session, err);
    if (ret == 0)
        ret = convert_source(&session, err);
    session_release(&session);
    return ret;
}
