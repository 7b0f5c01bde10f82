# SPDX-License-Identifier: Apache-2.0
"""What layers mean, computed from the members that a tars.Tar recorded: the own trees of
docs/format.md section 6, merged by section 8. No archive is parsed and no C code asked."""
import functools
import hashlib
import stat

import tars
from reader import merge, metadata, tree
from trees import Entry

TYPES = {tars.REGULAR: stat.S_IFREG, tars.SYMLINK: stat.S_IFLNK, tars.CHAR: stat.S_IFCHR,
         tars.BLOCK: stat.S_IFBLK, tars.DIRECTORY: stat.S_IFDIR, tars.FIFO: stat.S_IFIFO}
MAX_LINKS = 40


class Data(tree.Content):
    """A content with its bytes' SHA-256 as .sha256."""


@functools.lru_cache(maxsize=1000)
def content_of(size, pieces):
    """The identity of a file given as ((offset, bytes), ...)."""
    unit, units = tree.unit_of(size), {}
    for offset, data in pieces:
        at = 0
        while at < len(data):
            number, inside = divmod(offset + at, unit)
            step = min(unit - inside, len(data) - at)
            piece = units.setdefault(number, bytearray(min(unit, size - number * unit)))
            piece[inside:inside + step] = data[at:at + step]
            at += step
    units = {n: bytes(u) for n, u in sorted(units.items()) if u.strip(b"\0")}
    count = -(-size // unit)
    kind = tree.PLAIN if len(units) == count else tree.UNITS
    digest = tree.identify(kind, size, [(n * unit, u) for n, u in units.items()])
    content = Data(kind, size, digest, 0, 0, ())
    content.sha256 = whole_digest(size, unit, units)
    return content


def whole_digest(size, unit, units):
    whole, zeros, end = hashlib.sha256(), bytes(1 << 20), 0
    for number, data in [*units.items(), (-(-size // unit), b"")]:
        gap = min(number * unit, size) - end
        while gap > 0:
            whole.update(zeros[:min(gap, len(zeros))])
            gap -= min(gap, len(zeros))
        whole.update(data)
        end = number * unit + len(data)
    return whole.hexdigest()


class Node:
    """A name of an own tree."""

    def __init__(self):
        self.inode, self.children = None, {}
        self.whiteout = self.opaque = self.implicit = False

    @property
    def exists(self):
        return self.inode is not None or self.implicit

    @property
    def is_dir(self):
        return self.implicit or (self.inode is not None and self.inode.is_dir)


class OwnTree:
    def __init__(self, members):
        self.root, self.lower = Node(), {}
        self.root.implicit = True
        for member in members:
            self.add(member)

    def walk(self, names, make):
        """(node of the directory, its path) behind names; links in it are followed. Without make
        (None, path) where it does not exist: names are taken by their letters then."""
        stack, pending, links = [((), self.root)], list(reversed(names)), 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(stack) > 1:
                    stack.pop()
                continue
            path, here = stack[-1]
            child = here.children.get(name) if here is not None else None
            if child is not None and child.inode is not None and child.inode.target is not None \
                    and child.inode.type == stat.S_IFLNK:
                links += 1
                assert links <= MAX_LINKS
                if child.inode.target.startswith(b"/"):
                    del stack[1:]
                pending += reversed(child.inode.target.split(b"/"))
                continue
            if child is None or not child.is_dir:
                if not make:
                    stack.append((path + (name,), None))
                    continue
                child = here.children.setdefault(name, Node())
                child.whiteout |= child.inode is not None
                child.inode, child.implicit, child.children = None, True, {}
            stack.append((path + (name,), child))
        return stack[-1][1], stack[-1][0]

    def add(self, member):
        names = [n for n in member.name.split(b"/") if n not in (b"", b".")]
        parent, path = self.walk(names[:-1], True)
        if names and names[-1] == b".wh..wh..opq":
            parent.opaque = True
            return
        if names and names[-1].startswith(b".wh."):
            parent.children.setdefault(names[-1][4:], Node()).whiteout = True
            return
        node = parent.children.setdefault(names[-1], Node()) if names else self.root
        if member.kind == tars.LINK:
            self.hard_link(node, member)
            return
        inode = tree.Inode(TYPES[member.kind] | member.mode, member.uid, member.gid, member.mtime,
                           member.nsec, dict(member.xattrs))
        if member.kind == tars.REGULAR:
            inode.content = content_of(member.size, tuple(member.pieces))
        elif member.kind == tars.SYMLINK:
            inode.target, inode.mode = member.link, stat.S_IFLNK | 0o777
        elif member.kind in (tars.CHAR, tars.BLOCK):
            inode.device = member.device[0] << 32 | member.device[1]
        elif member.kind == tars.DIRECTORY:
            inode.children = {}
        if not (inode.is_dir and node.is_dir):
            # What a directory replaces had replaced what the layers below have.
            node.whiteout |= inode.is_dir and node.inode is not None
            node.children = {}
        node.opaque &= inode.is_dir
        node.inode, node.implicit = inode, False

    def hard_link(self, node, member):
        names = [n for n in member.link.split(b"/") if n not in (b"", b".")]
        parent, path = self.walk(names[:-1], False)
        there = parent.children.get(names[-1]) if parent is not None else None
        if there is not None and there.exists:
            assert not there.is_dir
            inode = there.inode
        else:
            target = b"/".join(path + (names[-1],))
            inode = self.lower.setdefault(target, tree.Inode(0, target=target))
        inode.mode = inode.type | (0o777 if inode.type == stat.S_IFLNK else member.mode)
        inode.uid, inode.gid = member.uid, member.gid
        inode.mtime, inode.nsec = member.mtime, member.nsec
        inode.xattrs.update(member.xattrs)
        node.inode, node.implicit, node.opaque, node.children = inode, False, False, {}

    def layer(self):
        """As the reader's merge wants it."""
        out = metadata.Layer(0, 0, 0, 0, 0, [], [], [], [], [])
        numbers = {}

        def visit(node, parent, name, path):
            flags = (node.whiteout * metadata.WHITEOUT | node.opaque * metadata.OPAQUE |
                     node.implicit * metadata.IMPLICIT)
            index = None
            if node.inode is not None:
                index = numbers.setdefault(id(node.inode), len(out.inodes))
                if index == len(out.inodes):
                    out.inodes.append(node.inode)
            number = len(out.names)
            out.names.append(metadata.Name(parent, name, index, flags, path))
            for child in sorted(node.children):
                visit(node.children[child], number, child, path + (child,))

        visit(self.root, 0, b"", ())
        return out


def merged(layers):
    """[Tar] -> root of the merged tree."""
    return merge.merge([OwnTree(tar.members).layer() for tar in layers], "model")


def entries(root):
    """The merged tree as trees.scan() would find it."""
    links, found, first = tree.link_counts(root), {}, {}
    for names, inode in tree.walk(root):
        path = b"/".join(names)
        entry = Entry(inode.mode, inode.uid, inode.gid, inode.mtime * 10**9 + inode.nsec,
                      nlink=0 if inode.is_dir else links[inode], xattrs=inode.xattrs,
                      first=path if inode.is_dir else first.setdefault(inode, path))
        if inode.content is not None:
            entry.size, entry.sha256 = inode.content.size, inode.content.sha256
        elif inode.target is not None:
            entry.size, entry.target = len(inode.target), inode.target
        entry.device = inode.device >> 32, inode.device & 0xFFFFFFFF
        found[path] = entry
    return found


def expected(layers):
    """([Tar]) -> ({path: Entry}, tree digest in its written form)."""
    root = merged(layers)
    return entries(root), "sha256:" + tree.digest(root).hex()
