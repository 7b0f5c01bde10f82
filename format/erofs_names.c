// SPDX-License-Identifier: Apache-2.0
#include "format/erofs_names.h"

#include <string.h>

#include "format/erofs.h"

// True if the child's name comes before `.` or `..`, of which none is a child's.
static bool before_dots(const struct tarn_node *child, uint16_t length)
{
    const size_t common = child->length < length ? child->length : length;
    const int order = memcmp(child->name, "..", common);
    return order < 0 || (order == 0 && child->length < length);
}

bool tarn_erofs_names_next(struct tarn_erofs_names *names, struct tarn_erofs_name *name)
{
    const struct tarn_node *child = names->child;
    if (names->dots < 2) {
        const uint16_t length = (uint16_t)(names->dots + 1);
        if (!child || !before_dots(child, length)) {
            const struct tarn_node *parent = names->directory->parent;
            const bool up = names->dots == 1 && parent;
            *name = (struct tarn_erofs_name){ up ? parent : names->directory, "..", length };
            names->dots++;
            return true;
        }
    }
    if (!child)
        return false;
    *name = (struct tarn_erofs_name){ child, child->name, child->length };
    names->child = child->next;
    return true;
}

uint32_t tarn_erofs_names_block(struct tarn_erofs_names *names, uint32_t *bytes)
{
    uint32_t count = 0;
    *bytes = 0;
    for (;;) {
        struct tarn_erofs_names ahead = *names;
        struct tarn_erofs_name name;
        if (!tarn_erofs_names_next(&ahead, &name))
            return count;
        const uint32_t room = TARN_EROFS_DIRENT + name.length;
        if (*bytes + room > TARN_BLOCK)
            return count;
        *bytes += room;
        *names = ahead;
        count++;
    }
}
