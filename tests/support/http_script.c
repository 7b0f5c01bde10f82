// SPDX-License-Identifier: Apache-2.0
#include "tests/support/http_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/file.h"

#define NOT_FOUND "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// Reads a request: its head into the log, its body nowhere. The head's start in the log, or -1.
static ssize_t read_request(struct tarn_http_script *script, int fd)
{
    const size_t start = script->log.length;
    char piece[65536];
    char *end = NULL;
    ssize_t n = 0;
    while (!end) {
        n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0 || tarn_buf_append(&script->log, piece, (size_t)n) < 0)
            return -1;
        end = memmem(script->log.data + start, script->log.length - start, "\r\n\r\n", 4);
    }
    const size_t head = (size_t)(end - (char *)script->log.data) + 4;
    size_t body = script->log.length - head;
    script->log.length = head;
    end[3] = '\0'; // for the search; a newline again below
    const char *header = strcasestr((char *)script->log.data + start, "\nContent-Length: ");
    const size_t length = header ? strtoul(header + 17, NULL, 10) : 0;
    end[3] = '\n';
    for (; body < length; body += (size_t)n) {
        n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0)
            return -1;
    }
    return (ssize_t)start;
}

static const char *find_answer(struct tarn_http_script *script, const char *request, size_t length)
{
    for (size_t i = 0; i < script->rule_count; i++) {
        const struct tarn_http_rule *rule = &script->rules[i];
        const size_t want = strlen(rule->request);
        if (length < want || memcmp(request, rule->request, want) != 0 ||
            (rule->times > 0 && script->used[i] >= rule->times))
            continue;
        __atomic_fetch_add(&script->used[i], 1, __ATOMIC_SEQ_CST);
        return rule->answer;
    }
    return NOT_FOUND;
}

static void *serve(void *argument)
{
    struct tarn_http_script *script = argument;
    int fd;
    while ((fd = accept(script->listener, NULL, NULL)) >= 0) {
        const struct timeval patience = { .tv_sec = 20 };
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        const ssize_t start = read_request(script, fd);
        const char *answer = start < 0 ? NULL
                                       : find_answer(script, (char *)script->log.data + start,
                                                     script->log.length - (size_t)start);
        if (answer)
            (void)!send(fd, answer, strlen(answer), MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

void tarn_http_script_start(struct tarn_http_script *script)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    *script =
        (struct tarn_http_script){ .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_true(script->listener >= 0);
    assert_int_equal(0, bind(script->listener, (struct sockaddr *)&address, sizeof address));
    assert_int_equal(0, listen(script->listener, 64));
    assert_int_equal(0, getsockname(script->listener, (struct sockaddr *)&address, &length));
    snprintf(script->host, sizeof script->host, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(0, pthread_create(&script->thread, NULL, serve, script));
}

void tarn_http_script_stop(struct tarn_http_script *script)
{
    if (script->listener < 0)
        return;
    shutdown(script->listener, SHUT_RDWR);
    pthread_join(script->thread, NULL);
    close(tarn_steal_fd(&script->listener));
    assert_int_equal(0, tarn_buf_append_zeros(&script->log, 1));
}

unsigned tarn_http_script_used(struct tarn_http_script *script, size_t rule)
{
    return __atomic_load_n(&script->used[rule], __ATOMIC_SEQ_CST);
}

unsigned tarn_http_script_count(const struct tarn_http_script *script, const char *text)
{
    unsigned count = 0;
    for (const char *p = (char *)script->log.data; p && (p = strstr(p, text)); p++)
        count++;
    return count;
}
