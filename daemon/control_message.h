// SPDX-License-Identifier: Apache-2.0
// The control protocol: messages over <root>/run/control.sock, a SOCK_STREAM; each a u32 length and that
// many bytes of compact JSON, at most one with a descriptor (SCM_RIGHTS, with the first byte). The
// client speaks first; the member "op" says what it wants:
//
//   {"op":"mount","image":REFERENCE,"directory":PATH,"platform":OS/ARCH[/VARIANT],"ino32":BOOL,
//    "access":OBJECT}
//       image with absolute paths; the last three may be missing. access says how to reach a registry,
//       credentials included, as tarn_access_to_json() writes it. Both names are any bytes, as
//       tarn_message_bytes() writes them. Then, as root,
//       <- {"state":"attach","slot":N} and a detached mount, which the client moves to its place and
//          closes; -> {"op":"attached"}; or, without root,
//       <- {"state":"fuse","slot":N}; -> {"op":"fuse"} and the /dev/fuse that fusermount3 gave;
//       <- {"state":"mounted","slot":N}
//   {"op":"umount","slot":N}   waits until the slot is gone
//       <- {"state":"gone"}, {"state":"elsewhere"} (another mount of it is left) or {"state":"busy"}
//   {"op":"ps"}, {"op":"stats"}   <- what `tarn ps --json` and `tarn stats --json` print
//
// Any answer may be {"error":TEXT,"code":-errno} instead; the connection can be used again.
#ifndef TARN_DAEMON_CONTROL_MESSAGE_H
#define TARN_DAEMON_CONTROL_MESSAGE_H

#include "base/buf.h"
#include "base/json.h"

enum { TARN_MESSAGE_LIMIT = 64 << 20 };

// Appends the message's bytes. -ENOMEM, -EFBIG.
int tarn_message_encode(const json_t *message, struct tarn_buf *bytes) tarn_must_check;

// Takes the first message out of bytes: 1, *message is owned by the caller; 0 it is not complete yet;
// -EUCLEAN.
int tarn_message_take(struct tarn_buf *bytes, json_t **message,
                      struct tarn_err *err) tarn_must_check;

// For clients, which wait. send: descriptor -1 for none. receive: the daemon's next message; *descriptor
// as tarn_socket_receive(). -EPIPE when the daemon has gone; else an {"error"} becomes err and its code.
int tarn_message_send(int fd, const json_t *message, int descriptor,
                      struct tarn_err *err) tarn_must_check;
int tarn_message_receive(int fd, json_t **message, int *descriptor,
                         struct tarn_err *err) tarn_must_check;

// Any bytes without NUL as a JSON string: each byte is the character with its number. NULL when out of
// memory.
json_t *tarn_message_bytes(const char *bytes);
// Back, in fresh memory. NULL for what is no such string, or out of memory.
char *tarn_message_get_bytes(const json_t *message, const char *key);

// A new {"error", "code"} message, or NULL when out of memory.
json_t *tarn_message_error(int code, const char *text);

#endif
