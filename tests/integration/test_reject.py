# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile inputs: each is refused with a message that names what is wrong, and leaves
nothing at the destination."""
import gzip
import hashlib
import json
import shutil
from pathlib import Path

import corner_cases
import environment
import images
import oci_layout
import pytest
import tars
from oci_layout import LAYER, REF_NAME, LayoutBuilder, sha256
from tars import CHAR, LINK, Tar

OLD = "old"
SECONDS = 300


def contents(layout):
    """{path below the layout: bytes} of all its files."""
    top = Path(layout)
    return {str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*") if not path.is_dir()}


def assert_no_trace(layout, before=None, whole_layers=False):
    """Nothing beside what was there before. whole_layers: those below the bad one may stay for the
    next run, as manifests without a tag."""
    files = contents(layout)
    blobs = {name for name in files if name.startswith("blobs/sha256/")}
    for name in blobs:
        assert hashlib.sha256(files[name]).hexdigest() == name.rpartition("/")[2], f"litter: {name}"
    if whole_layers:
        top = json.loads(files["index.json"])["manifests"]
        assert {entry.get("annotations", {}).get(REF_NAME) for entry in top} <= \
            ({None, OLD} if before else {None})
        referred = {entry["digest"] for entry in top}
        for entry in top:
            manifest = oci_layout.read_json(layout, entry)
            referred |= {d["digest"] for d in (manifest["config"], *manifest["layers"])}
        known = {name for name in before or {} if name.startswith("blobs/")}
        assert blobs - known <= {"blobs/" + digest.replace(":", "/") for digest in referred}
        assert files.keys() - blobs <= {"oci-layout", "index.json"}
        return
    before = before or {}
    assert files.keys() - before.keys() == set(), "left behind"
    for name, data in before.items():
        assert files[name] == data, f"{name} was changed"


@pytest.fixture(scope="module")
def old(session_tarn, tmp_path_factory):
    """A layout that holds a converted image already."""
    directory = tmp_path_factory.mktemp("old")
    tar, path = Tar(), directory / "old.tar"
    tar.add(b"old", data=b"was here before\n" * 500)
    path.write_bytes(bytes(tar))
    session_tarn("convert", path_name(path), f"oci:{directory}/layout:{OLD}")
    return directory / "layout"


def path_name(path):
    return f"tar:{path}"


def refuse(tarn, old, tmp_path, message, *words, whole_layers=False):
    """`tarn convert words DESTINATION` must fail, into a new layout and into an old one."""
    work = tmp_path / "work"
    work.mkdir()
    tarn.fails(message, "convert", *words, f"oci:{work}/new:bad", timeout=SECONDS)
    assert {path.name for path in work.iterdir()} <= {"new"}
    assert_no_trace(work / "new", None, whole_layers and (work / "new").exists())
    layout = images.copy_layout(old, work / "old")
    before = contents(layout)
    tarn.fails(message, "convert", *words, f"oci:{layout}:bad", timeout=SECONDS)
    assert {path.name for path in work.iterdir()} <= {"new", "old"}
    assert_no_trace(layout, before, whole_layers)
    shutil.rmtree(work / "new", ignore_errors=True)
    before = contents(layout)
    for target in ("new", "old"):
        tarn.fails(message, "convert", "--no-layer-tags", *words, f"oci:{work}/{target}:bad",
                   timeout=SECONDS)
    assert not (work / "new").exists()
    assert_no_trace(layout, before)
    archive = work / "new.tar"
    tarn.fails(message, "convert", *words, f"oci-archive:{archive}:bad", timeout=SECONDS)
    assert {path.name for path in work.iterdir()} <= {"new", "old"}


# Tar archives. Every case is a function of nothing that gives the archive's bytes.

def archive(*entries, **one):
    """Of entries as arguments of Tar.add(); the first is good."""
    tar = Tar()
    tar.add(b"good", data=b"good\n")
    for entry in entries or [one]:
        tar.add(**entry)
    return bytes(tar)


def blocks(*parts):
    return b"".join(parts) + bytes(1024)


def records(body, name=b"f"):
    return blocks(tars.header(b"p", b"x", len(body)), tars.pad(body), tars.header(name))


def symlink_loop():
    tar = Tar()
    tar.symlink(b"a", b"b")
    tar.symlink(b"b", b"a")
    tar.add(b"a/file", data=b"x")
    return bytes(tar)


def sparse(version, size, extents):
    tar = Tar()
    tar.sparse(b"holes", version, size, extents)
    return bytes(tar)


def sparse_beyond(version):
    """Tar.sparse() ends a map with an empty entry at the size: here the map ends before that."""
    data = b"a" * 50
    if version == "old":
        tail = (bytes(41) + tars.octal(8990, 12) + tars.octal(50, 12) + bytes(73) +
                tars.octal(9000, 12))
        return blocks(tars.header(b"good"),
                      tars.header(b"holes", b"S", 50, magic=b"ustar  \0", tail=tail),
                      tars.pad(data))
    return archive(name=b"holes", data=data, pax=[
        (b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"1"),
        (b"GNU.sparse.map", b"8990,50")])


def linked_to_directory():
    tar = Tar()
    tar.directory(b"d")
    tar.hard_link(b"h", b"d")
    return bytes(tar)


LONG = b"n" * 256
FULL = archive(name=b"data", data=corner_cases.noise(20000, 7))
BAD_NAME = r"'\.\.' in a name is refused"
TARS = {
    "dot dot": (lambda: archive(name=b"a/../../etc/passwd"),
                rf"tar: byte 1024: entry 'a/\.\./\.\./etc/passwd': {BAD_NAME}"),
    "dot dot at the start": (lambda: archive(name=b"../x"), rf"entry '\.\./x': {BAD_NAME}"),
    "dot dot, absolute": (lambda: archive(name=b"/../x"), rf"entry '/\.\./x': {BAD_NAME}"),
    "dot dot alone": (lambda: archive(name=b"..", kind=tars.DIRECTORY),
                      rf"entry '\.\.': {BAD_NAME}"),
    "dot dot in a pax record": (lambda: records(tars.pax_records([(b"path", b"x/../../y")])),
                                rf"entry 'x/\.\./\.\./y': {BAD_NAME}"),
    "dot dot in a hard link": (lambda: archive(name=b"h", kind=LINK, link=b"../etc/shadow"),
                               rf"entry 'h': hard link to '\.\./etc/shadow': {BAD_NAME}"),
    "hard link to nothing": (lambda: archive(name=b"h", kind=LINK, link=b"none"),
                             "hard link 'h' to 'none': there is no such file in this layer"),
    "hard link to what comes later": (
        lambda: archive({"name": b"h", "kind": LINK, "link": b"later"}, {"name": b"later"}),
        "hard link 'h' to 'later': there is no such file in this layer or below"),
    "hard link to itself": (lambda: archive(name=b"h", kind=LINK, link=b"h"),
                            r"entry 'h'.*a hard link to itself is refused"),
    "hard link to a directory": (linked_to_directory,
                                 r"entry 'h'.*a hard link to 'd', a directory, is refused"),
    "hard link to the root": (lambda: archive(name=b"h", kind=LINK, link=b"./"),
                              r"entry 'h': hard link to '\./': it is the root"),
    "size of 2^63": (lambda: blocks(tars.header(b"f", size=1 << 63)),
                     "entry 'f': size of -?9223372036854775808 bytes is out of range"),
    "size of 2^62": (lambda: blocks(tars.header(b"f", size=1 << 62)),
                     "entry 'f': size of 4611686018427387904 bytes is over the limit of 8 TiB"),
    "size of 2^63 in a pax record": (lambda: records(b"28 size=9223372036854775808\n"),
                                     "entry 'f': size of 9223372036854775808 bytes is out of"),
    "size below zero": (lambda: records(b"11 size=-1\n"), "entry 'f': size of -1 bytes is out of"),
    "header cut off": (lambda: tars.header(b"f")[:300], "truncated: the tar ends at byte 300"),
    "data cut off": (lambda: FULL[:9000],
                     "entry 'data': truncated: the tar ends at byte 9000, inside the data"),
    "data of a promise": (lambda: blocks(tars.header(b"f", size=1 << 40)),
                          "entry 'f': truncated: the tar ends at byte 1536, inside the data"),
    "wrong checksum": (lambda: tars.damage(FULL, 1024, b"X"),
                       "tar: byte 1024: no header behind entry 'good', its checksum is wrong"),
    "no tar": (lambda: b"#!/bin/sh\n" * 200, "tar: byte 0: no header, its checksum is wrong"),
    "unknown type flag": (lambda: archive(name=b"f", kind=b"Z"),
                          "entry 'f': type flag 'Z' is unknown"),
    "several volumes": (lambda: archive(name=b"f", kind=b"M", data=b"x"),
                        "entry 'f': a tar of several volumes is not read"),
    "xattr of 65,536 bytes": (lambda: archive(name=b"f", xattrs={b"user.x": b"v" * 65536}),
                              "entry 'f'.*xattr 'user.x': a value of 65536 bytes is over"),
    "xattr without a name": (lambda: archive(name=b"f", xattrs={b"": b"v"}),
                             "entry 'f'.*xattr '': an empty name"),
    "name of 256 bytes": (lambda: archive(name=b"d/" + LONG),
                          "a name of 256 bytes is over the limit of 255"),
    "path of 65,536 bytes": (lambda: archive(name=b"d/" * 32768), "a path of 6553. bytes is over"),
    "symlink of 4,096 bytes": (lambda: archive(name=b"s", kind=tars.SYMLINK, link=b"t" * 4096),
                               "entry 's'.*target of 4096 bytes is over the limit of 4095"),
    "symlink to nothing": (lambda: archive(name=b"s", kind=tars.SYMLINK),
                           "entry 's': a symbolic link without a target is refused"),
    "sparse map overlaps": (lambda: sparse("1.0", 9000, [(0, b"a" * 5000), (4000, b"b" * 100)]),
                            "entry 'holes'.*sparse map: entry 1 at 4000 begins before the end"),
    "old sparse map overlaps": (lambda: sparse("old", 9000, [(0, b"a" * 5000), (4000, b"b")]),
                                "entry 'holes'.*sparse map: entry 1 at 4000 begins before the end"),
    "sparse map beyond the size": (lambda: sparse_beyond("0.1"),
                                   "entry 'holes'.*sparse map: it ends at 9040, behind .* 9000"),
    "old sparse map beyond the size": (
        lambda: sparse_beyond("old"), "entry 'holes'.*sparse map: it ends at 9040, behind .* 9000"),
    "sparse file over 8 TiB": (lambda: sparse("1.0", 1 << 62, [(0, b"a")]),
                               "entry 'holes'.*8 TiB"),
    "whiteout of dot dot": (lambda: archive(name=b"d/.wh..."), r"a whiteout of '\.\.' is refused"),
    "whiteout of dot": (lambda: archive(name=b"d/.wh.."), r"a whiteout of '\.' is refused"),
    "whiteout of nothing": (lambda: archive(name=b"d/.wh."), "a whiteout of '' is refused"),
    "device major": (lambda: archive(name=b"c", kind=CHAR, device=(4096, 0)),
                     "entry 'c'.*device 4096:0 is beyond what Linux numbers"),
    "device minor": (lambda: archive(name=b"c", kind=CHAR, device=(1, 1 << 20)),
                     "entry 'c'.*device 1:1048576 is beyond what Linux numbers"),
    "pax record too long": (lambda: records(b"99 path=x\n"), "longer than its extended header"),
    "pax record without length": (lambda: records(b"path=x\n"), "does not begin with its length"),
    "pax record, huge length": (lambda: records(b"9" * 30 + b" path=x\n"),
                                "longer than its extended header"),
    "pax record without end": (lambda: records(b"9 path=xy\n"), "does not end with a newline"),
    "pax header of 1 TiB": (lambda: blocks(tars.header(b"p", b"x", 1 << 40)),
                            "extended header.* over the limit"),
    "pax header and no entry": (
        lambda: blocks(tars.header(b"p", b"x", 9), tars.pad(b"9 path=x\n")),
        "an extended header without an entry"),
    "symlinks in a circle": (symlink_loop,
                             r"entry 'a/file'.*more than \d+ symbolic links on its way"),
}


@pytest.mark.parametrize("name", TARS)
def test_tar(session_tarn, old, tmp_path, name):
    make, message = TARS[name]
    path = tmp_path / "bad.tar"
    path.write_bytes(make())
    refuse(session_tarn, old, tmp_path, message, path_name(path))


@pytest.mark.parametrize("name", ["dot dot", "data cut off", "wrong checksum"])
def test_second_layer(session_tarn, old, tmp_path, name):
    """The first layer is good: it leaves what the next run can use, and no tag."""
    make, message = TARS[name]
    (tmp_path / "good.tar").write_bytes(FULL)
    (tmp_path / "bad.tar").write_bytes(make())
    refuse(session_tarn, old, tmp_path, message, "--layer", path_name(tmp_path / "good.tar"),
           "--layer", path_name(tmp_path / "bad.tar"), whole_layers=True)


# Compressed archives.

def flip(data, offset):
    data = bytearray(data)
    data[offset] ^= 0x10
    return bytes(data)


GZIP = gzip.compress(FULL, 6, mtime=0)
ZSTD = oci_layout.zstd(FULL)
STREAMS = {
    "gzip cut off": (GZIP[:9000], "gzip: truncated at byte 9000"),
    "gzip cut in its header": (GZIP[:7], "gzip: truncated at byte 7"),
    "gzip cut in its trailer": (GZIP[:-3], rf"gzip: truncated at byte {len(GZIP) - 3}"),
    "gzip with another CRC": (flip(GZIP, -6), r"gzip: .* before byte \d+"),
    "gzip with another length": (flip(GZIP, -1), r"gzip: .* before byte \d+"),
    "gzip with other data": (flip(GZIP, 9000), r"gzip: .* before byte \d+|checksum is wrong"),
    "gzip of another method": (flip(GZIP, 2), "gzip: compression method 24 at byte 0"),
    "garbage behind gzip": (GZIP + b"garbage",
                            rf"gzip: garbage after the last member at byte {len(GZIP)}"),
    "zstd cut off": (ZSTD[:9000], "zstd: truncated at byte 9000"),
    "zstd cut in its header": (ZSTD[:5], "zstd: truncated at byte 5"),
    "zstd with a damaged header": (ZSTD[:4] + bytes([ZSTD[4] | 8]) + ZSTD[5:], "zstd: "),
    "zstd garbage": (ZSTD[:4] + corner_cases.noise(3000, 5), "zstd: "),
    "garbage behind zstd": (ZSTD + b"garbage",
                            rf"zstd: garbage after the last frame at byte {len(ZSTD)}"),
    "xz": (b"\xfd7zXZ\0" + bytes(600), "compressed with xz: only gzip and zstd are read"),
    "bzip2": (b"BZh91AY&SY" + bytes(600), "compressed with bzip2: only gzip"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_stream(session_tarn, old, tmp_path, name):
    data, message = STREAMS[name]
    path = tmp_path / "bad.tar"
    path.write_bytes(data)
    refuse(session_tarn, old, tmp_path, message, path_name(path))


# Source images. Every case changes a good layout: (layout, layers) -> what is to be said.

def tagged(layout, layers, **more):
    layout.tag(layout.manifest(layers, **more))


def wrong_layer_digest(layout, layers):
    tagged(layout, layers)
    path = Path(layout.blob_path(layers[1][0]["digest"]))
    path.write_bytes(flip(path.read_bytes(), 9000))
    return layers[1][0]["digest"] + "|digest|gzip: "


def wrong_layer_digest_behind_the_tar(layout, layers):
    """The tar is whole: only the digest tells."""
    descriptor = layout.blob(bytes(FULL) + bytes(512), LAYER)
    tagged(layout, [layers[0], (descriptor, sha256(FULL))])
    Path(layout.blob_path(descriptor["digest"])).write_bytes(bytes(FULL) + bytes(511) + b"x")
    return "digest"


def wrong_diff_id(layout, layers):
    tagged(layout, [layers[0], (layers[1][0], sha256(b""))])
    return "its uncompressed digest is sha256:[0-9a-f]{64}, but the image's config says"


def media_type(kind):
    def change(layout, layers):
        tagged(layout, [layers[0], ({**layers[1][0], "mediaType": kind}, layers[1][1])])
        return kind.replace("+", r"\+") + ".*not supported"
    return change


def missing_layer(layout, layers):
    tagged(layout, layers)
    Path(layout.blob_path(layers[1][0]["digest"])).unlink()
    return f"blob {layers[1][0]['digest']} is not in .*copy the image again"


def wrong_layer_size(layout, layers):
    descriptor = {**layers[1][0], "size": layers[1][0]["size"] + 1}
    tagged(layout, [layers[0], (descriptor, layers[1][1])])
    return f"blob {descriptor['digest']}.*bytes"


def wrong_manifest_size(by):
    def make(layout, layers):
        manifest = layout.manifest(layers)
        layout.tag({**manifest, "size": manifest["size"] + by})
        return f"{manifest['digest']} has {manifest['size']} bytes, its descriptor says"
    return make


def wrong_size_in_index(layout, layers):
    manifest = layout.manifest(layers)
    wrong = {**manifest, "size": manifest["size"] * 2}
    layout.tag(layout.index([(wrong, ("linux", oci_layout.ARCH))]))
    return f"{manifest['digest']} has {manifest['size']} bytes, its descriptor says"


def wrong_index_size(layout, layers):
    index = layout.index([(layout.manifest(layers), ("linux", oci_layout.ARCH))])
    layout.tag({**index, "size": 1})
    return f"{index['digest']} has {index['size']} bytes, its descriptor says 1;"


def manifest_no_json(layout, _):
    layout.tag(layout.blob(b'{"schemaVersion": 2, "layers": [', oci_layout.MANIFEST))
    return "not JSON: .* at byte"


def manifest_no_object(layout, _):
    layout.tag(layout.blob(b"[[[[]]]]", oci_layout.MANIFEST))
    return "not a JSON object"


def manifest_deep_json(layout, _):
    layout.tag(layout.blob(b'{"a":' * 100000, oci_layout.MANIFEST))
    return "more than 65536 values"


def manifest_flipped(layout, layers):
    descriptor = layout.manifest(layers)
    layout.tag(descriptor)
    path = Path(layout.blob_path(descriptor["digest"]))
    path.write_bytes(path.read_bytes().replace(b'"linux"', b'"LINUX"').replace(b": 2", b": 3"))
    return f"{descriptor['digest']}.*(content has digest|has .* bytes)"


def with_config(change):
    def make(layout, layers):
        manifest = oci_layout.read_json(layout.path, layout.manifest(layers))
        message = change(layout, manifest)
        layout.tag(layout.json(manifest, oci_layout.MANIFEST))
        return message
    return make


def no_config(_, manifest):
    del manifest["config"]
    return "config"


def lost_config(layout, manifest):
    Path(layout.blob_path(manifest["config"]["digest"])).unlink()
    return f"{manifest['config']['digest']} is not in"


def config_no_json(layout, manifest):
    manifest["config"] = layout.blob(b"{", oci_layout.CONFIG)
    return "config.*not JSON|not JSON"


def fewer_diff_ids(_, manifest):
    manifest["layers"].append(manifest["layers"][0])
    return "the manifest has 3 layers, its config 2 diff_ids"


def more_diff_ids(_, manifest):
    manifest["layers"].pop()
    return "the manifest has 1 layers, its config 2 diff_ids"


def layers_no_array(_, manifest):
    manifest["layers"] = {"digest": "none"}
    return "layers"


def sha512(layout, manifest):
    layer = manifest["layers"][1]
    data = Path(layout.blob_path(layer["digest"])).read_bytes()
    layer["digest"] = "sha512:" + hashlib.sha512(data).hexdigest()
    return "digest 'sha512:[0-9a-f]*': only sha256 is supported"


def digest_of_a_path(_, manifest):
    manifest["layers"][1]["digest"] = "sha256:../../../../../../etc/passwd"
    return "digest 'sha256:../../../../../../etc/passwd': expected sha256:<64"


def negative_size(_, manifest):
    manifest["layers"][1]["size"] = -1
    return "no valid size"


def other_platforms(layout, layers):
    entries = [(layout.manifest(layers, os_arch=("linux", arch)), ("linux", arch))
               for arch in ("riscv64", "s390x")]
    layout.tag(layout.index(entries))
    return "no image for platform linux/.*there are: .*linux/riscv64.*linux/s390x"


def empty_index(layout, _):
    layout.tag(layout.index([]))
    return "no image"


def index_in_itself(layout, _):
    """As near as digests let one come: indexes ten deep."""
    descriptor = layout.index([])
    for _ in range(10):
        descriptor = layout.index([(descriptor, ("linux", oci_layout.ARCH))])
    layout.tag(descriptor)
    return "indexes.* more than . deep"


def top_no_json(layout, layers):
    tagged(layout, layers)
    (Path(layout.path) / "index.json").write_text("{", encoding="utf-8")
    return "index.json: not JSON"


def no_layout_file(layout, layers):
    tagged(layout, layers)
    (Path(layout.path) / "oci-layout").unlink()
    return "not an OCI layout: it has no file 'oci-layout'"


def other_layout_version(layout, layers):
    tagged(layout, layers)
    (Path(layout.path) / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}',
                                                  encoding="utf-8")
    return "imageLayoutVersion '2.0.0' is not supported; expected 1.0.0"


def no_such_tag(layout, layers):
    layout.tag(layout.manifest(layers), "other")
    return "no tag 'latest'"


def hostile_second_layer(layout, layers):
    tagged(layout, [layers[0], layout.layer(archive(name=b"../../x"))])
    return BAD_NAME


SOURCES = {
    "layer flipped": wrong_layer_digest,
    "byte behind the tar flipped": wrong_layer_digest_behind_the_tar,
    "wrong diff_id": wrong_diff_id,
    "unknown media type": media_type("application/x-unknown"),
    "compression unknown": media_type(LAYER + "+lz4"),
    "encrypted": media_type(LAYER + "+gzip+encrypted"),
    "layer missing": missing_layer,
    "layer of another size": wrong_layer_size,
    "manifest longer than said": wrong_manifest_size(-1),
    "manifest shorter than said": wrong_manifest_size(1),
    "manifest of size 0": lambda layout, layers: wrong_manifest_size(
        -layout.manifest(layers)["size"])(layout, layers),
    "manifest of another size in an index": wrong_size_in_index,
    "index of another size": wrong_index_size,
    "manifest is no JSON": manifest_no_json,
    "manifest is no object": manifest_no_object,
    "manifest nested deeply": manifest_deep_json,
    "manifest flipped": manifest_flipped,
    "no config": with_config(no_config),
    "config missing": with_config(lost_config),
    "config is no JSON": with_config(config_no_json),
    "more layers than diff_ids": with_config(fewer_diff_ids),
    "fewer layers than diff_ids": with_config(more_diff_ids),
    "layers are no array": with_config(layers_no_array),
    "sha512": with_config(sha512),
    "digest with a path": with_config(digest_of_a_path),
    "size below zero": with_config(negative_size),
    "other platforms only": other_platforms,
    "empty index": empty_index,
    "deep indexes": index_in_itself,
    "index.json is no JSON": top_no_json,
    "no oci-layout": no_layout_file,
    "other layout version": other_layout_version,
    "no such tag": no_such_tag,
    "hostile second layer": hostile_second_layer,
}


# What shows only after the first layer is done; all else leaves nothing at all.
SECOND_LAYER = {"layer flipped", "byte behind the tar flipped", "wrong diff_id", "layer missing",
                "layer of another size", "hostile second layer"}


@pytest.mark.parametrize("name", SOURCES)
def test_source(session_tarn, old, tmp_path, name):
    layout = LayoutBuilder(tmp_path / "source")
    one = Tar()
    one.add(b"one", data=b"first\n" * 3000)
    message = SOURCES[name](layout, [layout.layer(one), layout.layer(FULL)])
    refuse(session_tarn, old, tmp_path, message, f"oci:{layout.path}:latest",
           whole_layers=name in SECOND_LAYER)


# Converted images. Every case: which bytes are flipped -> [check says, mount says; None: nothing].

@pytest.fixture(scope="module")
def small(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("reject")
    one, two = Tar(), Tar()
    one.add(b"data", data=corner_cases.noise(300000, 1))
    two.add(b"more", data=corner_cases.noise(100000, 2))
    return images.convert(session_tarn, images.from_tars("small", [one, two], directory), directory)


def manifest_byte(image):
    descriptor = image.read.descriptor
    digest = descriptor["digest"]
    return digest, descriptor["size"] // 2, f"{digest}.*damaged", f"{digest}.*damaged"


def bootstrap_byte(image):
    layer = image.read.layout.json(image.read.descriptor)["layers"][-1]
    return layer["digest"], layer["size"] // 2, f"{layer['digest']}|bootstrap", "bootstrap"


def bootstrap_end(image):
    layer = image.read.layout.json(image.read.descriptor)["layers"][-1]
    return layer["digest"], layer["size"] - 1, f"{layer['digest']}|bootstrap", "bootstrap"


def footer_byte(image):
    layer = image.read.blobs[0].layer
    return layer.digest, layer.size - 1, f"{layer.digest}: directory", None


def metadata_byte(image):
    layer = image.read.blobs[1].layer
    offset, length, _ = layer.meta
    return layer.digest, offset + length // 2, f"layer metadata of blob {layer.digest}", None


def chunk_byte(image):
    blob = image.read.blobs[0]
    row = next(row for row in blob.meta.own.rows if row.kind == "stored")
    message = (rf"{blob.layer.digest} chunk at data-space address {row.address} "
               rf"\(offset {row.offset}\): (digest is wrong|it cannot be decoded)")
    return blob.layer.digest, row.offset + row.size // 2, message, None


CONVERTED = [manifest_byte, bootstrap_byte, bootstrap_end, footer_byte, metadata_byte, chunk_byte]


def damaged(image, target, digest, offset):
    layout = images.copy_layout(image.layout, target)
    path = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    path.write_bytes(flip(path.read_bytes(), offset))
    return f"oci:{layout}:latest"


@pytest.mark.parametrize("case", CONVERTED, ids=lambda case: case.__name__)
def test_check(session_tarn, small, tmp_path, case):
    digest, offset, message, _ = case(small)
    name = damaged(small, tmp_path / "layout", digest, offset)
    before = contents(tmp_path / "layout")
    session_tarn.fails(message, "check", name, timeout=SECONDS)
    assert contents(tmp_path / "layout") == before


@pytest.mark.parametrize("case", CONVERTED, ids=lambda case: case.__name__)
def test_mount(tarn, small, tmp_path, place, case):
    """What a mount needs is refused; a chunk that is damaged is an error for its reader alone."""
    digest, offset, _, message = case(small)
    name = damaged(small, tmp_path / "layout", digest, offset)
    if message is None:
        tarn("mount", name, place, timeout=SECONDS)
        assert (place / "more").read_bytes() == corner_cases.noise(100000, 2)
        if case is chunk_byte:
            with pytest.raises(OSError, match="Input/output error"):
                (place / "data").read_bytes()
        else:
            assert (place / "data").read_bytes() == corner_cases.noise(300000, 1)
        return
    tarn.fails(message, "mount", name, place, timeout=SECONDS)
    assert environment.mounts_below(place) == [] and list(place.iterdir()) == []


@pytest.mark.parametrize("which, by", [(0, 1), (1, 1), (1, -1)])
def test_sizes_in_the_index(tarn, small, tmp_path, place, which, by):
    """Of the original and of Tarn's manifest: told before anything is done."""
    layout = images.copy_layout(small.layout, tmp_path / "layout")
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][which]["size"] += by
    digest = index["manifests"][which]["digest"]
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    name, wrong = f"oci:{layout}:latest", f"{digest} has .* bytes, its descriptor says"
    if which:
        tarn.fails(wrong, "ls", name)
        tarn.fails(wrong, "digest", name)
        tarn.fails("its manifest has .* bytes, the index says", "mount", name, place)
    else:
        tarn.fails(wrong, "convert", name, f"oci:{tmp_path}/new:t")
        assert_no_trace(tmp_path / "new")


@pytest.mark.parametrize("case", [manifest_byte, footer_byte, metadata_byte, chunk_byte],
                         ids=lambda case: case.__name__)
def test_damaged_dict(session_tarn, small, old, tmp_path, case):
    """A dict that cannot be read is no help, and must not reach the new image."""
    digest, offset, _, _ = case(small)
    name = damaged(small, tmp_path / "layout", digest, offset)
    path = tmp_path / "new.tar"
    tar = Tar()
    tar.add(b"again", data=corner_cases.noise(300000, 1))
    path.write_bytes(bytes(tar))
    layout = images.copy_layout(old, tmp_path / "out")
    before = contents(layout)
    words = ["convert", "--dict", name, path_name(path), f"oci:{layout}:bad"]
    if case is manifest_byte:
        session_tarn.fails(f"{digest}.*damaged", *words, timeout=SECONDS)
        assert_no_trace(layout, before)
        return
    assert f"blob {digest} of " in session_tarn(*words, timeout=SECONDS).stderr
    assert session_tarn.json("check", f"oci:{layout}:bad")["ok"] is True


def test_device_of_a_pax_record(session_tarn, old, tmp_path):
    path = tmp_path / "bad.tar"
    path.write_bytes(archive(name=b"c", kind=CHAR, pax=[(b"SCHILY.devmajor", b"4294967296")]))
    refuse(session_tarn, old, tmp_path, "entry 'c': device major of 4294967296 is out of range",
           path_name(path))
