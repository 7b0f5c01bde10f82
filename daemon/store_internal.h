// SPDX-License-Identifier: Apache-2.0
// What the parts of the store share.
#ifndef TARN_DAEMON_STORE_INTERNAL_H
#define TARN_DAEMON_STORE_INTERNAL_H

#include <pthread.h>

#include "daemon/store.h"

struct tarn_store {
    int blobs;
    int bootstraps;
    pthread_mutex_t attaching; // held while a data file is opened, which waits for the disk
    pthread_mutex_t lock;      // guards the rest; taken alone, or with the other one held
    struct tarn_data_file **files;
    uint32_t count;
    uint32_t capacity;
    struct tarn_chunk_index *index;
};

#endif
