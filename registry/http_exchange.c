// SPDX-License-Identifier: Apache-2.0
// One request: an easy handle, its callbacks, and libcurl's errors in our words.
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "registry/http_internal.h"

enum {
    REDIRECTS_MAX = 8,
    CONNECT_TIMEOUT_MS = 10000,
    BUFFER_SIZE = 128 << 10,
};

#define USER_AGENT "tarn/1"

// --- libcurl's callbacks ---------------------------------------------------------------------------

static int give_up(struct tarn_exchange *exchange, int status)
{
    exchange->failed = true;
    exchange->status = status;
    return status;
}

// Tells the answer's head once. False: it ended there.
static bool tell_head(struct tarn_exchange *exchange)
{
    if (exchange->headed)
        return true;
    exchange->headed = true;
    long code = 0;
    curl_off_t length = -1;
    char *url = NULL;
    tarn_libcurl()->easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &code);
    tarn_libcurl()->easy_getinfo(exchange->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    tarn_libcurl()->easy_getinfo(exchange->easy, CURLINFO_EFFECTIVE_URL, &url);
    const struct tarn_http_head head = {
        .status = (int)code,
        .length = length < 0 ? UINT64_MAX : (uint64_t)length,
        .url = url ? url : exchange->url,
        .private = exchange->easy,
    };
    const int ret =
        exchange->request.head ? exchange->request.head(exchange->request.context, &head) : 0;
    if (ret < 0)
        give_up(exchange, ret);
    return ret >= 0;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *context)
{
    struct tarn_exchange *exchange = context;
    const size_t length = size * count;
    if (exchange->cancelled || !tell_head(exchange) || exchange->cancelled)
        return length == 0; // anything but length ends the transfer
    if (!exchange->request.data)
        return length;
    const int ret = exchange->request.data(exchange->request.context, bytes, length);
    if (ret < 0)
        give_up(exchange, ret);
    return ret < 0 || exchange->cancelled ? (length == 0) : length;
}

static size_t on_send(char *to, size_t size, size_t count, void *context)
{
    struct tarn_exchange *exchange = context;
    if (exchange->cancelled)
        return CURL_READFUNC_ABORT;
    const size_t left = exchange->request.body_length - exchange->body_sent;
    const size_t room = size * count;
    const size_t length = left < room ? left : room;
    if (length > 0)
        memcpy(to, (const uint8_t *)exchange->request.body + exchange->body_sent, length);
    exchange->body_sent += length;
    if (length > 0 && exchange->request.sent)
        exchange->request.sent(exchange->request.context, length);
    return length;
}

static int on_rewind(void *context, curl_off_t offset, int origin)
{
    struct tarn_exchange *exchange = context;
    if (origin != SEEK_SET || offset < 0 || (size_t)offset > exchange->request.body_length)
        return CURL_SEEKFUNC_FAIL;
    exchange->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

// --- the end ------------------------------------------------------------------------------------------

static int errno_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
        return -ECONNREFUSED;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_SSL_CONNECT_ERROR:
        return -EPROTO;
    case CURLE_TOO_MANY_REDIRECTS:
        return -ELOOP;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return -EKEYREJECTED;
    default:
        return -EIO;
    }
}

void tarn_exchange_free(struct tarn_exchange *exchange)
{
    if (!exchange)
        return;
    tarn_libcurl()->easy_cleanup(exchange->easy);
    tarn_libcurl()->slist_free_all(exchange->headers);
    free(exchange->url);
    free(exchange->method);
    free(exchange);
}
TARN_DEFINE_CLEANUP(struct tarn_exchange, tarn_exchange_free)

// What a redirect led to says nothing of the protocol that the registry itself speaks.
static int errno_behind_redirect(CURLcode code)
{
    const int status = errno_of(code);
    if (status != -EPROTO)
        return status;
    return code == CURLE_UNSUPPORTED_PROTOCOL ? -ELOOP : -ECONNRESET;
}

void tarn_exchange_finish(struct tarn_exchange *exchange, CURLcode code)
{
    struct tarn_err err = { 0 };
    long redirects = 0;
    tarn_libcurl()->easy_getinfo(exchange->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    int status = redirects > 0 ? errno_behind_redirect(code) : errno_of(code);
    if (code == CURLE_OK && !exchange->cancelled)
        tell_head(exchange); // an answer without a body
    if (exchange->failed)
        status = exchange->status;
    if (status < 0)
        tarn_fail(&err, status, "%s",
                  exchange->text[0] ? exchange->text : tarn_libcurl()->easy_strerror(code));
    if (exchange->added)
        tarn_libcurl()->multi_remove_handle(exchange->http->multi, exchange->easy);
    if (!exchange->cancelled) {
        exchange->cancelled = true; // cancelling from within done() is nothing
        exchange->request.done(exchange->request.context, status, &err);
    }
    tarn_exchange_free(exchange);
}

void tarn_exchange_cancel(struct tarn_exchange *exchange)
{
    if (exchange->cancelled)
        return;
    exchange->cancelled = true;
    tarn_http_remove(exchange);
}

const char *tarn_http_header(const struct tarn_http_head *head, const char *name)
{
    struct curl_header *header;
    if (tarn_libcurl()->easy_header(head->private, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    if (header->amount > 1)
        tarn_libcurl()->easy_header(head->private, name, header->amount - 1, CURLH_HEADER, -1,
                                    &header);
    return header->value;
}

char *tarn_http_header_list(const struct tarn_http_head *head, const char *name)
{
    struct curl_header *header;
    char *list = NULL;
    for (size_t i = 0; tarn_libcurl()->easy_header(head->private, name, i, CURLH_HEADER, -1,
                                                   &header) == CURLHE_OK;
         i++) {
        tarn_autofree char *before = list;
        list = tarn_asprintf("%s%s%s", before ? before : "", before ? ", " : "", header->value);
        if (!list)
            break;
    }
    return list;
}

// --- the start ----------------------------------------------------------------------------------------

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static void set_method(struct tarn_exchange *exchange)
{
    CURL *easy = exchange->easy;
    const char *method = exchange->method;
    const bool body = is(method, "POST") || is(method, "PUT") || is(method, "PATCH");
    if (is(method, "HEAD")) {
        tarn_libcurl()->easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (body) {
        tarn_libcurl()->easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                                    (curl_off_t)exchange->request.body_length);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_READDATA, exchange);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_SEEKDATA, exchange);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
    } else {
        tarn_libcurl()->easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        if (!is(method, "GET"))
            tarn_libcurl()->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    }
    if (!body) {
        // A header of ours goes to the first host only: libcurl drops Authorization elsewhere.
        tarn_libcurl()->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    }
}

static void set_tls(CURL *easy, const struct tarn_access *access)
{
    if (!access)
        return;
    if (access->ca_file)
        tarn_libcurl()->easy_setopt(easy, CURLOPT_CAINFO, access->ca_file);
    if (access->insecure) {
        tarn_libcurl()->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        tarn_libcurl()->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static void set_options(struct tarn_exchange *exchange)
{
    CURL *easy = exchange->easy;
    tarn_libcurl()->easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_URL, exchange->url);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    tarn_libcurl()->easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    tarn_libcurl()->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    // Ending a request does not wait for a name server that does not answer.
    tarn_libcurl()->easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_NOPROXY, exchange->http->no_proxy);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_USERAGENT, USER_AGENT);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->text);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    if (strncmp(exchange->url, "https:", 6) == 0)
        tarn_libcurl()->easy_setopt(easy, CURLOPT_PIPEWAIT, 1L); // it may turn out to carry several
    tarn_libcurl()->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    tarn_libcurl()->easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
    set_method(exchange);
    set_tls(easy, exchange->request.access);
}

static int add_header(struct tarn_exchange *exchange, const char *text)
{
    struct curl_slist *list = tarn_libcurl()->slist_append(exchange->headers, text);
    if (!list)
        return -ENOMEM;
    exchange->headers = list;
    return 0;
}

static int prepare(struct tarn_exchange *exchange, const struct tarn_http_request *request)
{
    exchange->easy = tarn_libcurl()->easy_init();
    exchange->url = strdup(request->url);
    exchange->method = strdup(request->method);
    if (!exchange->easy || !exchange->url || !exchange->method)
        return -ENOMEM;
    int ret = add_header(exchange, "Expect:"); // no waiting for a "100 Continue"
    for (const char *const *header = request->headers; ret == 0 && header && *header; header++)
        ret = add_header(exchange, *header);
    if (ret == 0)
        set_options(exchange);
    return ret;
}

int tarn_http_start(struct tarn_http *http, const struct tarn_http_request *request,
                    struct tarn_exchange **exchange, struct tarn_err *err)
{
    tarn_cleanup(tarn_exchange_free_p) struct tarn_exchange *new = calloc(1, sizeof *new);
    if (!new)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->http = http;
    new->request = *request;
    if (prepare(new, request) < 0)
        return tarn_fail(err, -ENOMEM, "out of memory");
    new->request.headers = NULL;
    if (!tarn_http_add(new))
        return tarn_fail(err, -ENOMEM, "out of memory");
    *exchange = tarn_steal(new);
    return 0;
}

// --- URLs -----------------------------------------------------------------------------------------------

// A part of a URL in fresh memory of libcurl, or NULL.
static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    return tarn_libcurl()->url_get(url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static CURLU *parse_url(const char *text)
{
    CURLU *url = tarn_libcurl()->url();
    if (url && tarn_libcurl()->url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
        return url;
    tarn_libcurl()->url_cleanup(url);
    return NULL;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part, unsigned flags)
{
    char *x = part_of(a, part, flags);
    char *y = part_of(b, part, flags);
    const bool same = x && y ? strcasecmp(x, y) == 0 : x == y;
    tarn_libcurl()->free(x);
    tarn_libcurl()->free(y);
    return same;
}

bool tarn_http_same_origin(const char *a, const char *b)
{
    if (tarn_libcurl_load(NULL) < 0)
        return false;
    CURLU *x = parse_url(a);
    CURLU *y = parse_url(b);
    const bool same = x && y && same_part(x, y, CURLUPART_SCHEME, 0) &&
                      same_part(x, y, CURLUPART_HOST, 0) &&
                      same_part(x, y, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    tarn_libcurl()->url_cleanup(x);
    tarn_libcurl()->url_cleanup(y);
    return same;
}

// Gives an http URL the scheme of base where host and port are spelled as there.
static void keep_tls(CURLU *url, const char *base)
{
    CURLU *from = parse_url(base);
    char *scheme = from ? part_of(from, CURLUPART_SCHEME, 0) : NULL;
    if (scheme && is(scheme, "https") && same_part(url, from, CURLUPART_HOST, 0) &&
        same_part(url, from, CURLUPART_PORT, 0))
        tarn_libcurl()->url_set(url, CURLUPART_SCHEME, scheme, 0);
    tarn_libcurl()->free(scheme);
    tarn_libcurl()->url_cleanup(from);
}

char *tarn_http_resolve(const char *base, const char *location)
{
    if (tarn_libcurl_load(NULL) < 0)
        return NULL;
    CURLU *url = parse_url(base);
    if (!url || tarn_libcurl()->url_set(url, CURLUPART_URL, location, 0) != CURLUE_OK) {
        tarn_libcurl()->url_cleanup(url);
        return NULL;
    }
    char *scheme = part_of(url, CURLUPART_SCHEME, 0);
    if (scheme && is(scheme, "http"))
        keep_tls(url, base);
    char *text = part_of(url, CURLUPART_URL, 0);
    char *result =
        scheme && (is(scheme, "http") || is(scheme, "https")) && text ? strdup(text) : NULL;
    tarn_libcurl()->free(scheme);
    tarn_libcurl()->free(text);
    tarn_libcurl()->url_cleanup(url);
    return result;
}

char *tarn_http_escape(const char *text)
{
    if (tarn_libcurl_load(NULL) < 0)
        return NULL;
    char *escaped = tarn_libcurl()->easy_escape(NULL, text, 0);
    char *result = escaped ? strdup(escaped) : NULL;
    tarn_libcurl()->free(escaped);
    return result;
}
