// SPDX-License-Identifier: Apache-2.0
// The control socket on the loop: accepts clients, takes their messages (control_message.h), sends
// answers. Only root and the daemon's own user are let in, and only so many at a time; the others wait.
// From a client that does not read its answers nothing more is taken.
#ifndef TARN_DAEMON_CONTROL_H
#define TARN_DAEMON_CONTROL_H

#include <uv.h>

#include "base/json.h"

struct tarn_control;
struct tarn_client;

struct tarn_control_options {
    uv_loop_t *loop; // borrowed
    int directory;   // <root>/run, borrowed
    // A message. *descriptor: what came with it, or -1; the callee may take it over and set it to -1.
    void (*message)(void *context, struct tarn_client *client, const json_t *message,
                    int *descriptor);
    // The client has gone; it must not be used any more.
    void (*closed)(void *context, struct tarn_client *client);
    void *context;
};

int tarn_control_new(const struct tarn_control_options *options, struct tarn_control **control,
                     struct tarn_err *err) tarn_must_check;
// Lets nobody in any more and removes the socket.
void tarn_control_stop(struct tarn_control *control);
// Stops, and closes all clients, telling closed(). Memory goes when the loop has run once more.
void tarn_control_close(struct tarn_control *control);

// Sends a message (taken over; NULL: out of memory, the client is dropped) with a descriptor (taken over;
// -1: none).
void tarn_client_send(struct tarn_client *client, json_t *message, int descriptor);

// Closes the client soon, without an answer.
void tarn_client_drop(struct tarn_client *client);

// A pointer of the user's for the client; NULL at first.
void *tarn_client_data(const struct tarn_client *client);
void tarn_client_set_data(struct tarn_client *client, void *data);

#endif
