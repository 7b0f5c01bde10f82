// SPDX-License-Identifier: Apache-2.0
#include "daemon/control_message.h"

#include "base/bytes.h"
#include "base/file.h"
#include "daemon/fd_socket.h"

enum { HEADER = 4 };

int tarn_message_encode(const json_t *message, struct tarn_buf *bytes)
{
    tarn_autofree char *text = tarn_json_dump(message);
    if (!text)
        return -ENOMEM;
    const size_t length = strlen(text);
    if (length > TARN_MESSAGE_LIMIT)
        return -EFBIG;
    int ret = tarn_buf_reserve(bytes, HEADER + length);
    if (ret == 0)
        ret = tarn_buf_append_le32(bytes, (uint32_t)length);
    if (ret == 0)
        ret = tarn_buf_append(bytes, text, length);
    return ret;
}

int tarn_message_take(struct tarn_buf *bytes, json_t **message, struct tarn_err *err)
{
    if (bytes->length < HEADER)
        return 0;
    const uint32_t length = tarn_get_le32(bytes->data);
    if (length > TARN_MESSAGE_LIMIT)
        return tarn_fail(err, -EUCLEAN, "control message: %u bytes are too many", length);
    if (bytes->length - HEADER < length)
        return 0;
    *message = tarn_json_parse(bytes->data + HEADER, length, "control message", err);
    bytes->length -= HEADER + length;
    memmove(bytes->data, bytes->data + HEADER + length, bytes->length);
    return *message ? 1 : -EUCLEAN;
}

int tarn_message_send(int fd, const json_t *message, int descriptor, struct tarn_err *err)
{
    tarn_cleanup(tarn_buf_release) struct tarn_buf bytes = { 0 };
    int ret = tarn_message_encode(message, &bytes);
    if (ret < 0)
        return tarn_fail(err, ret, "cannot write a control message");
    const ssize_t n = tarn_socket_send(fd, bytes.data, bytes.length, descriptor);
    if (n >= 0)
        ret = tarn_write_full(fd, bytes.data + n, bytes.length - (size_t)n);
    else
        ret = (int)n;
    if (ret == -ECONNRESET)
        ret = -EPIPE;
    return ret < 0 ? tarn_fail_errno(err, ret, "cannot reach tarnd") : 0;
}

static int receive_full(int fd, uint8_t *data, size_t length, int *descriptor)
{
    while (length > 0) {
        const ssize_t n = tarn_socket_receive(fd, data, length, descriptor);
        if (n == 0 || n == -ECONNRESET)
            return -EPIPE;
        if (n < 0)
            return (int)n;
        data += n;
        length -= (size_t)n;
    }
    return 0;
}

int tarn_message_receive(int fd, json_t **message, int *descriptor, struct tarn_err *err)
{
    uint8_t header[HEADER];
    int ret = receive_full(fd, header, sizeof header, descriptor);
    const uint32_t length = ret == 0 ? tarn_get_le32(header) : 0;
    if (length > TARN_MESSAGE_LIMIT)
        return tarn_fail(err, -EUCLEAN, "control message: %u bytes are too many", length);
    tarn_autofree uint8_t *text = malloc(length + 1);
    if (!text)
        return tarn_fail(err, -ENOMEM, "out of memory");
    if (ret == 0)
        ret = receive_full(fd, text, length, descriptor);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "lost tarnd");
    tarn_autojson json_t *received = tarn_json_parse(text, length, "tarnd's answer", err);
    if (!received)
        return -EUCLEAN;
    const char *error = tarn_json_string(received, "error");
    if (error) {
        const json_int_t code = json_integer_value(json_object_get(received, "code"));
        return tarn_fail(err, code < 0 && code > -4096 ? (int)code : -EIO, "%s", error);
    }
    *message = tarn_steal(received);
    return 0;
}

json_t *tarn_message_bytes(const char *bytes)
{
    char *text = malloc(2 * strlen(bytes) + 1);
    if (!text)
        return NULL;
    char *out = text;
    for (const unsigned char *in = (const unsigned char *)bytes; *in; in++) {
        if (*in < 0x80) {
            *out++ = (char)*in;
        } else {
            *out++ = (char)(0xc0 | *in >> 6);
            *out++ = (char)(0x80 | (*in & 0x3f));
        }
    }
    *out = '\0';
    json_t *json = json_string(text);
    free(text);
    return json;
}

char *tarn_message_get_bytes(const json_t *message, const char *key)
{
    const char *text = tarn_json_string(message, key);
    char *bytes = text ? malloc(strlen(text) + 1) : NULL;
    if (!bytes)
        return NULL;
    char *out = bytes;
    for (const unsigned char *in = (const unsigned char *)text; *in; in++) {
        if (*in < 0x80) {
            *out++ = (char)*in;
        } else if (*in == 0xc2 || *in == 0xc3) {
            *out++ = (char)(*in << 6 | (in[1] & 0x3f));
            in++;
        } else {
            free(bytes); // a character above 255
            return NULL;
        }
    }
    *out = '\0';
    return bytes;
}

json_t *tarn_message_error(int code, const char *text)
{
    // What is not UTF-8 (names in paths) would be refused by the library.
    tarn_autofree char *copy = strdup(text);
    if (!copy)
        return NULL;
    json_t *message = json_pack("{s:s, s:i}", "error", copy, "code", code);
    if (message)
        return message;
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_pack("{s:s, s:i}", "error", copy, "code", code);
}
