// SPDX-License-Identifier: Apache-2.0
// Random access to the data spaces of a converted image, for programs that wait. Every byte that comes
// out has passed the SHA-256 of its chunk.
//
// Runs are what is fetched: a run's stored bytes come in one range read and are decoded as far as
// needed; the last TARN_DATA_READER_RUNS runs are kept. So whoever reads ascending fetches and decodes
// each stored byte once. Memory: at most 1 MiB a run.
//
// One thread at a time; blocks.
#ifndef TARN_CONVERTER_DATA_READER_H
#define TARN_CONVERTER_DATA_READER_H

#include "format/tables.h"
#include "registry/blocking.h"

// Export reads by path what lies by kind: with 16 it fetches 11 to 16 % of the runs again, with 8
// 17 to 24 %.
enum { TARN_DATA_READER_RUNS = 16 };

struct tarn_data_reader;

// tables: those of the image's bootstrap, verified by tarn_tables_verify(). All are borrowed. NULL
// when out of memory.
struct tarn_data_reader *tarn_data_reader_new(struct tarn_blocking *blocking,
                                              struct tarn_repository *repository,
                                              const struct tarn_tables *tables);
void tarn_data_reader_free(struct tarn_data_reader *reader);
TARN_DEFINE_CLEANUP(struct tarn_data_reader, tarn_data_reader_free)

// Bytes of the data space of the blob with this index.
struct tarn_data_range {
    uint32_t blob;
    uint64_t address;
    size_t length;
};
// Reads the range to buffer, following references. -EIO for a wrong
// digest or a chunk that cannot be decoded, -EUCLEAN for an address that the tables do not know, each
// naming blob and address; what the repository says where it cannot be read.
int tarn_data_reader_read(struct tarn_data_reader *reader, const struct tarn_data_range *range,
                          void *buffer, struct tarn_err *err) tarn_must_check;

#endif
