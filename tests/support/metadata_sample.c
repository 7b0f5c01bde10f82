// SPDX-License-Identifier: Apache-2.0
#include "tests/support/metadata_sample.h"

enum {
    OWN_DATA = 532480,
    LOWER_DATA = 65536,
    OWN_STORED = 5 * 1000,
};

// --- the tree ----------------------------------------------------------------------------------

// A node for a path whose parents are there.
static struct tarn_node *add(struct tarn_tree *tree, const char *path)
{
    struct tarn_node *parent = tarn_tree_root(tree);
    for (const char *slash; parent && (slash = strchr(path, '/')); path = slash + 1)
        parent = tarn_tree_child(tree, parent, path, (size_t)(slash - path));
    struct tarn_node *node = NULL;
    if (!parent || tarn_tree_add(tree, parent, path, strlen(path), &node) < 0)
        return NULL;
    return node;
}

// An inode whose other fields follow from its mode.
static struct tarn_inode *give_inode(struct tarn_tree *tree, struct tarn_node *node, uint32_t mode)
{
    struct tarn_inode *inode = tarn_tree_inode_new(tree);
    if (!inode)
        return NULL;
    inode->mode = mode;
    inode->uid = mode % 7 * 100000;
    inode->gid = mode % 5;
    inode->mtime = -12345678901 + (int64_t)mode;
    inode->mtime_ns = 999999999 - mode;
    tarn_node_set_inode(node, inode);
    return inode;
}

static struct tarn_content *content(struct tarn_tree *tree, uint8_t name, uint64_t size,
                                    uint32_t holder, uint64_t address)
{
    struct tarn_content plain = { .kind = TARN_CONTENT_PLAIN, .size = size };
    memset(plain.digest.bytes, name, sizeof plain.digest.bytes);
    if (size == 0)
        tarn_sha256("", 0, &plain.digest);
    struct tarn_content *made = tarn_tree_content(tree, &plain);
    if (made) {
        made->holder = holder;
        made->address = address;
    }
    return made;
}

static struct tarn_content *holes(struct tarn_tree *tree, uint8_t name, uint64_t size,
                                  uint32_t extent_count, uint64_t address)
{
    const struct tarn_extent extents[] = { { 1, 1 }, { 3, 1 } };
    struct tarn_content units = {
        .kind = TARN_CONTENT_UNITS, .size = size, .extent_count = extent_count, .extents = extents
    };
    memset(units.digest.bytes, name, sizeof units.digest.bytes);
    if (extent_count == 0)
        tarn_sha256("", 0, &units.digest);
    struct tarn_content *made = tarn_tree_content(tree, &units);
    if (made) {
        made->holder = extent_count ? 1 : 0;
        made->address = address;
    }
    return made;
}

static bool give_xattrs(struct tarn_tree *tree, struct tarn_inode *inode, unsigned kind)
{
    static const uint8_t value[300] = { 1, 0, 2 };
    const struct tarn_xattr items[] = {
        { "user.b", value, 300 },
        { "user.a", value, kind },
        { "system.posix_acl_access", value, 44 },
        { "security.capability", value, 20 },
    };
    return tarn_tree_xattrs(tree, items, 1 + kind % 4, &inode->xattrs, NULL) == 0;
}

static bool add_target(struct tarn_tree *tree, const char *path, uint32_t mode, const char *target)
{
    struct tarn_node *node = add(tree, path);
    struct tarn_inode *inode = node ? give_inode(tree, node, mode) : NULL;
    if (!inode)
        return false;
    inode->target.bytes = target;
    inode->target.length = (uint32_t)strlen(target);
    return true;
}

static bool add_file(struct tarn_tree *tree, const char *path, struct tarn_content *held)
{
    struct tarn_node *node = add(tree, path);
    struct tarn_inode *inode = node ? give_inode(tree, node, S_IFREG | 0644) : NULL;
    if (!inode || !held)
        return false;
    inode->content = held;
    return true;
}

static bool add_files(struct tarn_tree *tree)
{
    // In the data space lie d/five, then holes.
    return add_file(tree, "d/five", content(tree, 5, 5000, 1, 0)) &&
           add_file(tree, "d/five-again", content(tree, 5, 5000, 1, 0)) &&
           add_file(tree, "d/lower", content(tree, 6, 4097, 0, 8192)) &&
           add_file(tree, "empty", content(tree, 0, 0, 0, 0)) &&
           add_file(tree, "hole-only", holes(tree, 0, 262145, 0, 0)) &&
           add_file(tree, "holes", holes(tree, 7, 1048576 - 100, 2, 8192));
}

static bool add_marks(struct tarn_tree *tree)
{
    struct tarn_node *whiteout = add(tree, "gone");
    struct tarn_node *both = add(tree, "replaced");
    struct tarn_node *implicit = add(tree, "implied");
    struct tarn_node *below = add(tree, "implied/fifo");
    struct tarn_node *device = add(tree, "implied/tty");
    struct tarn_node *link = add(tree, "implied/link");
    if (!whiteout || !both || !implicit || !below || !device || !link)
        return false;
    whiteout->whiteout = both->whiteout = true;
    implicit->implicit = implicit->opaque = true;
    struct tarn_inode *directory = give_inode(tree, both, S_IFDIR | 01777);
    struct tarn_inode *tty = give_inode(tree, device, S_IFCHR | 0600);
    if (!directory || !tty || !give_inode(tree, below, S_IFIFO | 0600))
        return false;
    tty->major = 4095;
    tty->minor = 1048575;
    tarn_node_set_inode(link, tty);
    return give_xattrs(tree, directory, 3) && give_xattrs(tree, tty, 3);
}

struct tarn_tree *tarn_test_sample_tree(void)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *tree = tarn_tree_new();
    if (!tree)
        return NULL;
    struct tarn_inode *root = give_inode(tree, tarn_tree_root(tree), S_IFDIR | 0755);
    struct tarn_node *d = add(tree, "d");
    struct tarn_inode *directory = d ? give_inode(tree, d, S_IFDIR | 0700) : NULL;
    if (!root || !directory || !give_xattrs(tree, directory, 2))
        return NULL;
    char far[200];
    memset(far, 'f', sizeof far);
    far[sizeof far - 1] = '\0';
    if (!add_files(tree) || !add_marks(tree) ||
        !add_target(tree, "d.link", S_IFLNK | 0777, "../x") ||
        !add_target(tree, "d/link", S_IFLNK | 0777, "d") ||
        !add_target(tree, "below", 0750, "usr/bin/below") || !add(tree, far))
        return NULL;
    struct tarn_node *node = tarn_tree_child(tree, tarn_tree_root(tree), far, strlen(far));
    return give_inode(tree, node, S_IFBLK | 0660) ? tarn_steal(tree) : NULL;
}

// --- the tables --------------------------------------------------------------------------------

static struct tarn_digest named(uint8_t name)
{
    struct tarn_digest digest;
    memset(digest.bytes, name, sizeof digest.bytes);
    return digest;
}

static bool add_row(struct tarn_tables_builder *builder, uint64_t address, uint8_t name,
                    struct tarn_location location)
{
    const struct tarn_digest digest = named(name);
    return tarn_tables_builder_add_row(builder, address, &location, &digest) == 0;
}

static struct tarn_location stored(bool run_start, uint64_t offset)
{
    return (struct tarn_location){ .kind = TARN_LOCATION_STORED,
                                   .run_start = run_start,
                                   .stored_length = 1000,
                                   .offset = offset };
}

static struct tarn_location reference(uint32_t blob, uint64_t address)
{
    return (
        struct tarn_location){ .kind = TARN_LOCATION_REFERENCE, .blob = blob, .address = address };
}

// 65,536 bytes each: a run of four, a reference to its second, into the lower and the foreign blob,
// and a run of one.
static bool add_own_rows(struct tarn_tables_builder *builder)
{
    return add_row(builder, 0, 1, stored(true, 0)) &&
           add_row(builder, 65536, 2, stored(false, 1000)) &&
           add_row(builder, 131072, 3, stored(false, 2000)) &&
           add_row(builder, 196608, 4, stored(false, 3000)) &&
           add_row(builder, 262144, 2, reference(1, 65536)) &&
           add_row(builder, 327680, 5, reference(0, 0)) &&
           add_row(builder, 393216, 6, reference(2, 200000)) &&
           add_row(builder, 458752, 7, stored(true, 4000)) &&
           tarn_tables_builder_add_gap(builder, OWN_DATA) == 0;
}

static bool add_foreign_rows(struct tarn_tables_builder *builder)
{
    return add_row(builder, 180000, 8, stored(true, 77000)) &&
           add_row(builder, 200000, 6, stored(false, 78000)) &&
           tarn_tables_builder_add_gap(builder, 265536) == 0;
}

bool tarn_test_sample_tables(struct tarn_tables_builder *builder)
{
    struct tarn_blob_record lower = {
        .digest = named(101),
        .size = 100000,
        .data_length = LOWER_DATA,
        .metadata_offset = 90000,
        .metadata_length = 9000,
        .metadata_digest = named(102),
    };
    struct tarn_blob_record own = { .data_length = OWN_DATA, .row_count = 9 };
    struct tarn_blob_record foreign = lower;
    foreign.digest = named(103);
    foreign.data_length = 4096000;
    foreign.first_row = 9;
    foreign.row_count = 3;
    foreign.role = TARN_BLOB_FOREIGN;
    return tarn_tables_builder_add_blob(builder, &lower) == 0 &&
           tarn_tables_builder_add_blob(builder, &own) == 0 &&
           tarn_tables_builder_add_blob(builder, &foreign) == 0 && add_own_rows(builder) &&
           add_foreign_rows(builder);
}

struct tarn_layer_parameters tarn_test_sample_parameters(void)
{
    return (struct tarn_layer_parameters){ .level = -3,
                                           .zstd_version = 10504,
                                           .chain_index = 1,
                                           .data_length = OWN_DATA,
                                           .chunks_length = OWN_STORED };
}

bool tarn_test_sample_metadata(struct tarn_buf *out, struct tarn_err *err)
{
    tarn_cleanup(tarn_tree_free_p) struct tarn_tree *tree = tarn_test_sample_tree();
    struct tarn_tables_builder builder = { 0 };
    bool ok = tree && tarn_test_sample_tables(&builder);
    if (ok) {
        const struct tarn_layer_parameters parameters = tarn_test_sample_parameters();
        const struct tarn_tables tables = tarn_tables_builder_view(&builder);
        ok = tarn_layer_metadata_write(&parameters, tree, &tables, out, err) == 0;
    }
    tarn_tables_builder_release(&builder);
    return ok;
}
