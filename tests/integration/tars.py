# SPDX-License-Identifier: Apache-2.0
"""Tar archives, header by header: what no tar program would write, too."""
from dataclasses import dataclass, field

REGULAR, LINK, SYMLINK, CHAR, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


def pad(data):
    return data + bytes(-len(data) % 512)


def octal(number, width):
    """`width` bytes: octal digits and a NUL, or GNU's base 256 for what does not fit."""
    if 0 <= number < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, number)
    return (number % 256 ** width | (0x80 << 8 * (width - 1))).to_bytes(width, "big")


def pax_records(records):
    out = []
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while length != len(str(length)) + len(body):
            length = len(str(length)) + len(body)
        out.append(str(length).encode() + body)
    return b"".join(out)


def decimal(seconds, nanoseconds=0):
    """An instant as pax writes it."""
    total = seconds * 10**9 + nanoseconds
    sign, total = ("-", -total) if total < 0 else ("", total)
    text = f"{sign}{total // 10**9}"
    if total % 10**9:
        text += f".{total % 10**9:09d}".rstrip("0")
    return text.encode()


def header(name, kind=REGULAR, size=0, mode=0o644, uid=0, gid=0, mtime=0, link=b"", device=(0, 0),
           magic=b"ustar\x0000", prefix=b"", tail=b""):
    """512 bytes. tail: GNU's own fields, from byte 345 on, instead of the prefix."""
    end = tail or prefix.ljust(155, b"\0")
    block = (name[:100].ljust(100, b"\0") + octal(mode, 8) + octal(uid, 8) + octal(gid, 8) +
             octal(size, 12) + octal(mtime, 12) + b" " * 8 + kind + link[:100].ljust(100, b"\0") +
             magic + bytes(64) + octal(device[0], 8) + octal(device[1], 8) + end).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


@dataclass
class Member:
    """What an entry means, for the model."""
    name: bytes
    kind: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    nsec: int = 0
    link: bytes = b""
    device: tuple = (0, 0)
    xattrs: dict = field(default_factory=dict)
    size: int = 0
    pieces: list = field(default_factory=list)  # (offset, bytes)


class Tar:
    """add() takes bytes for names; the archive is bytes(tar), its meaning is in members.

    dialect: "pax" (records for what ustar cannot say), "ustar", "gnu" (L and K entries, base 256)
    or "v7"."""

    def __init__(self, dialect="pax", prefix=b""):
        self.parts, self.members, self.dialect, self.prefix = [], [], dialect, prefix

    def __bytes__(self):
        return b"".join(self.parts) + bytes(1024)

    def raw(self, data):
        self.parts.append(data)

    def pax(self, records, kind=b"x"):
        body = pax_records(records)
        self.raw(header(b"././@PaxHeader", kind, len(body)) + pad(body))

    def add(self, name, data=b"", kind=REGULAR, mode=None, uid=0, gid=0, mtime=0, nsec=0, link=b"",
            device=(0, 0), xattrs=(), pax=(), size=None, means=None):
        """xattrs: {name: value} as SCHILY.xattr. size: what the header says, if not the truth.
        means: fields of Member that differ, because of the pax records."""
        name = self.prefix + name
        if mode is None:
            mode = {DIRECTORY: 0o755, SYMLINK: 0o777}.get(kind, 0o644)
        member = Member(name, kind, mode, uid, gid, mtime, nsec, link, device, dict(xattrs),
                        len(data), [(0, data)])
        member.__dict__.update(means or {})
        self.members.append(member)
        records = list(pax)
        if xattrs:
            records += [(b"SCHILY.xattr." + key, value) for key, value in xattrs.items()]
        split = b""
        short = name
        if self.dialect == "pax":
            if len(name) > 100:
                records.append((b"path", name))
            if len(link) > 100:
                records.append((b"linkpath", link))
            for key, value in ((b"uid", uid), (b"gid", gid)):
                if value >= 1 << 21:
                    records.append((key, b"%d" % value))
            if nsec or not 0 <= mtime < 1 << 33:
                records.append((b"mtime", decimal(mtime, nsec)))
            numbers = (uid if uid < 1 << 21 else 0, gid if gid < 1 << 21 else 0,
                       mtime if 0 <= mtime < 1 << 33 else 0)
        else:
            numbers = uid, gid, mtime
        if self.dialect == "gnu":
            for long, letter in ((link, b"K"), (name, b"L")):
                if len(long) > 100:
                    self.raw(header(b"././@LongLink", letter, len(long) + 1) + pad(long + b"\0"))
        if self.dialect == "ustar" and len(name) > 100:
            at = name.rindex(b"/", 0, 156)
            split, short = name[:at], name[at + 1:]
        if records:
            self.pax(records)
        magic = {"gnu": b"ustar  \0", "v7": bytes(8)}.get(self.dialect, b"ustar\x0000")
        self.raw(header(short, kind, len(data) if size is None else size, mode, *numbers, link=link,
                        device=device, magic=magic, prefix=split) + pad(data))

    def directory(self, name, **more):
        self.add(name + b"/", kind=DIRECTORY, **more)

    def symlink(self, name, target, **more):
        self.add(name, kind=SYMLINK, link=target, **more)

    def hard_link(self, name, target, **more):
        """target as it stands in the archive, the prefix included."""
        self.add(name, kind=LINK, link=target, **more)

    def whiteout(self, name):
        parent, slash, last = name.rpartition(b"/")
        self.add(parent + slash + b".wh." + last)

    def opaque(self, name):
        self.add((name + b"/" if name else b"") + b".wh..wh..opq")

    def sparse(self, name, version, size, extents, **more):
        """extents: [(offset, bytes)]; version: "old", "0.0", "0.1" or "1.0"."""
        data = b"".join(piece for _, piece in extents)
        means = {"name": self.prefix + name, "size": size, "pieces": extents}
        pairs = [(offset, len(piece)) for offset, piece in extents] + [(size, 0)]
        if version == "old":
            self.sparse_old(name, size, pairs, data, more)
            more = {"mode": 0o644, **more, **means}
            self.members.append(Member(kind=REGULAR, **more))
            return
        records = [(b"GNU.sparse.size", b"%d" % size)]
        if version == "0.0":
            records.append((b"GNU.sparse.numblocks", b"%d" % len(pairs)))
            for offset, length in pairs:
                records += [(b"GNU.sparse.offset", b"%d" % offset),
                            (b"GNU.sparse.numbytes", b"%d" % length)]
            self.add(name, data, pax=records, means=means, **more)
            return
        if version == "0.1":
            numbers = ",".join(f"{o},{n}" for o, n in pairs).encode()
            records = [*records, (b"GNU.sparse.numblocks", b"%d" % len(pairs)),
                       (b"GNU.sparse.name", self.prefix + name), (b"GNU.sparse.map", numbers)]
        else:
            records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
                       (b"GNU.sparse.name", self.prefix + name),
                       (b"GNU.sparse.realsize", b"%d" % size)]
            numbers = f"{len(pairs)}\n" + "".join(f"{o}\n{n}\n" for o, n in pairs)
            data = pad(numbers.encode()) + data
        saved, self.prefix = self.prefix, b""
        self.add(b"./GNUSparseFile.1/" + name[-50:].replace(b"/", b"_"), data, pax=records,
                 means=means, **more)
        self.prefix = saved

    def sparse_old(self, name, size, pairs, data, more):
        def numbers(some, count):
            return b"".join(octal(o, 12) + octal(n, 12) for o, n in some).ljust(24 * count, b"\0")

        rest = pairs[4:]
        tail = bytes(41) + numbers(pairs[:4], 4) + (b"\1" if rest else b"\0") + octal(size, 12)
        self.raw(header(self.prefix + name, b"S", len(data), magic=b"ustar  \0", tail=tail, **more))
        while rest:
            block, rest = rest[:21], rest[21:]
            self.raw((numbers(block, 21) + (b"\1" if rest else b"\0")).ljust(512, b"\0"))
        self.raw(pad(data))


def damage(data, offset, value):
    """A copy with the bytes at offset replaced."""
    value = bytes(value)
    return data[:offset] + value + data[offset + len(value):]


def rechecked(block):
    """A header with its checksum made right."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]
