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
        last. With make, missing directories are made, and too many links are an error."""
        stack, pending, links = [self.root], list(reversed(names)), 0
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                if len(stack) > 1:
                    stack.pop()
                continue
            here = stack[-1]
            if not here.is_dir:
                return None
            child = here.children.get(name)
            if child is None:
                if not make:
                    return None
                child = here.children[name] = new_directory()
            if child.type == stat.S_IFLNK and (pending or last):
                links += 1
                need(links <= MAX_LINKS or not make, "{!r}: too many symbolic links", name)
                if links > MAX_LINKS:
                    return None
                if child.target.startswith(b"/"):
                    stack = [self.root]
                pending += reversed(child.target.split(b"/"))
                continue
            stack.append(child)
        return stack[-1]

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

    places = {}  # index of a name that is a directory -> directory of the merged tree
    for number, name in enumerate(layer.names):
        record = None if name.inode is None else layer.inodes[name.inode]
        if record is None and not name.flags & IMPLICIT:
            continue
        if number == 0:
            places[0] = root
            if record is not None:
                set_attributes(root, record)
                root.xattrs = dict(record.xattrs)
            continue
        children = places[name.parent].children
        if record is None:
            places[number] = enter(root, children, places, layer, number)
        elif record.is_dir:
            inode = children.get(name.name)
            if inode is None or not inode.is_dir:
                inode = children[name.name] = new_directory()
            set_attributes(inode, record)
            inode.xattrs = dict(record.xattrs)
            places[number] = inode
        else:
            if name.inode not in made:
                made[name.inode] = replace(record, xattrs=dict(record.xattrs))
            children[name.name] = made[name.inode]


def enter(root, children, places, layer, number):
    """An implicit directory: the one that is there, or what a symbolic link there leads to, or a
    new one."""
    name = layer.names[number]
    there = children.get(name.name)
    if there is not None and there.is_dir:
        return there
    if there is not None and there.type == stat.S_IFLNK:
        target = follow(root, places[name.parent], name.name)
        if target is not None:
            return target
    children[name.name] = new_directory()
    return children[name.name]


def follow(root, parent, name):
    path = path_of(root, parent)
    walker = Walker(root)
    # Only what leads to a directory, or to nothing that stands in the way, makes directories.
    return walker.directory(path + (name,), make=True)


def path_of(root, directory):
    """The path of a directory in the tree (each has one)."""
    pending = [((), root)]
    while pending:
        path, inode = pending.pop()
        if inode is directory:
            return path
        for name, child in inode.children.items():
            if child.is_dir:
                pending.append((path + (name,), child))
    return None


def merge(layers, what="image"):
    root = new_directory()
    for number, layer in enumerate(layers):
        apply(root, layer, f"{what}: layer {number}")
    return root
