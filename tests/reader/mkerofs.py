# SPDX-License-Identifier: Apache-2.0
"""Makes the EROFS image of a merged tree (format.md, section 9): plan, then bytes."""
import struct
from collections import Counter

from .erofs import (CHUNKED, D_TYPES, DEVICES, HOLE, INLINE, MAGIC, PLAIN, PREFIXES, SUPER,
                    SUPERBLOCK, crc32c, filter_bit)
from .sections import BLOCK, need, round_up
from .tree import PLAIN as PLAIN_CONTENT
from .tree import link_counts

TO_D_TYPE = {kind: number for number, kind in D_TYPES.items()}


class Plan:
    """What is known of one inode before any byte is written."""

    def __init__(self, inode):
        self.inode = inode
        self.extended = False
        self.xattrs = b""
        self.size = 0
        self.layout = PLAIN
        self.at = self.body_at = 0  # byte of the inode; of its indexes or inline tail
        self.tail = b""  # inline bytes or indexes
        self.full = b""  # bytes for the data area
        self.place = 0  # i_u
        self.names = []  # directories: [(name, Plan)] without dots


class Writer:
    def __init__(self, root, slots, tree_digest):
        """slots: {chain index: (slot, digest in hexadecimal, blocks)}."""
        self.root, self.slots, self.tree_digest = root, slots, tree_digest
        self.links = link_counts(root)
        self.plans = {}
        self.order = []
        self.place_order()
        times = Counter((i.mtime, i.nsec) for i in self.plans)
        most = max(times.values())
        self.epoch = min(t for t, count in times.items() if count == most)
        self.plan_xattrs()
        self.plan_places()
        self.plan_blocks()

    def plan(self, inode):
        if inode not in self.plans:
            self.plans[inode] = Plan(inode)
            self.order.append(self.plans[inode])
        return self.plans[inode]

    def place_order(self):
        self.plan(self.root)
        pending = [self.root]
        while pending:
            directory = pending.pop()
            children = sorted(directory.children.items())
            self.plan(directory).names = [(name, self.plan(child)) for name, child in children]
            pending += [child for _, child in reversed(children) if child.is_dir]

    def plan_xattrs(self):
        """Which entries are shared, where, and the bytes behind each inode."""
        entries = {}
        uses = Counter()
        for plan in self.order:
            found = []
            for name, value in plan.inode.xattrs.items():
                index, prefix = next((i, p) for i, p in PREFIXES.items() if name.startswith(p))
                found.append((index, name[len(prefix):], value))
            entries[plan] = sorted(found)
            uses.update(found)
        shared, self.shared = {}, bytearray()
        for plan in self.order:
            ids, inline, names = b"", b"", 0xFFFFFFFF
            for entry in entries[plan]:
                index, name, value = entry
                data = struct.pack("<BBH", len(name), index, len(value)) + name + value
                length = len(data)
                data += bytes(-length % 4)
                names &= ~filter_bit(index, name)
                if (uses[entry] > 1 or length > 1024) and len(ids) < 4 * 255:
                    if entry not in shared:
                        shared[entry] = len(self.shared) // 4
                        self.shared += data
                    ids += struct.pack("<I", shared[entry])
                else:
                    inline += data
            if entries[plan]:
                plan.xattrs = struct.pack("<IB7x", names, len(ids) // 4) + ids + inline

    def plan_places(self):
        at = DEVICES + 128 * len(self.slots)
        for plan in self.order:
            inode = plan.inode
            self.plan_body(plan)
            plan.extended = not (inode.uid < 65536 and inode.gid < 65536 and
                                 self.links[inode] < 65536 and plan.size < 1 << 32 and
                                 (inode.mtime, inode.nsec) == self.epoch)
            head = (64 if plan.extended else 32) + len(plan.xattrs)
            if plan.layout == INLINE:
                if head + len(plan.tail) <= BLOCK:
                    if at // BLOCK != (at + head + len(plan.tail) - 1) // BLOCK:
                        at = round_up(at, BLOCK)
                else:
                    plan.layout = PLAIN
                    plan.full, plan.tail = plan.full + plan.tail, b""
            plan.at, plan.body_at = at, at + head
            if plan.layout == CHUNKED:
                plan.body_at = round_up(plan.body_at, 8)
            at = round_up(plan.body_at + len(plan.tail), 32)
        self.inodes_end = at

    def plan_body(self, plan):
        inode = plan.inode
        if inode.is_dir:
            blocks = self.directory_blocks(plan)
            plan.blocks = blocks
            plan.size = BLOCK * (len(blocks) - 1) + sum(12 + len(n) for n, _ in blocks[-1])
            plan.full = bytes(BLOCK * (len(blocks) - 1))  # nids are not known yet
            plan.tail = bytes(plan.size % BLOCK)
            plan.layout = INLINE if plan.tail else PLAIN
            if not plan.tail:
                plan.full += bytes(BLOCK)
        elif inode.target is not None:
            plan.size, plan.tail, plan.layout = len(inode.target), inode.target, INLINE
        elif inode.content is not None:
            plan.size = inode.content.size
            if plan.size:
                plan.layout = CHUNKED
                plan.place, plan.tail = self.chunk_indexes(inode.content)
        elif inode.device:
            major, minor = inode.device >> 32, inode.device & 0xFFFFFFFF
            plan.place = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12

    def directory_blocks(self, plan):
        parents = plan
        names = sorted(plan.names + [(b".", plan), (b"..", parents)], key=lambda pair: pair[0])
        blocks, used = [[]], 0
        for name, child in names:
            if used + 12 + len(name) > BLOCK:
                blocks.append([])
                used = 0
            blocks[-1].append((name, child))
            used += 12 + len(name)
        return blocks

    def chunk_indexes(self, content):
        if content.kind == PLAIN_CONTENT:
            slot = self.slots[content.holder][0]
            bits = (-(-content.size // BLOCK) - 1).bit_length()
            return 0x20 | bits, self.index(slot, content.address // BLOCK)
        count = -(-content.size // content.unit)
        indexes = [struct.pack("<Q", HOLE)] * count
        at = content.address // BLOCK
        for first, units in content.extents:
            for unit in range(first, first + units):
                indexes[unit] = self.index(self.slots[content.holder][0], at)
                at += content.unit // BLOCK
        return 0x20 | (content.unit // BLOCK).bit_length() - 1, b"".join(indexes)

    @staticmethod
    def index(slot, block):
        return struct.pack("<HHI", block >> 32, slot, block & 0xFFFFFFFF)

    def plan_blocks(self):
        end = round_up(self.inodes_end, BLOCK)
        self.xattr_blkaddr = end // BLOCK if self.shared else 0
        end += round_up(len(self.shared), BLOCK)
        for plan in self.order:
            if plan.full:
                plan.place = end // BLOCK
                end += round_up(len(plan.full), BLOCK)
        self.blocks = end // BLOCK

    def directory_bytes(self, plan, parent):
        """The blocks with nids; parent is the Plan behind `..`."""
        out = b""
        for number, block in enumerate(plan.blocks):
            heads, names, offset = b"", b"", 12 * len(block)
            for name, child in block:
                target = parent if name == b".." else child
                heads += struct.pack("<QHBx", target.at // 32, offset + len(names),
                                     TO_D_TYPE[target.inode.type])
                names += name
            data = heads + names
            last = number == len(plan.blocks) - 1
            out += data if last else data + bytes(BLOCK - len(data))
        return out

    def inode_bytes(self, plan, number):
        inode, links = plan.inode, self.links[plan.inode]
        count = (len(plan.xattrs) - 12) // 4 + 1 if plan.xattrs else 0
        form = plan.layout << 1 | plan.extended
        if plan.extended:
            head = struct.pack("<HHHHQIIIIqII16x", form, count, inode.mode, 0, plan.size,
                               plan.place, number, inode.uid, inode.gid, inode.mtime, inode.nsec,
                               links)
        else:
            head = struct.pack("<HHHHIIIIHHI", form, count, inode.mode, links, plan.size, 0,
                               plan.place, number, inode.uid, inode.gid, 0)
        return head + plan.xattrs

    def image(self):
        out = bytearray(self.blocks * BLOCK)
        parents = {self.order[0]: self.order[0]}
        for plan in self.order:
            for _, child in plan.names:
                parents[child] = plan
        for number, plan in enumerate(self.order, 1):
            head = self.inode_bytes(plan, number)
            out[plan.at:plan.at + len(head)] = head
            full, tail = plan.full, plan.tail
            if plan.inode.is_dir:
                data = self.directory_bytes(plan, parents[plan])
                full, tail = data[:len(data) - len(tail)], data[len(data) - len(tail):]
            out[plan.body_at:plan.body_at + len(tail)] = tail
            if full:
                out[plan.place * BLOCK:plan.place * BLOCK + len(full)] = full
        start = self.xattr_blkaddr * BLOCK
        if self.shared:
            out[start:start + len(self.shared)] = self.shared
        self.write_super(out)
        return bytes(out)

    def write_super(self, out):
        count = len(self.slots)
        for slot, tag, blocks in self.slots.values():
            struct.pack_into("<64sI60x", out, DEVICES + 128 * (slot - 1), tag.encode(), blocks)
        root = self.order[0].at // 32
        need(root < 65536, "root nid {}", root)
        epoch = struct.unpack("<Q", struct.pack("<q", self.epoch[0]))[0]
        struct.pack_into("<" + SUPERBLOCK, out, SUPER, MAGIC, 0, 7, 12, 0, root, len(self.order),
                         epoch, self.epoch[1], self.blocks, 0, self.xattr_blkaddr,
                         self.tree_digest[:16], b"", 12 if count else 4, 0, count,
                         DEVICES // 128 if count else 0, b"")
        struct.pack_into("<I", out, SUPER + 4, crc32c(out[SUPER:BLOCK]))
