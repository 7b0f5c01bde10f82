// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/image_options.h"
#include "cli/usage.h"
#include "daemon/control_message.h"
#include "daemon/fd_socket.h"
#include "daemon/mounter.h"
#include "daemon/root_path.h"
#include "registry/docker_config.h"
#include "registry/reference.h"

static const char usage[] =
    "usage: tarn mount [OPTION...] IMAGE DIR\n"
    "\n"
    "Mounts a converted image on a directory, read-only. Files are fetched when they are read.\n"
    "  --platform P        os/arch[/variant] of an image for several (default: this host)\n"
    "  --ino32             inode numbers below 2^32, for 32-bit programs without large-file\n"
    "                      support; two mounts may then show equal ones (default for 386 and arm\n"
    "                      images)\n"
    "  --no-ino32          not even for these\n"
    "  --allow-other       without root: others may enter too (needs user_allow_other in "
    "fuse.conf)\n"
    "  --root DIR          the daemon's root (default: $TARN_ROOT, else /var/lib/tarn; without "
    "root\n"
    "                      $XDG_DATA_HOME/tarn or ~/.local/share/tarn)\n"
    "  --idle SECONDS      if a daemon is started: how long it stays after its last "
    "mount\n" TARN_ACCESS_USAGE;

struct mount_arguments {
    const char *image;
    const char *directory;
    const char *platform;
    const char *root;
    const char *idle;
    int ino32; // -1: as the image says
    bool allow_other;
    struct tarn_access access; // credentials are looked up for a registry
};

// The image's name with an absolute path: the daemon has another working directory. Credentials are looked
// up here too, because they are this user's, and the daemon may have another environment.
static char *absolute_image(const char *text, struct tarn_access *access, struct tarn_err *err)
{
    struct tarn_reference reference;
    if (tarn_reference_parse(text, &reference, err) < 0)
        return NULL;
    char *absolute = NULL;
    const char *scheme = reference.kind == TARN_REFERENCE_OCI           ? "oci"
                         : reference.kind == TARN_REFERENCE_OCI_ARCHIVE ? "oci-archive"
                                                                        : NULL;
    if (reference.kind == TARN_REFERENCE_DOCKER) {
        if (tarn_docker_config_find(access, reference.host, reference.path, err) == 0)
            absolute = tarn_asprintf("%s", text);
    } else if (!scheme) {
        tarn_fail(err, -EINVAL, "%s is no converted image; `tarn convert` makes one of it", text);
    } else {
        tarn_autofree char *path = realpath(reference.path, NULL);
        char digest[TARN_DIGEST_TEXT] = "";
        if (reference.has_digest)
            tarn_digest_format(&reference.digest, digest);
        if (!path)
            tarn_fail_errno(err, -errno,
                            "%s: cannot open '%s' (a path in an image name ends at its "
                            "first ':')",
                            text, reference.path);
        else if (strchr(path, ':'))
            tarn_fail(err, -EINVAL, "%s: its path %s has a ':'", text, path);
        else
            absolute =
                tarn_asprintf("%s:%s%s%s%s%s", scheme, path, reference.tag ? ":" : "",
                              reference.tag ? reference.tag : "", *digest ? "@" : "", digest);
    }
    tarn_reference_release(&reference);
    return absolute;
}

// --- as root ---------------------------------------------------------------------------------------------

static int attach(const struct mount_arguments *arguments, int directory, int *mount,
                  struct tarn_err *err)
{
    if (*mount < 0)
        return tarn_fail(err, -EPROTO, "tarnd sent no mount");
    const long ret = syscall(SYS_move_mount, *mount, "", directory, "",
                             MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    const int code = ret < 0 ? -errno : 0;
    // Kept open it would make an unmount "busy".
    close(tarn_steal_fd(mount));
    return code < 0 ? tarn_fail_errno(err, code, "cannot mount on %s", arguments->directory) : 0;
}

// --- without root ----------------------------------------------------------------------------------------

static int fusermount(const struct mount_arguments *arguments, const char *path, int *fuse,
                      struct tarn_err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return tarn_fail_errno(err, -errno, "cannot make a socket pair");
    char program[] = "fusermount3";
    char option[] = "-o";
    char dashes[] = "--";
    char options[128];
    snprintf(options, sizeof options,
             "ro,nosuid,nodev,default_permissions,max_read=%d,fsname=tarn,subtype=tarn%s",
             TARN_READ_MAX, arguments->allow_other ? ",allow_other" : "");
    tarn_autofree char *target = tarn_asprintf("%s", path);
    char *const argv[] = { program, option, options, dashes, target, NULL };
    int ret = target ? tarn_client_run(argv, ends[1], err) : tarn_fail(err, -ENOMEM, "no memory");
    close(ends[1]);
    char byte;
    if (ret == 0 && (tarn_socket_receive(ends[0], &byte, 1, fuse) != 1 || *fuse < 0))
        ret = tarn_fail(err, -EIO, "fusermount3 gave no descriptor");
    close(ends[0]);
    return ret;
}

static void fuserumount(const char *path)
{
    char program[] = "fusermount3";
    char flags[] = "-uzq";
    char dashes[] = "--";
    tarn_autofree char *target = tarn_asprintf("%s", path);
    char *const argv[] = { program, flags, dashes, target, NULL };
    struct tarn_err ignored;
    if (!target || tarn_client_run(argv, -1, &ignored) < 0)
        fprintf(stderr, "tarn: cannot unmount %s again\n", path);
}

// --- the conversation --------------------------------------------------------------------------------------

static int expect(const json_t *answer, const char *state, struct tarn_err *err)
{
    const char *got = tarn_json_string(answer, "state");
    if (got && strcmp(got, state) == 0)
        return 0;
    return tarn_fail(err, -EPROTO, "tarnd answered '%s' instead of '%s'; is it another version?",
                     got ? got : "", state);
}

static int tell(int fd, const char *op, int descriptor, struct tarn_err *err)
{
    tarn_autojson json_t *message = json_pack("{s:s}", "op", op);
    tarn_autojson json_t *answer = NULL;
    int none = -1;
    int ret = message ? tarn_message_send(fd, message, descriptor, err)
                      : tarn_fail(err, -ENOMEM, "out of memory");
    if (ret == 0)
        ret = tarn_message_receive(fd, &answer, &none, err);
    if (none >= 0)
        close(none);
    return ret < 0 ? ret : expect(answer, "mounted", err);
}

static int mount_rootless(const struct mount_arguments *arguments, const char *path, int fd,
                          struct tarn_err *err)
{
    tarn_autoclose int fuse = -1;
    int ret = fusermount(arguments, path, &fuse, err);
    if (ret < 0)
        return ret;
    ret = tell(fd, "fuse", fuse, err);
    if (ret < 0)
        fuserumount(path);
    return ret;
}

static json_t *request(const struct mount_arguments *arguments, const char *image, const char *path)
{
    json_t *message = json_pack("{s:s, s:o, s:o}", "op", "mount", "image",
                                tarn_message_bytes(image), "directory", tarn_message_bytes(path));
    int ret = message ? 0 : -1;
    if (ret == 0 && arguments->platform)
        ret = json_object_set_new(message, "platform", tarn_message_bytes(arguments->platform));
    if (ret == 0 && arguments->ino32 >= 0)
        ret = json_object_set_new(message, "ino32", json_boolean(arguments->ino32));
    if (ret == 0 && arguments->access.known)
        ret = json_object_set_new(message, "access", tarn_access_to_json(&arguments->access));
    if (ret == 0)
        return message;
    json_decref(message);
    return NULL;
}

static int run(struct mount_arguments *arguments, struct tarn_err *err)
{
    tarn_autofree char *root = NULL;
    int ret = tarn_root_path(arguments->root, &root, err);
    if (ret < 0)
        return ret;
    tarn_autofree char *image = absolute_image(arguments->image, &arguments->access, err);
    if (!image)
        return err->code;
    assert(arguments->directory);
    tarn_autoclose int directory = open(arguments->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    tarn_autofree char *path = directory < 0 ? NULL : realpath(arguments->directory, NULL);
    if (!path)
        return tarn_fail_errno(err, -errno, "cannot mount on '%s', which must be a directory",
                               arguments->directory);
    if (!root)
        return tarn_fail(err, -ENOMEM, "out of memory");
    tarn_autojson json_t *message = request(arguments, image, path);
    if (!message)
        return tarn_fail(err, -ENOMEM, "out of memory");
    const struct tarn_client_options options = { root, true, arguments->idle, message };
    tarn_autoclose int fd = -1;
    tarn_autoclose int mount = -1;
    tarn_autojson json_t *answer = NULL;
    ret = tarn_client_ask(&options, &fd, &answer, &mount, err);
    if (ret < 0)
        return ret;
    const char *state = tarn_json_string(answer, "state");
    if (state && strcmp(state, "fuse") == 0)
        return mount_rootless(arguments, path, fd, err);
    ret = expect(answer, "attach", err);
    if (ret == 0)
        ret = attach(arguments, directory, &mount, err);
    return ret < 0 ? ret : tell(fd, "attached", -1, err);
}

static int parse(int argc, char **argv, struct mount_arguments *arguments)
{
    enum { PLATFORM = 1, INO32, NO_INO32, ALLOW_OTHER, ROOT, IDLE };
    static const struct option options[] = {
        { "platform", required_argument, NULL, PLATFORM },
        { "ino32", no_argument, NULL, INO32 },
        { "no-ino32", no_argument, NULL, NO_INO32 },
        { "allow-other", no_argument, NULL, ALLOW_OTHER },
        { "root", required_argument, NULL, ROOT },
        { "idle", required_argument, NULL, IDLE },
        { "help", no_argument, NULL, 'h' },
        TARN_ACCESS_OPTIONS,
        { 0 },
    };
    int c;
    int status = -1;
    while (status < 0 && (c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        switch (c) {
        case PLATFORM:
            arguments->platform = optarg;
            break;
        case INO32:
        case NO_INO32:
            arguments->ino32 = c == INO32;
            break;
        case ALLOW_OTHER:
            arguments->allow_other = true;
            break;
        case ROOT:
            arguments->root = optarg;
            break;
        case IDLE:
            arguments->idle = optarg;
            break;
        case 'h':
            return tarn_cli_usage(usage, NULL);
        default:
            status = tarn_access_option(&arguments->access, c, usage);
        }
    }
    if (status >= 0)
        return status;
    long seconds;
    if (arguments->idle && tarn_cli_number(arguments->idle, 0, 1000000, &seconds) < 0)
        return tarn_cli_usage(usage, "'%s' is no number of seconds", arguments->idle);
    if (argc - optind != 2)
        return tarn_cli_usage(usage, "an image and a directory are needed");
    arguments->image = argv[optind];
    arguments->directory = argv[optind + 1];
    return -1;
}

int tarn_cmd_mount(int argc, char **argv)
{
    struct mount_arguments arguments = { .ino32 = -1 };
    int status = parse(argc, argv, &arguments);
    if (status < 0) {
        struct tarn_err err = { 0 };
        status = run(&arguments, &err) < 0 ? tarn_cli_fail(&err) : TARN_EXIT_OK;
    }
    tarn_access_release(&arguments.access);
    return status;
}
