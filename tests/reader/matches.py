# SPDX-License-Identifier: Apache-2.0
"""The matches of level 3 (format.md, section 5). Slow: for small data."""
from .tables import PREFIX

NEAR = 16384


def word(data, at, length):
    return int.from_bytes(data[at:at + length], "little")


def hash_8(data, at):
    return (word(data, at, 8) * 0xcf1bbcdcb7a56463 & (1 << 64) - 1) >> 47


def hash_4(data, at):
    return (word(data, at, 4) * 2654435761 & (1 << 32) - 1) >> 16


class Finder:
    """The matches of a run, chunk by chunk."""

    def __init__(self):
        self.data, self.table_8, self.table_4 = bytearray(), {}, {}

    def enter(self, at):
        self.table_8[hash_8(self.data, at)] = self.table_4[hash_4(self.data, at)] = at

    def length(self, at, offset):
        data, n = self.data, 0
        while at + n < self.end and data[at + n] == data[at + n - offset]:
            n += 1
        return n

    def same(self, at, offset, length):
        return self.data[at:at + length] == self.data[at - offset:at - offset + length]

    def long(self, at, entry):
        """(place, offset, length) or None"""
        if entry is None or entry < self.low or not self.same(at, at - entry, 8):
            return None
        return at, at - entry, self.length(at, at - entry)

    def short(self, at, entry):
        if entry is None or entry < self.low or not self.same(at, at - entry, 4):
            return None
        length = self.length(at, at - entry)
        return (at, at - entry, length) if length > 4 or at - entry < NEAR else None

    def ahead(self, match):
        at, data = match[0] + 1, self.data
        found = self.long(at, self.table_8.get(hash_8(data, at)))
        if not found and match[2] < 8:
            found = self.short(at, self.table_4.get(hash_4(data, at)))
            found = found if found and found[2] > match[2] else None
        return found or match

    def search(self, anchor, recent):
        """(match, the last place that was searched) or None"""
        at, data = anchor, self.data
        while at < self.limit:
            one, two = self.table_8.get(hash_8(data, at)), self.table_4.get(hash_4(data, at))
            self.enter(at)
            if recent and self.same(at + 1, recent, 4):
                return (at + 1, recent, self.length(at + 1, recent)), at
            found = self.long(at, one)
            if found:
                return found, at
            following = at + 1 + (at - anchor) // 128
            if following >= self.limit:
                break
            found = self.short(at, two)
            if found:
                return self.ahead(found), at
            at = following
        return None

    def chunk(self, added):
        """[(literals, length of the match, offset)]; the last has literals only"""
        data, start = self.data, len(self.data)
        data += added
        self.low, self.end = max(0, start - PREFIX), len(data)
        self.limit = max(start, self.end - 8)
        anchor, recent, out = start, [0, 0], []
        while found := self.search(anchor, recent[0]):
            (at, offset, length), searched = found
            while at > anchor and at - offset > self.low and data[at - 1] == data[at - 1 - offset]:
                at, length = at - 1, length + 1
            if offset != recent[0]:
                recent = [offset, recent[0]]
            out.append((at - anchor, length, offset))
            anchor = at + length
            if anchor < self.limit:
                for place in range(searched + 1, min(anchor - 1, searched + 33), 2):
                    self.enter(place)
                self.table_8[hash_8(data, anchor - 2)] = anchor - 2
                self.table_4[hash_4(data, anchor - 1)] = anchor - 1
            while anchor < self.limit and recent[1] and self.same(anchor, recent[1], 4):
                length = self.length(anchor, recent[1])
                recent.reverse()
                self.enter(anchor)
                out.append((0, length, recent[0]))
                anchor += length
        return [*out, (self.end - anchor, 0, 0)]
