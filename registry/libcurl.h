// SPDX-License-Identifier: Apache-2.0
// libcurl, loaded when a registry is asked for the first time: it brings 30 libraries along, and to link
// them takes 3 ms of each start, of programs that may never speak to a registry.
#ifndef TARN_REGISTRY_LIBCURL_H
#define TARN_REGISTRY_LIBCURL_H

// These check their arguments' types by macros of the functions' names.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "base/err.h"

// libcurl's functions under their names without "curl_".
struct tarn_libcurl {
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_easy_escape) *easy_escape;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_header) *easy_header;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_strerror) *easy_strerror;
    __typeof__(curl_free) *free;
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_multi_add_handle) *multi_add_handle;
    __typeof__(curl_multi_assign) *multi_assign;
    __typeof__(curl_multi_cleanup) *multi_cleanup;
    __typeof__(curl_multi_info_read) *multi_info_read;
    __typeof__(curl_multi_init) *multi_init;
    __typeof__(curl_multi_remove_handle) *multi_remove_handle;
    __typeof__(curl_multi_setopt) *multi_setopt;
    __typeof__(curl_multi_socket_action) *multi_socket_action;
    __typeof__(curl_slist_append) *slist_append;
    __typeof__(curl_slist_free_all) *slist_free_all;
    __typeof__(curl_url) *url;
    __typeof__(curl_url_cleanup) *url_cleanup;
    __typeof__(curl_url_get) *url_get;
    __typeof__(curl_url_set) *url_set;
};

// Loads and initialises libcurl, once for the process. -ELIBACC with what the dynamic linker says. Any
// thread; blocks.
int tarn_libcurl_load(struct tarn_err *err) tarn_must_check;
// After a load that succeeded.
const struct tarn_libcurl *tarn_libcurl(void);

#endif
