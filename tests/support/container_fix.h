// SPDX-License-Identifier: Apache-2.0
// Makes the checksums of a changed container right again, so that tests and fuzzers reach the rules
// behind them.
#ifndef TARN_TESTS_CONTAINER_FIX_H
#define TARN_TESTS_CONTAINER_FIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Recomputes the checksum of each section that lies in the container, then the directory's. Returns
// false, with nothing changed, if the container has no directory that one could find.
bool tarn_test_fix_container(uint8_t *bytes, size_t length);

// Recomputes only the directory's checksum; bytes are the end of a container.
bool tarn_test_fix_directory(uint8_t *bytes, size_t length);

// The place of the directory entry of this type; NULL if there is none.
uint8_t *tarn_test_find_entry(uint8_t *bytes, size_t length, uint32_t type);

#endif
