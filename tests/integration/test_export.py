# SPDX-License-Identifier: Apache-2.0
"""tarn export: plain layers back from a converted image. The strongest judge is Tarn itself: layers
that mean the same give the same blobs, byte for byte, when they are converted again. umoci judges
too."""
import json
import stat
import subprocess
import tarfile

import corner_cases
import images
import oci_layout
import pytest
import random_layers
import trees
from tars import Tar


def export(tarn, image, target, *options):
    """-> what tarn says about it."""
    return tarn.json("export", *options, image, target)


def blobs_of(name):
    return [layer.digest for layer in images.reader_image.Image(name).manifest.chain]


def convert_layers(tarn, layers, directory):
    return images.convert(tarn, images.from_tars("layers", layers, directory), directory)


def members(layout, number, tag="latest"):
    """[(name, type, link)] of an exported layer, as Python's tarfile reads it."""
    manifest = oci_layout.read_json(layout, oci_layout.tags(layout)[tag])
    path = layout / "blobs/sha256" / manifest["layers"][number]["digest"][7:]
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as tar:
        return [(m.name, m.type, m.linkname) for m in tar]


@pytest.fixture(scope="module")
def exports():
    return {}


@pytest.fixture
def plain(image, exports, session_tarn, tmp_path_factory):
    """The layout that an image was exported to, as `latest`, and what tarn said about it."""
    if image.name not in exports:
        layout = tmp_path_factory.mktemp("plain") / image.name
        exports[image.name] = layout, export(session_tarn, image.converted, f"oci:{layout}:latest")
    return exports[image.name]


def test_gives_the_same_blobs_again(image, plain, session_tarn, tmp_path):
    again = f"oci:{tmp_path}/again:latest"
    session_tarn("convert", f"oci:{plain[0]}:latest", again)
    read = images.reader_image.Image(again)
    assert [layer.digest for layer in read.manifest.chain] == [
        layer.digest for layer in image.read.manifest.chain]
    assert read.bootstrap.tree_digest == image.read.bootstrap.tree_digest


def test_tree_digest_is_the_sources(image, plain, session_tarn):
    found = session_tarn("digest", f"oci:{plain[0]}:latest").text.strip()
    assert found == "sha256:" + image.read.bootstrap.tree_digest.hex()


@pytest.mark.parametrize("image", ["base", "quirks"], indirect=True)
def test_umoci_unpacks_what_it_unpacks_of_the_source(image, plain, tmp_path):
    found = images.unpack_by_umoci(plain[0], "latest", tmp_path)
    found[b""] = found[b""].but(mtime=images.root_entry(plain[0], "latest"))
    trees.assert_same(image.expected, found)


def test_umoci_unpacks_the_corner_cases(session_tarn, tmp_path):
    layers = corner_cases.layers(old="0.0")
    image = convert_layers(session_tarn, layers, tmp_path)
    export(session_tarn, image.converted, f"oci:{tmp_path}/plain:latest")
    source = images.unpack_by_umoci(tmp_path / "source", "latest", tmp_path)
    found = images.unpack_by_umoci(tmp_path / "plain", "latest", tmp_path)
    for path, (fields, _) in corner_cases.UMOCI.items():
        if fields and path in source and path in found:  # where umoci errs, order counts
            found[path] = found[path].but(**{f: getattr(source[path], f) for f in fields})
    trees.assert_same(source, found)


@pytest.mark.parametrize("seed", range(24))
def test_random_layers(session_tarn, tmp_path, seed):
    image = convert_layers(session_tarn, random_layers.layers(5000 + seed), tmp_path)
    export(session_tarn, image.converted, f"oci:{tmp_path}/plain:latest")
    session_tarn("convert", f"oci:{tmp_path}/plain:latest", f"oci:{tmp_path}/again:latest")
    assert blobs_of(f"oci:{tmp_path}/again:latest") == blobs_of(image.converted)


@pytest.mark.parametrize("seed", range(12))
def test_random_layers_by_umoci(session_tarn, tmp_path, seed):
    """umoci finds what it finds of the source, or, where order misleads it there, what is right."""
    layers = random_layers.layers(6000 + seed, gentle=True)
    image = convert_layers(session_tarn, layers, tmp_path)
    export(session_tarn, image.converted, f"oci:{tmp_path}/plain:latest")
    source = images.unpack_by_umoci(tmp_path / "source", "latest", tmp_path)
    found = images.unpack_by_umoci(tmp_path / "plain", "latest", tmp_path)
    for path in source.keys() & found.keys() & image.expected.keys():
        one, two = vars(source[path]), vars(found[path])
        right = vars(image.expected[path])
        free = {"mtime"} if stat.S_ISDIR(found[path].mode) else set()  # marks in it change it
        source[path] = source[path].but(**{
            field: two[field] for field in one if field in free or two[field] == right[field]})
    trees.assert_same(source, found)


def test_lower_links_come_before_what_would_catch_them(session_tarn, tmp_path):
    one, two = Tar(), Tar()
    one.add(b"a", data=b"lower a")
    one.directory(b"d")
    one.add(b"d/f", data=b"lower f")
    two.directory(b"z", mode=0o700)
    two.hard_link(b"z/a", b"a", mode=0o600, uid=7)
    two.hard_link(b"z/f", b"d/f")
    two.add(b"a", data=b"upper a")
    two.add(b"d", data=b"no directory any more")
    image = convert_layers(session_tarn, [one, two], tmp_path)
    export(session_tarn, image.converted, f"oci:{tmp_path}/plain:latest")
    found = images.unpack_by_umoci(tmp_path / "plain", "latest", tmp_path)
    trees.assert_same(images.unpack_by_umoci(tmp_path / "source", "latest", tmp_path), found)
    assert found[b"z/a"].sha256 != found[b"a"].sha256
    assert [name for name, _, _ in members(tmp_path / "plain", 1)] == ["z", "z/a", "z/f", "a", "d"]


def test_order_and_marks(session_tarn, tmp_path):
    one, two = Tar(), Tar()
    for name in (b"d/gone", b"d/e/old", b"f/x", b"h"):
        one.add(name, data=name)
    two.add(b"i/y", data=b"linked")
    two.hard_link(b"d/also", b"i/y")
    two.whiteout(b"d/gone")
    two.directory(b"d")
    two.opaque(b"d/e")
    two.add(b"f", data=b"a file now")
    two.whiteout(b"f")
    image = convert_layers(session_tarn, [one, two], tmp_path)
    export(session_tarn, image.converted, f"oci:{tmp_path}/plain:latest")
    assert [(name, link) for name, _, link in members(tmp_path / "plain", 1)] == [
        ("d", ""), ("d/also", ""), ("d/e/.wh..wh..opq", ""), ("d/.wh.gone", ""), (".wh.f", ""),
        ("f", ""), ("i/y", "d/also")]


def test_a_hole_of_a_tebibyte_costs_nothing(session_tarn, tmp_path):
    tar, size = Tar(), 1 << 40
    tar.sparse(b"disk", "1.0", size, [(5, b"start"), (size // 2, b"middle" * 9)], mtime=9)
    oci_layout.LayoutBuilder(tmp_path / "source").image([tar])
    session_tarn("convert", f"oci:{tmp_path}/source", f"oci:{tmp_path}/converted:latest")
    assert session_tarn.json("check", f"oci:{tmp_path}/converted")["ok"] is True
    said = export(session_tarn, f"oci:{tmp_path}/converted", f"oci:{tmp_path}/plain:latest")
    assert said["tar_bytes"] < 100 << 20 and said["bytes_out"] < 1 << 20
    assert session_tarn("digest", f"oci:{tmp_path}/plain").text == \
        session_tarn("digest", f"oci:{tmp_path}/source").text


def test_documents(image, plain):
    layout, said = plain
    descriptor = oci_layout.tags(layout)["latest"]
    assert said["manifest_digest"] == descriptor["digest"]
    manifest = oci_layout.read_json(layout, descriptor)
    assert manifest["mediaType"] == descriptor["mediaType"] == oci_layout.MANIFEST
    assert {layer["mediaType"] for layer in manifest["layers"]} == {oci_layout.LAYER + "+gzip"}
    config = oci_layout.read_json(layout, manifest["config"])
    original = read_source_config(image)
    diff_ids = config["rootfs"].pop("diff_ids")
    assert len(diff_ids) == len(manifest["layers"]) == len(original["rootfs"].pop("diff_ids"))
    assert config == original
    for layer, diff_id in zip(manifest["layers"], diff_ids):
        stored = layout / "blobs/sha256" / layer["digest"][7:]
        head = stored.read_bytes()[:10]
        assert head[:4] == b"\x1f\x8b\x08\0" and head[4:8] == bytes(4), "gzip header"
        assert oci_layout.sha256(images.gunzip(stored)) == diff_id
    done = subprocess.run(["skopeo", "inspect", f"oci:{layout}:latest"], capture_output=True,
                          text=True, check=True)
    assert json.loads(done.stdout)["Layers"] == [layer["digest"] for layer in manifest["layers"]]


def read_source_config(image):
    layout = image.source.removeprefix("oci:").rpartition(":")[0]
    manifest = oci_layout.read_json(layout, oci_layout.tags(layout)["latest"])
    return oci_layout.read_json(layout, manifest["config"])


def test_same_bytes_every_time(corner, session_tarn, tmp_path):
    one = export(session_tarn, corner.converted, f"oci:{tmp_path}/one")
    export(session_tarn, corner.converted, f"oci:{tmp_path}/two:latest")
    assert images.file_digests(tmp_path / "one") == images.file_digests(tmp_path / "two")
    archive = f"oci-archive:{tmp_path}/archive.tar:latest"
    assert export(session_tarn, corner.converted, archive) == one
    assert session_tarn("digest", archive).text == session_tarn("digest", corner.source).text


def test_with_foreign_blobs(session_tarn, tmp_path):
    shared = corner_cases.noise(600000, 3)
    one, two = Tar(), Tar()
    one.add(b"one", data=shared)
    two.add(b"two", data=b"x" * 5000 + shared)
    dictionary = convert_layers(session_tarn, [one], tmp_path)
    (tmp_path / "b").mkdir()
    image = images.from_tars("two", [two], tmp_path / "b")
    session_tarn("convert", "--dict", dictionary.converted, image.source,
                 f"oci:{tmp_path}/converted:two")
    name = f"oci:{tmp_path}/converted:two"
    assert images.reader_image.Image(name).foreign
    export(session_tarn, name, f"oci:{tmp_path}/plain:latest")
    assert session_tarn("digest", f"oci:{tmp_path}/plain").text.strip() == image.digest
    layout = tmp_path / "plain"
    manifest = oci_layout.read_json(layout, oci_layout.tags(layout)["latest"])
    config = oci_layout.read_json(layout, manifest["config"])
    assert config["history"] == read_source_config(image)["history"]


def test_from_a_directory(session_tarn, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_bytes(b"x" * 100)
    session_tarn("convert", f"dir:{tmp_path}/tree", f"oci:{tmp_path}/converted:latest")
    export(session_tarn, f"oci:{tmp_path}/converted", f"oci:{tmp_path}/plain")
    assert session_tarn("digest", f"oci:{tmp_path}/plain").text == \
        session_tarn("digest", f"dir:{tmp_path}/tree").text
    config = subprocess.run(
        ["skopeo", "inspect", "--config", "--raw", f"oci:{tmp_path}/plain:latest"],
        capture_output=True, check=True).stdout
    assert json.loads(config)["history"] == [{"created_by": "tarn", "comment": "layer"}]


def test_refused(corner, session_tarn, tmp_path):
    session_tarn.fails("not converted", "export", corner.source, f"oci:{tmp_path}/plain")
    session_tarn.fails("oci:DIR", "export", corner.converted, f"dir:{tmp_path}/plain")
    session_tarn.fails("takes an image and a destination", "export", corner.converted)
    assert not (tmp_path / "plain").exists()


def test_damage_leaves_no_tag(corner, session_tarn, tmp_path):
    layout = images.copy_layout(corner.layout, tmp_path / "damaged")
    blob = corner.read.blobs[0]
    path = layout / "blobs/sha256" / blob.layer.digest[7:]
    data = bytearray(path.read_bytes())
    data[blob.meta.own.rows[5].offset + 20] ^= 1
    path.write_bytes(data)
    session_tarn.fails("layer 0: entry '.*': blob sha256:.* chunk at data-space address", "export",
                       f"oci:{layout}:latest", f"oci:{tmp_path}/plain:latest")
    assert oci_layout.tags(tmp_path / "plain") == {}
