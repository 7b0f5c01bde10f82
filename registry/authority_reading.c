// SPDX-License-Identifier: Apache-2.0
// Reading the credentials again, by a thread of its own: a credential helper may take ten seconds, and
// neither the loop nor libuv's few threads, which open images, may wait for it.
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "registry/authority_internal.h"
#include "registry/docker_config.h"

struct tarn_credentials_reading {
    struct tarn_authority *authority; // NULL: gone
    struct tarn_authority_wait *waiters;
    uv_async_t over; // closed last: frees it
    pthread_t thread;
    // The thread's until it is over:
    char *places;
    char *host;
    char *repository;
    struct tarn_access fresh;
    bool found;
};

static void reading_free(struct tarn_credentials_reading *reading)
{
    tarn_access_release(&reading->fresh);
    free(reading->places);
    free(reading->host);
    free(reading->repository);
    free(reading);
}

static void on_closed(uv_handle_t *handle)
{
    reading_free(handle->data);
}

static void *run(void *argument)
{
    struct tarn_credentials_reading *reading = argument;
    // Damage to a file is no reason to fail otherwise than without it.
    reading->found = tarn_docker_config_search(reading->places, &reading->fresh, reading->host,
                                               reading->repository, NULL) == 0;
    uv_async_send(&reading->over);
    return NULL;
}

// Each of those who wait may ask again or, the last one, free the authority.
static void on_over(uv_async_t *over)
{
    struct tarn_credentials_reading *reading = over->data;
    struct tarn_authority *authority = reading->authority;
    pthread_join(reading->thread, NULL);
    const bool changed =
        authority && reading->found && tarn_authority_take(authority, &reading->fresh);
    if (authority)
        authority->reading = NULL;
    uv_close((uv_handle_t *)over, on_closed);
    while (reading->waiters)
        tarn_authority_wait_tell(&reading->waiters, changed ? 0 : -ENOENT, NULL, NULL);
}

static int start(struct tarn_credentials_reading *reading, const struct tarn_authority *authority)
{
    reading->places = strdup(authority->own.config_places);
    reading->host = strdup(authority->host);
    reading->repository = strdup(authority->repository);
    if (!reading->places || !reading->host || !reading->repository)
        return -ENOMEM;
    const int ret = uv_async_init(tarn_http_loop(authority->http), &reading->over, on_over);
    if (ret < 0)
        return ret;
    reading->over.data = reading;
    if (pthread_create(&reading->thread, NULL, run, reading) == 0)
        return 0;
    uv_close((uv_handle_t *)&reading->over, on_closed);
    return 1;
}

bool tarn_authority_read_again(struct tarn_authority *authority)
{
    if (authority->reading || !authority->own.config_places)
        return authority->reading;
    struct tarn_credentials_reading *reading = calloc(1, sizeof *reading);
    if (!reading)
        return false;
    const int ret = start(reading, authority);
    if (ret < 0)
        reading_free(reading);
    if (ret != 0)
        return false;
    reading->authority = authority;
    authority->reading = reading;
    return true;
}

void tarn_authority_await_credentials(struct tarn_authority *authority,
                                      struct tarn_authority_wait *wait)
{
    assert(authority->reading);
    tarn_authority_wait_add(&authority->reading->waiters, wait);
}

void tarn_credentials_reading_leave(struct tarn_credentials_reading *reading)
{
    assert(!reading->waiters);
    reading->authority = NULL;
}
