// SPDX-License-Identifier: Apache-2.0
// A tree of names and inodes in memory: the own tree of one layer, or the merged tree of a chain.
// Names are opaque bytes. Everything lives in the tree's arena and dies with the tree. A tree is
// used by one thread at a time. About 280 bytes for an entry with a content of its own, a quarter
// of that for looking things up.
#ifndef TARN_FORMAT_TREE_H
#define TARN_FORMAT_TREE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "format/content.h"

struct tarn_xattr {
    const char *name; // full, NUL-terminated, for example "user.k"
    const uint8_t *value;
    uint32_t length; // of the value
};

// Ascending by name, bytewise, without duplicates. Immutable and shared between inodes.
struct tarn_xattr_set {
    uint32_t count;
    uint32_t index; // free for whoever walks the tree
    struct tarn_xattr items[];
};

struct tarn_inode {
    uint32_t mode; // S_IFMT type and 07777; type 0: a lower link of an own tree
    uint32_t uid;
    uint32_t gid;
    uint32_t mtime_ns;
    int64_t mtime;
    uint32_t major; // devices
    uint32_t minor;
    uint32_t nlink; // names of it in the tree, directories 1; kept by this module
    uint32_t index; // free for whoever walks the tree
    const struct tarn_xattr_set *xattrs; // NULL: none
    union {
        struct tarn_content *content; // regular files; never NULL once built
        struct {
            const char *bytes; // symbolic links, lower links
            uint32_t length;
        } target;
    };
};

struct tarn_node {
    struct tarn_node *parent; // NULL: the root
    struct tarn_node *child;  // first; ordered only after tarn_tree_sort()
    struct tarn_node *next;   // sibling
    struct tarn_node *previous;
    struct tarn_inode *inode; // NULL: whiteout only, or implicit directory (own trees)
    uint16_t length;          // of name
    bool whiteout;            // own trees: the name is removed from the layers below
    bool opaque;              // own trees: the children in the layers below are removed
    bool implicit;            // own trees: a directory without an entry of its own
    char name[];              // and a NUL
};

struct tarn_tree;

struct tarn_tree *tarn_tree_new(void); // a root node without inode; NULL when out of memory
void tarn_tree_free(struct tarn_tree *tree);
TARN_DEFINE_CLEANUP(struct tarn_tree, tarn_tree_free)

// Forgets what is needed to look up children, xattr sets and contents: a quarter of the memory.
// After that a tree is only walked, sorted and freed.
void tarn_tree_drop_index(struct tarn_tree *tree);

struct tarn_node *tarn_tree_root(const struct tarn_tree *tree);
struct tarn_arena *tarn_tree_arena(struct tarn_tree *tree);
uint64_t tarn_tree_count(const struct tarn_tree *tree); // nodes, the root included
// Bytes that the tree takes, with what was removed from it; its index must be there.
size_t tarn_tree_memory(const struct tarn_tree *tree);

// False for NULL and for a node that only stands for a whiteout.
bool tarn_node_exists(const struct tarn_node *node);
bool tarn_node_is_directory(const struct tarn_node *node); // implicit ones and the root included

// The child with this name, or NULL. O(1).
struct tarn_node *tarn_tree_child(const struct tarn_tree *tree, const struct tarn_node *parent,
                                  const char *name, size_t length);

// Adds a child, which must not exist, without inode. -EINVAL for a name that the format refuses.
int tarn_tree_add(struct tarn_tree *tree, struct tarn_node *parent, const char *name, size_t length,
                  struct tarn_node **node) tarn_must_check;

// Takes a node (not the root) out, with all below; lowers the nlink of their inodes. The memory
// stays readable; looking below a removed node finds nothing.
void tarn_tree_remove(struct tarn_tree *tree, struct tarn_node *node);
void tarn_tree_remove_children(struct tarn_tree *tree, struct tarn_node *node);

// A new inode, zeroed; and the node's inode (NULL allowed), counting nlink. A node with an inode is
// no longer implicit.
struct tarn_inode *tarn_tree_inode_new(struct tarn_tree *tree); // NULL when out of memory
void tarn_node_set_inode(struct tarn_node *node, struct tarn_inode *inode);

// A sorted copy of count xattrs in any order (of equal names the last counts); equal sets are
// shared. NULL set for count 0. -EINVAL for a prefix or size that the format refuses, by name.
int tarn_tree_xattrs(struct tarn_tree *tree, const struct tarn_xattr *items, uint32_t count,
                     const struct tarn_xattr_set **set, struct tarn_err *err) tarn_must_check;
// The items added to those of *set, a set of this tree or NULL, of which equal names are replaced.
// -EINVAL besides when the sets made of others in this tree come to more than 128 MiB: a hard link of
// a few bytes can change all that its inode has.
int tarn_tree_join_xattrs(struct tarn_tree *tree, const struct tarn_xattr *items, uint32_t count,
                          const struct tarn_xattr_set **set, struct tarn_err *err) tarn_must_check;

// The content with this identity, made (holder TARN_NONE) if the tree has none yet; extents are
// copied. NULL when out of memory.
struct tarn_content *tarn_tree_content(struct tarn_tree *tree, const struct tarn_content *content);

// The tree's content with this identity, or NULL.
const struct tarn_content *tarn_tree_find_content(const struct tarn_tree *tree,
                                                  const struct tarn_content *content);

// How many contents the tree knows, those of replaced entries included.
uint64_t tarn_tree_content_count(const struct tarn_tree *tree);

// Walks a path (any number of '/', "." components are skipped), following symbolic links inside the
// root in all components but the last; `..` at the root stays there. missing says what to do where
// a directory on the way does not exist. A node that only stands for a whiteout does not exist.
enum tarn_walk {
    TARN_WALK_FAIL,
    TARN_WALK_IMPLICIT, // own trees: missing ones are made, what is no directory is replaced and
                        // marked as a whiteout: node->implicit set, no inode; whiteouts stay
    TARN_WALK_MAKE,     // the same, with an inode: 0755, 0:0, time 0 (merged trees)
};
// Yields the parent directory, the last component (borrowed from path or tree; length 0 for the
// root itself) and the node of this name or NULL; the node may be one that only stands for a
// whiteout, see tarn_node_exists(). -ENOENT and -ENOTDIR with TARN_WALK_FAIL, -ELOOP after
// TARN_SYMLINK_DEPTH links, -EINVAL for a name that tarn_tree_add() refuses. What was made stays
// after an error.
struct tarn_walked {
    struct tarn_node *parent; // NULL for the root
    struct tarn_node *node;
    const char *name;
    size_t length;
};
int tarn_tree_walk(struct tarn_tree *tree, const char *path, size_t length, enum tarn_walk missing,
                   struct tarn_walked *walked) tarn_must_check;
// The directory that the child of parent which has the name of `named` is, or leads to as a link.
int tarn_tree_walk_child(struct tarn_tree *tree, struct tarn_node *parent,
                         const struct tarn_node *named, enum tarn_walk missing,
                         struct tarn_node **directory) tarn_must_check;

// Appends to resolved the path without links that TARN_WALK_FAIL walks: instead of each link what
// it leads to; from the first component on that is no directory of the tree, the names as they
// stand, `..` taking away the one before. No slash in front; empty for the root. -ELOOP, -ENOMEM.
// Neither the names nor the length of the result are checked.
struct tarn_buf;
int tarn_tree_resolve(struct tarn_tree *tree, const char *path, size_t length,
                      struct tarn_buf *resolved) tarn_must_check;

// Puts all siblings into canonical order; O(n log n), O(1) if nothing was added since. Needed
// before tarn_tree_next() yields that order.
void tarn_tree_sort(struct tarn_tree *tree);
// Canonical order, iteratively, without recursion: start with the root; NULL at the end.
struct tarn_node *tarn_tree_next(const struct tarn_node *node);

// The node's path without leading slash, appended to buf. 0 or -ENOMEM.
int tarn_node_path(const struct tarn_node *node, struct tarn_buf *buf) tarn_must_check;

#endif
