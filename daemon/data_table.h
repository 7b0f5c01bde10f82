// SPDX-License-Identifier: Apache-2.0
// The table of a data file, as it is mapped (data_rows.h says what is in it). Its file may be cut, changed
// or unreadable at any time: then it is damaged, and may be put right at the same address. While it is
// read by others it is opened, put right and released by one thread.
#ifndef TARN_DAEMON_DATA_TABLE_H
#define TARN_DAEMON_DATA_TABLE_H

#include "base/bus_guard.h"
#include "daemon/data_rows.h"

struct tarn_data_table {
    uint8_t *bytes; // NULL: none
    size_t length;
    struct tarn_bus_range *range; // NULL: it is in memory
    uint64_t hash;                // when it was opened
};

// Maps the file, or copies the bytes into memory; sets the rows, which point there. -EUCLEAN: it is no
// table, or is damaged. Blocks.
int tarn_data_table_map(int fd, struct tarn_data_table *table,
                        struct tarn_rows *rows) tarn_must_check;
int tarn_data_table_copy(const struct tarn_buf *bytes, struct tarn_data_table *table,
                         struct tarn_rows *rows) tarn_must_check;
void tarn_data_table_release(struct tarn_data_table *table);

// Whether it is what it was when it was opened. Reads all of it.
bool tarn_data_table_intact(const struct tarn_data_table *table);

// Puts the bytes in its place, if they are what it was when it was opened: from the file, which has just
// these, or, with fd -1, from memory. Returns whether they are there.
bool tarn_data_table_replace(struct tarn_data_table *table, int fd, const struct tarn_buf *bytes);

#endif
