// SPDX-License-Identifier: Apache-2.0
#include "daemon/data_table.h"

#include <sys/mman.h>
#include <sys/stat.h>

static int parse(struct tarn_data_table *table, struct tarn_rows *rows)
{
    int ret = tarn_rows_parse_table(table->bytes, table->length, rows);
    if (ret == 0 && tarn_bus_range_damaged(table->range))
        ret = -EUCLEAN;
    if (ret == 0)
        table->hash = tarn_rows_table_hash(table->bytes);
    else
        tarn_data_table_release(table);
    return ret;
}

int tarn_data_table_map(int fd, struct tarn_data_table *table, struct tarn_rows *rows)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size <= 0)
        return -EUCLEAN;
    const size_t length = (size_t)st.st_size;
    void *map = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *table = (struct tarn_data_table){ .bytes = map, .length = length };
    table->range = tarn_bus_guard_add(map, length, PROT_READ);
    if (table->range)
        return parse(table, rows);
    tarn_data_table_release(table);
    return -ENOMEM;
}

int tarn_data_table_copy(const struct tarn_buf *bytes, struct tarn_data_table *table,
                         struct tarn_rows *rows)
{
    void *map =
        mmap(NULL, bytes->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return -ENOMEM;
    *table = (struct tarn_data_table){ .bytes = memcpy(map, bytes->data, bytes->length),
                                       .length = bytes->length };
    return parse(table, rows);
}

void tarn_data_table_release(struct tarn_data_table *table)
{
    tarn_bus_guard_remove(table->range);
    if (table->bytes)
        munmap(table->bytes, table->length);
    *table = (struct tarn_data_table){ 0 };
}

bool tarn_data_table_intact(const struct tarn_data_table *table)
{
    struct tarn_rows rows;
    const bool same = tarn_rows_parse_table(table->bytes, table->length, &rows) == 0 &&
                      tarn_rows_table_hash(table->bytes) == table->hash;
    return same && !tarn_bus_range_damaged(table->range);
}

bool tarn_data_table_replace(struct tarn_data_table *table, int fd, const struct tarn_buf *bytes)
{
    if (bytes->length != table->length || tarn_rows_table_hash(bytes->data) != table->hash)
        return false;
    const int protection = fd < 0 ? PROT_READ | PROT_WRITE : PROT_READ;
    const int anonymous = fd < 0 ? MAP_ANONYMOUS : 0;
    if (mmap(table->bytes, table->length, protection, MAP_PRIVATE | MAP_FIXED | anonymous, fd, 0) ==
        MAP_FAILED)
        return false;
    tarn_bus_range_renew(table->range);
    if (fd < 0)
        memcpy(table->bytes, bytes->data, bytes->length);
    return tarn_data_table_intact(table);
}
