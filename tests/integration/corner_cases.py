# SPDX-License-Identifier: Apache-2.0
"""Images that hold all the corner cases of tar layers and of file attributes.

layers() gives the tars; model.expected() says what they mean. umoci, as root, agrees, but for the
places in UMOCI."""
import base64
import hashlib
import struct
import unicodedata

from tars import BLOCK, CHAR, FIFO, Tar

MANY = 2000
HOLE = 64 << 20
NFC = unicodedata.normalize("NFC", "é").encode()
NFD = unicodedata.normalize("NFD", "é").encode()
BINARY = bytes(range(256)) + b"\n=\n" + bytes(3)
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
BIG_NUMBER = (4095, (1 << 20) - 1)


def noise(length, seed=0):
    """Bytes that do not compress, the same every time."""
    out, block = [], 0
    while 32 * len(out) < length:
        out.append(hashlib.sha256(struct.pack("<QQ", seed, block)).digest())
        block += 1
    return b"".join(out)[:length]


def acl(entries):
    """[(tag, permissions, id)] -> the bytes of system.posix_acl_*."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANY = 0xFFFFFFFF
ACCESS = acl([(1, 6, ANY), (2, 4, 70000), (4, 4, ANY), (0x10, 4, ANY), (0x20, 0, ANY)])
DEFAULT = acl([(1, 7, ANY), (4, 5, ANY), (8, 7, 100), (0x10, 7, ANY), (0x20, 5, ANY)])


def names(tar):
    tar.directory(b"names", mtime=1)
    for name in (b"!x", b"-x", b".x", b"0", b"a b", b"a\nb", b"a\\b", b"a*?[", b"\xff\xfe", b"\x01",
                 b"n" * 255, b"\xf0" * 255, NFC, NFD, b"..x", b"..." , b"%s", b"~"):
        tar.add(b"names/" + name, data=b"name " + name, mtime=2)
    tar.directory(b"names/-d")
    tar.directory(b"names/!d")
    for name in (b"-x", b"!", b"n" * 255):
        tar.directory(b"names/-d/" + name, mtime=3)


def sizes(tar):
    tar.directory(b"sizes")
    for size in (0, 1, 4095, 4096, 4097, 8192, 131072, 262143, 262144, 262145, 1 << 20):
        tar.add(b"sizes/%d" % size, data=noise(size, size))
    tar.directory(b"zeros")
    for size in (1, 4096, 4097, 262144, 262145, 524288, 3 << 20):
        tar.add(b"zeros/%d" % size, data=bytes(size))
    unit = 262144
    tar.add(b"zeros/around", data=b"x" + bytes(3 * unit - 2) + b"y")
    tar.add(b"zeros/last-unit", data=noise(unit, 1) + bytes(100))
    tar.add(b"zeros/first-unit", data=bytes(unit) + noise(100, 2))
    tar.add(b"zeros/same-units", data=(noise(unit, 3) + bytes(unit)) * 3 + noise(unit, 3))


def holes(tar, old="old"):
    tar.directory(b"holes")
    unit = 262144
    for version in ("old", "0.0", "0.1", "1.0"):
        name = b"holes/" + version.encode()
        hole = HOLE if version in ("old", "1.0") else 5 << 20
        version = old if version == "old" else version
        some = [(0, b"start"), (hole, noise(5000, 7)), (2 * hole + 3, b"end of it")]
        tar.sparse(name, version, 2 * hole + 12, some, mtime=5)
        tar.sparse(name + b"-tail", version, 4 << 20, [(10, b"x")], mode=0o600)
        tar.sparse(name + b"-all", version, 4 << 20, [])
        many = [(i * 3 * unit + i, b"%d" % i) for i in range(40)]
        tar.sparse(name + b"-many", version, 40 * 3 * unit, many)
        tar.sparse(name + b"-dense", version, 10000, [(0, noise(5000, 8)), (5000, noise(5000, 9))])
    tar.add(b"holes/written", data=b"start" + bytes(1 << 20) + b"end")


def attributes(tar):
    tar.directory(b"attributes", mode=0o1777, uid=70000, gid=70001, mtime=6)
    for mode in (0o4755, 0o2755, 0o6711, 0o1644, 0o0000, 0o7777):
        tar.add(b"attributes/mode-%04o" % mode, data=b"%o" % mode, mode=mode)
    tar.directory(b"attributes/setgid", mode=0o2750)
    for owner in (65535, 65536, 2097151, 2097152, 2**31, 2**32 - 2):
        tar.add(b"attributes/owner-%d" % owner, uid=owner, gid=owner - 1)
    for number, (seconds, nsec) in enumerate((
            (-1, 0), (-1, 750000000), (-2, 1), (-3000000000, 999999999), (0, 1), (1, 0),
            (2**31, 5), (2**32 - 1, 999999999), (2**32, 123456789), (2**33 + 7, 100),
            (20000000000, 0))):
        tar.add(b"attributes/time-%d" % number, mtime=seconds, nsec=nsec)
    tar.directory(b"attributes/time-d", mtime=-77, nsec=77)
    tar.symlink(b"attributes/time-l", b"x", mtime=2**32 + 5, nsec=5)
    tar.add(b"attributes/fifo", kind=FIFO, mode=0o622)
    tar.add(b"attributes/null", kind=CHAR, mode=0o666, device=(1, 3))
    tar.add(b"attributes/char", kind=CHAR, mode=0o600, device=BIG_NUMBER)
    tar.add(b"attributes/block", kind=BLOCK, mode=0o660, device=BIG_NUMBER, uid=6)
    tar.add(b"attributes/block-0", kind=BLOCK, device=(259, 0))
    for length in (1, 59, 60, 100, 101, 4000, 4090, 4095):
        tar.symlink(b"attributes/link-%d" % length, b"t" * length, uid=5, gid=70000)
    tar.symlink(b"attributes/link-bytes", b"\xff/../\n")
    tar.symlink(b"attributes/link-mode", b"x", mode=0o640)  # nothing can set it: 0777


def xattrs(tar):
    tar.directory(b"xattrs", xattrs={b"user.on": b"directory", b"trusted.x": b"y"})
    for name, values in {
            b"user": {b"user.a": b"b"},
            b"user-2": {b"user.a": b"b"},
            b"trusted": {b"trusted.overlay.opaque": b"x", b"trusted.t": BINARY},
            b"security": {b"security.capability": CAPABILITY, b"security.other": b"label\0"},
            b"acl": {b"system.posix_acl_access": ACCESS},
            b"empty": {b"user.empty": b""},
            b"binary": {b"user.binary": BINARY, b"user.newline": b"\n", b"user.equals": b"a=b"},
            b"name": {b"user." + b"n" * 250: b"long name", b"security." + b"n" * 246: b"s", b"user.n=1": b"", b"user.\xff": b"x"},
            b"big": {b"user.big": noise(60000, 11)},
            b"bigger": {b"user.big": noise(65535, 12)},
            b"many": {b"user.%03d" % i: b"%d" % (i % 7) for i in range(300)}}.items():
        if name == b"name":  # pax cannot say a name with "="
            del values[b"user.n=1"]
        mode = 0o640 if name == b"acl" else 0o644  # what the ACL says of owner, mask and others
        tar.add(b"xattrs/" + name, data=name, mode=mode, xattrs=values)
    for length in (1000, 1011, 1012, 1013, 1020, 1021, 1025):  # what is stored once begins near here
        tar.add(b"xattrs/length-%d" % length, xattrs={b"user.length": noise(length, 13)})
    tar.directory(b"xattrs/default", mode=0o755, xattrs={b"system.posix_acl_default": DEFAULT})
    tar.symlink(b"xattrs/link", b"user", xattrs={b"trusted.link": b"on a link"})
    tar.add(b"xattrs/fifo", kind=FIFO, xattrs={b"trusted.fifo": b"f"})
    tar.add(b"xattrs/device", kind=CHAR, device=(1, 5), xattrs={b"security.dev": b"d"})


LIBARCHIVE = {b"user.libarchive": BINARY, b"trusted.\xfflibarchive": b"x", b"user.percent%25": b"1"}


def libarchive_xattrs(tar):
    """What bsdtar writes: the name percent-encoded, the value in base64 without padding."""
    def encoded(name):
        return b"".join(b"%%%02X" % c if c < 33 or c > 126 or c in b"%=" else bytes([c])
                        for c in name)

    records = [(b"LIBARCHIVE.xattr." + encoded(name), base64.b64encode(value).rstrip(b"="))
               for name, value in LIBARCHIVE.items()]
    tar.add(b"xattrs/libarchive", data=b"libarchive", pax=records, means={"xattrs": LIBARCHIVE})
    both = [(b"SCHILY.xattr.user.both", b"value\0"),
            (b"LIBARCHIVE.xattr.user.both", base64.b64encode(b"value\0").rstrip(b"="))]
    tar.add(b"xattrs/both", data=b"both", pax=both,
            means={"xattrs": {b"user.both": b"value\0"}})


def deep(tar):
    path = b"deep"
    for level in range(100):
        tar.directory(path, mtime=1000 + level)
        path += b"/%02d" % level
    tar.add(path, data=b"bottom")


def many(tar):
    tar.directory(b"many")
    for i in range(MANY):
        tar.add(b"many/file-%05d" % (i * 7919 % MANY), data=b"%d" % (i * 7919 % MANY), mtime=i)


def links(tar):
    """Within one layer: names before and after, of every type, attributes in the link's entry."""
    tar.directory(b"links")
    same = {"mode": 0o640, "uid": 9, "mtime": 8}
    tar.add(b"links/file", data=b"linked", xattrs={b"user.l": b"1"}, **same)
    tar.hard_link(b"links/a-before", b"links/file", **same)
    tar.hard_link(b"links/z-after", b"./links/a-before", **same)
    tar.symlink(b"links/symlink", b"nowhere", mtime=8)
    tar.hard_link(b"links/symlink-2", b"links/symlink", mode=0o777, mtime=8)
    tar.add(b"links/fifo", kind=FIFO, mtime=8)
    tar.hard_link(b"links/fifo-2", b"/links/fifo", mtime=8)
    tar.add(b"links/null", kind=CHAR, device=(1, 3), mtime=8)
    tar.hard_link(b"links/null-2", b"links/null", mtime=8)
    tar.add(b"links/twice", data=b"first version")
    tar.hard_link(b"links/of-first", b"links/twice")
    tar.add(b"links/twice", data=b"second version")
    tar.add(b"links/changed", data=b"changed", mode=0o600, uid=1, mtime=9)
    tar.hard_link(b"links/changes", b"links/changed", mode=0o4711, uid=2, gid=3, mtime=10, nsec=11)


def twice(tar):
    """One name several times in one layer: the last counts; a directory keeps what is below."""
    tar.directory(b"twice")
    tar.add(b"twice/file", data=b"first", mode=0o600, xattrs={b"user.gone": b"x"})
    tar.add(b"twice/file", data=b"the second", mode=0o644, uid=4)
    tar.directory(b"twice/kept", mode=0o700)
    tar.add(b"twice/kept/inside", data=b"inside")
    tar.directory(b"twice/kept", mode=0o711, uid=3, mtime=99)
    tar.directory(b"twice/replaced")
    tar.add(b"twice/replaced/below", data=b"gone")
    tar.add(b"twice/replaced", data=b"a file now")
    tar.add(b"twice/back", data=b"a file first")
    tar.directory(b"twice/back", mode=0o750)
    tar.add(b"twice/back/below", data=b"below")
    tar.directory(b"twice/there-and-back")
    tar.add(b"twice/there-and-back/lost", data=b"lost")
    tar.symlink(b"twice/there-and-back", b"elsewhere")
    tar.directory(b"twice/there-and-back", mode=0o701)
    tar.add(b"twice/there-and-back/found", data=b"found")


def parents(tar):
    """Entries without their parents, and parents that are symbolic links."""
    tar.add(b"no/parents/at/all", data=b"here", uid=7)
    tar.directory(b"late/known", mode=0o711)
    tar.directory(b"late", mode=0o700, uid=12, mtime=13)
    tar.directory(b"through")
    tar.directory(b"through/real", mode=0o750, mtime=14)
    tar.symlink(b"through/link", b"real", mtime=15)
    tar.add(b"through/link/file", data=b"through a link")
    tar.symlink(b"through/absolute", b"/through/real")
    tar.add(b"through/absolute/file-2", data=b"through an absolute link")
    tar.symlink(b"through/above", b"../../../through/real")
    tar.add(b"through/above/file-3", data=b"through a link beyond the root")
    tar.symlink(b"through/chain", b"above")
    tar.add(b"through/chain/file-4", data=b"through two links")
    tar.hard_link(b"through/linked", b"through/chain/file-4")


def lower(tar):
    """What the second layer changes."""
    tar.directory(b"lower", mode=0o755, mtime=20)
    for name in (b"removed", b"replaced", b"linked", b"removed-after-link", b"mode",
                 b"to-directory", b"both-1", b"both-2", b"again"):
        tar.add(b"lower/" + name, data=b"lower " + name, mode=0o640, uid=1, mtime=21,
                xattrs={b"user.lower": name, b"user.keep": b"k"})
    for name in (b"opaque", b"opaque-late", b"opaque-empty", b"opaque-only", b"removed-d",
                 b"to-file", b"kept", b"to-link", b"nested"):
        tar.directory(b"lower/" + name, mode=0o750, uid=2, mtime=22, xattrs={b"user.dir": name})
        tar.add(b"lower/" + name + b"/old", data=b"old " + name, mtime=23)
        tar.directory(b"lower/" + name + b"/sub", mtime=24)
        tar.add(b"lower/" + name + b"/sub/old", data=b"old", mtime=23)
    tar.symlink(b"lower/link-d", b"kept")
    tar.hard_link(b"lower/second-name", b"lower/replaced", mode=0o640, uid=1, mtime=21)
    tar.add(b"lower/" + NFC, data=b"composed")
    tar.add(b"lower/" + NFD, data=b"decomposed")
    tar.symlink(b"lower/symlink", b"target", mtime=21)


def changes(tar):
    """The second layer. Opaque marks and whiteouts stand before, among and after the entries."""
    tar.whiteout(b"lower/removed")
    tar.whiteout(b"lower/removed-d")
    tar.whiteout(b"lower/never-was")
    tar.whiteout(b"never/was/there")
    tar.add(b"lower/replaced", data=b"replaced in the second layer", mode=0o600, mtime=30)
    tar.hard_link(b"lower/upper-name", b"lower/linked", mode=0o640, uid=1, mtime=21,
                  xattrs={b"user.lower": b"linked", b"user.keep": b"k"})
    tar.hard_link(b"lower/to-be-kept", b"lower/removed-after-link", mode=0o640, uid=1, mtime=21)
    tar.add(b"lower/mode", data=b"lower mode", mode=0o4755, uid=70000, gid=70000, mtime=31)
    tar.directory(b"lower/to-directory", mode=0o711, mtime=32)
    tar.add(b"lower/to-directory/below", data=b"below")
    tar.add(b"lower/to-file", data=b"was a directory", mtime=33)
    tar.symlink(b"lower/to-link", b"kept", mtime=34)

    tar.opaque(b"lower/opaque")
    tar.add(b"lower/opaque/new", data=b"new")
    tar.directory(b"lower/opaque-late", mode=0o700, mtime=35)
    tar.add(b"lower/opaque-late/new", data=b"new")
    tar.add(b"lower/opaque-late/old", data=b"old, again")
    tar.opaque(b"lower/opaque-late")
    tar.opaque(b"lower/opaque-empty")
    tar.directory(b"lower/opaque-only", mode=0o700, mtime=36)
    tar.opaque(b"lower/opaque-only")
    tar.add(b"lower/nested/sub/deeper/new", data=b"new")
    tar.opaque(b"lower/nested/sub")

    tar.whiteout(b"lower/both-1")
    tar.add(b"lower/both-1", data=b"whiteout first", mtime=37)
    tar.add(b"lower/both-2", data=b"whiteout last", mtime=37)
    tar.whiteout(b"lower/both-2")
    tar.directory(b"lower/kept", mode=0o777, uid=3, mtime=38, xattrs={b"user.new": b"1"})
    tar.add(b"lower/link-d/through", data=b"through a lower link", mtime=39)
    tar.whiteout(b"lower/" + NFC)


def third(tar):
    """The third layer: links into both below, and what they linked to removed."""
    tar.hard_link(b"third/name", b"lower/linked", mode=0o640, uid=1, mtime=21)
    tar.whiteout(b"lower/removed-after-link")
    tar.hard_link(b"third/of-symlink", b"lower/symlink", mode=0o777, mtime=21)
    tar.whiteout(b"lower/again")


def fourth(tar):
    tar.whiteout(b"lower/linked")
    tar.add(b"lower/again", data=b"again", mtime=50)
    tar.hard_link(b"lower/again-2", b"lower/again", mtime=50)
    tar.add(b"sizes/same", data=noise(262144, 262144), mtime=51)
    tar.add(b"sizes/longer", data=noise(262144, 262144) + b"tail", mtime=51)
    tar.add(b"zeros/same-as-lower", data=(noise(262144, 3) + bytes(262144)) * 3 + noise(262144, 3))


def root_entry(tar):
    tar.add(b"./", kind=b"5", mode=0o751, uid=3, gid=4, mtime=1234567890, nsec=5,
            xattrs={b"user.root": b"r"})


def dialects(layers):
    """The same small things as ustar, GNU and v7, with `./` and `/` in front."""
    for dialect, prefix in (("ustar", b"./"), ("gnu", b"/"), ("gnu", b"././"), ("v7", b""),
                            ("pax", b"/./")):
        tar, top = Tar(dialect, prefix), b"dialect-" + dialect.encode() + b"-%d" % len(layers)
        tar.directory(top, mode=0o700, mtime=60)
        tar.add(top + b"/file", data=dialect.encode(), uid=1000, gid=2000, mode=0o4755, mtime=61)
        tar.hard_link(top + b"/hard", prefix + top + b"/file", uid=1000, gid=2000, mode=0o4755,
                      mtime=61)
        tar.symlink(top + b"/soft", b"file", mtime=62)
        if dialect != "v7":
            tar.add(top + b"/fifo", kind=FIFO, mtime=63)
            tar.directory(top + b"/" + b"d" * 90)
            tar.add(top + b"/" + b"d" * 90 + b"/" + b"e" * 70, data=b"long")
        if dialect in ("gnu", "pax"):
            tar.add(top + b"/" + b"f" * 255, data=b"longer", uid=2**31, gid=2**32 - 2,
                    mtime=2**34)
            tar.hard_link(top + b"/hard-long", prefix + top + b"/" + b"f" * 255, uid=2**31,
                          gid=2**32 - 2, mtime=2**34)
            tar.symlink(top + b"/soft-long", b"g" * 1000)
            tar.add(top + b"/old", mtime=-3600)
        layers.append(tar)


def layers(old="old"):
    """The corner image's layers, bottom first. old: how sparse files of the old format are written;
    umoci does not know it."""
    bottom = Tar()
    holes(bottom, old)
    for part in (root_entry, names, sizes, attributes, xattrs, libarchive_xattrs, deep, many,
                 links, twice, parents, lower):
        part(bottom)
    above = [bottom]
    for part in (changes, third, fourth):
        tar = Tar()
        part(tar)
        above.append(tar)
    dialects(above)
    return above


IMPLICIT = "a directory without an entry has the time of the unpacking"
LINK = "attributes in a hard link's entry are not read"
TIME = "nanoseconds since 1970 do not fit in 64 bits"
# path -> (what differs there, why)
UMOCI = {
    b"": ({"mtime"}, "the root's time is lost"),
    b"never": (None, "a whiteout does not make its parents"),
    b"never/was": (None, "a whiteout does not make its parents"),
    b"no": ({"mtime"}, IMPLICIT),
    b"no/parents": ({"mtime"}, IMPLICIT),
    b"no/parents/at": ({"mtime"}, IMPLICIT),
    b"third": ({"mtime"}, IMPLICIT),
    b"lower/nested/sub": ({"mtime"}, "an opaque mark changes the directory's time"),
    b"lower/nested/sub/deeper": ({"mtime"}, IMPLICIT),
    b"links/changed": ({"mode", "uid", "gid", "mtime"}, LINK),
    b"links/changes": ({"mode", "uid", "gid", "mtime"}, LINK),
    b"attributes/time-10": ({"mtime"}, TIME),
    b"xattrs/empty": ({"xattrs"}, "an empty value is taken for none"),
    b"xattrs/libarchive": ({"xattrs"}, "only SCHILY.xattr is read"),
    b"xattrs/trusted": ({"xattrs"}, "overlayfs' xattrs are left out"),
    **{b"dialect-%s/%s" % (top, name): ({"mtime"}, TIME)
       for top in (b"gnu-5", b"gnu-6", b"pax-8") for name in (b"f" * 255, b"hard-long")},
}
