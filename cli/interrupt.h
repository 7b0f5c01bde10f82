// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as a request to stop and to leave nothing half done. A second one ends the program.
#ifndef TARN_CLI_INTERRUPT_H
#define TARN_CLI_INTERRUPT_H

#include "base/cancel.h"

// From now on the flag is set by these signals. Borrowed; there is one for the whole program.
const volatile sig_atomic_t *tarn_cli_catch_interrupts(void);

#endif
