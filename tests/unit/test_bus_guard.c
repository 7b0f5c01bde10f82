// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/bus_guard.h"
#include "base/file.h"

enum { PAGES = 4, THREADS = 4 };

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

// A map of a file of fours of which only the first `left` bytes are left.
static uint8_t *map_cut(size_t left, int protection)
{
    struct tarn_err err;
    tarn_autoclose int fd = tarn_temporary_open(&err);
    assert_true(fd >= 0);
    tarn_autofree uint8_t *bytes = malloc(PAGES * page());
    memset(bytes, 4, PAGES * page());
    assert_int_equal(tarn_pwrite_full(fd, bytes, PAGES * page(), 0), 0);
    uint8_t *map = mmap(NULL, PAGES * page(), protection,
                        protection & PROT_WRITE ? MAP_SHARED : MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(ftruncate(fd, (off_t)left), 0);
    return map;
}

// cmocka takes the signal for each test.
static void start(void)
{
    struct tarn_err err;
    for (int i = 0; i < 2; i++)
        if (tarn_bus_guard_start(&err) < 0)
            fail_msg("%s", err.text);
}

// What is left can be read and leaves no mark; what is gone makes all of the range zeros, with a mark.
static void test_read(void **state)
{
    (void)state;
    start();
    uint8_t *map = map_cut(page(), PROT_READ);
    uint8_t *other = map_cut(page(), PROT_READ);
    struct tarn_bus_range *range = tarn_bus_guard_add(map, PAGES * page(), PROT_READ);
    struct tarn_bus_range *second = tarn_bus_guard_add(other, PAGES * page(), PROT_READ);
    assert_non_null(range);
    assert_non_null(second);
    assert_int_equal(((volatile uint8_t *)map)[7], 4);
    assert_false(tarn_bus_range_damaged(range));
    assert_int_equal(((volatile uint8_t *)map)[3 * page()], 0);
    assert_true(tarn_bus_range_damaged(range));
    for (size_t i = 0; i < PAGES * page(); i++)
        assert_int_equal(map[i], 0);
    assert_int_equal(other[0], 4);
    assert_false(tarn_bus_range_damaged(second));
    tarn_bus_guard_remove(range);
    tarn_bus_guard_remove(second);
    munmap(map, PAGES * page());
    munmap(other, PAGES * page());
    assert_false(tarn_bus_range_damaged(NULL));
    tarn_bus_guard_remove(NULL);
}

// A range that is used again has no mark; what is written to goes on being writable.
static void test_write(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 3; i++) {
        uint8_t *map = map_cut(0, PROT_READ | PROT_WRITE);
        struct tarn_bus_range *range =
            tarn_bus_guard_add(map, PAGES * page(), PROT_READ | PROT_WRITE);
        assert_non_null(range);
        assert_false(tarn_bus_range_damaged(range));
        ((volatile uint8_t *)map)[page() + 1] = 9;
        assert_true(tarn_bus_range_damaged(range));
        assert_int_equal(map[page() + 1], 9);
        assert_int_equal(map[0], 0);
        tarn_bus_guard_remove(range);
        munmap(map, PAGES * page());
    }
}

static void *read_all(void *argument)
{
    const volatile uint8_t *map = argument;
    uintptr_t sum = 0;
    for (size_t i = 0; i < PAGES * page(); i += page())
        sum += map[i];
    return (void *)sum;
}

static void test_threads(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 50; i++) {
        uint8_t *map = map_cut(0, PROT_READ);
        struct tarn_bus_range *range = tarn_bus_guard_add(map, PAGES * page(), PROT_READ);
        pthread_t threads[THREADS];
        for (int t = 0; t < THREADS; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, read_all, map), 0);
        for (int t = 0; t < THREADS; t++) {
            void *sum;
            pthread_join(threads[t], &sum);
            assert_null(sum);
        }
        assert_true(tarn_bus_range_damaged(range));
        tarn_bus_guard_remove(range);
        munmap(map, PAGES * page());
    }
}

// How a process ends in which this happens.
static int end_of(void (*run)(void))
{
    const pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit none = { 0 };
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGBUS, SIG_DFL);
        if (tarn_bus_guard_start(NULL) == 0)
            run();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void touch_another(void)
{
    uint8_t *map = map_cut(0, PROT_READ);
    struct tarn_bus_range *range = tarn_bus_guard_add(map, page(), PROT_READ);
    (void)((volatile uint8_t *)map)[page()]; // behind the range
    tarn_bus_guard_remove(range);
}

static void touch_removed(void)
{
    uint8_t *map = map_cut(0, PROT_READ);
    tarn_bus_guard_remove(tarn_bus_guard_add(map, PAGES * page(), PROT_READ));
    (void)((volatile uint8_t *)map)[0];
}

static void be_sent(void)
{
    kill(getpid(), SIGBUS);
}

// A fault elsewhere, and the signal from outside, still end the process.
static void test_others(void **state)
{
    (void)state;
    static void (*const runs[])(void) = { touch_another, touch_removed, be_sent };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const int status = end_of(runs[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGBUS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
