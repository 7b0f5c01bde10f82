# SPDX-License-Identifier: Apache-2.0
"""Reads the EROFS image of a bootstrap (format.md, section 9), trusting nothing in it."""
import stat
import struct
from dataclasses import dataclass

import xxhash

from .sections import BLOCK, is_zero, need
from .tree import Inode, check_attributes, check_name, unit_of

MAGIC, SUPER, DEVICES = 0xE0F5E1E2, 1024, 1152
SUPERBLOCK = "IIIBBHQQIIII16s16sIHHH38s"
PREFIXES = {1: b"user.", 2: b"system.posix_acl_access", 3: b"system.posix_acl_default",
            4: b"trusted.", 6: b"security."}
D_TYPES = {1: stat.S_IFREG, 2: stat.S_IFDIR, 3: stat.S_IFCHR, 4: stat.S_IFBLK, 5: stat.S_IFIFO,
           7: stat.S_IFLNK}
PLAIN, INLINE, CHUNKED = 0, 2, 4
HOLE = 0xFFFFFFFFFFFFFFFF
SEED = 0x25BBE08F


@dataclass(eq=False)
class File:
    """Where a regular file's bytes are: chunk i, of `chunk` bytes, at indexes[i] = (slot, address
    in the data space) or None for a hole."""
    size: int
    chunk: int
    indexes: list

    def pieces(self):
        """Yields (offset, slot, address, length), without holes."""
        for i, place in enumerate(self.indexes):
            if place is not None:
                start = i * self.chunk
                yield start, *place, min(self.chunk, self.size - start)


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


def crc32c(data):
    """EROFS': seed ~0, no final inversion."""
    table, crc = crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def filter_bit(index, name):
    return 1 << (xxhash.xxh32_intdigest(name, SEED + index) & 31)


class Reader:
    """root, an Inode whose files carry a File in .file, and nids, {nid: Inode}."""

    def __init__(self, view, what="EROFS image"):
        self.view, self.what = view, what
        need(len(view) >= BLOCK and len(view) % BLOCK == 0, "{}: {} bytes", what, len(view))
        self.read_superblock()
        self.nids, self.links, self.files, self.ino = {}, {}, {}, {}
        self.root = self.read_tree()
        need(len(self.nids) == self.inos, "{}: {} inodes, not {}", what, len(self.nids), self.inos)

    def slice(self, offset, length, where):
        need(offset >= 0 and offset + length <= len(self.view), "{}: {}+{} beyond the image", where,
             offset, length)
        return bytes(self.view[offset:offset + length])

    def read_superblock(self):
        what = f"{self.what}: superblock"
        (magic, checksum, compat, bits, extension, root, inos, epoch, nsec, blocks, meta, xattr,
         uuid, volume, incompat, zero, devices, device_slot, rest) = struct.unpack_from(
             "<" + SUPERBLOCK, self.view, SUPER)
        need(magic == MAGIC, "{}: magic {:#x}", what, magic)
        first = bytearray(self.view[SUPER:BLOCK])
        first[4:8] = bytes(4)
        need(crc32c(first) == checksum, "{}: checksum", what)
        need(bits == 12 and extension == 0 and compat == 7, "{}: {} {} {}", what, bits, extension,
             compat)
        need(incompat == (12 if devices else 4), "{}: incompat {:#x}", what, incompat)
        need(meta == 0 and zero == 0 and is_zero(volume) and is_zero(rest), "{}: not zero", what)
        need(device_slot == (DEVICES // 128 if devices else 0), "{}: devt_slotoff", what)
        need(is_zero(self.view[:SUPER]), "{}: the first 1,024 bytes are not zero", what)
        need(blocks * BLOCK == len(self.view), "{}: {} blocks", what, blocks)
        need(nsec < 10**9, "{}: nanoseconds", what)
        self.root_nid, self.inos, self.xattr_blkaddr, self.uuid = root, inos, xattr, uuid
        self.epoch = struct.unpack("<q", struct.pack("<Q", epoch))[0], nsec
        need(devices <= 16374, "{}: {} slots", what, devices)
        self.slots = []  # (digest in hexadecimal, blocks), slot 1 first
        for slot in range(1, devices + 1):
            tag, size, mapped, zero = struct.unpack_from("<64sII56s", self.view,
                                                         DEVICES + 128 * (slot - 1))
            need(mapped == 0 and is_zero(zero), "{}: slot {}: not zero", what, slot)
            self.slots.append((tag.decode("ascii"), size))

    def read_tree(self):
        """Every inode, from the root down; hard links give one Inode."""
        root = self.read_inode(self.root_nid)
        need(root.is_dir, "{}: the root is no directory", self.what)
        pending = [(self.root_nid, self.root_nid)]
        while pending:
            nid, parent = pending.pop()
            directory = self.nids[nid]
            subdirectories = 0
            for name, child, kind in self.read_directory(nid, parent):
                where = f"{self.what}: directory {nid}: {name!r}"
                known = child in self.nids
                inode = self.read_inode(child)
                need(inode.type == kind, "{}: wrong d_type", where)
                if inode.is_dir:
                    need(not known, "{}: a directory with two names", where)
                    subdirectories += 1
                    pending.append((child, nid))
                else:
                    self.links[child][1] += 1
                directory.children[name] = inode
            self.links[nid][1] = 2 + subdirectories
        for nid, (said, counted) in self.links.items():
            need(said == counted, "{}: inode {}: {} links, not {}", self.what, nid, said, counted)
        return root

    def read_inode(self, nid):
        if nid in self.nids:
            return self.nids[nid]
        where, at = f"{self.what}: inode {nid}", nid * 32
        need(at >= DEVICES + 128 * len(self.slots), "{}: in the superblock", where)
        head = self.slice(at, 32, where)
        form, xattr_count, mode = struct.unpack_from("<HHH", head)
        layout = form >> 1
        need(layout in (PLAIN, INLINE, CHUNKED), "{}: format {:#x}", where, form)
        if form & 1:
            (_, _, _, zero, size, place, ino, uid, gid, seconds, nsec, links,
             zeros) = struct.unpack("<HHHHQIIIIqII16s", self.slice(at, 64, where))
            need(zero == 0 and is_zero(zeros), "{}: reserved fields", where)
            compact = uid < 65536 and gid < 65536 and links < 65536 and size < 1 << 32 and (
                seconds, nsec) == self.epoch
            need(not compact, "{}: extended without need", where)
            end = at + 64
        else:
            (_, _, _, links, size, zero, place, ino, uid, gid, zeros) = struct.unpack(
                "<HHHHIIIIHHI", head)
            need(zero == 0 and zeros == 0, "{}: reserved fields", where)
            (seconds, nsec), end = self.epoch, at + 32
        inode = Inode(mode, uid, gid, seconds, nsec)
        inode.xattrs, end = self.read_xattrs(end, xattr_count, where)
        self.nids[nid], self.links[nid], self.ino[nid] = inode, [links, 0], ino
        self.read_body(inode, nid, (layout, size, place, end), where)
        return inode

    def read_body(self, inode, nid, body, where):
        layout, size, place, end = body
        if inode.type == stat.S_IFREG:
            self.files[inode] = self.read_file(body, where)
            inode.content = ()  # no content identity stands in the image
            need(size <= 1 << 43, "{}: size {}", where, size)
        elif inode.is_dir:
            need(size > 0 and layout in (PLAIN, INLINE), "{}: directory of {} bytes", where, size)
            inode.children = {}
            self.nids[nid].body = self.read_bytes(body, where)
        elif inode.type == stat.S_IFLNK:
            need(0 < size < BLOCK, "{}: link target of {} bytes", where, size)
            inode.target = self.read_bytes(body, where)
        else:
            need(size == 0 and layout == PLAIN, "{}: special file with data", where)
            if inode.type == stat.S_IFIFO:
                need(place == 0, "{}: fifo with a device number", where)
            else:
                major, minor = place >> 8 & 0xFFF, place & 0xFF | place >> 12 & 0xFFF00
                inode.device = major << 32 | minor
        if inode.content == ():
            inode.content = None
            need(stat.S_ISREG(inode.mode) and inode.mode >> 16 == 0, "{}: mode", where)
        else:
            check_attributes(inode, where)

    def read_xattrs(self, at, count, where):
        if not count:
            return {}, at
        end = at + 12 + 4 * (count - 1)
        data = self.slice(at, end - at, where)
        bloom, shared, zero = struct.unpack_from("<IB7s", data)
        need(is_zero(zero), "{}: reserved xattr fields", where)
        need(count - 1 >= max(1, shared), "{}: xattrs without an entry", where)
        entries = []
        for (number,) in struct.iter_unpack("<I", data[12:12 + 4 * shared]):
            need(self.xattr_blkaddr, "{}: no shared xattrs", where)
            entries.append(self.xattr_entry(self.xattr_blkaddr * BLOCK + 4 * number, where)[0])
        shared_keys = [(e[0], e[1]) for e in entries]
        offset, inline_keys = at + 12 + 4 * shared, []
        while offset < end:
            entry, offset = self.xattr_entry(offset, where)
            entries.append(entry)
            inline_keys.append((entry[0], entry[1]))
        need(offset == end, "{}: xattr entry beyond its area", where)
        for keys in (shared_keys, inline_keys):
            need(keys == sorted(set(keys)), "{}: xattrs out of order", where)
        expected = 0xFFFFFFFF
        for index, name, _ in entries:
            expected &= ~filter_bit(index, name)
        need(bloom == expected, "{}: xattr filter {:#x} is not {:#x}", where, bloom, expected)
        found = {PREFIXES[index] + name: value for index, name, value in entries}
        need(len(found) == len(entries), "{}: an xattr stands twice", where)
        return found, end

    def xattr_entry(self, at, where):
        length, index, size = struct.unpack("<BBH", self.slice(at, 4, where))
        need(index in PREFIXES, "{}: xattr prefix {}", where, index)
        need((length == 0) == (index in (2, 3)), "{}: xattr name of {} bytes", where, length)
        need(len(PREFIXES[index]) + length <= 255, "{}: xattr name is too long", where)
        name = self.slice(at + 4, length, where)
        value = self.slice(at + 4 + length, size, where)
        end = at + 4 + length + size
        need(is_zero(self.slice(end, -end % 4, where)), "{}: xattr padding", where)
        return (index, name, value), end + -end % 4

    def read_bytes(self, body, where):
        """The bytes of a directory or link target."""
        layout, size, place, end = body
        tail = size % BLOCK if layout == INLINE else 0
        if layout == INLINE:
            need(tail, "{}: inline without a tail", where)
            need(end // BLOCK == (end + tail - 1) // BLOCK, "{}: tail crosses a block", where)
        full = size - tail
        need((place == 0) == (full == 0), "{}: start block {}", where, place)
        data = self.slice(place * BLOCK, full, where) + self.slice(end, tail, where)
        rest = -full % BLOCK
        need(is_zero(self.slice(place * BLOCK + full, rest, where)), "{}: rest of block", where)
        return data

    def read_file(self, body, where):
        layout, size, place, end = body
        if size == 0:
            need(layout == PLAIN and place == 0, "{}: empty file with data", where)
            return File(0, BLOCK, [])
        need(layout == CHUNKED and place & ~0x3F == 0 and place & 0x20, "{}: chunk format {:#x}",
             where, place)
        chunk, start = BLOCK << (place & 0x1F), end + -end % 8
        need(is_zero(self.slice(end, start - end, where)), "{}: padding before indexes", where)
        count = -(-size // chunk)
        need(count <= 65536, "{}: {} chunk indexes", where, count)
        indexes = []
        for high, slot, low in struct.iter_unpack("<HHI", self.slice(start, 8 * count, where)):
            if (high, slot, low) == (0xFFFF, 0xFFFF, 0xFFFFFFFF):
                indexes.append(None)
                continue
            need(high == 0 and 1 <= slot <= len(self.slots), "{}: slot {}", where, slot)
            indexes.append((slot, low * BLOCK))
        one = count == 1 and indexes[0] is not None
        need(chunk == unit_of(size) if not one else chunk < 2 * max(size, BLOCK),
             "{}: chunk of {}", where, chunk)
        for i, place in enumerate(indexes):
            length = min(chunk, size - i * chunk)
            blocks = self.slots[place[0] - 1][1] if place else 0
            need(place is None or place[1] + length <= blocks * BLOCK, "{}: beyond slot", where)
        return File(size, chunk, indexes)

    def read_directory(self, nid, parent):
        """Yields (name, nid, type) without `.` and `..`."""
        data, previous, dots = self.nids[nid].body, b"", {}
        where = f"{self.what}: directory {nid}"
        for start in range(0, len(data), BLOCK):
            block = data[start:start + BLOCK]
            for name, child, kind in self.read_block(block, start + BLOCK >= len(data), where):
                need(name > previous, "{}: {!r} is out of order", where, name)
                previous = name
                if name in (b".", b".."):
                    need(kind == stat.S_IFDIR, "{}: d_type of {!r}", where, name)
                    dots[name] = child
                    continue
                check_name(name, where)
                yield name, child, kind
        need(dots == {b".": nid, b"..": parent}, "{}: `.` and `..` are {}", where, dots)

    def read_block(self, block, last, where):
        need(len(block) >= 12, "{}: short block", where)
        first = struct.unpack_from("<H", block, 8)[0]
        need(first % 12 == 0 and 12 <= first < len(block), "{}: first name at {}", where, first)
        entries = list(struct.iter_unpack("<QHBB", block[:first]))
        for i, (nid, offset, kind, zero) in enumerate(entries):
            end = entries[i + 1][1] if i + 1 < len(entries) else len(block)
            need(first <= offset < end <= len(block), "{}: name at {}", where, offset)
            need(kind in D_TYPES and zero == 0, "{}: d_type {}", where, kind)
            name = block[offset:end]
            if i + 1 == len(entries) and not last:
                name = name.rstrip(b"\0")
            yield name, nid, D_TYPES[kind]
