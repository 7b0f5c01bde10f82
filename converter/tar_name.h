// SPDX-License-Identifier: Apache-2.0
// Names from tars: cleaned for use, and quoted for messages.
#ifndef TARN_CONVERTER_TAR_NAME_H
#define TARN_CONVERTER_TAR_NAME_H

#include "base/buf.h"
#include "base/err.h"

enum { TARN_TAR_QUOTED = 300 };

// Replaces clean by the clean form of name (tar_entry.h), NUL-terminated with the NUL not counted.
// -EINVAL: ".." as a component, a NUL, no name at all; -ENOTSUP: a component or the path is too
// long. A last component of ".wh." and a name is long only if that name is.
int tarn_tar_clean(const void *name, size_t length, struct tarn_buf *clean,
                   struct tarn_err *err) tarn_must_check;

// The name in single quotes, with all but printable ASCII as \xNN, cut with "..." where it is long.
// Returns text.
const char *tarn_tar_quote(const void *name, size_t length, char text[TARN_TAR_QUOTED]);

#endif
