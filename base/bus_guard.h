// SPDX-License-Identifier: Apache-2.0
// Maps of files that cannot kill the program. Whoever touches a map of a file that was cut meanwhile, or
// whose disk cannot be read, gets SIGBUS, which ends the process. Inside a range that is registered here
// all of the range becomes zeros instead, for good, and is marked; the access goes on. Who reads from such
// a range asks for the mark afterwards, before anything is made of what was read: once it is set, nothing
// that was read meanwhile counts. What is read later is never better than what was read before, so a value
// that is proven (by a digest in the range) proves what was read before it.
//
// A system call that is given such memory fails with EFAULT instead: copy before you write.
// Elsewhere SIGBUS does what it did before.
//
// The one thing that the whole process shares: a signal handler has no argument. Any thread.
#ifndef TARN_BASE_BUS_GUARD_H
#define TARN_BASE_BUS_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct tarn_bus_range;

// Installs the handler, unless it is the one that is installed: at the start of a program.
int tarn_bus_guard_start(struct tarn_err *err) tarn_must_check;

// Registers [address, address + length) of a map; address at a page's start, protection as for mmap, for
// what takes its place. NULL: out of memory.
struct tarn_bus_range *tarn_bus_guard_add(void *address, size_t length, int protection);
// Before the range is unmapped. NULL is fine.
void tarn_bus_guard_remove(struct tarn_bus_range *range);

// Whether something in the range could not be read since it was added. NULL: false.
bool tarn_bus_range_damaged(const struct tarn_bus_range *range);
// As if something could not be read: zeros and the mark. NULL is fine.
void tarn_bus_range_spoil(struct tarn_bus_range *range);
// Takes the mark away: something else was mapped there. Who read before may have read zeros.
void tarn_bus_range_renew(struct tarn_bus_range *range);

#endif
