// SPDX-License-Identifier: Apache-2.0
// What tarn_library_ahead() does with a file that it knows already: nothing. What it brings of new ones is
// the integration tests' to see.
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/library_ahead.h"

static void count(void *context)
{
    ++*(unsigned *)context;
}

static void ended(void *context)
{
    (void)context;
}

static void test_known_file(void **state)
{
    (void)state;
    static struct tarn_node_image image = { .references = 1000 }; // no inode of it can be read
    unsigned batches = 0;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct tarn_loop_queue *queue = tarn_loop_queue_new(&loop, count, &batches, NULL);
    struct tarn_pool *pool = tarn_pool_new(1, NULL);
    struct tarn_slots *slots = tarn_slots_new(queue, ended, NULL, NULL);
    assert_true(queue && pool && slots);
    struct tarn_slot *slot = tarn_slots_add(slots, &image, "/mnt", false);
    assert_non_null(slot);
    const struct tarn_server_options options = { .slots = slots, .pool = pool, .queue = queue };
    const struct {
        const char *head;
        uint64_t nid;
        bool looked_at;
    } cases[] = {
        { "#!/bin/sh\n", 36, false }, { ELFMAG "\2\1\1", 36, true }, { ELFMAG "\2\1\1", 36, false },
        { "\177EL", 37, false },      { ELFMAG, 37, true },          { ELFMAG "\2", 37, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        batches = 0;
        tarn_library_ahead(&options, slot, cases[i].nid, cases[i].head, strlen(cases[i].head));
        do
            uv_run(&loop, UV_RUN_NOWAIT);
        while (atomic_load(&slot->references) > 1); // it holds the slot meanwhile
        if ((batches > 0) != cases[i].looked_at)
            fail_msg("case %zu: want looked at: %d, got %u posts", i, cases[i].looked_at, batches);
    }
    tarn_slots_set_gone(slots, slot->number);
    while (tarn_slots_count(slots) > 0)
        uv_run(&loop, UV_RUN_ONCE);
    tarn_pool_free(pool);
    tarn_loop_queue_close(queue);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    tarn_slots_free(slots);
    tarn_nid_set_release(&image.libraries);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_known_file) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
