// SPDX-License-Identifier: Apache-2.0
#include "daemon/root_path.h"

#include <stdbool.h>
#include <sys/stat.h>

#include "base/file.h"

static bool is_set(const char *text)
{
    return text && *text;
}

static char *absolute(const char *path)
{
    if (*path == '/')
        return tarn_asprintf("%s", path);
    tarn_autofree char *directory = getcwd(NULL, 0);
    return directory ? tarn_path_join(directory, path) : NULL;
}

int tarn_root_path(const char *option, char **path, struct tarn_err *err)
{
    const char *variable = getenv("TARN_ROOT");
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (option && !*option)
        return tarn_fail(err, -EINVAL, "the root directory's name is empty");
    if (option || is_set(variable))
        *path = absolute(option ? option : variable);
    else if (geteuid() == 0)
        *path = tarn_asprintf("/var/lib/tarn");
    else if (is_set(data) && *data == '/')
        *path = tarn_path_join(data, "tarn");
    else if (is_set(home) && *home == '/')
        *path = tarn_path_join(home, ".local/share/tarn");
    else
        return tarn_fail(err, -EINVAL, "no root directory: set TARN_ROOT or HOME");
    return *path ? 0 : tarn_fail(err, -ENOMEM, "cannot make the root directory's path");
}

static int check_directory(const char *path, struct tarn_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : tarn_fail_errno(err, -errno, "%s", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return tarn_fail(err, -EPERM, "%s belongs to another user (%u)", path, (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return tarn_fail(err, -EPERM, "%s can be written by others; `chmod go-w` it", path);
    return 0;
}

int tarn_root_check(const char *root, struct tarn_err *err)
{
    static const char *const names[] = { "run", "blobs",
                                         "bootstraps" }; // not mnt: a walk would ask FUSE
    int ret = check_directory(root, err);
    for (size_t i = 0; ret == 0 && i < sizeof names / sizeof names[0]; i++) {
        tarn_autofree char *path = tarn_path_join(root, names[i]);
        ret = path ? check_directory(path, err) : tarn_fail(err, -ENOMEM, "out of memory");
    }
    return ret;
}
