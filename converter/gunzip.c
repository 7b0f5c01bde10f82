// SPDX-License-Identifier: Apache-2.0
// gzip by ISA-L. The member headers are read here, byte by byte where needed, so that they may
// arrive in any pieces; ISA-L gets the deflate data and the trailer, and checks CRC and length.
#include <inttypes.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#include "base/bytes.h"
#include "converter/decompress_internal.h"

enum {
    FLAG_HEADER_CRC = 1 << 1,
    FLAG_EXTRA = 1 << 2,
    FLAG_NAME = 1 << 3,
    FLAG_COMMENT = 1 << 4,
    FLAGS_RESERVED = 0xe0,
    FIXED_SIZE = 10,
    DEFLATE = 8,
    MAX_INPUT = 1 << 30, // ISA-L counts in 32 bits
};

// In the order in which they follow each other.
enum part {
    PART_FIXED,
    PART_EXTRA_LENGTH,
    PART_EXTRA,
    PART_NAME,
    PART_COMMENT,
    PART_CRC,
    PART_DATA
};

struct tarn_gunzip {
    struct tarn_piece *piece;
    uint64_t offset;  // input bytes taken
    uint64_t members; // complete ones
    enum part part;
    bool padding;              // zeros came after the last member
    uint8_t field[FIXED_SIZE]; // the header field that is being read
    size_t field_length;
    uint32_t extra_left;
    uint8_t flags;
    uint32_t header_crc;
    struct inflate_state inflate;
};

struct tarn_gunzip *tarn_gunzip_new(struct tarn_piece *piece)
{
    struct tarn_gunzip *gunzip = calloc(1, sizeof *gunzip);
    if (gunzip)
        gunzip->piece = piece;
    return gunzip;
}

void tarn_gunzip_free(struct tarn_gunzip *gunzip)
{
    free(gunzip);
}

// Goes to the next part that the flags ask for.
static void next_part(struct tarn_gunzip *gunzip)
{
    static const uint8_t flag_of[] = {
        [PART_EXTRA_LENGTH] = FLAG_EXTRA, [PART_EXTRA] = FLAG_EXTRA,    [PART_NAME] = FLAG_NAME,
        [PART_COMMENT] = FLAG_COMMENT,    [PART_CRC] = FLAG_HEADER_CRC,
    };
    do
        gunzip->part++;
    while (gunzip->part < PART_DATA && !(gunzip->flags & flag_of[gunzip->part]));
    gunzip->field_length = 0;
    if (gunzip->part == PART_DATA) {
        isal_inflate_init(&gunzip->inflate);
        gunzip->inflate.crc_flag = ISAL_GZIP_NO_HDR_VER;
    }
}

static int check_fixed(struct tarn_gunzip *gunzip, struct tarn_err *err)
{
    const uint8_t *field = gunzip->field;
    const uint64_t at = gunzip->offset - FIXED_SIZE;
    if (field[0] != 0x1f || field[1] != 0x8b)
        return tarn_fail(err, -EUCLEAN, "gzip: no member begins at byte %" PRIu64, at);
    if (field[2] != DEFLATE)
        return tarn_fail(err, -ENOTSUP, "gzip: compression method %u at byte %" PRIu64, field[2],
                         at);
    if (field[3] & FLAGS_RESERVED)
        return tarn_fail(err, -EUCLEAN, "gzip: reserved flags 0x%02x at byte %" PRIu64, field[3],
                         at);
    gunzip->flags = field[3];
    next_part(gunzip);
    return 0;
}

// One byte of a header.
static int header_byte(struct tarn_gunzip *gunzip, uint8_t byte, struct tarn_err *err)
{
    gunzip->offset++;
    if (gunzip->part != PART_CRC)
        gunzip->header_crc = crc32_gzip_refl(gunzip->header_crc, &byte, 1);
    switch (gunzip->part) {
    case PART_FIXED:
        gunzip->field[gunzip->field_length++] = byte;
        return gunzip->field_length == FIXED_SIZE ? check_fixed(gunzip, err) : 0;
    case PART_EXTRA_LENGTH:
        gunzip->field[gunzip->field_length++] = byte;
        if (gunzip->field_length < 2)
            return 0;
        gunzip->extra_left = tarn_get_le16(gunzip->field);
        next_part(gunzip);
        if (gunzip->extra_left == 0)
            next_part(gunzip);
        return 0;
    case PART_EXTRA:
        if (--gunzip->extra_left == 0)
            next_part(gunzip);
        return 0;
    case PART_NAME:
    case PART_COMMENT:
        if (byte == 0)
            next_part(gunzip);
        return 0;
    case PART_CRC:
        gunzip->field[gunzip->field_length++] = byte;
        if (gunzip->field_length < 2)
            return 0;
        if (tarn_get_le16(gunzip->field) != (gunzip->header_crc & 0xffff))
            return tarn_fail(err, -EUCLEAN, "gzip: header checksum mismatch at byte %" PRIu64,
                             gunzip->offset - 2);
        next_part(gunzip);
        return 0;
    case PART_DATA:
        break;
    }
    return 0;
}

// The first byte after a member decides: padding, or another header.
static int between_members(struct tarn_gunzip *gunzip, uint8_t byte, struct tarn_err *err)
{
    if (byte == 0) {
        gunzip->padding = true;
        gunzip->offset++;
        return 0;
    }
    if (gunzip->padding || byte != 0x1f)
        return tarn_fail(err, -EUCLEAN, "gzip: garbage after the last member at byte %" PRIu64,
                         gunzip->offset);
    return header_byte(gunzip, byte, err);
}

static int inflate_failed(const struct tarn_gunzip *gunzip, int code, struct tarn_err *err)
{
    const char *what = code == ISAL_INCORRECT_CHECKSUM ? "CRC or length mismatch"
                       : code == ISAL_INVALID_BLOCK    ? "damaged block"
                       : code == ISAL_INVALID_LOOKBACK ? "reference before the beginning"
                                                       : "damaged data";
    return tarn_fail(err, -EUCLEAN, "gzip: %s before byte %" PRIu64 " in member %" PRIu64, what,
                     gunzip->offset, gunzip->members + 1);
}

// Inflates until the input or the member ends. Sets *used.
static int inflate_some(struct tarn_gunzip *gunzip, const uint8_t *bytes, size_t length,
                        size_t *used, struct tarn_err *err)
{
    struct inflate_state *inflate = &gunzip->inflate;
    struct tarn_piece *piece = gunzip->piece;
    const uint32_t input = (uint32_t)tarn_min_u64(length, MAX_INPUT);
    inflate->next_in = (uint8_t *)(uintptr_t)bytes; // ISA-L only reads it
    inflate->avail_in = input;
    do {
        inflate->next_out = piece->data + piece->length;
        inflate->avail_out = (uint32_t)(TARN_PIECE_SIZE - piece->length);
        const int code = isal_inflate(inflate);
        *used = input - inflate->avail_in;
        if (code < 0 || code == ISAL_NEED_DICT) {
            gunzip->offset += *used;
            return inflate_failed(gunzip, code, err);
        }
        piece->length = TARN_PIECE_SIZE - inflate->avail_out;
        if (piece->length == TARN_PIECE_SIZE) {
            const int ret = tarn_piece_flush(piece);
            if (ret < 0)
                return ret;
        }
        // A full piece may have left output behind, inside of ISA-L.
    } while (inflate->block_state != ISAL_BLOCK_FINISH &&
             (inflate->avail_in > 0 || inflate->avail_out == 0));
    gunzip->offset += *used;
    if (inflate->block_state == ISAL_BLOCK_FINISH) {
        gunzip->members++;
        gunzip->part = PART_FIXED;
        gunzip->field_length = 0;
        gunzip->header_crc = 0;
    }
    return 0;
}

int tarn_gunzip_push(struct tarn_gunzip *gunzip, const uint8_t *bytes, size_t length,
                     struct tarn_err *err)
{
    int ret = 0;
    while (ret == 0 && length > 0) {
        size_t used = 1;
        if (gunzip->part == PART_DATA)
            ret = inflate_some(gunzip, bytes, length, &used, err);
        else if (gunzip->part == PART_FIXED && gunzip->field_length == 0 && gunzip->members > 0)
            ret = between_members(gunzip, *bytes, err);
        else
            ret = header_byte(gunzip, *bytes, err);
        bytes += used;
        length -= used;
    }
    return ret;
}

int tarn_gunzip_finish(const struct tarn_gunzip *gunzip, struct tarn_err *err)
{
    if (gunzip->members > 0 && gunzip->part == PART_FIXED && gunzip->field_length == 0)
        return 0;
    return tarn_fail(err, -EUCLEAN, "gzip: truncated at byte %" PRIu64, gunzip->offset);
}
