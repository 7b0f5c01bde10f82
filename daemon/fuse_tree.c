// SPDX-License-Identifier: Apache-2.0
// The trees of the images, answered from the mapped bootstraps without waiting. Nothing in them ever
// changes, so the kernel may keep all of it: what is damaged is never answered, not even that a name is not
// there. Bytes are copied out of the map first: the kernel would not take them from a damaged one.
//
// OPEN, OPENDIR and FLUSH get ENOSYS, which the kernel remembers for the connection: that saves two
// round trips for each open file. Never for xattr requests: other images may have some.
#include <sys/sysmacros.h>

#include "daemon/fuse_internal.h"

static struct tarn_connection *connection_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

// Whether ino names a node of the base.
static bool in_base(const struct tarn_connection *connection, fuse_ino_t ino)
{
    return !connection->slot && ino >> TARN_NID_BITS == 0;
}

// 0, with a reference to the slot; -ESTALE no such slot; -EUCLEAN, -EIO.
static int get_node(const struct tarn_connection *connection, fuse_ino_t ino,
                    struct tarn_fuse_node *node)
{
    const uint32_t number =
        connection->slot ? connection->slot->number : (uint32_t)(ino >> TARN_NID_BITS);
    node->slot = tarn_slots_get(connection->server->options.slots, number);
    if (!node->slot)
        return -ESTALE;
    const struct tarn_erofs *erofs = &node->slot->image->bootstrap.erofs;
    node->nid = connection->slot && ino == FUSE_ROOT_ID ? erofs->root_nid : ino & TARN_NID_MASK;
    const int ret = tarn_erofs_inode(erofs, node->nid, &node->inode);
    if (ret == 0)
        return 0;
    const int status = tarn_fuse_node_status(node, ret);
    tarn_slot_put(node->slot);
    return status;
}

int tarn_fuse_node_status(const struct tarn_fuse_node *node, int status)
{
    return tarn_node_image_damaged(node->slot->image) ? -EIO : status;
}

static fuse_ino_t node_id(const struct tarn_connection *connection, const struct tarn_slot *slot,
                          uint64_t nid)
{
    if (!connection->slot)
        return (uint64_t)slot->number << TARN_NID_BITS | nid;
    return nid == slot->image->bootstrap.erofs.root_nid ? FUSE_ROOT_ID : nid;
}

ino_t tarn_fuse_node_ino(const struct tarn_connection *connection, const struct tarn_slot *slot,
                         uint64_t nid)
{
    return connection->slot || slot->ino32 ? nid : (uint64_t)slot->number << TARN_NID_BITS | nid;
}

static void fill_stat(const struct tarn_connection *connection, const struct tarn_slot *slot,
                      const struct tarn_erofs_inode *inode, struct stat *st)
{
    const struct timespec mtime = { inode->mtime, inode->mtime_ns };
    *st = (struct stat){
        .st_ino = tarn_fuse_node_ino(connection, slot, inode->nid),
        .st_mode = inode->mode,
        .st_nlink = inode->nlink,
        .st_uid = inode->uid,
        .st_gid = inode->gid,
        .st_rdev = makedev(inode->major, inode->minor),
        .st_size = (off_t)inode->size,
        .st_blksize = TARN_BLOCK,
        .st_blocks = (blkcnt_t)(tarn_round_up(inode->size, TARN_BLOCK) / 512),
        .st_atim = mtime,
        .st_mtim = mtime,
        .st_ctim = mtime,
    };
}

int tarn_fuse_node_entry(const struct tarn_connection *connection, const struct tarn_slot *slot,
                         uint64_t nid, struct fuse_entry_param *entry)
{
    struct tarn_erofs_inode inode;
    const int ret = tarn_erofs_inode(&slot->image->bootstrap.erofs, nid, &inode);
    if (ret < 0)
        return ret;
    *entry = (struct fuse_entry_param){
        .ino = node_id(connection, slot, nid),
        .attr_timeout = TARN_FOREVER,
        .entry_timeout = TARN_FOREVER,
    };
    fill_stat(connection, slot, &inode, &entry->attr);
    return 0;
}

// The node of an image. False: there is none, and the request has been answered; base is what one for a node
// of the base gets.
static bool node_of(fuse_req_t req, fuse_ino_t ino, int base, struct tarn_fuse_node *node)
{
    const struct tarn_connection *connection = connection_of(req);
    const int ret = in_base(connection, ino) ? base : get_node(connection, ino, node);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    return ret == 0;
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct tarn_connection *connection = connection_of(req);
    if (in_base(connection, parent)) {
        tarn_base_lookup(req, parent, name);
        return;
    }
    struct tarn_fuse_node node;
    if (!node_of(req, parent, -ESTALE, &node))
        return;
    struct fuse_entry_param entry = { .entry_timeout = TARN_FOREVER };
    uint64_t nid;
    int ret;
    const size_t length = strlen(name);
    if (!S_ISDIR(node.inode.mode))
        ret = -ENOTDIR;
    else if (length > TARN_NAME_MAX)
        ret = -ENAMETOOLONG; // the kernel lets longer ones through
    else
        ret =
            tarn_erofs_lookup(&node.slot->image->bootstrap.erofs, &node.inode, name, length, &nid);
    if (ret == 0)
        ret = tarn_fuse_node_entry(connection, node.slot, nid, &entry);
    ret = tarn_fuse_node_status(&node, ret);
    // An entry without a node is a negative one, which may be kept too.
    if (ret == 0 || ret == -ENOENT)
        fuse_reply_entry(req, &entry);
    else
        fuse_reply_err(req, -ret);
    tarn_slot_put(node.slot);
}

// Only a slot's root is counted: it tells when the kernel has let go of the image.
static void forget_one(const struct tarn_connection *connection, fuse_ino_t ino, uint64_t count)
{
    if (connection->slot || ino >> TARN_NID_BITS == 0)
        return;
    struct tarn_slots *slots = connection->server->options.slots;
    const uint32_t number = (uint32_t)(ino >> TARN_NID_BITS);
    struct tarn_slot *slot = tarn_slots_get(slots, number);
    if (slot && (ino & TARN_NID_MASK) == slot->image->bootstrap.erofs.root_nid)
        tarn_slots_forget(slots, number, count);
    tarn_slot_put(slot);
}

static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    forget_one(connection_of(req), ino, count);
    fuse_reply_none(req);
}

static void forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        forget_one(connection_of(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)info;
    const struct tarn_connection *connection = connection_of(req);
    if (in_base(connection, ino)) {
        tarn_base_getattr(req, ino);
        return;
    }
    struct tarn_fuse_node node;
    if (!node_of(req, ino, -ESTALE, &node))
        return;
    struct stat st;
    fill_stat(connection, node.slot, &node.inode, &st);
    const int ret = tarn_fuse_node_status(&node, 0);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        fuse_reply_attr(req, &st, TARN_FOREVER);
    tarn_slot_put(node.slot);
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct tarn_fuse_node node;
    if (!node_of(req, ino, -EINVAL, &node))
        return;
    char copy[TARN_SYMLINK_MAX];
    const char *target;
    int ret = tarn_erofs_symlink(&node.slot->image->bootstrap.erofs, &node.inode, &target);
    if (ret == 0)
        memcpy(copy, target, (size_t)node.inode.size);
    ret = tarn_fuse_node_status(&node, ret);
    if (ret == 0)
        fuse_reply_buf(req, copy, (size_t)node.inode.size);
    else
        fuse_reply_err(req, -ret);
    tarn_slot_put(node.slot);
}

// Adds entries to buffer until it is full. Returns the bytes used or -errno.
static ssize_t list(fuse_req_t req, const struct tarn_fuse_node *node,
                    const struct tarn_base_listing *listing, char *buffer)
{
    const struct tarn_connection *connection = connection_of(req);
    const struct tarn_erofs *erofs = &node->slot->image->bootstrap.erofs;
    uint64_t cookie = (uint64_t)listing->offset;
    size_t used = 0;
    for (;;) {
        struct tarn_erofs_dirent dirent;
        int ret = tarn_erofs_readdir(erofs, &node->inode, cookie, &dirent);
        if (ret <= 0)
            return ret < 0 && used == 0 ? ret : (ssize_t)used;
        char name[TARN_NAME_MAX + 1];
        memcpy(name, dirent.name, dirent.length);
        name[dirent.length] = '\0';
        size_t size;
        if (listing->plus) {
            struct fuse_entry_param entry;
            ret = tarn_fuse_node_entry(connection, node->slot, dirent.nid, &entry);
            if (ret < 0)
                return used == 0 ? ret : (ssize_t)used;
            size = fuse_add_direntry_plus(req, buffer + used, listing->size - used, name, &entry,
                                          (off_t)dirent.cookie);
        } else {
            const struct stat st = {
                .st_ino = tarn_fuse_node_ino(connection, node->slot, dirent.nid),
                .st_mode = DTTOIF(dirent.type),
            };
            size = fuse_add_direntry(req, buffer + used, listing->size - used, name, &st,
                                     (off_t)dirent.cookie);
        }
        if (size > listing->size - used)
            return (ssize_t)used;
        used += size;
        cookie = dirent.cookie;
    }
}

static void list_directory(fuse_req_t req, fuse_ino_t ino, const struct tarn_base_listing *asked)
{
    struct tarn_connection *connection = connection_of(req);
    struct tarn_thread_buffers *buffers = tarn_server_buffers(connection->server);
    struct tarn_base_listing listing = *asked;
    if (listing.size > TARN_READ_MAX)
        listing.size = TARN_READ_MAX;
    if (!buffers) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    if (in_base(connection, ino)) {
        tarn_base_readdir(req, ino, &listing);
        return;
    }
    struct tarn_fuse_node node;
    if (!node_of(req, ino, -ESTALE, &node))
        return;
    const ssize_t listed =
        S_ISDIR(node.inode.mode) ? list(req, &node, &listing, (char *)buffers->data) : -ENOTDIR;
    const int used = tarn_fuse_node_status(&node, (int)listed);
    if (used < 0)
        fuse_reply_err(req, -used);
    else
        fuse_reply_buf(req, (char *)buffers->data, (size_t)used);
    tarn_slot_put(node.slot);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    (void)info;
    const struct tarn_base_listing listing = { size, offset, false };
    list_directory(req, ino, &listing);
}

static void readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                        struct fuse_file_info *info)
{
    (void)info;
    const struct tarn_base_listing listing = { size, offset, true };
    list_directory(req, ino, &listing);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)info;
    const struct tarn_connection *connection = connection_of(req);
    if (in_base(connection, ino)) {
        if (ino < TARN_NODE_BLOB_FIRST || ino - TARN_NODE_BLOB_FIRST > UINT32_MAX)
            fuse_reply_err(req, EISDIR);
        else
            tarn_read_blob(req, (uint32_t)(ino - TARN_NODE_BLOB_FIRST), size, offset);
        return;
    }
    struct tarn_fuse_node node;
    if (!node_of(req, ino, -ESTALE, &node))
        return;
    const int ret = tarn_fuse_node_status(&node, S_ISREG(node.inode.mode) ? 0 : -EINVAL);
    if (ret < 0) {
        fuse_reply_err(req, -ret);
        tarn_slot_put(node.slot);
        return;
    }
    const struct tarn_read_source source = { .slot = node.slot, .inode = &node.inode };
    tarn_read_serve(req, &source, size, offset);
}

// Answered from the map of the file, so that copies keep its holes.
static int seek(const struct tarn_fuse_node *node, uint64_t *offset, bool data)
{
    if (!S_ISREG(node->inode.mode))
        return -EINVAL;
    while (*offset < node->inode.size) {
        struct tarn_erofs_extent extent;
        const int ret =
            tarn_erofs_map(&node->slot->image->bootstrap.erofs, &node->inode, *offset, &extent);
        if (ret < 0)
            return ret;
        if ((extent.slot != 0) == data)
            return 0;
        *offset += extent.length;
    }
    *offset = node->inode.size;
    return data ? -ENXIO : 0;
}

static void on_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                     struct fuse_file_info *info)
{
    (void)info;
    struct tarn_fuse_node node;
    uint64_t position = (uint64_t)offset;
    if (!node_of(req, ino, -EINVAL, &node))
        return;
    int ret;
    if (offset < 0 || position >= node.inode.size || (whence != SEEK_DATA && whence != SEEK_HOLE))
        ret = whence == SEEK_DATA || whence == SEEK_HOLE ? -ENXIO : -EINVAL;
    else
        ret = seek(&node, &position, whence == SEEK_DATA);
    ret = tarn_fuse_node_status(&node, ret);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        fuse_reply_lseek(req, (off_t)position);
    tarn_slot_put(node.slot);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
    const struct tarn_connection *connection = connection_of(req);
    if (in_base(connection, ino)) {
        tarn_base_statfs(req);
        return;
    }
    struct tarn_fuse_node node;
    if (!node_of(req, ino, -ESTALE, &node))
        return;
    const struct tarn_bootstrap *bootstrap = &node.slot->image->bootstrap;
    const struct statvfs st = {
        .f_bsize = TARN_BLOCK,
        .f_frsize = TARN_BLOCK,
        .f_blocks = bootstrap->file_bytes / TARN_BLOCK + (bootstrap->file_bytes % TARN_BLOCK != 0),
        .f_files = bootstrap->inode_count,
        .f_namemax = TARN_NAME_MAX,
    };
    fuse_reply_statfs(req, &st);
    tarn_slot_put(node.slot);
}

static void reply_value(fuse_req_t req, const void *value, size_t length, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, length);
    else if (length > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, value, length);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct tarn_fuse_node node;
    if (!node_of(req, ino, -ENODATA, &node))
        return;
    struct tarn_thread_buffers *buffers = tarn_server_buffers(connection_of(req)->server);
    struct tarn_erofs_xattr xattr = { 0 };
    int ret = tarn_erofs_xattr_get(&node.slot->image->bootstrap.erofs, &node.inode, name, &xattr);
    if (ret == 0 && !buffers)
        ret = -ENOMEM;
    if (ret == 0)
        memcpy(buffers->data, xattr.value, xattr.length);
    ret = tarn_fuse_node_status(&node, ret);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        reply_value(req, buffers->data, xattr.length, size);
    tarn_slot_put(node.slot);
}

// Names in trusted. are shown to root alone, as local file systems do.
static int list_names(const struct tarn_fuse_node *node, bool trusted, struct tarn_buf *names)
{
    uint32_t cursor = 0;
    for (;;) {
        struct tarn_erofs_xattr xattr;
        int ret =
            tarn_erofs_xattr(&node->slot->image->bootstrap.erofs, &node->inode, &cursor, &xattr);
        if (ret <= 0)
            return ret;
        const char *prefix = tarn_erofs_xattr_prefix(xattr.index);
        if (!prefix || (!trusted && xattr.index == TARN_EROFS_XATTR_TRUSTED))
            continue;
        ret = tarn_buf_append(names, prefix, strlen(prefix));
        if (ret == 0)
            ret = tarn_buf_append(names, xattr.name, xattr.name_length);
        if (ret == 0)
            ret = tarn_buf_append(names, "", 1);
        if (ret < 0)
            return ret;
    }
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct tarn_fuse_node node;
    if (in_base(connection_of(req), ino)) {
        reply_value(req, "", 0, size);
        return;
    }
    if (!node_of(req, ino, -ESTALE, &node))
        return;
    tarn_cleanup(tarn_buf_release) struct tarn_buf names = { 0 };
    const int ret =
        tarn_fuse_node_status(&node, list_names(&node, fuse_req_ctx(req)->uid == 0, &names));
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        reply_value(req, names.data ? (const char *)names.data : "", names.length, size);
    tarn_slot_put(node.slot);
}

static void not_needed_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
    (void)ino;
    (void)info;
    fuse_reply_err(req, ENOSYS);
}

static void set_if(struct fuse_conn_info *info, unsigned capability)
{
    info->want |= info->capable & capability;
}

static void init(void *userdata, struct fuse_conn_info *info)
{
    (void)userdata;
    // Without ASYNC_DIO, whose readers cannot be killed while they wait.
    // Without EXPORT_SUPPORT, so that a file handle from inside one image finds nothing of another.
    info->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO |
                              FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                              FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_ASYNC_DIO);
    set_if(info, FUSE_CAP_ASYNC_READ);
    set_if(info, FUSE_CAP_PARALLEL_DIROPS);
    set_if(info, FUSE_CAP_READDIRPLUS);
    set_if(info, FUSE_CAP_CACHE_SYMLINKS);
    set_if(info, FUSE_CAP_NO_OPEN_SUPPORT);
    set_if(info, FUSE_CAP_NO_OPENDIR_SUPPORT);
    set_if(info, FUSE_CAP_EXPLICIT_INVAL_DATA);
    set_if(info, FUSE_CAP_POSIX_ACL);
    info->max_background = UINT16_MAX;
    info->congestion_threshold = UINT16_MAX;
}

const struct fuse_lowlevel_ops tarn_fuse_operations = {
    .init = init,
    .lookup = lookup,
    .forget = forget,
    .forget_multi = forget_multi,
    .getattr = getattr,
    .readlink = on_readlink,
    .open = not_needed_open,
    .opendir = not_needed_open,
    .flush = not_needed_open,
    .read = on_read,
    .readdir = on_readdir,
    .readdirplus = readdirplus,
    .lseek = on_lseek,
    .statfs = on_statfs,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
};
