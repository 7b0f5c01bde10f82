# SPDX-License-Identifier: Apache-2.0
"""The corpus of refused converted images: each a change to a forge.Forge, and what tarn must say.

All digests and checksums are right afterwards, so that only the rule itself can refuse the image.
Cases of BOOTSTRAP must be refused by whoever mounts or lists; those of BLOBS by `tarn check`."""
import hashlib
import struct

from reader import sections
from reader.erofs import Reader, filter_bit

BOOTSTRAP, BLOBS, MANIFEST = {}, {}, {}
EROFS, IMAGE, RECORDS, ADDRESSES, LOCATIONS, DIGESTS = range(6)
(LAYER, BLOB_RECORDS, INODES, NAMES, NAME_BYTES, TARGETS, XATTRS, CONTENTS, UNITS, ROW_ADDRESSES,
 ROW_LOCATIONS, ROW_DIGESTS) = range(12)


def trailer(title, message, offset, value, part="bootstrap"):
    """A case that changes bytes of a container's trailer (offset from its start)."""
    def change(forge):
        data = forge.bootstrap if part == "bootstrap" else forge.blobs[0]
        at = len(data) - sections.TRAILER + offset
        data[at:at + len(value)] = value
        forge.seal_directory(data, 0, None)
        if part == "blob":
            forge.point_to_blobs()
    (BOOTSTRAP if part == "bootstrap" else BLOBS)[f"{part}: {title}"] = message, change


def entry(title, message, number, offset, value, part="bootstrap"):
    """A case that changes bytes of a directory entry."""
    def change(forge):
        data = forge.bootstrap if part == "bootstrap" else forge.blobs[0]
        count = struct.unpack_from("<I", data, len(data) - sections.TRAILER + 12)[0]
        at = len(data) - sections.TRAILER - sections.ENTRY * (count - number) + offset
        data[at:at + len(value)] = value
        forge.seal_directory(data, 0, None)
        if part == "blob":
            forge.point_to_blobs()
    (BOOTSTRAP if part == "bootstrap" else BLOBS)[f"{part}: {title}"] = message, change


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


for _part, _count in (("bootstrap", 6), ("blob", 2)):
    trailer("another magic", r"magic", 0, b"TARNNONE", _part)
    trailer("format version 2", r"version 2", 8, u32(2), _part)
    trailer("65 sections", r"65|sections|entries", 12, u32(65), _part)
    trailer("unknown incompat flag", r"incompat|0x80", 20, u32(0x80), _part)
    trailer("another length", r"length|bytes", 24, u64(4096), _part)
    trailer("reserved bytes", r"reserved|zero", 40, b"\1", _part)
    entry("unknown required section", r"0x7fff", _count - 1, 0, u32(0x7FFF), _part)
    entry("unknown section flag", r"flag", 0, 4, u32(1 | 1 << 20), _part)
    entry("section beyond the end", r"section|0x", _count - 1, 8, u64(1 << 40), _part)
    entry("section that overlaps", r"section|0x|offset", _count - 1, 8, u64(0), _part)
    entry("section of 2^64 - 1 bytes", r"section|0x|length", _count - 1, 16, u64(2**64 - 1), _part)


def boot(title, message):
    """A case that changes the sections of the bootstrap."""
    def register(change):
        BOOTSTRAP[title] = message, lambda forge: forge.edit_bootstrap(change)
    return register


def patch(section, offset, value):
    def change(parts):
        parts[section][offset:offset + len(value)] = value
    return change


for _title, _message, _section, _offset, _value in (
        ("image: another chunker", r"chunker", IMAGE, 0, u32(9)),
        ("image: another run length", r"parameter|run", IMAGE, 20, u32(1)),
        ("image: more blobs in the chain than there are", r"chain|blobs", IMAGE, 28, u32(500)),
        ("image: more slots than there are", r"slot", IMAGE, 36, u32(77)),
        ("image: another number of inodes", r"inodes", IMAGE, 40, u64(3)),
        ("image: another number of names", r"names", IMAGE, 48, u64(3)),
        ("image: reserved bytes", r"reserved|zero", IMAGE, 100, b"\1"),
        ("tables: unknown compression", r"compression", RECORDS, 104, u32(7)),
        ("tables: encrypted blob", r"encrypt", RECORDS, 108, u32(1)),
        ("tables: rows beyond the end", r"row", RECORDS, 100, u32(1 << 30)),
        ("tables: first row of another blob", r"row", RECORDS, 96, u32(1)),
        ("tables: slot of nothing", r"slot", RECORDS, 112, u32(9)),
        ("tables: unknown role", r"role", RECORDS, 116, u32(5)),
        ("tables: reserved field of a record", r"reserved|zero", RECORDS, 120, b"\1"),
        ("tables: data space of 2^60", r"data space|data", RECORDS, 40, u64(1 << 60)),
        ("tables: metadata outside of the blob", r"metadata", RECORDS, 48, u64(1 << 50)),
        ("tables: first address is not 0", r"address|row", ADDRESSES, 0, u64(1)),
        ("tables: addresses that descend", r"address|row|ascend", ADDRESSES, 8, u64(0)),
        ("tables: chunk of 256 KiB", r"row|chunk|length|bytes", ADDRESSES, 8, u64(1 << 18)),
        ("tables: offset beyond the blob", r"row|offset", LOCATIONS, 0,
         u64(1 << 61 | 1000 << 44 | (1 << 43))),
        ("tables: reference to no blob", r"row|blob|refer", LOCATIONS, 8,
         u64(1 << 63 | 60000 << 44)),
        ("tables: reference to itself", r"row|refer", LOCATIONS, 0, u64(1 << 63)),
        ("tables: gap in a blob of the chain", r"gap|row", LOCATIONS, 8, u64(2**64 - 1)),
        ("tables: run that begins nowhere", r"run|row", LOCATIONS, 0, u64(999 << 44))):
    boot(_title, _message)(patch(_section, _offset, _value))


def erofs(title, message, offset=None, value=b"", seal=True):
    """A case that changes the EROFS image: bytes at an offset, or by a function."""
    def register(function):
        def change(parts):
            function(parts[EROFS])
            if seal:
                from forge import Forge
                Forge.seal_erofs(parts[EROFS])
        BOOTSTRAP["erofs: " + title] = message, lambda forge: forge.edit_bootstrap(change)
        return function

    def plain(image):
        image[offset:offset + len(value)] = value
    return register(plain) if offset is not None else register


erofs("wrong checksum", r"checksum", 1024 + 48, b"\xff\xff", seal=False)
erofs("another magic", r"magic", 1024, u32(1))
erofs("unknown incompat flag", r"incompat|feature", 1024 + 80, u32(0x8000))
erofs("blocks of 64 KiB", r"block", 1024 + 12, b"\x10")
erofs("root that is none", r"root", 1024 + 14, b"\xff\xff")
erofs("more blocks than there are", r"block", 1024 + 36, u32(1 << 20))
erofs("fewer blocks than there are", r"block", 1024 + 36, u32(0))
erofs("uuid of another tree", r"uuid", 1024 + 48, b"\xff" * 16)
erofs("slot with another digest", r"slot|device|digest", 1152, b"0" * 64)
erofs("slot with other blocks", r"slot|device|blocks", 1152 + 64, u32(1))
erofs("slot with a mapped address", r"slot|device|mapped|address", 1152 + 68, u32(5))
erofs("bytes before the superblock", r"super|zero|byte", 100, b"\1")


def inode_at(image, path):
    """Offset of the inode at a path."""
    reader = Reader(memoryview(bytes(image)))
    inode = reader.root
    for name in path.split(b"/"):
        inode = inode.children[name]
    return next(32 * nid for nid, found in reader.nids.items() if found is inode)


def inode(title, message, path, offset, value):
    def change(image):
        at = inode_at(image, path) + offset
        image[at:at + len(value)] = value
    erofs(title, message)(change)


inode("inode of an unknown layout", r"layout|format", b"d/data", 0, struct.pack("<H", 1 | 7 << 1))
inode("inode with a wrong link count", r"link", b"d/again", 6, b"\7")
inode("inode of no type", r"type|mode", b"d/data", 4, struct.pack("<H", 0o644))
inode("inode with reserved bytes", r"reserved|zero", b"d/again", 12, b"\1")
inode("file of 2^60 bytes", r"size|limit|index|beyond|d/data|inode", b"d/data", 8, u64(1 << 60))
inode("chunk format with an unknown bit", r"chunk|format", b"d/data", 16, u32(0x2A | 1 << 10))
inode("nanoseconds beyond a second", r"nanosec|mtime|time", b"d", 40, u32(10**9))


@erofs("xattr whose name is too long with its prefix", r"an xattr is out of bounds")
def _(image):
    name = b"n" * 250  # of d/long; behind "trusted." instead of "user." it has 258 bytes
    at = bytes(image).index(b"\xfa\x01\x01\x00" + name)
    image[at + 1] = 4
    image[at - 12:at - 8] = u32(0xFFFFFFFF & ~filter_bit(4, name))


def names_of(image, path):
    """(offset, length) of a directory's inline tail."""
    at = inode_at(image, path)
    form, count = struct.unpack_from("<HH", image, at)
    size = struct.unpack_from("<Q" if form & 1 else "<I", image, at + 8)[0]
    head = 64 if form & 1 else 32
    return at + head + (12 + 4 * (count - 1) if count else 0), size


def directory(title, message):
    def register(function):
        def change(image):
            at, size = names_of(image, b"d")
            block = image[at:at + size]
            function(block)
            image[at:at + size] = block
        erofs("directory: " + title, message)(change)
    return register


@directory("name with a slash", r"name")
def _(block):
    at = bytes(block).index(b"data")
    block[at + 1:at + 2] = b"/"


@directory("name with NUL", r"name|zero|NUL")
def _(block):
    at = bytes(block).index(b"data")
    block[at + 1:at + 2] = b"\0"


@directory("names out of order", r"order|sorted|ascend")
def _(block):
    at = bytes(block).index(b"data")
    block[at:at + 4] = b"zzzz"


@directory("wrong type in a listing", r"type")
def _(block):
    block[10 + 12 * 2] = 3


@directory("name offset outside of the block", r"name")
def _(block):
    block[8 + 12:10 + 12] = b"\xff\x0f"


@directory("entry that leads nowhere", r"nid|inode|beyond|bound")
def _(block):
    block[12 * 3:12 * 3 + 8] = u64(1 << 40)


@directory("entry that leads back to its directory", r"director|loop|link|nid|type")
def _(block):
    block[12 * 3:12 * 3 + 8] = block[0:8]


# Blobs.
def meta(title, message, section, offset, value):
    def change(parts):
        at = len(parts[section]) + offset if offset < 0 else offset
        assert at + len(value) <= len(parts[section]), "the section is shorter"
        parts[section][at:at + len(value)] = value

    def forged(forge):
        forge.edit_metadata(1, change)
        forge.point_to_blobs()
    BLOBS["metadata: " + title] = message, forged


for _title, _message, _section, _offset, _value in (
        ("another chunker", r"chunker", LAYER, 0, u32(2)),
        ("another chain index", r"0x0101", LAYER, 44, u32(0)),
        ("data space that is no multiple of 4,096", r"data space|data", LAYER, 48, u64(4097)),
        ("another number of inodes", r"inodes|count", LAYER, 64, u32(1)),
        ("another number of names", r"names|count", LAYER, 68, u32(1)),
        ("reserved bytes of the header", r"reserved|zero", LAYER, 100, b"\1"),
        ("inode with a reserved field", r"reserved|zero", INODES, 4, u32(1)),
        ("inode of no type", r"type|mode", INODES, 64, u32(0o1644 | 0o30000)),
        ("inode with an unknown xattr set", r"xattr", INODES, 28, u32(500)),
        ("inode with an unknown content", r"content", INODES, 64 + 52, u32(500)),
        ("nanoseconds beyond a second", r"nanosec|mtime|time", INODES, 24, u32(10**9)),
        ("name below a file", r"parent|director", NAMES, -12, u32(2)),
        ("name below a later one", r"parent", NAMES, -12, u32(500)),
        ("name with an unknown flag", r"flag", NAMES, -2, b"\x80\0"),
        ("name of an unknown inode", r"inode", NAMES, -8, u32(500)),
        ("name of 0 bytes", r"name", NAMES, -4, b"\0\0"),
        ("name with a slash", r"name", NAME_BYTES, 1, b"/"),
        ("content of an unknown kind", r"kind", CONTENTS, 48, u32(7)),
        ("content that a later layer holds", r"holder|content", CONTENTS, 52, u32(9)),
        ("content at an odd address", r"address|content", CONTENTS, 40, u64(5)),
        ("content of 2^60 bytes", r"size|content", CONTENTS, 32, u64(1 << 60)),
        ("addresses that descend", r"address|row|ascend", ROW_ADDRESSES, 8, u64(0)),
        ("reference to a later blob", r"row|refer|blob", ROW_LOCATIONS, 0, u64(1 << 63 | 5 << 44)),
        ("no gap at the end", r"gap|row|last", ROW_LOCATIONS, -8, u64(1 << 61))):
    meta(_title, _message, _section, _offset, _value)


# Manifest.
def manifest(title, message):
    def register(function):
        MANIFEST[title] = message, lambda forge: setattr(forge, "finish", function)
        return function
    return register


def note(title, message, layer, key, value):
    def change(forge):
        notes = forge.manifest["layers"][layer]["annotations"]
        if value is None:
            del notes[key]
        else:
            notes[key] = value
    manifest(title, message)(change)


note("no metadata range", r"dev\.tarn\.meta", 0, "dev.tarn.meta", None)
note("metadata range that is none", r"dev\.tarn\.meta", 0, "dev.tarn.meta", "1,2")
note("metadata range beyond the blob", r"dev\.tarn\.meta|metadata", 0, "dev.tarn.meta",
     "99999999999,64,sha256:" + "0" * 64)
note("no bootstrap digest", r"dev\.tarn\.bootstrap-digest", -1, "dev.tarn.bootstrap-digest", None)
note("another bootstrap digest", r"bootstrap.*digest|digest.*bootstrap", -1,
     "dev.tarn.bootstrap-digest", "sha256:" + hashlib.sha256(b"").hexdigest())
note("no tree digest", r"dev\.tarn\.tree-digest", -1, "dev.tarn.tree-digest", None)
note("format 2", r"dev\.tarn\.format|format", -1, "dev.tarn.format", "2")
note("unknown role", r"role", 0, "dev.tarn.role", "what")


@manifest("no bootstrap", r"bootstrap")
def _(forge):
    forge.manifest["layers"][-1]["annotations"].pop("containerd.io/snapshot/tarn-bootstrap")


@manifest("layers in another order", r"blob|layer|bootstrap|order")
def _(forge):
    layers = forge.manifest["layers"]
    layers[0], layers[1] = layers[1], layers[0]
