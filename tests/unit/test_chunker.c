// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

int main(void) { return 0; }
