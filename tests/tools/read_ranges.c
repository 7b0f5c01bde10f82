// SPDX-License-Identifier: Apache-2.0
// read_ranges PLACE DIGEST SIZE TIMEOUT: reads ranges of one blob, one read for each line of standard input,
// "FIRST-LAST,FIRST-LAST,...", through one repository object. For each it writes to standard output a line
// "STATUS LENGTH MAX_RANGES TEXT" and the bytes that came, whether the read succeeded or not.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/blocking.h"

enum { RANGES = 100 };

struct reader {
    struct tarn_blocking *blocking;
    struct tarn_repository *repository;
    struct tarn_digest digest;
    uint64_t size;
};

static int append(void *context, const void *bytes, size_t length)
{
    return tarn_buf_append(context, bytes, length);
}

static size_t parse(const char *line, struct tarn_read_range *ranges)
{
    size_t count = 0;
    uint64_t first;
    uint64_t last;
    int used;
    while (count < RANGES && sscanf(line, "%" SCNu64 "-%" SCNu64 "%n", &first, &last, &used) == 2) {
        ranges[count++] = (struct tarn_read_range){ first, last - first + 1 };
        line += used;
        line += *line == ',';
    }
    return count;
}

static void read_line(const struct reader *reader, const char *line)
{
    struct tarn_read_range ranges[RANGES];
    struct tarn_err err = { 0 };
    tarn_autobuf struct tarn_buf buf = { 0 };
    const struct tarn_read read = {
        .kind = TARN_READ_BLOB,
        .digest = reader->digest,
        .size = reader->size,
        .ranges = ranges,
        .range_count = parse(line, ranges),
        .context = &buf,
        .data = append,
    };
    const int status = tarn_blocking_read(reader->blocking, reader->repository, &read, &err);
    printf("%d %zu %zu %s\n", status, buf.length, tarn_repository_max_ranges(reader->repository),
           status < 0 ? err.text : "");
    if (buf.length > 0)
        fwrite(buf.data, 1, buf.length, stdout);
    fflush(stdout);
}

static int run(char **argv, struct tarn_err *err)
{
    struct reader reader = { .size = strtoull(argv[3], NULL, 10) };
    const struct tarn_access access = { .timeout = (unsigned)strtoul(argv[4], NULL, 10) };
    const struct tarn_repository_options options = { .access = &access };
    struct tarn_reference reference = { 0 };
    int ret = tarn_reference_parse(argv[1], &reference, err);
    if (ret == 0)
        ret = tarn_digest_parse(argv[2], &reader.digest, err);
    if (ret == 0 && !(reader.blocking = tarn_blocking_new(err)))
        ret = -ENOMEM;
    if (ret == 0)
        ret = tarn_blocking_open(reader.blocking, &reference, &options, &reader.repository, err);
    char line[RANGES * 50];
    while (ret == 0 && fgets(line, sizeof line, stdin))
        read_line(&reader, line);
    tarn_repository_close(reader.repository);
    tarn_blocking_free(reader.blocking);
    tarn_reference_release(&reference);
    return ret;
}

int main(int argc, char **argv)
{
    struct tarn_err err = { 0 };
    if (argc != 5 || run(argv, &err) < 0) {
        fprintf(stderr, "read_ranges: %s\n", argc == 5 ? err.text : "wrong arguments");
        return 1;
    }
    return 0;
}
