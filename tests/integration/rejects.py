# SPDX-License-Identifier: Apache-2.0
"""The corpus of refused sources: each a way to make one, and what tarn must say about it.

A case gets a directory and returns the SOURCE argument of `tarn convert`. The message is a regular
expression."""
import json
from pathlib import Path

import tars
from corner_cases import noise
from oci_layout import LAYER, LayoutBuilder, sha256, zstd
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
member(r"layer 1: .*'x'.*user\.nnn", "xattr name of 256 bytes", name=b"x",
       xattrs={b"user." + b"n" * 256: b"1"})

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


@case(r"manifest sha256:\w+ .*\d+ bytes and not \d+")
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
