// SPDX-License-Identifier: Apache-2.0
#include "registry/endpoint.h"

#include <string.h>

#include "registry/docker_config.h"

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_HOST "registry-1.docker.io"

struct tarn_endpoint *tarn_endpoint_new(struct tarn_http *http,
                                        const struct tarn_reference *reference,
                                        const struct tarn_access *access, struct tarn_err *err)
{
    tarn_cleanup(tarn_endpoint_free_p) struct tarn_endpoint *endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint || (access && tarn_access_copy(access, &endpoint->access) < 0)) {
        free(tarn_steal(endpoint));
        tarn_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    endpoint->http = http;
    endpoint->host = strdup(reference->host);
    endpoint->repository = strdup(reference->path);
    if (!endpoint->host || !endpoint->repository) {
        tarn_fail(err, -ENOMEM, "out of memory");
        return NULL;
    }
    const struct tarn_access *own = &endpoint->access;
    const bool loopback = tarn_access_loopback(endpoint->host);
    endpoint->tls = !own->plain_http && (own->ca_file || own->insecure || !loopback);
    endpoint->may_switch = loopback && !own->plain_http && !own->ca_file;
    if (!own->known &&
        tarn_docker_config_find(&endpoint->access, endpoint->host, endpoint->repository, err) < 0)
        return NULL;
    endpoint->authority =
        tarn_authority_new(http, &endpoint->access, endpoint->host, endpoint->repository, err);
    return endpoint->authority ? tarn_steal(endpoint) : NULL;
}

void tarn_endpoint_free(struct tarn_endpoint *endpoint)
{
    if (!endpoint)
        return;
    tarn_authority_free(endpoint->authority);
    tarn_access_release(&endpoint->access);
    free(endpoint->host);
    free(endpoint->repository);
    free(endpoint);
}

void tarn_endpoint_set_interrupted(struct tarn_endpoint *endpoint,
                                   bool (*interrupted)(const void *context), const void *context)
{
    endpoint->interrupted = interrupted;
    endpoint->interrupted_context = context;
}

const char *tarn_endpoint_host(const struct tarn_endpoint *endpoint)
{
    return endpoint->host;
}

const char *tarn_endpoint_repository(const struct tarn_endpoint *endpoint)
{
    return endpoint->repository;
}

bool tarn_endpoint_multipart(const struct tarn_endpoint *endpoint)
{
    return endpoint->multipart != MULTIPART_FAILS;
}

void tarn_endpoint_note_multipart(struct tarn_endpoint *endpoint, enum tarn_endpoint_finding found)
{
    if (found == TARN_ENDPOINT_FAILS)
        endpoint->multipart = MULTIPART_FAILS;
    else if (endpoint->multipart == MULTIPART_UNKNOWN)
        endpoint->multipart = found == TARN_ENDPOINT_WORKS ? MULTIPART_WORKS : MULTIPART_FAILS;
}

char *tarn_endpoint_url(const struct tarn_endpoint *endpoint, const char *path)
{
    const char *host = strcmp(endpoint->host, DOCKER_HUB) == 0 ? DOCKER_HUB_HOST : endpoint->host;
    char *url;
    const int ret = asprintf(&url, "http%s://%s/v2/%s/%s", endpoint->tls ? "s" : "", host,
                             endpoint->repository, path);
    return ret < 0 ? NULL : url;
}

void tarn_endpoint_switch(struct tarn_endpoint *endpoint)
{
    if (endpoint->may_switch)
        endpoint->tls = !endpoint->tls;
    endpoint->may_switch = false;
}
