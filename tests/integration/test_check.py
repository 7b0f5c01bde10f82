# SPDX-License-Identifier: Apache-2.0
"""tarn check: "ok" of a right image, the first broken rule and its place of a wrong one."""
import hashlib
import json
import struct

import corner_cases
import forge
import images
import oci_layout
import pytest
from reader import image as reader_image
from tars import Tar


def small_layers():
    one, two = Tar(), Tar()
    one.directory(b"d", mtime=3)
    one.add(b"d/data", data=corner_cases.noise(700000, 1))
    one.add(b"d/holes", data=b"x" + bytes(1 << 20) + b"y")
    one.add(b"d/text", data=b"some text " * 9000)
    two.add(b"d/again", data=b"moved" + corner_cases.noise(700000, 1))
    two.add(b"d/data", data=corner_cases.noise(700000, 1), mode=0o600)
    two.whiteout(b"d/text")
    return [one, two]


@pytest.fixture(scope="module")
def small(session_tarn, tmp_path_factory):
    directory = tmp_path_factory.mktemp("small")
    image = images.from_tars("small", small_layers(), directory)
    return images.convert(session_tarn, image, directory)


def damaged(image, target, digest, offset, change=lambda byte: byte ^ 0x40):
    """A copy of the converted layout with one byte of a blob changed -> (name, the blob's path)."""
    layout = images.copy_layout(image.layout, target)
    path = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    data = bytearray(path.read_bytes())
    data[offset] = change(data[offset])
    path.write_bytes(data)
    return f"oci:{layout}:latest", path


def test_right_images(image, session_tarn):
    said = session_tarn.json("check", image.converted)
    assert said["ok"] is True and said["quick"] is False
    blobs = image.read.bootstrap.blobs
    assert said["layers"] == len(image.read.layers)
    assert said["blobs"] == len(blobs)
    assert said["chunks"] == sum(row.kind != "gap" for blob in blobs for row in blob.rows)
    assert said["references"] == sum(row.kind == "reference" for blob in blobs for row in blob.rows)
    assert said["data_bytes"] == sum(blob.space for blob in blobs)
    assert said["names"] == len(image.expected) - 1
    quick = session_tarn.json("check", "--quick", image.converted)
    assert quick["ok"] is True and quick["quick"] is True and quick["chunks"] == said["chunks"]
    lines = session_tarn("check", image.converted).lines
    assert len(lines) == 1 and lines[0].startswith("ok: ")


def test_with_foreign_blobs(small, session_tarn, tmp_path):
    one = Tar()
    one.add(b"other", data=b"y" * 9000 + corner_cases.noise(700000, 1))
    image = images.from_tars("other", [one], tmp_path)
    name = images.copy_layout(small.layout, tmp_path / "converted")
    session_tarn("convert", "--dict", small.converted, image.source, f"oci:{name}:other")
    said = session_tarn.json("check", f"oci:{name}:other")
    assert said["ok"] is True and said["blobs"] > said["layers"] == 1
    read = reader_image.Image(f"oci:{name}:other")
    foreign = read.bootstrap.blobs[1]
    row = next(row for row in foreign.rows if row.kind == "stored")
    path = name / "blobs/sha256" / foreign.digest.hex()
    data = bytearray(path.read_bytes())
    data[row.offset + row.size // 2] ^= 1
    path.write_bytes(data)
    session_tarn.fails(f"blob sha256:{foreign.digest.hex()} chunk at data-space address "
                       f"{row.address} ", "check", f"oci:{name}:other")


@pytest.mark.parametrize("number", [0, 1, 7, -1])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_damaged_chunk(small, session_tarn, tmp_path, layer, number):
    blob = small.read.blobs[layer]
    stored = [row for row in blob.meta.own.rows if row.kind == "stored"]
    row = stored[number % len(stored)]
    name, _ = damaged(small, tmp_path / "layout", blob.layer.digest, row.offset + row.size // 2)
    failed = session_tarn.fails(
        rf"{blob.layer.digest} chunk at data-space address {row.address} \(offset {row.offset}\): "
        "(digest is wrong|it cannot be decoded)", "check", "--json", name)
    assert json.loads(failed.stdout)["ok"] is False
    assert blob.layer.digest in json.loads(failed.stdout)["error"]
    assert session_tarn.json("check", "--quick", name)["ok"] is True


def test_damage_elsewhere_in_a_blob(small, session_tarn, tmp_path):
    blob = small.read.blobs[1]
    offset, length, _ = blob.layer.meta
    digest = blob.layer.digest
    for place, rule in ((offset, f"layer metadata of blob {digest}"),
                        (offset + length // 2, f"layer metadata of blob {digest}"),
                        (offset + length - 1, f"layer metadata of blob {digest}"),
                        (blob.layer.size - 1, f"{digest}: directory"),
                        (blob.layer.size - 64, f"{digest}: directory"),
                        (blob.layer.size - 100, f"{digest}: directory")):
        for options in ([], ["--quick"]):
            target = tmp_path / f"{place}{len(options)}"
            name, _ = damaged(small, target, digest, place)
            session_tarn.fails(rule, "check", *options, name)


def test_a_blob_of_another_size_or_none(small, session_tarn, tmp_path):
    digest = small.read.blobs[0].layer.digest
    name, path = damaged(small, tmp_path / "one", digest, 0, lambda byte: byte)
    path.write_bytes(path.read_bytes()[:-1])
    session_tarn.fails(f"{digest}.*bytes", "check", "--quick", name)
    name, path = damaged(small, tmp_path / "two", digest, 0, lambda byte: byte)
    path.unlink()
    session_tarn.fails(digest, "check", "--quick", name)


@pytest.mark.parametrize("what", ["bootstrap", "config", "manifest"])
@pytest.mark.parametrize("place", [0.01, 0.5, 0.99])
def test_damaged_documents(small, session_tarn, tmp_path, what, place):
    read = small.read
    layer = read.layout.json(read.descriptor)["layers"][-1]
    descriptor = {"bootstrap": layer, "config": read.layout.json(read.descriptor)["config"],
                  "manifest": read.descriptor}[what]
    name, _ = damaged(small, tmp_path / "layout", descriptor["digest"],
                      int(descriptor["size"] * place))
    session_tarn.fails(f"(?s){descriptor['digest']}.*", "check", "--quick", name)


# What no digest gives away: everything is sealed again.

def forged(image, target):
    return forge.Forge(image.converted, target)


def test_the_forge_itself(small, session_tarn, tmp_path):
    assert session_tarn.json("check", forged(small, tmp_path / "layout").save())["ok"] is True


def test_another_tree_digest_in_the_manifest(small, session_tarn, tmp_path):
    made = forged(small, tmp_path / "layout")
    made.manifest["layers"][-1]["annotations"]["dev.tarn.tree-digest"] = oci_layout.sha256(b"")
    session_tarn.fails("manifest: the tree digest is not the bootstrap's", "check", "--quick",
                       made.save())


def test_no_key(small, session_tarn, tmp_path):
    made = forged(small, tmp_path / "layout")
    del made.manifest["layers"][0]["annotations"]["dev.tarn.key"]
    session_tarn.fails("manifest layer 0: its key is missing", "check", "--quick", made.save())


def test_another_diff_id(small, session_tarn, tmp_path):
    made = forged(small, tmp_path / "layout")
    made.config["rootfs"]["diff_ids"].append(oci_layout.sha256(b""))  # save() sets the others
    session_tarn.fails("config: 4 diff_ids, the manifest has 3 layers", "check", "--quick",
                       made.save())


def test_a_bootstrap_that_the_blobs_do_not_give(small, session_tarn, tmp_path):
    made = forged(small, tmp_path / "layout")

    def change(parts):
        image = parts[0]
        at = struct.unpack_from("<H", image, 1024 + 14)[0] * 32  # the root's inode
        struct.pack_into("<H", image, at + 24, 4711)  # its owner
        made.seal_erofs(image)
    made.edit_bootstrap(change)
    # The superblock's checksum is the first thing that differs.
    session_tarn.fails("bootstrap offset 1028: it is not what the layer metadata", "check",
                       "--quick", made.save())


def test_a_row_that_the_metadata_does_not_have(small, session_tarn, tmp_path):
    made = forged(small, tmp_path / "layout")

    def change(parts):
        digest = parts[5][32 * 2:32 * 3]
        # Where references name this chunk they must go along, or the tables are refused already.
        for at in range(0, len(parts[5]), 32):
            if parts[5][at:at + 32] == digest:
                parts[5][at] ^= 1
    made.edit_bootstrap(change)
    address = small.read.bootstrap.blobs[0].rows[2].address
    session_tarn.fails(f"chunk at data-space address {address}: the bootstrap's row is not the",
                       "check", "--quick", made.save())


def test_a_wrong_content_digest(small, session_tarn, tmp_path):
    """Right chunks, but the metadata says that a file has another digest."""
    made = forged(small, tmp_path / "layout")
    record = struct.Struct("<32sQQIIII")
    wrong = []

    def change(parts):
        contents = parts[7]
        for at in range(0, len(contents), 64):
            digest, size, *rest = record.unpack_from(contents, at)
            if size == 90000:
                wrong.append(rest[0])
                record.pack_into(contents, at, hashlib.sha256(digest).digest(), size, *rest)
    made.edit_metadata(0, change)
    made.point_to_blobs()
    # The tree digest is another now: the tree digest is part of the image, and of no rule here.
    name = reseal_tree(made)
    session_tarn.fails(f"address {wrong[0]}: the content's digest is wrong", "check", name)
    assert session_tarn.json("check", "--quick", name)["ok"] is True


def reseal_tree(made):
    """Makes the bootstrap again from the forged blobs."""
    from reader import rebuild
    name = made.save()
    layout = reader_image.oci.Layout(reader_image.oci.parse_name(name)[0])
    manifest = reader_image.oci.parse_manifest(layout, layout.tarn(forge.TAG, None)[0])
    blobs = [reader_image.BlobFile(layout, layer) for layer in manifest.chain]
    data, _ = rebuild.bootstrap([b.meta for b in blobs], [b.record for b in blobs])
    made.bootstrap = bytearray(data)
    digest = reader_image.Bootstrap(data).tree_digest
    made.manifest["layers"][-1]["annotations"]["dev.tarn.tree-digest"] = "sha256:" + digest.hex()
    return made.save()


def test_usage(small, session_tarn):
    session_tarn.fails("takes one image", "check")
    session_tarn.fails("not converted", "check", small.source)
    session_tarn.fails("no such tag|nowhere", "check", f"oci:{small.layout}:nowhere")
