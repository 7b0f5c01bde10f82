// SPDX-License-Identifier: Apache-2.0
// The one state that belongs to the process: a library is loaded once.
#include "registry/libcurl.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct tarn_libcurl functions; // set once
static struct tarn_err failure;       // set once

#define FUNCTION(name)                                                                             \
    {                                                                                              \
        "curl_" #name, offsetof(struct tarn_libcurl, name)                                         \
    }

static const struct {
    const char *name;
    size_t offset;
} known[] = {
    FUNCTION(easy_cleanup),
    FUNCTION(easy_escape),
    FUNCTION(easy_getinfo),
    FUNCTION(easy_header),
    FUNCTION(easy_init),
    FUNCTION(easy_setopt),
    FUNCTION(easy_strerror),
    FUNCTION(free),
    FUNCTION(global_init),
    FUNCTION(multi_add_handle),
    FUNCTION(multi_assign),
    FUNCTION(multi_cleanup),
    FUNCTION(multi_info_read),
    FUNCTION(multi_init),
    FUNCTION(multi_remove_handle),
    FUNCTION(multi_setopt),
    FUNCTION(multi_socket_action),
    FUNCTION(slist_append),
    FUNCTION(slist_free_all),
    FUNCTION(url),
    FUNCTION(url_cleanup),
    FUNCTION(url_get),
    FUNCTION(url_set),
};
static_assert(sizeof known / sizeof *known == sizeof functions / sizeof(void (*)(void)),
              "each function is looked up");

static void load(void)
{
    // Never undone: other threads may have clients of their own.
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (size_t i = 0; library && i < sizeof known / sizeof *known; i++) {
        void *function = dlsym(library, known[i].name);
        if (!function)
            library = NULL;
        memcpy((char *)&functions + known[i].offset, &function, sizeof function);
    }
    if (!library)
        tarn_fail(&failure, -ELIBACC, "libcurl, which registries need, cannot be loaded: %s",
                  dlerror());
    else if (functions.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        tarn_fail(&failure, -ENOMEM, "libcurl does not start");
}

int tarn_libcurl_load(struct tarn_err *err)
{
    pthread_once(&once, load);
    if (failure.code < 0 && err)
        *err = failure;
    return failure.code;
}

const struct tarn_libcurl *tarn_libcurl(void)
{
    return &functions;
}
