# SPDX-License-Identifier: Apache-2.0
"""Inodes, the canonical walk and the tree digest (format.md, sections 1, 3 and 8)."""
import hashlib
import stat
import struct
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from .sections import need

PLAIN, UNITS = 1, 2
ACL_NAMES = (b"system.posix_acl_access", b"system.posix_acl_default")
PREFIXES = (b"user.", b"trusted.", b"security.")
TYPES = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK)


class Content(NamedTuple):
    kind: int
    size: int
    digest: bytes
    holder: int  # chain index; 0 without data
    address: int  # 0 without data
    extents: tuple  # of (first unit, count), kind 2

    @property
    def identity(self):
        return self.kind, self.size, self.digest

    @property
    def unit(self):
        return unit_of(self.size)

    def pieces(self):
        """Yields (offset in the file, offset in the data at address, length), without holes."""
        if self.kind == PLAIN:
            if self.size:
                yield 0, 0, self.size
            return
        at = 0
        for first, count in self.extents:
            start = first * self.unit
            length = min(self.size, (first + count) * self.unit) - start
            yield start, at, length
            at += length

    def data_length(self):
        return sum(length for _, _, length in self.pieces())


def unit_of(size):
    return max(262144, 1 << max(0, (-(-size // 65536) - 1)).bit_length())


def identify(kind, size, pieces):
    """Digest of a content; pieces yields (offset, bytes) of the units that are no holes, or for a
    plain content of anything that covers it in order."""
    whole, unit = hashlib.sha256(), unit_of(size)
    for offset, data in pieces:
        if kind == UNITS:
            whole.update(struct.pack("<Q", offset // unit))
            data = hashlib.sha256(data).digest()
        whole.update(data)
    return whole.digest()


@dataclass(eq=False)
class Inode:
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    nsec: int = 0
    xattrs: dict = field(default_factory=dict)
    device: int = 0  # major << 32 | minor
    target: Optional[bytes] = None
    content: Optional[Content] = None
    children: Optional[dict] = None  # name -> Inode, of directories

    @property
    def type(self):
        return stat.S_IFMT(self.mode)

    @property
    def is_dir(self):
        return stat.S_ISDIR(self.mode)


def new_directory():
    return Inode(stat.S_IFDIR | 0o755, children={})


def check_name(name, where):
    need(0 < len(name) <= 255 and name not in (b".", b"..") and b"/" not in name
         and b"\0" not in name, "{}: name {!r}", where, name)


def check_xattr(name, value, where):
    if name not in ACL_NAMES:
        prefix = next((p for p in PREFIXES if name.startswith(p)), None)
        need(prefix is not None, "{}: xattr {!r}", where, name)
        need(len(prefix) < len(name) <= 255, "{}: xattr {!r}", where, name)
    need(b"\0" not in name and len(value) <= 65535, "{}: xattr {!r}", where, name)


def check_attributes(inode, where):
    """The limits of section 1 for one inode."""
    need(inode.type in TYPES and inode.mode >> 16 == 0, "{}: mode {:o}", where, inode.mode)
    need(inode.uid < 2**32 - 1 and inode.gid < 2**32 - 1, "{}: owner", where)
    need(inode.nsec < 10**9, "{}: nanoseconds", where)
    for name, value in inode.xattrs.items():
        check_xattr(name, value, where)
    is_device = inode.type in (stat.S_IFCHR, stat.S_IFBLK)
    need(is_device or inode.device == 0, "{}: device number", where)
    need(inode.device >> 32 < 1 << 12 and inode.device & 0xFFFFFFFF < 1 << 20,
         "{}: device number", where)
    need((inode.type == stat.S_IFLNK) == (inode.target is not None), "{}: link target", where)
    need(inode.target is None or inode.mode & 0o7777 == 0o777, "{}: mode of a link", where)
    if inode.target is not None:
        need(1 <= len(inode.target) <= 4095 and b"\0" not in inode.target, "{}: link target", where)
    need((inode.type == stat.S_IFREG) == (inode.content is not None), "{}: content", where)
    need(inode.content is None or inode.content.size <= 1 << 43, "{}: size", where)


def walk(root):
    """Yields (path as a tuple of names, inode), in canonical order, the root first."""
    pending = [((), root)]
    while pending:
        path, inode = pending.pop()
        yield path, inode
        if inode.children:
            for name in sorted(inode.children, reverse=True):
                pending.append((path + (name,), inode.children[name]))


def link_counts(root):
    """{inode: number of links}."""
    counts = {}
    for path, inode in walk(root):
        if inode.is_dir:
            below = sum(1 for child in inode.children.values() if child.is_dir)
            counts[inode] = 2 + below
        else:
            counts[inode] = counts.get(inode, 0) + 1
    return counts


def listing(root):
    """Yields the bytes of the canonical listing."""
    yield b"tarn tree 1\n"
    first = {}
    for names, inode in walk(root):
        path = b"/".join(names)
        need(len(path) <= 65535, "path of {} bytes", len(path))
        yield struct.pack("<I", len(path)) + path
        if inode in first:
            yield struct.pack("<BI", 1, len(first[inode])) + first[inode]
            continue
        first[inode] = path
        yield struct.pack("<BIIIqIQI", 0, inode.mode, inode.uid, inode.gid, inode.mtime, inode.nsec,
                          inode.device, len(inode.xattrs))
        for name in sorted(inode.xattrs):
            value = inode.xattrs[name]
            yield struct.pack("<I", len(name)) + name + struct.pack("<I", len(value)) + value
        if inode.content is not None:
            yield struct.pack("<BQ32s", *inode.content.identity)
        elif inode.target is not None:
            yield struct.pack("<I", len(inode.target)) + inode.target


def digest(root):
    whole = hashlib.sha256()
    for piece in listing(root):
        whole.update(piece)
    return whole.digest()
