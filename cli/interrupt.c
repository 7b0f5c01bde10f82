// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <stddef.h>

// A signal handler has no other context.
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    tarn_cancel_set(&interrupted);
}

const volatile sig_atomic_t *tarn_cli_catch_interrupts(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &interrupted;
}
