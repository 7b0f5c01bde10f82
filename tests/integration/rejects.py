# SPDX-License-Identifier: Apache-2.0
"""The corpus of refused sources: each a way to make one, and what tarn must say about it.

A case gets a directory and returns the SOURCE argument of `tarn convert`. The message is a regular
expression."""
import json
from pathlib import Path

import tars
from corner_cases import noise
from oci_layout import LAYER, LayoutBuilder, gzipped, sha256, zstd
from tars import Tar, damage, header, pad, rechecked

CASES = {}


def case(message, name=None):
    """Registers a case under its function's name."""
    def register(function):
        CASES[name or function.__name__] = message, function
        return function
    return register


def image_of(directory, layer, compression=""):
    """A layout whose image has one good layer and this one above it (bytes or a Tar)."""
    below = Tar()
    below.add(b"below", data=b"a good layer")
    below.directory(b"d")
    LayoutBuilder(directory).image([below, layer], compression=compression)
    return f"oci:{directory}:latest"


def member(message, title, **fields):
    """A case of one bad entry among good ones."""
    def make(directory):
        tar = Tar()
        tar.add(b"good", data=b"good")
        tar.add(**fields)
        tar.add(b"after", data=b"good")
        return image_of(directory, tar)
    CASES[title] = message, make


def raw(message, title, *parts):
    """A case of raw bytes between good entries."""
    def make(directory):
        tar = Tar()
        tar.add(b"good", data=b"good")
        for part in parts:
            tar.raw(part)
        tar.add(b"after", data=b"good")
        return image_of(directory, tar)
    CASES[title] = message, make


def pax_member(message, title, records, **fields):
    member(message, title, **{"name": b"entry", "pax": records, **fields})


# Entries.
member(r"layer 1: .*'l'", "hard link without a target", name=b"l", kind=tars.LINK)
member(r"layer 1: .*'who'.*4294967295", "uid 2^32 - 1", name=b"who", uid=2**32 - 1)
member(r"layer 1: .*'who'.*4294967296", "gid 2^32", name=b"who", gid=2**32)
for _prefix in (b"user.", b"trusted.", b"security."):
    member(r"layer 1: .*'x'.*%snnn.*a name of 256 bytes" % _prefix.decode(),
           f"xattr name {_prefix.decode()}* of 256 bytes", name=b"x",
           xattrs={_prefix + b"n" * (256 - len(_prefix)): b"1"})

# Pax.
pax_member(r"layer 1: .*NUL", "NUL in a name", [(b"path", b"a\0b")])
pax_member(r"layer 1: .*(mtime|time)", "mtime that is no number", [(b"mtime", b"yesterday")])
pax_member(r"layer 1: .*(uid)", "uid that is no number", [(b"uid", b"root")])
pax_member(r"layer 1: .*sparse", "sparse map that is no list",
           [(b"GNU.sparse.size", b"10"), (b"GNU.sparse.numblocks", b"1"),
            (b"GNU.sparse.map", b"what")], data=bytes(10))
pax_member(r"layer 1: .*sparse", "sparse map of version 9",
           [(b"GNU.sparse.major", b"9"), (b"GNU.sparse.minor", b"0")])
pax_member(r"layer 1: .*LIBARCHIVE|base64", "xattr that is no base64",
           [(b"LIBARCHIVE.xattr.user.x", b"!!!")])
raw(r"layer 1: .*extended header", "pax record without =", header(b"pax", b"x", 9),
    pad(b"9 mtime1\n"))
raw(r"layer 1: .*(long|name)", "GNU long name of 1 GiB", header(b"long", b"L", 1 << 30),
    bytes(512))

# Headers.
raw(r"layer 1: .*(checksum|header)", "garbage between entries", noise(512, 3))
raw(r"layer 1: .*size", "size in base 256 of 2^63",
    rechecked(damage(header(b"big"), 124, (0x80 << 88 | 1 << 63).to_bytes(12, "big"))))
raw(r"layer 1: .*size", "negative size in base 256",
    rechecked(damage(header(b"big"), 124, b"\xff" * 12)))
raw(r"layer 1: .*(size|number|mode)", "mode that is no number",
    rechecked(damage(header(b"bad"), 100, b"what?!\0\0")))


@case(r"layer 1: .*'gone'")
def hard_link_to_what_a_whiteout_removes(directory):
    below, above = Tar(), Tar()
    below.add(b"gone", data=b"x")
    above.whiteout(b"gone")
    above.hard_link(b"new", b"gone")
    LayoutBuilder(directory).image([below, above])
    return f"oci:{directory}:latest"


@case(r"layer 1: entry 'here/x': a hard link to itself is refused")
def hard_link_to_itself_through_a_link(directory):
    below, above = Tar(), Tar()
    below.add(b"x", data=b"x")
    above.symlink(b"here", b".")
    above.hard_link(b"here/x", b"x")
    LayoutBuilder(directory).image([below, above])
    return f"oci:{directory}:latest"


# Compression.
def packed(directory, data, suffix, tar=b""):
    """An image whose second layer is these bytes; diff_id is that of tar."""
    layout = LayoutBuilder(directory)
    good = layout.layer(Tar())
    bad = layout.blob(data, LAYER + suffix), sha256(tar)
    layout.tag(layout.manifest([good, bad]))
    return f"oci:{directory}:latest"


def some_tar():
    tar = Tar()
    for i in range(20):
        tar.add(b"%d" % i, data=noise(20000, i))
    return bytes(tar)


@case(r"layer 1: .*(zstd|config says)")
def zstd_damaged_inside(directory):
    return packed(directory, damage(zstd(some_tar()), 3000, noise(64)), "+zstd", some_tar())


@case(r"layer 1: zstd: .*window")
def zstd_with_a_window_of_4_tib(directory):
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xff" + b"\x01\x00\x00"
    return packed(directory, frame, "+zstd")


# Digests and sizes.


def with_layer(directory, change):
    """An image whose second layer's descriptor is changed after the blob was written."""
    layout = LayoutBuilder(directory)
    layers = [layout.layer(Tar()), layout.layer(some_tar())]
    change(layout, layers[1][0])
    layout.tag(layout.manifest(layers))
    return f"oci:{directory}:latest"


@case(r"it has \d+ bytes and not \d+")
def layer_shorter_than_it_says(directory):
    def change(layout, descriptor):
        descriptor["size"] += 1
    return with_layer(directory, change)


@case(r"it has \d+ bytes and not \d+")
def layer_longer_than_it_says(directory):
    def change(layout, descriptor):
        descriptor["size"] -= 1
    return with_layer(directory, change)


# Manifest, config, index, layout.
def with_manifest(directory, change):
    """An image whose manifest is changed (a dict, or bytes returned by change)."""
    layout = LayoutBuilder(directory)
    descriptor = layout.manifest([layout.layer(some_tar())])
    value = json.loads(Path(layout.blob_path(descriptor["digest"])).read_bytes())
    data = change(layout, value) or json.dumps(value).encode()
    layout.tag(layout.blob(data, descriptor["mediaType"]))
    return f"oci:{directory}:latest"


@case(r"vnd\.docker\.distribution\.manifest\.v1\+prettyjws")
def manifest_of_dockers_schema_1(directory):
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    layout = LayoutBuilder(directory)
    layout.tag(layout.json({"schemaVersion": 1, "fsLayers": [], "mediaType": kind}, kind))
    return f"oci:{directory}:latest"


@case(r"layers")
def manifest_without_layers(directory):
    return with_manifest(directory, lambda _, m: m.pop("layers") and None)


@case(r"sha256:\w+ has \d+ bytes, its descriptor says \d+")
def manifest_longer_than_it_says(directory):
    layout = LayoutBuilder(directory)
    descriptor = layout.manifest([layout.layer(some_tar())])
    layout.tag({**descriptor, "size": descriptor["size"] - 1})
    return f"oci:{directory}:latest"


def with_config(directory, change):
    layout = LayoutBuilder(directory)
    layer = layout.layer(some_tar())
    descriptor = layout.manifest([layer])
    manifest = json.loads(Path(layout.blob_path(descriptor["digest"])).read_bytes())
    path = Path(layout.blob_path(manifest["config"]["digest"]))
    value = json.loads(path.read_bytes())
    data = change(value) or json.dumps(value).encode()
    manifest["config"] = layout.blob(data, manifest["config"]["mediaType"])
    layout.tag(layout.json(manifest, descriptor["mediaType"]))
    return f"oci:{directory}:latest"


@case(r"config|rootfs|diff_ids")
def config_without_rootfs(directory):
    return with_config(directory, lambda c: c.pop("rootfs") and None)


@case(r"layer 0: digest 'sha256:abc'")
def config_with_a_diff_id_that_is_none(directory):
    return with_config(directory, lambda c: c["rootfs"].update(diff_ids=["sha256:abc"]))


@case(r"no array 'manifests'")
def index_without_manifests(directory):
    source = with_manifest(directory, lambda *_: None)
    (Path(directory) / "index.json").write_bytes(b'{"schemaVersion": 2}')
    return source


@case(r"no such directory")
def no_such_directory(directory):
    return f"oci:{directory}/nothing:latest"


@case(r"No such file")
def no_such_tar(directory):
    return f"tar:{directory}/nothing.tar"


# Bombs and lies.
def grown(directory):
    frame = b"\x28\xb5\x2f\xfd\xe0" + (512).to_bytes(8, "little")
    block = ((1 << 17) << 3 | 1 << 1).to_bytes(3, "little") + b"A"
    last = ((1 << 17) << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"A"
    return packed(directory, frame + block * 1000 + last, "+zstd")


def zstd_case(message, name, frame):
    CASES[name] = message, lambda directory: packed(directory, frame, "+zstd")


def gzip_case(message, name, data):
    CASES[name] = message, lambda directory: packed(directory, data, "+gzip", some_tar())


case(r"layer 1: zstd: damaged", "zstd frame that grows past its size")(grown)
zstd_case(r"layer 1: zstd: ", "zstd frame of 2^62 bytes that ends",
          b"\x28\xb5\x2f\xfd\xe0" + (1 << 62).to_bytes(8, "little") + b"\x01\0\0")
zstd_case(r"layer 1: zstd: ", "zstd with a dictionary that is not there",
          b"\x28\xb5\x2f\xfd\x21\x07\x05" + (5 << 3 | 1).to_bytes(3, "little") + b"hello")
zstd_case(r"layer 1: zstd: truncated", "zstd skippable frame of 4 GiB",
          b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + bytes(100))
zstd_case(r"layer 1: zstd: ", "zstd with a reserved block", b"\x28\xb5\x2f\xfd\x20\x05\x07\0\0")
gzip_case(r"layer 1: gzip: truncated", "gzip name without end",
          b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * 100000)
gzip_case(r"layer 1: gzip: truncated", "gzip extra field beyond the end",
          b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\xff\xff" + b"n" * 100)
gzip_case(r"layer 1: gzip: ", "gzip with reserved flags",
          b"\x1f\x8b\x08\xe0\0\0\0\0\0\x03" + gzipped(some_tar())[10:])
gzip_case(r"layer 1: gzip: .*before byte", "gzip with a reserved block type",
          b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\x07" + bytes(50))
gzip_case(r"layer 1: gzip: .*before byte", "gzip distance before the start",
          b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\x03\x02\x03\x04" + bytes(50))
gzip_case(r"layer 1: gzip: ", "gzip second member damaged",
          gzipped(some_tar()) + b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\x07" + bytes(50))
gzip_case(r"layer 1: gzip: truncated", "empty gzip layer", b"\x1f\x8b")

member(r"layer 1: .*(path|name) of \d+ bytes", "100,000 levels", name=b"a/" * 100000 + b"b")
member(r"/x: the xattrs take more than 262140 bytes", "50,000 xattrs", name=b"x",
       xattrs={b"user.%05d" % i: b"v" for i in range(50000)})
raw(r"layer 1: .*extended header", "xattrs without end", header(b"pax", b"x", 1 << 33))
member(r"layer 1: .*'r'.*root|root", "hard link to the root", name=b"r", kind=tars.LINK, link=b".")
member(r"layer 1: .*root", "root that is a symbolic link", name=b"./", kind=tars.SYMLINK, link=b"x")
member(r"layer 1: .*root", "root that is a device", name=b".", kind=tars.CHAR)
member(r"layer 1: .*'l'.*\.\.", "hard link through ..", name=b"l", kind=tars.LINK,
       link=b"good/../../x")
member(r"layer 1: .*'l'.*director", "hard link to a directory below", name=b"l", kind=tars.LINK,
       link=b"d")
member(r"layer 1: .*'l'", "hard link through a file", name=b"l", kind=tars.LINK, link=b"good/x")
pax_member(r"layer 1: .*'h'.*\.\.", ".. in a pax linkpath", [(b"linkpath", b"../../x")], name=b"h",
           kind=tars.LINK, link=b"good")
pax_member(r"layer 1: .*size", "size of a pax record that is no number", [(b"size", b"12x")])
pax_member(r"layer 1: .*size", "size of 30 digits", [(b"size", b"9" * 30)])
pax_member(r"layer 1: .*sparse", "sparse map of 10^9 entries",
           [(b"GNU.sparse.size", b"10"), (b"GNU.sparse.numblocks", b"1000000000"),
            (b"GNU.sparse.map", b"0,1")], data=b"x")
pax_member(r"layer 1: .*sparse", "sparse map with more data than there is",
           [(b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"1"),
            (b"GNU.sparse.map", b"0,5000")], data=b"x" * 10)
pax_member(r"layer 1: .*sparse", "sparse map whose offsets overflow",
           [(b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"1"),
            (b"GNU.sparse.map", b"18446744073709551615,5000")], data=b"x" * 5000)
raw(r"layer 1: .*\.\.", ".. in a GNU long name", header(b"long", b"L", 512),
    pad(b"../" * 100 + b"x"), header(b"short"))
raw(r"layer 1: .*\.\.", ".. in a GNU long link", header(b"long", b"K", 512),
    pad(b"../" * 100 + b"x"), header(b"short", b"1"))
raw(r"layer 1: .*truncated|layer 1: .*size", "size of 7 TiB", header(b"big", size=7 << 40))

raw(r"layer 1: .*byte 1536: a global extended header between", "global header before an entry",
    header(b"x", b"x"), header(b"g", b"g"))
raw(r"layer 1: .*'s': a sparse file that GNU tar did not write", "sparse file of star",
    header(b"s", b"S", tail=bytes(163) + b"tar\0"))
raw(r"layer 1: .*'s'.*sparse map", "old sparse map that ends in a flag",
    header(b"s", b"S", 3, magic=b"ustar  \0", tail=bytes(137) + b"\1" + b"00000000003\0"),
    bytes(504) + b"\1" + bytes(7), bytes(512), pad(b"abc"))
raw(r"layer 1: .*'s': the header's sparse offset is no octal number", "old sparse map without end",
    header(b"s", b"S", magic=b"ustar  \0", tail=bytes(137) + b"\1" + b"00000000003\0"),
    *[bytes(504) + b"\1" + bytes(7)] * 3)
pax_member(r"layer 1: .*an offset has no length", "sparse offset without a length",
           [(b"GNU.sparse.size", b"9"), (b"GNU.sparse.offset", b"1")])
pax_member(r"layer 1: .*offsets and lengths do not take turns", "sparse length without an offset",
           [(b"GNU.sparse.size", b"9"), (b"GNU.sparse.numbytes", b"1")])
pax_member(r"layer 1: .*without GNU.sparse.size or realsize", "sparse file without a size",
           [(b"GNU.sparse.map", b"0,1")], data=b"x")
pax_member(r"layer 1: .*it is longer than the data", "sparse map longer than the data",
           [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.realsize", b"900000")],
           data=b"200\n" + b"".join(b"%d\n1\n" % i for i in range(100000, 100100)))
member(r"layer 1: .*a name of 260 bytes is over the limit of 259", "whiteout of 256 bytes",
       name=b".wh." + b"n" * 256)
member(r"layer 1: .*a name of 256 bytes", "name below a whiteout's", name=b".wh." + b"n" * 252 + b"/x")
member(r"layer 1: .*'l'", "hard link into aufs' directory", name=b"l", kind=tars.LINK,
       link=b".wh..wh.plnk/1.2")
member(r"layer 1: .*'l'", "hard link to a whiteout", name=b"l", kind=tars.LINK, link=b".wh.good")
member(r"layer 1: .*'v7/': a file's name ends with '/', but it has data", "directory with data",
       name=b"v7/", kind=b"\0", data=b"x")


@case(r"layer 1: tar: byte 0: no header")
def gzip_inside_of_gzip(directory):
    return packed(directory, gzipped(gzipped(some_tar())), "+gzip", some_tar())


@case(r"layer 1: gzip: garbage after the last member at byte \d+")
def zeros_between_gzip_members(directory):
    return packed(directory, gzipped(some_tar()) + bytes(3) + gzipped(b""), "+gzip", some_tar())


@case(r"layer 1: zstd: garbage after the last frame at byte \d+")
def gzip_behind_zstd(directory):
    return packed(directory, zstd(some_tar()) + gzipped(b""), "+zstd", some_tar())


@case(r"layer 1: gzip: header checksum mismatch at byte 10")
def gzip_header_crc(directory):
    data = gzipped(some_tar())
    return packed(directory, data[:3] + b"\2" + data[4:10] + b"\0\1" + data[10:], "+gzip")


@case(r"more than 4 deep")
def indexes_five_deep(directory):
    layout = LayoutBuilder(directory)
    kind = "application/vnd.oci.image.index.v1+json"
    inner = layout.manifest([layout.layer(some_tar())])
    for _ in range(5):
        inner = layout.json({"schemaVersion": 2, "mediaType": kind, "manifests": [inner]}, kind)
    layout.tag(inner)
    return f"oci:{directory}:latest"


@case(r"only sha256 is supported")
def manifest_of_sha512(directory):
    source = with_manifest(directory, lambda *_: None)
    path = Path(directory) / "index.json"
    index = json.loads(path.read_bytes())
    index["manifests"][0]["digest"] = "sha512:" + "a" * 128
    path.write_text(json.dumps(index), encoding="utf-8")
    return source


def archive_of(message, title, *parts):
    """A file that is no oci-archive."""
    def make(directory):
        Path(directory).mkdir()
        (Path(directory) / "a.tar").write_bytes(b"".join(parts) + bytes(1024))
        return f"oci-archive:{directory}/a.tar:latest"
    CASES[title] = message, make


archive_of(r"a\.tar: not an OCI archive.*skopeo copy docker-archive:FILE", "archive of docker save",
           header(b"manifest.json", size=2), pad(b"[]"))
archive_of(r"a\.tar: not an OCI archive: it has no member 'index\.json'", "archive of nothing")
archive_of(r"sparse member 'index\.json' is not supported; pack", "archive with a sparse member",
           header(b"x", b"x", 24), pad(b"24 GNU.sparse.size=9999\n"), header(b"index.json"))
archive_of(r"index\.json: not JSON", "archive with an index that links to itself",
           header(b"index.json", b"1", link=b"index.json"))
archive_of(r"tar header at byte 0: the member ends behind the end", "archive of 2^62 bytes",
           header(b"index.json", size=1 << 62))


@case(r"layer 1: .*symbolic links")
def hard_link_through_a_loop(directory):
    tar = Tar()
    tar.symlink(b"a", b"b")
    tar.symlink(b"b", b"a")
    tar.hard_link(b"c", b"a/x")
    return image_of(directory, tar)


@case(r"not JSON: duplicate")
def manifest_with_two_layers_keys(directory):
    return with_manifest(directory, lambda _, m: json.dumps(m).encode()[:-1] + b',"layers":[]}')


@case(r"not JSON: duplicate")
def config_with_two_rootfs_keys(directory):
    return with_config(directory, lambda c: json.dumps(c).encode()[:-1] + b',"rootfs":{}}')


@case(r"size|bytes|not JSON")
def layer_of_2_to_the_63_bytes(directory):
    def change(_, manifest):
        manifest["layers"][0]["size"] = 1 << 63
    return with_manifest(directory, change)


@case(r"size|bytes")
def layer_of_minus_1_bytes(directory):
    def change(_, manifest):
        manifest["layers"][0]["size"] = -1
    return with_manifest(directory, change)


@case(r"limit|larger|4194304|4 MiB")
def manifest_over_4_mib(directory):
    return with_manifest(directory, lambda _, m: json.dumps({**m, "x": "y" * (5 << 20)}).encode())


@case(r"layer")
def layers_that_are_numbers(directory):
    return with_manifest(directory, lambda _, m: m.update(layers=[1, 2, 3]))


@case(r"index\.json|not JSON")
def index_nested_100000_deep(directory):
    source = with_manifest(directory, lambda *_: None)
    (Path(directory) / "index.json").write_bytes(b"[" * 100000)
    return source


@case(r"digest|size|mediaType|manifests|index")
def index_with_entries_that_are_strings(directory):
    source = with_manifest(directory, lambda *_: None)
    (Path(directory) / "index.json").write_bytes(b'{"schemaVersion":2,"manifests":["x","latest"]}')
    return source
