// SPDX-License-Identifier: Apache-2.0
// Memory that is freed all at once: for trees of a million small things. Not thread-safe.
#ifndef TARN_BASE_ARENA_H
#define TARN_BASE_ARENA_H

#include "base/cleanup.h"

struct tarn_arena;

struct tarn_arena *tarn_arena_new(void); // NULL when out of memory
void tarn_arena_free(struct tarn_arena *arena);
TARN_DEFINE_CLEANUP(struct tarn_arena, tarn_arena_free)

// Zeroed memory, aligned for pointers and 64-bit numbers, living as long as the arena. NULL when
// out of memory.
void *tarn_arena_alloc(struct tarn_arena *arena, size_t size);

// A copy of length bytes with a NUL behind them, unaligned.
char *tarn_arena_copy(struct tarn_arena *arena, const void *data, size_t length);

// Bytes that the arena has taken.
size_t tarn_arena_memory(const struct tarn_arena *arena);

#endif
