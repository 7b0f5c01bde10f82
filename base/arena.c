// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK_SIZE = 256 << 10 };

struct block {
    struct block *next;
    size_t used;
    size_t size;
    alignas(uint64_t) uint8_t data[];
};

struct tarn_arena {
    struct block *blocks; // the first is the one being filled
    size_t memory;        // of all blocks
};

struct tarn_arena *tarn_arena_new(void)
{
    return calloc(1, sizeof(struct tarn_arena));
}

void tarn_arena_free(struct tarn_arena *arena)
{
    if (!arena)
        return;
    for (struct block *block = arena->blocks; block;) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    free(arena);
}

// A large piece gets a block of its own behind the first, which goes on being filled.
static struct block *add_block(struct tarn_arena *arena, size_t size)
{
    const size_t room = size > BLOCK_SIZE / 4 ? size : BLOCK_SIZE;
    if (room > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *block = malloc(sizeof *block + room);
    if (!block)
        return NULL;
    block->used = 0;
    block->size = room;
    arena->memory += sizeof *block + room;
    if (room == size && arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

static void *take(struct tarn_arena *arena, size_t size, size_t alignment)
{
    struct block *block = arena->blocks;
    size_t start = block ? (block->used + alignment - 1) & ~(alignment - 1) : 0;
    if (!block || start > block->size || size > block->size - start) {
        block = add_block(arena, size);
        if (!block)
            return NULL;
        start = 0;
    }
    block->used = start + size;
    return block->data + start;
}

void *tarn_arena_alloc(struct tarn_arena *arena, size_t size)
{
    void *memory = take(arena, size, alignof(uint64_t));
    return memory ? memset(memory, 0, size) : NULL;
}

char *tarn_arena_copy(struct tarn_arena *arena, const void *data, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = take(arena, length + 1, 1);
    if (!copy)
        return NULL;
    if (length > 0)
        memcpy(copy, data, length);
    copy[length] = '\0';
    return copy;
}

size_t tarn_arena_memory(const struct tarn_arena *arena)
{
    return arena->memory;
}
