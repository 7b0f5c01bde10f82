// SPDX-License-Identifier: Apache-2.0
#include "daemon/mountinfo.h"

#include <string.h>

#include "base/file.h"

enum { MOUNTINFO_LIMIT = 64 << 20 };

int tarn_mountinfo_read(int pid, struct tarn_buf *text)
{
    char path[64];
    if (pid == 0)
        snprintf(path, sizeof path, "/proc/self/mountinfo");
    else
        snprintf(path, sizeof path, "/proc/%d/mountinfo", pid);
    int ret = tarn_file_read(-1, path, MOUNTINFO_LIMIT, text, NULL);
    if (ret == 0)
        ret = tarn_buf_append(text, "", 1);
    return ret;
}

static void unescape(char *text)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
            in[3] >= '0' && in[3] <= '7') {
            *out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
            in += 3;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

static bool parse_line(char *line, struct tarn_mountinfo *info)
{
    char *rest = line;
    const char *id = strsep(&rest, " ");
    const char *parent = strsep(&rest, " ");
    const char *device = strsep(&rest, " ");
    info->root = strsep(&rest, " ");
    info->point = strsep(&rest, " ");
    if (!id || !parent || !device || !info->root || !info->point || !rest)
        return false;
    char *end;
    info->major = (unsigned)strtoul(device, &end, 10);
    if (end == device || *end != ':')
        return false;
    const char *minor = end + 1;
    info->minor = (unsigned)strtoul(minor, &end, 10);
    if (end == minor || *end != '\0')
        return false;
    // Options and any number of optional fields, up to a field "-".
    const char *field;
    while ((field = strsep(&rest, " ")) && strcmp(field, "-") != 0)
        ;
    info->type = strsep(&rest, " ");
    info->source = strsep(&rest, " ");
    if (!field || !info->type || !info->source)
        return false;
    unescape(info->root);
    unescape(info->point);
    unescape(info->type);
    unescape(info->source);
    return true;
}

bool tarn_mountinfo_next(char **cursor, struct tarn_mountinfo *info)
{
    char *line;
    while ((line = strsep(cursor, "\n")))
        if (parse_line(line, info))
            return true;
    return false;
}

uint32_t tarn_mountinfo_slot(const char *root)
{
    static const char prefix[] = "/images/";
    if (strncmp(root, prefix, sizeof prefix - 1) != 0)
        return 0;
    const char *digits = root + sizeof prefix - 1;
    char *end;
    const unsigned long number = strtoul(digits, &end, 10);
    if (*digits < '1' || *digits > '9' || (*end != '\0' && *end != '/') || number > UINT32_MAX)
        return 0;
    return (uint32_t)number;
}
