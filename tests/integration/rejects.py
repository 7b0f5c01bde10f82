# SPDX-License-Identifier: Apache-2.0
"""The corpus of refused sources: each a way to make one, and what tarn must say about it.

A case gets a directory and returns the SOURCE argument of `tarn convert`. The message is a regular
expression."""
import gzip
import json
from pathlib import Path

import tars
from corner_cases import noise
from oci_layout import LAYER, LayoutBuilder, gzipped, sha256, zstd
from tars import CHAR, Tar, damage, header, pad, rechecked

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
member(r"layer 1: .*'a/\.\./\.\./b'", "name with ..", name=b"a/../../b", data=b"x")
member(r"layer 1: .*'\.\.'", "name is ..", name=b"..", kind=b"5")
member(r"layer 1: .*'l'.*'\.\./\.\./etc/passwd'", "hard link out of the root", name=b"l",
       kind=tars.LINK, link=b"../../etc/passwd")
member(r"layer 1: .*'l'.*'nothing'", "hard link to nothing", name=b"l", kind=tars.LINK,
       link=b"nothing")
member(r"layer 1: .*'l'", "hard link to itself", name=b"l", kind=tars.LINK, link=b"l")
member(r"layer 1: .*'l'.*'d'.*directory", "hard link to a directory", name=b"l", kind=tars.LINK,
       link=b"d")
member(r"layer 1: .*'l'", "hard link without a target", name=b"l", kind=tars.LINK)
member(r"layer 1: .*'s'.*target", "symbolic link without a target", name=b"s", kind=tars.SYMLINK)
member(r"layer 1: .*'s'.*target", "symbolic link of 4,096 bytes", name=b"s", kind=tars.SYMLINK,
       link=b"t" * 4096)
member(r"layer 1: .*nnnn.*(255|long)", "name of 256 bytes", name=b"d/" + b"n" * 256)
member(r"layer 1: .*dev.*4096", "large major number", name=b"dev", kind=CHAR, device=(4096, 0))
member(r"layer 1: .*dev.*1048576", "large minor number", name=b"dev", kind=CHAR,
       device=(1, 1 << 20))
member(r"layer 1: .*'who'.*4294967295", "uid 2^32 - 1", name=b"who", uid=2**32 - 1)
member(r"layer 1: .*'who'.*4294967296", "gid 2^32", name=b"who", gid=2**32)
member(r"layer 1: .*'x'.*user\.big", "xattr of 65,536 bytes", name=b"x",
       xattrs={b"user.big": bytes(65536)})
member(r"layer 1: .*'x'.*user\.nnn", "xattr name of 256 bytes", name=b"x",
       xattrs={b"user." + b"n" * 256: b"1"})
member(r"layer 1: .*'z'.*type", "entry of an unknown type", name=b"z", kind=b"Z")
member(r"layer 1: .*\.wh\.", "whiteout without a name", name=b".wh.")
member(r"layer 1: .*\.wh\.\.\.", "whiteout of ..", name=b"d/.wh...")

# Pax.
pax_member(r"layer 1: .*NUL", "NUL in a name", [(b"path", b"a\0b")])
pax_member(r"layer 1: .*(mtime|time)", "mtime that is no number", [(b"mtime", b"yesterday")])
pax_member(r"layer 1: .*(uid)", "uid that is no number", [(b"uid", b"root")])
pax_member(r"layer 1: .*size", "size of 2^63", [(b"size", b"9223372036854775808")])
pax_member(r"layer 1: .*size", "negative size", [(b"size", b"-1")])
pax_member(r"layer 1: .*(8 TiB|8796093022208|large)", "sparse file of 16 TiB",
           [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.realsize", b"%d" % (1 << 44))], data=pad(b"0\n"))
pax_member(r"layer 1: .*sparse", "sparse map that overlaps",
           [(b"GNU.sparse.size", b"100"), (b"GNU.sparse.numblocks", b"2"),
            (b"GNU.sparse.map", b"0,20,10,20")], data=bytes(40))
pax_member(r"layer 1: .*sparse", "sparse map beyond the size",
           [(b"GNU.sparse.size", b"10"), (b"GNU.sparse.numblocks", b"1"),
            (b"GNU.sparse.map", b"0,20")], data=bytes(20))
pax_member(r"layer 1: .*sparse", "sparse map that is no list",
           [(b"GNU.sparse.size", b"10"), (b"GNU.sparse.numblocks", b"1"),
            (b"GNU.sparse.map", b"what")], data=bytes(10))
pax_member(r"layer 1: .*sparse", "sparse map of version 9",
           [(b"GNU.sparse.major", b"9"), (b"GNU.sparse.minor", b"0")])
pax_member(r"layer 1: .*LIBARCHIVE|base64", "xattr that is no base64",
           [(b"LIBARCHIVE.xattr.user.x", b"!!!")])
raw(r"layer 1: .*extended header", "pax record with a wrong length",
    header(b"pax", b"x", 20), pad(b"99 path=name\n"))
raw(r"layer 1: .*extended header", "pax record without =", header(b"pax", b"x", 9), pad(b"9 mtime1\n"))
raw(r"layer 1: .*extended header", "pax header of 1 GiB", header(b"pax", b"x", 1 << 30), bytes(512))
raw(r"layer 1: .*(long|name)", "GNU long name of 1 GiB", header(b"long", b"L", 1 << 30), bytes(512))

# Headers.
raw(r"layer 1: .*(checksum|header)", "header with a wrong checksum",
    damage(header(b"bad"), 148, b"000000\0 "))
raw(r"layer 1: .*(checksum|header)", "garbage between entries", noise(512, 3))
raw(r"layer 1: .*size", "size in base 256 of 2^63",
    rechecked(damage(header(b"big"), 124, (0x80 << 88 | 1 << 63).to_bytes(12, "big"))))
raw(r"layer 1: .*size", "negative size in base 256",
    rechecked(damage(header(b"big"), 124, b"\xff" * 12)))
raw(r"layer 1: .*(size|number|mode)", "mode that is no number",
    rechecked(damage(header(b"bad"), 100, b"what?!\0\0")))


def cut(tar, length):
    return bytes(tar)[:length]


@case(r"layer 1: .*truncated: the tar ends at byte 1324, inside a header")
def truncated_header(directory):
    tar = Tar()
    tar.add(b"good", data=b"good")
    tar.add(b"bad")
    return image_of(directory, cut(tar, 1024 + 300))


@case(r"layer 1: .*'bad': truncated: the tar ends at byte 50000")
def truncated_data(directory):
    tar = Tar()
    tar.add(b"bad", data=noise(100000))
    return image_of(directory, cut(tar, 50000))


@case(r"layer 1: tar: byte 0: no header")
def no_tar_at_all(directory):
    return image_of(directory, noise(100000, 9))


@case(r"layer 1: .*'gone'")
def hard_link_to_what_a_whiteout_removes(directory):
    below, above = Tar(), Tar()
    below.add(b"gone", data=b"x")
    above.whiteout(b"gone")
    above.hard_link(b"new", b"gone")
    LayoutBuilder(directory).image([below, above])
    return f"oci:{directory}:latest"


@case(r"layer 1: entry 'a/file': more than 40 symbolic links")
def parents_in_a_loop(directory):
    tar = Tar()
    tar.symlink(b"a", b"b")
    tar.symlink(b"b", b"a")
    tar.add(b"a/file", data=b"x")
    return image_of(directory, tar)


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


@case(r"layer 1: gzip: truncated at byte 100000")
def gzip_truncated(directory):
    return packed(directory, gzipped(some_tar())[:100000], "+gzip", some_tar())


@case(r"layer 1: gzip: CRC")
def gzip_with_a_wrong_checksum(directory):
    data = gzipped(some_tar())
    return packed(directory, damage(data, len(data) - 8, b"abcd"), "+gzip", some_tar())


@case(r"layer 1: .*(gzip|length|size)")
def gzip_with_a_wrong_length(directory):
    data = gzipped(some_tar())
    return packed(directory, damage(data, len(data) - 4, b"abcd"), "+gzip", some_tar())


@case(r"layer 1: gzip: garbage")
def gzip_with_garbage_behind(directory):
    return packed(directory, gzipped(some_tar()) + b"garbage", "+gzip", some_tar())


@case(r"layer 1: .*gzip")
def gzip_damaged_inside(directory):
    return packed(directory, damage(gzip.compress(some_tar(), 9, mtime=0), 3000, noise(64)),
                  "+gzip", some_tar())


@case(r"layer 1: zstd: truncated at byte 100000")
def zstd_truncated(directory):
    return packed(directory, zstd(some_tar())[:100000], "+zstd", some_tar())


@case(r"layer 1: .*(zstd|config says)")
def zstd_damaged_inside(directory):
    return packed(directory, damage(zstd(some_tar()), 3000, noise(64)), "+zstd", some_tar())


@case(r"layer 1: zstd: .*window")
def zstd_with_a_window_of_4_tib(directory):
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xff" + b"\x01\x00\x00"
    return packed(directory, frame, "+zstd")


# Digests and sizes.
@case(r"layer 1: .*uncompressed digest is sha256:\w+, but the image's config says")
def wrong_diff_id(directory):
    return packed(directory, gzipped(some_tar()), "+gzip", b"something else")


def with_layer(directory, change):
    """An image whose second layer's descriptor is changed after the blob was written."""
    layout = LayoutBuilder(directory)
    layers = [layout.layer(Tar()), layout.layer(some_tar())]
    change(layout, layers[1][0])
    layout.tag(layout.manifest(layers))
    return f"oci:{directory}:latest"


@case(r"layer 1: blob sha256:\w+ of oci:.*: content has digest sha256:\w+, the file is damaged")
def layer_with_another_digest(directory):
    def change(layout, descriptor):
        path = Path(layout.blob_path(descriptor["digest"]))
        path.write_bytes(damage(path.read_bytes(), 30000, noise(8)))
    return with_layer(directory, change)


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


@case(r"layer 1: blob sha256:\w+ is not in oci:")
def layer_missing(directory):
    def change(layout, descriptor):
        Path(layout.blob_path(descriptor["digest"])).unlink()
    return with_layer(directory, change)


@case(r"vnd\.example\.layer")
def layer_of_an_unknown_media_type(directory):
    return with_layer(directory, lambda _, d: d.update(mediaType="application/vnd.example.layer"))


@case(r"encrypted")
def encrypted_layer(directory):
    return with_layer(directory, lambda _, d: d.update(mediaType=LAYER + "+gzip+encrypted"))


@case(r"digest")
def layer_with_a_digest_that_is_none(directory):
    return with_layer(directory, lambda _, d: d.update(digest="sha256:../../../etc/passwd"))


@case(r"sha512|digest")
def layer_with_a_digest_of_another_kind(directory):
    return with_layer(directory, lambda _, d: d.update(digest="sha512:" + "0" * 128))


# Manifest, config, index, layout.
def with_manifest(directory, change):
    """An image whose manifest is changed (a dict, or bytes returned by change)."""
    layout = LayoutBuilder(directory)
    descriptor = layout.manifest([layout.layer(some_tar())])
    value = json.loads(Path(layout.blob_path(descriptor["digest"])).read_bytes())
    data = change(layout, value) or json.dumps(value).encode()
    layout.tag(layout.blob(data, descriptor["mediaType"]))
    return f"oci:{directory}:latest"


@case(r"not JSON")
def manifest_that_is_no_json(directory):
    return with_manifest(directory, lambda *_: b"{\"schemaVersion\": 2,")


@case(r"vnd\.docker\.distribution\.manifest\.v1\+prettyjws")
def manifest_of_dockers_schema_1(directory):
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    layout = LayoutBuilder(directory)
    layout.tag(layout.json({"schemaVersion": 1, "fsLayers": [], "mediaType": kind}, kind))
    return f"oci:{directory}:latest"



@case(r"layers")
def manifest_without_layers(directory):
    return with_manifest(directory, lambda _, m: m.pop("layers") and None)


@case(r"layers")
def manifest_whose_layers_are_no_list(directory):
    return with_manifest(directory, lambda _, m: m.update(layers={"a": 1}))


@case(r"config")
def manifest_without_config(directory):
    return with_manifest(directory, lambda _, m: m.pop("config") and None)


@case(r"size")
def manifest_with_a_negative_size(directory):
    return with_manifest(directory, lambda _, m: m["layers"][0].update(size=-5))


@case(r"manifest sha256:\w+ .*\d+ bytes and not \d+")
def manifest_longer_than_it_says(directory):
    layout = LayoutBuilder(directory)
    descriptor = layout.manifest([layout.layer(some_tar())])
    layout.tag({**descriptor, "size": descriptor["size"] - 1})
    return f"oci:{directory}:latest"


@case(r"content has digest sha256:\w+, the file is damaged")
def manifest_with_another_digest(directory):
    source = with_manifest(directory, lambda *_: None)
    index = json.loads((Path(directory) / "index.json").read_bytes())
    path = Path(directory, "blobs", *index["manifests"][0]["digest"].split(":"))
    path.write_bytes(path.read_bytes().replace(b"linux", b"lunix").replace(b"gzip", b"gzap"))
    return source


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


@case(r"config: not JSON")
def config_that_is_no_json(directory):
    return with_config(directory, lambda _: b"not json")


@case(r"config|rootfs|diff_ids")
def config_without_rootfs(directory):
    return with_config(directory, lambda c: c.pop("rootfs") and None)


@case(r"diff_ids")
def config_with_too_few_diff_ids(directory):
    return with_config(directory, lambda c: c["rootfs"].update(diff_ids=[]))


@case(r"layer 0: digest 'sha256:abc'")
def config_with_a_diff_id_that_is_none(directory):
    return with_config(directory, lambda c: c["rootfs"].update(diff_ids=["sha256:abc"]))


@case(r"no-such-tag.*latest")
def no_such_tag(directory):
    with_manifest(directory, lambda *_: None)
    return f"oci:{directory}:no-such-tag"


@case(r"index\.json: not JSON")
def index_that_is_no_json(directory):
    source = with_manifest(directory, lambda *_: None)
    (Path(directory) / "index.json").write_bytes(b"[1, 2")
    return source


@case(r"no array 'manifests'")
def index_without_manifests(directory):
    source = with_manifest(directory, lambda *_: None)
    (Path(directory) / "index.json").write_bytes(b'{"schemaVersion": 2}')
    return source


@case(r"oci-layout")
def no_layout(directory):
    with_manifest(directory, lambda *_: None)
    (Path(directory) / "oci-layout").unlink()
    return f"oci:{directory}:latest"


@case(r"imageLayoutVersion '2\.0\.0'")
def layout_of_another_version(directory):
    source = with_manifest(directory, lambda *_: None)
    (Path(directory) / "oci-layout").write_bytes(b'{"imageLayoutVersion":"2.0.0"}')
    return source


@case(r"no image for platform linux/\w+; there are: plan9/mips")
def index_without_this_platform(directory):
    layout = LayoutBuilder(directory)
    made = layout.manifest([layout.layer(some_tar())], os_arch=("plan9", "mips"))
    layout.tag(layout.index([(made, ("plan9", "mips"))]))
    return f"oci:{directory}:latest"


@case(r"deep")
def index_in_index_without_end(directory):
    layout = LayoutBuilder(directory)
    made = layout.manifest([layout.layer(some_tar())])
    for _ in range(40):
        made = layout.json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                            "manifests": [made]}, "application/vnd.oci.image.index.v1+json")
    layout.tag(made)
    return f"oci:{directory}:latest"


@case(r"no such directory")
def no_such_directory(directory):
    return f"oci:{directory}/nothing:latest"


@case(r"No such file")
def no_such_tar(directory):
    return f"tar:{directory}/nothing.tar"
