// SPDX-License-Identifier: Apache-2.0
// PREAMBLE -> (HEADERS -> CONTENT -> DELIMITER -> BOUNDARY)* -> EPILOGUE. Lines are collected, contents are
// counted. A part's length is known from its Content-Range; the delimiter is searched for nevertheless, since
// a part that ends early would else hand on what follows it as bytes of the blob.
#include "registry/multipart.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"

enum state {
    PREAMBLE,  // up to the first boundary
    HEADERS,   // of a part
    CONTENT,   // of a part
    DELIMITER, // the end of line and the boundary behind a part
    BOUNDARY,  // the rest of a boundary's line
    EPILOGUE,
};

static int damaged(struct tarn_err *err, const char *what)
{
    return tarn_fail(err, -EBADMSG, "the multipart answer is damaged: %s", what);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static const char *skip_spaces(const char *p)
{
    while (is_space(*p))
        p++;
    return p;
}

// --- Content-Range ----------------------------------------------------------------------------------------

static bool parse_number(const char **at, uint64_t *number)
{
    const char *p = *at;
    *number = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
            __builtin_add_overflow(*number, (uint64_t)(*p - '0'), number))
            return false;
    const bool some = p != *at;
    *at = p;
    return some;
}

bool tarn_content_range_parse(const char *text, struct tarn_content_range *range)
{
    if (!text || strncasecmp(text, "bytes", 5) != 0 || !is_space(text[5]))
        return false;
    const char *p = skip_spaces(text + 5);
    if (!parse_number(&p, &range->first) || *p++ != '-' || !parse_number(&p, &range->last) ||
        *p++ != '/')
        return false;
    range->total = UINT64_MAX;
    if (*p == '*')
        p++;
    else if (!parse_number(&p, &range->total))
        return false;
    return *skip_spaces(p) == '\0' && range->first <= range->last && range->last < range->total;
}

// --- Content-Type ---------------------------------------------------------------------------------------

// A value, quoted or not, into text, which has room for a boundary; behind it. NULL: too long or damaged.
static const char *parse_value(const char *p, char *text, size_t *length)
{
    const bool quoted = *p == '"';
    *length = 0;
    for (p += quoted; quoted ? *p != '"' : *p && *p != ';' && !is_space(*p); p++) {
        if (quoted && *p == '\\')
            p++;
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return NULL;
        if (*length < TARN_MULTIPART_BOUNDARY_MAX)
            text[*length] = *p;
        ++*length;
    }
    return p + quoted;
}

// The boundary among a type's parameters. Its length; 0: there is none.
static size_t find_boundary(const char *p, char *text)
{
    while (*(p = skip_spaces(p)) == ';') {
        p = skip_spaces(p + 1);
        const char *name = p;
        const size_t name_length = strcspn(p, "=; \t");
        size_t length;
        p = skip_spaces(p + name_length);
        if (*p != '=')
            continue;
        p = parse_value(skip_spaces(p + 1), text, &length);
        if (!p)
            return 0;
        if (name_length == 8 && strncasecmp(name, "boundary", 8) == 0)
            return length <= TARN_MULTIPART_BOUNDARY_MAX ? length : 0;
    }
    return 0;
}

int tarn_multipart_start(struct tarn_multipart *multipart, const char *content_type,
                         struct tarn_err *err)
{
    static const char *const types[] = { "multipart/byteranges", "multipart/x-byteranges" };
    const char *type = skip_spaces(content_type ? content_type : "");
    const size_t length = strcspn(type, "; \t");
    bool known = false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        known = known || (length == strlen(types[i]) && strncasecmp(type, types[i], length) == 0);
    if (!known)
        return tarn_fail(err, -ENOENT, "it has type %.60s", type);
    // PREAMBLE finds out how lines end.
    *multipart = (struct tarn_multipart){ .state = PREAMBLE, .delimiter = "\r\n--", .start = 2 };
    const size_t boundary = find_boundary(type + length, multipart->delimiter + 4);
    if (boundary == 0)
        return damaged(err, "it has no boundary");
    multipart->delimiter_length = 4 + boundary;
    return 0;
}

// --- lines --------------------------------------------------------------------------------------------------

// Collects a line, without what ends it. 1: it is complete.
static int take_line(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                     size_t limit, struct tarn_err *err)
{
    const uint8_t *end = memchr(input->bytes, '\n', input->length);
    const size_t length = end ? (size_t)(end - input->bytes) : input->length;
    const size_t used = length + (end ? 1 : 0);
    multipart->spent += used;
    if (length > TARN_MULTIPART_LINE_MAX - multipart->line_length || multipart->spent > limit)
        return damaged(err, "headers without end");
    memcpy(multipart->line + multipart->line_length, input->bytes, length);
    multipart->line_length += length;
    input->bytes += used;
    input->length -= used;
    if (!end)
        return 0;
    multipart->line[multipart->line_length] = '\0';
    if (strlen(multipart->line) != multipart->line_length)
        return damaged(err, "a zero byte in a header");
    return 1;
}

// Drops the line's last '\r'. True: there was one.
static bool trim_return(struct tarn_multipart *multipart)
{
    if (multipart->line_length == 0 || multipart->line[multipart->line_length - 1] != '\r')
        return false;
    multipart->line[--multipart->line_length] = '\0';
    return true;
}

static void enter(struct tarn_multipart *multipart, enum state state)
{
    multipart->state = state;
    multipart->line_length = 0;
    if (state != BOUNDARY)
        multipart->spent = 0;
    if (state == HEADERS)
        multipart->ranged = false;
}

static int preamble(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                    struct tarn_err *err)
{
    int ret = take_line(multipart, input, TARN_MULTIPART_HEADERS_MAX, err);
    if (ret != 1)
        return ret;
    const bool returns = trim_return(multipart);
    const char *boundary = multipart->delimiter + 2;
    const size_t length = multipart->delimiter_length - 2;
    const char *rest = multipart->line + length;
    const bool found =
        multipart->line_length >= length && memcmp(multipart->line, boundary, length) == 0;
    if (found && strncmp(rest, "--", 2) == 0)
        return damaged(err, "no part");
    if (found && *skip_spaces(rest) == '\0') {
        if (!returns) { // "\n--BOUNDARY" then
            memmove(multipart->delimiter, multipart->delimiter + 1, multipart->delimiter_length);
            multipart->delimiter_length--;
            multipart->start = 1;
        }
        enter(multipart, HEADERS);
    }
    multipart->line_length = 0;
    return 0;
}

static int take_header(struct tarn_multipart *multipart, struct tarn_err *err)
{
    const char *line = multipart->line;
    const char *colon = strchr(line, ':');
    if (is_space(*line)) // goes on with the header before
        return 0;
    if (!colon)
        return damaged(err, "a header without a colon");
    size_t length = (size_t)(colon - line);
    while (length > 0 && is_space(line[length - 1]))
        length--;
    const char *value = skip_spaces(colon + 1);
    if (length == 16 && strncasecmp(line, "Content-Encoding", length) == 0 &&
        strcasecmp(value, "identity") != 0)
        return damaged(err, "a Content-Encoding");
    if (length != 13 || strncasecmp(line, "Content-Range", length) != 0)
        return 0;
    if (multipart->ranged || !tarn_content_range_parse(value, &multipart->range))
        return tarn_fail(err, -EBADMSG, "a part of the multipart answer has Content-Range '%.80s'",
                         value);
    multipart->ranged = true;
    return 0;
}

static int headers(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                   struct tarn_err *err)
{
    int ret = take_line(multipart, input, TARN_MULTIPART_HEADERS_MAX, err);
    if (ret != 1)
        return ret;
    trim_return(multipart);
    if (multipart->line_length > 0) {
        ret = take_header(multipart, err);
        multipart->line_length = 0;
        return ret;
    }
    if (!multipart->ranged)
        return damaged(err, "a part without a Content-Range");
    multipart->left = multipart->range.last - multipart->range.first + 1;
    multipart->held = 0;
    multipart->matched = 0;
    enter(multipart, CONTENT);
    return TARN_MULTIPART_PART;
}

// --- contents -------------------------------------------------------------------------------------------

// Bytes that end where length bytes have been looked at but not handed on, of which they are the first ones.
static int give(const struct tarn_multipart *multipart, struct tarn_multipart_piece *piece,
                const void *bytes, size_t length, size_t pending)
{
    piece->offset = multipart->range.last + 1 - multipart->left - pending;
    piece->bytes = bytes;
    piece->length = length;
    return TARN_MULTIPART_DATA;
}

static void use(struct tarn_multipart *multipart, struct tarn_multipart_input *input, size_t length)
{
    multipart->left -= length;
    input->bytes += length;
    input->length -= length;
    if (multipart->left == 0)
        enter(multipart, DELIMITER);
}

// How many bytes at the end may begin the delimiter. No byte of it but the first is like the first one.
static size_t tail_of(const struct tarn_multipart *multipart, const uint8_t *bytes, size_t length)
{
    const size_t most = tarn_min_u64(length, multipart->delimiter_length - 1);
    const uint8_t *from = bytes + (length - most);
    const uint8_t *start = memrchr(from, multipart->delimiter[0], most);
    const size_t tail = start ? (size_t)(bytes + length - start) : 0;
    return tail > 0 && memcmp(start, multipart->delimiter, tail) == 0 ? tail : 0;
}

// Goes on with a delimiter that the bytes before may have begun.
static int content_held(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                        struct tarn_multipart_piece *piece, struct tarn_err *err)
{
    const size_t length = (size_t)tarn_min_u64(multipart->left, input->length);
    const size_t before = multipart->held;
    size_t n = 0;
    while (n < length && before + n < multipart->delimiter_length &&
           input->bytes[n] == (uint8_t)multipart->delimiter[before + n])
        n++;
    multipart->held += n;
    if (multipart->held == multipart->delimiter_length)
        return damaged(err, "a part is shorter than its Content-Range");
    use(multipart, input, n);
    if (n == length)
        return 0;
    const size_t held = multipart->held;
    multipart->held = 0;
    return give(multipart, piece, multipart->delimiter, held, held);
}

static int content(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                   struct tarn_multipart_piece *piece, struct tarn_err *err)
{
    if (multipart->held > 0)
        return content_held(multipart, input, piece, err);
    const uint8_t *bytes = input->bytes;
    const size_t length = (size_t)tarn_min_u64(multipart->left, input->length);
    if (memmem(bytes, length, multipart->delimiter, multipart->delimiter_length))
        return damaged(err, "a part is shorter than its Content-Range");
    multipart->held = tail_of(multipart, bytes, length);
    use(multipart, input, length);
    if (multipart->held == length)
        return 0;
    return give(multipart, piece, bytes, length - multipart->held, length);
}

// --- what stands between parts --------------------------------------------------------------------------

static int delimiter(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                     struct tarn_err *err)
{
    while (input->length > 0 && multipart->matched < multipart->delimiter_length) {
        if (*input->bytes != (uint8_t)multipart->delimiter[multipart->matched])
            return damaged(err, "a part is not as long as its Content-Range");
        multipart->matched++;
        input->bytes++;
        input->length--;
    }
    if (multipart->matched == multipart->delimiter_length)
        enter(multipart, BOUNDARY);
    return 0;
}

// The final one need not have an end of line.
static int boundary(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                    struct tarn_multipart_piece *piece, struct tarn_err *err)
{
    const char c = (char)*input->bytes++;
    input->length--;
    if (multipart->line_length == TARN_MULTIPART_LINE_MAX)
        return damaged(err, "a boundary without end");
    multipart->line[multipart->line_length++] = c;
    multipart->line[multipart->line_length] = '\0';
    if (strcmp(multipart->line, "--") == 0) {
        enter(multipart, EPILOGUE);
    } else if (c == '\n') {
        multipart->line[--multipart->line_length] = '\0';
        const bool returns = trim_return(multipart);
        if (*skip_spaces(multipart->line) != '\0' || returns != (multipart->start == 2))
            return damaged(err, "a part is followed by something else than a boundary");
        enter(multipart, HEADERS);
    } else {
        return 0;
    }
    const size_t held = multipart->held;
    multipart->held = 0;
    return held > 0 ? give(multipart, piece, multipart->delimiter, held, held) : 0;
}

int tarn_multipart_next(struct tarn_multipart *multipart, struct tarn_multipart_input *input,
                        struct tarn_multipart_piece *piece, struct tarn_err *err)
{
    int ret = 0;
    while (ret == 0 && input->length > 0) {
        switch ((enum state)multipart->state) {
        case PREAMBLE:
            ret = preamble(multipart, input, err);
            break;
        case HEADERS:
            ret = headers(multipart, input, err);
            break;
        case CONTENT:
            ret = content(multipart, input, piece, err);
            break;
        case DELIMITER:
            ret = delimiter(multipart, input, err);
            break;
        case BOUNDARY:
            ret = boundary(multipart, input, piece, err);
            break;
        case EPILOGUE:
            multipart->spent += input->length;
            if (multipart->spent > TARN_MULTIPART_EPILOGUE_MAX)
                return damaged(err, "it goes on behind its end");
            input->length = 0;
            break;
        }
    }
    piece->range = multipart->range;
    return ret;
}

bool tarn_multipart_ended(const struct tarn_multipart *multipart)
{
    return multipart->state == EPILOGUE;
}
