// SPDX-License-Identifier: Apache-2.0
// A repository of a registry. Source: OCI distribution specification 1.1.
#ifndef TARN_REGISTRY_REMOTE_H
#define TARN_REGISTRY_REMOTE_H

#include "registry/repository.h"

// As tarn_repository_open(). Nothing is asked of the registry yet. -EINVAL without options->http.
int tarn_remote_open(const struct tarn_reference *reference, uv_loop_t *loop,
                     const struct tarn_repository_options *options,
                     struct tarn_repository **repository, struct tarn_err *err) tarn_must_check;

#endif
