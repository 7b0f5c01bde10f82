// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tree_text.h"

#include <string.h>

enum { XATTRS_MAX = 16 };

struct line {
    char type;
    const char *path;
    const char *argument;
    struct tarn_inode inode; // attributes
    bool mode_given;
    struct tarn_xattr xattrs[XATTRS_MAX];
    uint32_t xattr_count;
};

static bool takes_argument(char type)
{
    return type == 'f' || type == 'l' || type == 'h' || type == 'c' || type == 'b';
}

static int parse_word(struct line *line, char *word)
{
    if (word[0] == '\0' || word[1] != '=')
        return -EINVAL;
    char *value = word + 2;
    switch (word[0]) {
    case 'm':
        line->inode.mode = (uint32_t)strtoul(value, NULL, 8);
        line->mode_given = true;
        return 0;
    case 'u':
        line->inode.uid = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 'g':
        line->inode.gid = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    case 't':
        line->inode.mtime = strtoll(value, NULL, 10);
        return 0;
    case 'x': {
        char *text = strchr(value, ':');
        if (!text || line->xattr_count == XATTRS_MAX)
            return -EINVAL;
        *text++ = '\0';
        line->xattrs[line->xattr_count++] =
            (struct tarn_xattr){ value, (const uint8_t *)text, (uint32_t)strlen(text) };
        return 0;
    }
    default:
        return -EINVAL;
    }
}

// Cuts text (changed) into a line.
static int parse_line(char *text, struct line *line)
{
    char *rest = NULL;
    const char *type = strtok_r(text, " ", &rest);
    *line = (struct line){ .type = type ? type[0] : '\0' };
    line->path = strtok_r(NULL, " ", &rest);
    if (!line->path)
        return -EINVAL;
    if (takes_argument(line->type))
        line->argument = strtok_r(NULL, " ", &rest);
    if (takes_argument(line->type) && !line->argument)
        return -EINVAL;
    for (char *word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        const int ret = parse_word(line, word);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static struct tarn_content *make_content(struct tarn_tree *tree, const char *text)
{
    struct tarn_content content = { .kind = TARN_CONTENT_PLAIN, .holder = TARN_NONE };
    content.size = strcmp(text, "-") == 0 ? 0 : strlen(text);
    tarn_sha256(text, (size_t)content.size, &content.digest);
    return tarn_tree_content(tree, &content);
}

static uint32_t type_bits(char type)
{
    static const struct {
        char type;
        uint32_t bits;
    } table[] = { { 'd', S_IFDIR }, { 'f', S_IFREG }, { 'l', S_IFLNK },
                  { 'c', S_IFCHR }, { 'b', S_IFBLK }, { 'p', S_IFIFO } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].type == type)
            return table[i].bits;
    return 0;
}

static uint32_t default_mode(uint32_t bits)
{
    return bits == S_IFDIR ? 0755 : bits == S_IFLNK ? 0777 : 0644;
}

static int set_target(struct tarn_tree *tree, struct tarn_inode *inode, const char *target)
{
    inode->target.length = (uint32_t)strlen(target);
    inode->target.bytes = tarn_arena_copy(tarn_tree_arena(tree), target, strlen(target));
    return inode->target.bytes ? 0 : -ENOMEM;
}

static int make_inode(struct tarn_tree *tree, const struct line *line, struct tarn_inode **made,
                      struct tarn_err *err)
{
    struct tarn_inode *inode = tarn_tree_inode_new(tree);
    if (!inode)
        return -ENOMEM;
    *made = inode;
    *inode = line->inode;
    const uint32_t type = type_bits(line->type);
    inode->mode = type | (line->mode_given ? line->inode.mode : default_mode(type));
    int ret = tarn_tree_xattrs(tree, line->xattrs, line->xattr_count, &inode->xattrs, err);
    if (ret < 0)
        return ret;
    if (line->type == 'f') {
        inode->content = make_content(tree, line->argument);
        ret = inode->content ? 0 : -ENOMEM;
    } else if (line->type == 'l' || line->type == 'h') {
        ret = set_target(tree, inode, line->argument);
    } else if (line->type == 'c' || line->type == 'b') {
        char *end = NULL;
        inode->major = (uint32_t)strtoul(line->argument, &end, 10);
        inode->minor = (uint32_t)strtoul(end + 1, NULL, 10);
    }
    return ret;
}

// Yields the node of this place; what was there, with all below, is gone unless keep.
static int make_node(struct tarn_tree *tree, const struct tarn_walked *walked, bool keep,
                     struct tarn_node **node)
{
    *node = walked->node;
    if (!*node)
        return tarn_tree_add(tree, walked->parent, walked->name, walked->length, node);
    if (!keep) {
        tarn_tree_remove_children(tree, *node);
        tarn_node_set_inode(*node, NULL);
        (*node)->implicit = false;
        (*node)->opaque = false;
    }
    return 0;
}

// All lower links to one path share one inode.
static struct tarn_inode *find_lower_link(const struct tarn_tree *tree, const char *target)
{
    struct tarn_node *node = tarn_tree_root(tree);
    for (; node; node = tarn_tree_next(node)) {
        const struct tarn_inode *inode = node->inode;
        if (inode && (inode->mode & S_IFMT) == 0 && inode->target.length == strlen(target) &&
            memcmp(inode->target.bytes, target, inode->target.length) == 0)
            return node->inode;
    }
    return NULL;
}

static int apply_link(struct tarn_tree *tree, const struct line *line,
                      const struct tarn_walked *walked, struct tarn_err *err)
{
    struct tarn_walked target;
    int ret = tarn_tree_walk(tree, line->argument, strlen(line->argument), TARN_WALK_FAIL, &target);
    struct tarn_inode *inode = NULL;
    if (ret == 0 && tarn_node_exists(target.node)) {
        if (tarn_node_is_directory(target.node) || target.node == walked->node)
            return tarn_fail(err, -EINVAL, "hard link '%s' to '%s'", line->path, line->argument);
        inode = target.node->inode;
    }
    if (!inode)
        inode = find_lower_link(tree, line->argument);
    if (!inode) {
        ret = make_inode(tree, line, &inode, err);
        if (ret < 0)
            return ret;
    }
    struct tarn_node *node = NULL;
    ret = make_node(tree, walked, false, &node);
    if (ret == 0)
        tarn_node_set_inode(node, inode);
    return ret;
}

static int apply_line(struct tarn_tree *tree, const struct line *line, struct tarn_err *err)
{
    struct tarn_walked walked;
    int ret = tarn_tree_walk(tree, line->path, strlen(line->path), TARN_WALK_IMPLICIT, &walked);
    if (ret < 0)
        return tarn_fail_errno(err, ret, "'%s'", line->path);
    if (!walked.parent && line->type != 'd' && line->type != 'o')
        return tarn_fail(err, -EINVAL, "'%s' is the root", line->path);
    if (line->type == 'h')
        return apply_link(tree, line, &walked, err);
    const bool was_there = tarn_node_exists(walked.node);
    const bool directory = was_there && tarn_node_is_directory(walked.node);
    struct tarn_node *node = NULL;
    ret = make_node(tree, &walked, line->type == 'w' || (directory && strchr("do", line->type)),
                    &node);
    if (ret < 0)
        return ret;
    if (line->type == 'w') {
        node->whiteout = true;
        return 0;
    }
    if (was_there && !directory && strchr("do", line->type))
        node->whiteout = true;
    if (line->type == 'o') {
        node->opaque = true;
        node->implicit = node->parent && !node->inode;
        return 0;
    }
    struct tarn_inode *inode = NULL;
    ret = make_inode(tree, line, &inode, err);
    if (ret == 0)
        tarn_node_set_inode(node, inode);
    return ret;
}

int tarn_test_tree_apply(struct tarn_tree *tree, const char *lines, struct tarn_err *err)
{
    tarn_autofree char *text = strdup(lines);
    if (!text)
        return -ENOMEM;
    char *rest = NULL;
    for (char *part = strtok_r(text, "\n", &rest); part; part = strtok_r(NULL, "\n", &rest)) {
        struct line line;
        int ret = parse_line(part, &line);
        if (ret < 0)
            return tarn_fail(err, ret, "a line of the test is wrong: %s", part);
        ret = apply_line(tree, &line, err);
        if (ret < 0)
            return ret;
    }
    return 0;
}

// --- printing --------------------------------------------------------------------------------

static int print_path(const struct tarn_node *node, struct tarn_buf *out)
{
    return node->parent ? tarn_node_path(node, out) : tarn_buf_append(out, "/", 1);
}

static int print_attributes(const struct tarn_inode *inode, struct tarn_buf *out)
{
    int ret = 0;
    if ((inode->mode & 07777) != default_mode(inode->mode & S_IFMT))
        ret = tarn_buf_printf(out, " m=%o", inode->mode & 07777);
    if (ret == 0 && inode->uid)
        ret = tarn_buf_printf(out, " u=%u", inode->uid);
    if (ret == 0 && inode->gid)
        ret = tarn_buf_printf(out, " g=%u", inode->gid);
    if (ret == 0 && inode->mtime)
        ret = tarn_buf_printf(out, " t=%lld", (long long)inode->mtime);
    for (uint32_t i = 0; ret == 0 && inode->xattrs && i < inode->xattrs->count; i++) {
        const struct tarn_xattr *xattr = &inode->xattrs->items[i];
        ret = tarn_buf_printf(out, " x=%s:%.*s", xattr->name, (int)xattr->length,
                              (const char *)xattr->value);
    }
    return ret;
}

// The text of a file is not kept: the start of its digest stands for it, unless a short word gives
// that digest.
static int print_content(const struct tarn_content *content, struct tarn_buf *out)
{
    static const char *const words[] = { "-", "one", "two", "three", "four", "five" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct tarn_digest digest;
        tarn_sha256(words[i], i == 0 ? 0 : strlen(words[i]), &digest);
        if (tarn_digest_equal(&digest, &content->digest))
            return tarn_buf_printf(out, " %s", words[i]);
    }
    char hex[TARN_DIGEST_HEX + 1];
    return tarn_buf_printf(out, " #%.8s", tarn_digest_format_hex(&content->digest, hex));
}

static int print_inode(const struct tarn_node *node, struct tarn_buf *out)
{
    const struct tarn_inode *inode = node->inode;
    const char types[] = "dflcbp";
    char type = 'h';
    for (const char *i = types; *i; i++)
        if (type_bits(*i) == (inode->mode & S_IFMT))
            type = *i;
    int ret = tarn_buf_printf(out, "%c ", type);
    if (ret == 0)
        ret = print_path(node, out);
    if (ret == 0 && type == 'f')
        ret = print_content(inode->content, out);
    if (ret == 0 && (type == 'l' || type == 'h'))
        ret = tarn_buf_printf(out, " %.*s", (int)inode->target.length, inode->target.bytes);
    if (ret == 0 && (type == 'c' || type == 'b'))
        ret = tarn_buf_printf(out, " %u:%u", inode->major, inode->minor);
    return ret == 0 ? print_attributes(inode, out) : ret;
}

static struct tarn_node *first_of(const struct tarn_tree *tree, const struct tarn_inode *inode)
{
    struct tarn_node *node = tarn_tree_root(tree);
    while (node->inode != inode)
        node = tarn_tree_next(node);
    return node;
}

static int print_mark(const struct tarn_node *node, char mark, struct tarn_buf *out)
{
    int ret = tarn_buf_printf(out, "%c ", mark);
    if (ret == 0)
        ret = print_path(node, out);
    return ret == 0 ? tarn_buf_append(out, "\n", 1) : ret;
}

static int print_node(const struct tarn_tree *tree, const struct tarn_node *node,
                      struct tarn_buf *out)
{
    int ret = node->whiteout ? print_mark(node, 'w', out) : 0;
    if (ret == 0 && node->opaque)
        ret = print_mark(node, 'o', out);
    if (ret == 0 && node->implicit)
        ret = print_mark(node, 'i', out);
    if (ret < 0 || !node->inode)
        return ret;
    const struct tarn_node *first = first_of(tree, node->inode);
    if (first == node || (node->inode->mode & S_IFMT) == 0) {
        ret = print_inode(node, out);
    } else {
        ret = tarn_buf_append(out, "h ", 2);
        if (ret == 0)
            ret = print_path(node, out);
        if (ret == 0)
            ret = tarn_buf_append(out, " ", 1);
        if (ret == 0)
            ret = print_path(first, out);
    }
    return ret == 0 ? tarn_buf_append(out, "\n", 1) : ret;
}

char *tarn_test_tree_print(struct tarn_tree *tree)
{
    tarn_tree_sort(tree);
    struct tarn_buf out = { 0 };
    int ret = 0;
    for (struct tarn_node *node = tarn_tree_root(tree); node && ret == 0;
         node = tarn_tree_next(node))
        ret = print_node(tree, node, &out);
    if (ret == 0)
        ret = tarn_buf_append(&out, "", 1);
    if (ret < 0)
        tarn_buf_release(&out);
    return (char *)out.data;
}

// --- invariants ------------------------------------------------------------------------------

static const char *check_node(const struct tarn_tree *tree, const struct tarn_node *node)
{
    for (const struct tarn_node *i = node->child; i; i = i->next) {
        if (i->parent != node)
            return "a child has another parent";
        if (i->next ? i->next->previous != i : false)
            return "the list backwards is another one";
        if (i == node->child && i->previous)
            return "something stands before the first child";
        if (tarn_tree_child(tree, node, i->name, i->length) != i)
            return "the map does not find a child";
        if (i->name[i->length] != '\0' || strlen(i->name) != i->length)
            return "a name has another length";
    }
    if (node->child && !tarn_node_is_directory(node))
        return "there is something below a node that is no directory";
    if (node->implicit && node->inode)
        return "an implicit directory has an inode";
    return NULL;
}

const char *tarn_test_tree_check(struct tarn_tree *tree)
{
    struct tarn_node *root = tarn_tree_root(tree);
    uint64_t count = 0;
    for (struct tarn_node *node = root; node; node = tarn_tree_next(node)) {
        count++;
        if (node->inode)
            node->inode->index = 0;
        const char *fault = check_node(tree, node);
        if (fault)
            return fault;
    }
    if (count != tarn_tree_count(tree))
        return "the number of nodes is wrong";
    for (struct tarn_node *node = root; node; node = tarn_tree_next(node))
        if (node->inode)
            node->inode->index++;
    for (struct tarn_node *node = root; node; node = tarn_tree_next(node)) {
        if (node->inode && node->inode->index != node->inode->nlink)
            return "an inode's number of names is wrong";
        if (node->inode && S_ISDIR(node->inode->mode) && node->inode->nlink != 1)
            return "a directory has several names";
    }
    return NULL;
}
