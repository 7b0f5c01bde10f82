// SPDX-License-Identifier: Apache-2.0
// Provisional: anonymous.
#include "registry/docker_config.h"

int tarn_docker_config_find(struct tarn_access *access, const char *host, const char *repository,
                            struct tarn_err *err)
{
    (void)host;
    (void)repository;
    (void)err;
    access->known = true;
    return 0;
}
