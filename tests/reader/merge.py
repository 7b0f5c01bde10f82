# SPDX-License-Identifier: Apache-2.0
"""The merge of the layers' own trees (format.md, section 8)."""
import stat
from dataclasses import replace

from .metadata import IMPLICIT, OPAQUE, WHITEOUT
from .sections import need
from .tree import new_directory

MAX_LINKS = 40


class Walker:
    """Path walks inside one tree; symbolic links are followed inside the root."""

    def __init__(self, root):
        self.root = root

    def resolve(self, names, make=False, last=True):
        """The inode at a path, or None. Follows all symbolic links, the last component's only with
        last. With make, what is missing or no directory becomes one, and too many links are an
        error."""
        stack, pending, links = [(None, None, self.root)], list(reversed(names)), 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(stack) > 1:
                    stack.pop()
                continue
            if make:
                self.replace(stack)
            here = stack[-1][2]
            if here is not None and not here.is_dir:
                return None
            child = None if here is None else here.children.get(name)
            if make and child is None:
                child = new_directory()
            if child is not None and child.type == stat.S_IFLNK and (pending or last):
                links += 1
                need(links <= MAX_LINKS or not make, "{!r}: too many symbolic links", name)
                if links > MAX_LINKS:
                    return None
                if child.target.startswith(b"/"):
                    del stack[1:]
                pending += reversed(child.target.split(b"/"))
                continue
            stack.append((here, name, child))
        if make:
            self.replace(stack)
            for parent, name, child in stack[1:]:  # what was made, but not what a `..` left again
                parent.children[name] = child
        return stack[-1][2]

    @staticmethod
    def replace(stack):
        """A new directory for what is none and is to be entered."""
        parent, name, child = stack[-1]
        if not child.is_dir:
            parent.children[name] = new_directory()
            stack[-1] = parent, name, parent.children[name]

    def directory(self, names, make=False):
        found = self.resolve(names, make)
        return found if found is not None and found.is_dir else None


def remove(root, names):
    """Step 1: whiteouts and opaque marks of a layer, in canonical order."""
    walker = Walker(root)
    for name in names:
        if name.flags & WHITEOUT:
            parent = walker.directory(name.path[:-1])
            if parent is not None:
                parent.children.pop(name.path[-1], None)
        if name.flags & OPAQUE:
            directory = walker.directory(name.path)
            if directory is not None:
                directory.children.clear()


def lower_links(root, inodes, what):
    """Step 2: {index of a lower link's record: the inode that it names}."""
    found, walker = {}, Walker(root)
    for number, inode in enumerate(inodes):
        if inode.type == 0:
            target = walker.resolve(inode.target.split(b"/"), last=False)
            need(target is not None and not target.is_dir, "{}: hard link to {!r}, which is {}",
                 what, inode.target, "nothing" if target is None else "a directory")
            found[number] = target
    return found


def set_attributes(inode, record):
    if inode.type != stat.S_IFLNK:
        inode.mode = inode.type | record.mode & 0o7777
    inode.uid, inode.gid = record.uid, record.gid
    inode.mtime, inode.nsec = record.mtime, record.nsec


def apply(root, layer, what):
    """Applies one layer to the tree."""
    remove(root, layer.names)
    made = lower_links(root, layer.inodes, what)
    for number, inode in made.items():
        record = layer.inodes[number]
        set_attributes(inode, record)
        inode.xattrs = {**inode.xattrs, **record.xattrs}

    walker = Walker(root)
    for name in layer.names:
        record = None if name.inode is None else layer.inodes[name.inode]
        if record is None:
            if name.flags & IMPLICIT:
                walker.directory(name.path, make=True)
        elif not name.path:
            set_attributes(root, record)
            root.xattrs = dict(record.xattrs)
        else:
            place(walker.directory(name.path[:-1], make=True).children, name, record, made)


def place(children, name, record, made):
    """Step 3 for a name with an inode. made: {index of a record: its inode in the tree}."""
    last = name.path[-1]
    if record.is_dir:
        inode = children.get(last)
        if inode is None or not inode.is_dir:
            inode = children[last] = new_directory()
        set_attributes(inode, record)
        inode.xattrs = dict(record.xattrs)
        return
    if name.inode not in made:
        made[name.inode] = replace(record, xattrs=dict(record.xattrs))
    children[last] = made[name.inode]


def merge(layers, what="image"):
    root = new_directory()
    for number, layer in enumerate(layers):
        apply(root, layer, f"{what}: layer {number}")
    return root
