// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "cli/cli_image.h"
#include "cli/commands.h"
#include "cli/usage.h"

static const char usage[] =
    "usage: tarn ls [-lR] [OPTION...] IMAGE [PATH]\n"
    "\n"
    "Lists a directory (default: the root) or a file of a converted image.\n"
    "  -l                  mode, links, owner, size, time and target too\n"
    "  -R                  everything below\n"
    "  --platform P        os/arch[/variant] to choose from an index (default: this host's)\n"
    "  --json              print the entries as JSON\n" TARN_ACCESS_USAGE;

struct listing {
    const struct tarn_erofs *erofs;
    bool details;
    bool recursive;
    json_t *json; // NULL: print lines
    struct tarn_err *err;
};

// A directory whose entries are still to be listed.
struct pending {
    uint64_t nid;
    char *path; // owned
};

struct stack {
    struct pending *items;
    size_t count;
    size_t capacity;
};

static int fail(const struct listing *listing, int code, const char *path)
{
    return tarn_fail_errno(listing->err, code, "'%s'", path);
}

static void print_mode(uint32_t mode)
{
    static const char bits[] = "rwxrwxrwx";
    char text[11];
    const char type = S_ISDIR(mode)    ? 'd'
                      : S_ISLNK(mode)  ? 'l'
                      : S_ISCHR(mode)  ? 'c'
                      : S_ISBLK(mode)  ? 'b'
                      : S_ISFIFO(mode) ? 'p'
                                       : '-';
    text[0] = type;
    for (int i = 0; i < 9; i++)
        text[1 + i] = mode & (0400U >> i) ? bits[i] : '-';
    if (mode & S_ISUID)
        text[3] = mode & 0100 ? 's' : 'S';
    if (mode & S_ISGID)
        text[6] = mode & 0010 ? 's' : 'S';
    if (mode & S_ISVTX)
        text[9] = mode & 0001 ? 't' : 'T';
    text[10] = '\0';
    fputs(text, stdout);
}

static void print_details(const struct tarn_erofs_inode *inode)
{
    print_mode(inode->mode);
    printf(" %3u %5u %5u ", inode->nlink, inode->uid, inode->gid);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        printf("%6u,%5u", inode->major, inode->minor);
    else
        printf("%12" PRIu64, inode->size);
    struct tm tm;
    char text[64] = "?";
    const time_t seconds = inode->mtime;
    if (gmtime_r(&seconds, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    printf(" %s ", text);
}

static int print_line(const struct listing *listing, const char *path,
                      const struct tarn_erofs_inode *inode)
{
    if (listing->details)
        print_details(inode);
    tarn_cli_print_name(path, strlen(path));
    if (listing->details && S_ISLNK(inode->mode)) {
        const char *target;
        const int ret = tarn_erofs_symlink(listing->erofs, inode, &target);
        if (ret < 0)
            return fail(listing, ret, path);
        fputs(" -> ", stdout);
        tarn_cli_print_name(target, inode->size);
    }
    putchar('\n');
    return 0;
}

// Bytes under key, or in hexadecimal under key_hex where they are not UTF-8.
static void set_bytes(json_t *object, const char *key, const void *bytes, size_t length)
{
    json_t *text = json_stringn(bytes, length);
    if (text) {
        json_object_set_new(object, key, text);
        return;
    }
    tarn_autofree char *hex = malloc(2 * length + 1);
    tarn_autofree char *hex_key = tarn_asprintf("%s_hex", key);
    if (!hex || !hex_key)
        return;
    for (size_t i = 0; i < length; i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const unsigned char *)bytes)[i]);
    json_object_set_new(object, hex_key, json_string(hex));
}

// The full name of an xattr in fresh memory; bytes beyond ASCII as \xNN where they are not UTF-8.
static char *xattr_name(const struct tarn_erofs_xattr *xattr)
{
    const char *prefix = tarn_erofs_xattr_prefix(xattr->index);
    tarn_autojson json_t *text = json_stringn(xattr->name, xattr->name_length);
    if (text)
        return tarn_asprintf("%s%s", prefix, json_string_value(text));
    tarn_autobuf struct tarn_buf name = { 0 };
    int ret = tarn_buf_printf(&name, "%s", prefix);
    for (size_t i = 0; ret == 0 && i < xattr->name_length; i++) {
        const unsigned char c = (unsigned char)xattr->name[i];
        ret = tarn_buf_printf(&name, c < 128 ? "%c" : "\\x%02x", c);
    }
    return ret < 0 ? NULL : strdup((const char *)name.data);
}

static int add_xattrs(const struct listing *listing, const struct tarn_erofs_inode *inode,
                      json_t *entry)
{
    json_t *xattrs = json_object();
    struct tarn_erofs_xattr xattr;
    uint32_t cursor = 0;
    int ret;
    while ((ret = tarn_erofs_xattr(listing->erofs, inode, &cursor, &xattr)) == 1) {
        tarn_autofree char *name = xattr_name(&xattr);
        if (name)
            set_bytes(xattrs, name, xattr.value, xattr.length);
    }
    if (json_object_size(xattrs) > 0)
        json_object_set_new(entry, "xattrs", xattrs);
    else
        json_decref(xattrs);
    return ret;
}

static int add_json(const struct listing *listing, const char *path,
                    const struct tarn_erofs_inode *inode)
{
    json_t *entry =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "type",
                  S_ISDIR(inode->mode)   ? "directory"
                  : S_ISREG(inode->mode) ? "file"
                  : S_ISLNK(inode->mode) ? "symlink"
                  : S_ISCHR(inode->mode) ? "character-device"
                  : S_ISBLK(inode->mode) ? "block-device"
                                         : "fifo",
                  "mode", (json_int_t)(inode->mode & 07777), "uid", (json_int_t)inode->uid, "gid",
                  (json_int_t)inode->gid, "nlink", (json_int_t)inode->nlink, "mtime",
                  (json_int_t)inode->mtime, "mtime_ns", (json_int_t)inode->mtime_ns, "nid",
                  (json_int_t)inode->nid);
    if (!entry || json_array_append_new(listing->json, entry) < 0)
        return tarn_fail(listing->err, -ENOMEM, "out of memory");
    set_bytes(entry, "path", path, strlen(path));
    int ret = 0;
    if (S_ISREG(inode->mode))
        json_object_set_new(entry, "size", json_integer((json_int_t)inode->size));
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
        json_object_set_new(entry, "major", json_integer(inode->major));
        json_object_set_new(entry, "minor", json_integer(inode->minor));
    }
    if (S_ISLNK(inode->mode)) {
        const char *target;
        ret = tarn_erofs_symlink(listing->erofs, inode, &target);
        if (ret == 0)
            set_bytes(entry, "target", target, inode->size);
    }
    if (ret == 0)
        ret = add_xattrs(listing, inode, entry);
    return ret < 0 ? fail(listing, ret, path) : 0;
}

static int show(const struct listing *listing, const char *path,
                const struct tarn_erofs_inode *inode)
{
    return listing->json ? add_json(listing, path, inode) : print_line(listing, path, inode);
}

static int push(struct stack *stack, uint64_t nid, char *path)
{
    if (stack->count == stack->capacity) {
        const size_t capacity = stack->capacity ? stack->capacity * 2 : 64;
        struct pending *items = realloc(stack->items, capacity * sizeof *items);
        if (!items) {
            free(path);
            return -ENOMEM;
        }
        stack->items = items;
        stack->capacity = capacity;
    }
    stack->items[stack->count++] = (struct pending){ nid, path };
    return 0;
}

// So that directories are taken from the stack in the order in which they were found.
static void reverse(struct stack *stack, size_t from)
{
    if (stack->count == 0)
        return;
    for (size_t a = from, b = stack->count - 1; a < b; a++, b--) {
        const struct pending swap = stack->items[a];
        stack->items[a] = stack->items[b];
        stack->items[b] = swap;
    }
}

static int list_entry(const struct listing *listing, const struct pending *directory,
                      const struct tarn_erofs_dirent *entry, struct stack *stack)
{
    const bool top = strcmp(directory->path, "") == 0;
    tarn_autofree char *path =
        tarn_asprintf("%s%s%.*s", directory->path, top ? "" : "/", (int)entry->length, entry->name);
    if (!path)
        return tarn_fail(listing->err, -ENOMEM, "out of memory");
    struct tarn_erofs_inode inode;
    int ret = tarn_erofs_inode(listing->erofs, entry->nid, &inode);
    if (ret < 0)
        return fail(listing, ret, path);
    ret = show(listing, path, &inode);
    if (ret < 0 || !listing->recursive || !S_ISDIR(inode.mode))
        return ret;
    return push(stack, entry->nid, tarn_steal(path));
}

static int list_directory(const struct listing *listing, const struct pending *directory,
                          struct stack *stack)
{
    struct tarn_erofs_inode inode;
    int ret = tarn_erofs_inode(listing->erofs, directory->nid, &inode);
    const size_t first = stack->count;
    struct tarn_erofs_dirent entry = { .cookie = 0 };
    while (ret >= 0 &&
           (ret = tarn_erofs_readdir(listing->erofs, &inode, entry.cookie, &entry)) == 1) {
        const bool dots = (entry.length == 1 && entry.name[0] == '.') ||
                          (entry.length == 2 && memcmp(entry.name, "..", 2) == 0);
        if (!dots)
            ret = list_entry(listing, directory, &entry, stack);
    }
    reverse(stack, first);
    if (ret < 0 && listing->err->code == 0)
        return fail(listing, ret, directory->path);
    return ret;
}

static int list_all(const struct listing *listing, const char *path)
{
    struct tarn_erofs_inode inode;
    int ret = tarn_erofs_walk(listing->erofs, path, &inode);
    if (ret < 0)
        return fail(listing, ret, path);
    while (*path == '/')
        path++;
    if (!S_ISDIR(inode.mode))
        return show(listing, path, &inode);
    struct stack stack = { 0 };
    char *start = strdup(path);
    for (size_t n = start ? strlen(start) : 0; n > 0 && start[n - 1] == '/'; n--)
        start[n - 1] = '\0';
    ret = start ? push(&stack, inode.nid, start) : -ENOMEM;
    while (ret >= 0 && stack.count > 0) {
        const struct pending directory = stack.items[--stack.count];
        ret = list_directory(listing, &directory, &stack);
        free(directory.path);
    }
    while (stack.count > 0)
        free(stack.items[--stack.count].path);
    free(stack.items);
    return ret;
}

static int run(struct listing *listing, const char *name, const struct tarn_image_options *options,
               const char *path)
{
    struct tarn_cli_image image;
    int ret = tarn_cli_image_open(&image, name, options, listing->err);
    if (ret == 0)
        ret = tarn_cli_image_load(&image, listing->err);
    if (ret == 0) {
        listing->erofs = &image.converted.bootstrap.erofs;
        ret = list_all(listing, path);
        if (ret < 0)
            tarn_err_prepend(listing->err, "%s", name);
    }
    listing->erofs = NULL;
    tarn_cli_image_release(&image);
    return ret;
}

int tarn_cmd_ls(int argc, char **argv)
{
    static const struct option rows[] = { TARN_IMAGE_OPTIONS };
    tarn_cleanup(tarn_image_options_release) struct tarn_image_options options = { 0 };
    struct tarn_err err = { 0 };
    struct listing listing = { .err = &err };
    int option;
    while ((option = getopt_long(argc, argv, "lR", rows, NULL)) != -1) {
        int status = -1;
        if (option == 'l')
            listing.details = true;
        else if (option == 'R')
            listing.recursive = true;
        else
            status = tarn_image_option(&options, option, usage);
        if (status >= 0)
            return status;
    }
    if (argc - optind < 1 || argc - optind > 2)
        return tarn_cli_usage(usage, "tarn ls takes an image and perhaps a path");
    tarn_autojson json_t *entries = options.json ? json_array() : NULL;
    listing.json = entries;
    const int ret =
        run(&listing, argv[optind], &options, argc - optind == 2 ? argv[optind + 1] : "");
    if (ret < 0)
        return tarn_cli_fail(&err);
    return options.json ? tarn_cli_print_json(tarn_steal(entries)) : tarn_cli_finish(TARN_EXIT_OK);
}
