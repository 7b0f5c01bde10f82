// SPDX-License-Identifier: Apache-2.0
// Any bytes as an OCI archive's tar: every member that is found lies inside it.
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "registry/archive_scan.h"

struct input {
    const uint8_t *data;
    size_t size;
};

static int input_read(void *context, void *data, size_t length, uint64_t offset)
{
    const struct input *input = context;
    assert(tarn_range_ok(offset, length, input->size));
    memcpy(data, input->data + offset, length);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input bytes = { data, size };
    const struct tarn_archive_input input = { input_read, &bytes, size };
    struct tarn_archive_members members = { 0 };
    struct tarn_err err;
    if (tarn_archive_scan(&input, &members, &err) < 0)
        return 0;
    for (size_t i = 0; i < members.count; i++) {
        const struct tarn_archive_member *member = &members.list[i];
        assert(tarn_range_ok(member->offset, member->size, size));
        assert(i == 0 || strcmp(members.list[i - 1].name, member->name) < 0);
        assert(tarn_archive_members_find(&members, member->name) == member);
    }
    tarn_archive_members_release(&members);
    return 0;
}
