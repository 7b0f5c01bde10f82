# SPDX-License-Identifier: Apache-2.0
"""Blob records and chunk rows (format.md, section 7)."""
import struct
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .sections import ADDRESSES, BLOBS, BLOCK, DIGESTS, LOCATIONS, need, records

MIN, AVG, MAX = 8192, 32768, 131072
RUN, PREFIX = 262144, 196608
FIXED = (1, MIN, AVG, MAX, 2, RUN, PREFIX)  # chunker ... prefix length, in every header
GAP = (1 << 64) - 1
MAX_SPACE = 1 << 44
CHAIN, FOREIGN = 0, 1
RECORD = "32sQQQQ32sIIIIIIQ"


class Row(NamedTuple):
    """One chunk. kind is "stored", "reference" or "gap"; length is 0 for a gap at the end."""
    kind: str
    address: int
    length: int
    digest: bytes
    offset: int = 0  # stored: in the blob
    size: int = 0  # stored: bytes in the blob
    raw: bool = False
    first: bool = False  # of a run
    blob: int = 0  # reference: index of the holder
    target: int = 0  # reference: address there

    @property
    def end(self):
        return self.address + self.length

    def location(self):
        if self.kind == "gap":
            return GAP
        if self.kind == "reference":
            return 1 << 63 | self.blob << 44 | self.target
        return self.raw << 62 | self.first << 61 | (self.size - 1) << 44 | self.offset


@dataclass
class Blob:
    """One record of section 0x0102 with its rows."""
    digest: bytes
    size: int
    space: int
    meta_offset: int
    meta_length: int
    meta_digest: bytes
    slot: int = 0
    role: int = CHAIN
    rows: list = field(default_factory=list)

    def renumbered(self, indexes):
        rows = [r._replace(blob=indexes[r.blob]) if r.kind == "reference" else r for r in self.rows]
        return replace(self, rows=rows)


def make_row(address, location, digest, end, what):
    length = end - address
    if location == GAP:
        need(digest == bytes(32), "{}: a gap row with a digest", what)
        return Row("gap", address, length, digest)
    need(0 < length <= MAX, "{}: chunk of {} bytes", what, length)
    if location >> 63:
        blob = location >> 44 & 0x7FFFF
        need(blob <= 65534, "{}: blob index {}", what, blob)
        target = location & MAX_SPACE - 1
        return Row("reference", address, length, digest, blob=blob, target=target)
    raw, first = bool(location >> 62 & 1), bool(location >> 61 & 1)
    size = (location >> 44 & 0x1FFFF) + 1
    need(size == length if raw else size < length, "{}: {} stored bytes for {}", what, size, length)
    return Row("stored", address, length, digest, location & MAX_SPACE - 1, size, raw, first)


def check_whole(blob, index, what):
    """The rules for the table of a blob of the chain: sequence, runs, what references name."""
    offset = run = expected = 0
    for number, row in enumerate(blob.rows[:-1]):
        where = f"{what}, row {number}"
        need(row.kind != "gap", "{}: a gap inside a whole table", where)
        need(row.address == expected, "{}: address {} is not {}", where, row.address, expected)
        expected = row.end
        if row.kind == "stored":
            need(row.offset == offset, "{}: offset {} is not {}", where, row.offset, offset)
            need(row.first == (run == 0), "{}: wrong first-of-run bit", where)
            offset += row.size
            run += row.length
        if row.kind == "reference" or run >= RUN:
            run = 0
        if row.kind == "reference" and row.blob == index:
            need(row.target < row.address, "{}: refers forward", where)
    need(blob.rows[-1].address == blob.space == expected,
         "{}: rows end at {}, the last at {}, not {}", what, expected, blob.rows[-1].address,
         blob.space)
    return offset


def check_known(blob, what):
    """The rules for the known rows of a foreign blob."""
    run, known = 0, False
    for number, row in enumerate(blob.rows):
        where = f"{what}, row {number}"
        if row.kind == "gap":
            need(known, "{}: a gap row without known rows before it", where)
            run, known = 0, False
            continue
        need(row.kind == "stored", "{}: a foreign blob's row is a reference", where)
        need(row.first == (run == 0), "{}: wrong first-of-run bit", where)
        run = run + row.length if run + row.length < RUN else 0
        known = True
        need(row.end <= blob.space and row.offset + row.size <= blob.meta_offset,
             "{}: beyond its blob", where)


def parse(sections, what):
    """Sections of a container -> [Blob]."""
    addresses = [x for x, in records(sections[ADDRESSES].data, "Q", f"{what}: addresses")]
    locations = [x for x, in records(sections[LOCATIONS].data, "Q", f"{what}: locations")]
    digests = [x for x, in records(sections[DIGESTS].data, "32s", f"{what}: digests")]
    need(len(addresses) == len(locations) == len(digests), "{}: row counts differ", what)
    blobs, start = [], 0
    for number, record in enumerate(records(sections[BLOBS].data, RECORD, f"{what}: blobs")):
        where = f"{what}: blob {number}"
        (digest, size, space, offset, length, meta, first, count, compression, encryption, slot,
         role, zero) = record
        need(compression == 1 and encryption == 0, "{}: compression or encryption", where)
        need(role in (CHAIN, FOREIGN) and zero == 0, "{}: role or reserved field", where)
        need(space % BLOCK == 0 and space < MAX_SPACE, "{}: data space {}", where, space)
        need(first == start and first + count <= len(addresses), "{}: rows {}+{}", where, first,
             count)
        start += count
        blob = Blob(digest, size, space, offset, length, meta, slot, role)
        for i in range(first, start):
            last = i == start - 1
            end = addresses[i] if last else addresses[i + 1]
            need(last or end > addresses[i], "{}: row {} does not ascend", where, i)
            need(last or locations[i] == GAP or end >= min(addresses[i] + MIN, space),
                 "{}: row {} is a chunk of {} bytes", where, i, end - addresses[i])
            blob.rows.append(
                make_row(addresses[i], locations[i], digests[i], end, f"{where}, row {i}"))
        need(not count or blob.rows[-1].kind == "gap", "{}: the last row is no gap", where)
        blobs.append(blob)
    need(start == len(addresses), "{}: {} rows belong to no blob", what, len(addresses) - start)
    need(len(blobs) <= 65535, "{}: {} blobs", what, len(blobs))
    return blobs


def encode(blobs):
    """[Blob] -> bytes of the sections blobs, addresses, locations, digests."""
    head, rows = bytearray(), []
    for b in blobs:
        head += struct.pack("<" + RECORD, b.digest, b.size, b.space, b.meta_offset, b.meta_length,
                            b.meta_digest, len(rows), len(b.rows), 1, 0, b.slot, b.role, 0)
        rows += b.rows
    count = len(rows)
    return (bytes(head), struct.pack(f"<{count}Q", *(r.address for r in rows)),
            struct.pack(f"<{count}Q", *(r.location() for r in rows)),
            b"".join(r.digest for r in rows))
