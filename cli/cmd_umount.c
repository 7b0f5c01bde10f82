// SPDX-License-Identifier: Apache-2.0
#include <getopt.h>
#include <string.h>
#include <sys/mount.h>

#include "base/file.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "daemon/mountinfo.h"
#include "daemon/root_path.h"

static const char usage[] =
    "usage: tarn umount [--lazy] [--root DIR] DIR...\n"
    "\n"
    "Unmounts images; plain umount(8) does it too. Returns when the daemon has let go of them.\n"
    "  --lazy       detach at once, also while it is in use\n"
    "  --root DIR   the daemon's root, as for `tarn mount`\n";

// The directory's real path. A mount whose daemon has died cannot be walked into, but its parent can.
static char *mount_path(const char *directory)
{
    char *path = realpath(directory, NULL);
    if (path || errno != ENOTCONN)
        return path;
    tarn_autofree char *copy = tarn_asprintf("%s", directory);
    if (!copy)
        return NULL;
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/')
        copy[--length] = '\0';
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    if (slash)
        *slash = '\0';
    tarn_autofree char *parent = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
    return parent ? tarn_path_join(strcmp(parent, "/") == 0 ? "" : parent, name) : NULL;
}

// Checks that an image is mounted there, on top. *slot: 0 for a mount with a connection of its own.
static int find_mount(const char *path, uint32_t *slot, struct tarn_err *err)
{
    tarn_cleanup(tarn_buf_release) struct tarn_buf text = { 0 };
    int ret = tarn_mountinfo_read(0, &text);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "cannot read /proc/self/mountinfo");
    char *cursor = (char *)text.data;
    struct tarn_mountinfo info;
    struct tarn_mountinfo top = { 0 };
    while (tarn_mountinfo_next(&cursor, &info))
        if (strcmp(info.point, path) == 0)
            top = info;
    if (!top.type)
        return tarn_fail(err, -EINVAL, "%s is no mount point", path);
    if (strcmp(top.type, "fuse.tarn") != 0)
        return tarn_fail(err, -EINVAL, "%s is not a mount of Tarn, but of type %s", path, top.type);
    *slot = tarn_mountinfo_slot(top.root);
    if (*slot == 0 && geteuid() == 0 && strcmp(top.root, "/") != 0)
        return tarn_fail(err, -EINVAL, "%s is no image of Tarn", path);
    return 0;
}

static int unmount(const char *path, bool lazy, struct tarn_err *err)
{
    if (geteuid() != 0) {
        char program[] = "fusermount3";
        char flags[8];
        char dashes[] = "--";
        snprintf(flags, sizeof flags, "-u%s", lazy ? "z" : "");
        tarn_autofree char *target = tarn_asprintf("%s", path);
        char *const argv[] = { program, flags, dashes, target, NULL };
        return target ? tarn_client_run(argv, -1, err) : tarn_fail(err, -ENOMEM, "out of memory");
    }
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EBUSY)
        return tarn_fail(err, -EBUSY, "%s is in use (fuser -vm tells by whom); --lazy detaches it",
                         path);
    return tarn_fail_errno(err, -errno, "cannot unmount %s", path);
}

// The mount is off; whether the daemon has let go is worth a word, not a failure.
static void wait_until_gone(const char *root, const char *path, uint32_t slot, bool lazy)
{
    tarn_autojson json_t *message =
        json_pack("{s:s, s:I, s:b}", "op", "umount", "slot", (json_int_t)slot, "lazy", lazy);
    const struct tarn_client_options options = { root, false, NULL, message };
    tarn_autojson json_t *answer = NULL;
    tarn_autoclose int fd = -1;
    tarn_autoclose int descriptor = -1;
    struct tarn_err err;
    if (!message || tarn_client_ask(&options, &fd, &answer, &descriptor, &err) < 0)
        return; // no daemon, nothing to wait for
    const char *state = tarn_json_string(answer, "state");
    if (state && strcmp(state, "busy") == 0)
        fprintf(stderr, "tarn: %s: unmounted, but files of it are still open\n", path);
}

static int umount_one(const char *root, const char *directory, bool lazy, struct tarn_err *err)
{
    tarn_autofree char *path = mount_path(directory);
    if (!path)
        return tarn_fail_errno(err, -errno, "%s", directory);
    uint32_t slot;
    int ret = find_mount(path, &slot, err);
    if (ret == 0)
        ret = unmount(path, lazy, err);
    if (ret == 0 && slot > 0)
        wait_until_gone(root, path, slot, lazy);
    return ret;
}

int tarn_cmd_umount(int argc, char **argv)
{
    enum { ROOT = 1 };
    static const struct option options[] = {
        { "lazy", no_argument, NULL, 'l' },
        { "root", required_argument, NULL, ROOT },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    const char *named = NULL;
    bool lazy = false;
    int c;
    while ((c = getopt_long(argc, argv, "lh", options, NULL)) >= 0) {
        if (c == 'h')
            return tarn_cli_usage(usage, NULL);
        if (c == ROOT)
            named = optarg;
        else if (c == 'l')
            lazy = true;
        else
            return tarn_cli_wrong_option(usage);
    }
    if (optind >= argc)
        return tarn_cli_usage(usage, "a directory is needed");
    struct tarn_err err = { 0 };
    tarn_autofree char *root = NULL;
    if (tarn_root_path(named, &root, &err) < 0)
        return tarn_cli_fail(&err);
    int status = TARN_EXIT_OK;
    for (; optind < argc; optind++)
        if (umount_one(root, argv[optind], lazy, &err) < 0)
            status = tarn_cli_fail(&err);
    return status;
}
