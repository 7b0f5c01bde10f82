// SPDX-License-Identifier: Apache-2.0
// Credentials as `docker login` and `skopeo login` leave them.
// Source: docker's config.json ("auths", "credHelpers", "credsStore") and containers-auth.json(5).
#ifndef TARN_REGISTRY_DOCKER_CONFIG_H
#define TARN_REGISTRY_DOCKER_CONFIG_H

#include "registry/access.h"

// Sets access's credentials for a repository ("library/redis") at a host ("localhost:5000") from the
// first of these files that has any for it: $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json,
// $XDG_RUNTIME_DIR/containers/auth.json (where that is not set, /run/containers/UID/auth.json),
// $HOME/.docker/config.json. Of several entries the one with the
// longest path counts ("host/ns/repo" before "host/ns" before "host"; also with "https://" and "/v1/"
// around the host; docker.io is "https://index.docker.io/v1/"). A credential helper that a file names for
// the host is run. None found: 0, anonymous. Sets access->known and access->config_places. Blocks;
// runs programs.
// -EINVAL, -EACCES: a file or helper that is damaged or unreadable, named, with the remedy.
int tarn_docker_config_find(struct tarn_access *access, const char *host, const char *repository,
                            struct tarn_err *err) tarn_must_check;

// The same from the files in places, as access->config_places has them. -ENOENT: none has any.
int tarn_docker_config_search(const char *places, struct tarn_access *access, const char *host,
                              const char *repository, struct tarn_err *err) tarn_must_check;

// The same from one file. -ENOENT: it has none for the host.
int tarn_docker_config_read(const char *file, struct tarn_access *access, const char *host,
                            const char *repository, struct tarn_err *err) tarn_must_check;

#endif
