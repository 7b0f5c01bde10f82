// SPDX-License-Identifier: Apache-2.0
// Bytes for tests: the same on every run and machine.
#ifndef TARN_TESTS_TEST_BYTES_H
#define TARN_TESTS_TEST_BYTES_H

#include <stddef.h>
#include <stdint.h>

// A pseudo-random number generator (xorshift64*); *state is not 0.
uint64_t tarn_test_random(uint64_t *state);
// Below limit, which is not 0.
uint64_t tarn_test_random_below(uint64_t *state, uint64_t limit);

// The first bytes of SHA-256(0 as u64) SHA-256(1 as u64) ...: the golden stream of docs/format.md.
void tarn_test_sha_stream(uint8_t *bytes, size_t length);
// Random bytes.
void tarn_test_noise(uint64_t *state, uint8_t *bytes, size_t length);
// Bytes that compress about threefold, with repetitions near and far.
void tarn_test_text(uint64_t *state, uint8_t *bytes, size_t length);

#endif
