// SPDX-License-Identifier: Apache-2.0
// Programs that keep credentials: docker-credential-NAME. Source: docker's credential helper protocol.
#ifndef TARN_REGISTRY_CREDENTIAL_HELPER_H
#define TARN_REGISTRY_CREDENTIAL_HELPER_H

#include "registry/access.h"

// Asks the helper for the credentials of a server, as it calls it, and replaces access's. Blocks, for 10
// seconds at most; what still runs then is killed, with its children. -ENOENT: it has none for the server.
// -EINVAL: no such program, or an answer that is none. -EACCES: it fails or takes too long.
int tarn_credential_helper_get(const char *name, const char *server, struct tarn_access *access,
                               struct tarn_err *err) tarn_must_check;

#endif
