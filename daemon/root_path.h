// SPDX-License-Identifier: Apache-2.0
// Where a daemon's root is, for tarnd and its clients.
#ifndef TARN_DAEMON_ROOT_PATH_H
#define TARN_DAEMON_ROOT_PATH_H

#include "base/err.h"

// tarnd's exit status when another one serves the root.
enum { TARN_EXIT_ANOTHER = 75 };

// The root as an absolute path, owned: option if not NULL, else $TARN_ROOT, else /var/lib/tarn for root
// and $XDG_DATA_HOME/tarn or ~/.local/share/tarn for others. -EINVAL: empty, or none of these is set.
int tarn_root_path(const char *option, char **path, struct tarn_err *err) tarn_must_check;

// Refuses a root that somebody else could put things into: that is not ours or root's, or that others can
// write to; what of it is not there yet is fine. -EPERM.
int tarn_root_check(const char *root, struct tarn_err *err) tarn_must_check;

#endif
