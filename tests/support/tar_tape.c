// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tar_tape.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCK = 512 };

static void check(int ret)
{
    if (ret < 0)
        abort();
}

// Octal if it fits, with a NUL behind; else base 256.
static void put_number(uint8_t *field, size_t size, int64_t value)
{
    const unsigned bits = (unsigned)(size - 1) * 3;
    if (value >= 0 && (bits >= 63 || value < INT64_C(1) << bits)) {
        for (size_t i = size - 1; i > 0; i--, value >>= 3)
            field[i - 1] = (uint8_t)('0' + (value & 7));
        return;
    }
    for (size_t i = size; i > 0; i--, value >>= 8)
        field[i - 1] = (uint8_t)(value & 0xff);
    field[0] |= 0x80;
}

static void put_text(uint8_t *field, size_t size, const char *text)
{
    if (text)
        memcpy(field, text, strnlen(text, size));
}

void tarn_tape_sign(uint8_t *block)
{
    memset(block + 148, ' ', 8);
    uint32_t sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    put_number(block + 148, 7, sum);
    block[154] = '\0';
}

uint8_t *tarn_tape_header(struct tarn_buf *tape, const struct tarn_tape_header *header)
{
    check(tarn_buf_append_zeros(tape, BLOCK));
    uint8_t *block = tape->data + tape->length - BLOCK;
    put_text(block, 100, header->name);
    put_number(block + 100, 8, (int64_t)header->mode);
    put_number(block + 108, 8, (int64_t)header->uid);
    put_number(block + 116, 8, (int64_t)header->gid);
    put_number(block + 124, 12, (int64_t)header->size);
    put_number(block + 136, 12, header->mtime);
    block[156] = header->flag == 0 ? '0' : header->flag == 'v' ? '\0' : (uint8_t)header->flag;
    put_text(block + 157, 100, header->link);
    if (header->dialect == 'g')
        memcpy(block + 257, "ustar  ", 8);
    else if (header->dialect != 'v')
        memcpy(block + 257, "ustar\00000", 8);
    if (header->flag == '3' || header->flag == '4') {
        put_number(block + 329, 8, (int64_t)header->major);
        put_number(block + 337, 8, (int64_t)header->minor);
    }
    put_text(block + 345, 155, header->prefix);
    tarn_tape_sign(block);
    return block;
}

void tarn_tape_body(struct tarn_buf *tape, const void *bytes, size_t length)
{
    check(tarn_buf_append(tape, bytes, length));
    check(tarn_buf_append_zeros(tape, (BLOCK - length % BLOCK) % BLOCK));
}

void tarn_tape_file(struct tarn_buf *tape, struct tarn_tape_header header, const void *bytes,
                    size_t length)
{
    header.size = length;
    tarn_tape_header(tape, &header);
    tarn_tape_body(tape, bytes, length);
}

void tarn_tape_record(struct tarn_buf *records, const char *key, const void *value, size_t length)
{
    // The length counts its own digits.
    const size_t rest = strlen(key) + length + 3;
    size_t total = rest;
    char text[24];
    for (;;) {
        const size_t digits = (size_t)snprintf(text, sizeof text, "%zu", total);
        if (rest + digits == total)
            break;
        total = rest + digits;
    }
    check(tarn_buf_append(records, text, strlen(text)));
    check(tarn_buf_append(records, " ", 1));
    check(tarn_buf_append(records, key, strlen(key)));
    check(tarn_buf_append(records, "=", 1));
    check(tarn_buf_append(records, value, length));
    check(tarn_buf_append(records, "\n", 1));
}

void tarn_tape_pax(struct tarn_buf *tape, char flag, struct tarn_buf *records)
{
    const struct tarn_tape_header header = { .name = "PaxHeaders/x", .flag = flag };
    tarn_tape_file(tape, header, records->data, records->length);
    records->length = 0;
}

void tarn_tape_end(struct tarn_buf *tape)
{
    check(tarn_buf_append_zeros(tape, 2 * (size_t)BLOCK));
}
