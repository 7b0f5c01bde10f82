# SPDX-License-Identifier: Apache-2.0
"""Layer metadata: the own tree of one layer (format.md, section 6)."""
import struct
from dataclasses import dataclass, field
from typing import Optional

from . import sections as s
from . import tables
from .sections import need, records
from .tree import (PLAIN, UNITS, Content, Inode, check_attributes, check_name, check_xattr, unit_of)

NONE = 0xFFFFFFFF
WHITEOUT, OPAQUE, IMPLICIT = 1, 2, 4
HEADER = "7III i IIQQIIII 48s"


@dataclass
class Name:
    parent: int
    name: bytes
    inode: Optional[int]
    flags: int
    path: tuple = ()


@dataclass
class Layer:
    """What one layer metadata says. inodes of type 0 are lower links; their target is a path."""
    level: int
    libzstd: int
    index: int
    space: int
    chunks_length: int
    blobs: list
    inodes: list
    names: list
    contents: list
    xattr_sets: list
    sections: dict = field(repr=False, default_factory=dict)

    @property
    def own(self):
        return self.blobs[self.index]

    @property
    def foreign(self):
        return self.blobs[self.index + 1:]


def parse_header(data, what):
    need(len(data) == 128, "{}: layer section of {} bytes", what, len(data))
    (*fixed, compression, encryption, level, libzstd, index, space, length, inodes, names, contents,
     blobs, zero) = struct.unpack("<" + HEADER.replace(" ", ""), data)
    need(tuple(fixed) == tables.FIXED, "{}: parameters {}", what, fixed)
    need(compression == 1 and encryption == 0, "{}: compression or encryption", what)
    need(s.is_zero(zero), "{}: bytes 80 to 127 are not zero", what)
    need(space % s.BLOCK == 0 and space < tables.MAX_SPACE, "{}: data space {}", what, space)
    need(index < blobs, "{}: chain index {} of {} blobs", what, index, blobs)
    return level, libzstd, index, space, length, (inodes, names, contents, blobs)


def parse_xattrs(data, what):
    """-> [{name: value}]"""
    sets, at = [], 0

    def take(length):
        nonlocal at
        need(at + length <= len(data), "{}: xattr sets end early", what)
        at += length
        return data[at - length:at]

    while at < len(data):
        where, found = f"{what}: xattr set {len(sets) + 1}", {}
        count = struct.unpack("<I", take(4))[0]
        need(count, "{}: empty", where)
        for _ in range(count):
            name_length, value_length = struct.unpack("<II", take(8))
            name, value = bytes(take(name_length)), bytes(take(value_length))
            need(not found or name > max(found), "{}: {!r} is out of order", where, name)
            check_xattr(name, value, where)
            found[name] = value
        need(found not in sets[-1000:], "{}: stands twice", where)
        sets.append(found)
    return sets


def parse_contents(data, units, chain, what):
    extents = records(units, "II", f"{what}: units")
    contents, first_extent = [], 0
    for number, record in enumerate(records(data, "32sQQIIII", f"{what}: contents"), 1):
        where = f"{what}: content {number}"
        digest, size, address, kind, holder, first, count = record
        need(kind in (PLAIN, UNITS), "{}: kind {}", where, kind)
        need(size <= 1 << 43 and address % s.BLOCK == 0 and holder <= chain, "{}: bounds", where)
        own = ()
        if kind == PLAIN:
            need(first == count == 0, "{}: extents of a plain content", where)
        else:
            need(first == first_extent, "{}: first extent {} is not {}", where, first, first_extent)
            need(first + count <= len(extents), "{}: extents {}+{}", where, first, count)
            own = tuple(extents[first:first + count])
            first_extent += count
            check_extents(own, size, where)
        content = Content(kind, size, digest, holder, address, own)
        need(content.data_length() or holder == address == 0, "{}: place without data", where)
        contents.append(content)
    need(first_extent == len(extents), "{}: {} extents", what, len(extents))
    return contents


def check_extents(extents, size, where):
    units, end = -(-size // unit_of(size)), -1
    for first, count in extents:
        need(first > end and count > 0 and first + count <= units, "{}: extent {}+{}", where, first,
             count)
        end = first + count  # a hole lies between two extents
    need(sum(count for _, count in extents) < units, "{}: kind 2 without a hole", where)


def parse_inodes(layer, data, targets, what):
    offset = 0
    for number, record in enumerate(records(data, "IIIIqIIQQIIQ", f"{what}: inodes")):
        where = f"{what}: inode {number}"
        (mode, zero, uid, gid, mtime, nsec, xattrs, device, target, length, content, zeros) = record
        need(zero == zeros == 0, "{}: reserved fields", where)
        need(xattrs <= len(layer.xattr_sets) and content <= len(layer.contents), "{}: index", where)
        link = None
        if length:
            need(target == offset and offset + length <= len(targets), "{}: target {}+{} is not at"
                 " {}", where, target, length, offset)
            link = bytes(targets[offset:offset + length])
            offset += length
        need(length or target == 0, "{}: target", where)
        inode = Inode(mode, uid, gid, mtime, nsec, device=device, target=link)
        inode.xattrs = layer.xattr_sets[xattrs - 1] if xattrs else {}
        inode.content = layer.contents[content - 1] if content else None
        if inode.type:
            check_attributes(inode, where)
        else:
            need(link and device == 0 and not content and mode < 0o10000, "{}: lower link", where)
            for part in link.split(b"/"):
                check_name(part, where)
        layer.inodes.append(inode)
    need(offset == len(targets), "{}: {} bytes of targets", what, len(targets))


def parse_names(layer, data, name_bytes, what):
    at, previous = 0, None
    for number, record in enumerate(records(data, "IIHH", f"{what}: names")):
        where = f"{what}: name {number}"
        parent, inode, length, flags = record
        need(at + length <= len(name_bytes), "{}: name bytes end early", where)
        name = Name(parent, bytes(name_bytes[at:at + length]), None if inode == NONE else inode,
                    flags)
        at += length
        need(flags & ~(WHITEOUT | OPAQUE | IMPLICIT) == 0, "{}: flags {:#x}", where, flags)
        need(name.inode is None or name.inode < len(layer.inodes), "{}: inode", where)
        is_dir = name.inode is not None and layer.inodes[name.inode].is_dir
        need((name.inode is None) == bool(flags & IMPLICIT) or
             (name.inode is None and flags == WHITEOUT), "{}: flags {:#x}", where, flags)
        need(is_dir or flags & IMPLICIT or not flags & OPAQUE, "{}: opaque, no directory", where)
        if number == 0:
            need(length == parent == 0 and not flags & WHITEOUT, "{}: the root", where)
            need(is_dir or flags & IMPLICIT, "{}: the root is no directory", where)
        else:
            check_name(name.name, where)
            need(parent < number, "{}: parent {}", where, parent)
            above = layer.names[parent]
            need(above.flags & IMPLICIT or
                 (above.inode is not None and layer.inodes[above.inode].is_dir),
                 "{}: parent {} is no directory", where, parent)
            name.path = above.path + (name.name,)
            need(name.path > previous, "{}: not in canonical order", where)
        previous = name.path
        layer.names.append(name)
    need(at == len(name_bytes), "{}: {} name bytes", what, len(name_bytes))
    need(layer.names, "{}: no root", what)


def ascending(numbers, count, what):
    """Each of 0 .. count - 1 is used first in this order, and all are used."""
    top = 0
    for number in numbers:
        need(number <= top, "{}: {} is used before {}", what, number, top)
        top = max(top, number + 1)
    need(top == count, "{}: {} of {} are used", what, top, count)


def check_order(layer, what):
    """Inodes by first name, contents by first path, xattr sets by first use; directories once."""
    named = [n.inode for n in layer.names if n.inode is not None]
    ascending(named, len(layer.inodes), f"{what}: inodes")
    directories = [i for i in named if layer.inodes[i].is_dir]
    need(len(directories) == len(set(directories)), "{}: a directory with two names", what)
    place = {id(content): i for i, content in enumerate(layer.contents)}
    ascending([place[id(i.content)] for i in layer.inodes if i.content is not None],
              len(layer.contents), f"{what}: contents")
    place = {id(found): i for i, found in enumerate(layer.xattr_sets)}
    ascending([place[id(i.xattrs)] for i in layer.inodes if i.xattrs],
              len(layer.xattr_sets), f"{what}: xattr sets")


def check_space(layer, what):
    """Own contents tile the data space, in any order; identities are unique."""
    end, seen, own = 0, set(), []
    for number, content in enumerate(layer.contents, 1):
        need(content.identity not in seen, "{}: content {} stands twice", what, number)
        seen.add(content.identity)
        if content.holder == layer.index and content.data_length():
            own.append((content.address, number, content))
    for address, number, content in sorted(own, key=lambda place: place[:2]):
        need(address == end, "{}: content {}: address {} is not {}", what, number, address, end)
        end = s.round_up(end + content.data_length(), s.BLOCK)
    need(end == layer.space, "{}: data space {} is not {}", what, layer.space, end)


def parse(view, what):
    """The bytes of a layer metadata -> Layer."""
    sections = s.parse(view, b"TARNMETA", what)
    level, libzstd, index, space, length, counts = parse_header(sections[s.LAYER].data, what)
    layer = Layer(level, libzstd, index, space, length, tables.parse(sections, what), [], [], [],
                  [], sections)
    need(all(b.slot == 0 for b in layer.blobs), "{}: a slot in layer metadata", what)
    for i, blob in enumerate(layer.blobs):
        where = f"{what}: blob {i}"
        need(blob.role == (tables.FOREIGN if i > index else tables.CHAIN), "{}: role", where)
        need(bool(blob.rows) == (i >= index), "{}: rows", where)
        if i == index:
            need((blob.digest, blob.size, blob.meta_offset, blob.meta_length, blob.meta_digest) ==
                 (bytes(32), 0, 0, 0, bytes(32)) and blob.space == space, "{}: own record", where)
        if i > index:
            tables.check_known(blob, where)
    layer.xattr_sets = parse_xattrs(sections[s.XATTRS].data, what)
    layer.contents = parse_contents(sections[s.CONTENTS].data, sections[s.UNITS].data, index, what)
    parse_inodes(layer, sections[s.INODES].data, sections[s.TARGETS].data, what)
    parse_names(layer, sections[s.NAMES].data, sections[s.NAME_BYTES].data, what)
    found = (len(layer.inodes), len(layer.names), len(layer.contents), len(layer.blobs))
    need(found == counts, "{}: counts {} are not {}", what, counts, found)
    stored = tables.check_whole(layer.own, index, f"{what}: own rows")
    need(stored == length, "{}: chunks section {} is not {}", what, length, stored)
    check_order(layer, what)
    check_space(layer, what)
    return layer
