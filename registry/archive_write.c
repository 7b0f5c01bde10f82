// SPDX-License-Identifier: Apache-2.0
#include "registry/archive_write.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"

enum { BLOCK = 512, NAME_FIELD = 100, COPY = 256 << 10 };

static const uint64_t OCTAL_LIMIT = UINT64_C(1) << 33; // 11 octal digits

static int write_zeros(int fd, size_t length)
{
    static const uint8_t zeros[2 * BLOCK];
    return length ? tarn_write_full(fd, zeros, length) : 0;
}

static int pad(int fd, uint64_t size)
{
    return write_zeros(fd, (size_t)(tarn_round_up(size, BLOCK) - size));
}

static int write_header(int fd, const char *name, char type, uint64_t size)
{
    uint8_t header[BLOCK] = { 0 };
    char field[16];
    memcpy(header, name, strnlen(name, NAME_FIELD));
    memcpy(header + 100, type == '5' ? "0000755" : "0000644", 7);
    memcpy(header + 108, "0000000", 7);
    memcpy(header + 116, "0000000", 7);
    if (size < OCTAL_LIMIT) {
        snprintf(field, sizeof field, "%011" PRIo64, size);
        memcpy(header + 124, field, 11);
    } else {
        header[124] = 0x80; // GNU's binary form, which all readers know
        for (int i = 0; i < 8; i++)
            header[135 - i] = (uint8_t)(size >> (8 * i));
    }
    memcpy(header + 136, "00000000000", 11);
    header[156] = (uint8_t)type;
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    unsigned sum = 8 * ' ';
    for (int i = 0; i < BLOCK; i++)
        sum += header[i];
    snprintf(field, sizeof field, "%06o", sum);
    memcpy(header + 148, field, 7);
    header[155] = ' ';
    return tarn_write_full(fd, header, BLOCK);
}

// A pax header that carries a name too long for the field.
static int write_long_name(int fd, const char *name)
{
    const size_t rest = strlen(" path=\n") + strlen(name);
    size_t length;
    for (size_t digits = 1;; digits++) {
        char text[24];
        const size_t need = (size_t)snprintf(text, sizeof text, "%zu", rest + digits);
        length = rest + digits;
        if (need == digits)
            break;
    }
    tarn_autofree char *record = tarn_asprintf("%zu path=%s\n", length, name);
    if (!record)
        return -ENOMEM;
    int ret = write_header(fd, "PaxHeaders/name", 'x', length);
    if (ret == 0)
        ret = tarn_write_full(fd, record, length);
    return ret == 0 ? pad(fd, length) : ret;
}

static int write_member(int fd, const char *name, char type, uint64_t size)
{
    const int ret = strlen(name) > NAME_FIELD ? write_long_name(fd, name) : 0;
    return ret == 0 ? write_header(fd, name, type, size) : ret;
}

// The directories of name that the part before it did not have.
static int write_directories(int fd, const char *before, const char *name)
{
    size_t common = 0;
    while (before[common] != '\0' && before[common] == name[common])
        common++;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        const size_t length = (size_t)(slash - name) + 1;
        if (length <= common)
            continue;
        tarn_autofree char *directory = strndup(name, length);
        if (!directory)
            return -ENOMEM;
        const int ret = write_member(fd, directory, '5', 0);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int copy_plain(int to, const struct tarn_archive_part *part, uint64_t done)
{
    tarn_autofree uint8_t *piece = malloc(COPY);
    if (!piece)
        return -ENOMEM;
    int ret = 0;
    while (ret == 0 && done < part->size) {
        const size_t length = (size_t)tarn_min_u64(part->size - done, COPY);
        ret = tarn_pread_full(part->fd, piece, length, part->offset + done);
        if (ret == 0)
            ret = tarn_write_full(to, piece, length);
        done += length;
    }
    return ret;
}

// In the kernel where both files allow it.
static int copy(int to, const struct tarn_archive_part *part)
{
    uint64_t done = 0;
    while (done < part->size) {
        off_t from = (off_t)(part->offset + done);
        const size_t length = (size_t)tarn_min_u64(part->size - done, 1 << 30);
        const ssize_t n = copy_file_range(part->fd, &from, to, NULL, length, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
            return -errno;
        if (n <= 0)
            return copy_plain(to, part, done);
        done += (uint64_t)n;
    }
    return 0;
}

int tarn_archive_write(int fd, const struct tarn_archive_part *parts, size_t count,
                       struct tarn_err *err)
{
    const char *before = "";
    int ret = 0;
    for (size_t i = 0; i < count; i++) {
        const struct tarn_archive_part *part = &parts[i];
        ret = write_directories(fd, before, part->name);
        if (ret == 0)
            ret = write_member(fd, part->name, '0', part->size);
        if (ret == 0)
            ret =
                part->bytes ? tarn_write_full(fd, part->bytes, (size_t)part->size) : copy(fd, part);
        if (ret == 0)
            ret = pad(fd, part->size);
        if (ret < 0)
            return tarn_fail_errno(err, ret, "cannot write member %s", part->name);
        before = part->name;
    }
    ret = write_zeros(fd, 2 * (size_t)BLOCK);
    return ret < 0 ? tarn_fail_errno(err, ret, "cannot write the end") : 0;
}
