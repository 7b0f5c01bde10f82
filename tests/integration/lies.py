# SPDX-License-Identifier: Apache-2.0
"""More refused converted images (damages.py has the plain ones): what two parts say of each other,
and frames that grow. Each a change to a forge.Forge of victim(), and what tarn must say.

BOOTSTRAP and MANIFEST: refused by check and mount. METADATA: by check; a mount does not look there
and reads the right bytes. CHUNKS: by check, and whoever reads the file gets EIO."""
import json
import struct

import zstandard
from corner_cases import noise
from damages import (ADDRESSES, CONTENTS, DIGESTS, EROFS, INODES, LOCATIONS, NAME_BYTES, NAMES,
                     TARGETS, UNITS, XATTRS, inode_at, names_of, u32, u64)
from reader import oci, sections
from tars import Tar

BOOTSTRAP, METADATA, CHUNKS, MANIFEST = {}, {}, {}, {}


def victim():
    one, two = Tar(), Tar()
    one.directory(b"d", mtime=3)
    one.add(b"d/atext", data=b"".join(b"%d lines\n" % i for i in range(30000)))
    one.add(b"d/data", data=noise(700000, 1))
    one.add(b"d/holes", data=b"x" + bytes(1 << 20) + b"y")
    one.add(b"d/p1", data=b"first", xattrs={b"user.a": b"1", b"user.b": b"2"})
    one.add(b"d/p2", data=b"second")
    one.directory(b"d/sub")
    one.add(b"d/sub/x", data=b"below")
    one.add(b"d/suf", data=b"linked")
    one.symlink(b"d/zlink", b"d/data")
    two.add(b"d/again", data=b"moved" + noise(700000, 1))
    two.hard_link(b"d/low", b"d/suf")
    return [one, two]


def case(registry, title, message):
    def register(change):
        assert title not in registry, title
        registry[title] = message, change
        return change
    return register


# Frames that lie about their size.

def frame(size, *blocks):
    """A zstd frame of one segment that says it has so many bytes, and these blocks."""
    return b"\x28\xb5\x2f\xfd\xe0" + u64(size) + b"".join(blocks)


def repeat(count, last=True):
    """A block of so many times the same byte."""
    return struct.pack("<I", count << 3 | 1 << 1 | last)[:3] + b"A"


GROWS = frame(1000, *[repeat(1 << 17, False)] * 100, repeat(1 << 17))
HUGE = frame(1 << 62, repeat(1))
SHORT = frame(1 << 20, repeat(1000))
WINDOW = b"\x28\xb5\x2f\xfd\x00\xff" + b"\x01\x00\x00"


# Bootstrap: the tree.

def erofs(title, message):
    def register(function):
        def change(forge):
            def edit(parts):
                function(parts[EROFS])
                forge.seal_erofs(parts[EROFS])
            forge.edit_bootstrap(edit)
        return case(BOOTSTRAP, "erofs: " + title, message)(change)
    return register


def entries_of(image, path):
    """(offset of the block, {name: number}) of a directory whose names are inline."""
    at, size = names_of(image, path)
    first = struct.unpack_from("<H", image, at + 8)[0]
    starts = [struct.unpack_from("<H", image, at + 12 * i + 8)[0] for i in range(first // 12)]
    names = [bytes(image[at + a:at + b]) for a, b in zip(starts, [*starts[1:], size])]
    return at, {name: number for number, name in enumerate(names)}


def lead(image, directory, name, nid, kind=None):
    """Lets a name lead to another inode."""
    at, numbers = entries_of(image, directory)
    place = at + 12 * numbers[name]
    struct.pack_into("<Q", image, place, nid)
    if kind is not None:
        image[place + 10] = kind


def nid_at(image, path):
    return inode_at(image, path) // 32


def rename(image, directory, name, new):
    at, numbers = entries_of(image, directory)
    offset = at + struct.unpack_from("<H", image, at + 12 * numbers[name] + 8)[0]
    image[offset:offset + len(new)] = new


@erofs("two entries of one name", r"'?p1'?.*(order|twice)|not ascend|order|twice")
def _(image):
    rename(image, b"d", b"p2", b"p1")


@erofs("a second ..", r"order|name|twice")
def _(image):
    rename(image, b"d", b"p1", b"..")


@erofs("a cycle of two directories", r"director|parent|\.\.|second")
def _(image):
    lead(image, b"d/sub", b"x", nid_at(image, b"d"), 2)


@erofs("a directory with two names", r"out of place|second")
def _(image):
    lead(image, b"d", b"p1", nid_at(image, b"d/sub"), 2)


@erofs("a directory that holds itself", r"director|second|parent|link")
def _(image):
    lead(image, b"d", b"sub", nid_at(image, b"d"))


@erofs(". that leads elsewhere", r"'\.'|\.")
def _(image):
    lead(image, b"d/sub", b".", nid_at(image, b"d"))


@erofs(".. that leads elsewhere", r"'\.\.'|\.\.")
def _(image):
    lead(image, b"d/sub", b"..", nid_at(image, b"d/sub"))


@erofs("two files that are one", r"out of place|link")
def _(image):
    lead(image, b"d", b"p2", nid_at(image, b"d/p1"))


def body(image, path):
    """Offset behind the inode, where its xattrs begin."""
    at = inode_at(image, path)
    return at + (64 if image[at] & 1 else 32)


@erofs("xattr beyond its inode", r"xattr")
def _(image):
    struct.pack_into("<H", image, body(image, b"d/p1") + 12 + 2, 0xFFFF)


@erofs("xattrs without end", r"xattr")
def _(image):
    struct.pack_into("<H", image, inode_at(image, b"d/p1") + 2, 0xFFFF)


@erofs("255 shared xattrs that are not there", r"xattr|shared")
def _(image):
    image[body(image, b"d/p1") + 4] = 255


@erofs("xattr of an unknown namespace", r"xattr|index")
def _(image):
    image[body(image, b"d/p1") + 12 + 1] = 200


@erofs("two xattrs of one name", r"xattr|order|twice")
def _(image):
    at = bytes(image).index(b"b2", body(image, b"d/p1"))
    image[at:at + 1] = b"a"


@erofs("a xattr filter that hides", r"filter")
def _(image):
    struct.pack_into("<I", image, body(image, b"d/p1"), 0xFFFFFFFF)


@erofs("a file in a slot that is not there", r"slot|device")
def _(image):
    struct.pack_into("<H", image, body(image, b"d/p2") + 2, 77)


@erofs("a file beyond its data space", r"beyond|data space|device|block")
def _(image):
    struct.pack_into("<I", image, body(image, b"d/p2") + 4, 0xFFFFFFF0)


@erofs("a symbolic link of 0 bytes", r"symbolic|link|size|target")
def _(image):
    struct.pack_into("<I", image, inode_at(image, b"d/zlink") + 8, 0)


@erofs("a symbolic link of 1 GiB", r"symbolic|link|size|target|beyond")
def _(image):
    struct.pack_into("<I", image, inode_at(image, b"d/zlink") + 8, 1 << 30)


@erofs("a symbolic link with NUL", r"symbolic|NUL|target")
def _(image):
    at = bytes(image).index(b"d/data", body(image, b"d/zlink"))
    image[at + 1] = 0


@erofs("a directory of 1 GiB", r"director|beyond|size|inline|name")
def _(image):
    struct.pack_into("<I", image, inode_at(image, b"d/sub") + 8, 1 << 30)


# Bootstrap: chunk tables.

def rows_of(forge):
    """[(kind, row number of the bootstrap)] of the second blob, and its first row."""
    parts = forge.sections(forge.bootstrap, b"TARNBOOT")
    first, count = struct.unpack_from("<II", parts[2], 128 + 96)
    locations = [struct.unpack_from("<Q", parts[LOCATIONS], 8 * (first + i))[0]
                 for i in range(count - 1)]
    return first, locations


def reference(blob, address):
    return 1 << 63 | blob << 44 | address


def tables(title, message):
    """change(parts, first row of blob 1, number of its first reference)"""
    def register(function):
        def change(forge):
            first, locations = rows_of(forge)
            number = next(i for i, location in enumerate(locations) if location >> 63)
            forge.edit_bootstrap(lambda parts: function(parts, first, number))
        return case(BOOTSTRAP, "tables: " + title, message)(change)
    return register


def copy_row(parts, source, target):
    """All but the address."""
    parts[LOCATIONS][8 * target:8 * target + 8] = parts[LOCATIONS][8 * source:8 * source + 8]
    parts[DIGESTS][32 * target:32 * target + 32] = parts[DIGESTS][32 * source:32 * source + 32]


@tables("reference to a reference", r"names a (reference|chunk of another)|names no chunk")
def _(parts, first, number):
    address = struct.unpack_from("<Q", parts[ADDRESSES], 8 * (first + number))[0]
    struct.pack_into("<Q", parts[LOCATIONS], 8 * (first + number + 1), reference(1, address))


@tables("reference to what comes later", r"forwards|reference")
def _(parts, first, number):
    address = struct.unpack_from("<Q", parts[ADDRESSES], 8 * (first + number + 1))[0]
    struct.pack_into("<Q", parts[LOCATIONS], 8 * (first + number), reference(1, address))


@tables("reference into the middle of a chunk", r"names no chunk")
def _(parts, first, number):
    at = 8 * (first + number)
    struct.pack_into("<Q", parts[LOCATIONS], at,
                     struct.unpack_from("<Q", parts[LOCATIONS], at)[0] + 1)


@tables("reference beyond the data space", r"beyond the data space|names no chunk")
def _(parts, first, number):
    struct.pack_into("<Q", parts[LOCATIONS], 8 * (first + number), reference(0, (1 << 44) - 4096))


@tables("reference to another digest", r"another digest")
def _(parts, first, number):
    parts[DIGESTS][32 * (first + number)] ^= 1


@tables("reference to another length", r"another length")
def _(parts, first, number):
    at = 8 * (first + number)
    target = struct.unpack_from("<Q", parts[LOCATIONS], at)[0] & (1 << 44) - 1
    addresses = [address for address, in struct.iter_unpack("<Q", parts[ADDRESSES][:8 * first])]
    before = addresses[addresses.index(target) - 1]
    struct.pack_into("<Q", parts[LOCATIONS], at, reference(0, before))


@tables("chunk shorter than all", r"row 0: chunk is shorter than the chunker allows")
def _(parts, *_):
    struct.pack_into("<Q", parts[ADDRESSES], 8, 8191)


@tables("chunks that overlap", r"does not follow")
def _(parts, *_):
    location = struct.unpack_from("<Q", parts[LOCATIONS], 8)[0]
    struct.pack_into("<Q", parts[LOCATIONS], 8, location & ~((1 << 44) - 1))


@tables("a gap between chunks", r"does not follow")
def _(parts, *_):
    location = struct.unpack_from("<Q", parts[LOCATIONS], 8)[0]
    struct.pack_into("<Q", parts[LOCATIONS], 8, location + 8)


@tables("raw chunk of another length", r"raw chunk|does not follow|not smaller")
def _(parts, *_):
    location = struct.unpack_from("<Q", parts[LOCATIONS], 0)[0]
    struct.pack_into("<Q", parts[LOCATIONS], 0, location ^ (1 << 44))


@tables("frame that is no smaller than its chunk", r"not smaller|raw chunk")
def _(parts, *_):
    location = struct.unpack_from("<Q", parts[LOCATIONS], 0)[0]
    struct.pack_into("<Q", parts[LOCATIONS], 0, location ^ (1 << 62))


@tables("digest of a gap row", r"gap row")
def _(parts, *_):
    parts[DIGESTS][-1] = 1


# Bootstrap: the layer that carries it.

def carried(title, message):
    """A case that packs the bootstrap otherwise: function(tar, packed) -> packed."""
    def register(function):
        def change(forge):
            def pack(bootstrap):
                packed, tar = forge.pack_bootstrap(bootstrap)
                return function(tar, packed), tar
            forge.pack = pack
        return case(BOOTSTRAP, "layer: " + title, message)(change)
    return register


def zstd(data, **more):
    return zstandard.ZstdCompressor(**more).compress(data)


ONE_FRAME = r"bootstrap layer: not one zstd frame|bootstrap layer: damaged"
ARCHIVE = r"not an archive of tarn/bootstrap alone"
carried("no zstd", ONE_FRAME)(lambda tar, _: tar)
carried("nothing", ONE_FRAME + "|size")(lambda *_: b"")
carried("frame without its size", ONE_FRAME)(lambda tar, _: zstd(tar, write_content_size=False))
carried("two frames", ONE_FRAME)(lambda tar, _: zstd(tar[:512]) + zstd(tar[512:]))
carried("garbage behind", ONE_FRAME)(lambda _, packed: packed + b"garbage")
carried("cut off", ONE_FRAME)(lambda _, packed: packed[:-10])
carried("frame that grows past its size", r"damaged|out of range")(lambda *_: GROWS)
carried("frame of 2^62 bytes", r"out of range")(lambda *_: HUGE)
carried("a bomb of 3 GiB", r"3221225472 bytes in \d+, more than 256 to one")(
    lambda *_: frame(3 << 30, *[repeat(1 << 17, False)] * (3 * 8192 - 1), repeat(1 << 17)))
carried("frame shorter than it says", r"damaged|archive")(lambda *_: SHORT)
carried("window of 4 TiB", ONE_FRAME)(lambda *_: WINDOW)
carried("empty archive", r"out of range|archive")(lambda *_: zstd(bytes(1024)))
carried("member of another name", ARCHIVE)(
    lambda tar, _: zstd(tar.replace(b"tarn/bootstrap", b"tarn/bootstraq", 1)))
carried("member with another mode", ARCHIVE)(
    lambda tar, _: zstd(tar[:100] + b"0004777" + tar[107:]))
carried("member that is a link", ARCHIVE)(lambda tar, _: zstd(tar[:156] + b"1" + tar[157:]))
carried("member larger than the archive", ARCHIVE)(
    lambda tar, _: zstd(tar[:124] + b"77777777777" + tar[135:]))
carried("member of 0 bytes", ARCHIVE)(lambda tar, _: zstd(tar[:124] + b"0" * 11 + tar[135:]))
carried("a second member", ARCHIVE)(lambda tar, _: zstd(tar[:-1024] + tar))
carried("bytes behind the member", ARCHIVE)(lambda tar, _: zstd(tar[:-1] + b"x"))


# Layer metadata.

def metadata(title, message, layer, change):
    def forged(forge):
        forge.edit_metadata(layer, change)
        forge.point_to_blobs()
    case(METADATA, title, message)(forged)


def put(section, offset, value):
    def change(parts):
        at = len(parts[section]) + offset if offset < 0 else offset
        assert at + len(value) <= len(parts[section]), "the section is shorter"
        parts[section][at:at + len(value)] = value
    return change


def swap(section, old, new):
    def change(parts):
        at = bytes(parts[section]).index(old)
        parts[section][at:at + len(new)] = new
    return change


metadata("hard link with ..", r"target of a lower link is no path", 1,
         swap(TARGETS, b"d/suf", b"../su"))
metadata("hard link with a leading /", r"no path", 1, swap(TARGETS, b"d/suf", b"/dsuf"))
metadata("hard link with NUL", r"no path", 1, swap(TARGETS, b"d/suf", b"d/s\0f"))
metadata("hard link to nothing", r"hard link.*'d/sux'", 1, swap(TARGETS, b"d/suf", b"d/sux"))
metadata("hard link to a directory", r"hard link.*'d/sub'", 1, swap(TARGETS, b"d/suf", b"d/sub"))
metadata("hard link to itself", r"hard link.*'d/low'|'d/low'.*hard link", 1,
         swap(TARGETS, b"d/suf", b"d/low"))
metadata("symbolic link with NUL", r"NUL", 0, swap(TARGETS, b"d/data", b"d/d\0ta"))
metadata("two names alike", r"twice|order", 0, swap(NAME_BYTES, b"p1p2", b"p1p1"))
metadata("name ..", r"name", 0, swap(NAME_BYTES, b"p1p2", b"..p2"))
metadata("name with NUL", r"name", 0, swap(NAME_BYTES, b"p1p2", b"p\0p2"))
metadata("names out of order", r"order", 0, swap(NAME_BYTES, b"p1p2", b"zzp2"))
metadata("name longer than all names", r"0x0105|name", 0, put(NAMES, 12 + 8, b"\xff\xff"))
metadata("file that is its own parent", r"parent", 0, put(NAMES, 24, u32(2)))
metadata("owner 2^32 - 1", r"owner", 0, put(INODES, 8, u32(2**32 - 1)))
metadata("device number of a directory", r"device", 0, put(INODES, 32, u64(1 << 32)))
metadata("target of a directory", r"target|0x0106", 0, put(INODES, 48, u32(3)))
metadata("content of a directory", r"content", 0, put(INODES, 52, u32(1)))
metadata("2^31 xattrs", r"xattr", 0, put(XATTRS, 0, u32(1 << 31)))
metadata("xattr name beyond the section", r"xattr", 0, put(XATTRS, 4, u32(1 << 30)))
metadata("xattr value beyond the section", r"xattr", 0, put(XATTRS, 8, u32(60000)))
metadata("two xattrs of one name", r"xattr", 0, swap(XATTRS, b"user.b", b"user.a"))
metadata("xattr of an unknown namespace", r"xattr", 0, swap(XATTRS, b"user.a", b"uses.a"))
metadata("contents that overlap", r"contents record 1: overlaps", 0, put(CONTENTS, 64 + 40, u64(0)))
metadata("content beyond the data space", r"beyond", 0, put(CONTENTS, 40, u64(1 << 40)))
metadata("the same content twice", r"twice|behind", 0,
         lambda parts: put(CONTENTS, 64, bytes(parts[CONTENTS][:40]))(parts))
metadata("extent beyond the file", r"extents", 0, put(UNITS, 4, u32(1 << 30)))
metadata("extents that are not there", r"extents", 0,
         lambda parts: put(CONTENTS, 64 + 60, u32(1 << 31))(parts))


def built(title, message, kind, made):
    """A section of layer 0's metadata whose stored bytes are these."""
    def change(forge):
        offset, length, _ = forge.metas[0]
        parts = forge.sections(forge.blobs[0][offset:offset + length], b"TARNMETA")
        forms = sections.FORMS[b"TARNMETA"]
        number = [k for k, _ in forms].index(kind)
        data = sections.transpose(bytes(parts[number]), forms[number][1] >> 8 or 1)

        def encode(plain):
            stored = forge.encoder.frame(plain, 9)
            return made(stored) if plain == data else stored
        forge.set_metadata(0, sections.build(b"TARNMETA", [bytes(p) for p in parts], encode))
        forge.point_to_blobs()
    case(METADATA, title, message)(change)


SECTION = r"0x0105"
built("a bomb of 3 GiB", r"offset \d+: section 0x0104: with its 3221225472 bytes it costs more than "
      "256 MiB and 1024 times its length", 0x0104,
      lambda _: frame(3 << 30, *[repeat(1 << 17, False)] * (3 * 8192 - 1), repeat(1 << 17)))
built("many names", r"section 0x0104: with its 31457280 bytes it costs", 0x0104,
      lambda _: frame(30 << 20, *[repeat(1 << 17, False)] * 239, repeat(1 << 17)))
built("frame that grows past its size", SECTION, 0x0105, lambda _: GROWS)
built("frame of 2^62 bytes", SECTION, 0x0105, lambda _: HUGE)
built("frame shorter than it says", SECTION, 0x0105, lambda _: SHORT)
built("window of 4 TiB", SECTION, 0x0105, lambda _: WINDOW)
built("frame with garbage behind", SECTION, 0x0105, lambda stored: stored + b"garbage!")
built("frame cut off", SECTION, 0x0105, lambda stored: stored[:-3])
built("no frame", SECTION, 0x0105, lambda stored: noise(len(stored), 4))


# Chunks. The value in CHUNKS has the file that cannot be read as a third.

def chunk(title, message, raw, make):
    """Other stored bytes in the place of a chunk's that is raw or not: make(them, its length)."""
    def change(forge):
        parts = forge.sections(forge.bootstrap, b"TARNBOOT")
        locations = [location for location, in struct.iter_unpack("<Q", parts[LOCATIONS])]
        number = next(i for i in range(1, len(locations)) if locations[i] >> 62 == raw)
        location = locations[number]
        start, end = struct.unpack_from("<QQ", parts[ADDRESSES], 8 * number)
        offset, length = location & (1 << 44) - 1, (location >> 44 & 0x1FFFF) + 1
        made = make(bytes(forge.blobs[0][offset:offset + length]), end - start)
        forge.blobs[0][offset:offset + length] = fill(made, length)
        forge.seal_directory(forge.blobs[0], 0, b"TARNBLOB")
        forge.point_to_blobs()
    CHUNKS[title] = message, change, "d/data" if raw else "d/atext"


def fill(stored, length):
    """Up to this length by a skippable frame, which counts as none."""
    if len(stored) == length:
        return stored
    return stored + b"\x50\x2a\x4d\x18" + u32(length - len(stored) - 8) + bytes(
        length - len(stored) - 8)


WRONG, DAMAGED = r"digest is wrong", r"cannot be decoded|digest is wrong"
chunk("raw bytes of another order", WRONG, 1, lambda old, _: old[::-1])
chunk("compressed bytes of another order", DAMAGED, 0, lambda old, _: old[::-1])
chunk("frame that grows past the chunk", DAMAGED, 0,
      lambda _, length: frame(length, *[repeat(1 << 17, False)] * 50, repeat(1 << 17)))
chunk("frame of the right length and other bytes", DAMAGED, 0,
      lambda _, length: frame(length, repeat(length)))
chunk("frame of 2^62 bytes", DAMAGED, 0, lambda *_: HUGE)
chunk("frame shorter than the chunk", DAMAGED, 0, lambda *_: frame(10, repeat(10)))
chunk("window of 4 TiB", DAMAGED, 0, lambda *_: WINDOW)
chunk("two frames", DAMAGED, 0,
      lambda _, length: frame(1, repeat(1)) + frame(length - 1, repeat(length - 1)))
chunk("no frame", DAMAGED, 0, lambda old, _: bytes(len(old)))


# Manifest.

def manifest(title, message):
    def register(function):
        case(MANIFEST, title, message)(lambda forge: setattr(forge, "finish", function))
    return register


def document(title, message):
    """A case of the manifest's bytes: function(bytes) -> bytes."""
    def register(function):
        def change(forge):
            forge.encode_manifest = lambda value: function(oci.compact(value))
        case(MANIFEST, title, message)(change)
    return register


document("two keys of one name", r"not JSON: duplicate")(
    lambda text: text[:-1] + b',"layers":[]}')
document("nested 100,000 deep", r"not JSON|more than 65536 values")(
    lambda text: text[:-1] + b',"a":' + b"[" * 100000 + b"]" * 100000 + b"}")
document("over 4 MiB", r"4194304|4 MiB|limit|larger")(
    lambda text: text[:-1] + b',"a":"' + b"x" * (5 << 20) + b'"}')
document("cut off", r"not JSON")(lambda text: text[:-1])
document("text that is no UTF-8", r"not JSON")(lambda text: text[:-1] + b',"a":"\xff"}')
document("NUL in a string", r"not JSON")(lambda text: text[:-1] + b',"a":"\\u0000"}')
document("an array", r"not a JSON object|not JSON|mediaType")(lambda text: b"[" + text + b"]")


@manifest("70,000 layers", r"more than 65536 values")
def _(forge):
    forge.manifest["layers"] = [{}] * 70000


@manifest("bootstrap layer smaller than it is", r"bytes")
def _(forge):
    forge.manifest["layers"][-1]["size"] -= 1


@manifest("bootstrap layer larger than it is", r"bytes")
def _(forge):
    forge.manifest["layers"][-1]["size"] += 1


@manifest("bootstrap layer of 2^62 bytes", r"bytes|size")
def _(forge):
    forge.manifest["layers"][-1]["size"] = 1 << 62


@manifest("layer of 2^63 bytes", r"not JSON|size")
def _(forge):
    forge.manifest["layers"][0]["size"] = 1 << 63


@manifest("blob of another size than the bootstrap says", r"size|bootstrap|blob")
def _(forge):
    forge.manifest["layers"][0]["size"] += 1


@manifest("one blob twice", r"blob|layer|bootstrap")
def _(forge):
    forge.manifest["layers"][1] = json.loads(json.dumps(forge.manifest["layers"][0]))


@manifest("blob of another digest", r"blob|digest|bootstrap")
def _(forge):
    forge.manifest["layers"][0]["digest"] = "sha256:" + "0" * 64


@manifest("no layers", r"layers")
def _(forge):
    forge.manifest["layers"] = []


@manifest("config of another digest", r"config|sha256:0{64}")
def _(forge):
    forge.manifest["config"]["digest"] = "sha256:" + "0" * 64


@manifest("layer with a path for a digest", r"sha256:\.\.")
def _(forge):
    forge.manifest["layers"][0]["digest"] = "sha256:../../../../etc/passwd"


@manifest("encrypted bootstrap", r"encrypted|media type|bootstrap")
def _(forge):
    forge.manifest["layers"][-1]["mediaType"] += "+encrypted"
